"""Ranking and rewarding with the stand-in over HTTP: rows, frozen rewards, nonsense, no model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.build import reranking
from assets.build.ledger import llm_cache
from pipelines.gateways.llm.gateway import LlmGateway
from pipelines.gateways.llm.settings import LlmSettings
from pipelines.gateways.stand_in import answers
from pipelines.gateways.stand_in.faults import Faults
from pipelines.gateways.stand_in.server import StandIn
from pipelines.reranking.rewards import DRAWS, ndcg
from tests.conversation_frames import films, movie_id, turns
from tests.filled import filled
from warehouse.contracts import Table
from warehouse.store import Warehouse
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.dialogues import CORE_TURNS
from warehouse.tables.interactions import CORE_REC_TURNS
from warehouse.tables.mentions import CORE_ITEM_LINKS
from warehouse.tables.reranking import EVAL_HALLUCINATION, LLM_RANKINGS, RL_REWARDS
from warehouse.tables.retrieval import ML_RANKINGS

FILMS = 60
DIALOGUES = 24
POLICY = "0123456789abcdef"
TITLES = ["Harbour", "Knives", "Orchard", "Meridian", "Cartwheel", "Longitude"]


def rankings(system: str = "lrurec", first: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "system": system, "model_id": POLICY, "seed": 42, "dataset": "inspired", "setting": "dialogues", "split": "test",
            "example_id": f"inspired-{number}:1", "cluster_id": f"inspired-{number}", "position": 1,
            "labels": [movie_id((first + number) % FILMS + 1)], "are_repeats": [False], "train_counts": [0],
            "top": [movie_id((first + number + step) % FILMS + 1) for step in range(30)], "data_hash": "h",
        }
        for number in range(DIALOGUES)
    ]  # fmt: skip


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Films, talks, and one system's lists."""
    made = Warehouse(tmp_path / "warehouse")
    movies = films(
        *(
            {"number": n, "title": f"{TITLES[n % 6]} {'of the' if n % 2 else 'and'} {TITLES[n // 6 % 6]} {n}", "year": 1950 + n, "genres": ["Comedy" if n % 3 else "Horror"]}
            for n in range(1, FILMS + 1)
        )
    )  # fmt: skip
    talks = turns(*([f"Something scary like {TITLES[n % 6]}?", f"Try number {n}!"] for n in range(DIALOGUES)))
    rec = [
        {"dialogue_id": f"inspired-{n}", "turn": 1, "dataset": "inspired", "split": "test", "conversation_id": f"inspired-{n}",
         "labels": [movie_id(n % FILMS + 1)], "are_repeats": [False], "input_hash": n}
        for n in range(DIALOGUES)
    ]  # fmt: skip
    write(made, CORE_MOVIES, movies.to_dicts())
    write(made, CORE_TURNS, talks.with_columns(split=pl.lit("test")).to_dicts())
    write(made, CORE_REC_TURNS, rec)
    write(made, ML_RANKINGS, rankings())
    return made


def write(warehouse: Warehouse, table: Table, rows: list[dict[str, Any]]) -> None:
    warehouse.write(table, filled(table, rows))
    warehouse.publish([table.name])


@contextmanager
def gateway(warehouse: Warehouse, faults: Faults | None = None, asked: list[bytes] | None = None, **settings: Any) -> Iterator[LlmGateway]:  # fmt: skip
    """The stand-in, asked over HTTP; `asked` gets the body of every request."""

    def note(headers: Any, body: bytes) -> None:
        if asked is not None:
            asked.append(body)

    with StandIn(faults, note) as stand_in, llm_cache(warehouse) as cache:
        yield LlmGateway(stand_in.settings(**settings), "none", cache)


def tell(text: str) -> None:
    """Nobody listens."""


def rank(
    warehouse: Warehouse, model: LlmGateway | None, system: str = "lrurec", full: bool = False, **rest: Any
) -> Any:
    return reranking.build_llm_rankings(warehouse, model, full, tell, system, 42, **rest)


def rows_of(warehouse: Warehouse, table: Table) -> pl.DataFrame:
    return warehouse.read(table.name, version=warehouse.latest(table.name))


def draws(*numbers: int, labels: list[str] | None = None, size: int = 10) -> pl.DataFrame:
    """Two sets of films for each turn: the first holds the label, the second does not."""
    rows = [
        {
            "example_id": f"inspired-{number}:1",
            "labels": labels or [movie_id(number % FILMS + 1)],
            "round": 0,
            "draw": draw,
            "candidates": [movie_id((number + 25 * draw + step) % FILMS + 1) for step in range(size)],
            "log_prob": -20.0 - draw,
        }
        for number in numbers
        for draw in (0, 1)
    ]
    return pl.DataFrame(rows, schema=DRAWS)


