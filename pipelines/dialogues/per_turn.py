"""Layouts with a line for each turn: what was said before (`context`) and the turn itself (`resp`).

He et al. 2023 ("Large Language Models as Zero-Shot Conversational Recommenders") write Reddit-Movie, INSPIRED and ReDial so; iEvaLM writes
OpenDialKG so. The dialogue is rebuilt from its lines: every line must be a beginning of the longest one. Whose turn it is, He et al. say for
each line (`is_user`); iEvaLM's lines are the recommender's. Turns that no line is about alternate from their neighbour.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from pipelines.dialogues.dialogue import RECOMMENDER, SEEKER, Dialogue, Item, Turn, hint_names
from pipelines.dialogues.records import (
    BadRecord,
    Books,
    Place,
    Record,
    a_list,
    a_text,
    an_id,
    an_object,
    as_id,
    as_name,
    as_number,
    checked_text,
    dumps,
    json_document,
    json_lines,
    rest_of,
)
from pipelines.dialogues.splits import stated_split
from pipelines.sources.files import SourceFile
from pipelines.sources.records import RAW_CHARACTERS

Names = Mapping[str, Mapping[str, Item]]

# What a book's id begins with: films of the same name are in the same dataset.
BOOK_PREFIX = "book:"

# iEvaLM numbers OpenDialKG's film dialogues first, then those of dialog_Books.jsonl: its 1,706 dialogues from here on, and no other, say what a
# line of that file begins with.
_IEVALM_BOOKS_FROM = 3269

_RESOURCE = re.compile(r"<?https?://[^/]*dbpedia\.org/resource/(.*?)>?", re.DOTALL)


def read_entities(files: Sequence[SourceFile], books: Books) -> dict[str, dict[str, Item]]:
    """Items by the number that entity2id.json gives them, by folder of the file.

    Numbers differ between folders, so an item's id is its DBpedia resource (`Hoffa_(film)`), its name the same, readable.
    """
    by_folder: dict[str, dict[str, Item]] = {}
    for file in files:
        document = json_document(file, books)
        if document is None:
            continue
        if not isinstance(document, dict):
            books.read(file.name)
            books.reject(Place(file.name, 1, dumps(document)[:RAW_CHARACTERS]), "not an object of entities")
            continue
        items = by_folder.setdefault(_folder(file.name), {})
        for position, (entity, number) in enumerate(document.items(), 1):
            books.read(file.name)
            place = Place(file.name, position, dumps({entity: number})[:RAW_CHARACTERS])
            found = _RESOURCE.fullmatch(entity)
            item_id = as_name(found[1] if found else entity)
            key = as_id(number)
            if item_id is None or key is None:
                books.reject(place, "entity: no id" if item_id is None else "number: no id")
                continue
            items[key] = Item(item_id, unquote(item_id.replace("_", " ")))
            books.keep(place)
    return by_folder


def _folder(file: str) -> str:
    return PurePosixPath(file).parent.as_posix()


def read_dialogues(files: Sequence[SourceFile], books: Books, names: Names) -> Iterator[Dialogue]:
    """Dialogues of He et al.'s layout. `names`: what `read_entities` found."""

    def items_of(value: dict[str, Any], place: Place) -> list[tuple[str, str | None]]:
        known = names.get(_folder(place.file), {})
        ids = [found for found in map(as_id, _optional_list(value, "rec")) if found is not None]
        items = [(known[key].item_id, known[key].item_name) if key in known else (key, None) for key in ids]
        return list(dict.fromkeys(items))

    def role_of(value: dict[str, Any]) -> str:
        if value.get("is_user") not in (0, 1):
            raise BadRecord("is_user: neither 0 nor 1")
        return SEEKER if value["is_user"] else RECOMMENDER

    return _rebuilt(files, books, role_of, items_of)


