"""What is measured on stored episodes and turns alone: success, retrieval, turns, satisfaction, searches, how episodes end, RSO's Conv-SR and Rec-SR, baselines.

Frames in, rows of eval_simulation out. An episode that leaked counts nowhere (`invalid`), one that failed counts as no success. Does not belong here: verdicts of the judge
(`verdicts.py`), pairs, costs and personas (`by_products.py`).

Source: ECPO, section B.5 (SR, R); RSO, section IV-C (Conv-SR, Rec-SR, Distinct-2).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from pipelines.evaluation.simulation.clustered import EPISODE, TARGET, USER
from pipelines.evaluation.simulation.units import PLACES, UNITS, Measure, counted, placed, rows
from pipelines.simulation import cooperation as cooperating

LEAKED = "leaked: the user named the target first"
UNSCORED = "without a usable score"
# What RETRIEVE_ONCE and the agents look at: the first so many items (ECPO: top 5).
TOP = 5
CHANCE, RETRIEVE_ONCE = "chance", "retrieve_once"

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_OF_EPISODES = "mean over episodes; leaked ones left out, failed ones counted as no success"

SUCCESS = Measure("success", f"SR (ECPO, B.5): a reply of the agent holds the target's full title; {_OF_EPISODES}")
RETRIEVED = Measure("retrieved", f"R (ECPO, B.5): the target is among what the agent retrieved; {_OF_EPISODES}")
ACCEPTED = Measure("accepted", f"the user accepted the target; {_OF_EPISODES}")
CONV_SR = Measure(
    "conv_sr",
    "Conv-SR (RSO, IV-C): the user's state rose above the stop threshold; mean over episodes where states were asked for; leaked ones left out, failed ones counted as no success",
)
REC_SR = Measure(
    "rec_sr",
    f"Rec-SR (RSO, IV-C): a reply that recommends holds the target's full title; {_OF_EPISODES}",
)
OUTCOMES = {
    outcome: Measure(f"{outcome}_share", f"episodes that ended as `{outcome}`, of all episodes, leaked ones too")
    for outcome in ("completed", "left", "leaked", "failed")
}
PARTS = {
    "satisfaction": Measure(
        "satisfaction",
        "forward expectation confirmation (ECPO, 2.2): flexibility 0-2 + coherence 0-2 + guidance 0-1; mean over agent turns; leaked episodes left out",
        highest=5.0,
    ),
    "flexibility": Measure("flexibility", "part of satisfaction, 0-2; mean over agent turns; leaked episodes left out", highest=2.0),
    "coherence": Measure("coherence", "part of satisfaction, 0-2; mean over agent turns; leaked episodes left out", highest=2.0),
    "guidance": Measure("guidance", "part of satisfaction, 0-1; mean over agent turns; leaked episodes left out"),
}  # fmt: skip
FEELING = Measure(
    "feeling",
    "RSO's rewarder: mean value of the user's named states, .2 to 1; mean over agent turns; leaked episodes left out",
)
SEARCHES = Measure(
    "searches_per_turn", "searches of an agent turn; mean over agent turns; leaked episodes left out", highest=None
)
ACTION_SHARES = {
    action: Measure(f"{action}_share", f"agent turns that {action}; mean over agent turns; leaked episodes left out")
    for action in ("ask", "recommend", "respond")
}
QUESTIONS = Measure(
    "questions_per_turn",
    "questions to the language model, from the cache or not, for each agent turn: an episode's questions over its turns, weighted by turns; leaked episodes left out",
    highest=None,
)
FIRST_SEARCH = Measure(
    "retrieved_at_first_search",
    f"the target is among what the agent's first turn with a search retrieved; {_OF_EPISODES}; an agent that never searches retrieves nothing",
)
DISTINCT = Measure(
    "distinct_2",
    "Distinct-2 (RSO, IV-C): distinct bigrams over all bigrams of all replies of the group together; no interval, it falls as the text grows",
)
DISTINCT_BY_EPISODE = Measure(
    "distinct_2_by_episode",
    "Distinct-2 within the replies of one episode; mean over episodes; leaked ones left out",
)
BY_CHANCE = Measure(
    SUCCESS.name,
    f"baseline beside success: {TOP} items of the domain, drawn at random, named in every turn: min(1, {TOP} x turns allowed / items of the domain); mean over tasks",
    # It is known, not observed: nothing unseen could change it.
    highest=None,
)
BY_RETRIEVING_ONCE = Measure(
    SUCCESS.name,
    f"baseline beside success: the target is among the {TOP} items nearest to the user's first turn, all of them named at once; mean over tasks",
)


def measured(
    episodes: pl.DataFrame,
    turns: pl.DataFrame,
    holds_title: Callable[[str, str], bool],
) -> list[dict[str, Any]]:
    """Rows for every agent. `episodes`: SIM_EPISODES; `turns`: SIM_TURNS. `holds_title(text, title)`: whether a full title stands in a text."""
    if episodes.is_empty():
        return []
    own = _owned(episodes)
    said = _agent_turns(own, turns)
    made = []
    for measure, value, problem in _of_episodes(own, said, holds_title):
        made += rows(measure, _units(own, value, problem))
    for measure, value in _of_turns():
        made += rows(measure, _units(said, value, pl.lit(UNSCORED)))
    # Only some simulators are asked for the user's states.
    has_states = own.filter(pl.col("is_stopped").is_not_null())["simulator"].unique().to_list()
    felt = said.filter(pl.col("simulator").is_in(has_states))
    asked = own.filter(pl.col("simulator").is_in(has_states))
    stopped = pl.when(pl.col("is_stopped").is_not_null()).then(pl.col("is_stopped") & pl.col("is_sound"))
    made += rows(CONV_SR, _units(asked, stopped, pl.lit("without states: they were not asked for")))
    made += rows(FEELING, _units(felt, pl.col("feeling"), pl.lit(UNSCORED)))
    return [*made, *_distinct(said)]


def _owned(episodes: pl.DataFrame) -> pl.DataFrame:
    """Episodes with the clusters that they belong to; targets and users are told apart by domain."""
    return episodes.with_columns(
        pl.concat_str("domain", "target_item", separator=" ").alias(TARGET),
        pl.col("user_id").alias(USER),
        is_counted=pl.col("outcome") != "leaked",
        is_sound=pl.col("outcome") != "failed",
    )


def _agent_turns(own: pl.DataFrame, turns: pl.DataFrame) -> pl.DataFrame:
    """The agents' turns in order, each with its episode's columns."""
    columns = [*(each for each in own.columns if each not in ("domain", "agent")), "domain", "agent"]
    kept = turns.filter(pl.col("role") == "assistant").drop("domain", "agent")
    return kept.join(own.select(columns), on="episode_id", how="inner").sort("episode_id", "turn")


def _units(of: pl.DataFrame, value: pl.Expr, problem: pl.Expr) -> pl.DataFrame:
    """UNITS of episodes or turns: without a value where the episode leaked."""
    made = of.with_columns(
        value=pl.when("is_counted").then(value.cast(pl.Float64)),
        problem=pl.when("is_counted").then(problem).otherwise(pl.lit(LEAKED)),
    )
    return made.with_columns(problem=pl.when(pl.col("value").is_null()).then("problem")).select(
        pl.col(name).cast(dtype) for name, dtype in UNITS.items()
    )


def _of_episodes(
    own: pl.DataFrame, said: pl.DataFrame, holds_title: Callable[[str, str], bool]
) -> Iterator[tuple[Measure, pl.Expr, pl.Expr]]:
    """Measures with one unit an episode: value, and why there is none."""
    sound, nothing = pl.col("is_sound"), pl.lit(UNSCORED)
    recommended = _ids(said.filter(_holds(said, holds_title) & (said["action"] == "recommend")))
    first = said.filter(pl.col("queries").list.len() > 0).group_by("episode_id").agg(pl.all().sort_by("turn").first())
    found = _ids(first.filter(pl.col("retrieved").list.contains(pl.col("target_item"))))
    yield SUCCESS, pl.col("is_success") & sound, nothing
    yield RETRIEVED, pl.col("is_retrieved") & sound, nothing
    yield FIRST_SEARCH, pl.col("episode_id").is_in(found) & sound, nothing
    yield ACCEPTED, pl.col("is_accepted") & sound, nothing
    yield REC_SR, pl.col("episode_id").is_in(recommended) & sound, nothing
    most = max(2, int(own["turn_limit"].max() or 2))  # type: ignore[arg-type]
    turns_to_success = Measure(
        "turns_to_success", "agent turns until the first reply with the target's title, from 1; mean over successful episodes", 1.0, float(most)
    )  # fmt: skip
    yield turns_to_success, pl.when(pl.col("is_success") & sound).then("success_turn"), pl.lit("without success")
    turns = Measure("turns", "agent turns of an episode; mean over episodes; leaked ones left out", 0.0, float(most))
    yield turns, pl.col("agent_turns"), nothing
    ratios = pl.DataFrame(list(_ratios(said)), schema={"episode_id": pl.String, "ratio": pl.Float64}, orient="row")
    by_episode = dict(ratios.iter_rows())
    yield (
        DISTINCT_BY_EPISODE,
        pl.col("episode_id").replace_strict(by_episode, default=None, return_dtype=pl.Float64),
        pl.lit("with no two words in a row"),
    )


def _of_turns() -> Iterator[tuple[Measure, pl.Expr]]:
    """Measures with one unit an agent's turn."""
    for column, measure in PARTS.items():
        yield measure, pl.col(column)
    for action, measure in ACTION_SHARES.items():
        yield measure, pl.col("action") == action
    yield SEARCHES, pl.col("queries").list.len()
    yield QUESTIONS, pl.col("questions") / pl.col("agent_turns")


