"""Reading a whole source: its title files, what is joined to them, and the books of every row.

Belongs here: the order of the steps and the accounting. For every file, joined ones too, rows in = rows kept
+ rows rejected; a joined row is kept when it could be read, whether or not a title uses it.
Does not belong here: file formats, the mapping of columns, cleaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from pipelines.sources.blocks import FileFormat, Join, Lookup, SourceBlock
from pipelines.sources.delimited import read_delimited, read_lines
from pipelines.sources.fields import (
    look_up,
    map_fields,
    merge_groups,
    resolve_repeats,
    select_where,
    with_row_hashes,
    with_source_ids,
)
from pipelines.sources.files import ByteStream, Limits, SourceFile, fingerprints, list_folder, match_files
from pipelines.sources.joins import attach, name_table, narrow
from pipelines.sources.jsonfiles import read_json, read_json_lines
from pipelines.sources.parquetfiles import read_parquet
from pipelines.sources.records import LINE, RAW, RESERVED, ReadError, Records, concat_frames
from warehouse.tables.titles import META_ROW_ACCOUNTING, META_SOURCE_FILES, RAW_REJECTS, raw_titles

Progress = Callable[[str], None]

# How the reasons of rows that were read well begin: left out by the block's `where`, or there already. Such
# rows are no sign of a broken file.
FILTERED = "filtered: "
DUPLICATE = "duplicate of "


@dataclass(frozen=True)
class ReadResult:
    """What one source holds.

    `titles`: RAW_TITLE_COLUMNS. `rejects`: RAW_REJECTS. `accounting`: META_ROW_ACCOUNTING. `files`:
    META_SOURCE_FILES.
    `messages`: what a reader of a log should know, e.g. of an empty file.
    """

    titles: pl.DataFrame
    rejects: pl.DataFrame
    accounting: pl.DataFrame
    files: pl.DataFrame
    messages: tuple[str, ...] = ()


@dataclass
class _Books:
    """Rows in, kept and rejected of every file of one source, in the order in which files were read."""

    source: str
    rows_in: dict[str, int] = field(default_factory=dict)
    rows_kept: dict[str, int] = field(default_factory=dict)
    rejects: list[pl.DataFrame] = field(default_factory=list)

    def reject(self, file: str, rows: pl.DataFrame) -> None:
        """Enter `rows` [line, reason, raw] of `file`."""
        if rows.height:
            self.rejects.append(rows.select(pl.lit(file).alias("file"), "line", "reason", "raw"))

    def reject_frame(self) -> pl.DataFrame:
        """All rejects, conforming to RAW_REJECTS."""
        empty = RAW_REJECTS.empty().drop("source")
        rows = pl.concat([empty, *self.rejects]).with_columns(pl.lit(self.source).alias("source"))
        return RAW_REJECTS.conform(rows)

    def accounting(self) -> pl.DataFrame:
        """The books, conforming to META_ROW_ACCOUNTING. Raises ReadError when they do not balance."""
        rejected = dict(self.reject_frame().group_by("file").len().iter_rows())
        rows = [
            {
                "source": self.source,
                "file": file,
                "rows_in": rows_in,
                "rows_kept": self.rows_kept.get(file, 0),
                "rows_rejected": rejected.get(file, 0),
            }
            for file, rows_in in self.rows_in.items()
        ]
        for row in rows:
            if row["rows_in"] != row["rows_kept"] + row["rows_rejected"]:
                raise ReadError(f"{self.source}: the books of {row['file']} do not balance: {row}")
        return META_ROW_ACCOUNTING.frame(rows)


def source_files(block: SourceBlock, sources: Path, previous: pl.DataFrame | None = None) -> pl.DataFrame:
    """Fingerprints [META_SOURCE_FILES] of the files that `block` would read now; empty without title files.

    A file whose size and mtime are those in `previous` (the same frame of an earlier time) is not hashed
    again.
    """
    return _fingerprint_frame(block, _all_files(block, list_folder(sources)), previous)


def read_source(
    block: SourceBlock, sources: Path, progress: Progress | None = None, limits: Limits | None = None
) -> ReadResult:
    """Read all files of `block` under the folder `sources`.

    Raises ReadError, naming file, column and key, when a file does not have the columns that the block needs,
    and FileNotFoundError when there is no such folder. Bad rows and bad files never raise: they are rejects.
    """
    limits = limits or Limits()
    tell = progress or (lambda text: None)
    listing = list_folder(sources)
    books = _Books(block.name)
    messages: list[str] = []

    titles: dict[str, pl.DataFrame] = {}
    for file in match_files(block.files, listing):
        tell(f"reading {file.name}")
        titles[file.name] = _read_titles(file, block, limits, books)
        if books.rows_in[file.name] == 0:
            messages.append(f"{file.name}: no rows")
    for join in block.joins:
        titles = _attach(titles, join, match_files(join.files, listing), limits, books, tell)
    mapped = {name: map_fields(frame, block) for name, frame in titles.items()}
    del titles
    names = _read_names(block, mapped, listing, limits, books, tell)
    pieces = []
    for name in list(mapped):
        frame = look_up(mapped.pop(name), block, names)
        untitled = pl.col("title").fill_null("").str.strip_chars() == ""
        books.reject(name, _reasoned(frame.filter(untitled), pl.lit("title is empty")))
        pieces.append(frame.filter(~untitled).with_columns(pl.lit(name).alias("file")))
    kept = _identified(pieces, block, books)
    return ReadResult(
        titles=kept,
        rejects=books.reject_frame(),
        accounting=books.accounting(),
        files=_fingerprint_frame(block, _all_files(block, listing), None),
        messages=tuple(messages),
    )


def unread_rows(rejects: pl.DataFrame) -> pl.DataFrame:
    """The rejects [RAW_REJECTS] that could not be read: neither left out by `where` nor exact repeats."""
    reason = pl.col("reason")
    return rejects.filter(~reason.str.starts_with(FILTERED) & ~reason.str.starts_with(DUPLICATE))


def reject_share(accounting: pl.DataFrame, rejects: pl.DataFrame) -> float:
    """Share of one source's rows that could not be read; 0 for no rows.

    Rows that `where` left out and exact repeats count neither way. It is what a block's `reject_share_max` is
    compared with. `accounting`: META_ROW_ACCOUNTING, `rejects`: RAW_REJECTS, both of that source alone.
    """
    unread = unread_rows(rejects).height
    rows = int(accounting["rows_kept"].sum()) + unread
    return unread / rows if rows else 0.0


def read_records(
    file: SourceFile,
    form: FileFormat,
    needed: Mapping[str, Sequence[str]],
    paths: Sequence[str],
    limits: Limits,
) -> Iterator[Records]:
    """Records of one file, a chunk at a time; of JSON, the values at `paths` become columns.

    `needed`: key of the block -> columns, of which the file must have at least one (JSON keys may lack). The
    others are added as null. Raises ReadError naming file, column and key.
    """
    for records in _by_format(file, form, paths, limits):
        columns = records.frame.columns
        if len(columns) > len(RESERVED.intersection(columns)):
            for key, names in needed.items():
                if not any(name in columns for name in names):
                    wanted = " or ".join(repr(name) for name in names)
                    own = ", ".join(name for name in columns if name not in RESERVED)
                    raise ReadError(f"{file.name}: no column {wanted} for key {key}; its columns: {own}")
        absent = dict.fromkeys(name for names in needed.values() for name in names if name not in columns)
        frame = records.frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
        yield Records(frame, records.rejects, records.rows_in)


def _by_format(file: SourceFile, form: FileFormat, paths: Sequence[str], limits: Limits) -> Iterator[Records]:
    stream = ByteStream(file, limits)
    match form.format:
        case "csv" | "tsv":
            return read_delimited(stream, form)
        case "lines":
            return read_lines(stream, form)
        case "parquet":
            return read_parquet(stream)
        case "json" if not file.name.removesuffix(".gz").endswith((".jsonl", ".ndjson")):
            return read_json(stream, form, paths)
        case _:
            return read_json_lines(stream, form, paths)


def _counted(
    file: SourceFile,
    form: FileFormat,
    needed: Mapping[str, Sequence[str]],
    limits: Limits,
    books: _Books,
    tell: Progress,
) -> Iterator[pl.DataFrame]:
    """Frames of a joined file, entered in the books unless it was read for something else before."""
    tell(f"reading {file.name}")
    is_new = file.name not in books.rows_in
    if is_new:
        books.rows_in[file.name] = books.rows_kept[file.name] = 0
    paths = [name for names in needed.values() for name in names]
    for records in read_records(file, form, needed, paths, limits):
        if is_new:
            books.rows_in[file.name] += records.rows_in
            books.rows_kept[file.name] += records.frame.height
            books.reject(file.name, records.rejects)
        yield records.frame


def _read_titles(file: SourceFile, block: SourceBlock, limits: Limits, books: _Books) -> pl.DataFrame:
    """Source columns of the rows that `where` lets through; the others are entered as rejects."""
    needed = block.title_columns
    paths = list(dict.fromkeys([*(name for names in needed.values() for name in names), *block.ignore]))
    books.rows_in[file.name] = 0
    pieces: list[pl.DataFrame] = []
    for records in read_records(file, block.file_format, needed, paths, limits):
        books.rows_in[file.name] += records.rows_in
        books.reject(file.name, records.rejects)
        frame = records.frame
        for column, allowed in block.where.items() if frame.height else ():
            passes = select_where({column: allowed}, frame.schema)
            word = pl.col(column).list.first() if frame.schema[column].is_nested() else pl.col(column)
            reason = pl.format(FILTERED + "{} = {}", pl.lit(column), word.fill_null("(nothing)"))
            books.reject(file.name, _reasoned(frame.filter(~passes), reason))
            frame = frame.filter(passes)
        pieces.append(frame)
    return concat_frames(pieces)


def _reasoned(frame: pl.DataFrame, reason: pl.Expr) -> pl.DataFrame:
    # polars 2.1 panics when it formats text over a filtered frame of several chunks.
    return frame.rechunk().select(pl.col(LINE).alias("line"), reason.alias("reason"), pl.col(RAW).alias("raw"))


def _attach(
    titles: dict[str, pl.DataFrame],
    join: Join,
    files: Sequence[SourceFile],
    limits: Limits,
    books: _Books,
    tell: Progress,
) -> dict[str, pl.DataFrame]:
    """`titles` by file, with the columns of one join."""
    for name, frame in titles.items():
        clash = next((c for c in (*join.take, *join.collect) if c in frame.columns), None)
        if clash is not None:
            raise ReadError(
                f'{name}: has a column {clash!r} itself; in the join, rename it: take = {{ new = "{clash}" }}'
            )
    keys = [pl.Series([], dtype=pl.String), *(frame[join.to] for frame in titles.values())]
    unique_keys = pl.concat([key.cast(pl.String).alias("key") for key in keys]).unique()
    pieces = [
        narrow(join, frame, unique_keys)
        for file in (files if titles else ())
        for frame in _counted(file, join.file_format, {c: (c,) for c in join.columns}, limits, books, tell)
        if frame.height
    ]
    return {name: attach(frame, join, pieces) for name, frame in titles.items()}


def _read_names(
    block: SourceBlock,
    mapped: dict[str, pl.DataFrame],
    listing: Sequence[SourceFile],
    limits: Limits,
    books: _Books,
    tell: Progress,
) -> dict[Lookup, pl.DataFrame]:
    """Table of names of every lookup of `block`, holding only the ids which `mapped` mentions."""
    wanted: dict[Lookup, list[pl.Series]] = {}
    for target, rule in block.columns.items():
        for lookup in rule.lookups:
            ids = [frame[target].explode().cast(pl.String).alias("key") for frame in mapped.values()]
            wanted.setdefault(lookup, []).extend(ids)
    names: dict[Lookup, pl.DataFrame] = {}
    for lookup, ids in wanted.items():
        keys = pl.concat([pl.Series("key", [], dtype=pl.String), *ids]).drop_nulls().unique()
        needed = {name: (name,) for name in (lookup.key, *lookup.value_columns)}
        pieces = [
            name_table(lookup, frame, keys)
            for file in (match_files(lookup.files, listing) if mapped else ())
            for frame in _counted(file, lookup.file_format, needed, limits, books, tell)
            if frame.height
        ]
        names[lookup] = pl.concat([pl.DataFrame(schema={"key": pl.String, "value": pl.String}), *pieces])
    return names


def _identified(pieces: Sequence[pl.DataFrame], block: SourceBlock, books: _Books) -> pl.DataFrame:
    """All records with unique ids and hashes, conforming to RAW_TITLE_COLUMNS.

    Exact repeats go to the rejects.
    """
    for piece in pieces:
        if piece.height:
            books.rows_kept[piece["file"][0]] = piece.height
    contract = raw_titles(block.name, block.title)
    if not pieces:
        return contract.empty()
    frame = pl.concat(pieces, rechunk=True)
    if block.group_by:
        frame = merge_groups(frame)
    kept, repeats = resolve_repeats(with_row_hashes(with_source_ids(frame)))
    for (name,), rows in repeats.group_by(["file"], maintain_order=True):
        file = str(name)
        books.reject(file, _reasoned(rows, pl.format(DUPLICATE + "{}", pl.col("first"))))
        books.rows_kept[file] -= rows.height
    return contract.conform(kept.drop(RAW).rename({LINE: "line"}))


def _all_files(block: SourceBlock, listing: Sequence[SourceFile]) -> list[SourceFile]:
    """Every file that a read of `block` opens, each once; none when there is no title file."""
    found = match_files(block.files, listing)
    if found:
        for join in block.joins:
            found += match_files(join.files, listing)
        for rule in block.columns.values():
            for lookup in rule.lookups:
                found += match_files(lookup.files, listing)
    return list(dict.fromkeys(found))


def _fingerprint_frame(block: SourceBlock, files: Sequence[SourceFile], previous: pl.DataFrame | None) -> pl.DataFrame:
    known: dict[str, tuple[int, int, str]] = {}
    if previous is not None:
        own = previous.filter(pl.col("source") == block.name)
        rows = own.select("file", "size_bytes", "mtime_ns", "sha256").iter_rows()
        known = {file: (size, mtime, sha) for file, size, mtime, sha in rows}
    rows_out = [
        (block.name, name, size, mtime, digest, block.hash)
        for name, (size, mtime, digest) in fingerprints(files, known).items()
    ]
    return pl.DataFrame(rows_out, schema=META_SOURCE_FILES.schema, orient="row")
