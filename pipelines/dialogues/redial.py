"""ReDial: conversations as published (and as iEvaLM ships them, with its own keys beside), and the names of its movie ids.

ReDial: Li et al. 2018, "Towards Deep Conversational Recommendations". The initiator seeks, the respondent recommends. Films stand in
texts as `@<movieId>`. Both sides say afterwards, for each film: suggested (by the recommender), seen, liked (by the seeker).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.dialogues.dialogue import RECOMMENDER, SEEKER, Dialogue, Hint, Item, Turn, plain, readable_name
from pipelines.dialogues.records import (
    BadRecord,
    Books,
    Record,
    a_list,
    a_text,
    an_id,
    an_object,
    as_id,
    as_number,
    json_lines,
    rest_of,
    table_rows,
)
from pipelines.dialogues.splits import stated_split
from pipelines.sources.blocks import FileFormat
from pipelines.sources.files import SourceFile

PLACEHOLDER = re.compile("@([0-9]+)")
SIDES = {"initiatorQuestions": SEEKER, "respondentQuestions": RECOMMENDER}
# What the forms write, as a number; 2 is `did not say`.
ANSWERS = {"0": 0.0, "1": 1.0, "2": None}

_CSV = FileFormat("csv", quote='"')


def read_items(files: Sequence[SourceFile], books: Books) -> dict[str, Item]:
    """Names of movie ids (movies_with_mentions.csv), by id. A repeated id is a reject."""
    items: dict[str, Item] = {}
    for file in files:
        for record in table_rows(file, _CSV, books):
            try:
                item_id = an_id(record.value, "movieId")
                if item_id in items:
                    raise BadRecord(f"movieId: {item_id} stands there already")
                name = record.value.get("movieName")
                if not name or not name.strip():
                    raise BadRecord("movieName: empty")
            except BadRecord as error:
                books.reject(record.place, str(error))
                continue
            stated = as_number(record.value.get("nbMentions"))
            mentions = int(stated) if stated is not None and 0 <= stated < 1 << 53 else None
            items[item_id] = Item(item_id, name, mentions_stated=mentions)
            books.keep(record.place)
    return items


def read_dialogues(
    files: Sequence[SourceFile], books: Books, items: Mapping[str, Item], is_official: bool
) -> Iterator[Dialogue]:
    """Dialogues of files with one conversation a line. `items`: names for ids that a conversation does not name."""
    for file in files:
        split = stated_split(file.name)
        for record in json_lines(file, books):
            try:
                dialogue = _dialogue(record, items)
            except BadRecord as error:
                books.reject(record.place, str(error))
                continue
            dialogue.stated = (split,) if split else ()
            dialogue.is_split_official = is_official
            yield dialogue


def _dialogue(record: Record, items: Mapping[str, Item]) -> Dialogue:
    value = an_object(record.value, "record")
    source_id = an_id(value, "conversationId")
    seeker, recommender = an_id(value, "initiatorWorkerId"), an_id(value, "respondentWorkerId")
    if seeker == recommender:
        raise BadRecord(f"respondentWorkerId: {recommender} is the initiator, too")
    unreadable: dict[str, Any] = {}
    names = _names(value.get("movieMentions"), unreadable)
    turns = []
    for number, message in enumerate(a_list(value, "messages")):
        turns.append(_turn(message, f"messages[{number}]", {seeker: SEEKER, recommender: RECOMMENDER}, names, items))
    dialogue = Dialogue(source_id, [record.place], turns, seeker_id=seeker, recommender_id=recommender)
    for key, side in SIDES.items():
        _feedback(value.get(key), key, side, names, items, dialogue, unreadable)
    dialogue.extra = rest_of(
        value, "conversationId", "initiatorWorkerId", "respondentWorkerId", "movieMentions", "messages", *SIDES
    )
    if unreadable:
        dialogue.extra["unreadable"] = unreadable
    return dialogue


def _names(value: Any, unreadable: dict[str, Any]) -> dict[str, str]:
    """Names by movie id; an empty list stands for none."""
    if value in (None, []):
        return {}
    if not isinstance(value, dict):
        unreadable["movieMentions"] = value
        return {}
    names = {key: name for key, name in value.items() if isinstance(name, str) and name.strip()}
    odd = {key: name for key, name in value.items() if key not in names and name not in (None, "")}
    if odd:
        unreadable["movieMentions"] = odd
    return names


def stated_name(item_id: str, names: Mapping[str, str], items: Mapping[str, Item]) -> str | None:
    """The name of an item: the conversation's own, else the dataset's."""
    if item_id in names:
        return names[item_id]
    return items[item_id].item_name if item_id in items else None


def _turn(value: Any, path: str, roles: Mapping[str, str], names: Mapping[str, str], items: Mapping[str, Item]) -> Turn:
    message = an_object(value, path)
    speaker = an_id(message, "senderWorkerId", f"{path}.senderWorkerId")
    if speaker not in roles:
        raise BadRecord(f"{path}.senderWorkerId: {speaker} is neither initiator nor respondent")
    text = a_text(message, "text", f"{path}.text")
    turn = Turn(roles[speaker], text, speaker_id=speaker)
    for found in PLACEHOLDER.finditer(text):
        turn.hints.append(Hint("id", found[1], stated_name(found[1], names, items), found.start(), found.end()))
    turn.plain_text = plain(text, shown_names(turn.hints))
    turn.extra = rest_of(message, "text", "senderWorkerId", "timeOffset")
    offset = message.get("timeOffset")
    seconds = as_number(offset)
    if seconds is not None and seconds >= 0:
        turn.time_offset_s = seconds
    elif offset is not None:
        turn.extra["unreadable"] = {"timeOffset": offset}
    return turn


def shown_names(hints: Sequence[Hint]) -> list[tuple[int, int, str]]:
    """(start, end, readable name) of the placeholders among `hints` that have a name."""
    return [
        (hint.start, hint.end, readable_name(hint.item_name))
        for hint in hints
        if hint.start is not None and hint.end is not None and hint.item_name
    ]


def _feedback(
    value: Any,
    key: str,
    side: str,
    names: Mapping[str, str],
    items: Mapping[str, Item],
    dialogue: Dialogue,
    unreadable: dict[str, Any],
) -> None:
    """The answers of one side's form; an empty list stands for an empty form."""
    if value in (None, []):
        return
    if not isinstance(value, dict):
        unreadable[key] = value
        return
    for stated_id, answers in value.items():
        item_id = as_id(stated_id)
        if item_id is None or not isinstance(answers, dict):
            unreadable[f"{key}.{stated_id}"] = answers
            continue
        for question in ("suggested", "seen", "liked"):
            answer = answers.get(question)
            text = as_id(answer)
            if text in ANSWERS:
                row = (stated_name(item_id, names, items), text, ANSWERS[text])
                dialogue.feedback.setdefault((side, item_id, question), row)
            elif answer is not None:
                unreadable[f"{key}.{stated_id}.{question}"] = answer
        others = rest_of(answers, "suggested", "seen", "liked")
        if others:
            unreadable[f"{key}.{stated_id}"] = others
