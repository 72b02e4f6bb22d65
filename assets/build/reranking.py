"""The language model's stage of retrieval: ranking retrievers' candidates, rewarding candidate sets, and what it made up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from assets.build.mentions import FILM_COLUMNS as NAME_COLUMNS
from assets.build.mentions import gazetteer_of
from assets.build.tables import Built, Tell, latest_metadata, latest_or_empty, published_or_empty
from pipelines.evaluation.hallucination import hallucination
from pipelines.mentions.lookup import look_up, prepare
from pipelines.preferences.rows import with_hash
from pipelines.reranking import requests as asking
from pipelines.reranking.matching import SIMILAR, Film, Found, Ranking, read_rankings
from pipelines.reranking.parsing import parse
from pipelines.reranking.requests import RERANKING_VERSION
from pipelines.reranking.rewards import DRAWS, label_rank, ndcg
from warehouse.store import Warehouse
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.dialogues import CORE_TURNS
from warehouse.tables.interactions import CORE_REC_TURNS
from warehouse.tables.mentions import CORE_ITEM_LINKS
from warehouse.tables.reranking import EVAL_HALLUCINATION, LLM_RANKINGS, RL_REWARDS
from warehouse.tables.retrieval import ML_RANKINGS

if TYPE_CHECKING:
    from pipelines.gateways.llm.gateway import LlmGateway
    from pipelines.gateways.llm.requests import LlmRequest, Thinking
    from pipelines.gateways.llm.runs import LlmRun
    from pipelines.mentions.gazetteer import Gazetteer

__all__ = [
    "RERANKING_VERSION",
    "Corpus",
    "build_hallucination",
    "build_llm_rankings",
    "build_rewards",
    "reranking_requests",
    "reward_draws",
]

# Candidates shown to the model (RAR, section A.2).
TOP = 25

# A misspelt name that is so near is that film's.
_NEAR = 0.9
# Films of one name are many; the right year may be that of the last.
_SAME_NAME = 50
# From this share of answers without a single candidate on, somebody should look.
_EMPTY_WARNING = 0.5

_TURN = ["dialogue_id", "turn"]
_EXAMPLE = pl.concat_str("dialogue_id", "turn", separator=":").alias("example_id")
_MADE_FROM = "made_from"
_INPUTS = (ML_RANKINGS, CORE_TURNS, CORE_MOVIES, CORE_ITEM_LINKS)
# Beginnings of the gateway's reasons for an answer that will not come however often it is asked; others pass.
_FINAL = ("refused:", "invalid:", "too long:")


# --------------------------------------------------------------------------------------------------------------- ranking


def build_llm_rankings(
    warehouse: Warehouse,
    gateway: LlmGateway | None,
    full: bool,
    tell: Tell,
    system: str,
    seed: int,
    top: int = TOP,
    split: str = "test",
    limit: int | None = None,
    thinking: Thinking = "off",
    corpus: Corpus | None = None,
) -> Built:
    """Let the model rank the first `top` films of one system's lists for dialogues: llm_rankings.

    `limit`: turns of each dataset at most, those with the lowest hashes, so that other systems are asked about the same; None or 0 for all. Rows of other
    systems stay. Answers come from the gateway's cache where the question was asked before; questions that could not be asked this time have no row, and
    are asked by the next run. Where nothing has changed since the rows were made nothing is done unless `full`. Without a `gateway` nothing is made.
    """
    stored = _in_rec_turns(warehouse, latest_or_empty(warehouse, LLM_RANKINGS))
    notes = {_MADE_FROM: {}, **(latest_metadata(warehouse, LLM_RANKINGS.name) or {})}
    name = f"{system} {seed}"
    if gateway is None:
        tell(
            f"no language model is configured: the lists of {name} are not ranked, {stored.height:,} earlier rows stay"
        )
        return Built((warehouse.write(LLM_RANKINGS, stored, notes),), {"ranked": 0, "rows": stored.height})
    state: dict[str, Any] = {table.name: warehouse.published(table.name) for table in _INPUTS}
    state |= {"version": RERANKING_VERSION, "prompt": asking.prompt_name(), "model": gateway.settings.model}
    state |= {"top": top, "split": split, "limit": limit or 0, "thinking": thinking}
    if not full and notes[_MADE_FROM].get(name) == state:
        return Built((warehouse.write(LLM_RANKINGS, stored, notes),), {"ranked": 0, "rows": stored.height})

    examples = _examples(warehouse, system, seed, split, limit).with_columns(pl.col("top").list.head(top))
    tell(f"{name}: asking the language model to rank the candidates of {examples.height:,} turns")
    asked = _Asked(warehouse, examples.rename({"top": "candidates"}), thinking)
    run = gateway.answer(asked.requests, tell)
    if run.stopped:
        tell(f"{name}: not all were asked: {run.stopped}")
    read = asked.read(run, corpus or Corpus(warehouse, tell))
    rows = []
    for example in examples.iter_rows(named=True):
        key = example["example_id"]
        if key not in read:
            continue
        ranking, outcome = read[key]
        answer = run.answers.get(key)
        rows.append(
            {
                "system": system,
                "retriever_id": example["model_id"],
                "seed": seed,
                **{column: example[column] for column in ("dialogue_id", "turn", "dataset", "split", "labels")},
                "candidates": [film.movie_id for film in asked.candidates[key]],
                "ranked": list(ranking.ranked),
                "lines": [_line(each) for each in ranking.lines],
                "outcome": outcome,
                "problem": ranking.problem,
                **_who(gateway, answer),
                "prompt_version": asking.prompt_name(),
                "is_thinking": thinking != "off",
                "request_hash": asked.hash_of(gateway, key),
            }
        )
    own = LLM_RANKINGS.frame(rows)
    is_own = (pl.col("system") == system) & (pl.col("seed") == seed)
    counts = _counted(run, read, asked)
    _warn(counts, tell)
    noted = {**notes[_MADE_FROM], name: state}
    if len(read) < len(asked.requests):
        # What was not asked is to be asked by the next run.
        del noted[name]
    frame = pl.concat([stored.filter(~is_own), own])
    counts |= {"ranked": own.height, "rows": frame.height}
    return Built((warehouse.write(LLM_RANKINGS, frame, {_MADE_FROM: noted}),), counts)


def reranking_requests(
    warehouse: Warehouse,
    systems: Sequence[str] | None = None,
    top: int = TOP,
    split: str = "test",
    limit: int | None = None,
    thinking: Thinking = "off",
) -> list[LlmRequest]:
    """What a run would ask the model about the lists of `systems` (of all that have weights), one seed of each, the lowest: for forecasts."""
    listed = published_or_empty(warehouse, ML_RANKINGS, ["system", "seed", "model_id", "setting"])
    chosen = listed.filter((pl.col("setting") == "dialogues") & pl.col("model_id").is_not_null())
    if systems is not None:
        chosen = chosen.filter(pl.col("system").is_in(list(systems)))
    asked: dict[str, LlmRequest] = {}
    for system, seed in chosen.group_by("system").agg(pl.col("seed").min()).sort("system").iter_rows():
        examples = _examples(warehouse, system, seed, split, limit)
        shown = examples.with_columns(candidates=pl.col("top").list.head(top))
        for request in _Asked(warehouse, shown, thinking, f"{system} {seed} ").requests:
            asked[request.key] = request
    return list(asked.values())


def _examples(warehouse: Warehouse, system: str, seed: int, split: str, limit: int | None) -> pl.DataFrame:
    """Lists of a system for turns of dialogues: example_id, dialogue_id, turn, dataset, split, model_id, labels, top."""
    columns = ["system", "seed", "setting", "split", "example_id", "model_id", "labels", "top"]
    lists = published_or_empty(warehouse, ML_RANKINGS, columns).filter(
        (pl.col("system") == system)
        & (pl.col("seed") == seed)
        & (pl.col("setting") == "dialogues")
        & (pl.col("split") == split)
    )
    # The dataset is that of the turn: lists may be of several datasets together.
    turns = published_or_empty(warehouse, CORE_REC_TURNS, [*_TURN, "dataset"]).with_columns(_EXAMPLE)
    found = lists.join(turns, on="example_id").unique("example_id", keep="first")
    drawn = with_hash(found, "hash", "example_id").sort("dataset", "hash", "example_id")
    if limit:
        drawn = drawn.filter(pl.int_range(pl.len()).over("dataset") < limit)
    return drawn.drop("hash", "system", "seed", "setting").sort("example_id")


class _Asked:
    """The questions about some candidate lists, and how to read their answers.

    `lists`: example_id (the key of each question, or `key` where there is one), dialogue_id, turn, candidates.
    """

    def __init__(self, warehouse: Warehouse, lists: pl.DataFrame, thinking: Thinking, prefix: str = "") -> None:
        self._warehouse = warehouse
        turns = published_or_empty(warehouse, CORE_TURNS, [*_TURN, "role", "plain_text"])
        ids = lists["candidates"].explode().unique()
        movies = published_or_empty(warehouse, CORE_MOVIES, asking.FILM_COLUMNS)
        shelf = asking.shelf(movies.filter(pl.col("movie_id").is_in(ids.implode())))
        said = asking.conversations(turns, lists.select(_TURN).unique())
        self.candidates: dict[str, list[Film]] = {}
        questions = {}
        key = "key" if "key" in lists.columns else "example_id"
        for name, dialogue, turn, movie_ids in lists.select(key, *_TURN, "candidates").iter_rows():
            shown = shelf.candidates(movie_ids)
            self.candidates[f"{prefix}{name}"] = shown
            if shown:
                questions[f"{prefix}{name}"] = (shown, said[asking.item_id(dialogue, turn)])
        self.requests = asking.requests(questions, shelf, thinking)
        self._by_key = {request.key: request for request in self.requests}

    def hash_of(self, gateway: LlmGateway, key: str) -> str:
        """The hash under which the gateway keeps the answer."""
        from pipelines.gateways.llm.requests import request_hash

        request = self._by_key[key]
        return request_hash(gateway.settings.model, request, request.prompt.messages(request.data))

    def read(self, run: LlmRun, corpus: Corpus) -> dict[str, tuple[Ranking, str]]:
        """Ranking and outcome of every question that is settled; those that were not asked, or failed for reasons that pass, are not in it."""
        answers = {key: parse(asking.said(answer.value)) for key, answer in run.answers.items()}
        rankings = read_rankings(answers, self.candidates, corpus, _missing_names(self._warehouse))
        settled = {key: (ranking, "answered" if ranking.ranked else "empty") for key, ranking in rankings.items()}
        settled |= {
            key: (Ranking(problem=reason), "no_answer")
            for key, reason in run.unanswered.items()
            if reason.startswith(_FINAL)
        }
        return settled


class Corpus:
    """Names in, films of the corpus out (LookUp of pipelines/reranking/matching.py).

    The index of names is made when it is first needed, and takes some ten seconds for 260,000 films: hand one Corpus to several builds.
    """

    def __init__(self, warehouse: Warehouse, tell: Tell) -> None:
        self._warehouse, self._tell = warehouse, tell
        self._gazetteer: Gazetteer | None = None

    def __call__(self, titles: Sequence[str]) -> Mapping[str, Sequence[Found]]:
        if self._gazetteer is None:
            films = published_or_empty(self._warehouse, CORE_MOVIES, NAME_COLUMNS)
            if films.is_empty():
                return {}
            self._gazetteer = gazetteer_of(films, self._tell)
        names = prepare(pl.Series(titles, dtype=pl.String)).with_row_index("query")
        found = look_up(names.select(pl.col("query").cast(pl.Int64), "title"), self._gazetteer, limit=_SAME_NAME)
        is_exact = pl.col("match").is_in(["exact", "alias"])
        films = self._gazetteer.films.select("movie_id", "year")
        kept = found.filter(is_exact | ((pl.col("match") == "fuzzy") & (pl.col("similarity") >= _NEAR)))
        kept = kept.join(films, on="movie_id", how="left", maintain_order="left").with_columns(is_exact=is_exact)
        by_title: dict[str, list[Found]] = {}
        for query, *film in kept.select("query", "movie_id", "year", "is_exact").iter_rows():
            by_title.setdefault(titles[query], []).append(Found(*film))
        return by_title


def _missing_names(warehouse: Warehouse) -> list[str]:
    """Names of real films that the corpus lacks: items of dialogue datasets that are no film of it and were not set aside."""
    links = published_or_empty(warehouse, CORE_ITEM_LINKS, ["item_name", "movie_id", "is_quarantined"])
    return links.filter(pl.col("movie_id").is_null() & ~pl.col("is_quarantined"))["item_name"].unique().sort().to_list()


def _line(read: Any) -> dict[str, Any]:
    return {
        "rank": read.rank,
        "text": read.text,
        "kind": read.kind,
        "movie_id": read.movie_id,
        "similarity": read.similarity,
        "is_dissimilar": None if read.similarity is None else read.similarity < SIMILAR,
        "reason": read.reason,
    }


def _who(gateway: LlmGateway, answer: Any) -> dict[str, Any]:
    """Model and is_stand_in: as the answer states them, else of the model that would have been asked."""
    from pipelines.gateways.llm.runs import is_stand_in

    model = gateway.settings.model if answer is None else answer.model
    return {"model": model, "is_stand_in": is_stand_in(model)}


def _counted(run: LlmRun, read: Mapping[str, tuple[Ranking, str]], asked: _Asked) -> dict[str, float]:
    counts: dict[str, float] = {f"language model: {label}": figure for label, figure in run.counts.items()}
    outcomes = Counter(outcome for _, outcome in read.values())
    counts |= {f"outcome {outcome}": outcomes[outcome] for outcome in ("answered", "empty", "no_answer")}
    kinds = Counter(line.kind for ranking, _ in read.values() for line in ranking.lines)
    counts |= {f"lines {kind}": number for kind, number in sorted(kinds.items())}
    counts["not asked, or without answer for now"] = len(asked.requests) - len(read)
    counts["no candidate is in the corpus"] = len(asked.candidates) - len(asked.requests)
    return counts


def _warn(counts: Mapping[str, float], tell: Tell) -> None:
    settled = sum(counts[f"outcome {outcome}"] for outcome in ("answered", "empty", "no_answer"))
    without = settled - counts["outcome answered"]
    if settled and without >= _EMPTY_WARNING * settled:
        tell(
            f"warning: {without:,.0f} of {settled:,.0f} answers name no candidate; look at the lines and their reasons"
        )


def _in_rec_turns(warehouse: Warehouse, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of turns that there still are."""
    return rows.join(published_or_empty(warehouse, CORE_REC_TURNS, _TURN), on=_TURN, how="semi", maintain_order="left")


