"""Blocks of the report on simulated users that are about agents: how well they do, turn by turn, and what the judge says.

Belongs here: which figures stand together, in which words. Does not belong here: how figures are computed (pipelines/evaluation/simulation/), users and pairs
(`simulation_data.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from pipelines.reporting.blocks import Block, Cell, interval
from pipelines.reporting.plots import BASELINE, COLORS, Bar, Part, Series, bars, lines, stacked
from warehouse.tables.simulation import AGENTS, EPISODE_OUTCOMES, POLICIES

ALL = "all"
NAMES = {"chatrec": "ChatRec", "react": "ReAct", "macrs": "MACRS", "actcrs": "ActCRS", "ailo": "AILO", "seeker": "RSO's seeker"}  # fmt: skip

# Measure, its head in the table, and how its values are written.
_HEADLINE = (
    ("success", "SR", ".2f"),
    ("retrieved", "R", ".2f"),
    ("turns_to_success", "Turns to success", ".2f"),
    ("satisfaction", "Satisfaction", ".2f"),
    ("win_rate", "WR", ".2f"),
)
_RSO = {
    "intention_before": "Watching intention before, 1–5",
    "watching_intention": "Watching intention after, 1–5",
    "intention_true": "Watching intention, all facts known, 1–5",
    "persuasiveness": "Persuasiveness",
    "persuasiveness_kept": "Persuasiveness, invalid cases at its bounds",
    "credibility": "Credibility, 1–5",
    "credibility_zeros": "Credibility, as published",
    "conv_sr": "Conv-SR",
    "rec_sr": "Rec-SR",
    "feeling": "State of the user, .2–1",
    "distinct_2": "Distinct-2",
    "distinct_2_by_episode": "Distinct-2 within an episode",
}
_SPLIT_WORDS = {"test": "test split", "train": "train split", ALL: "all episodes"}
_VERDICTS = {
    "WR": "win_rate",
    "WR flexibility": "win_rate_flexibility",
    "WR coherence": "win_rate_coherence",
    "WR guidance": "win_rate_guidance",
    "Undecided": "tie_rate",
    "Position bias": "position_bias",
}
_BASELINES = {
    "chance": "five items of the domain named at random in every turn",
    "retrieve_once": "the five items nearest to the user's first turn, all named at once",
}
_PARTS = {"flexibility": 2, "coherence": 2, "guidance": 1}
# How episodes end, in words, and the colour of it.
_ENDINGS = {
    "found": ("found", COLORS[0]),
    "not_found": ("not found", BASELINE),
    "left": ("user left", COLORS[5]),
    "leaked": ("target leaked", COLORS[3]),
    "failed": ("failed", COLORS[1]),
}
_PROBLEMS = 8


def name(agent: str) -> str:
    """An agent or simulator as people write it."""
    return NAMES.get(agent, agent.replace("_", " "))


def where(domain: str, simulator: str) -> str:
    """A domain and a simulator in words."""
    return f"{domain}s, {name(simulator)}" if domain != "business" else f"businesses, {name(simulator)}"


def agent_blocks(frames: Mapping[str, pl.DataFrame]) -> list[Block]:
    """All of them, the most important first; those that have nothing to show left out."""
    numbers, episodes, turns = frames["eval_simulation"], frames["sim_episodes"], frames["sim_turns"]
    blocks = [
        _results(numbers),
        _by_turn(episodes),
        _satisfaction(episodes, turns),
        _endings(episodes),
        _moves(episodes, turns),
        _wins(numbers, frames["sim_judgements"]),
        _rso(numbers),
    ]
    return [block for block in blocks if not block.is_empty]


def _places(frame: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Rows of each domain and simulator, those over several left out."""
    one = frame.filter((pl.col("domain") != ALL) & (pl.col("simulator") != ALL))
    for (domain, simulator), part in one.sort("domain", "simulator").group_by(
        "domain", "simulator", maintain_order=True
    ):
        yield str(domain), str(simulator), part


def shown_split(frame: pl.DataFrame) -> str:
    """The split that figures are shown of: the test split where there is one."""
    found = set(frame["split"].to_list())
    return next((split for split in ("test", ALL, "train") if split in found), ALL)


def _of_split(episodes: pl.DataFrame) -> pl.DataFrame:
    """Episodes that count, of the split that is shown."""
    counted = episodes.filter(pl.col("outcome") != "leaked")
    return counted.filter(pl.col("split") == "test") if "test" in counted["split"] else counted


