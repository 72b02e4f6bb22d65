"""What the judge is asked about stored episodes, and what its answers say.

Every question shows turns as user and assistant spoke them: no agent, model, score or outcome is named in it. What users, agents and items say travels as data alone. Does not belong here: sending
(assets/build/judging.py), the words of the prompts (pipelines/prompts/judge_*.toml), what follows from verdicts (`verdicts.py`).

Source: ECPO, section B.5 (win rate, both orders); RSO, section IV-C (watching intention, persuasiveness, credibility).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from pipelines.simulation.brief import prompt

if TYPE_CHECKING:
    from pipelines.gateways.llm.requests import LlmRequest

WIN, INTENTION, CREDIBILITY = "judge_win", "judge_intention", "judge_credibility"
PROMPTS = (WIN, INTENTION, CREDIBILITY)
DIMENSIONS = ("flexibility", "coherence", "guidance", "overall")
INTENTIONS = ("intention_before", "intention_after", "intention_true")
# The agent that all others are compared with: ECPO's expert (section B.5).
REFERENCE = "actcrs"

# How much of a turn and of an item is shown.
CHARACTERS_OF_TURN = 2_000
CHARACTERS_OF_ITEM = 1_500
_MOST_ITEMS = 5

# Why nothing is asked about an episode: there is no item that it could be asked about.
NO_ITEM = "no retrieved item was named"

_VERDICTS = {"first": 1.0, "second": -1.0, "tie": 0.0}


@dataclass(frozen=True)
class Subject:
    """What a question is about: columns of sim_judgements. `prompt`: its prompt's name."""

    measure: str
    episode_id: str
    turn: int | None = None
    against_id: str | None = None
    is_first: bool | None = None

    @property
    def prompt(self) -> str:
        return {"win": WIN, "credibility": CREDIBILITY}.get(self.measure, INTENTION)

    @property
    def key(self) -> str:
        """A name that no other subject has."""
        parts = (self.measure, self.episode_id, self.turn, self.against_id, self.is_first)
        return "/".join("-" if part is None else str(part) for part in parts)


@dataclass(frozen=True)
class Known:
    """An item with what is known about it (sim_items)."""

    title: str
    text: str


@dataclass(frozen=True)
class Material:
    """What questions are made of. `episodes`: SIM_EPISODES; `turns`: (role, action, text, retrieved) of each episode in order; `items` by domain and id; `people`: traits by persona; `words`: those of a domain."""

    episodes: Mapping[str, Mapping[str, Any]]
    turns: Mapping[str, Sequence[Mapping[str, Any]]]
    items: Mapping[tuple[str, str], Known]
    people: Mapping[str, Mapping[str, str]]
    words: Callable[[str], Mapping[str, Any]]
    named: Callable[[str, Sequence[Known]], Sequence[Known]]


