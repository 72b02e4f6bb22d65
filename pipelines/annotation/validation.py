"""People's part: drawing a sample, writing it as a sheet for spreadsheets, reading what they filled in, and settling what they say.

Stage 3 of HARPO's annotation (appendix A.4). Sheets are CSV; a cell that a spreadsheet would take for a formula is written with an
apostrophe before it. Does not belong here: the command (`assets/commands/annotate.py`) and agreement (`pipelines/evaluation/annotation.py`).
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from warehouse.tables.annotation import ANNO_STRATEGY, ANNO_VALIDATION, ANNO_VTO, NO_OPERATION, OPERATIONS, STRATEGIES

ADJUDICATED = "adjudicated"
TURNS_OF_CONTEXT = 6

# A stratum that the share leaves (nearly) out gets as many as this, if it has them.
LEAST_OF_STRATUM = 3

LABELS: dict[str, tuple[str, ...]] = {"vto": OPERATIONS, "strategy": STRATEGIES, "pair": ("chosen", "tie")}
BEFORE_LABELS = ("item_id", "kind", "dataset", "role", "context", "text")
AFTER_LABELS = ("note", "annotator", "sample", "drawn")
_FILLED_IN: dict[str, tuple[str, ...]] = {
    "vto": (*OPERATIONS, NO_OPERATION),
    "strategy": ("strategy",),
    "pair": ("answer_a", "answer_b", "better"),
}

_YES, _NO = {"1", "x", "yes", "y", "true", "1.0"}, {"0", "no", "n", "false", "0.0", "-"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
MOST_PROBLEMS = 20
LONGEST_NOTE = 2_000

# The csv module's own limit of 131,072 characters a cell would turn a long turn into an exception.
_LONGEST_CELL = 4_000_000


class SheetError(ValueError):
    """A sheet cannot be taken in; `problems` names file, line and column of each thing that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        more = f"; and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
        super().__init__("; ".join(self.problems[:MOST_PROBLEMS]) + more)


@dataclass(frozen=True)
class Sample:
    """What was drawn. items: item_id, dataset, dialogue_id, turn, stratum, drawn (JSON); strata: dataset, stratum, items, sampled."""

    items: pl.DataFrame
    strata: pl.DataFrame


# ------------------------------------------------------------------------------------------------------------------- drawing