def _ordered(part: pl.DataFrame) -> list[str]:
    """Agents, the most successful first, then baselines."""
    success = {row["agent"]: row["value"] for row in part.filter(pl.col("measure") == "success").iter_rows(named=True)}
    return sorted(
        part["agent"].unique().to_list(), key=lambda agent: (agent not in AGENTS, -(success.get(agent) or 0), agent)
    )


def _figure(row: Mapping[str, Any] | None, form: str) -> str | Cell:
    """Value, interval and n."""
    shown = interval(row, form)
    if row is None or not isinstance(shown, Cell):
        return shown
    return Cell(shown.value, ", ".join(filter(None, (shown.below, f"n = {row['n']:,}"))))


def _results(numbers: pl.DataFrame) -> Block:
    """Agents by success, recall, turns, satisfaction and wins, for each domain and simulator."""
    block = Block(
        "Agents",
        "SR: a reply holds the target's full title. R: the target was retrieved. Satisfaction: 0 to 5, mean over turns. WR: share of comparisons won against the expert agent, ties half. "
        "95 % intervals, clustered by target or user, whichever is wider.",
        ["Agent", *(head for _, head, _ in _HEADLINE)],
    )
    told = [key for key in _BASELINES if key in numbers["agent"]]
    if told:
        block.words += f" Baselines: {'; '.join(f'{name(key)}: {_BASELINES[key]}' for key in told)}."
    for domain, simulator, whole in _places(numbers):
        split = shown_split(whole.filter(pl.col("measure") == "success"))
        part = whole.filter(pl.col("split") == split)
        found = {(row["agent"], row["measure"]): row for row in part.iter_rows(named=True)}
        order = [agent for agent in _ordered(part) if any((agent, key) in found for key, _, _ in _HEADLINE)]
        if not order:
            continue
        block.rows.append(f"{where(domain, simulator)}: {_SPLIT_WORDS[split]}")
        points = []
        for agent in order:
            is_baseline = agent not in AGENTS
            words = f"{name(agent)}{' (baseline)' if is_baseline else ''}"
            block.rows.append([words, *(_figure(found.get((agent, key)), form) for key, _, form in _HEADLINE)])
            success = found.get((agent, "success"))
            if success is not None and success["value"] is not None:
                points.append(Bar(words, success["value"], success["low"], success["high"], is_baseline))
        if points:
            plot = bars(points, f"Success of agents, {where(domain, simulator)}", "SR")
            block.plots.append((plot, f"{where(domain, simulator)}: SR with 95 % intervals; baselines are grey."))
    return block


def _by_turn(episodes: pl.DataFrame) -> Block:
    """Share of episodes that had found the target by each turn."""
    block = Block(
        "Success by turn",
        "Share of episodes in which a reply of the agent had held the target's title by that turn. Episodes that leaked are left out, failed ones count as not found.",
    )
    for domain, simulator, part in _places(_of_split(episodes)):
        limit = int(part["turn_limit"].max() or 1)  # type: ignore[arg-type]
        series = []
        for agent in sorted(part["agent"].unique(), key=_place_of):
            own = part.filter(pl.col("agent") == agent)
            found = own.filter(pl.col("outcome") != "failed")["success_turn"]
            shares = [int((found <= turn).sum()) / own.height for turn in range(1, limit + 1)]
            series.append(Series(f"{name(agent)} (n = {own.height:,})", range(1, limit + 1), shares))
        title = f"Success by turn, {where(domain, simulator)}"
        block.plots.append(
            (
                lines(series, title, "turn of the agent", "share of episodes", has_whole_ticks=True, top=1),
                where(domain, simulator),
            )
        )
    return block


def _place_of(agent: str) -> int:
    return AGENTS.index(agent) if agent in AGENTS else len(AGENTS)