def drawn(episodes: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Episodes to be judged, at most `limit` (0: all) of each domain, agent and simulator: the first sample of tasks with the lowest hashes, so that agents are judged on the same ones.

    Episodes that leaked or failed are not judged.
    """
    fit = episodes.filter(
        pl.col("outcome").is_in(["completed", "left"]) & (pl.col("sample") == 0) & (pl.col("agent_turns") > 0)
    )
    order = pl.Series("order", [_digest("draw", task) for task in fit["task_id"]], dtype=pl.String)
    ranked = fit.with_columns(order).sort("order", "episode_id")
    if limit:
        ranked = ranked.group_by("domain", "agent", "simulator", maintain_order=True).head(limit)
    return ranked.sort("episode_id").select(episodes.columns)


def requests(chosen: pl.DataFrame, material: Material) -> Iterator[tuple[Subject, LlmRequest | None]]:
    """Every question about the `chosen` episodes, with its subject; None where there is nothing to ask about (NO_ITEM), which is to be counted."""
    references = {
        (row["task_id"], row["simulator"]): row["episode_id"]
        for row in material.episodes.values()
        if row["agent"] == REFERENCE and row["sample"] == 0 and row["outcome"] in ("completed", "left")
    }
    for row in chosen.iter_rows(named=True):
        other = references.get((row["task_id"], row["simulator"]))
        if row["agent"] != REFERENCE and other is not None:
            for is_first in (True, False):
                subject = Subject("win", row["episode_id"], against_id=other, is_first=is_first)
                yield subject, _win(subject, row["domain"], material)
        yield from _of_intentions(row, material)
        yield from _of_credibility(row, material)


def recommended(episode_id: str, domain: str, material: Material) -> tuple[int, Known] | None:
    """The item that an episode ended up with: of its last reply that names one, the item that was retrieved first; and the turn. None where no reply names one."""
    return next(reversed([(turn, items[0]) for turn, _, items in _explanations(episode_id, domain, material)]), None)


def _win(subject: Subject, domain: str, material: Material) -> LlmRequest:
    own, other = _spoken(subject.episode_id, material), _spoken(subject.against_id or "", material)
    first, second = (own, other) if subject.is_first else (other, own)
    return _request(subject, {"domain": material.words(domain), "first": first, "second": second})


def _of_intentions(row: Mapping[str, Any], material: Material) -> Iterator[tuple[Subject, LlmRequest | None]]:
    found = recommended(row["episode_id"], row["domain"], material)
    if found is None:
        yield from ((Subject(measure, row["episode_id"]), None) for measure in INTENTIONS)
        return
    turn, item = found
    plain: dict[str, Any] = {
        "domain": material.words(row["domain"]),
        "person": dict(material.people.get(row["persona_id"], {})),
        "item": {"title": item.title},
    }
    told = {
        "intention_before": plain,
        "intention_after": {**plain, "conversation": _spoken(row["episode_id"], material)},
        "intention_true": {**plain, "item": {"title": item.title, "facts": _cut(item.text, CHARACTERS_OF_ITEM)}},
    }
    for measure in INTENTIONS:
        subject = Subject(measure, row["episode_id"], turn=turn)
        yield subject, _request(subject, told[measure])


def _of_credibility(row: Mapping[str, Any], material: Material) -> Iterator[tuple[Subject, LlmRequest | None]]:
    is_asked = False
    for turn, text, items in _explanations(row["episode_id"], row["domain"], material):
        subject = Subject("credibility", row["episode_id"], turn=turn)
        facts = [{"title": item.title, "facts": _cut(item.text, CHARACTERS_OF_ITEM)} for item in items[:_MOST_ITEMS]]
        data = {"domain": material.words(row["domain"]), "reply": _cut(text, CHARACTERS_OF_TURN), "items": facts}
        is_asked = True
        yield subject, _request(subject, data)
    if not is_asked:
        yield Subject("credibility", row["episode_id"]), None


def _explanations(episode_id: str, domain: str, material: Material) -> Iterator[tuple[int, str, Sequence[Known]]]:
    """Explanation turns: replies that name an item which the agent had retrieved by then; turn, text, the items in the order in which they were retrieved."""
    seen: dict[str, Known] = {}
    for turn in material.turns.get(episode_id, ()):
        if turn["role"] != "assistant":
            continue
        for item_id in turn["retrieved"]:
            if (domain, item_id) in material.items:
                seen.setdefault(item_id, material.items[domain, item_id])
        if items := material.named(turn["text"], list(seen.values())):
            yield turn["turn"], turn["text"], items


def _spoken(episode_id: str, material: Material) -> list[dict[str, str]]:
    return [
        {"role": turn["role"], "text": _cut(turn["text"], CHARACTERS_OF_TURN)}
        for turn in material.turns.get(episode_id, ())
    ]


def _request(subject: Subject, data: Mapping[str, Any]) -> LlmRequest:
    from pipelines.gateways.llm.requests import LlmRequest

    return LlmRequest(subject.key, prompt(subject.prompt), data)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} ..."


def values(subject: Subject, answer: object) -> dict[str | None, float | None]:
    """What an answer says, by dimension (None where there are none): for a comparison 1 where the subject's episode is better, 0 for a tie, -1 where it is worse; else a number from 1 to 5.

    None in place of a value that cannot be used.
    """
    held: Mapping[str, Any] = answer if isinstance(answer, dict) else {}
    if subject.measure == "win":
        sign = 1.0 if subject.is_first else -1.0
        verdicts = {dimension: _VERDICTS.get(str(held.get(dimension))) for dimension in DIMENSIONS}
        # Adding 0 makes a plain zero of -0.0.
        return {name: None if verdict is None else sign * verdict + 0.0 for name, verdict in verdicts.items()}
    number = held.get("credibility" if subject.measure == "credibility" else "intention")
    is_score = isinstance(number, int | float) and not isinstance(number, bool) and 1 <= number <= 5
    return {None: float(number) if is_score and number is not None else None}


def reason(answer: object) -> str | None:
    """Why, as the judge says."""
    told = answer.get("reason") if isinstance(answer, dict) else None
    return told if isinstance(told, str) and told.strip() else None


def judgement_id(subject: Subject, dimension: str | None, request_hash: str) -> str:
    """Id of a judgement: what it is about, and the question that was asked."""
    return _digest(subject.key, dimension or "-", request_hash)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\x1e".join(parts).encode(), digest_size=8).hexdigest()
