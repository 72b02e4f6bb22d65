"""Recorded lists, labels and catalogues as their files state them: bytes in, what `zero_shot.py` grades out.

Files may be packed (gzip). Two spellings of keys are understood: a plain one and that of He et al.'s published outputs.

| file | plain | He et al. |
| --- | --- | --- |
| catalogue | a name a line; a JSON list of names; CSV with a column `title` | a JSON object of resources and their numbers |
| labels, a JSON object a line | `id`, `labels`, `seen`, `dialogue` | (line), `rec`, `prev_entity`, `dialog_id` |
| lists, a JSON object a line | `id`, and `text` or `titles` | `index` (line of the labels, from 0), `resp` |

Does not belong here: opening files, grading.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.evaluation.recorded_files import RecordingError, json_of, objects, text_of
from pipelines.reranking.zero_shot import Turn, listed_titles, name_of, plain_name

# What a packed file may come to.
LARGEST_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Catalogue:
    """`names`: distinct, in the file's order. `by_id`: names of entries by the number that labels use; empty where there are none."""

    names: tuple[str, ...]
    by_id: Mapping[int, str]


def read_catalogue(file: str, content: bytes) -> Catalogue:
    """The catalogue in a file. Raises RecordingError, also where no name is left."""
    text = text_of(file, content, LARGEST_BYTES)
    by_id: dict[int, str] = {}
    if text.lstrip()[:1] in ("{", "["):
        entries = json_of(file, text)
        if isinstance(entries, dict):
            for entry, number in entries.items():
                if isinstance(number, bool) or not isinstance(number, int):
                    raise RecordingError(f"{file}: key {entry[:60]!r}: the entry's number must be a whole number")
                if number in by_id:
                    raise RecordingError(f"{file}: key {entry[:60]!r}: the number {number} stands for two entries")
                by_id[number] = name_of(entry)
            names = list(by_id.values())
        else:
            for place, entry in enumerate(entries):
                if not isinstance(entry, str):
                    raise RecordingError(f"{file}: entry {place}: must be a name")
            names = [name_of(entry) for entry in entries]
    elif file.removesuffix(".gz").endswith(".csv"):
        rows = csv.DictReader(io.StringIO(text, newline=""))
        if "title" not in (rows.fieldnames or ()):
            raise RecordingError(f"{file}: line 1: there is no column 'title'")
        names = [plain_name(row["title"] or "") for row in rows]
    else:
        names = [plain_name(line) for line in text.splitlines()]
    distinct = tuple(dict.fromkeys(name for name in names if name))
    if not distinct:
        raise RecordingError(f"{file}: there is no name in it")
    return Catalogue(distinct, by_id)


def read_labels(file: str, content: bytes, catalogue: Catalogue) -> dict[str, Turn]:
    """Turns by id (the line's number, from 0, where none is stated), in the file's order. Raises RecordingError."""
    turns: dict[str, Turn] = {}
    for line, row in objects(file, text_of(file, content, LARGEST_BYTES)):
        key = str(_id(file, line, row, ("id",), default=line - 1))
        labels = _names(file, line, row, ("labels", "rec"), catalogue)
        seen = _names(file, line, row, ("seen", "prev_entity"), catalogue, is_optional=True)
        cluster = _id(file, line, row, ("dialogue", "dialog_id"), default=key)
        if key in turns:
            raise RecordingError(f"{file}: line {line}: key 'id': {key!r} stands there twice")
        turns[key] = Turn(str(cluster), tuple(labels), frozenset(seen))
    if not turns:
        raise RecordingError(f"{file}: there is no turn in it")
    return turns


def read_lists(file: str, content: bytes, turns: Mapping[str, Turn]) -> dict[str, list[str]]:
    """Titles in order by the id of their turn. Raises RecordingError, also for a list of a turn that is not in `turns`."""
    lists: dict[str, list[str]] = {}
    for line, row in objects(file, text_of(file, content, LARGEST_BYTES)):
        key = str(_id(file, line, row, ("id", "index"), default=line - 1))
        if key not in turns:
            raise RecordingError(f"{file}: line {line}: there is no turn {key!r} among the labels")
        if key in lists:
            raise RecordingError(f"{file}: line {line}: there are two lists for the turn {key!r}")
        lists[key] = _listed(file, line, row)
    return lists


def _listed(file: str, line: int, row: Mapping[str, Any]) -> list[str]:
    if "titles" in row:
        titles = row["titles"]
        if not isinstance(titles, list) or not all(isinstance(title, str) for title in titles):
            raise RecordingError(f"{file}: line {line}: key 'titles' must be a list of texts")
        return [name for title in titles if (name := plain_name(title))]
    if "text" in row:
        text = row["text"]
    elif "resp" in row:
        try:
            text = row["resp"]["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise RecordingError(f"{file}: line {line}: key 'resp' holds no choices[0].message.content") from None
    else:
        raise RecordingError(f"{file}: line {line}: one of the keys 'text', 'titles', 'resp' is missing")
    if text is not None and not isinstance(text, str):
        raise RecordingError(f"{file}: line {line}: the answer must be a text")
    return listed_titles(text or "")


def _names(
    file: str, line: int, row: Mapping[str, Any], keys: Sequence[str], catalogue: Catalogue, is_optional: bool = False
) -> list[str]:
    key = next((key for key in keys if key in row), None)
    if key is None:
        if is_optional:
            return []
        raise RecordingError(f"{file}: line {line}: key {keys[0]!r} is missing")
    if not isinstance(row[key], list):
        raise RecordingError(f"{file}: line {line}: key {key!r} must be a list of names or of the catalogue's numbers")
    names = []
    for value in row[key]:
        if isinstance(value, str):
            names.append(name_of(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            if value not in catalogue.by_id:
                raise RecordingError(f"{file}: line {line}: key {key!r}: the catalogue has no entry {value}")
            names.append(catalogue.by_id[value])
        else:
            raise RecordingError(
                f"{file}: line {line}: key {key!r}: {str(value)[:40]!r} is neither a name nor a number"
            )
    return names


def _id(file: str, line: int, row: Mapping[str, Any], keys: Sequence[str], default: str | int) -> str | int:
    for key in keys:
        if key in row:
            if isinstance(row[key], bool) or not isinstance(row[key], str | int):
                raise RecordingError(f"{file}: line {line}: key {key!r} must be a text or a whole number")
            return row[key]
    return default