def test_lists_are_ranked_line_by_line(warehouse: Warehouse) -> None:
    with gateway(warehouse) as model:
        built = rank(warehouse, model)
    found = rows_of(warehouse, LLM_RANKINGS)
    assert found.height == DIALOGUES == built.counts["ranked"]
    assert found["is_stand_in"].all() and set(found["model"]) == {"marquee-stand-in"}
    assert set(found["outcome"]) == {"answered"}
    assert set(found["prompt_version"]) == {"rerank@1"}
    for row in found.iter_rows(named=True):
        assert len(row["candidates"]) == 25
        assert set(row["ranked"]) <= set(row["candidates"]) and len(set(row["ranked"])) == len(row["ranked"])
        candidates = [line["movie_id"] for line in row["lines"] if line["kind"] == "candidate"]
        assert candidates == row["ranked"]
        assert all(line["reason"] for line in row["lines"])
    kinds = set(found["lines"].explode().struct.field("kind"))
    # The stand-in invents and misspells by hash: both ways are taken here.
    assert {"candidate", "not_in_corpus"} <= kinds
    with llm_cache(warehouse) as cache:
        assert set(found["request_hash"]) == set(cache.calls()["request_hash"])


def test_candidates_keep_the_retrievers_order(warehouse: Warehouse) -> None:
    asked: list[bytes] = []
    with gateway(warehouse, asked=asked) as model:
        rank(warehouse, model, top=7)
    tops = {row["example_id"]: row["top"][:7] for row in rankings()}
    for row in rows_of(warehouse, LLM_RANKINGS).iter_rows(named=True):
        assert row["candidates"] == tops[f"{row['dialogue_id']}:1"]
    names = json.loads(asked[0])["messages"][1]["content"]
    assert names.count('"name"') == 7


def test_the_same_is_not_asked_twice(warehouse: Warehouse) -> None:
    asked: list[bytes] = []
    with gateway(warehouse, asked=asked) as model:
        rank(warehouse, model)
        once, version = len(asked), warehouse.latest(LLM_RANKINGS.name)
        assert rank(warehouse, model).counts["ranked"] == 0
        assert rank(warehouse, model, full=True).counts["ranked"] == DIALOGUES
    assert len(asked) == once
    assert warehouse.latest(LLM_RANKINGS.name) == version


def test_systems_stand_beside_each_other(warehouse: Warehouse) -> None:
    write(warehouse, ML_RANKINGS, [*rankings(), *rankings("rar_dpo", 5)])
    with gateway(warehouse) as model:
        rank(warehouse, model, limit=5)
        rank(warehouse, model, "rar_dpo", limit=5)
    found = rows_of(warehouse, LLM_RANKINGS)
    assert dict(found.group_by("system").len().iter_rows()) == {"lrurec": 5, "rar_dpo": 5}
    # The same turns, so that systems can be compared.
    assert found.group_by("dialogue_id").len()["len"].to_list() == [2] * 5


def test_without_a_model_earlier_rows_stay(warehouse: Warehouse) -> None:
    said: list[str] = []
    assert rank(warehouse, None).counts["rows"] == 0
    with gateway(warehouse) as model:
        rank(warehouse, model)
    version = warehouse.latest(LLM_RANKINGS.name)
    built = reranking.build_llm_rankings(warehouse, None, True, said.append, "lrurec", 42)
    assert built.counts == {"ranked": 0, "rows": DIALOGUES}
    assert warehouse.latest(LLM_RANKINGS.name) == version
    assert "no language model is configured" in said[0]


def test_what_was_not_asked_has_no_row_and_is_asked_later(warehouse: Warehouse) -> None:
    with gateway(warehouse, Faults({"out_of_quota": 1.0})) as model:
        assert rank(warehouse, model).counts["ranked"] == 0
    with gateway(warehouse) as model:
        assert rank(warehouse, model).counts["ranked"] == DIALOGUES


def test_refusals_are_outcomes(warehouse: Warehouse) -> None:
    with gateway(warehouse, Faults({"refusal": 1.0})) as model:
        rank(warehouse, model, limit=3)
    found = rows_of(warehouse, LLM_RANKINGS)
    assert set(found["outcome"]) == {"no_answer"} and found["problem"].str.starts_with("refused").all()
    assert found["ranked"].list.len().sum() == 0