# --------------------------------------------------------------------------------------------------------------- rewards


def reward_draws(
    warehouse: Warehouse,
    gateway: LlmGateway,
    draws: pl.DataFrame,
    policy_id: str,
    tell: Tell,
    thinking: Thinking = "off",
    corpus: Corpus | None = None,
) -> pl.DataFrame:
    """Rewards of candidate sets: rows of RL_REWARDS, in the order of `draws`.

    `draws`: DRAWS of pipelines/reranking/rewards.py. A set without a label has reward 0, and nobody is asked. Sets whose answer did not come for a
    reason that passes (a budget, a dead endpoint) have no row: their reward is not known yet. Raises ValueError for draws of turns that are not in
    core_rec_turns, and for a set that is empty.
    """
    turns = published_or_empty(warehouse, CORE_REC_TURNS, [*_TURN, "dataset", "split"]).with_columns(_EXAMPLE)
    draws = draws.select(pl.col(name).cast(dtype) for name, dtype in DRAWS.items())
    unknown = draws.join(turns, on="example_id", how="anti")
    if unknown.height:
        raise ValueError(f"draws: {unknown['example_id'][0]!r} is no turn of core_rec_turns ({unknown.height:,} draws)")
    if draws.filter(pl.col("candidates").list.len().fill_null(0) == 0).height:
        raise ValueError("draws: a candidate set is empty")
    placed = draws.join(turns, on="example_id", maintain_order="left").with_columns(
        key=pl.concat_str("example_id", "round", "draw", separator=" "),
        has_label=pl.col("candidates").list.set_intersection("labels").list.len() > 0,
    )
    with_label = placed.filter("has_label")
    tell(f"rewards: asking the language model about {with_label.height:,} of {draws.height:,} candidate sets")
    asked = _Asked(warehouse, with_label, thinking)
    run = gateway.answer(asked.requests, tell)
    if run.stopped:
        tell(f"rewards: not all were asked: {run.stopped}")
    read = asked.read(run, corpus or Corpus(warehouse, tell))
    counts = _counted(run, read, asked)
    tell("rewards: " + ", ".join(f"{label} {figure:,.0f}" for label, figure in counts.items() if "outcome" in label))
    _warn(counts, tell)
    rows = []
    for draw in placed.iter_rows(named=True):
        key = draw["key"]
        if draw["has_label"] and not asked.candidates[key]:
            read[key] = (Ranking(problem="no candidate is in the corpus"), "empty")
        if draw["has_label"] and key not in read:
            continue
        ranking, outcome = read[key] if draw["has_label"] else (Ranking(), "no_label")
        is_asked = draw["has_label"] and bool(asked.candidates[key])
        rows.append(
            {
                "policy_id": policy_id,
                **{name: draw[name] for name in ("dialogue_id", "turn", "dataset", "split", "round", "draw")},
                **{name: draw[name] for name in ("candidates", "log_prob", "has_label")},
                "label_rank": label_rank(ranking.ranked, draw["labels"]),
                "reward": ndcg(ranking.ranked, draw["labels"], len(draw["candidates"])),
                "outcome": outcome,
                **_who(gateway, run.answers.get(key)),
                "prompt_version": asking.prompt_name(),
                "request_hash": asked.hash_of(gateway, key) if is_asked else None,
            }
        )
    return RL_REWARDS.frame(rows)