def endings(episodes: pl.DataFrame) -> list[dict[str, Any]]:
    """How episodes end, as shares of all of them."""
    own = _owned(episodes).with_columns(is_counted=pl.lit(True))
    made: list[dict[str, Any]] = []
    for outcome, measure in OUTCOMES.items() if own.height else ():
        made += rows(measure, _units(own, pl.col("outcome") == outcome, pl.lit(UNSCORED)))
    return made


def baselines(
    episodes: pl.DataFrame, items: Mapping[str, int], found_at_once: Mapping[tuple[str, str], bool] | None
) -> list[dict[str, Any]]:
    """`chance` and `retrieve_once` for the tasks that were played, beside every success figure.

    items: number of items by domain. found_at_once: by task and simulator, whether the target is among the TOP items nearest to the user's first turn; None where nobody has searched: then there is no
    row for it. A task counts once, however many agents played it; one counts where an episode of it did not leak.
    """
    own = _owned(episodes).filter("is_counted").sort("episode_id").unique(["task_id", "simulator"], keep="first")
    if own.is_empty():
        return []
    counts = pl.col("domain").replace_strict(dict(items), default=None, return_dtype=pl.Float64)
    chance = (TOP * pl.col("turn_limit") / counts).clip(0, 1)
    by_chance = _units(own.with_columns(agent=pl.lit(CHANCE)), chance, pl.lit("of a domain without items"))
    # Nobody was asked for it.
    by_chance = by_chance.with_columns(is_stand_in=pl.lit(False), model=pl.lit(None, pl.String))
    made = rows(BY_CHANCE, by_chance)
    if found_at_once is not None:
        keys = own.select("task_id", "simulator").iter_rows()
        found = pl.Series("found", [found_at_once.get(key) for key in keys], dtype=pl.Boolean)
        once = own.with_columns(found, agent=pl.lit(RETRIEVE_ONCE))
        made += rows(BY_RETRIEVING_ONCE, _units(once, pl.col("found"), pl.lit("without a first turn of the user")))
    return made


