"""Source columns to the fields of a raw title table, as a block's `[source.columns]` says.

Belongs here: the mapping of columns, null words, splitting, lookups of names, `extra`, ids and content
hashes.
Does not belong here: files, and the cleaning of values (normalise.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import duckdb
import polars as pl

from pipelines.sources.blocks import LIST_FIELDS, FieldRule, Lookup, SourceBlock
from pipelines.sources.records import LINE, RAW, RESERVED, REST
from warehouse.tables.titles import RAW_FIELDS

STRINGS = pl.List(pl.String)

# Tables of a block's lookups: columns `key` (unique) and `value`.
Names = Mapping[Lookup, pl.DataFrame]

# Reserved column: the value by which rows are merged into one record.
GROUP = "\x1fgroup"


def select_where(where: Mapping[str, Sequence[str]], schema: pl.Schema) -> pl.Expr:
    """True for the rows whose columns hold an allowed value (lists: in first place); null is no value."""
    words = {c: pl.col(c).list.first() if schema[c].is_nested() else pl.col(c) for c in where}
    return reduce(
        lambda a, b: a & b,
        (words[column].is_in(list(allowed)).fill_null(False) for column, allowed in where.items()),
        pl.lit(True),
    )


def map_fields(frame: pl.DataFrame, block: SourceBlock) -> pl.DataFrame:
    """LINE, RAW, `source_id`, RAW_FIELDS and `extra` of each row of `frame`: source columns, LINE, RAW, REST.

    Fields with a lookup still hold ids: see `look_up`. `extra` holds the block's unmapped columns, and the
    mapped ones that a lookup replaces (it may not know every id). With `group_by`, its column is there as
    GROUP.
    """
    default_null = block.file_format.null_words
    fields: list[pl.Expr] = []
    for target in ("source_id", *(c.name for c in RAW_FIELDS)):
        rule = block.columns.get(target)
        if rule is None:
            fields.append(pl.lit(None, dtype=STRINGS if target in LIST_FIELDS else pl.String()).alias(target))
        elif target in LIST_FIELDS:
            fields.append(list_field(rule, frame.schema, default_null).alias(target))
        else:
            fields.append(text_field(rule, frame.schema, default_null).alias(target))
    if block.group_by:
        fields.append(_without(pl.col(block.group_by), default_null).alias(GROUP))
    return frame.select(LINE, RAW, *fields, extra_object(frame, block).alias("extra"))


def look_up(frame: pl.DataFrame, block: SourceBlock, names: Names) -> pl.DataFrame:
    """Replace the ids of fields with a lookup by names; ids that no table knows are left out."""
    for target, rule in block.columns.items():
        if rule.lookups:
            frame = _look_up(frame, target, [names[lookup] for lookup in rule.lookups])
    return frame


def text_field(rule: FieldRule, schema: pl.Schema, default_null: Sequence[str]) -> pl.Expr:
    """The first of the rule's columns that holds something, as one text."""
    null_words = default_null if rule.null_words is None else rule.null_words
    texts = [
        _without(_first_item(pl.col(c), rule) if schema[c] == STRINGS else pl.col(c), null_words) for c in rule.columns
    ]
    return _shaped(pl.coalesce(texts), rule)


def _first_item(items: pl.Expr, rule: FieldRule) -> pl.Expr:
    """The first item of a list which the rule's pattern, if it has one, matches."""
    if rule.pattern is not None:
        items = items.list.filter(pl.element().str.contains(rule.pattern))
    return items.list.first()


def list_field(rule: FieldRule, schema: pl.Schema, default_null: Sequence[str]) -> pl.Expr:
    """Texts out of the rule's columns: null words and blanks left out, null when nothing remains."""
    null_words = default_null if rule.null_words is None else rule.null_words
    if rule.flag is not None:
        items = pl.concat_list(
            pl.when(pl.col(c) == rule.flag).then(pl.lit(c)).otherwise(pl.lit(None, pl.String)) for c in rule.columns
        )
    else:
        items = pl.concat_list(
            _items(c, schema[c] == STRINGS, rule, null_words).fill_null(pl.lit([], dtype=STRINGS)) for c in rule.columns
        )
    item = pl.element().str.strip_chars()
    kept = items.list.eval(item.filter(item.is_not_null() & ~item.is_in(["", *null_words])))
    if rule.format is not None:
        kept = kept.list.eval(_formatted(pl.element(), rule.format))
    return pl.when(kept.list.len() > 0).then(kept)


