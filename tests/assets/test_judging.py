"""The judge's step with the stand-in over HTTP: rows, nothing asked twice, no model, questions that are not answered; and the figures made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.build import judging
from assets.build.judging import build_judgements, judging_requests
from assets.build.ledger import llm_cache
from assets.build.simulation_evaluation import build_fidelity, build_simulation_evaluation
from pipelines.evaluation.simulation.questions import NO_ITEM
from pipelines.gateways.llm.gateway import LlmGateway
from pipelines.gateways.stand_in.faults import Faults
from pipelines.gateways.stand_in.server import StandIn
from pipelines.simulation.parts import Item, Search
from tests.judged_frames import episode, episodes_of, items_of, key, personas_of, turns, turns_of
from warehouse.store import Warehouse
from warehouse.tables.simulation import SIM_EPISODES, SIM_ITEMS, SIM_JUDGEMENTS, SIM_PERSONAS, SIM_TURNS
from warehouse.tables.simulation_evaluation import EVAL_SIMULATION, EVAL_SIMULATOR_FIDELITY

TITLES = ["The Salt Road", "Glass Harbour", "Nine Winters"]
TASKS = 6


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Six tasks, played by two agents; the first of each leaked."""
    made = Warehouse(tmp_path / "warehouse")
    episodes, said = [], []
    for task in range(TASKS):
        for place, agent in enumerate(("actcrs", "react")):
            number = 2 * task + place
            outcome = "leaked" if task == 0 else "completed"
            episodes.append(episode(number, task, agent=agent, outcome=outcome, target_item=f"item-{task % 3}"))
            reply = f"{TITLES[task % 3]} is calm." if task != 1 else "I know of none."
            talk = turns(number, "Something calm.", f"Which sea, {task}?", "Any.", reply, retrieved=([], ["item-0", f"item-{task % 3}"]))  # fmt: skip
            said += [{**turn, "agent": agent} for turn in talk]
    write(made, SIM_EPISODES, episodes_of(*episodes))
    write(made, SIM_TURNS, turns_of(*said))
    write(made, SIM_ITEMS, items_of(*TITLES))
    write(made, SIM_PERSONAS, personas_of(*range(TASKS)))
    return made


def write(warehouse: Warehouse, table: Any, frame: pl.DataFrame) -> None:
    warehouse.write(table, frame)
    warehouse.publish([table.name])


@contextmanager
def gateway(warehouse: Warehouse, faults: Faults | None = None, asked: list[bytes] | None = None, **settings: Any) -> Iterator[LlmGateway]:  # fmt: skip
    def note(headers: Any, body: bytes) -> None:
        if asked is not None:
            asked.append(body)

    with StandIn(faults, note) as stand_in, llm_cache(warehouse) as cache:
        yield LlmGateway(stand_in.settings(**settings), "none", cache)


def tell(text: str) -> None:
    """Nobody listens."""


def judged(warehouse: Warehouse, limit: int = 0, asked: list[bytes] | None = None) -> Any:
    with gateway(warehouse, asked=asked) as model:
        return build_judgements(warehouse, model, limit, tell)


def rows_of(warehouse: Warehouse, table: Any = SIM_JUDGEMENTS) -> pl.DataFrame:
    return warehouse.read(table.name, version=warehouse.latest(table.name))


def test_episodes_are_judged(warehouse: Warehouse) -> None:
    asked: list[bytes] = []
    built = judged(warehouse, asked=asked)
    rows = rows_of(warehouse)
    assert SIM_JUDGEMENTS.violations(rows) == []
    # 5 tasks are left: 2 orders of 4 dimensions for each pair; 3 intentions for each of 10 episodes; a judgement of credibility of each.
    found = {(measure, number) for measure, number in rows.group_by("measure").len().iter_rows()}
    assert found == {
        ("win", 40),
        *((f"intention_{name}", 10) for name in ("before", "after", "true")),
        ("credibility", 10),
    }
    assert set(rows.filter(pl.col("measure") == "win")["agent"]) == {"react"}
    assert set(rows.filter(pl.col("problem") == NO_ITEM)["episode_id"]) == {key(2), key(3)}
    assert rows.filter(pl.col("value").is_null())["problem"].to_list() == [NO_ITEM] * 8
    assert rows["judgement_id"].n_unique() == rows.height == built.counts["rows"]
    # What is the same question is asked once.
    assert len(asked) == len({json.dumps(json.loads(body)["messages"]) for body in asked}) <= built.counts["asked"]
    for body in asked:
        for name in (b"actcrs", b"react", b"ailo"):
            assert name not in body


def test_nothing_is_asked_twice(warehouse: Warehouse) -> None:
    judged(warehouse)
    before, asked = rows_of(warehouse), []  # type: ignore[var-annotated]
    built = judged(warehouse, asked=asked)
    assert (asked, built.counts["asked"], built.commits[0].changed) == ([], 0, False)
    assert rows_of(warehouse).equals(before)
    # With another turn only what shows it is asked again.
    changed = rows_turns(warehouse).with_columns(
        text=pl.when((pl.col("episode_id") == key(11)) & (pl.col("turn") == 1)).then(pl.lit("A cold sea?")).otherwise("text")
    )  # fmt: skip
    write(warehouse, SIM_TURNS, changed)
    again = judged(warehouse, asked=asked)
    assert again.counts["asked"] == 3  # both orders, and the intention after the conversation
    assert len(asked) == 3
    assert rows_of(warehouse).height == before.height