def read_ievalm(files: Sequence[SourceFile], books: Books) -> Iterator[Dialogue]:
    """Dialogues of iEvaLM's OpenDialKG; `rec` names the films, or books, that the recommender comes to.

    Its ids are its own, so a dialogue is `ievalm-<dialog_id>`, and known by its words where another file has it, too.
    """

    def items_of(value: dict[str, Any], place: Place) -> list[tuple[str, str | None]]:
        names = [found for found in map(as_name, _optional_list(value, "rec")) if found is not None]
        prefix = BOOK_PREFIX if _is_about_books(value.get("dialog_id")) else ""
        return [(f"{prefix}{name}", name) for name in dict.fromkeys(names)]

    for dialogue in _rebuilt(files, books, lambda value: RECOMMENDER, items_of):
        dialogue.domain = "book" if _is_about_books(dialogue.source_id) else "film"
        dialogue.source_id = f"ievalm-{dialogue.source_id}"
        dialogue.known_by_words = True
        yield dialogue


def _is_about_books(dialog_id: Any) -> bool:
    number = as_number(dialog_id)
    return number is not None and number >= _IEVALM_BOOKS_FROM


def _optional_list(value: dict[str, Any], key: str) -> list[Any]:
    return [] if value.get(key) is None else a_list(value, key)


class _Line:
    """One record: the texts up to and with its turn."""

    __slots__ = ("dialogue", "items", "place", "role", "texts", "value")

    def __init__(
        self,
        record: Record,
        role_of: Callable[[dict[str, Any]], str],
        items_of: Callable[[dict[str, Any], Place], list[tuple[str, str | None]]],
    ) -> None:
        value = an_object(record.value, "record")
        self.place = record.place
        self.dialogue = an_id(value, "dialog_id")
        self.role = role_of(value)
        context = a_list(value, "context")
        texts = []
        for number, text in enumerate(context):
            if not isinstance(text, str):
                raise BadRecord(f"context[{number}]: not a text")
            texts.append(checked_text(text, f"context[{number}]"))
        # He et al. begin every context with an empty text.
        self.texts = [*(texts[1:] if texts and texts[0] == "" else texts), a_text(value, "resp")]
        self.items = items_of(value, record.place)
        self.value = rest_of(value, "dialog_id", "context", "resp", "rec", "is_user")


def _rebuilt(
    files: Sequence[SourceFile],
    books: Books,
    role_of: Callable[[dict[str, Any]], str],
    items_of: Callable[[dict[str, Any], Place], list[tuple[str, str | None]]],
) -> Iterator[Dialogue]:
    groups: dict[str, list[tuple[_Line, str | None]]] = {}
    for file in files:
        split = stated_split(file.name)
        for record in json_lines(file, books):
            try:
                line = _Line(record, role_of, items_of)
            except BadRecord as error:
                books.reject(record.place, str(error))
                continue
            groups.setdefault(line.dialogue, []).append((line, split))
    for source_id, lines in groups.items():
        yield _dialogue(source_id, lines, books)


def _dialogue(source_id: str, lines: list[tuple[_Line, str | None]], books: Books) -> Dialogue:
    longest = max(lines, key=lambda pair: len(pair[0].texts))[0]
    said: dict[int, _Line] = {}
    stated: dict[str, None] = {}
    for line, split in lines:
        last = len(line.texts) - 1
        other = f"{longest.place.file} line {longest.place.line}"
        if line.texts != longest.texts[: last + 1]:
            books.reject(line.place, f"context: dialog_id {source_id} goes otherwise in {other}")
        elif last in said:
            place = said[last].place
            same = line.value == said[last].value and line.role == said[last].role
            reason = "the same conversation stands in" if same else f"turn {last} of dialog_id {source_id} stands in"
            books.reject(line.place, f"{reason} {place.file} line {place.line}")
            if split:
                stated[split] = None
        else:
            said[last] = line
            if split:
                stated[split] = None
    roles = _roles(len(longest.texts), {at: line.role for at, line in said.items()})
    turns = [Turn(role, text) for role, text in zip(roles, longest.texts, strict=True)]
    for at, line in said.items():
        turns[at].extra = line.value
        hint_names(turns[at], "entity", line.items)
    places = [line.place for line in sorted(said.values(), key=lambda line: (line.place.file, line.place.line))]
    return Dialogue(source_id, places, turns, stated=tuple(stated))


def _roles(count: int, known: Mapping[int, str]) -> list[str]:
    """Who speaks at each of `count` turns: as `known`, else the other one than at the next known turn."""
    roles: list[str] = [""] * count
    other = {SEEKER: RECOMMENDER, RECOMMENDER: SEEKER}
    for at in range(count - 1, -1, -1):
        roles[at] = known[at] if at in known else other[roles[at + 1]]
    return roles
