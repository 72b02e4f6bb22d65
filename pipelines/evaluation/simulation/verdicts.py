"""What follows from the judge's verdicts: win rates, position bias, watching intention, persuasiveness, credibility.

Does not belong here: what the judge is asked (`questions.py`).

Source: ECPO, section B.5 (WR); RSO, section IV-C (WI, PRS, Cred).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from pipelines.evaluation.simulation.clustered import TARGET, USER
from pipelines.evaluation.simulation.questions import DIMENSIONS, INTENTIONS, NO_ITEM, REFERENCE
from pipelines.evaluation.simulation.units import UNITS, Measure, rows

_NOT_BOTH = "pairs without a usable verdict in both orders"
_NO_VALUE = "without a usable answer"
_NO_ROOM = "with no room: the true intention equals the one before"
_OVERSOLD = "oversold: the intention after is above the true one"
_DETERRED = "with a true intention under the one before"
_JUDGED = "episodes drawn by hash among those that neither leaked nor failed"
_AGAINST = f"paired with {REFERENCE} on the same task and simulator, judged in both orders; {_JUDGED}"

INTENTION_MEASURES = {
    "intention_before": Measure(
        "intention_before",
        f"RSO's watching intention, 1-5, from the recommended item's title alone; {_JUDGED}",
        1.0,
        5.0,
    ),
    "intention_after": Measure(
        "watching_intention",
        f"WI (RSO, IV-C): watching intention, 1-5, after the conversation; {_JUDGED}",
        1.0,
        5.0,
    ),
    "intention_true": Measure(
        "intention_true",
        f"RSO's watching intention, 1-5, with all that is known about the item; {_JUDGED}",
        1.0,
        5.0,
    ),
}
PERSUASIVENESS = Measure(
    "persuasiveness",
    "PRS (RSO, IV-C): 1 - (true - after) / (true - before); invalid cases (true <= before, after > true) left out, as published",
    -3.0,
)
PERSUASIVENESS_KEPT = Measure(
    "persuasiveness_kept",
    "PRS with invalid cases kept at its bounds: clipped to 0..1; without room (true = before) 1 where the intention after reaches the true one, else 0",
)
CREDIBILITY = Measure(
    "credibility",
    f"Cred (RSO, IV-C): 1-5, mean over explanation turns: replies that name a retrieved item; {_JUDGED}",
    1.0,
    5.0,
)
CREDIBILITY_ZEROS = Measure(
    "credibility_zeros",
    "Cred as published: mean over episodes of their explanation turns' mean, an episode without one counting 0",
    0.0,
    5.0,
)


def win_score(shown_first: float, shown_second: float) -> float:
    """Win rate of one pair, 0..1, from the verdicts (1 better, 0 tie, -1 worse) of both orders: their mean, scaled by (x + 1) / 2. A tie is worth one half."""
    return ((shown_first + shown_second) / 2 + 1) / 2


def follows_position(shown_first: float, shown_second: float) -> bool:
    """Whether the verdict goes to the same place in both orders, whoever stands there."""
    return shown_first == -shown_second != 0


def first_preference(shown_first: float, shown_second: float) -> float:
    """Mean verdict for the conversation shown first, -1..1: 0 for a judge to whom places are the same."""
    return (shown_first - shown_second) / 2 + 0.0


def persuasiveness(before: float, after: float, true: float) -> float:
    """1 - (true - after) / (true - before): how much of the way from the first intention to the true one was gone (RSO, IV-C). Raises ValueError where the two are equal."""
    if true == before:
        raise ValueError("there is no way from the intention before to the true one")
    return 1 - (true - after) / (true - before)


def why_invalid(before: float, after: float, true: float) -> str | None:
    """Why a case has no persuasiveness under the constraint true >= after, and 0 <= P <= 1 as the paper says; None where it has one."""
    if true == before:
        return _NO_ROOM
    if after > true:
        return _OVERSOLD
    return _DETERRED if true < before else None


def persuasiveness_kept(before: float, after: float, true: float) -> float:
    """Persuasiveness of any case, at the bounds where the formula leaves them: see PERSUASIVENESS_KEPT."""
    if true == before:
        return float(after >= true)
    return min(1.0, max(0.0, persuasiveness(before, after, true)))


# A unit: episode, value, and why there is none.
_Unit = tuple[str, float | None, str | None]
_Measured = tuple[Measure, list[_Unit], Sequence[str]]
_ALONE = ("split", "domain")
_WITH_ALL_AGENTS = ("split", "domain", "agent")


def judged(judgements: pl.DataFrame, episodes: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows of eval_simulation. `judgements`: SIM_JUDGEMENTS; `episodes`: SIM_EPISODES. Judgements of episodes that are no longer there count nowhere."""
    judgements = judgements.join(episodes.select("episode_id"), on="episode_id", how="semi")
    if judgements.is_empty():
        return []
    whose = _whose(judgements, episodes)
    made: list[dict[str, Any]] = []
    for measure, units, over in [*_wins(judgements), *_intentions(judgements), *_credibility(judgements)]:
        frame = pl.DataFrame(
            units, schema={"episode_id": pl.String, "value": pl.Float64, "problem": pl.String}, orient="row"
        )
        made += rows(measure, frame.join(whose, on="episode_id", how="inner").select(list(UNITS)), over)
    return made


