"""Recorded simulations scored again: success by our own rule, beside what the recording says of itself.

Does not belong here: reading recordings (`replay.py`), figures of stored episodes (`measures.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.evaluation.simulation.clustered import TARGET, USER
from pipelines.evaluation.simulation.figures import Figure, figure
from pipelines.evaluation.simulation.replay import HIGHEST_REWARD, Recorded, Recording

LEAKED = "leaked: the user named the target first"
NO_SUCCESS = "no reply names the target"
NO_SCORE = "turns without a score"


@dataclass(frozen=True)
class Disagreement:
    """A conversation that the recording calls something else than we do."""

    conversation: str
    where: str
    title: str
    stated: bool
    scored: bool


@dataclass(frozen=True)
class Graded:
    """One recording scored: its figures, and where we disagree with it."""

    name: str
    source: str
    conversations: int
    successes: int
    stated_successes: int | None
    targets: int
    users: int
    disagreements: tuple[Disagreement, ...]
    figures: tuple[Figure, ...]


def grade(recording: Recording, holds_title: Callable[[str, str], bool]) -> Graded:
    """Score a recording. `holds_title(text, title)`: whether a full title stands in a text.

    SR: share of conversations with a reply that holds the full title of the target (ECPO, section B.5). A conversation that failed is no success, one that leaked counts nowhere.
    """
    counted = [each for each in recording.conversations if each.left_out is None]
    leaked = len(recording.conversations) - len(counted)
    turns = [_success_turn(each, holds_title) for each in counted]
    by = _clusters(counted)
    scored = [turn is not None for turn in turns]
    disagreements = [
        Disagreement(each.name, each.where, each.target.title, each.stated, success)
        for each, success in zip(counted, scored, strict=True)
        # A failed episode may have named the target before it failed: that is no disagreement about titles.
        if each.stated is not None and each.failed is None and each.stated != success
    ]
    most = max((len(each.replies) for each in counted), default=1)
    agreed = [
        None if each.stated is None or each.failed is not None else float(each.stated == success)
        for each, success in zip(counted, scored, strict=True)
    ]
    figures = [
        figure("success", [float(each) for each in scored], by, invalid_reason=LEAKED, invalid=leaked),
        figure("turns_to_success", turns, by, 1.0, max(2.0, most), NO_SUCCESS),
        figure("agreement", agreed, by, invalid_reason="nothing is stated, or it failed"),
    ]
    for name in sorted({name for each in counted for name in each.rewards}):
        figures += _rewards(name, counted)
    return Graded(
        recording.name,
        recording.source,
        len(recording.conversations),
        sum(scored),
        recording.stated_successes,
        len({each.target.item for each in recording.conversations}),
        len({each.target.user for each in recording.conversations}),
        tuple(disagreements),
        tuple(figures),
    )


def _success_turn(each: Recorded, holds_title: Callable[[str, str], bool]) -> float | None:
    """The first reply that holds the title, from 1."""
    if each.failed is not None:
        return None
    places = (place for place, reply in enumerate(each.replies, start=1) if holds_title(reply, each.target.title))
    first = next(places, None)
    return None if first is None else float(first)


def _rewards(name: str, counted: Sequence[Recorded]) -> list[Figure]:
    """Means over turns, and over the conversations' means, as the logs sum themselves up."""
    turns = [(each, score) for each in counted for score in each.rewards.get(name, ())]
    means = []
    for each in counted:
        there = [score for score in each.rewards.get(name, ()) if score is not None]
        means.append(sum(there) / len(there) if there else None)
    of_turns = [each for each, _ in turns]
    return [
        figure(name, [score for _, score in turns], _clusters(of_turns), 0.0, HIGHEST_REWARD, NO_SCORE),
        figure(
            f"{name}_by_conversation", means, _clusters(counted), 0.0, HIGHEST_REWARD, "conversations without a score"
        ),
    ]


def _clusters(conversations: Sequence[Recorded]) -> dict[str, list[str]]:
    return {
        TARGET: [each.target.item for each in conversations],
        USER: [each.target.user for each in conversations],
    }
