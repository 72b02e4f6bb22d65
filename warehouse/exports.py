"""Published tables as files for other programs: Parquet, JSON lines, a folder that Hugging Face `datasets` loads.

Belongs here: writing rows as they come, and the dataset card. Does not belong here: the shapes that trainers want, which are views
(`warehouse/tables/preferences.py`).

An export is written beside its place and renamed into it, so that a half-written one never has its name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from warehouse.catalog import identifier
from warehouse.sql import batches, describe, query, tables

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["parquet", "jsonl", "hf"]
FORMATS: tuple[Format, ...] = ("parquet", "jsonl", "hf")

CARD = "README.md"
DATA_FOLDER = "data"
# What `datasets` calls the splits that it knows; others keep their names.
SPLIT_NAMES = {"valid": "validation"}
WHOLE = "train"
# Stands in every card that is written here, so that nothing else is taken for an export and replaced.
_MARK = "Written by `marquee export`."
# Values become names of files.
_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,60}")
# Licences that the Hub has a name for.
_LICENCE_IDS = {"CC BY 4.0": "cc-by-4.0", "CC BY-NC 4.0": "cc-by-nc-4.0", "CC0": "cc0-1.0", "MIT": "mit"}


class ExportError(ValueError):
    """Nothing can be written there; the message says why. What stood there stays."""


@dataclass(frozen=True)
class Exported:
    """What was written: rows of each file, by its path inside `path` (or the file's own name)."""

    path: Path
    rows: Mapping[str, int] = field(default_factory=dict)


def export(
    root: Path,
    table: str,
    out: Path,
    form: Format = "parquet",
    is_forced: bool = False,
    licences: Mapping[str, str] | None = None,
) -> Exported:
    """Write the published table or view `table` of the warehouse `root` to `out`.

    `parquet` and `jsonl` make one file (JSON lines in UTF-8: lists stay lists), `hf` a folder with a file a split and a card. `licences`:
    licence by dataset, for the card. With `is_forced` a file, or a folder that an export wrote, is replaced. Rows are written in
    batches. Raises QueryError where nothing published has that name, ExportError where `out` cannot be written to.
    """
    described = describe(root, table)
    out = Path(out).expanduser().absolute()
    _check_free(out, is_forced, is_folder=form == "hf")
    columns = described["column"].to_list()
    with _beside(out) as new:
        if form == "parquet":
            rows = {out.name: _write_parquet(batches(root, _select(table)), new)}
        elif form == "jsonl":
            rows = {out.name: _write_json_lines(batches(root, _select(table)), new)}
        else:
            rows = _write_folder(root, table, columns, new, licences or {})
    return Exported(out, rows)


def _select(table: str) -> str:
    return f"SELECT * FROM {identifier(table)}"


# -- where it goes -----------------------------------------------------------------------------------------


def _check_free(out: Path, is_forced: bool, is_folder: bool) -> None:
    if not out.name:
        raise ExportError(f"{out}: not a place to write to")
    if not os.path.lexists(out):
        return
    if out.is_symlink():
        raise ExportError(f"{out}: is a link; name the place that it leads to")
    if not is_forced:
        raise ExportError(f"{out}: exists already; --force replaces it")
    if is_folder != out.is_dir():
        raise ExportError(f"{out}: is a {'file' if is_folder else 'folder'} and stays; name another place")
    if is_folder and any(out.iterdir()) and not _is_export(out):
        raise ExportError(f"{out}: is a folder that no export wrote and stays; name another place")


def _is_export(folder: Path) -> bool:
    card = folder / CARD
    known = {CARD, DATA_FOLDER}
    return (
        card.is_file()
        and {each.name for each in folder.iterdir()} <= known
        and _MARK in card.read_text("utf-8", "replace")
    )


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A path beside `out` to write to, which takes the place of `out` when all went well and is removed when not."""
    new, old = (out.with_name(f".{out.name}.{os.getpid()}.{word}") for word in ("new", "old"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{out}: cannot be written: {error.strerror}") from error
    try:
        yield new
        if out.is_dir():
            # A folder is not renamed over another one.
            out.rename(old)
            try:
                new.rename(out)
            except OSError:
                old.rename(out)
                raise
            shutil.rmtree(old)
        else:
            new.replace(out)
    except OSError as error:
        raise ExportError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        if new.is_dir():
            shutil.rmtree(new, ignore_errors=True)
        else:
            new.unlink(missing_ok=True)


# -- what is written ---------------------------------------------------------------------------------------


def _write_parquet(answer: Iterable[pa.RecordBatch], path: Path) -> int:
    import pyarrow.parquet as pq

    rows, parts = 0, iter(answer)
    schema = next(parts).schema
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in parts:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _write_json_lines(answer: Iterable[pa.RecordBatch], path: Path) -> int:
    import polars as pl

    rows = 0
    with path.open("wb") as file:
        for batch in answer:
            if batch.num_rows:
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                frame.write_ndjson(file)
                rows += batch.num_rows
    return rows


def _write_folder(
    root: Path, table: str, columns: list[str], folder: Path, licences: Mapping[str, str]
) -> dict[str, int]:
    (folder / DATA_FOLDER).mkdir(parents=True)
    answer = batches(root, _select(table))
    if "split" in columns:
        rows = _write_splits(answer, folder)
    else:
        path = _data_file(WHOLE)
        rows = {path: _write_parquet(answer, folder / path)}
    (folder / CARD).write_text(_card(root, table, columns, folder, rows, licences), "utf-8")
    return rows


def _data_file(split: str) -> str:
    return f"{DATA_FOLDER}/{split}-00000-of-00001.parquet"


def _write_splits(answer: Iterable[pa.RecordBatch], folder: Path) -> dict[str, int]:
    """One file for each value of the column `split`, in one pass, so that all are of one version of the table."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    parts = iter(answer)
    schema = next(parts).schema
    rows: dict[str, int] = {}
    with ExitStack() as open_files:
        writers: dict[str, pq.ParquetWriter] = {}

        def writer(split: str) -> pq.ParquetWriter:
            if split not in writers:
                path = folder / _data_file(split)
                writers[split] = open_files.enter_context(pq.ParquetWriter(path, schema, compression="zstd"))
            return writers[split]

        for batch in parts:
            column = batch.column("split")
            for value in pc.unique(column).to_pylist():
                if not isinstance(value, str) or not _SPLIT.fullmatch(value):
                    raise ExportError(f"column split: {value!r} is no name of a split")
                name = SPLIT_NAMES.get(value, value)
                some = batch.filter(pc.equal(column, pa.scalar(value)))
                writer(name).write_batch(some)
                rows[_data_file(name)] = rows.get(_data_file(name), 0) + some.num_rows
        if not writers:
            writer(WHOLE)
            rows[_data_file(WHOLE)] = 0
    return dict(sorted(rows.items()))


# -- the card ----------------------------------------------------------------------------------------------


def _card(
    root: Path, table: str, columns: list[str], folder: Path, rows: Mapping[str, int], licences: Mapping[str, str]
) -> str:
    """The dataset card: YAML for `datasets` and the Hub, then words for people."""
    import pyarrow.parquet as pq

    listed = tables(root)
    about = listed.filter(listed["name"] == table).row(0, named=True)
    schema = pq.read_schema(folder / next(iter(rows)))
    names = {path: Path(path).name.split("-00000")[0] for path in rows}
    terms = _terms(root, table, columns, licences)
    split_lines = [
        line
        for path, name in names.items()
        for line in (
            f"  - name: {_quoted(name)}",
            f"    num_bytes: {(folder / path).stat().st_size}",
            f"    num_examples: {rows[path]}",
        )
    ]
    yaml = [
        f"pretty_name: {_quoted(f'Marquee: {table}')}",
        f"license: {_licence_id(terms)}",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *(
            line
            for path, name in names.items()
            for line in (f"  - split: {_quoted(name)}", f"    path: {_quoted(path)}")
        ),
        "dataset_info:",
        "  features:",
        *(line for at in range(len(schema)) for line in _feature(schema.field(at), "  ")),
        "  splits:",
        *split_lines,
    ]
    meanings = describe(root, table)
    words = [
        f"# {table}",
        "",
        about["meaning"],
        "",
        f"{_MARK} "
        + (f"Version {about['version']} of the table" if about["version"] is not None else "A view")
        + f", {sum(rows.values()):,} rows. How each row was made is in its columns.",
        "",
        *_stand_in_words(root, table, columns),
        "## Columns",
        "",
        "| column | type | meaning |",
        "| --- | --- | --- |",
        *(f"| `{column}` | `{kind}` | {_cell(meaning)} |" for column, kind, meaning in meanings.iter_rows()),
        "",
        "## Licence",
        "",
        *(
            [f"- {dataset}: {licence}" for dataset, licence in terms.items()]
            or ["The terms of the sources that the rows were made from apply, the strictest of them to the whole."]
        ),
        "",
        "Texts and titles are the owners'; pass them on under these terms only.",
        "",
    ]
    return "\n".join(["---", *yaml, "---", "", *words])


def _terms(root: Path, table: str, columns: list[str], licences: Mapping[str, str]) -> dict[str, str]:
    """The licence of each dataset that rows are from."""
    if "dataset" not in columns:
        return {}
    found = query(root, f"SELECT DISTINCT dataset FROM {identifier(table)} WHERE dataset IS NOT NULL ORDER BY dataset")
    return {dataset: licences.get(dataset, "none stated") for dataset in found["dataset"]}


def _licence_id(terms: Mapping[str, str]) -> str:
    """The Hub's name of the licence where all rows are under one that has a name, else `other`."""
    stated = set(terms.values())
    return _LICENCE_IDS.get(stated.pop(), "other") if len(stated) == 1 else "other"


def _stand_in_words(root: Path, table: str, columns: list[str]) -> list[str]:
    if "is_stand_in" not in columns:
        return []
    count = query(root, f"SELECT count(*) AS n FROM {identifier(table)} WHERE is_stand_in").item()
    if not count:
        return ["No row was made with the rule-based stand-in for a language model.", ""]
    return [
        f"**{count:,} rows (`is_stand_in`) were made with a rule-based stand-in that answers offline. They are no model's results: leave "
        "them out of anything that is to be learned or reported.**",
        "",
    ]


def _feature(column: pa.Field, indent: str) -> list[str]:
    """Lines of YAML that say what a column is, as `datasets` writes them."""
    import pyarrow as pa

    kind = column.type
    head = f"{indent}- name: {_quoted(column.name)}"
    inside = indent + "  "
    if pa.types.is_struct(kind):
        return [head, f"{inside}struct:", *(line for part in kind for line in _feature(part, inside))]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if pa.types.is_struct(kind.value_type):
            return [head, f"{inside}list:", *(line for part in kind.value_type for line in _feature(part, inside))]
        return [head, f"{inside}list: {_scalar(kind.value_type)}"]
    return [head, f"{inside}dtype: {_scalar(kind)}"]


def _scalar(kind: pa.DataType) -> str:
    """The name that `datasets` has for a type."""
    names = {"double": "float64", "float": "float32", "halffloat": "float16", "date32[day]": "date32"}
    return names.get(str(kind), str(kind))


def _quoted(text: str) -> str:
    # JSON strings are YAML strings.
    return json.dumps(text, ensure_ascii=False)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