def cooperation(episodes: pl.DataFrame, turns: pl.DataFrame, items: pl.DataFrame) -> list[dict[str, Any]]:
    """How far simulated users go along with anything (pipelines/simulation/cooperation.py), with intervals: each case that counts is a unit. `items`: SIM_ITEMS."""
    if episodes.is_empty():
        return []
    found = cooperating.cooperation(episodes, turns, items, by=("episode_id",))
    own = _owned(episodes)
    made = []
    for name, meaning in cooperating.MEASURES.items():
        counts = found.filter(pl.col("measure") == name).select("episode_id", "numerator", "denominator")
        # As many ones and zeros as there were cases.
        cases = [
            (key, value)
            for key, held, of in counts.iter_rows()
            for value, number in ((1.0, held), (0.0, of - held))
            for _ in range(number)
        ]
        if not cases:
            continue
        frame = pl.DataFrame(cases, schema={"episode_id": pl.String, "case": pl.Float64}, orient="row")
        units = _units(own.join(frame, on="episode_id", how="inner"), pl.col("case"), pl.lit(UNSCORED))
        made += rows(
            Measure(f"user_{name}", f"over-cooperation: {meaning} Leaked episodes left out."),
            units,
            ("split", "domain", "agent"),
        )
    return made


def first_turns(episodes: pl.DataFrame, turns: pl.DataFrame) -> pl.DataFrame:
    """The user's first turn of each task and simulator: task_id, simulator, domain, target_item, text. The one that `baselines` takes stands for the others of the same task."""
    own = _owned(episodes).filter("is_counted").sort("episode_id").unique(["task_id", "simulator"], keep="first")
    first = turns.filter((pl.col("turn") == 0) & (pl.col("role") == "user")).select("episode_id", "text")
    joined = own.join(first, on="episode_id", how="inner").sort("task_id", "simulator")
    return joined.select("task_id", "simulator", "domain", "target_item", "text")


def _holds(said: pl.DataFrame, holds_title: Callable[[str, str], bool]) -> pl.Series:
    pairs = said.select("text", "target_title").iter_rows()
    return pl.Series([holds_title(text, title) for text, title in pairs], dtype=pl.Boolean)


def _ids(frame: pl.DataFrame) -> list[str]:
    return frame["episode_id"].unique().sort().to_list()


def _bigrams(text: str) -> list[tuple[str, str]]:
    words = [word.lower() for word in _WORD.findall(text)]
    return list(itertools.pairwise(words))


def _ratios(said: pl.DataFrame) -> Iterator[tuple[str, float | None]]:
    """Distinct over all bigrams of each episode's replies."""
    for key, own in said.partition_by("episode_id", as_dict=True).items():
        yield str(key[0]), distinct_2(own["text"].to_list())


def distinct_2(replies: list[str]) -> float | None:
    """Distinct bigrams over all bigrams of texts, none across two of them; None where there are none (Distinct-2: RSO, IV-C)."""
    bigrams = [each for reply in replies for each in _bigrams(reply)]
    return len(set(bigrams)) / len(bigrams) if bigrams else None


def _distinct(said: pl.DataFrame) -> list[dict[str, Any]]:
    made = []
    for place, own in placed(said.filter("is_counted").select(*PLACES, "is_stand_in", "model", "text")):
        replies = own["text"].to_list()
        made.append(counted(place, DISTINCT, distinct_2(replies), len(replies), EPISODE, own))
    return made