def _wins(judgements: pl.DataFrame) -> Iterator[_Measured]:
    pairs = _pairs(judgements)
    for dimension in DIMENSIONS:
        own = [(episode, verdicts) for episode, of, verdicts in pairs if of == dimension]
        tail = "" if dimension == "overall" else f"_{dimension}"
        told = f"{dimension}; {_AGAINST}"
        win_rate = Measure(
            f"win_rate{tail}",
            f"WR (ECPO, B.5), {told}; verdicts 1, 0, -1 averaged over both orders, then (x + 1) / 2: .5 is par, ties count one half",
        )
        ties = Measure(
            f"tie_rate{tail}", f"pairs whose two verdicts add up to nothing: both ties, or one each way, {told}"
        )
        bias = Measure(
            f"position_bias{tail}", f"pairs in which the verdict goes to the same place in both orders, {told}"
        )
        preference = Measure(
            f"first_preference{tail}", f"mean verdict for the conversation shown first, -1 to 1, {told}", -1.0
        )
        yield win_rate, _scored(own, win_score), _ALONE
        yield ties, _scored(own, lambda one, two: float(one + two == 0)), _ALONE
        yield bias, _scored(own, follows_position), _WITH_ALL_AGENTS
        yield preference, _scored(own, first_preference), _WITH_ALL_AGENTS


_Verdicts = Mapping[bool, float | None]


def _pairs(judgements: pl.DataFrame) -> list[tuple[str, str, _Verdicts]]:
    """Episode, dimension, and the verdicts from the episode's side by whether it was shown first."""
    wins = judgements.filter(pl.col("measure") == "win").sort("episode_id", "against_id", "dimension")
    held: dict[tuple[str, str, str], dict[bool, float | None]] = {}
    for row in wins.iter_rows(named=True):
        key = (row["episode_id"], row["against_id"], row["dimension"] or "")
        held.setdefault(key, {})[row["is_first"]] = row["value"]
    return [(episode, of, verdicts) for (episode, _, of), verdicts in held.items()]


def _scored(pairs: Iterable[tuple[str, _Verdicts]], score: Callable[[float, float], float]) -> list[_Unit]:
    units: list[_Unit] = []
    for episode, verdicts in pairs:
        first, second = verdicts.get(True), verdicts.get(False)
        is_usable = first is not None and second is not None
        units.append((episode, float(score(first, second)) if is_usable else None, None if is_usable else _NOT_BOTH))  # type: ignore[arg-type]
    return units


def _intentions(judgements: pl.DataFrame) -> Iterator[_Measured]:
    held: dict[str, dict[str, tuple[float | None, str | None]]] = {}
    own = judgements.filter(pl.col("measure").is_in(INTENTIONS)).sort("episode_id")
    for row in own.iter_rows(named=True):
        problem = None if row["value"] is not None else NO_ITEM if row["problem"] == NO_ITEM else _NO_VALUE
        held.setdefault(row["episode_id"], {})[row["measure"]] = (row["value"], problem)
    for name, measure in INTENTION_MEASURES.items():
        yield measure, [(key, *found.get(name, (None, _NO_VALUE))) for key, found in held.items()], _ALONE
    dropped: list[_Unit] = []
    kept: list[_Unit] = []
    for key, found in held.items():
        before, after, true = (found.get(name, (None, _NO_VALUE))[0] for name in INTENTIONS)
        if before is None or after is None or true is None:
            problem = NO_ITEM if (None, NO_ITEM) in found.values() else _NO_VALUE
            dropped.append((key, None, problem))
            kept.append((key, None, problem))
            continue
        why = why_invalid(before, after, true)
        dropped.append((key, persuasiveness(before, after, true) if why is None else None, why))
        kept.append((key, persuasiveness_kept(before, after, true), None))
    yield PERSUASIVENESS, dropped, _ALONE
    yield PERSUASIVENESS_KEPT, kept, _ALONE


def _credibility(judgements: pl.DataFrame) -> Iterator[_Measured]:
    own = judgements.filter(pl.col("measure") == "credibility").sort("episode_id", "turn")
    units: list[_Unit] = []
    by_episode: dict[str, list[float]] = {}
    without: list[str] = []
    for key, value, problem in own.select("episode_id", "value", "problem").iter_rows():
        if problem == NO_ITEM:
            without.append(key)
            # Counted, and no zero: there was nothing to be credible about.
            units.append((key, None, NO_ITEM))
            continue
        units.append((key, value, None if value is not None else _NO_VALUE))
        by_episode.setdefault(key, []).extend([] if value is None else [value])
    yield CREDIBILITY, units, _ALONE
    means: list[_Unit] = [
        (key, math.fsum(found) / len(found), None) if found else (key, None, _NO_VALUE)
        for key, found in by_episode.items()
    ]
    yield CREDIBILITY_ZEROS, [*means, *((key, 0.0, None) for key in without)], _ALONE


def _whose(judgements: pl.DataFrame, episodes: pl.DataFrame) -> pl.DataFrame:
    """Where each judged episode belongs, and every model that spoke in it or judged it."""
    judge = judgements.group_by("episode_id").agg(
        pl.col("model").drop_nulls().unique().alias("judges"), pl.col("is_stand_in").any().alias("is_judge_stand_in")
    )
    return episodes.join(judge, on="episode_id", how="inner").select(
        "episode_id",
        "domain",
        "agent",
        "simulator",
        "split",
        pl.concat_str("domain", "target_item", separator=" ").alias(TARGET),
        pl.col("user_id").alias(USER),
        is_stand_in=pl.col("is_stand_in") | pl.col("is_judge_stand_in"),
        model=pl.concat_list(pl.col("model"), "judges").list.drop_nulls().list.unique().list.sort().list.join(", "),
    )
