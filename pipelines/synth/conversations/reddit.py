"""Reddit-Movie in the layout of He et al. (2023): a turn a line, with what was said before and the entities in it.

Belongs here: the layout's keys and ids. Does not belong here: what is said.
"""

from __future__ import annotations

from random import Random

import orjson

from pipelines.synth.conversations.course import thread
from pipelines.synth.conversations.damage import File, cut_in_half
from pipelines.synth.conversations.films import FilmPool
from pipelines.synth.conversations.phrases import SEEKER, one
from pipelines.synth.conversations.script import messages
from pipelines.synth.conversations.spelling import Piece, spelt, text_of
from pipelines.synth.conversations.truth import Truth

DATASET = "reddit"
SPLITS = ("train", "valid", "test")
HELD_OUT_SHARE = 0.1
# The linker of the layout's authors missed some names.
MISSED_SHARE = 0.1
# A post has paragraphs: what stands between two of its sentences, and what may stand there instead.
JOINTS, PARAGRAPHS = (". ", ", ", "... "), (". ", "\n\n", ".\n\n", ". ")


def write(count: int, pool: FilmPool, random: Random, truth: Truth) -> list[File]:
    """`count` threads as the files of the layout."""
    order = list(range(len(pool)))
    random.shuffle(order)
    entities: dict[str, int] = {}
    items: dict[int, int] = {}
    held = max(1, round(count * HELD_OUT_SHARE))
    testing = min(held, count)
    validating = min(held, count - testing)
    files = []
    for split, size in zip(SPLITS, (count - testing - validating, validating, testing), strict=True):
        lines: list[bytes] = []
        for number in range(size):
            _thread(f"{split}_{number}", split, lines, pool, random, entities, items, truth)
        broken = 0
        if split == "train" and len(lines) > 20:
            lines += [cut_in_half(lines[3]), b'["not", "an", "object"]']
            broken = 2
        files.append(File(f"reddit/{split}_raw.jsonl", b"".join(line + b"\n" for line in lines), size, broken))
    for film, item in items.items():
        truth.item(DATASET, str(item), pool.title[film], film)
    files.append(File("reddit/entity2id.json", orjson.dumps(entities) + b"\n"))
    return files


def _uri(pool: FilmPool, piece: Piece) -> str:
    name = pool.article[piece.film] if piece.kind == "film" else piece.ref
    return f"<http://dbpedia.org/resource/{name.replace(' ', '_')}>"


def _thread(
    source_id: str,
    split: str,
    lines: list[bytes],
    pool: FilmPool,
    random: Random,
    entities: dict[str, int],
    items: dict[int, int],
    truth: Truth,
) -> None:
    talk = thread(random, pool)
    script = messages(talk, pool, random, 0.0)
    context, before = [""], list[int]()
    for turn, message in enumerate(script):
        line = spelt(message.pieces, pool, random, message.writer)
        if turn == 0:
            line = [Piece(one(random, PARAGRAPHS)) if piece.text in JOINTS else piece for piece in line]
        truth.turn(DATASET, source_id, turn, message.role, message.operations, message.strategy)
        truth.mentions(DATASET, source_id, turn, line)
        found: dict[int, str] = {}
        rec: dict[int, None] = {}
        for piece in line:
            if piece.kind and random.random() >= MISSED_SHARE:
                number = entities.setdefault(_uri(pool, piece), len(entities))
                found[number] = piece.text
                if piece.kind == "film":
                    rec[number] = None
                    items.setdefault(piece.film, number)
        text = text_of(line)
        row = {
            "context": context,
            "resp": text,
            "rec": list(rec),
            "entity": list(found),
            "prev_entity": before,
            "dialog_id": source_id,
            "turn_id": f"{split}_{len(lines)}",
            "is_user": int(message.role == SEEKER),
            "entity_name": list(found.values()),
        }
        lines.append(orjson.dumps(row))
        context = [*context, text]
        before = list(dict.fromkeys([*before, *found]))
    truth.dialogue(DATASET, source_id, split, len(script), talk)
