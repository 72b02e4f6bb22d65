"""Backward expectation derivation: pref_ecpo_pairs, and the questions asked for it. What was rewritten from the same inputs is not asked about again.

Does not belong here: what is asked and what is accepted (`pipelines/simulation/rewriting.py`), how it is asked (`pipelines/gateways/llm/`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from assets.build.played import Partition, is_of, played, train_episodes, with_calls
from assets.build.tables import Built, Tell, latest_or_empty
from pipelines.simulation.confirmation import CONFIRMATION_PROMPT
from pipelines.simulation.episode import messages
from pipelines.simulation.rewriting import (
    METHOD,
    REWRITING_VERSION,
    THRESHOLD,
    Point,
    Rewrite,
    calls,
    input_hash,
    points,
    rewrite,
    row,
)
from pipelines.simulation.simulators import SIMULATORS
from warehouse.store import Warehouse
from warehouse.tables.simulation import PREF_ECPO_PAIRS, SIM_CALLS, SIM_TURNS

if TYPE_CHECKING:
    from pipelines.gateways.llm.gateway import LlmGateway

__all__ = ["REWRITING_VERSION", "build_ecpo", "no_errands"]

Row = dict[str, Any]


def build_ecpo(
    warehouse: Warehouse,
    gateway: LlmGateway | None,
    partitions: Sequence[Partition],
    tell: Tell,
    threshold: int = THRESHOLD,
) -> Built:
    """Rewrite the agent's turns that score `threshold` or less, in train episodes of some `partitions` (domain and agent): pref_ecpo_pairs, sim_calls.

    A row for every such turn, whatever came of it; turns that could not be asked about (a budget, a dead endpoint) have none, and are asked about by the next run. Rows of other
    partitions stay as long as there is their turn. Without a `gateway` nothing is made, and rows stay while their turn is as it was.
    """
    episodes = train_episodes(warehouse)
    own = episodes.filter(is_of(partitions))
    due = {
        point.pair_id: point
        for name, episode in played(warehouse, own)
        for point in points(name, episode, threshold)
    }  # fmt: skip
    stored = latest_or_empty(warehouse, PREF_ECPO_PAIRS)
    turns = latest_or_empty(warehouse, SIM_TURNS, ["episode_id", "turn"])
    elsewhere = (
        stored.filter(~is_of(partitions))
        .join(episodes, on="episode_id", how="semi", maintain_order="left")
        .join(turns, on=["episode_id", "turn"], how="semi", maintain_order="left")
    )
    before = {each["pair_id"]: each for each in stored.filter(is_of(partitions)).iter_rows(named=True)}
    counts: dict[str, float] = {f"turns scored {threshold} or less": len(due)}
    if gateway is None:
        rows = [before[name] for name, point in due.items() if name in before and _is_same(before[name], point)]
        tell(
            f"no language model is configured: nothing is rewritten, {len(rows) + elsewhere.height:,} earlier rows stay"
        )
        return _built(warehouse, elsewhere, rows, [], (), counts)
    model = gateway.settings.model
    hashes = {name: input_hash(point, CONFIRMATION_PROMPT, model) for name, point in due.items()}
    rows = [before[name] for name in due if name in before and before[name]["input_hash"] == hashes[name]]
    there = {each["pair_id"] for each in rows}
    todo = {name: point for name, point in due.items() if name not in there}
    counts["rewritten before"] = len(rows)
    made: list[Row] = []
    asked: list[Row] = []
    if todo:
        tell(f"rewriting {len(todo):,} replies that scored {threshold} or less, {len(rows):,} were rewritten before")
        seen = _Seen(todo)
        conversed = gateway.converse(
            {name: rewrite(point, SIMULATORS[point.episode.simulator].confirm) for name, point in todo.items()},
            no_errands,
            tell,
            keep=seen.keep,
            told=seen.told,
        )
        for name in sorted(conversed.results):
            point, questions = todo[name], conversed.asked.get(name, [])
            made.append(row(point, conversed.results[name], questions, CONFIRMATION_PROMPT, model))
            asked += calls(METHOD, name, point.episode.task.domain, questions)
        counts["not asked"] = len(conversed.unfinished)
        if conversed.unfinished:
            tell(f"warning: {len(conversed.unfinished):,} replies could not be asked about: {conversed.reasons}")
        rows += [before[name] for name in conversed.unfinished if name in before and _is_same(before[name], due[name])]
        counts |= {f"language model: {label}": figure for label, figure in conversed.run.counts.items()}
    return _built(warehouse, elsewhere, [*rows, *made], asked, {each["pair_id"] for each in made}, counts)


def _is_same(stored: Mapping[str, Any], point: Point) -> bool:
    """Whether a row is about the turn as it stands today."""
    return stored["original"] == point.reply.text and stored["context"] == messages(point.before)


def no_errands(errands: Sequence[Any]) -> Sequence[Any]:
    """For conversations that look nothing up. Raises ValueError."""
    raise ValueError(f"{len(errands)} errands, where none was expected")


@dataclass
class _Seen:
    """What is told of rewrites while they come in."""

    todo: Mapping[str, Point]
    ended: int = 0
    kept: int = 0
    improved: int = 0

    def keep(self, name: str, found: Rewrite) -> None:
        before = self.todo[name].confirmation.satisfaction
        after = found.confirmation.satisfaction if found.confirmation is not None else None
        self.ended += 1
        self.kept += found.status == "kept"
        self.improved += before is not None and after is not None and after > before

    def told(self) -> str:
        return f"{self.kept:,} of {self.ended:,} rewrites accepted, {self.improved:,} score higher"


def _built(
    warehouse: Warehouse,
    elsewhere: pl.DataFrame,
    rows: Sequence[Row],
    asked: Sequence[Row],
    fresh: Collection[str],
    counts: Mapping[str, float],
) -> Built:
    """Write the rows, and the questions of all rows that are there: those of `fresh` ones are `asked`, the others are stored."""
    pairs = pl.concat([elsewhere, PREF_ECPO_PAIRS.frame(rows)])
    commits = (
        warehouse.write(PREF_ECPO_PAIRS, pairs),
        warehouse.write(SIM_CALLS, with_calls(warehouse, METHOD, pairs["pair_id"], fresh, asked)),
    )
    statuses = {
        f"status {status}": number for status, number in pairs.group_by("status").len().sort("status").iter_rows()
    }
    improved = pairs.filter(pl.col("is_improved"))
    return Built(commits, {**counts, "rows": pairs.height, **statuses, "rewrites that score higher": improved.height})
