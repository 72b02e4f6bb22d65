"""The report on simulated users, from frames to one HTML page.

Belongs here: the order of the page, what is said before the numbers, what is missing, which conversations stand as examples. Does not belong here: its blocks
(`simulation_agents.py`, `simulation_data.py`), how figures are computed (pipelines/evaluation/simulation/), looks (`simulation.html.jinja`, `warehouse/pages/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from pipelines.reporting.blocks import Page
from pipelines.reporting.simulation_agents import agent_blocks, name
from pipelines.reporting.simulation_data import data_blocks, passports
from pipelines.reporting.transcripts import Titles, Transcript, harmless, transcript
from warehouse.pages.rendering import rendered
from warehouse.tables.simulation import TRAITS

REPORT_VERSION = "1"

# What is told of a table that has no rows.
_MISSING = {
    "sim_personas": "No personas: no reviews were read, or no language model was there to infer personas from them.",
    "sim_tasks": "No tasks: nothing to look for.",
    "sim_episodes": "No episodes: nothing was simulated.",
    "eval_simulation": "No figures of agents: episodes were not evaluated.",
    "sim_judgements": "No judgements: wins, watching intention and credibility are missing.",
    "eval_simulator_fidelity": "No comparison of simulated users with people.",
    "pref_ecpo_pairs": "No pairs of ECPO: no reply was rewritten.",
    "pref_tree_pairs": "No pairs by tree sampling: there is nothing to compare the cost of ECPO's with.",
}
_MARKED = ("sim_personas", "sim_episodes", "sim_judgements", "pref_ecpo_pairs", "pref_tree_pairs", "eval_simulation")


@dataclass(frozen=True)
class _Example:
    title: str
    transcript: Transcript


def examples(episodes: pl.DataFrame, pairs: pl.DataFrame) -> dict[str, str]:
    """Episodes that stand on the page, by what they show: a success, a failure, a rewrite that scores higher. The same rows give the same episodes."""
    played = episodes.filter(pl.col("outcome").is_in(["completed", "left"])).sort("episode_id")
    scored = played.drop_nulls("satisfaction_mean")
    better = pairs.filter((pl.col("status") == "kept") & pl.col("is_improved"))
    gain = (pl.col("score_after") - pl.col("score_before")).alias("gain")
    best = (
        better.join(episodes.select("episode_id"), on="episode_id", how="semi")
        .with_columns(gain)
        .sort("gain", "pair_id", descending=[True, False])
    )
    candidates = {
        # The most satisfying success that took a few turns, and the least satisfying failure among those that went on for longest.
        "A success": scored.filter("is_success").sort(pl.col("agent_turns") > 2, "satisfaction_mean", "episode_id", descending=[True, True, False]),
        "A failure": scored.filter(~pl.col("is_success")).sort("agent_turns", "satisfaction_mean", "episode_id", descending=[True, False, False]),
        "A rewrite": best,
    }  # fmt: skip
    found: dict[str, str] = {}
    for title, rows in candidates.items():
        fresh = rows.filter(~pl.col("episode_id").is_in(list(found.values())))
        if fresh.height:
            found[title] = fresh["episode_id"][0]
    return found


def page(frames: Mapping[str, pl.DataFrame], titles: Titles) -> Page:
    """The report.

    `frames`: eval_simulation, eval_simulator_fidelity, sim_personas, sim_tasks, sim_episodes, sim_turns, sim_calls, sim_judgements, pref_ecpo_pairs, pref_trajectories,
    pref_tree_pairs, as their contracts say. `titles`: of the items that stand in the examples. What has no rows is left out of the page and said to be.
    """
    episodes, pairs = frames["sim_episodes"], frames["pref_ecpo_pairs"]
    blocks = [*agent_blocks(frames), *data_blocks(frames)]
    shown = _examples(frames, titles)
    last = passports(frames["eval_simulation"], frames["eval_simulator_fidelity"])
    kept = pairs.filter(pl.col("status") == "kept")
    counted = episodes.filter(pl.col("outcome") != "leaked")
    tiles = [
        (f"{episodes.height:,}", "conversations"),
        (f"{counted['is_success'].sum() / counted.height:.0%}" if counted.height else "–", "found the target"),
        (f"{episodes['agent'].n_unique():,}", "agents"),
        (f"{frames['sim_personas'].filter(pl.col('origin') != 'random').height:,}", "personas"),
        (f"{frames['sim_tasks'].height:,}", "tasks"),
        (f"{kept.height:,}", "pairs (ECPO)"),
        (f"{frames['pref_trajectories']['episode_id'].n_unique():,}", "successful trajectories"),
        (f"{frames['sim_calls'].height + frames['sim_judgements'].height:,}", "questions asked"),
    ]
    html = rendered(
        "pipelines.reporting",
        "simulation.html.jinja",
        title="Simulated users: agents, satisfaction and pairs",
        blocks=blocks,
        passports=last,
        tiles=tiles,
        has_stand_in=_has_stand_in(frames),
        warnings=_warnings(episodes),
        missing=[words for table, words in _MISSING.items() if frames[table].is_empty()],
        examples=shown,
        traits={trait: trait.replace("_", " ") for trait in TRAITS},
        name=name,
    )
    return Page(html, sum(len(block.plots) for block in blocks))


def _has_stand_in(frames: Mapping[str, pl.DataFrame]) -> bool:
    fidelity = frames["eval_simulator_fidelity"]["is_stand_in"]
    return any(bool(frames[table]["is_stand_in"].any()) for table in _MARKED) or bool(fidelity.any())


def _warnings(episodes: pl.DataFrame) -> list[str]:
    """What a reader must know before the numbers."""
    found = []
    for outcome, words in (
        ("leaked", "were dropped because the simulated user named the target"),
        ("failed", "broke off because an answer could not be had or used; they count as not found"),
    ):
        number = episodes.filter(pl.col("outcome") == outcome).height
        if number and number / episodes.height >= 0.05:
            found.append(f"{number:,} of {episodes.height:,} conversations ({number / episodes.height:.0%}) {words}.")
    return found


def _examples(frames: Mapping[str, pl.DataFrame], titles: Titles) -> list[_Example]:
    episodes = {row["episode_id"]: row for row in frames["sim_episodes"].iter_rows(named=True)}
    personas = {row["persona_id"]: row for row in frames["sim_personas"].iter_rows(named=True)}
    chosen = examples(frames["sim_episodes"], frames["pref_ecpo_pairs"])
    made = []
    for title, episode_id in chosen.items():
        episode = episodes[episode_id]
        pairs = frames["pref_ecpo_pairs"] if title == "A rewrite" else None
        own = transcript(episode, frames["sim_turns"], titles, personas.get(episode["persona_id"]), pairs)
        made.append(_Example(title, harmless(own)))
    return made
