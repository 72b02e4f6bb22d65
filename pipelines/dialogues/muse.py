"""MUSE: multimodal shopping dialogues about fashion, one JSON file each, and the user profiles they were made from.

A turn is what the user or the assistant says, with an action, the items and the images that are shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from pipelines.dialogues.dialogue import RECOMMENDER, SEEKER, Dialogue, Hint, Item, Turn
from pipelines.dialogues.records import (
    BadRecord,
    Books,
    Place,
    a_list,
    a_text,
    an_id,
    an_object,
    as_id,
    dumps,
    json_document,
    rest_of,
)
from pipelines.sources.files import SourceFile
from pipelines.sources.records import RAW_CHARACTERS

DOMAIN = "fashion"
_ROLES = {"User": SEEKER, "Assistant": RECOMMENDER}


def read_profiles(files: Sequence[SourceFile], books: Books) -> dict[str, Item]:
    """Items that user profiles name as their target, by id."""
    items: dict[str, Item] = {}
    for file in files:
        document = json_document(file, books)
        for position, value in enumerate(document if isinstance(document, list) else [document], 1):
            if document is None:
                continue
            books.read(file.name)
            place = Place(file.name, position, dumps(value)[:RAW_CHARACTERS])
            try:
                target = an_object(an_object(value, "profile").get("target_item"), "target_item")
                item_id = an_id(target, "item_id", "target_item.item_id")
                name = a_text(target, "title", "target_item.title")
                if not name.strip():
                    raise BadRecord("target_item.title: empty")
            except BadRecord as error:
                books.reject(place, str(error))
                continue
            items.setdefault(item_id, Item(item_id, name, DOMAIN))
            books.keep(place)
    return items


def read_dialogues(files: Sequence[SourceFile], books: Books, items: Mapping[str, Item]) -> Iterator[Dialogue]:
    """One dialogue a file; its id is the file's name."""
    for file in files:
        document = json_document(file, books)
        if document is None:
            continue
        books.read(file.name)
        place = Place(file.name, 1, dumps(document)[:RAW_CHARACTERS])
        try:
            yield _dialogue(document, place, items)
        except BadRecord as error:
            books.reject(place, str(error))


def _dialogue(document: Any, place: Place, items: Mapping[str, Item]) -> Dialogue:
    record = an_object(document, "record")
    source_id = as_id(PurePosixPath(place.file.removesuffix(".gz")).stem)
    if source_id is None:
        raise BadRecord("the file's name is no id")
    turns = [
        _turn(value, f"Conversations[{number}]", items) for number, value in enumerate(a_list(record, "Conversations"))
    ]
    dialogue = Dialogue(source_id, [place], turns, domain=DOMAIN)
    dialogue.extra = rest_of(record, "Conversations", "Persona", "Scenario", "Target_item")
    for key, value in (("Persona", record.get("Persona")), ("Scenario", record.get("Scenario"))):
        if isinstance(value, str):
            setattr(dialogue, key.lower(), value)
        elif value is not None:
            dialogue.extra.setdefault("unreadable", {})[key] = value
    dialogue.target_item = as_id(record.get("Target_item"))
    if dialogue.target_item is None and record.get("Target_item") is not None:
        dialogue.extra.setdefault("unreadable", {})["Target_item"] = record["Target_item"]
    return dialogue


def _turn(value: Any, path: str, items: Mapping[str, Item]) -> Turn:
    record = an_object(value, path)
    speakers = [key for key in _ROLES if key in record]
    if len(speakers) != 1:
        raise BadRecord(f"{path}: {'both' if speakers else 'neither'} User and Assistant")
    turn = Turn(_ROLES[speakers[0]], a_text(record, speakers[0], f"{path}.{speakers[0]}"))
    turn.extra = rest_of(record, speakers[0], "Action", "Mentioned_item", "Image")
    unreadable: dict[str, Any] = {}
    action = record.get("Action")
    if isinstance(action, str) and action.strip():
        turn.labels.append(("muse_action", action))
    elif action is not None:
        unreadable["Action"] = action
    for stated in _as_list(record.get("Mentioned_item")):
        item_id = as_id(stated)
        if item_id is None:
            unreadable.setdefault("Mentioned_item", []).append(stated)
        else:
            turn.hints.append(Hint("item", item_id, items[item_id].item_name if item_id in items else None))
    for image in _as_list(record.get("Image")):
        if isinstance(image, str):
            turn.images.append(image)
        else:
            unreadable.setdefault("Image", []).append(image)
    if unreadable:
        turn.extra["unreadable"] = unreadable
    return turn


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