def turn_items(turns: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Turns that can be drawn for operations, with what the automatic annotation says of each.

    turns: ANNO_TURNS rows; rows: ANNO_VTO rows. Returns item_id, dataset, dialogue_id, turn, stratum, drawn: JSON of `by` (who decided)
    and `labels` (operation: rule or prompt with its version). What people have said is left out: it is not automatic.
    """
    return _items(turns, _speaking(turns, rows), "operation")


def strategy_items(rows: pl.DataFrame) -> pl.DataFrame:
    """Recommender turns that can be drawn for strategies, from ANNO_STRATEGY rows; columns as of `turn_items`.

    Turns that a dataset's annotators have labelled are left out: they have been judged by people.
    """
    labelled = rows.filter(pl.col("source").is_in(["dataset", "human"])).select("dialogue_id", "turn").unique()
    automatic = rows.join(labelled, on=["dialogue_id", "turn"], how="anti")
    chosen = automatic.filter(pl.col("is_chosen")).rename({"source": "by"})
    turns = automatic.select("dialogue_id", "turn", "dataset").unique()
    return _items(turns, chosen, "strategy")


def every_turn(turns: pl.DataFrame) -> pl.DataFrame:
    """All turns as items, drawn or not; turns: dialogue_id, turn, dataset."""
    item = pl.concat_str("dialogue_id", pl.lit("#"), pl.col("turn").cast(pl.String)).alias("item_id")
    nothing = [pl.lit(None, dtype=pl.String).alias(name) for name in ("stratum", "drawn")]
    return turns.select(item, "dataset", "dialogue_id", "turn", *nothing)


def pair_items(pairs: pl.DataFrame) -> pl.DataFrame:
    """Preference pairs that can be drawn: PREF_PAIRS rows that no person made and that repeat no other, of dialogues that were really held."""
    is_drawn = (pl.col("construction") != "human") & pl.col("duplicate_of").is_null()
    own = pairs.filter(is_drawn & pl.col("dialogue_id").is_not_null())
    drawn = [
        json.dumps({"by": None, "labels": {"chosen": f"{construction} {version}"}})
        for construction, version in own.select("construction", "version").iter_rows()
    ]
    return own.select(
        pl.col("pair_id").alias("item_id"), "dataset", "dialogue_id", "turn", pl.col("construction").alias("stratum")
    ).with_columns(pl.Series("drawn", drawn, dtype=pl.String))


def draw(items: pl.DataFrame, share: float) -> Sample:
    """Draw `share` of the items of every dataset, by the hash of their id: an item stays drawn when others are added.

    A stratum of which that leaves fewer than LEAST_OF_STRATUM is filled up with the next in the order of hashes.
    """
    places = (
        items.with_columns(_hash_share(items["item_id"]))
        .with_columns(pl.col("at").rank("ordinal").over("dataset", "stratum").alias("rank"))
        .with_columns(((pl.col("at") < share) | (pl.col("rank") <= LEAST_OF_STRATUM)).alias("is_drawn"))
    )
    strata = (
        places.group_by("dataset", "stratum")
        .agg(pl.len().alias("items"), pl.col("is_drawn").sum().alias("sampled"))
        .sort("dataset", "stratum")
    )
    return Sample(places.filter("is_drawn").drop("at", "rank", "is_drawn").sort("dataset", "item_id"), strata)


def _speaking(turns: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Automatic rows that decide, or would if no person had spoken."""
    by = pl.when(pl.col("rule_confidence").is_not_null()).then(pl.lit("heuristic")).otherwise(pl.lit("llm"))
    deciding = turns.select("dialogue_id", "turn", by.alias("by"))
    return rows.join(deciding, on=["dialogue_id", "turn"]).filter(pl.col("source") == pl.col("by"))


def _items(turns: pl.DataFrame, speaking: pl.DataFrame, label: str) -> pl.DataFrame:
    said = (
        speaking.select(
            "dialogue_id",
            "turn",
            "by",
            pl.col(label).alias("label"),
            pl.concat_str("made_by", "version", "model", separator=" ", ignore_nulls=True).alias("maker"),
        )
        .sort("dialogue_id", "turn", "label", "maker")
        .unique(["dialogue_id", "turn", "label"], keep="first", maintain_order=True)
        .group_by("dialogue_id", "turn", maintain_order=True)
        .agg(pl.col("by").first(), "label", "maker")
    )
    places = turns.select("dialogue_id", "turn", "dataset").join(
        said, on=["dialogue_id", "turn"], how="left", maintain_order="left"
    )
    drawn = [
        json.dumps({"by": by or "open", "labels": dict(zip(labels or (), makers or (), strict=True))})
        for by, labels, makers in places.select("by", "label", "maker").iter_rows()
    ]
    return places.select(
        pl.concat_str("dialogue_id", pl.lit("#"), pl.col("turn").cast(pl.String)).alias("item_id"),
        "dataset",
        "dialogue_id",
        "turn",
        pl.concat_str(
            pl.col("by").fill_null("open"), pl.col("label").list.first().fill_null("nothing"), separator="/"
        ).alias("stratum"),
    ).with_columns(pl.Series("drawn", drawn, dtype=pl.String))


def _hash_share(ids: pl.Series) -> pl.Series:
    """A number from 0 to 1 for each id, evenly spread, the same on every machine."""
    frame = ids.to_frame("id")
    with duckdb.connect() as connection:
        connection.register("ids", frame)
        numbers = connection.sql("SELECT (md5_number_lower(id) >> 11)::DOUBLE AS at FROM ids").pl()["at"]
    return (numbers / 2.0**53).alias("at")


# ------------------------------------------------------------------------------------------------------------------- writing


def write_turn_sheet(
    kind: str, sample: pl.DataFrame, turns: pl.DataFrame, name: str, said: Mapping[str, str] | None = None
) -> str:
    """The sheet of drawn turns (kind vto or strategy), as CSV text; cells for labels are empty: people judge blind.

    sample: item_id, dataset, dialogue_id, turn, drawn. turns: CORE_TURNS rows. `said`: what the annotators said of an item, for
    adjudication; it stands in the note, and the annotator is filled in.
    """
    wanted = sample["dialogue_id"].unique().implode()
    ordered = turns.filter(pl.col("dialogue_id").is_in(wanted)).sort("dialogue_id", "turn")
    lines: dict[str, list[tuple[int, str, str]]] = {}
    for dialogue, turn, role, text in ordered.select("dialogue_id", "turn", "role", "plain_text").iter_rows():
        lines.setdefault(dialogue, []).append((turn, role, text))
    header = (*BEFORE_LABELS, *_FILLED_IN[kind], *AFTER_LABELS)
    rows = []
    for item, dataset, dialogue, turn, drawn in sample.select(
        "item_id", "dataset", "dialogue_id", "turn", "drawn"
    ).iter_rows():
        before = [(role, text) for at, role, text in lines.get(dialogue, ()) if at < turn][-TURNS_OF_CONTEXT:]
        own = [(role, text) for at, role, text in lines.get(dialogue, ()) if at == turn]
        role, text = own[0] if own else ("", "")
        context = "\n".join(f"{who}: {words}" for who, words in before)
        rows.append(
            {"item_id": item, "kind": kind, "dataset": dataset, "role": role, "context": context, "text": text, "sample": name, "drawn": _sealed(drawn)}
            | ({"note": said[item], "annotator": ADJUDICATED} if said and item in said else {})
        )  # fmt: skip
    return _csv(header, rows)


def write_pair_sheet(
    sample: pl.DataFrame, pairs: pl.DataFrame, name: str, said: Mapping[str, str] | None = None
) -> str:
    """The sheet of drawn pairs: the two answers as A and B. Which is the better one by the construction, the id decides."""
    header = (*BEFORE_LABELS, *_FILLED_IN["pair"], *AFTER_LABELS)
    rows = []
    shown = sample.join(pairs.select(pl.col("pair_id").alias("item_id"), "context", "chosen", "rejected"), on="item_id")
    for row in shown.sort("dataset", "item_id").iter_rows(named=True):
        context = "\n".join(f"{each['role']}: {each['content']}" for each in row["context"][-TURNS_OF_CONTEXT:])
        first, second = ("chosen", "rejected") if is_chosen_first(row["item_id"]) else ("rejected", "chosen")
        rows.append(
            {"item_id": row["item_id"], "kind": "pair", "dataset": row["dataset"], "role": "recommender", "context": context,
             "text": "Which answer is better: A, B or tie?", "answer_a": row[first], "answer_b": row[second], "sample": name,
             "drawn": _sealed(row["drawn"])}
            | ({"note": said[row["item_id"]], "annotator": ADJUDICATED} if said and row["item_id"] in said else {})
        )  # fmt: skip
    return _csv(header, rows)


def is_chosen_first(pair_id: str) -> bool:
    """Whether the sheet shows the better answer as A: even and odd ids, so that neither side tells."""
    return int(pair_id, 16) % 2 == 0


def escaped(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) or (cell.startswith("'") and cell[1:].startswith(_FORMULA)) else cell


def unescaped(cell: str) -> str:
    """What `escaped` was given."""
    if cell.startswith("'") and (cell[1:].startswith(_FORMULA) or cell[1:2] == "'"):
        return cell[1:]
    return cell


def _csv(header: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([escaped(_printable(row.get(name) or "")) for name in header])
    return target.getvalue()


def _printable(text: str) -> str:
    return "".join(each for each in text if each in "\n\t" or (ord(each) >= 32 and not 0xD800 <= ord(each) < 0xE000))


def _sealed(drawn: str) -> str:
    """Not readable at a glance: whoever fills the sheet in is not to be led by what rules and models said."""
    return base64.b64encode(drawn.encode()).decode()


# ------------------------------------------------------------------------------------------------------------------- reading


def read_sheet(
    content: bytes, file: str, items: pl.DataFrame, imported_at: datetime, annotator: str | None = None
) -> pl.DataFrame:
    """ANNO_VALIDATION rows of a filled-in sheet. Rows without a judgement are passed over, so partial sheets are fine.

    items: kind, item_id, dataset, dialogue_id, turn, of everything that could be judged. `annotator` is taken where the sheet names none.
    Raises SheetError with everything that is wrong: then nothing of it is to be used.
    """
    header, body, problems = _table(content, file)
    kinds = {"vto": set(_FILLED_IN["vto"]), "strategy": {"strategy"}, "pair": {"better"}}
    known: dict[tuple[str, str], tuple[str, str, int]] = {}
    if not problems:
        ids = {row.get("item_id", "") for _, row in body}
        own = items.filter(pl.col("item_id").is_in(list(ids)))
        places = own.select("kind", "item_id", "dataset", "dialogue_id", "turn").iter_rows()
        known = {(kind, item): (dataset, dialogue, turn) for kind, item, dataset, dialogue, turn in places}
        for kind, needed in kinds.items():
            if any(row.get("kind") == kind for _, row in body) and not needed <= set(header):
                problems.append(
                    f"{file}: columns of kind {kind} are missing: {', '.join(sorted(needed - set(header)))}"
                )
    found: list[dict[str, Any]] = []
    seen: dict[tuple[str, str, str], int] = {}
    for line, row in body if not problems else ():
        where = f"{file}, line {line}"
        item, kind = row.get("item_id", ""), row.get("kind", "")
        if kind not in kinds:
            problems.append(f"{where}, column kind: {kind[:40]!r} is none of {', '.join(kinds)}")
            continue
        judged, wrong = _judgement(kind, row, item)
        problems += [f"{where}, column {column}: {what}" for column, what in wrong]
        if wrong or judged is None:
            continue
        if (kind, item) not in known:
            problems.append(f"{where}, column item_id: unknown item {item[:80]!r}")
            continue
        who = (row.get("annotator") or annotator or "").strip()
        if not who or len(who) > 100:
            problems.append(f"{where}, column annotator: nobody is named; fill it in or state --annotator")
            continue
        drawn = _unsealed(row.get("drawn", ""))
        if drawn is None:
            problems.append(f"{where}, column drawn: not what was exported")
            continue
        if (kind, item, who) in seen:
            problems.append(f"{where}, column item_id: {item} is judged by {who} in line {seen[kind, item, who]}, too")
            continue
        seen[kind, item, who] = line
        dataset, dialogue, turn = known[kind, item]
        for label, is_present in judged.items():
            found.append(
                {"kind": kind, "item_id": item, "dataset": dataset, "dialogue_id": dialogue, "turn": turn, "annotator": who, "label": label,
                 "is_present": is_present, "was_present": label in drawn["labels"], "was_by": drawn["by"],
                 "made_by": drawn["labels"].get(label), "sample": row.get("sample") or "unnamed", "note": (row.get("note") or None),
                 "imported_at": imported_at}
            )  # fmt: skip
    if problems:
        raise SheetError(problems)
    return ANNO_VALIDATION.conform(pl.DataFrame(found, schema=dict(ANNO_VALIDATION.schema), orient="row"))


def news(imported: pl.DataFrame, stored: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows to insert or update, keys to delete) that bring `stored` up to an import. Both are empty when it says nothing new."""
    content = [name for name in ANNO_VALIDATION.schema if name != "imported_at"]
    fresh = imported.join(stored.select(content), on=content, how="anti", nulls_equal=True)
    judged = ["kind", "item_id", "annotator"]
    key = list(ANNO_VALIDATION.key)
    gone = stored.join(imported.select(judged).unique(), on=judged, how="semi").join(
        imported.select(key), on=key, how="anti"
    )
    return fresh, gone.select(key)


def _table(content: bytes, file: str) -> tuple[list[str], list[tuple[int, dict[str, str]]], list[str]]:
    """Header, rows with their line, and what is wrong with the file as such."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return [], [], [f"{file}, line {line}: not UTF-8; save the sheet as CSV UTF-8"]
    if "\0" in text:
        return [], [], [f"{file}, line {text[: text.index(chr(0))].count(chr(10)) + 1}: holds a NUL character"]
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in ("item_id", "kind", "drawn") if name not in header]
        if missing:
            return [], [], [f"{file}, line 1: columns are missing: {', '.join(missing)}"]
        repeated = sorted({name for name in header if header.count(name) > 1 and name})
        if repeated:
            return [], [], [f"{file}, line 1: columns are there twice: {', '.join(repeated)}"]
        body, problems, start = [], [], 2
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) > len(header):
                    problems.append(f"{file}, line {start}: {len(cells)} cells under {len(header)} columns")
                body.append((start, {name: unescaped(cell.strip()) for name, cell in zip(header, cells, strict=False)}))
            start = reader.line_num + 1
        return header, body, problems
    except csv.Error as error:
        return [], [], [f"{file}: not CSV: {error}"]
    finally:
        csv.field_size_limit(limit)


