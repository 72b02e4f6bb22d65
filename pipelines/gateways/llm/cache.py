"""The answers that were paid for, and the ledger of all calls: one SQLite file in the warehouse's folder.

Every change is one transaction that is on the disk before the next step is taken, so that neither an exception nor `kill -9`
loses an answer or a line of the ledger. A call is entered before it is sent and settled together with its answer. One that was never
settled stays as it was entered: `cancelled`, with what it may have cost at most held against the budget.

Several processes may share the file. Does not belong here: whether and what to ask.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

_APPLICATION = 0x4D51_4C4D  # "MQLM"
_VERSION = 1
_WAIT_S = 60.0
_AT_ONCE = 500
# Sums of prices are not exact in binary; without this a budget of exactly the cost would be exceeded by 1e-19 USD.
_ROUNDING_USD = 1e-9

# `spent` is the sum over all calls of what they cost and what is held for them; triggers keep it, so that no statement can
# forget to. Begin and end of a call are single statements for speed: each gives other threads the interpreter.
_SCHEMA = (
    """CREATE TABLE answers (
        request_hash TEXT PRIMARY KEY, outcome TEXT NOT NULL, value TEXT, model TEXT NOT NULL,
        cost_usd REAL NOT NULL, error TEXT, answered_at TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE calls (
        call_id TEXT PRIMARY KEY, request_hash TEXT NOT NULL, attempt INTEGER NOT NULL, prompt TEXT NOT NULL,
        prompt_version TEXT NOT NULL, model TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
        cost_usd REAL NOT NULL, held_usd REAL NOT NULL, latency_s REAL NOT NULL, outcome TEXT NOT NULL, http_status INTEGER,
        error TEXT, started_at INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE TABLE spent (usd REAL NOT NULL)",
    "INSERT INTO spent VALUES (0)",
    """CREATE TRIGGER call_begun AFTER INSERT ON calls BEGIN
        UPDATE spent SET usd = usd + new.cost_usd + new.held_usd;
    END""",
    """CREATE TRIGGER call_settled AFTER UPDATE ON calls BEGIN
        UPDATE spent SET usd = usd + new.cost_usd + new.held_usd - old.cost_usd - old.held_usd;
    END""",
)
NEVER_ENDED = "the run ended before an answer came; it may have been charged"
_EPOCH = datetime(1970, 1, 1)


class LlmCacheError(RuntimeError):
    """The file of answers cannot be used; the message names it."""


@dataclass(frozen=True)
class Stored:
    """A settled question. `value` is None where the model refused or never kept to the schema (`outcome`, `error`)."""

    outcome: str
    value: Any
    model: str
    cost_usd: float
    error: str | None = None


@dataclass(frozen=True)
class Call:
    """A call about to be sent. `held_usd`: the most it can cost. `started_at` is UTC, without time zone."""

    call_id: str
    request_hash: str
    attempt: int
    prompt: str
    prompt_version: str
    model: str
    held_usd: float
    started_at: datetime


@dataclass(frozen=True)
class Ending:
    """How a call ended. `is_charge_known` is False when it broke off, and nobody knows whether it was charged."""

    outcome: str
    model: str
    latency_s: float
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    http_status: int | None = None
    error: str | None = None
    is_charge_known: bool = True


class LlmCache:
    """Answers by request hash, and the ledger. Made if it does not exist; close it, or use it in `with`.

    May be used from several threads, one after the other. Raises LlmCacheError for a file that is something else or damaged;
    nothing is ever deleted because of that.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LlmCacheError(f"{path}: the folder of answers cannot be made: {error.strerror}") from None
        with self._named():
            self._connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> LlmCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def answers(self, hashes: Sequence[str]) -> dict[str, Stored]:
        """The settled questions among `hashes`."""
        found: dict[str, Stored] = {}
        with self._named():
            for start in range(0, len(hashes), _AT_ONCE):
                some = hashes[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                rows = self._connection.execute(
                    f"SELECT request_hash, outcome, value, model, cost_usd, error FROM answers WHERE request_hash IN ({marks})",
                    list(some),
                )
                for key, outcome, value, model, cost_usd, error in rows:
                    found[key] = Stored(outcome, self._value(key, value), model, cost_usd, error)
        return found

    def begin(self, call: Call, budget_usd: float | None) -> bool:
        """Enter a call into the ledger; False, with nothing entered, when it could exceed the budget."""
        row = (
            call.call_id,
            call.request_hash,
            call.attempt,
            call.prompt,
            call.prompt_version,
            call.model,
            call.held_usd,
            NEVER_ENDED,
            (call.started_at - _EPOCH) // timedelta(microseconds=1),
        )
        with self._named():
            entered = self._connection.execute(
                "INSERT INTO calls SELECT ?, ?, ?, ?, ?, ?, 0, 0, 0, ?, 0, 'cancelled', NULL, ?, ?"
                " WHERE ? IS NULL OR (SELECT usd FROM spent) + ? <= ?",
                (*row, budget_usd, call.held_usd, (budget_usd or 0.0) + _ROUNDING_USD),
            )
        return entered.rowcount == 1

    def settle(self, call: Call, ending: Ending, stored: Stored | None = None) -> None:
        """Enter how a call ended, and in the same transaction the answer that it settled, if it did."""
        if stored is None:
            with self._named():
                self._end(call, ending)
            return
        with self._transaction():
            self._end(call, ending)
            self._connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    call.request_hash,
                    stored.outcome,
                    None if stored.value is None else json.dumps(stored.value, separators=(",", ":")),
                    stored.model,
                    stored.cost_usd,
                    stored.error,
                    call.started_at.isoformat(),
                ),
            )

    def _end(self, call: Call, ending: Ending) -> None:
        self._connection.execute(
            "UPDATE calls SET model = ?, prompt_tokens = ?, completion_tokens = ?, cost_usd = ?, held_usd = ?,"
            " latency_s = ?, outcome = ?, http_status = ?, error = ? WHERE call_id = ?",
            (
                ending.model,
                ending.prompt_tokens,
                ending.completion_tokens,
                ending.cost_usd,
                0.0 if ending.is_charge_known else call.held_usd,
                ending.latency_s,
                ending.outcome,
                ending.http_status,
                ending.error,
                call.call_id,
            ),
        )

    def spent_usd(self) -> float:
        """What all calls cost, with the most that those may have cost of which nobody knows."""
        with self._named():
            return max(0.0, float(self._connection.execute("SELECT usd FROM spent").fetchone()[0]))

    def forget_failures(self) -> int:
        """Let the questions be asked again that a model refused or answered outside the schema; returns how many."""
        with self._transaction() as connection:
            return connection.execute("DELETE FROM answers WHERE value IS NULL").rowcount

    def calls(self) -> pl.DataFrame:
        """The ledger, in the shape of LLM_CALLS. Calls under way in another process show as cancelled."""
        import polars as pl

        from pipelines.gateways.llm.runs import STAND_IN_MODEL
        from warehouse.tables.llm import LLM_CALLS

        stored = [name for name in LLM_CALLS.schema if name != "is_stand_in"]
        with self._named():
            rows = self._connection.execute(
                f"SELECT {', '.join(stored)} FROM calls ORDER BY started_at, call_id"
            ).fetchall()
        schema = {name: pl.Int64 if name == "started_at" else LLM_CALLS.schema[name] for name in stored}
        return (
            pl.DataFrame(rows, schema=schema, orient="row")
            .with_columns(
                pl.col("started_at").cast(pl.Datetime("us")),
                is_stand_in=pl.col("model").str.starts_with(STAND_IN_MODEL),
            )
            .select(list(LLM_CALLS.schema))
        )

    def _prepare(self) -> None:
        execute = self._connection.execute
        # Two processes may come to an empty file at once: the second waits, and finds it made.
        with self._transaction():
            (application,) = execute("PRAGMA application_id").fetchone()
            (version,) = execute("PRAGMA user_version").fetchone()
            if application == 0 and execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                for statement in _SCHEMA:
                    execute(statement)
                execute(f"PRAGMA user_version = {_VERSION}")
                execute(f"PRAGMA application_id = {_APPLICATION}")
            elif (application, version) != (_APPLICATION, _VERSION):
                raise LlmCacheError(
                    f"{self.path} is no file of answers of this version; move it away or set another warehouse"
                )
        # An answer is paid for: it must survive a power cut, too.
        execute("PRAGMA synchronous = FULL")
        # Readers and a writer do not wait for each other; it can be switched on only while nobody else is at the file, and
        # then stays on.
        with suppress(sqlite3.OperationalError):
            execute("PRAGMA journal_mode = WAL")

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let all changes of the block be on the disk when it ends, or none of them. Within another such block they are there when that ends."""
        with self._transaction():
            yield

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        is_outer = not connection.in_transaction
        begin, end, undo = (
            ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
            if is_outer
            else (
                "SAVEPOINT inner_change",
                "RELEASE inner_change",
                ("ROLLBACK TO inner_change", "RELEASE inner_change"),
            )
        )
        with self._named():
            connection.execute(begin)
            try:
                yield connection
                connection.execute(end)
            except BaseException:
                # Where the disk is full, SQLite may have undone everything by itself.
                for statement in undo if connection.in_transaction else ():
                    connection.execute(statement)
                raise

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Give errors of SQLite the name of the file."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.OperationalError as error:
            raise LlmCacheError(f"{self.path}: answers cannot be read or stored: {error}") from None
        except sqlite3.DatabaseError as error:
            raise LlmCacheError(
                f"{self.path} is damaged ({error}); nothing was deleted: restore it from a copy, or move it away to begin a new one"
            ) from None

    def _value(self, key: str, text: str | None) -> Any:
        try:
            return None if text is None else json.loads(text)
        except (ValueError, TypeError):
            raise LlmCacheError(f"{self.path} is damaged (answer {key} is no JSON); nothing was deleted") from None