def _items(column: str, is_list: bool, rule: FieldRule, null_words: Sequence[str]) -> pl.Expr:
    """The items of one column as a list; null where the cell is null."""
    if is_list:
        items = pl.col(column)
        if rule.separator is not None:
            # A list among whose items some are joined texts.
            items = items.list.join(rule.separator, ignore_nulls=True).str.split(rule.separator)
        return items.list.eval(pl.element().str.extract(rule.pattern, 0)) if rule.pattern else items
    cell = _without(pl.col(column), null_words)
    if rule.separator is not None:
        return cell.str.split(rule.separator)
    if rule.pattern is not None:
        return cell.str.extract_all(rule.pattern)
    return pl.when(cell.is_not_null()).then(pl.concat_list(cell))


def _without(text: pl.Expr, null_words: Sequence[str]) -> pl.Expr:
    return pl.when(~text.is_in(["", *null_words])).then(text)


def _shaped(text: pl.Expr, rule: FieldRule) -> pl.Expr:
    if rule.pattern is not None:
        # The first group where there is one, else the whole match.
        group = 1 if pl.select(pl.lit("").str.extract_groups(rule.pattern)).to_series().struct.fields else 0
        text = text.str.extract(rule.pattern, group)
    return text if rule.format is None else _formatted(text, rule.format)


def _formatted(text: pl.Expr, form: tuple[str, int, str]) -> pl.Expr:
    prefix, width, suffix = form
    padded = text.str.pad_start(width, "0") if width else text
    return pl.lit(prefix) + padded + pl.lit(suffix)


def extra_object(frame: pl.DataFrame, block: SourceBlock) -> pl.Expr:
    """JSON object of what no field took, without nulls; null when there is nothing."""
    taken = {c for rule in block.columns.values() if not rule.lookups for c in rule.columns}
    taken |= RESERVED | set(block.ignore)
    rest = [name for name in frame.columns if name not in taken]
    null_words = block.file_format.null_words
    pieces: list[pl.Expr] = []
    if rest:
        cleaned = pl.struct(
            _without(pl.col(name), null_words).alias(name) if frame.schema[name] == pl.String else pl.col(name)
            for name in rest
        )
        pieces.append(json_object_of(cleaned, rest))
    if REST in frame.columns:
        pieces.append(pl.col(REST))
    if not pieces:
        return pl.lit(None, dtype=pl.String)
    if len(pieces) == 1:
        return pieces[0]
    bare = [piece.str.strip_prefix("{").str.strip_suffix("}") for piece in pieces]
    joined = pl.concat_str(bare, separator=",", ignore_nulls=True)
    return pl.when(joined != "").then("{" + joined + "}")


def json_object_of(cells: pl.Expr, names: Sequence[str]) -> pl.Expr:
    """As `json_object`, for the fields `names` of the struct `cells`."""
    pairs = [
        pl.when(cells.struct.field(name).is_not_null()).then(
            pl.struct(cells.struct.field(name)).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")
        )
        for name in names
    ]
    joined = pl.concat_str(pairs, separator=",", ignore_nulls=True)
    return pl.when(joined != "").then("{" + joined + "}")