def _judgement(kind: str, row: Mapping[str, str], item: str) -> tuple[dict[str, bool] | None, list[tuple[str, str]]]:
    """(labels with whether they hold; None when the row is not filled in, what is wrong by column)."""
    if len(row.get("note") or "") > LONGEST_NOTE:
        return None, [("note", f"longer than {LONGEST_NOTE:,} characters")]
    if kind == "strategy":
        said = (row.get("strategy") or "").strip().lower().replace(" ", "_").replace("-", "_")
        if not said:
            return None, []
        if said not in STRATEGIES:
            return None, [("strategy", f"{said[:40]!r} is none of {', '.join(STRATEGIES)}")]
        return {name: name == said for name in STRATEGIES}, []
    if kind == "pair":
        said = (row.get("better") or "").strip().lower()
        if not said:
            return None, []
        if said not in {"a", "b", "tie"}:
            return None, [("better", f"{said[:40]!r} is none of A, B, tie")]
        if said == "tie":
            return {"tie": True}, []
        try:
            return {"chosen": (said == "a") == is_chosen_first(item)}, []
        except ValueError:
            return None, [("item_id", f"{item[:80]!r} is no pair")]
    cells: dict[str, bool] = {}
    wrong = []
    for name in (*OPERATIONS, NO_OPERATION):
        cell = (row.get(name) or "").strip().lower()
        if cell in _YES or cell in _NO:
            cells[name] = cell in _YES
        elif cell:
            wrong.append((name, f"{cell[:40]!r} is neither 1 nor 0"))
    if wrong or not cells:
        return None, wrong
    is_none = cells.pop(NO_OPERATION, False)
    present = [name for name, is_present in cells.items() if is_present]
    if is_none and present:
        return None, [(NO_OPERATION, f"marked beside {', '.join(present)}")]
    if not is_none and not present and len(cells) < len(OPERATIONS):
        return None, [(NO_OPERATION, "mark it when the turn has no operation, or fill in every column")]
    return {name: cells.get(name, False) for name in OPERATIONS}, []


