"""Backward expectation derivation: replies that did not satisfy are rewritten for the reasons that the simulated user gave (ECPO, section 2.2).

Belongs here: which turns are rewritten, what the rewriter is told, which rewrites are accepted, their rows, and counts by threshold. Does not belong here: the confirmations themselves
(`confirmation.py`), and what becomes of the pairs (`pipelines/preferences/simulated.py`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from rapidfuzz.distance import Indel

from pipelines.gateways.llm.conversations import Asked, Conversation, Unanswered
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.gateways.llm.runs import is_stand_in
from pipelines.simulation.brief import conversation, version_of
from pipelines.simulation.brief import prompt as stored_prompt
from pipelines.simulation.domains import domain
from pipelines.simulation.episode import labelled, messages, said
from pipelines.simulation.naming import holds_title, leaks, masked, named
from pipelines.simulation.parts import AgentReply, Confirmation, Episode, Item, Said, Task, Turn
from warehouse.tables.simulation import ACTIONS

# Raise it when the code here gives other rows from the same answers.
REWRITING_VERSION = "1"

PROMPT = "rewrite"
METHOD = "ecpo"

# Turns at or under it are rewritten; ECPO rewrites what scores under 5 (section B.3: lambda = 4).
THRESHOLD = 4
LAMBDAS = (1, 2, 3, 4)

# Questions to the rewriter for one turn, at most. Each is a little warmer: a seed alone changes little at a low temperature.
TRIES = 3
_WARMER = 0.3

# "Limited modification": from this distance on a rewrite is another reply. Of two replies of the released Book logs that have nothing to do with each other, drawn at random
# (20,000 draws each from two logs), one in a hundred is as near as .59 and .56; the median is .87 and .86.
DISTANCE_MAX = 0.6

# What the rewriter is shown of an item, in characters, and of how many items, those of the turn first.
_ABOUT_SHOWN = 600
_ITEMS_SHOWN = 10
_HIDDEN = "what the user is looking for"

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
# Names as people and models set them off: quotes of three kinds, single ones (not apostrophes), Markdown.
_SET_OFF = re.compile(
    r"\"([^\"\n]{2,150})\"|“([^”\n]{2,150})”|«([^»\n]{2,150})»|\*{1,2}(?=\S)([^*\n]{2,150})(?<=\S)\*{1,2}"
    r"|(?<!\w)['‘](?=\S)((?:[^'’\n]|['’](?=\w)){2,150})(?<=\S)['’](?!\w)"
)
# An action written into the text, as agents note them: a reply holds one, and it stands beside the text.
_MARK = re.compile(r"^\W{0,4}(?:search|ask|recommend|respon(?:d|se))\W{0,3}[:\[(]", re.IGNORECASE | re.MULTILINE)

Confirm = Callable[[Task, Sequence[Said], int], Conversation[Confirmation]]


@dataclass(frozen=True)
class Point:
    """An agent's turn that can be gone back to: position `at` among the turns of an episode."""

    episode_id: str
    episode: Episode
    at: int

    @property
    def turn(self) -> Turn:
        return self.episode.turns[self.at]

    @property
    def reply(self) -> AgentReply:
        reply = self.turn.reply
        assert reply is not None
        return reply

    @property
    def confirmation(self) -> Confirmation:
        assert self.turn.confirmation is not None
        return self.turn.confirmation

    @property
    def before(self) -> Sequence[Turn]:
        return self.episode.turns[: self.at]

    @property
    def known(self) -> list[Item]:
        """Items retrieved in the turn or earlier, each once, the turn's own first."""
        replies = [self.reply, *(turn.reply for turn in reversed(self.before) if turn.reply is not None)]
        return list({item.item_id: item for reply in replies for item in reply.retrieved}.values())

    @property
    def pair_id(self) -> str:
        """Id of what comes of rewriting it."""
        return identity(self.episode_id, self.turn.turn, prompt_name())


