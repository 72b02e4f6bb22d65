"""Simulated users beside people: the same figures of both, by the same rules, and how far their distributions are apart.

People are the seekers of dialogue datasets (core_turns). Turns of one speaker in a row count as one, as people send several messages where a simulated user sends one. Frames in, rows of
eval_simulator_fidelity out. Does not belong here: what a turn does by its words (`speech.py`).

Source of the distance: Kolmogorov-Smirnov, the largest difference of two empirical distribution functions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from pipelines.evaluation.simulation.clustered import DIALOGUE, mean
from pipelines.evaluation.simulation.speech import accepts, asks, refuses, title_key, titles, words
from warehouse.tables.simulation_evaluation import EVAL_SIMULATOR_FIDELITY

HUMAN, SIMULATED = "human", "simulated"
# People who look for films: what simulated users are compared with.
HUMANS = ("redial", "inspired")
# A part of ReDial, whose turns people have labelled with what they do.
LABELLED = "iard"
# Words of a dialogue that its type-token ratio is taken of: the ratio falls with length.
TOKENS = 50

LINKED = "linked_titles_per_turn"

# Sub-intents of IARD that accept and that turn down.
_ACCEPTING, _REFUSING = frozenset({"ACC"}), frozenset({"REJ"})

_BY_TEXT = "the same text rule for people and simulated users (speech.py)"
PROTOCOLS = {
    "words_per_turn": "words of a user's turn; mean over turns",
    "turns": "user's turns of a dialogue, turns in a row taken as one; mean over dialogues",
    "question_rate": f"user's turns that ask something, by {_BY_TEXT}; mean over turns",
    "acceptance_rate": f"user's turns after the other's first that accept something, by {_BY_TEXT}; mean over turns",
    "rejection_rate": f"user's turns after the other's first that turn something down, by {_BY_TEXT}; mean over turns",
    "titles_per_turn": f"titles that a user's turn names and the other has not named before, by {_BY_TEXT}, among titles of the domain's items; mean over turns",
    "type_token": f"distinct words over words among the first {TOKENS} words of a user in a dialogue; mean over dialogues with so many",
    "acceptance_rate_stated": "user's turns after the other's first that accept: IARD's label ACC for people, the policy `accept` for simulated users",
    "rejection_rate_stated": "user's turns after the other's first that turn down: IARD's label REJ for people, the policy `refuse` for simulated users",
    LINKED: "films mentioned in a user's turn, as linked to the corpus (core_film_mentions), that were not mentioned before; mean over turns; people only",
}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """A turn of a dialogue. `states`: what it does as its label or policy says: accept, refuse or something else; None where nothing is stated."""

    is_user: bool
    text: str
    states: frozenset[str] | None = None
    linked: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Talk:
    """A dialogue with its population: the dataset, or simulator and domain."""

    dialogue: str
    population: str
    kind: str
    is_stand_in: bool
    domain: str
    turns: tuple[Said, ...]


def human_talks(turns: pl.DataFrame, labels: pl.DataFrame, mentions: pl.DataFrame) -> list[Talk]:
    """Dialogues of people in films. turns: CORE_TURNS; labels: CORE_TURN_LABELS; mentions: CORE_FILM_MENTIONS."""
    stated: dict[tuple[str, int], set[str]] = {}
    for dialogue, turn, label in (
        labels.filter(pl.col("scheme") == "iard_sub_intent").select("dialogue_id", "turn", "label").iter_rows()
    ):
        stated.setdefault((dialogue, turn), set()).add(label)
    linked: dict[tuple[str, int], set[str]] = {}
    for dialogue, turn, film in mentions.select("dialogue_id", "turn", "movie_id").iter_rows():
        linked.setdefault((dialogue, turn), set()).add(film)
    talks: dict[tuple[str, str], list[Said]] = {}
    own = turns.filter(pl.col("dataset").is_in([*HUMANS, LABELLED]) & (pl.col("domain") == "film"))
    for row in own.sort("dataset", "dialogue_id", "turn").iter_rows(named=True):
        place = (row["dialogue_id"], row["turn"])
        labelled = stated.get(place, set())
        states = {name for name, of in (("accept", _ACCEPTING), ("refuse", _REFUSING)) if labelled & of}
        said = Said(
            row["role"] == "seeker",
            row["plain_text"],
            frozenset(states) if row["dataset"] == LABELLED else None,
            frozenset(linked.get(place, ())),
        )
        talks.setdefault((row["dataset"], row["dialogue_id"]), []).append(said)
    return [
        Talk(dialogue, dataset, HUMAN, False, "film", tuple(joined(said)))
        for (dataset, dialogue), said in sorted(talks.items())
    ]


def simulated_talks(episodes: pl.DataFrame, turns: pl.DataFrame) -> list[Talk]:
    """Simulated dialogues, all agents together. episodes: SIM_EPISODES; turns: SIM_TURNS. Those that failed end where nobody would end, and are left out."""
    said: dict[str, list[Said]] = {}
    for row in turns.sort("episode_id", "turn").select("episode_id", "role", "text", "policy").iter_rows(named=True):
        states = {"accept": {"accept"}, "refuse": {"refuse"}}.get(row["policy"] or "", set())
        made = Said(row["role"] == "user", row["text"], frozenset(states))
        said.setdefault(row["episode_id"], []).append(made)
    own = episodes.filter(pl.col("outcome") != "failed").sort("episode_id")
    return [
        Talk(
            row["episode_id"],
            f"{row['simulator']} {row['domain']}",
            SIMULATED,
            row["is_stand_in"],
            row["domain"],
            tuple(joined(said.get(row["episode_id"], []))),
        )
        for row in own.iter_rows(named=True)
        if row["episode_id"] in said
    ]


def joined(turns: Sequence[Said]) -> Iterator[Said]:
    """Turns with those of one speaker in a row made one."""
    waiting: Said | None = None
    for turn in turns:
        if waiting is None or waiting.is_user != turn.is_user:
            if waiting is not None:
                yield waiting
            waiting = turn
            continue
        states = None if waiting.states is None or turn.states is None else waiting.states | turn.states
        waiting = Said(turn.is_user, f"{waiting.text}\n{turn.text}", states, waiting.linked | turn.linked)
    if waiting is not None:
        yield waiting


def fidelity(talks: Sequence[Talk], known: Mapping[str, Collection[str]]) -> pl.DataFrame:
    """EVAL_SIMULATOR_FIDELITY of dialogues. `known`: keys of titles (`title_keys`) by domain."""
    # By measure, then by population and kind: values, and the dialogue of each.
    held: dict[str, dict[tuple[str, str], list[tuple[float, str]]]] = {}
    stand_ins: set[tuple[str, str]] = set()
    # Without a single link nothing was linked, which is not to say that nothing was mentioned.
    has_links = any(turn.linked for talk in talks for turn in talk.turns)
    for talk in sorted(talks, key=lambda each: (each.population, each.dialogue)):
        who = (talk.population, talk.kind)
        if talk.is_stand_in:
            stand_ins.add(who)
        for measure, value in _values(talk, known.get(talk.domain, ())):
            if measure == LINKED and not has_links:
                continue
            held.setdefault(measure, {}).setdefault(who, []).append((value, talk.dialogue))
    rows = []
    for measure, by_population in held.items():
        people = [value for who, own in by_population.items() if who[1] == HUMAN for value, _ in own]
        for who, own in by_population.items():
            values = [value for value, _ in own]
            estimate = mean(values, {DIALOGUE: [dialogue for _, dialogue in own]}, highest=_highest(measure))
            is_compared = who[1] == SIMULATED and bool(people)
            rows.append(
                {
                    "population": who[0],
                    "kind": who[1],
                    "measure": measure,
                    "value": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                    "n": estimate.n,
                    "clusters": estimate.clusters,
                    "distance": ks_distance(values, people) if is_compared else None,
                    "is_stand_in": who in stand_ins,
                    "protocol": PROTOCOLS[measure],
                }
            )
    return EVAL_SIMULATOR_FIDELITY.frame(rows)


def title_keys(items: pl.DataFrame) -> dict[str, frozenset[str]]:
    """Keys of the titles of each domain, as `speech.titles` looks them up. items: domain, title. A series or edition in brackets is left out, too."""
    keys: dict[str, set[str]] = {}
    for domain, title in items.select("domain", "title").iter_rows():
        for name in (title, title.split(" (")[0]):
            if key := title_key(name):
                keys.setdefault(domain, set()).add(key)
    return {domain: frozenset(own) for domain, own in keys.items()}


def ks_distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Largest difference of the empirical distribution functions of two samples, 0..1. Raises ValueError for an empty one."""
    if not len(one) or not len(other):
        raise ValueError("a distribution needs values")
    first, second = np.sort(np.asarray(one, dtype=np.float64)), np.sort(np.asarray(other, dtype=np.float64))
    places = np.concatenate([first, second])
    shares = [np.searchsorted(own, places, side="right") / len(own) for own in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def _values(talk: Talk, known: Collection[str]) -> Iterator[tuple[str, float]]:
    """What a dialogue adds to each measure."""
    if talk.population == LABELLED:
        yield from _stated(talk)
        return
    own = [turn for turn in talk.turns if turn.is_user]
    if not own:
        return
    yield "turns", float(len(own))
    for turn in own:
        yield "words_per_turn", float(len(words(turn.text)))
        yield "question_rate", float(asks(turn.text))
    for turn in _answering(talk):
        yield "acceptance_rate", float(accepts(turn.text))
        yield "rejection_rate", float(refuses(turn.text))
    yield from _named(talk, known)
    spoken = [word for turn in own for word in words(turn.text)][:TOKENS]
    if len(spoken) == TOKENS:
        yield "type_token", len(set(spoken)) / TOKENS
    if talk.kind == SIMULATED:
        yield from _stated(talk)


def _named(talk: Talk, known: Collection[str]) -> Iterator[tuple[str, float]]:
    """Titles that the user brings up."""
    by_other: set[str] = set()
    linked: set[str] = set()
    for turn in talk.turns:
        found = set(titles(turn.text, known)) if known else set()
        if turn.is_user:
            if known:
                yield "titles_per_turn", float(len(found - by_other))
            if talk.kind == HUMAN:
                yield LINKED, float(len(turn.linked - linked))
        else:
            by_other |= found
        linked |= turn.linked


def _stated(talk: Talk) -> Iterator[tuple[str, float]]:
    for turn in _answering(talk):
        if turn.states is not None:
            yield "acceptance_rate_stated", float("accept" in turn.states)
            yield "rejection_rate_stated", float("refuse" in turn.states)


def _answering(talk: Talk) -> Iterator[Said]:
    """The user's turns once the other has spoken."""
    has_spoken = False
    for turn in talk.turns:
        if turn.is_user and has_spoken:
            yield turn
        has_spoken |= not turn.is_user


def _highest(measure: str) -> float | None:
    """The largest value that a unit of a measure can have."""
    return 1.0 if "rate" in measure or measure == "type_token" else None