def _unsealed(seal: str) -> dict[str, Any] | None:
    try:
        drawn = json.loads(base64.b64decode(seal, validate=True))
        labels = drawn["labels"]
        fits = drawn["by"] in (None, "open", "heuristic", "llm", "dataset") and all(
            isinstance(value, str) and len(value) < 200 for value in labels.values()
        )
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError):
        return None
    return drawn if fits else None


# ------------------------------------------------------------------------------------------------------------------- settling


def settled(validation: pl.DataFrame, kind: str) -> pl.DataFrame:
    """What people hold together: item_id, dataset, dialogue_id, turn, annotators, sample, labels (those present), one row an item.

    What was adjudicated holds; otherwise what one person says alone, or all say alike. Items on which they differ are left out.
    """
    said = _said(validation, kind)
    ruled = said.filter(pl.col("annotator") == ADJUDICATED)
    others = said.join(ruled.select("item_id"), on="item_id", how="anti")
    agreed = others.filter(pl.col("labels").n_unique().over("item_id") == 1)
    together = (
        pl.concat([ruled, agreed])
        .sort("item_id", "annotator")
        .group_by("item_id", maintain_order=True)
        .agg(
            pl.col("dataset", "dialogue_id", "turn", "sample").first(),
            pl.col("annotator").str.join(", ").alias("annotators"),
            pl.col("labels").first(),
        )
    )
    return together.with_columns(pl.col("labels").str.split("|").list.eval(pl.element().filter(pl.element() != "")))