@dataclass(frozen=True)
class Rewrite:
    """What came of rewriting a turn: `status` as in pref_ecpo_pairs. `text`: for `kept`, `not_scored` and `too_far`. `confirmation`: the second one."""

    status: str
    text: str | None = None
    reasoning: str | None = None
    distance: float | None = None
    confirmation: Confirmation | None = None


def prompt_name() -> str:
    """Name and version of the rewriter's prompt."""
    return version_of(PROMPT)


def points(episode_id: str, episode: Episode, threshold: int = THRESHOLD) -> Iterator[Point]:
    """The agent's turns with a satisfaction at or under `threshold`, in order. Leaked and failed episodes have none; turns that were not scored are none."""
    if episode.outcome not in ("completed", "left"):
        return
    for at, turn in enumerate(episode.turns):
        score = turn.confirmation.satisfaction if turn.reply and turn.confirmation else None
        if score is not None and score <= threshold:
            yield Point(episode_id, episode, at)


# ----------------------------------------------------------------------------------------------------------------- asking


def rewrite(point: Point, confirm: Confirm) -> Conversation[Rewrite]:
    """Ask for a better reply until one can be accepted, at most TRIES times; then let the user's simulator score it.

    The last try's status stands where none is accepted. The second confirmation takes as many samples as the first did.
    """
    prompt, told, turn = stored_prompt(PROMPT), data(point), point.turn.turn
    found = Rewrite("no_answer")
    for seed in range(TRIES):
        warmth = prompt.temperature + _WARMER * seed
        answer = yield LlmRequest(f"rewrite/{turn}/refine/{seed}", prompt, told, warmth, seed or None)
        found = _answered(point, answer)
        if found.status == "kept":
            break
    if found.status != "kept":
        return found
    assert found.text is not None
    first = point.confirmation
    again = [*said(point.before), Said("assistant", found.text)]
    samples = max(1, first.samples + first.malformed)
    second = yield from labelled(confirm(point.episode.task, again, samples), f"confirm_rewrite/{turn}/")
    return replace(found, status="not_scored" if second.satisfaction is None else "kept", confirmation=second)


def data(point: Point) -> dict[str, Any]:
    """What the rewriter is told: the state that the agent was in, and why the user was not satisfied. Nothing of the persona, and no target that the agent had not found."""
    scores = point.confirmation
    return {
        "domain": domain(point.episode.task.domain).as_data(),
        "conversation": conversation(said(point.before)),
        "retrieved": [{"title": item.title, "about": item.text[:_ABOUT_SHOWN]} for item in point.known[:_ITEMS_SHOWN]],
        "reply": {"action": point.reply.action, "text": point.reply.text},
        "confirmation": {
            "flexibility": scores.flexibility,
            "coherence": scores.coherence,
            "guidance": scores.guidance,
            "satisfaction": scores.satisfaction,
            "reason": _without_target(scores.reason or "", point),
        },
    }


def _without_target(reason: str, point: Point) -> str:
    """The reason without the target's name where the agent could not know it: the confirmation knows what is looked for, the agent does not."""
    if not _is_hidden(point):
        return reason
    title = point.episode.task.target.title
    sentences = (masked(sentence, title, _HIDDEN) for sentence in _SENTENCE.split(reason))
    return " ".join(sentence for sentence in sentences if not leaks(sentence, title))


def _is_hidden(point: Point) -> bool:
    """Whether the target has neither been found nor named by then."""
    target = point.episode.task.target
    heard = [*(each.text for each in said(point.before)), point.reply.text]
    is_found = any(item.item_id == target.item_id for item in point.known)
    return not is_found and not any(leaks(text, target.title) for text in heard)


# --------------------------------------------------------------------------------------------------------------- accepting


def _answered(point: Point, answer: Any) -> Rewrite:
    if isinstance(answer, Unanswered):
        return Rewrite("unparseable" if answer.reason.startswith("invalid") else "no_answer")
    return judged(point, answer.value)


