"""IARD: some of ReDial's conversations with the intents of each utterance.

Belongs here: IARD's file. Does not belong here: ReDial's conversations (`redial.py`).
"""

from __future__ import annotations

import orjson

from pipelines.synth.conversations.damage import File
from pipelines.synth.conversations.phrases import SEEKER
from pipelines.synth.conversations.redial import TEST_FROM, Written
from pipelines.synth.conversations.script import Message
from pipelines.synth.conversations.spelling import Piece, text_of
from pipelines.synth.conversations.truth import PLACEHOLDER, Truth

DATASET = "iard"
# The group of each intent.
GROUPS = {
    **dict.fromkeys(("IQU", "CON", "REF", "STO"), "AskForRec"),
    **dict.fromkeys(("PRO", "ANS", "ASK"), "AddDetails"),
    **dict.fromkeys(("SEE", "ACC", "REJ", "CRI-A", "CRI-F", "CRI-C", "INQ", "NRE"), "GiveFeedback"),
    **dict.fromkeys(("REQ", "CLQ"), "Request"),
    **dict.fromkeys(("RESP", "R-ANS"), "Respond"),
    **dict.fromkeys(("REC-S", "REC-E"), "Recommend"),
    **dict.fromkeys(("EXP-I", "EXP-P", "EXP-S"), "Explain"),
    "OTH": "OTH",
}


def write(written: list[Written], truth: Truth) -> list[File]:
    """Conversations of ReDial as IARD's file: messages in a row of one side are one utterance."""
    everything: dict[str, object] = {}
    for one_of in written:
        source_id = str(one_of.number)
        names = one_of.record["movieMentions"]
        utterances: dict[str, object] = {}
        accepted = []
        groups = _utterances(one_of)
        for turn, (role, parts) in enumerate(groups):
            line: list[Piece] = []
            for at, (_, found) in enumerate(parts):
                line += [Piece(" "), *_with_names(found, names)] if at else _with_names(found, names)
            said = [message for message, _ in parts]
            intents = list(dict.fromkeys(name for message in said for name in message.intents)) or ["OTH"]
            if role == SEEKER and "ACC" in intents:
                accepted.append(turn + 1)
            utterances[f"{'S' if role == SEEKER else 'R'}{turn + 1}"] = {
                "utterance_pos": turn + 1,
                "worker_id": one_of.worker[role],
                "role": role,
                "utterance_text": text_of(line),
                "top-level intent/action": list(dict.fromkeys(GROUPS[name] for name in intents)),
                "sub-intent/action": intents,
            }
            operations = tuple(dict.fromkeys(name for message in said for name in message.operations))
            strategies = [message.strategy for message in said]
            truth.turn(DATASET, source_id, turn, role, operations, strategies[-1])
            truth.mentions(DATASET, source_id, turn, line)
        everything[source_id] = {"accepted_recommendation": accepted, "dialogue_info": utterances}
        split = "test" if one_of.number >= TEST_FROM else "train"
        truth.dialogue(DATASET, source_id, split, len(groups), one_of.talk)
    everything["999001"] = {"accepted_recommendation": [], "dialogue_info": {}}
    content = orjson.dumps(everything, option=orjson.OPT_INDENT_2) + b"\n"
    return [File("iard/umap2020_IARD_Cai.json", content, len(written), broken=1)]


Utterance = tuple[str, list[tuple[Message, list[Piece]]]]


def _utterances(written: Written) -> list[Utterance]:
    out: list[Utterance] = []
    for message, line in zip(written.script, written.lines, strict=True):
        if not out or out[-1][0] != message.role:
            out.append((message.role, []))
        out[-1][1].append((message, line))
    return out


def _with_names(line: list[Piece], names: dict[str, str | None]) -> list[Piece]:
    """The line with `@123 <Name (2001)>` for every placeholder that has a name."""
    out = []
    for piece in line:
        if piece.kind == "film" and piece.variant == PLACEHOLDER and names.get(piece.ref) is not None:
            out.append(Piece(f"{piece.text} <{names[piece.ref]}>", "film", piece.film, PLACEHOLDER, piece.ref))
        else:
            out.append(piece)
    return out