def rows_turns(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.read(SIM_TURNS.name)


def test_a_limit_draws_and_a_larger_one_adds(warehouse: Warehouse) -> None:
    few = judged(warehouse, limit=2)
    assert few.counts["episodes"] == 4
    asked: list[bytes] = []
    every = judged(warehouse, limit=4, asked=asked)
    assert every.counts["episodes"] == 8 and every.counts["judged before"] > 0
    back = judged(warehouse, limit=2)
    assert back.counts["rows"] == few.counts["rows"] and back.counts["asked"] == 0


def test_without_a_model_what_is_there_stays(warehouse: Warehouse) -> None:
    told: list[str] = []
    assert build_judgements(warehouse, None, 0, told.append).counts["rows"] == 0
    judged(warehouse)
    before = rows_of(warehouse)
    assert build_judgements(warehouse, None, 0, told.append).counts["rows"] == before.height
    assert "no language model is configured" in told[0]
    # Judgements of episodes that are gone go with them.
    gone = key(4)
    write(warehouse, SIM_EPISODES, warehouse.read(SIM_EPISODES.name).filter(pl.col("episode_id") != gone))
    build_judgements(warehouse, None, 0, tell)
    is_about = (pl.col("episode_id") == gone) | (pl.col("against_id").fill_null("") == gone)
    assert rows_of(warehouse).equals(before.filter(~is_about)) and before.filter(is_about).height > 8


@pytest.mark.parametrize(("fault", "reason"), [("refusal", "refused"), ("off_schema", "invalid")])
def test_answers_that_cannot_be_used_are_rows_without_a_value(warehouse: Warehouse, fault: str, reason: str) -> None:
    with gateway(warehouse, Faults({fault: 1.0})) as model:
        build_judgements(warehouse, model, 1, tell)
    rows = rows_of(warehouse)
    assert SIM_JUDGEMENTS.violations(rows) == []
    assert rows["value"].null_count() == rows.height > 8
    asked = rows.filter(pl.col("problem") != NO_ITEM)
    assert asked["problem"].str.starts_with(reason).all() and asked["request_hash"].null_count() == 0
    # They will not come however often they are asked.
    assert judged(warehouse, limit=1).counts["asked"] == 0


def test_what_could_not_be_asked_is_asked_by_the_next_run(warehouse: Warehouse) -> None:
    with gateway(warehouse, Faults({"out_of_quota": 1.0})) as model:
        built = build_judgements(warehouse, model, 0, tell)
    assert built.counts["without answer for now"] == built.counts["asked"] > 0
    assert set(rows_of(warehouse)["problem"]) == {NO_ITEM}
    assert judged(warehouse).counts["without answer for now"] == 0


def test_a_forecast_counts_every_question(warehouse: Warehouse) -> None:
    assert len(judging_requests(warehouse, 0)) == judged(warehouse).counts["asked"]


def test_figures_are_made_of_what_is_stored(warehouse: Warehouse) -> None:
    judged(warehouse)
    warehouse.publish([SIM_JUDGEMENTS.name])

    def search(wanted: Any) -> list[list[Item]]:
        assert all(isinstance(each, Search) and each.query == "Something calm." for each in wanted)
        return [[Item("item-1", "Glass Harbour", "")] for _ in wanted]

    built = build_simulation_evaluation(warehouse, tell, search)
    rows = rows_of(warehouse, EVAL_SIMULATION)
    assert EVAL_SIMULATION.violations(rows) == [] and built.counts["figures"] == rows.height
    own = {
        (row["agent"], row["measure"]): row
        for row in rows.filter((pl.col("split") == "all") & (pl.col("domain") == "book")).iter_rows(named=True)
    }
    assert own["retrieve_once", "success"]["value"] == pytest.approx(2 / 5)
    assert own["chance", "success"]["value"] == 1
    assert own["react", "win_rate"]["n"] == 5
    assert own["react", "success"]["invalid"] == own["actcrs", "success"]["invalid"] == 1
    assert own["react", "persuasiveness_kept"]["n"] + own["react", "persuasiveness_kept"]["invalid"] == 5
    assert rows.filter(pl.col("n") == 0)["value"].null_count() == rows.filter(pl.col("n") == 0).height
    assert not build_simulation_evaluation(warehouse, tell, search).commits[0].changed
    build_fidelity(warehouse, tell)
    likeness = rows_of(warehouse, EVAL_SIMULATOR_FIDELITY)
    assert set(likeness["population"]) == {"ailo book"} and likeness["distance"].null_count() == likeness.height


def test_an_empty_warehouse_gives_empty_tables(tmp_path: Path) -> None:
    empty = Warehouse(tmp_path / "empty")
    assert judged(empty).counts["rows"] == 0
    assert build_simulation_evaluation(empty, tell).counts["figures"] == 0
    assert build_fidelity(empty, tell).counts["figures"] == 0
    assert judging.JUDGING_VERSION