def _look_up(frame: pl.DataFrame, target: str, tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    known = pl.concat([pl.DataFrame(schema={"key": pl.String, "value": pl.String}), *tables])
    known = known.unique("key", keep="first", maintain_order=True)
    if target not in LIST_FIELDS:
        return frame.with_columns(
            pl.col(target).replace_strict(known["key"], known["value"], default=None, return_dtype=pl.String)
        )
    named = (
        frame.select(pl.int_range(pl.len()).alias("row"), target)
        .explode(target)
        .join(known, left_on=target, right_on="key", how="inner", maintain_order="left")
        .group_by("row", maintain_order=True)
        .agg(pl.col("value").unique(maintain_order=True).alias(target))
    )
    rows = pl.DataFrame({"row": pl.int_range(frame.height, eager=True)})
    return frame.with_columns(rows.join(named, on="row", how="left", maintain_order="left")[target])


def with_source_ids(frame: pl.DataFrame) -> pl.DataFrame:
    """Fill missing `source_id`s with the slug of the title and the year.

    The column is never null afterwards.
    """
    slug = pl.col("title").str.normalize("NFC").str.to_lowercase().str.replace_all(r"[^\p{L}\p{M}\p{N}]+", "-")
    slug = slug.str.strip_chars("-")
    slug = pl.when(slug == "").then(pl.col("title").str.strip_chars()).otherwise(slug)
    year = pl.col("year").str.extract(r"\d{4}", 0)
    made = pl.concat_str([slug, year], separator="-", ignore_nulls=True)
    given = pl.col("source_id").str.strip_chars()
    return frame.with_columns(pl.when(given != "").then(given).otherwise(made).alias("source_id"))


def with_row_hashes(frame: pl.DataFrame) -> pl.DataFrame:
    """Add `row_hash`: 63 bits of the MD5 of all fields and `extra`, the same on every machine and run."""
    texts = [
        pl.col(name).list.join("\x1f") if frame.schema[name] == STRINGS else pl.col(name)
        for name in (*(c.name for c in RAW_FIELDS), "extra")
    ]
    content = frame.select(pl.concat_str([t.fill_null("\x1d") for t in texts], separator="\x1e").alias("content"))
    with duckdb.connect() as connection:
        connection.register("records", content)
        hashes = connection.sql("SELECT (md5_number_lower(content) >> 1)::BIGINT AS row_hash FROM records").pl()
    return frame.with_columns(hashes["row_hash"])


def resolve_repeats(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Make `source_id` unique. `frame` is in reading order, with `file` and LINE.

    Returns (rows kept, repeats dropped). A row whose id and content were there before is dropped (column
    `first` says where); one whose content differs becomes `<id>#2`, `#3` ... in reading order.
    """
    if not frame["source_id"].is_duplicated().any():
        return frame, frame.clear().with_columns(pl.lit(None, dtype=pl.String).alias("first"))
    place = (
        pl.when(pl.col("file") == pl.col("file").first().over("source_id", "row_hash"))
        .then(pl.format("line {}", pl.col(LINE).first().over("source_id", "row_hash")))
        .otherwise(
            pl.format(
                "line {} of {}",
                pl.col(LINE).first().over("source_id", "row_hash"),
                pl.col("file").first().over("source_id", "row_hash"),
            )
        )
    )
    seen_before = pl.int_range(pl.len()).over("source_id", "row_hash") > 0
    marked = frame.with_columns(place.alias("first"), seen_before.alias("again"))
    repeats = marked.filter("again").drop("again")
    kept = marked.filter(~pl.col("again")).drop("again", "first")
    # Loops when a made-up id collides with a real one, e.g. a source that has both `7` twice and `7#2`.
    while kept["source_id"].is_duplicated().any():
        count = pl.int_range(1, pl.len() + 1).over("source_id")
        suffix = pl.when(count > 1).then(pl.format("#{}", count)).otherwise(pl.lit(""))
        kept = kept.with_columns((pl.col("source_id") + suffix).alias("source_id"))
    return kept, repeats


def merge_groups(frame: pl.DataFrame) -> pl.DataFrame:
    """One record for each value of GROUP.

    Lists gather their distinct items; of all else the first row that has something is taken.

    Rows whose GROUP is null stay as they are. The column itself is dropped.
    """
    alone = frame.filter(pl.col(GROUP).is_null())
    merged = (
        frame.filter(pl.col(GROUP).is_not_null())
        .group_by(GROUP, maintain_order=True)
        .agg(
            pl.col(name).explode().drop_nulls().unique(maintain_order=True)
            if dtype == STRINGS
            else pl.col(name).drop_nulls().first()
            for name, dtype in frame.schema.items()
            if name != GROUP
        )
        .with_columns(
            pl.when(pl.col(name).list.len() > 0).then(pl.col(name))
            for name, dtype in frame.schema.items()
            if dtype == STRINGS
        )
    )
    return pl.concat([merged.select(frame.columns), alone]).drop(GROUP)