def _scored(episodes: pl.DataFrame, turns: pl.DataFrame) -> pl.DataFrame:
    """Agents' turns with a score, with their number from 1, and what the episode says of them."""
    about = _of_split(episodes).select("episode_id", "simulator")
    scored = turns.filter((pl.col("role") == "assistant") & pl.col("satisfaction").is_not_null())
    return scored.join(about, on="episode_id").with_columns(number=(pl.col("turn") + 1) // 2)


def _satisfaction(episodes: pl.DataFrame, turns: pl.DataFrame) -> Block:
    """Satisfaction by turn, and its three parts."""
    scored = _scored(episodes, turns)
    replies = turns.filter(pl.col("role") == "assistant")
    unscored = replies.filter(pl.col("confirmations") == 0).height
    block = Block(
        "Satisfaction by turn",
        "Forward expectation confirmation: flexibility 0–2, coherence 0–2 and guidance 0–1, summed; means over the episodes that reached the turn. "
        f"{unscored:,} of {replies.height:,} replies have no score because no answer of the judge could be used.",
    )
    for domain, simulator, part in _places(scored):
        means = part.group_by("agent", "number").agg(pl.col("satisfaction").mean(), n=pl.len()).sort("agent", "number")
        series = []
        for agent in sorted(part["agent"].unique(), key=_place_of):
            own = means.filter(pl.col("agent") == agent)
            series.append(Series(name(agent), own["number"].to_list(), own["satisfaction"].to_list()))
        counts = part.group_by("number").len().sort("number")["len"].to_list()
        reached = (
            f"{where(domain, simulator)}: {counts[0]:,} scored replies in the first turn, {counts[-1]:,} in the last"
        )
        title = f"Satisfaction by turn, {where(domain, simulator)}"
        block.plots.append(
            (lines(series, title, "turn of the agent", "satisfaction, 0 to 5", has_whole_ticks=True, top=5), reached)
        )
        shares = (
            part.group_by("number").agg(pl.col(part_).mean() / most for part_, most in _PARTS.items()).sort("number")
        )
        parts = [
            Series(f"{part_} (of {most})", shares["number"].to_list(), shares[part_].to_list())
            for part_, most in _PARTS.items()
        ]
        title = f"Parts of satisfaction by turn, {where(domain, simulator)}"
        block.plots.append(
            (
                lines(parts, title, "turn of the agent", "share of the points", has_whole_ticks=True, top=1),
                f"{where(domain, simulator)}: the three parts, all agents together",
            )
        )
    return block


def _endings(episodes: pl.DataFrame) -> Block:
    """How episodes ended, all splits together."""
    block = Block(
        "How conversations ended",
        "All episodes, train and test. Leaked: the user named the target before the agent did; such an episode counts nowhere. Failed: an answer could not be had or used; it counts as not found.",
        ["Agent", "Episodes", *(words.capitalize() for words, _ in _ENDINGS.values()), "Accepted"],
    )  # fmt: skip
    if episodes.is_empty():
        return block
    end = (
        pl.when(pl.col("outcome").is_in([*(set(EPISODE_OUTCOMES) - {"completed", "left"})]))
        .then("outcome")
        .when("is_success")
        .then(pl.lit("found"))
        .when(pl.col("outcome") == "left")
        .then(pl.lit("left"))
        .otherwise(pl.lit("not_found"))
    )
    counts = episodes.group_by("domain", "simulator", "agent").agg(
        *((end == key).sum().alias(key) for key in _ENDINGS), accepted=pl.col("is_accepted").sum(), episodes=pl.len()
    )
    labels: list[str] = []
    lengths: dict[str, list[float]] = {key: [] for key in _ENDINGS}
    for domain, simulator, part in _places(counts):
        block.rows.append(where(domain, simulator))
        for row in sorted(part.iter_rows(named=True), key=lambda row: _place_of(row["agent"])):
            numbers = (row[key] for key in ("episodes", *_ENDINGS, "accepted"))
            block.rows.append([name(row["agent"]), *(f"{number:,}" for number in numbers)])
            labels.append(f"{where(domain, simulator)}, {name(row['agent'])}")
            for key, own in lengths.items():
                own.append(row[key] / row["episodes"])
    parts = [Part(words, lengths[key], color) for key, (words, color) in _ENDINGS.items()]
    plot = stacked(labels, parts, "How conversations ended", "share of episodes")
    block.plots.append((plot, "Each bar is all episodes of one agent."))
    problems = episodes.filter((pl.col("outcome") == "failed") & pl.col("problem").is_not_null())["problem"]
    if problems.len():
        said = problems.value_counts(sort=True).sort("count", "problem", descending=[True, False]).head(_PROBLEMS)
        block.words += " Why episodes failed: " + "; ".join(f"{text} ({count:,})" for text, count in said.iter_rows())
        block.words += "."
    return block


def _moves(episodes: pl.DataFrame, turns: pl.DataFrame) -> Block:
    """What simulated users did: refusals and leaving are what a user who is too easily pleased never does."""
    block = Block(
        "What simulated users did",
        "Moves of the users after their opening, by policy. A user that hardly ever refuses or leaves cooperates more than people do.",
        ["Users", "Moves", *(policy.replace("_", " ").capitalize() for policy in POLICIES[1:])],
    )
    moves = turns.filter((pl.col("role") == "user") & (pl.col("turn") > 0) & pl.col("policy").is_not_null())
    moves = moves.join(episodes.select("episode_id", "simulator"), on="episode_id")
    for domain, simulator, part in _places(moves):
        shares = [f"{(part['policy'] == policy).sum() / part.height:.1%}" for policy in POLICIES[1:]]
        block.rows.append([where(domain, simulator), f"{part.height:,}", *shares])
    return block


def _wins(numbers: pl.DataFrame, judgements: pl.DataFrame) -> Block:
    """Comparisons in both orders: what the order does, and how often both agree."""
    block = Block(
        "Judged side by side",
        "Each episode against the expert agent's on the same task, shown to the judge in both orders. WR: share won, ties half. Undecided: pairs whose two verdicts add up to nothing. Position bias: pairs in which "
        "the verdict goes to the same place in both orders, whoever stands there. 95 % intervals, n in pairs. Shown first, shown second: verdicts on the whole conversation, won · tie · lost.",
        ["Agent", *_VERDICTS, "Shown first", "Shown second", "No answer"],
    )  # fmt: skip
    for domain, simulator, part in _places(judgements.filter(pl.col("measure") == "win")):
        block.rows.append(where(domain, simulator))
        for agent in sorted(part["agent"].unique(), key=_place_of):
            own = part.filter(pl.col("agent") == agent)
            rates = (_one(numbers, domain, agent, simulator, measure) for measure in _VERDICTS.values())
            block.rows.append(
                [
                    name(agent),
                    *(_figure(rate, ".2f") for rate in rates),
                    *_orders(own.filter(pl.col("dimension").fill_null("overall") == "overall")),
                    f"{own['value'].null_count():,} of {own.height:,}",
                ]
            )
    return block


def _one(numbers: pl.DataFrame, domain: str, agent: str, simulator: str, measure: str) -> Mapping[str, Any] | None:
    """The row of one figure, of the split that is shown."""
    here = (pl.col("domain") == domain) & (pl.col("agent") == agent) & (pl.col("simulator") == simulator)
    own = numbers.filter(here & (pl.col("measure") == measure))
    rows = own.filter(pl.col("split") == shown_split(own)).to_dicts()
    return rows[0] if rows else None


def _orders(own: pl.DataFrame) -> Iterator[str]:
    """Verdicts won, tie and lost, shown first and shown second."""
    for is_first in (True, False):
        values = own.filter(pl.col("is_first") == is_first)["value"].drop_nulls()
        yield f"{(values > 0).sum():,} · {(values == 0).sum():,} · {(values < 0).sum():,}" if values.len() else "–"


_EXPLAINED = re.compile(r": [^,;]*")


def _rso(numbers: pl.DataFrame) -> Block:
    """RSO's measures, with what each leaves out."""
    known = numbers.filter(pl.col("measure").is_in(list(_RSO)) & pl.col("agent").is_in(AGENTS))
    agents = sorted(known["agent"].unique(), key=_place_of)
    block = Block(
        "RSO's measures",
        "n is the denominator; what is left out of it is counted. Oversold: the intention after the conversation is above the one with all facts known. No room: the intention with all facts known is that before. "
        "95 % intervals, clustered by target or user.",
        ["Measure", *(name(agent) for agent in agents), "Left out"],
        wide=["Left out"],
    )  # fmt: skip
    for domain, simulator, whole in _places(known):
        split = shown_split(whole)
        part = whole.filter(pl.col("split") == split)
        found = {(row["agent"], row["measure"]): row for row in part.iter_rows(named=True)}
        # What nothing could be measured of is left out of the table; it stands among all numbers.
        shown = [key for key in _RSO if any((found.get((agent, key)) or {"n": 0})["n"] for agent in agents)]
        if shown:
            block.rows.append(f"{where(domain, simulator)}: {_SPLIT_WORDS[split]}")
        for key in shown:
            figures = (_figure(found.get((agent, key)), ".2f") for agent in agents)
            left_out: dict[str, list[str]] = {}
            for agent in agents:
                row = found.get((agent, key))
                if row is not None and row["invalid"]:
                    # The words above the table explain; here they would stand in every row again.
                    reason = _EXPLAINED.sub("", row["invalid_reason"] or f"{row['invalid']:,}")
                    left_out.setdefault(reason, []).append(name(agent))
            reasons = (f"{', '.join(who)}: {reason}" for reason, who in left_out.items())
            block.rows.append([_RSO[key], *figures, "; ".join(reasons) or "–"])
    return block