def build_rewards(
    warehouse: Warehouse,
    gateway: LlmGateway | None,
    draws: pl.DataFrame,
    policy_id: str,
    tell: Tell,
    thinking: Thinking = "off",
    corpus: Corpus | None = None,
) -> Built:
    """Reward the sets of `draws` (DRAWS) that have no reward yet: rl_rewards.

    Rewards are frozen: a row that is there is neither asked about again nor changed, whatever model or prompt is set by now. Raises ValueError
    where a draw has the place of a stored one but holds other films: then the policy, or its seed, is not what it was. Without a `gateway` nothing is made.
    """
    stored = _in_rec_turns(warehouse, latest_or_empty(warehouse, RL_REWARDS))
    if gateway is None:
        tell(f"no language model is configured: no candidate set is rewarded, {stored.height:,} earlier rewards stay")
        return Built((warehouse.write(RL_REWARDS, stored),), {"rewarded": 0, "rows": stored.height})
    own = stored.filter(pl.col("policy_id") == policy_id).with_columns(_EXAMPLE)
    place = ["example_id", "round", "draw"]
    known = draws.join(own.select(*place, frozen="candidates"), on=place)
    different = known.filter(pl.col("candidates") != pl.col("frozen"))
    if different.height:
        first = different.row(0, named=True)
        raise ValueError(
            f"draws: {first['example_id']} round {first['round']} draw {first['draw']} of policy {policy_id} holds other films than the set whose reward"
            f" is frozen ({different.height:,} draws)"
        )
    new = draws.join(own.select(place), on=place, how="anti", maintain_order="left")
    made = (
        reward_draws(warehouse, gateway, new, policy_id, tell, thinking, corpus) if new.height else RL_REWARDS.empty()
    )
    frame = pl.concat([stored, made])
    outcomes = dict(made.group_by("outcome").len().sort("outcome").iter_rows())
    counts: dict[str, float] = {
        "rewarded": made.height,
        "frozen before": known.height,
        "without reward for now": new.height - made.height,
        **{f"outcome {outcome}": number for outcome, number in outcomes.items()},
        "rows": frame.height,
    }
    return Built((warehouse.write(RL_REWARDS, frame),), counts)


# --------------------------------------------------------------------------------------------------------- hallucination


def build_hallucination(warehouse: Warehouse, tell: Tell) -> Built:
    """Measure what the model named that was no candidate: eval_hallucination."""
    rankings = published_or_empty(warehouse, LLM_RANKINGS)
    tell(f"hallucination: lines of {rankings.height:,} answers")
    rows = hallucination(rankings, bool(_missing_names(warehouse)))
    counts = {"answers": rankings.height, "figures": rows.height}
    return Built((warehouse.write(EVAL_HALLUCINATION, rows),), counts)
