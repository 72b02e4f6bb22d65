"""A conversation in words: messages with their pieces of text and their labels.

Belongs here: cutting turns into messages, wording them, and what a message is labelled with.
Does not belong here: what becomes of a film's name (each dataset's module), files.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from pipelines.synth.conversations.course import Conversation, Sentence
from pipelines.synth.conversations.films import FilmPool
from pipelines.synth.conversations.phrases import RECOMMENDER, SEEKER
from pipelines.synth.conversations.spelling import Piece, Style, pieces, style, together

# Strategies that yield to any other one in the same message.
WEAK_STRATEGIES = ("no_strategy", "acknowledgment")


@dataclass(frozen=True)
class Message:
    """A message: who writes, its pieces (films not spelt yet) and its labels."""

    role: str
    writer: Style
    pieces: list[Piece]
    operations: tuple[str, ...]
    strategies: tuple[str, ...]
    intents: tuple[str, ...]

    @property
    def strategy(self) -> str | None:
        """The main strategy: of several, the last that says something; None for a seeker."""
        telling = [name for name in self.strategies if name not in WEAK_STRATEGIES] or list(self.strategies)
        return telling[-1] if telling else None


def messages(talk: Conversation, pool: FilmPool, random: Random, cut_share: float) -> list[Message]:
    """The conversation's messages. A turn of several sentences is cut between two of them with chance `cut_share`."""
    writers = {SEEKER: style(random), RECOMMENDER: style(random)}
    out: list[Message] = []
    for turn in talk.turns:
        run: list[Sentence] = []
        for sentence in turn.sentences:
            if run and random.random() < cut_share:
                out.append(_message(run, turn.role, writers[turn.role], pool, random))
                run = []
            run.append(sentence)
        out.append(_message(run, turn.role, writers[turn.role], pool, random))
    return out


def _message(run: list[Sentence], role: str, writer: Style, pool: FilmPool, random: Random) -> Message:
    found = together([pieces(sentence, pool, random, writer) for sentence in run], random, writer)
    names = [sentence.act.strategy for sentence in run]
    return Message(
        role,
        writer,
        found,
        tuple(dict.fromkeys(name for sentence in run for name in sentence.act.operations)),
        tuple(name for name in names if name is not None),
        tuple(dict.fromkeys(name for sentence in run for name in sentence.act.intents)),
    )
