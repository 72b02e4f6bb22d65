"""ReDial as it is published: one conversation a line, films as `@123`, both sides' questionnaires, the list of films.

Belongs here: ReDial's ids, names with their quirks, questionnaires and files. IARD, which labels some of its
conversations, is made from `Written`. Does not belong here: what is said.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from pipelines.synth.conversations.course import Conversation, Manner, Sentence, conversation
from pipelines.synth.conversations.damage import SMALL, File, cut_in_half, long_text
from pipelines.synth.conversations.films import FilmPool
from pipelines.synth.conversations.phrases import RECOMMENDER, acts, one
from pipelines.synth.conversations.script import Message, messages
from pipelines.synth.conversations.spelling import Piece, named, pieces, text_of
from pipelines.synth.conversations.truth import PLACEHOLDER, Truth

DATASET = "redial"
MANNER = Manner((2, 6), (1, 2), 0.25, 0.22)
CUT_SHARE = 0.5
# The official test set has the conversations from this number on; no dataset of this layout has more before it.
TEST_FROM = 20_000
TEST_SHARE = 0.12
DIALOGUES_MAX = 20_000
ITEM_FIRST, ITEM_STEP = 75_000, 3
# Files with fewer conversations have no damage.
SMALL_FILE = 3
# Shares of names: two spaces before the year, no year because the film stands there twice, written with % escapes.
DOUBLE_SPACE_SHARE, YEARLESS_SHARE, ESCAPED_SHARE = 0.46, 0.09, 0.01
PLAIN_TITLE_SHARE = 0.03
ESCAPES = {'"': "%22", "'": "%27", "&": "%26", "?": "%3F", "!": "%21", ",": "%2C"}
# Items that cannot be linked: what they are called (None: no name anywhere), and their distance below the first item.
NO_FILM = ("List of accolades received by {title}", " ({year})", None, "{person}", "{title} (film series)")
UNMATCHED = "unmatched"


@dataclass
class Written:
    """A conversation as ReDial has it, with what IARD needs of it."""

    number: int
    talk: Conversation
    script: list[Message]
    lines: list[list[Piece]]
    worker: dict[str, int]
    record: dict[str, Any] = field(default_factory=dict)


class Items:
    """ReDial's numbers and names for films."""

    def __init__(self, pool: FilmPool, random: Random) -> None:
        order = list(range(len(pool)))
        random.shuffle(order)
        self._pool, self._random = pool, random
        self._number = {film: ITEM_FIRST + ITEM_STEP * at for at, film in enumerate(order)}
        self.name: dict[int, str | None] = {}
        self.film: dict[int, int] = {}
        self.count: dict[int, int] = {}

    def of(self, film: int) -> int:
        """An item of the film; few films have a second one, without a year."""
        random, pool = self._random, self._pool
        item = self._number[film]
        if film % 10 == 0 and random.random() < 0.5:
            item += 1
            self.name.setdefault(item, f"{pool.title[film]} ")
        elif item not in self.name:
            self.name[item] = self._named(film)
        self.film[item] = film
        self.count[item] = self.count.get(item, 0) + 1
        return item

    def _named(self, film: int) -> str:
        title, drawn = self._pool.title[film], self._random.random()
        if self._random.random() < ESCAPED_SHARE or title.startswith('"'):
            title = "".join(ESCAPES.get(letter, letter) for letter in title)
        if drawn < YEARLESS_SHARE:
            return f"{title} "
        gap = "  " if drawn < YEARLESS_SHARE + DOUBLE_SPACE_SHARE else " "
        return f"{title}{gap}({self._pool.year[film]})"

    def odd(self, which: int) -> int:
        """The `which`-th item that is no film, or has no name."""
        pattern, film = NO_FILM[which % len(NO_FILM)], which % len(self._pool)
        item = ITEM_FIRST - 1 - which % 50
        people = self._pool.people(film) or ["Nobody"]
        if item not in self.name:
            facts = {"title": self._pool.title[film], "year": self._pool.year[film], "person": people[0]}
            self.name[item] = None if pattern is None else pattern.format(**facts)
        self.count[item] = self.count.get(item, 0) + 1
        return item


