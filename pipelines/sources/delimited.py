"""Delimited text (csv, tsv, and lines with a pattern) to records, with every malformed record set apart.

Belongs here: records, quotes, field counts, headers.
Does not belong here: bytes and encodings (lines.py), the meaning of columns (fields.py).

How a quoted file is cut into records: a physical line with an even number of quotes stands alone. One with an
odd number opens a record which the next such line closes, provided that what lies between is one well-formed
record with the right number of fields. Otherwise the opening quote is a stray one: that line is judged alone
and the search goes on with the next, so that a stray quote costs its own line and nothing else.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from pipelines.sources.blocks import FileFormat
from pipelines.sources.files import ByteStream, Limits
from pipelines.sources.lines import LineChunk, line_chunks
from pipelines.sources.records import (
    LINE,
    RAW,
    RAW_CHARACTERS,
    ReadError,
    Records,
    concat_rejects,
    reject_rows,
)

# Between two odd lines, lines which alone are complete records of at least this many fields are taken for
# records that two stray quotes enclose, not for text with line ends in it.
_SWALLOWED_FIELDS = 4

# The csv module's own limit is global and too low for our judgement; ours is applied after it.
csv.field_size_limit(max(csv.field_size_limit(), 1 << 30))

Rejected = tuple[int, str, str]


@dataclass
class _Judged:
    """What became of the lines of one chunk that the fast way could not decide."""

    rows: list[tuple[int, str, list[str]]] = field(default_factory=list)
    rejects: list[Rejected] = field(default_factory=list)


def read_delimited(stream: ByteStream, form: FileFormat) -> Iterator[Records]:
    """Records of a csv or tsv file, a chunk at a time; all columns are String, an empty cell is "".

    Raises ReadError when the header cannot be read.
    """
    header = list(form.header) if form.header is not None else None
    carried: LineChunk | None = None
    for chunk in line_chunks(stream, form.encoding):
        if carried is not None:
            chunk = _after(carried, chunk)
        start = 0
        if header is None:
            header, start = _read_header(chunk, form, stream.file.name)
            if header is None:
                yield _without_records(chunk)
                continue
        records, carried = _cut(chunk, start, form, header, stream.limits)
        yield records


def read_lines(stream: ByteStream, form: FileFormat) -> Iterator[Records]:
    """Records of a file whose every line matches `form.pattern`: one String column for each named group."""
    pattern = form.pattern or ""
    for chunk in line_chunks(stream, form.encoding):
        lines, rejects = _standing_lines(chunk, 0)
        cells = lines.with_columns(
            pl.col("text").str.extract_groups(f"^(?:{pattern})$").alias("cells"),
            pl.col("text").str.contains(f"^(?:{pattern})$").alias("fits"),
        )
        found = cells.filter("fits")
        names = [f.name for f in found.schema["cells"].fields]  # type: ignore[attr-defined]
        frame = found.select(
            pl.col("line").alias(LINE),
            pl.col("text").str.head(RAW_CHARACTERS).alias(RAW),
            *(pl.col("cells").struct.field(name) for name in names if not name.isdigit()),
        )
        misfits = cells.filter(~pl.col("fits")).select(
            "line",
            pl.lit("does not match the pattern").alias("reason"),
            pl.col("text").str.head(RAW_CHARACTERS).alias("raw"),
        )
        all_rejects = concat_rejects([rejects, misfits])
        yield Records(frame, all_rejects, frame.height + all_rejects.height)


def _after(carried: LineChunk, chunk: LineChunk) -> LineChunk:
    """`chunk` with the lines that its predecessor left over in front."""
    shift = len(carried.lines)
    bad = carried.bad | {index + shift: why for index, why in chunk.bad.items()}
    return LineChunk(carried.first, carried.lines.append(chunk.lines), bad, chunk.is_last, chunk.failure)


def _read_header(chunk: LineChunk, form: FileFormat, name: str) -> tuple[list[str] | None, int]:
    """(unique column names, position of the first line after the header).

    (None, 0) when there is no line to read.
    """
    texts = chunk.lines.head(1000).to_list()
    start = next((i for i, text in enumerate(texts) if text or i in chunk.bad), None)
    if start is None:
        return None, 0
    if start in chunk.bad and not chunk.failure:
        raise ReadError(f"{name}, line {chunk.first + start}: the header cannot be read: {chunk.bad[start][0]}")
    if chunk.failure and (start in chunk.bad or start == len(chunk.lines) - 1):
        return None, 0
    if not form.quote:
        return _unique(texts[start].split(form.delimiter)), start + 1
    # A quoted column name may hold line ends.
    for end in range(start + 1, len(texts) + 1):
        cells = _cells("\n".join(texts[start:end]), form)
        if isinstance(cells, list):
            return _unique(cells), end
    return _unique(texts[start].split(form.delimiter)), start + 1


def _unique(names: Sequence[str]) -> list[str]:
    """Column names made unique: an empty one becomes column_<n>, a repeated one gets #2, #3 ..."""
    out: list[str] = []
    taken = {LINE, RAW}
    for position, raw in enumerate(names, 1):
        name = raw.strip() or f"column_{position}"
        unique, count = name, 1
        while unique in taken:
            count += 1
            unique = f"{name}#{count}"
        taken.add(unique)
        out.append(unique)
    return out