def judged(point: Point, value: Any) -> Rewrite:
    """An answer of the rewriter, with the first status of these that holds, else `kept`.

    `unparseable`: it is not one action with a text. `empty`: without words. `other_action`. `same`: equal but for case and white space. `unknown_title`: names a title, in quotes or
    otherwise set off, that was neither retrieved nor said; or the target, which the agent had not found. `title_lost`: a recommendation without any full title that was retrieved or
    stood in the original; or none of the original's full titles and no other one. `too_far`: DISTANCE_MAX or more.
    """
    reasoning, action, text = _parsed(value)
    if text is None:
        return Rewrite("unparseable", reasoning=reasoning)
    distance = rewrite_distance(point.reply.text, text)
    for status, holds in (
        ("empty", lambda: not _WORD.search(text)),
        ("other_action", lambda: action != point.reply.action),
        ("same", lambda: _plain(text) == _plain(point.reply.text)),
        ("unknown_title", lambda: _names_unknown(point, text)),
        ("title_lost", lambda: _loses_titles(point, text)),
    ):
        if holds():
            return Rewrite(status, reasoning=reasoning)
    return Rewrite("too_far" if distance >= DISTANCE_MAX else "kept", text, reasoning, distance)


def rewrite_distance(original: str, rewritten: str) -> float:
    """1 - normalised indel similarity over words, case aside: words put in and taken out, over all words of both; 0 to 1."""
    return Indel.normalized_distance(*(_WORD.findall(text.casefold()) for text in (original, rewritten)))


def _parsed(value: Any) -> tuple[str | None, str | None, str | None]:
    """Reasoning, action and text; no text where the answer is not one action."""
    if not isinstance(value, Mapping):
        return None, None, None
    reasoning, refinement = value.get("reasoning"), value.get("refinement")
    thought = _readable(reasoning) if isinstance(reasoning, str) else None
    if not isinstance(refinement, Mapping):
        return thought, None, None
    action, text = refinement.get("action"), refinement.get("text")
    if action not in (*ACTIONS, "search") or not isinstance(text, str) or _MARK.search(text):
        return thought, None, None
    return thought, action, _readable(text)


def _readable(text: str) -> str:
    """Without control characters and lone surrogates, which no table holds."""
    kept = "".join(each for each in text if each.isprintable() or each == "\n")
    return kept.encode("utf-8", "replace").decode().strip()


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _names_unknown(point: Point, text: str) -> bool:
    if _is_hidden(point) and leaks(text, point.episode.task.target.title):
        return True
    titles = [item.title for item in point.known]
    heard = "\n".join([*(each.text for each in said(point.before)), point.reply.text])
    return any(
        not holds_title(heard, name)
        and not any(holds_title(name, title) or holds_title(title, name) for title in titles)
        for name in set_off(text)
    )


def _loses_titles(point: Point, text: str) -> bool:
    stood = [Item("", name, "") for name in set_off(point.reply.text)]
    if named(text, [*point.known, *stood]):
        return False
    return point.reply.action == "recommend" or bool(named(point.reply.text, [*point.known, *stood]))


def set_off(text: str) -> list[str]:
    """Names in quotes or Markdown that are written as titles are: they begin with a capital or a digit, as do most of their words of four letters and more."""
    found = []
    for match in _SET_OFF.finditer(text):
        name = next(group for group in match.groups() if group is not None).strip(" ,.;:!?")
        words = _WORD.findall(name)
        long = [word for word in words[1:] if len(word) > 3]
        begins = words and (words[0][0].isupper() or words[0][0].isdigit())
        if begins and 2 * sum(word[0].islower() for word in long) <= len(long):
            found.append(name)
    return found


# -------------------------------------------------------------------------------------------------------------------- rows


def input_hash(point: Point, judge: str, model: str) -> int:
    """Hash of all that decides what is asked about a turn, and how its answers are judged."""
    told = json.dumps(data(point), sort_keys=True)
    task = point.episode.task
    facts = (task.target.title, task.target.text, json.dumps(dict(task.persona.traits), sort_keys=True))
    samples = point.confirmation.samples + point.confirmation.malformed
    digest = identity(REWRITING_VERSION, stored_prompt(PROMPT).digest, judge, model, told, *facts, samples)
    return int(digest, 16) // 2


