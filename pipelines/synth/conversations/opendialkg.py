"""OpenDialKG as it is published: a conversation a row of a CSV, its messages as JSON, walks in a graph between them.

Belongs here: the official file's shape. Does not belong here: what is said.
"""

from __future__ import annotations

from random import Random

import orjson
import polars as pl

from pipelines.synth.conversations.course import Conversation, Manner, conversation
from pipelines.synth.conversations.damage import File
from pipelines.synth.conversations.films import FilmPool
from pipelines.synth.conversations.phrases import RECOMMENDER, SEEKER
from pipelines.synth.conversations.script import messages
from pipelines.synth.conversations.spelling import Piece, spelt, text_of
from pipelines.synth.conversations.truth import Truth

DATASET = "opendialkg"
MANNER = Manner((1, 3), (0, 1), 0.15, 0.5, greets=0.25)
SENDERS = {SEEKER: "user", RECOMMENDER: "assistant"}


def write(count: int, pool: FilmPool, random: Random, truth: Truth) -> list[File]:
    """`count` dialogues as the official file. The dataset has no ids: `source_id` is `csv-` and the line in the file."""
    rows = []
    for at in range(count):
        talk = conversation(random, pool, MANNER)
        source_id = f"csv-{at + 2}"
        cells, turns = _messages(source_id, talk, pool, random, truth)
        truth.dialogue(DATASET, source_id, None, turns, talk)
        ratings = [str(3 + int(random.random() * 3)) if random.random() < 0.95 else "" for _ in range(2)]
        rows.append((orjson.dumps(cells).decode(), *ratings))
    broken = 0
    if count > 3:
        # Last, so that the other rows keep their numbers.
        rows.append((rows[1][0][: len(rows[1][0]) // 2], "4", "4"))
        broken = 1
    frame = pl.DataFrame(rows, schema=["Messages", "User Rating", "Assistant Rating"], orient="row")
    return [File("opendialkg/opendialkg.csv", frame.write_csv().encode(), count, broken)]


def _messages(
    source_id: str, talk: Conversation, pool: FilmPool, random: Random, truth: Truth
) -> tuple[list[dict[str, object]], int]:
    cells: list[dict[str, object]] = []
    script = messages(talk, pool, random, 0.0)
    before: Piece | None = None
    for turn, message in enumerate(script):
        line = spelt(message.pieces, pool, random, message.writer)
        truth.turn(DATASET, source_id, turn, message.role, message.operations, message.strategy)
        truth.mentions(DATASET, source_id, turn, line)
        film = next((piece for piece in line if piece.kind == "film"), None)
        if message.role == RECOMMENDER and film is not None and random.random() < 0.7:
            cells.append(_walk(before, film.film, pool, random))
        before = next((piece for piece in line if piece.kind), before)
        cells.append({"type": "chat", "message": text_of(line), "sender": SENDERS[message.role]})
    return cells, len(script)


def _walk(before: Piece | None, film: int, pool: FilmPool, random: Random) -> dict[str, object]:
    """The step in the graph that the assistant chose before naming the film."""
    title = pool.title[film]
    if before is not None and before.ref in pool.people(film):
        triple = [before.ref, "~starred_actors" if before.ref in pool.cast[film] else "~directed_by", title]
    elif pool.genres[film]:
        triple = [pool.genres[film][0], "~has_genre", title]
    else:
        triple = [title, "release_year", str(pool.year[film])]
    score = round(random.random(), 4)
    metadata = {"path": [score, [triple], " ".join(triple)]}
    return {"type": "action", "metadata": metadata, "action_id": "kgwalk/choose_path", "sender": "assistant"}