def disagreements(validation: pl.DataFrame, kind: str) -> dict[str, str]:
    """Items on which annotators differ and nobody has ruled, with what each said: `item: "ann: a, b; bob: b"`."""
    said = _said(validation, kind)
    open_items = said.filter(
        (pl.col("labels").n_unique().over("item_id") > 1) & ~(pl.col("annotator") == ADJUDICATED).any().over("item_id")
    ).sort("item_id", "annotator")
    words: dict[str, list[str]] = {}
    for item, who, labels in open_items.select("item_id", "annotator", "labels").iter_rows():
        words.setdefault(item, []).append(f"{who}: {labels.replace('|', ', ') or 'none'}")
    return {item: "; ".join(each) for item, each in words.items()}


def human_vto_rows(validation: pl.DataFrame) -> pl.DataFrame:
    """ANNO_VTO rows of people: what they hold together, `no_operation` where that is none."""
    held = settled(validation, "vto").with_columns(
        pl.when(pl.col("labels").list.len() == 0)
        .then(pl.lit([NO_OPERATION]))
        .otherwise(pl.col("labels"))
        .alias("operation")
    )
    rank = pl.col("operation").replace_strict(
        {name: at for at, name in enumerate((*OPERATIONS, NO_OPERATION))}, return_dtype=pl.Int32
    )
    rows = held.explode("operation", empty_as_null=False).with_columns(
        (rank.rank("dense").over("item_id") - 1).cast(pl.Int32).alias("position")
    )
    return ANNO_VTO.conform(_human(rows, "operation", "position"))