def row(point: Point, found: Rewrite, asked: Sequence[Asked], judge: str, model: str) -> dict[str, Any]:
    """What came of a point as a row of pref_ecpo_pairs. judge: prompt of the confirmations; model: the one that was to be asked."""
    episode, before, after = point.episode, point.confirmation, found.confirmation
    answered = [each.model for each in asked if each.key.startswith("rewrite/")]
    spoke = answered[-1] if answered else model
    gains = {
        f"{name}_gain": None if after is None or (new := getattr(after, name)) is None else new - getattr(before, name)
        for name in ("flexibility", "coherence", "guidance")
    }
    scored = after.satisfaction if after else None
    first = before.satisfaction
    assert first is not None
    return {
        "pair_id": point.pair_id,
        "episode_id": point.episode_id,
        "turn": point.turn.turn,
        "domain": episode.task.domain,
        "agent": episode.agent,
        "simulator": episode.simulator,
        "split": episode.task.split,
        "user_id": episode.task.user_id,
        "context": messages(point.before),
        "original": point.reply.text,
        "rewritten": found.text,
        "reason": before.reason or "",
        "reasoning": found.reasoning,
        "action_type": point.reply.action,
        "score_before": first,
        "score_after": scored,
        "is_improved": None if scored is None else scored > first,
        **gains,
        "rewrite_distance": found.distance,
        "status": found.status,
        "retrieved": [item.item_id for item in point.known],
        "is_success": is_success(episode),
        "judge_prompt_version": judge,
        "model": spoke,
        "is_stand_in": is_stand_in(spoke),
        "prompt_version": prompt_name(),
        "input_hash": input_hash(point, judge, model),
    }


def is_success(episode: Episode, start: int = 0) -> bool:
    """Whether a reply from position `start` on holds the target's full title."""
    title = episode.task.target.title
    return any(turn.reply is not None and holds_title(turn.reply.text, title) for turn in episode.turns[start:])


def calls(method: str, owner_id: str, domain_name: str, asked: Sequence[Asked]) -> list[dict[str, Any]]:
    """Questions as rows of sim_calls. Their keys begin with purpose and turn: `rewrite/3/refine/0`."""
    found = []
    for number, each in enumerate(asked):
        purpose, turn, *_ = each.key.split("/")
        found.append(
            {
                "method": method,
                "owner_id": owner_id,
                "number": number,
                "domain": domain_name,
                "purpose": purpose,
                "turn": int(turn),
                "prompt_version": each.prompt,
                "request_hash": each.request_hash,
                "outcome": each.outcome,
            }
        )
    return found


def identity(*parts: object) -> str:
    """Sixteen hexadecimal digits, the same for the same parts."""
    return hashlib.md5("\x1e".join(map(str, parts)).encode(errors="replace"), usedforsecurity=False).hexdigest()[:16]


# ---------------------------------------------------------------------------------------------------------------- counting


def sweep(pairs: pl.DataFrame) -> pl.DataFrame:
    """How many pairs each threshold gives (ECPO, section 3.5): lambda, turns, kept, improved.

    pairs: pref_ecpo_pairs, made with a threshold of 4. `turns`: those that score `lambda` or less; `kept`: of these, those with an accepted and scored rewrite; `improved`: of these,
    those whose rewrite scores higher.
    """
    is_kept = pl.col("status") == "kept"
    counts = [
        pairs.filter(pl.col("score_before") <= threshold).select(
            pl.lit(threshold, dtype=pl.Int32).alias("lambda"),
            turns=pl.len().cast(pl.Int64),
            kept=is_kept.sum().cast(pl.Int64),
            improved=(is_kept & pl.col("is_improved").fill_null(False)).sum().cast(pl.Int64),
        )
        for threshold in LAMBDAS
    ]
    return pl.concat(counts)