def write(count: int, keep: int, pool: FilmPool, random: Random, truth: Truth) -> tuple[list[File], list[Written]]:
    """`count` conversations as ReDial's files, and `keep` of the conversations. Raises ValueError above 20,000."""
    if count > DIALOGUES_MAX:
        raise ValueError(
            f"dialogues must be at most {DIALOGUES_MAX:,}, for which ReDial's numbers are enough: {count:,}"
        )
    items = Items(pool, random)
    in_test = round(count * TEST_SHARE)
    numbers = sorted(random.sample(range(1, TEST_FROM), count - in_test))
    numbers += sorted(random.sample(range(TEST_FROM, TEST_FROM + 4 * in_test), in_test))
    chosen = set(random.sample(numbers, min(keep, count)))
    kept: list[Written] = []
    lines: dict[str, list[bytes]] = {"train": [], "test": []}
    message_id = 1000
    for at, number in enumerate(numbers):
        written = _written(number, at, pool, items, random)
        message_id = _record(written, at, message_id, items, random, count)
        source_id, split = str(number), "test" if number >= TEST_FROM else "train"
        lines[split].append(_with_lone_surrogate(written.record) if at == 2 else orjson.dumps(written.record))
        for turn, (message, line) in enumerate(zip(written.script, written.lines, strict=True)):
            truth.turn(DATASET, source_id, turn, message.role, message.operations, message.strategy)
            truth.mentions(DATASET, source_id, turn, line)
        truth.dialogue(DATASET, source_id, split, len(written.lines), written.talk)
        if number in chosen:
            kept.append(written)
    for item in sorted(items.name):
        truth.item(DATASET, str(item), items.name[item], items.film.get(item))
    return [*_conversation_files(lines, random), _item_file(items)], kept


