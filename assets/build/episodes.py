"""Playing simulated conversations: sim_episodes, sim_turns, sim_calls. What was played from the same inputs is not played again.

Every answer of the language model is kept before it is used, so that a run that was killed plays on from the question it was at. Does not belong here: what is said
(`pipelines/simulation/`), how it is asked (`pipelines/gateways/llm/`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from assets.build.files import digest_of
from assets.build.personas import tasks
from assets.build.played import Partition, Row, Searcher, with_calls
from assets.build.scales import Simulation
from assets.build.tables import Built, Tell, as_one, latest_or_empty
from pipelines.simulation import agents, simulators
from pipelines.simulation.agents import AGENTS
from pipelines.simulation.episode import EPISODE_VERSION, episode_id, play, rows
from pipelines.simulation.naming import holds_title
from pipelines.simulation.parts import Episode, Simulator, Task
from pipelines.simulation.simulators import SIMULATORS
from warehouse.store import Commit, Warehouse
from warehouse.tables.simulation import SIM_CALLS, SIM_EPISODES, SIM_TASKS, SIM_TURNS

if TYPE_CHECKING:
    from pipelines.gateways.llm.gateway import LlmGateway

SIMULATION_VERSION = f"{EPISODE_VERSION}.{agents.AGENT_VERSION}.{simulators.SIMULATOR_VERSION}"

METHOD = "episode"


@dataclass(frozen=True)
class Wanted:
    """An episode that is to be there."""

    task: Task
    agent: str
    simulator: Simulator
    turn_limit: int
    confirmations: int
    sample: int = 0

    @property
    def episode_id(self) -> str:
        """Its id, whatever it is played with."""
        return episode_id(self.task.task_id, self.agent, self.simulator.name, self.sample)

    def hashed(self, model: str) -> int:
        """Hash of everything that decides what is said, but for the catalogue: an item more does not make a conversation worth another."""
        parts = [
            SIMULATION_VERSION,
            agents.prompts_of(self.agent),
            simulators.prompts_of(self.simulator.name),
            [
                self.task.task_id,
                self.task.split,
                self.task.target.title,
                self.task.target.text,
                dict(self.task.persona.traits),
            ],
            [self.agent, self.simulator.name, self.turn_limit, self.confirmations, self.sample, model],
        ]
        return int(digest_of(parts), 16) >> 1  # as much as an Int64 holds


def wanted(warehouse: Warehouse, partitions: Iterable[Partition], plan: Simulation) -> list[Wanted]:
    """The episodes of a plan: AILO's on tasks of both splits, RSO's seeker on the first of the test tasks."""
    found: list[Wanted] = []
    drawn: dict[str, tuple[list[Task], list[Task]]] = {}
    ailo, seeker = SIMULATORS["ailo"], SIMULATORS["seeker"]
    for domain, agent in partitions:
        if domain not in drawn:
            drawn[domain] = (
                tasks(warehouse, domain, "train", plan.train),
                tasks(warehouse, domain, "test", plan.test),
            )
        train, test = drawn[domain]
        found += [Wanted(task, agent, ailo, plan.turns, plan.confirmations) for task in (*train, *test)]
        found += [Wanted(task, agent, seeker, seeker.turn_limit, plan.confirmations) for task in test[: plan.seeker]]
    return found


def build_episodes(
    warehouse: Warehouse,
    gateway: LlmGateway | None,
    search: Searcher,
    partitions: Sequence[Partition],
    plan: Simulation,
    tell: Tell,
) -> Built:
    """Play what is wanted of some `partitions` and not there yet: sim_episodes, sim_turns, sim_calls.

    Episodes that a larger plan had asked for stay, as long as there is their task. What could not be played to its end (a budget, a dead endpoint) is left for
    the next run. Without a `gateway` nothing is played, and what is there stays.
    """
    known = set(latest_or_empty(warehouse, SIM_TASKS, ["task_id"])["task_id"])
    stored = latest_or_empty(warehouse, SIM_EPISODES).filter(pl.col("task_id").is_in(list(known)))
    counts: dict[str, float] = {"played": 0, "played before": 0, "not finished": 0}
    if gateway is None:
        tell(f"no language model is configured: nothing is played, {stored.height:,} earlier episodes stay")
        return Built(_written(warehouse, stored, [], [], []), counts | {"episodes": stored.height})
    asked = {each.episode_id: each for each in wanted(warehouse, partitions, plan)}
    if not asked:
        tell("skipped: there are no tasks to play")
    hashes = {name: each.hashed(gateway.settings.model) for name, each in asked.items()}
    there = dict(stored.select("episode_id", "input_hash").iter_rows())
    todo = {name: each for name, each in asked.items() if there.get(name) != hashes[name]}
    counts["played before"] = len(asked) - len(todo)
    episodes: list[Row] = []
    turns: list[Row] = []
    calls: list[Row] = []
    if todo:
        tell(f"playing {len(todo):,} episodes, {counts['played before']:,.0f} were played before")
        outcomes = {"success": 0, "ended": 0}

        def keep(name: str, episode: Episode) -> None:
            outcomes["ended"] += 1
            outcomes["success"] += any(_names_target(turn, episode.task) for turn in episode.turns)

        def told() -> str:
            return f"target named in {outcomes['success']:,} of {outcomes['ended']:,}"

        conversed = gateway.converse(
            {name: _played(each) for name, each in todo.items()},
            search,
            tell,
            keep=keep,
            told=told,
        )
        for name in sorted(conversed.results):
            made = rows(conversed.results[name], conversed.asked[name], hashes[name])
            episodes.append(made.episode)
            turns += made.turns
            calls += made.calls
        counts["played"] = len(conversed.results)
        counts["not finished"] = len(conversed.unfinished)
        if conversed.unfinished:
            tell(
                f"warning: {len(conversed.unfinished):,} episodes could not be played to their end: {conversed.reasons}"
            )
        counts |= {f"language model: {label}": figure for label, figure in conversed.run.counts.items()}
    stays = stored.filter(~pl.col("episode_id").is_in([row["episode_id"] for row in episodes]))
    commits = _written(warehouse, stays, episodes, turns, calls)
    for outcome, number in sorted(Counter(row["outcome"] for row in episodes).items()):
        counts[f"outcome {outcome}"] = number
    return Built(commits, counts | {"episodes": commits[0].rows})


def _played(each: Wanted) -> Any:
    return play(
        each.task,
        each.agent,
        AGENTS[each.agent],
        each.simulator,
        sample=each.sample,
        turn_limit=each.turn_limit,
        confirmations=each.confirmations,
        feelings=each.simulator.feel is not None,
    )


def _names_target(turn: Any, task: Task) -> bool:
    return turn.reply is not None and holds_title(turn.reply.text, task.target.title)


def _written(
    warehouse: Warehouse, stored: pl.DataFrame, episodes: Sequence[Row], turns: Sequence[Row], calls: Sequence[Row]
) -> tuple[Commit, ...]:
    """Write `stored` episodes, those that stay, and new rows. Questions of other methods stay as they are: their steps come after."""
    played = pl.concat([stored, SIM_EPISODES.frame(episodes)])
    old_turns = latest_or_empty(warehouse, SIM_TURNS).join(stored, on="episode_id", how="semi", maintain_order="left")
    fresh = {row["episode_id"] for row in episodes}
    return (
        warehouse.write(SIM_EPISODES, played),
        warehouse.write(SIM_TURNS, pl.concat([old_turns, SIM_TURNS.frame(turns)])),
        warehouse.write(SIM_CALLS, with_calls(warehouse, METHOD, played["episode_id"], fresh, calls)),
    )


def together(parts: Sequence[Built]) -> Built:
    """Builds that follow each other as one: the last version of each table, and all counts, those of one name added up."""
    commits: dict[str, list[Any]] = {}
    for part in parts:
        for commit in part.commits:
            commits.setdefault(commit.table, []).append(commit)
    counts: dict[str, float] = {}
    for part in parts:
        for name, number in part.counts.items():
            counts[name] = counts.get(name, 0) + number
    return Built(tuple(as_one(own) for own in commits.values()), counts)
