"""Reading one file of JSON lines: reviews, items and tasks as frames, and every record that is none set apart.

Does not belong here: what the keys of a release mean (`amazon.py`, `ecpo.py`, `yelp.py`), and what is made of reviews of several files (`tables.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
import polars as pl

from pipelines.reviews import amazon, ecpo, values, yelp
from pipelines.reviews.layouts import ReviewFile
from pipelines.reviews.values import BadRecord, Entry
from pipelines.sources.files import ByteStream, Limits
from pipelines.sources.lines import line_chunks
from pipelines.sources.records import RAW_CHARACTERS, REJECTS, printable
from warehouse.tables.simulation import TRAITS
from warehouse.tables.titles import STRINGS

# To be raised by whoever changes what reading gives.
READER_VERSION = "1"

REVIEWS = pl.Schema(
    {
        "user": pl.String(),
        "item_id": pl.String(),
        "headline": pl.String(),
        "text": pl.String(),
        "rating": pl.Float32(),
        "is_positive": pl.Boolean(),
        "reviewed_at": pl.Datetime("us"),
        "line": pl.Int64(),
    }
)
FACTS = pl.Schema(
    {
        "item_id": pl.String(),
        "title": pl.String(),
        "creators": STRINGS,
        "categories": STRINGS,
        "place": pl.String(),
        "description": pl.String(),
        "average_rating": pl.Float32(),
        "ratings": pl.Int64(),
        "line": pl.Int64(),
    }
)
TASKS = pl.Schema(
    {"user": pl.String(), "item_id": pl.String(), "position": pl.Int32(), **dict.fromkeys(TRAITS, pl.String()), "line": pl.Int64()}
)  # fmt: skip

POSITIVE_STARS = 4.0

Split = Callable[[Mapping[str, Any]], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Form:
    """How a line is read: `split` into records, each of which `read` makes an Entry of; both raise BadRecord."""

    read: Callable[[Mapping[str, Any]], Entry]
    split: Split = lambda line: [line]


FORMS: Mapping[str, Form] = {
    "amazon_reviews": Form(amazon.review),
    "amazon_meta": Form(amazon.item),
    "yelp_reviews": Form(yelp.review),
    "yelp_business": Form(yelp.item),
    "ecpo_reviews": Form(ecpo.review, ecpo.user_reviews),
    "ecpo_tasks": Form(ecpo.task),
}


@dataclass(frozen=True)
class FileRead:
    """What a file holds: frames REVIEWS, FACTS and TASKS in its order, `rejects` (REJECTS), and `failure`: why it could not be read to its end.

    Records in the file = `rows` = `kept` + rejects.height.
    """

    reviews: pl.DataFrame = field(default_factory=lambda: REVIEWS.to_frame())
    facts: pl.DataFrame = field(default_factory=lambda: FACTS.to_frame())
    tasks: pl.DataFrame = field(default_factory=lambda: TASKS.to_frame())
    rejects: pl.DataFrame = field(default_factory=lambda: REJECTS.to_frame())
    kept: int = 0
    failure: str | None = None

    @property
    def rows(self) -> int:
        """Records in the file."""
        return self.kept + self.rejects.height


@dataclass
class _Rows:
    reviews: list[dict[str, Any]] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[tuple[int, str, str]] = field(default_factory=list)
    kept: int = 0

    def take(self, entry: Entry, line: int, position: int) -> None:
        self.kept += 1
        if entry.review is not None:
            stars = entry.review.rating
            is_positive = None if stars is None else stars >= POSITIVE_STARS
            self.reviews.append({**asdict(entry.review), "is_positive": is_positive, "line": line})
        if entry.facts is not None:
            facts = asdict(entry.facts)
            lists = {name: list(facts[name]) for name in ("creators", "categories")}
            self.facts.append({**facts, **lists, "line": line})
        if entry.task is not None:
            task = entry.task
            self.tasks.append(
                {"user": task.user, "item_id": task.item_id, "position": position, **task.traits, "line": line}
            )


def read_lines(file: ReviewFile, limits: Limits | None = None) -> FileRead:
    """All records of a file of JSON lines. Bad records and bad files never raise: they are rejects, and a `failure`."""
    form = FORMS[file.layout.name]
    stream = ByteStream(file.file, limits or Limits())
    frames = [_framed(_Rows())]
    kept = position = 0
    failure: str | None = None
    for chunk in line_chunks(stream, "utf-8"):
        rows = _Rows()
        lines = chunk.lines.to_list()
        bad = dict(chunk.bad)
        if chunk.failure:
            failure, last = chunk.failure, len(lines) - 1
            bad[last] = (chunk.failure, bad.get(last, ("", lines[last]))[1])
        for at, line in enumerate(lines):
            if at in bad:
                rows.rejects.append((chunk.first + at, *bad[at]))
            elif line and not line.isspace():
                _read_line(form, line, chunk.first + at, position, rows)
            else:
                continue
            position += 1
        kept += rows.kept
        frames.append(_framed(rows))
    reviews, facts, tasks, rejects = (pl.concat(column) for column in zip(*frames, strict=True))
    return FileRead(reviews, facts, tasks, rejects, kept, failure or stream.failure)


def _read_line(form: Form, text: str, line: int, position: int, rows: _Rows) -> None:
    try:
        records = form.split(values.mapping(_loads(text), "the line"))
    except (BadRecord, ValueError, RecursionError) as error:
        rows.rejects.append((line, str(error) if isinstance(error, BadRecord) else f"not JSON: {error}", text))
        return
    for record in records:
        try:
            entry = form.read(record)
        except BadRecord as error:
            rows.rejects.append((line, str(error), text if len(records) == 1 else _shown(record)))
        else:
            rows.take(entry, line, position)


def _loads(text: str) -> Any:
    """Parse a line. What orjson refuses (lone surrogates, numbers without end) the lenient parser gets."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def _shown(record: Mapping[str, Any]) -> str:
    """One of several records of a line, as text."""
    return json.dumps(record, ensure_ascii=False, default=str)


def _framed(rows: _Rows) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    rejects = [(line, reason[:RAW_CHARACTERS], printable(raw)) for line, reason, raw in rows.rejects]
    return (
        pl.DataFrame(rows.reviews, schema=REVIEWS),
        pl.DataFrame(rows.facts, schema=FACTS),
        pl.DataFrame(rows.tasks, schema=TASKS),
        pl.DataFrame(rejects, schema=REJECTS, orient="row"),
    )