def _written(number: int, at: int, pool: FilmPool, items: Items, random: Random) -> Written:
    talk = conversation(random, pool, MANNER)
    script = messages(talk, pool, random, CUT_SHARE)
    lines = [_placed(message, pool, items, random) for message in script]
    if at % 5 == 3 and (at < 60 or at % 60 == 3):
        _add_odd(script, lines, at // 5, items, pool, random)
    one_worker = 1 + int(random.random() * 900)
    return Written(number, talk, script, lines, {"seeker": one_worker, "recommender": one_worker + 1 + number % 40})


def _placed(message: Message, pool: FilmPool, items: Items, random: Random) -> list[Piece]:
    """The message with placeholders for films; now and then a title stands there in words."""
    out = []
    for piece in message.pieces:
        if piece.kind != "film":
            out.append(piece)
        elif random.random() < PLAIN_TITLE_SHARE:
            text, variant = named(pool, piece.film, random, message.writer)
            out.append(Piece(text, "film", piece.film, variant))
        else:
            item = items.of(piece.film)
            out.append(Piece(f"@{item}", "film", piece.film, PLACEHOLDER, str(item)))
    return out


def _add_odd(
    script: list[Message], lines: list[list[Piece]], which: int, items: Items, pool: FilmPool, random: Random
) -> None:
    """Add a message with an item that cannot be linked, or with a placeholder that nothing explains."""
    kinds = len(NO_FILM) + 1
    is_unmatched = which % kinds == kinds - 1
    item = 12 + which if is_unmatched else items.odd(which % kinds)
    act = acts(RECOMMENDER)["propose"]
    sentence = Sentence(act, {"film": -1})
    writer = next((message.writer for message in script if message.role == RECOMMENDER), script[0].writer)
    found = pieces(sentence, pool, random, writer)
    place = 1 + int(random.random() * (len(script) - 1))
    line = [
        Piece(f"@{item}", "film", -1, PLACEHOLDER, UNMATCHED if is_unmatched else str(item)) if p.kind == "film" else p
        for p in found
    ]
    script.insert(place, Message(RECOMMENDER, writer, found, act.operations, (act.strategy or "",), act.intents))
    lines.insert(place, line)


def _record(written: Written, at: int, message_id: int, items: Items, random: Random, count: int) -> int:
    """Fill in the conversation's record; returns the next free message id."""
    if at % 97 == 11:
        # Emoji of several code points, control characters and a line separator, behind what counts and before it.
        written.lines[0] = [Piece("👩‍🚀 "), *written.lines[0], Piece(" \x07\u2028")]
    if at == min(5, count - 1):
        place = len(written.lines) // 2
        written.lines[place] = [
            *written.lines[place],
            Piece(" " + long_text(random, 3_000 if count < SMALL else 40_000)),
        ]
    seconds, texts = 0, []
    for message, line in zip(written.script, written.lines, strict=True):
        texts.append(
            {
                "timeOffset": seconds,
                "text": text_of(line),
                "senderWorkerId": written.worker[message.role],
                "messageId": message_id,
            }
        )
        message_id += 1
        seconds += 2 + int(random.random() * 40)
    mentioned: dict[str, str | None] = {}
    films: dict[str, int] = {}
    for line in written.lines:
        for piece in line:
            if piece.variant == PLACEHOLDER and piece.ref != UNMATCHED:
                mentioned[piece.ref] = items.name[int(piece.ref)]
                if piece.film >= 0:
                    films[piece.ref] = piece.film
    written.record = {
        "movieMentions": mentioned,
        "respondentQuestions": _answers(films, written.talk, random, 0.1),
        "messages": texts,
        "conversationId": str(written.number),
        "respondentWorkerId": written.worker["recommender"],
        "initiatorWorkerId": written.worker["seeker"],
        "initiatorQuestions": _answers(films, written.talk, random, 0.02),
    }
    return message_id


def _answers(films: dict[str, int], talk: Conversation, random: Random, slips: float) -> dict[str, Any] | list[Any]:
    """A questionnaire: 1 yes, 0 no, 2 did not say; `[]` where there is nothing to ask, and sometimes for no reason."""
    if not films or random.random() < 0.02:
        return []
    answers: dict[str, Any] = {}
    for item, film in films.items():
        values = [int(talk.suggested.get(film, True)), int(talk.seen[film]), int(talk.liked[film])]
        suggested, seen, liked = (1 - value if random.random() < slips else value for value in values)
        silent = random.random()
        answers[item] = {
            "suggested": suggested,
            "seen": 2 if silent < 0.08 else seen,
            "liked": 2 if silent < 0.12 else liked,
        }
    return answers


def _conversation_files(lines: dict[str, list[bytes]], random: Random) -> list[File]:
    """Training and test file. What cannot be read, and what stands there a second time, comes on top in the former."""
    files = []
    for split, whole in lines.items():
        broken: list[bytes] = []
        again: list[bytes] = []
        if split == "train" and len(whole) > SMALL_FILE:
            times = 1 if len(whole) < SMALL else 4
            broken = [cut_in_half(one(random, whole)) for _ in range(times)]
            broken.append(b'{"conversationId": "77", "messages": "no list"}')
            again = whole[:times]
        everything = list(whole)
        for line in (*broken, *again):
            everything.insert(times + int(random.random() * (len(everything) - times + 1)), line)
        content = b"".join(line + b"\n" for line in everything)
        files.append(File(f"redial/{split}_data.jsonl", content, len(whole), len(broken), len(again)))
    return files


def _item_file(items: Items) -> File:
    rows = ["movieId,movieName,nbMentions"]
    for item in sorted(items.count):
        name = items.name[item]
        if name is not None:
            quoted = '"' + name.replace('"', '""') + '"' if any(letter in name for letter in ',"\r\n') else name
            rows.append(f"{item},{quoted},{items.count[item]}")
    return File("redial/movies_with_mentions.csv", ("\r\n".join(rows) + "\r\n").encode())


def _with_lone_surrogate(record: dict[str, Any]) -> bytes:
    """The record's line with half a surrogate pair, escaped, behind its last message."""
    last = record["messages"][-1]
    last["text"] += " \ud83d"
    return json.dumps(record).encode()