def human_strategy_rows(validation: pl.DataFrame) -> pl.DataFrame:
    """ANNO_STRATEGY rows of people."""
    rows = (
        settled(validation, "strategy")
        .explode("labels", empty_as_null=False)
        .with_columns(pl.lit(0, dtype=pl.Int32).alias("position"), pl.lit(False).alias("is_chosen"))
        .rename({"labels": "strategy"})
    )
    return ANNO_STRATEGY.conform(_human(rows, "strategy", "position", "is_chosen"))


def _human(rows: pl.DataFrame, *columns: str) -> pl.DataFrame:
    return rows.select(
        "dialogue_id",
        "turn",
        "dataset",
        *columns,
        pl.lit("human").alias("source"),
        pl.lit(1.0, dtype=pl.Float32).alias("confidence"),
        pl.col("annotators").alias("made_by"),
        pl.col("sample").alias("version"),
        pl.lit(None, dtype=pl.String).alias("model"),
        pl.lit(False).alias("is_stand_in"),
    )


def _said(validation: pl.DataFrame, kind: str) -> pl.DataFrame:
    """One row an item and annotator: item_id, dataset, dialogue_id, turn, annotator, sample, labels (present ones, joined by |)."""
    return (
        validation.filter(pl.col("kind") == kind)
        .sort("item_id", "annotator", "label")
        .group_by("item_id", "annotator", maintain_order=True)
        .agg(
            pl.col("dataset", "dialogue_id", "turn", "sample").first(),
            pl.col("label").filter(pl.col("is_present")).str.join("|").alias("labels"),
        )
    )