def _without_records(chunk: LineChunk) -> Records:
    """A chunk of blank lines, or with the remainder of a file that broke off inside its header."""
    rejects = [_remainder(chunk, chunk.failure)] if chunk.failure else []
    frame = pl.DataFrame(schema={LINE: pl.Int64, RAW: pl.String})
    return Records(frame, reject_rows(rejects), len(rejects))


def _cells(record: str, form: FileFormat) -> list[str] | str:
    """Cells of one quoted record, or in words what is wrong with its quotes."""
    # The csv module wants one physical line an item.
    physical = [line + "\n" for line in record.split("\n")]
    reader = csv.reader(physical, delimiter=form.delimiter, quotechar=form.quote, strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        words = {"unexpected end": "unterminated quote", "expected after": "text after a closing quote"}
        return next((text for sign, text in words.items() if sign in str(error)), str(error))
    return rows[0] if len(rows) == 1 else f"{len(rows)} records"


def _standing_lines(chunk: LineChunk, start: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(line, text) of the lines from `start` that are neither bad nor blank; the rejects of the bad ones."""
    lines = _numbered(chunk, start)
    rejects = [(chunk.first + i, reason, raw) for i, (reason, raw) in sorted(chunk.bad.items()) if i >= start]
    if chunk.failure:
        last = chunk.first + len(chunk.lines) - 1
        rejects = [r for r in rejects if r[0] != last] + [_remainder(chunk, chunk.failure)]
        lines = lines.filter(pl.col("line") != last)
    return lines.filter(pl.col("text") != ""), reject_rows(rejects)


def _remainder(chunk: LineChunk, failure: str) -> Rejected:
    """The last line of a file that broke off, as a reject."""
    last = len(chunk.lines) - 1
    return chunk.first + last, failure, chunk.bad[last][1] if last in chunk.bad else chunk.lines[last]


def _numbered(chunk: LineChunk, start: int) -> pl.DataFrame:
    text = chunk.lines.slice(start)
    first = chunk.first + start
    return pl.DataFrame({"line": pl.int_range(first, first + len(text), eager=True), "text": text})


def _cut(
    chunk: LineChunk, start: int, form: FileFormat, header: Sequence[str], limits: Limits
) -> tuple[Records, LineChunk | None]:
    """Records of the lines from `start`, and the lines that the next chunk must finish."""
    width = len(header)
    judged = _Judged()
    carried: LineChunk | None = None
    lines, rejects = _standing_lines(chunk, start)
    if form.quote:
        spent, carried = _follow_odd_quotes(chunk, start, form, width, limits, judged)
        if len(spent):
            lines = lines.join(spent, on="line", how="anti", maintain_order="left")
            rejects = rejects.join(spent, on="line", how="anti", maintain_order="left")
    lines = lines.with_columns(
        pl.col("text").str.count_matches(form.delimiter, literal=True).cast(pl.Int64).alias("delimiters"),
        (pl.col("text").str.contains(form.quote, literal=True) if form.quote else pl.lit(False)).alias("quoted"),
        (pl.col("text").str.len_bytes() > limits.field_characters).alias("long"),
    )
    plain = ~pl.col("quoted") & ~pl.col("long")
    lines = lines.with_columns((plain & (pl.col("delimiters") == width - 1)).alias("fits"))
    if form.quote and lines["quoted"].any():
        quote = _literal(form.quote)
        outside = pl.col("text").str.replace_all(f"{quote}[^{quote}]*{quote}", "")
        well_formed = (
            pl.col("quoted")
            & ~pl.col("long")
            & (outside.str.count_matches(form.delimiter, literal=True) == width - 1)
            & pl.col("text").str.contains(_well_formed(form))
        )
        lines = pl.concat(
            [lines.filter(~pl.col("quoted")), lines.filter("quoted").with_columns(well_formed.alias("fits"))]
        )
    ragged = lines.filter(~pl.col("fits") & plain).select(
        "line",
        pl.concat_str(pl.col("delimiters") + 1, pl.lit(f" fields, header has {width}")).alias("reason"),
        pl.col("text").str.head(RAW_CHARACTERS).alias("raw"),
    )
    for line, text in lines.filter(~pl.col("fits") & ~plain).select("line", "text").iter_rows():
        _judge(line, text, form, width, limits, judged)
    frame = _parse(lines.filter("fits"), form, header)
    if judged.rows:
        frame = pl.concat([frame, _frame_of(judged.rows, header)])
    frame = frame.sort(LINE)
    all_rejects = concat_rejects([rejects, ragged, reject_rows(judged.rejects)]).sort("line", maintain_order=True)
    return Records(frame, all_rejects, frame.height + all_rejects.height), carried


def _well_formed(form: FileFormat) -> str:
    """Regular expression of a one-line record in which quotes stand only where they may."""
    quote, delimiter = _literal(form.quote), _literal(form.delimiter)
    cell = f"(?:{quote}(?:[^{quote}]|{quote}{quote})*{quote}|[^{quote}{delimiter}]*)"
    return f"^{cell}(?:{delimiter}{cell})*$"


def _literal(character: str) -> str:
    """`character` written so that it is literal inside and outside a character class."""
    return f"\\x{{{ord(character):x}}}"


def _follow_odd_quotes(
    chunk: LineChunk, start: int, form: FileFormat, width: int, limits: Limits, judged: _Judged
) -> tuple[pl.DataFrame, LineChunk | None]:
    """Judge every record that a line with an odd number of quotes opens; see the module's docstring.

    Returns the numbers of the lines which are thereby dealt with (one column `line`), and what to carry over.
    """
    quotes = chunk.lines.str.count_matches(form.quote, literal=True)
    odd = [i for i in (quotes % 2 == 1).arg_true().to_list() if i >= start]
    end_of_text = len(chunk.lines) - (1 if chunk.failure else 0)
    odd = [i for i in odd if i < end_of_text]
    if not odd:
        return pl.DataFrame(schema={"line": pl.Int64}), None
    sizes = chunk.lines.str.len_bytes().cum_sum().to_numpy()
    bad = sorted(chunk.bad)
    texts = chunk.lines.to_list()
    spans: list[tuple[int, int]] = []
    carried: LineChunk | None = None
    at = 0
    while at < len(odd):
        opening = odd[at]
        closing = odd[at + 1] if at + 1 < len(odd) else None
        if closing is None and not chunk.is_last and sizes[-1] - sizes[opening] < limits.line_bytes:
            carried = LineChunk(
                chunk.first + opening,
                chunk.lines.slice(opening),
                {i - opening: why for i, why in chunk.bad.items() if i >= opening},
                False,
            )
            spans.append((opening, len(chunk.lines) - 1))
            break
        if closing is not None and sizes[closing] - sizes[opening] < limits.line_bytes:
            record = "\n".join(texts[opening : closing + 1])
            cells = _cells(record, form)
            if isinstance(cells, list) and len(cells) == width and not _swallowed(record, form, width):
                damaged = next((i for i in bad if opening <= i <= closing), None)
                if damaged is not None:
                    judged.rejects.append((chunk.first + opening, chunk.bad[damaged][0], record))
                else:
                    _keep(chunk.first + opening, record, cells, limits, judged)
                spans.append((opening, closing))
                at += 2
                continue
        _judge(chunk.first + opening, texts[opening], form, width, limits, judged)
        spans.append((opening, opening))
        at += 1
    first, last = zip(*spans, strict=True)
    spent = pl.DataFrame({"first": first, "last": last}).select(
        pl.int_ranges(pl.col("first") + chunk.first, pl.col("last") + chunk.first + 1).explode().alias("line")
    )
    return spent, carried


def _swallowed(record: str, form: FileFormat, width: int) -> bool:
    """Whether the lines inside `record` are themselves records: then two stray quotes enclose them."""
    inside = record.split("\n")[1:-1]
    if width < _SWALLOWED_FIELDS or not inside:
        return False
    parsed = (_cells(line, form) for line in inside if line)
    return all(isinstance(cells, list) and len(cells) == width for cells in parsed)


def _judge(line: int, text: str, form: FileFormat, width: int, limits: Limits, judged: _Judged) -> None:
    """Decide on one line that needs a closer look."""
    cells = _cells(text, form) if form.quote else text.split(form.delimiter)
    if isinstance(cells, str):
        judged.rejects.append((line, cells, text))
    elif len(cells) != width:
        judged.rejects.append((line, f"{len(cells)} fields, header has {width}", text))
    else:
        _keep(line, text, cells, limits, judged)


def _keep(line: int, text: str, cells: list[str], limits: Limits, judged: _Judged) -> None:
    longest = max(map(len, cells))
    if longest > limits.field_characters:
        reason = f"field of {longest:,} characters, at most {limits.field_characters:,} are read"
        judged.rejects.append((line, reason, text))
    else:
        judged.rows.append((line, text, cells))


def _frame_of(rows: Sequence[tuple[int, str, list[str]]], header: Sequence[str]) -> pl.DataFrame:
    lines, texts, cells = zip(*rows, strict=True)
    columns = list(zip(*cells, strict=True))
    return pl.DataFrame(
        {
            LINE: lines,
            RAW: [text[:RAW_CHARACTERS] for text in texts],
            **dict(zip(header, columns, strict=True)),
        },
        schema={LINE: pl.Int64, RAW: pl.String, **dict.fromkeys(header, pl.String)},
    )


def _parse(good: pl.DataFrame, form: FileFormat, header: Sequence[str]) -> pl.DataFrame:
    """Cells of one-line records that are known to be well-formed."""
    schema = dict.fromkeys(header, pl.String)
    own = good.select(pl.col("line").alias(LINE), pl.col("text").str.head(RAW_CHARACTERS).alias(RAW))
    if not good.height:
        return own.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in header)
    if len(header) == 1 or len(form.delimiter.encode()) > 1:
        return _parse_split(good, own, form, header)
    try:
        cells = pl.read_csv(
            good["text"].str.join("\n")[0].encode(),
            has_header=False,
            schema=schema,
            separator=form.delimiter,
            quote_char=form.quote or None,
            empty_string_is_null=False,
            glob=False,
        )
    except pl.exceptions.PolarsError:
        cells = pl.DataFrame()
    if cells.height == good.height:
        return own.hstack(cells)
    # Polars sees other records than we do: let the csv module read them, slowly.
    rows = [
        (line, text, _cells(text, form) if form.quote else text.split(form.delimiter))
        for line, text in good.select("line", "text").iter_rows()
    ]
    return _frame_of([(line, text, cells) for line, text, cells in rows if isinstance(cells, list)], header)


def _parse_split(good: pl.DataFrame, own: pl.DataFrame, form: FileFormat, header: Sequence[str]) -> pl.DataFrame:
    """As `_parse`, where polars' own reader cannot: one column, or a delimiter of several characters."""
    text = good["text"]
    if len(header) == 1:
        if form.quote:
            bare = text.str.strip_prefix(form.quote).str.strip_suffix(form.quote)
            text = bare.str.replace_all(form.quote * 2, form.quote, literal=True)
        return own.with_columns(text.alias(header[0]))
    parts = text.str.split(form.delimiter)
    return own.with_columns(parts.list.get(i).alias(name) for i, name in enumerate(header))