def test_thinking_is_asked_for_and_noted(warehouse: Warehouse) -> None:
    asked: list[bytes] = []
    with gateway(warehouse, asked=asked) as model:
        rank(warehouse, model, thinking="on", limit=2)
        assert rows_of(warehouse, LLM_RANKINGS)["is_thinking"].to_list() == [True, True]
        rank(warehouse, model, thinking="off", limit=2)
    assert rows_of(warehouse, LLM_RANKINGS)["is_thinking"].to_list() == [False, False]
    assert {json.loads(body)["reasoning_effort"] for body in asked} == {"medium", "none"}


def test_films_that_left_the_corpus_are_not_shown(warehouse: Warehouse) -> None:
    lists = rankings()
    lists[0]["top"] = ["mvffffffffffffffff", *lists[0]["top"]]
    lists[1]["top"] = ["mvffffffffffffffff"]
    write(warehouse, ML_RANKINGS, lists)
    with gateway(warehouse) as model:
        built = rank(warehouse, model)
    assert built.counts["no candidate is in the corpus"] == 1
    found = rows_of(warehouse, LLM_RANKINGS)
    assert found.height == DIALOGUES - 1
    assert "mvffffffffffffffff" not in found["candidates"].explode().to_list()


def test_forecasts_ask_what_the_run_asks(warehouse: Warehouse) -> None:
    requests = reranking.reranking_requests(warehouse, limit=4)
    assert len(requests) == 4
    with gateway(warehouse) as model:
        rank(warehouse, model, limit=4)
        assert model.forecast(requests).calls == 0
    assert reranking.reranking_requests(warehouse, ["other"]) == []


def test_rewards_are_the_ndcg_of_the_models_list(warehouse: Warehouse) -> None:
    asked: list[bytes] = []
    with gateway(warehouse, asked=asked) as model:
        rows = reranking.reward_draws(warehouse, model, draws(*range(8)), POLICY, tell)
    assert rows.height == 16 and len(asked) == 8
    without = rows.filter(~pl.col("has_label"))
    assert set(without["outcome"]) == {"no_label"} and without["reward"].sum() == 0
    assert without["request_hash"].null_count() == without.height == 8
    with_label = rows.filter("has_label")
    assert set(with_label["outcome"]) == {"answered"} and with_label["is_stand_in"].all()
    for row in with_label.iter_rows(named=True):
        order = ["x"] * 60 if row["label_rank"] is None else [*["x"] * (row["label_rank"] - 1), "label"]
        assert row["reward"] == pytest.approx(ndcg(order, ["label"], 10))
    assert with_label["reward"].n_unique() > 1


def test_rewards_are_frozen(warehouse: Warehouse) -> None:
    asked: list[bytes] = []
    with gateway(warehouse, asked=asked) as model:
        reranking.build_rewards(warehouse, model, draws(0, 1), POLICY, tell)
        first = rows_of(warehouse, RL_REWARDS)
        once = len(asked)
        built = reranking.build_rewards(warehouse, model, draws(0, 1, 2), POLICY, tell, thinking="on")
    assert built.counts["rewarded"] == 2 and built.counts["frozen before"] == 4
    assert len(asked) == once + 1
    after = rows_of(warehouse, RL_REWARDS)
    assert after.height == 6
    assert after.filter(pl.col("dialogue_id") != "inspired-2").equals(first)


def test_a_frozen_place_with_other_films_is_refused(warehouse: Warehouse) -> None:
    with gateway(warehouse) as model:
        reranking.build_rewards(warehouse, model, draws(0), POLICY, tell)
        with pytest.raises(
            ValueError, match="inspired-0:1 round 0 draw 0 of policy 0123456789abcdef holds other films"
        ):
            reranking.build_rewards(warehouse, model, draws(0, size=9), POLICY, tell)
        # Another policy has places of its own.
        built = reranking.build_rewards(warehouse, model, draws(0, size=9), "fedcba9876543210", tell)
    assert built.counts["rows"] == 4


@pytest.mark.parametrize(
    "nonsense", ["As an AI I like films.", "", "1. Nothing\n2. No film\n3. At all", "<think>hmm", "{[(|"]
)
def test_nonsense_for_a_whole_batch_is_counted_and_the_run_goes_on(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, nonsense: str
) -> None:
    monkeypatch.setattr(answers, "ANSWERERS", {"rerank": lambda data, temperature: {"ranking": nonsense}})
    said: list[str] = []
    with gateway(warehouse) as model:
        built = reranking.build_rewards(warehouse, model, draws(*range(DIALOGUES)), POLICY, said.append)
        rank(warehouse, model)
    rows = rows_of(warehouse, RL_REWARDS)
    assert rows.height == 2 * DIALOGUES and rows["reward"].sum() == 0
    assert built.counts["outcome empty"] == DIALOGUES
    assert any(f"warning: {DIALOGUES} of {DIALOGUES} answers name no candidate" in text for text in said)
    found = rows_of(warehouse, LLM_RANKINGS)
    assert set(found["outcome"]) == {"empty"} and found["problem"].null_count() == 0


