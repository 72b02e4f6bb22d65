"""OpenDialKG: its own file (Moon et al. 2019), the book dialogues and the item table that iEvaLM ships.

In the official file a conversation is a list of messages: what is said, and steps through a knowledge graph that the assistant takes before
it says something. It has no ids: `csv-<line>`
serves, and the same words are the same conversation. Films and books are named in the texts, without ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.dialogues.dialogue import RECOMMENDER, SEEKER, Dialogue, Item, Turn, hint_names
from pipelines.dialogues.per_turn import BOOK_PREFIX
from pipelines.dialogues.records import (
    BadRecord,
    Books,
    Place,
    Record,
    a_role,
    a_text,
    an_object,
    as_id,
    as_name,
    as_number,
    dumps,
    json_document,
    json_lines,
    parse_json,
    rest_of,
    table_rows,
)
from pipelines.sources.blocks import FileFormat
from pipelines.sources.files import SourceFile
from pipelines.sources.records import RAW_CHARACTERS

_CSV = FileFormat("csv", quote='"')
_ROLES = {"user": SEEKER, "assistant": RECOMMENDER}
_RATINGS = {"User Rating": SEEKER, "Assistant Rating": RECOMMENDER}
# Of a step (subject, relation, object) the subject is a film or book where the relation is one of these; with `~` before it, the object.
_OF_A_WORK = frozenset({"directed_by", "starred_actors", "written_by", "has_genre", "release_year", "language", "sequel", "prequel"})  # fmt: skip


def read_items(files: Sequence[SourceFile], books: Books) -> dict[str, Item]:
    """Films and books by name (id2info.json); texts and annotations know them by name, so that is their id. The year, where stated, is added."""
    items: dict[str, Item] = {}
    for file in files:
        document = json_document(file, books)
        if document is None:
            continue
        entries = document if isinstance(document, dict) else {"": document}
        for position, value in enumerate(entries.values(), 1):
            books.read(file.name)
            place = Place(file.name, position, dumps(value)[:RAW_CHARACTERS])
            try:
                entry = an_object(value, "entry")
                item_id = as_name(a_text(entry, "name"))
                if item_id is None:
                    raise BadRecord("name: not a name")
            except BadRecord as error:
                books.reject(place, str(error))
                continue
            year = as_id(entry.get("year"))
            items.setdefault(item_id, Item(item_id, f"{item_id} ({year})" if year else item_id, "mixed"))
            books.keep(place)
    return items


# ----------------------------------------------------------------------------------------------------------- official file


def read_dialogues(files: Sequence[SourceFile], books: Books) -> Iterator[Dialogue]:
    """Dialogues of the official file: films, books, music and sports mixed."""
    for file in files:
        for record in table_rows(file, _CSV, books):
            try:
                yield _official(record)
            except BadRecord as error:
                books.reject(record.place, str(error))


def _official(record: Record) -> Dialogue:
    if "Messages" not in record.value:
        raise BadRecord("Messages: no such column")
    messages = parse_json(record.value["Messages"])
    if not isinstance(messages, list):
        raise BadRecord("Messages: not a list")
    turns: list[Turn] = []
    waiting: list[Any] = []
    for number, value in enumerate(messages):
        path = f"Messages[{number}]"
        message = an_object(value, path)
        role = a_role(message, "sender", _ROLES, f"{path}.sender")
        if message.get("type") == "action":
            waiting.append(rest_of(message, "type"))
        elif message.get("type") == "chat":
            turn = Turn(role, a_text(message, "message", f"{path}.message"))
            turn.extra = rest_of(message, "type", "sender", "message")
            if waiting:
                turn.extra["actions"] = waiting
            works = dict.fromkeys(work for action in waiting for work in _works(action))
            hint_names(turn, "entity", [(work, work) for work in works])
            turn.hints = [hint for hint in turn.hints if hint.start is not None]
            waiting = []
            turns.append(turn)
        else:
            raise BadRecord(f"{path}.type: neither chat nor action")
    dialogue = Dialogue(f"csv-{record.place.line}", [record.place], turns, domain="mixed", known_by_words=True)
    if waiting:
        dialogue.extra["actions"] = waiting
    for column, side in _RATINGS.items():
        answer = record.value.get(column, "").strip()
        if answer and answer.lower() != "nan":
            rating = as_number(answer)
            value = (rating - 1) / 4 if rating is not None and 1 <= rating <= 5 else None
            dialogue.feedback[side, "", "rating"] = (None, answer, value)
    dialogue.extra |= rest_of(record.value, "Messages", *_RATINGS)
    return dialogue


def _works(action: dict[str, Any]) -> Iterator[str]:
    """Films and books on the path of an action: [score, [[subject, relation, object], ...], rendered]."""
    metadata = action.get("metadata")
    path = metadata.get("path") if isinstance(metadata, dict) else None
    steps = path[1] if isinstance(path, list) and len(path) > 1 else None
    for step in steps if isinstance(steps, list) else ():
        if not isinstance(step, list) or len(step) != 3 or not all(isinstance(part, str) for part in step):
            continue
        subject, relation, target = step
        if relation.removeprefix("~").lower() not in _OF_A_WORK:
            continue
        work = as_name(target if relation.startswith("~") else subject)
        if work is not None:
            yield work
        if relation.lower() in ("sequel", "prequel") and (other := as_name(target)) is not None:
            yield other


# ----------------------------------------------------------------------------------------------------------- books


def read_books(files: Sequence[SourceFile], books: Books) -> Iterator[Dialogue]:
    """Book dialogues as iEvaLM ships them: a list of turns a line, without an id.

    A book's id is `book:<name>`.
    """
    for file in files:
        for record in json_lines(file, books):
            try:
                yield _book_dialogue(record)
            except BadRecord as error:
                books.reject(record.place, str(error))


def _book_dialogue(record: Record) -> Dialogue:
    if not isinstance(record.value, list):
        raise BadRecord("record: not a list of turns")
    turns = []
    for number, value in enumerate(record.value):
        path = f"[{number}]"
        message = an_object(value, path)
        role = a_role(message, "role", _ROLES, f"{path}.role")
        turn = Turn(role, a_text(message, "text", f"{path}.text"))
        turn.extra = rest_of(message, "role", "text", "item")
        stated = message.get("item")
        names = [name for name in map(as_name, stated if isinstance(stated, list) else []) if name is not None]
        hint_names(turn, "entity", [(f"{BOOK_PREFIX}{name}", name) for name in dict.fromkeys(names)])
        turns.append(turn)
    return Dialogue(f"books-{record.place.line}", [record.place], turns, domain="book", known_by_words=True)
