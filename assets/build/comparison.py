"""Data to compare ECPO with: successful trajectories, and pairs by sampling (pref_trajectories, pref_tree_pairs), with the questions that sampling asked.

Does not belong here: what is sampled and how it is rewarded (`pipelines/simulation/tree.py`), training on it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from assets.build.played import Partition, Searcher, is_of, played, train_episodes, with_calls
from assets.build.scales import Trees
from assets.build.tables import Built, Tell, latest_or_empty
from pipelines.simulation import agents, simulators
from pipelines.simulation.agents import AGENTS
from pipelines.simulation.confirmation import CONFIRMATION_PROMPT
from pipelines.simulation.episode import EPISODE_VERSION, messages
from pipelines.simulation.parts import Episode
from pipelines.simulation.rewriting import calls
from pipelines.simulation.simulators import SIMULATORS
from pipelines.simulation.trajectories import TRAJECTORIES_VERSION, trajectories
from pipelines.simulation.tree import METHOD, TREE_VERSION, Sampling, branch, input_hash, row, sampled_points
from warehouse.store import Commit, Warehouse
from warehouse.tables.simulation import PREF_TRAJECTORIES, PREF_TREE_PAIRS, SIM_CALLS

if TYPE_CHECKING:
    from pipelines.gateways.llm.gateway import LlmGateway

COMPARISON_VERSION = f"{TRAJECTORIES_VERSION}.{TREE_VERSION}"

Row = dict[str, Any]


def build_comparison(
    warehouse: Warehouse,
    gateway: LlmGateway | None,
    search: Searcher,
    partitions: Sequence[Partition],
    trees: Trees,
    tell: Tell,
) -> Built:
    """Make comparison data of the train episodes of some `partitions`: pref_trajectories, pref_tree_pairs, sim_calls.

    `trees`: how many turns are sampled in each partition, and how many replies to each. A turn whose branches could not all be played (a budget, a dead endpoint) has no row, and is sampled by the
    next run; turns that are not drawn any more lose theirs. Rows of other partitions stay as long as there is their episode. Without a `gateway` nothing is sampled, and rows stay while their
    conversation is as it was.
    """
    episodes = train_episodes(warehouse)
    own = dict(played(warehouse, episodes.filter(is_of(partitions))))
    successes = _trajectories(warehouse, episodes, own, partitions)
    due = {
        sampling.pair_id: sampling
        for domain, agent in partitions
        for point in sampled_points(
            ((name, each) for name, each in own.items() if (each.task.domain, each.agent) == (domain, agent)),
            trees.turns,
        )
        if trees.branches > 1
        for sampling in (Sampling(point, trees.branches),)
    }
    stored = latest_or_empty(warehouse, PREF_TREE_PAIRS)
    elsewhere = _of_others(stored, episodes, partitions)
    before = {each["pair_id"]: each for each in stored.filter(is_of(partitions)).iter_rows(named=True)}
    counts: dict[str, float] = {"trajectories of success": successes.rows, "turns to sample": len(due)}
    if gateway is None:
        rows = [before[name] for name, each in due.items() if name in before and _is_same(before[name], each)]
        tell(f"no language model is configured: nothing is sampled, {len(rows) + elsewhere.height:,} earlier rows stay")
        return _built(warehouse, successes, elsewhere, rows, [], (), counts)
    model = gateway.settings.model
    hashes = {name: input_hash(each, _versions(each.point.episode), model) for name, each in due.items()}
    rows = [before[name] for name in due if name in before and before[name]["input_hash"] == hashes[name]]
    there = {each["pair_id"] for each in rows}
    todo = {name: each for name, each in due.items() if name not in there}
    counts["sampled before"] = len(rows)
    made: list[Row] = []
    asked: list[Row] = []
    if todo:
        tell(f"sampling {trees.branches} replies to each of {len(todo):,} turns, {len(rows):,} were sampled before")
        conversed = gateway.converse(
            {
                f"{name}/{number}": branch(each, number, AGENTS[each.point.episode.agent], SIMULATORS[each.point.episode.simulator])
                for name, each in todo.items()
                for number in range(each.branches)
            },
            search,
            tell,
        )  # fmt: skip
        for name, each in sorted(todo.items()):
            parts = [f"{name}/{number}" for number in range(each.branches)]
            if all(part in conversed.results for part in parts):
                questions = [question for part in parts for question in conversed.asked.get(part, [])]
                results = [conversed.results[part] for part in parts]
                made.append(row(each, results, questions, hashes[name], model))
                asked += calls(METHOD, name, each.point.episode.task.domain, questions)
            elif name in before and _is_same(before[name], each):
                rows.append(before[name])
        counts["not played"] = len(conversed.unfinished)
        if conversed.unfinished:
            tell(f"warning: {len(conversed.unfinished):,} branches could not be played: {conversed.reasons}")
        counts |= {f"language model: {label}": figure for label, figure in conversed.run.counts.items()}
    return _built(warehouse, successes, elsewhere, [*rows, *made], asked, {each["pair_id"] for each in made}, counts)


def _versions(episode: Episode) -> list[str]:
    """Versions of all that speaks in a branch."""
    code = (EPISODE_VERSION, agents.AGENT_VERSION, simulators.SIMULATOR_VERSION, CONFIRMATION_PROMPT)
    return [*code, *agents.prompts_of(episode.agent), *simulators.prompts_of(episode.simulator)]


def _is_same(stored: Mapping[str, Any], sampling: Sampling) -> bool:
    """Whether a row is about the conversation as it stands today."""
    return stored["context"] == messages(sampling.point.before)


def _of_others(stored: pl.DataFrame, episodes: pl.DataFrame, partitions: Sequence[Partition]) -> pl.DataFrame:
    """Stored rows of partitions that are not asked for, as long as there is their episode."""
    others = stored.filter(~is_of(partitions))
    return others.join(episodes, on="episode_id", how="semi", maintain_order="left")


def _trajectories(
    warehouse: Warehouse, episodes: pl.DataFrame, own: Mapping[str, Episode], partitions: Sequence[Partition]
) -> Commit:
    about = {each["episode_id"]: each for each in episodes.iter_rows(named=True)}
    made = [each for name, episode in own.items() for each in trajectories(name, episode, about[name])]
    stored = _of_others(latest_or_empty(warehouse, PREF_TRAJECTORIES), episodes, partitions)
    return warehouse.write(PREF_TRAJECTORIES, pl.concat([stored, PREF_TRAJECTORIES.frame(made)]))


def _built(
    warehouse: Warehouse,
    successes: Commit,
    elsewhere: pl.DataFrame,
    rows: Sequence[Row],
    asked: Sequence[Row],
    fresh: Collection[str],
    counts: Mapping[str, float],
) -> Built:
    """Write the rows, and the questions of all rows that are there: those of `fresh` ones are `asked`, the others are stored."""
    pairs = pl.concat([elsewhere, PREF_TREE_PAIRS.frame(rows)])
    commits = (
        successes,
        warehouse.write(PREF_TREE_PAIRS, pairs),
        warehouse.write(SIM_CALLS, with_calls(warehouse, METHOD, pairs["pair_id"], fresh, asked)),
    )
    figures = {
        "sampled turns": pairs.height,
        "sampled turns without a pair": pairs["chosen"].null_count(),
        "trajectories played for them": int(pairs["trajectories"].sum()),
    }
    return Built(commits, {**counts, **figures})
