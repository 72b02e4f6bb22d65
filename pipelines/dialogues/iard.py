"""IARD: ReDial conversations whose turns carry intents (Cai and Chen 2020, UMAP).

One JSON object, a conversation under each key, which is ReDial's conversation id. Films stand in texts as `@<movieId> <name>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.dialogues.dialogue import RECOMMENDER, SEEKER, Dialogue, Hint, Turn, plain
from pipelines.dialogues.records import (
    BadRecord,
    Books,
    Place,
    a_list,
    a_role,
    a_text,
    an_object,
    as_id,
    dumps,
    json_document,
    rest_of,
)
from pipelines.dialogues.redial import shown_names
from pipelines.sources.files import SourceFile
from pipelines.sources.records import RAW_CHARACTERS

_MENTION = re.compile(r"@([0-9]+)(?:\s*<([^<>]*)>)?")
_ROLES = {SEEKER: SEEKER, RECOMMENDER: RECOMMENDER}
_SCHEMES = {"top-level intent/action": "iard_intent", "sub-intent/action": "iard_sub_intent"}


def read_dialogues(files: Sequence[SourceFile], books: Books) -> Iterator[Dialogue]:
    """Dialogues of IARD's file; a record is a conversation, its line the position in the object, from 1."""
    for file in files:
        document = json_document(file, books)
        if document is None:
            continue
        if not isinstance(document, dict):
            books.read(file.name)
            books.reject(Place(file.name, 1, dumps(document)[:RAW_CHARACTERS]), "not an object of conversations")
            continue
        for position, (key, value) in enumerate(document.items(), 1):
            books.read(file.name)
            place = Place(file.name, position, dumps({key: value})[:RAW_CHARACTERS])
            try:
                yield _dialogue(key, value, place)
            except BadRecord as error:
                books.reject(place, str(error))


def _dialogue(key: str, value: Any, place: Place) -> Dialogue:
    source_id = as_id(key)
    if source_id is None:
        raise BadRecord("the conversation's key is no id")
    record = an_object(value, "conversation")
    utterances = an_object(record.get("dialogue_info"), "dialogue_info")
    placed: list[tuple[int, Turn]] = []
    for name, utterance in utterances.items():
        an_object(utterance, f"dialogue_info.{name}")
        position = utterance.get("utterance_pos")
        if isinstance(position, bool) or not isinstance(position, int):
            raise BadRecord(f"dialogue_info.{name}.utterance_pos: not a whole number")
        placed.append((position, _turn(utterance, f"dialogue_info.{name}")))
    placed.sort(key=lambda pair: pair[0])
    dialogue = Dialogue(source_id, [place], [turn for _, turn in placed], conversation_id=f"redial-{source_id}")
    for turn in dialogue.turns:
        if turn.role == SEEKER:
            dialogue.seeker_id = dialogue.seeker_id or turn.speaker_id
        else:
            dialogue.recommender_id = dialogue.recommender_id or turn.speaker_id
    dialogue.extra = rest_of(record, "dialogue_info", "accepted_recommendation")
    accepted = record.get("accepted_recommendation")
    if isinstance(accepted, list):
        dialogue.feedback[SEEKER, "", "accepted"] = (None, dumps(accepted), 1.0 if accepted else 0.0)
    elif accepted is not None:
        dialogue.extra["unreadable"] = {"accepted_recommendation": accepted}
    return dialogue


def _turn(utterance: dict[str, Any], path: str) -> Turn:
    role = a_role(utterance, "role", _ROLES, f"{path}.role")
    text = a_text(utterance, "utterance_text", f"{path}.utterance_text")
    turn = Turn(role, text, speaker_id=as_id(utterance.get("worker_id")))
    for found in _MENTION.finditer(text):
        name = found[2] if found[2] and found[2].strip() else None
        turn.hints.append(Hint("id", found[1], name, found.start(), found.end()))
    turn.plain_text = plain(text, shown_names(turn.hints))
    for key, scheme in _SCHEMES.items():
        for label in a_list(utterance, key):
            if not isinstance(label, str) or not label.strip():
                raise BadRecord(f"{path}.{key}: a label is no text")
            turn.labels.append((scheme, label))
    turn.extra = rest_of(utterance, "role", "utterance_text", "worker_id", "utterance_pos", *_SCHEMES)
    return turn