def test_answers_outside_the_form_cost_their_own_reward_alone(warehouse: Warehouse) -> None:
    # No more than the gateway's patience with one bad answer after another.
    with gateway(warehouse, Faults({"off_schema": 1.0})) as model:
        built = reranking.build_rewards(warehouse, model, draws(*range(5)), POLICY, tell)
    assert built.counts["outcome no_answer"] == 5
    assert rows_of(warehouse, RL_REWARDS)["reward"].sum() == 0


def test_a_dead_endpoint_freezes_nothing(warehouse: Warehouse) -> None:
    said: list[str] = []
    with gateway(warehouse, Faults({"out_of_quota": 1.0})) as model:
        built = reranking.build_rewards(warehouse, model, draws(0, 1), POLICY, said.append)
    assert built.counts["without reward for now"] == 2
    assert set(rows_of(warehouse, RL_REWARDS)["outcome"]) == {"no_label"}
    assert any("not all were asked" in text for text in said)
    with gateway(warehouse) as model:
        assert reranking.build_rewards(warehouse, model, draws(0, 1), POLICY, tell).counts["rewarded"] == 2


def test_without_a_model_no_set_is_rewarded(warehouse: Warehouse) -> None:
    built = reranking.build_rewards(warehouse, None, draws(0), POLICY, tell)
    assert built.counts == {"rewarded": 0, "rows": 0}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (draws(0).with_columns(example_id=pl.lit("inspired-99:1")), "'inspired-99:1' is no turn"),
        (draws(0).with_columns(candidates=pl.lit([], dtype=pl.List(pl.String))), "a candidate set is empty"),
    ],
)
def test_draws_that_make_no_sense_are_named(warehouse: Warehouse, changed: pl.DataFrame, said: str) -> None:
    with gateway(warehouse) as model, pytest.raises(ValueError, match=said):
        reranking.build_rewards(warehouse, model, changed, POLICY, tell)


def test_hallucination_is_measured(warehouse: Warehouse) -> None:
    with gateway(warehouse) as model:
        rank(warehouse, model)
    warehouse.publish([LLM_RANKINGS.name])
    reranking.build_hallucination(warehouse, tell)
    found = rows_of(warehouse, EVAL_HALLUCINATION)
    share = dict(found.select("measure", "share").iter_rows())
    assert share["candidate"] > 0.8 and 0 < share["any_hallucination"] < 0.1
    # No item of a dataset is known to be missing here, so nobody can say.
    assert share["real_but_missing"] is None
    assert found["is_stand_in"].all()
    link = {
        "dataset": "inspired",
        "item_id": "1",
        "item_name": "The Lantern of Ostermere (1999)",
        "is_quarantined": False,
    }
    write(warehouse, CORE_ITEM_LINKS, [link])
    with gateway(warehouse) as model:
        rank(warehouse, model)
    warehouse.publish([LLM_RANKINGS.name])
    reranking.build_hallucination(warehouse, tell)
    known = dict(rows_of(warehouse, EVAL_HALLUCINATION).select("measure", "share").iter_rows())
    assert known["real_but_missing"] is not None
    assert known["any_hallucination"] == share["any_hallucination"]


def test_a_model_that_thinks_aloud_is_read(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def aloud(data: Any, temperature: float) -> dict[str, str]:
        names = [each["name"] for each in data["candidates"]]
        return {"ranking": "<think>1. " + names[-1] + "</think>\n" + "\n".join(f"{n}) **{name}** - fits" for n, name in enumerate(names, 1))}  # fmt: skip

    monkeypatch.setattr(answers, "ANSWERERS", {"rerank": aloud})
    with gateway(warehouse) as model:
        rank(warehouse, model)
    found = rows_of(warehouse, LLM_RANKINGS)
    assert found["ranked"].to_list() == found["candidates"].to_list()


def test_settings_of_the_stand_in_are_no_models(warehouse: Warehouse) -> None:
    with StandIn() as stand_in, llm_cache(warehouse) as cache:
        settings = LlmSettings(base_url=stand_in.base_url, model="some-model", requests_per_minute=100_000)
        built = rank(warehouse, LlmGateway(settings, "none", cache))
    assert built.counts["ranked"] == 0
