"""The simulation stage as its users meet it: personas, episodes, pairs, judgements and a report made by `marquee run` and `marquee simulate`, whatever goes wrong on the
way.

All in one file: what `simulated` holds takes half a minute, and tests of one file share it wherever they run.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.automation import SIMULATION_JOB, simulations
from assets.build import comparison, ecpo, episodes
from assets.build.episodes import build_episodes
from assets.build.ledger import llm_cache
from assets.build.reviews import build_reviews
from assets.build.scales import Simulation, scales
from assets.build.sim_items import open_search
from assets.build.tables import Tell
from assets.contracts import FIXED
from assets.settings import stand_in_environment
from pipelines.gateways.llm.gateway import LlmGateway
from pipelines.gateways.llm.runs import STAND_IN_MODEL
from pipelines.gateways.llm.settings import Price
from pipelines.gateways.stand_in.faults import Faults
from pipelines.gateways.stand_in.server import StandIn
from pipelines.simulation import agents
from pipelines.synth.pack import write_pack
from tests.assets.commands import PROJECT, TRAINING, Command, Finished, content, environment, versions
from tests.assets.conftest import Built
from warehouse.quality.run import audit, audit_across, cross_checks
from warehouse.quality.suites.every import SUITES
from warehouse.sql import query
from warehouse.store import Warehouse
from warehouse.tables import simulation, simulation_evaluation
from warehouse.tables.simulation import (
    AGENTS,
    PREF_ECPO_PAIRS,
    PREF_TRAJECTORIES,
    PREF_TREE_PAIRS,
    SIM_CALLS,
    SIM_EPISODES,
    SIM_TASKS,
    SIM_TURNS,
)

pytestmark = pytest.mark.slow
Copied = Callable[[Path, str], Path]

STAGE = [table.name for table in (*simulation.TABLES, *simulation_evaluation.TABLES) if table.sql is None]
PLAYED = (SIM_EPISODES, SIM_TURNS, SIM_CALLS, PREF_ECPO_PAIRS, PREF_TRAJECTORIES, PREF_TREE_PAIRS)
BY_MODEL = [*(table.name for table in PLAYED), "sim_judgements"]
SIMULATED = [name for name in STAGE if name.startswith(("sim_", "pref_"))]
DOMAINS = ("book", "business", "film")
TOY = scales()["toy"]
PLAN = TOY.simulation
WORKERS = 10


def silent(text: str) -> None:
    pass


def write_released_tasks(pack: Path) -> None:
    """Tasks as ECPO releases them, of books of this pack: three users, one of whom stands in both splits."""
    lines = (pack / "amazon-reviews-2023" / "meta_Books.jsonl").read_text(encoding="utf-8").splitlines()[:6]
    books = [json.loads(line) for line in lines]
    language = {"Information Density": "Short.", "Expression Style": "Plain.", "Tone": "Dry."}
    folder = pack / "ecpo" / "task"
    folder.mkdir(parents=True)
    for split, users in (("train", ("U1", "U2", "U2")), ("test", ("U2", "U3", "U3"))):
        rows = [
            {
                "UserID": user,
                "Persona": {"Activities": f"Looks for details, {split}.", "Linguistics": language},
                "Items": [{"ItemID": book["parent_asin"], "ItemName": book["title"]}],
            }
            for user, book in zip(users, books[:3] if split == "train" else books[3:], strict=True)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"Book_{split}.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def reviewed(place: Path) -> Path:
    """Catalogues of films that people rate and talk about, reviews of books and businesses, released tasks."""
    pack = write_pack(place / "reviewed", movies=120, seed=4, dialogues=30).out
    write_released_tasks(pack)
    return pack


@pytest.fixture(scope="module")
def unasked(place: Path, home: Path, reviewed: Path) -> Built:
    """The warehouse of that pack, made without a language model. Not to be written to."""
    root = place / "unasked"
    groups = ("--only", "raw,core,dialogues,items,sim")
    done = Command("run", *groups, "--sources", reviewed, "--warehouse", root, home=home, **TRAINING).wait()
    assert done.code == 0, done
    return Built(root, done)


@pytest.fixture(scope="module")
def simulated(place: Path, home: Path, reviewed: Path, unasked: Built) -> Built:
    """That warehouse after another run, in which the stand-in is the language model. Not to be written to."""
    root = Path(shutil.copytree(unasked.root, place / "simulated"))
    options = ("--only", "sim,pref,eval", "--stand-in", "--sources", reviewed, "--warehouse", root)
    done = Command("run", *options, home=home, **TRAINING).wait()
    assert done.code == 0, done
    return Built(root, done)


@pytest.fixture
def unplayed(simulated: Built, copied: Copied) -> Path:
    """That warehouse with its personas and tasks, before anything was played or answered; it may be changed."""
    root = copied(simulated.root, "unplayed")
    forget_played(root)
    shutil.rmtree(root / "llm")
    return root


def forget_played(root: Path) -> None:
    """Empty the tables of what was played."""
    warehouse = Warehouse(root)
    warehouse.publish({table.name: warehouse.write(table, table.empty()).version for table in PLAYED})


@pytest.fixture(scope="module")
def simulate(home: Path, reviewed: Path) -> Callable[..., Command]:
    """Starts `marquee simulate` on a warehouse."""

    def start(root: Path, *arguments: object, **more: str) -> Command:
        folders = ("--sources", reviewed, "--warehouse", root)
        return Command("simulate", *arguments, *folders, home=home, **{**TRAINING, **more})

    return start


def rows(root: Path, name: str, domain: str | None = None, agent: str | None = None) -> pl.DataFrame:
    """Rows of a table of PLAYED in order, all or those of a partition."""
    found = content(root, name)
    if domain:
        found = found.filter(pl.col("domain") == domain)
    if agent and name == SIM_CALLS.name:
        owners = [*rows(root, "sim_episodes", domain, agent)["episode_id"]]
        for table in (PREF_ECPO_PAIRS, PREF_TREE_PAIRS):
            owners += rows(root, table.name, domain, agent)["pair_id"].to_list()
        return found.filter(pl.col("owner_id").is_in(owners))
    return found.filter(pl.col("agent") == agent) if agent else found


def differing(root: Path, other: Path, *partition: str) -> list[str]:
    """Tables of PLAYED of which a partition (all of them) is not the same in both warehouses."""
    return [
        table.name
        for table in PLAYED
        if not rows(root, table.name, *partition).equals(rows(other, table.name, *partition))
    ]


# -- a whole run -------------------------------------------------------------------------------------------


def test_every_table_is_published_with_rows_and_passes_its_checks(simulated: Built) -> None:
    assert "not published" not in simulated.done.err
    warehouse = Warehouse(simulated.root)
    assert [name for name in STAGE if warehouse.published(name) is None or not warehouse.rows(name)] == []
    ask = partial(query, simulated.root)
    outcomes = [outcome for name in STAGE if name in SUITES for outcome in audit(name, ask)]
    outcomes += audit_across(
        [check for check in cross_checks(FIXED) if {*STAGE} & {*check.needs}], ask, warehouse.names()
    )
    assert len({outcome.table for outcome in outcomes}) >= len(STAGE)
    assert [outcome for outcome in outcomes if outcome.status == "errored" or outcome.is_blocking] == []


def test_every_domain_with_reviews_is_played_by_every_agent_with_both_simulators(simulated: Built) -> None:
    played = content(simulated.root, "sim_episodes")
    counted = played.group_by("domain", "agent", "simulator").len()
    assert {(domain, agent) for domain, agent, *_ in counted.iter_rows()} == {(d, a) for d in DOMAINS for a in AGENTS}
    assert set(counted["simulator"]) == {"ailo", "seeker"}
    assert played["is_stand_in"].all()
    assert played["is_success"].any() and not played["is_success"].all()
    # The seeker is asked about how the user feels, AILO is not.
    assert (played["is_stopped"].is_null() == (played["simulator"] == "ailo")).all()
    pairs = content(simulated.root, "pref_ecpo_pairs")
    assert {"kept"} < set(pairs["status"])
    assert pairs["is_improved"].any() and not pairs["is_improved"].all()


def test_pairs_of_simulations_are_preference_pairs_beside_those_of_people(simulated: Built) -> None:
    pairs = content(simulated.root, "pref_pairs")
    own = pairs.filter(pl.col("dataset") == "simulation")
    assert 0 < own.height < pairs.height
    assert own["is_stand_in"].all() if "is_stand_in" in own.columns else True
    trained = query(simulated.root, "SELECT DISTINCT dataset FROM pref_dpo")["dataset"]
    assert "simulation" in trained
    skto = query(simulated.root, "SELECT count(*) FROM pref_skto").item()
    assert skto > 0


def test_the_report_lies_in_the_warehouse_and_says_who_answered(simulated: Built) -> None:
    (row,) = content(simulated.root, "report_simulation").to_dicts()
    page = (simulated.root / row["path"]).read_text(encoding="utf-8")
    assert "stand-in" in page
    assert {*DOMAINS} <= {name for name in DOMAINS if name in page}
    text = re.sub(r"<[^>]+>", " ", page).lower()
    assert {agent for agent in AGENTS if agent in text} == {*AGENTS}
    made_from = json.loads(row["made_from"])
    assert made_from["sim_episodes"] == Warehouse(simulated.root).published("sim_episodes")


def test_without_a_language_model_the_run_passes_and_says_so(unasked: Built) -> None:
    warehouse = Warehouse(unasked.root)
    assert [name for name in SIMULATED if warehouse.published(name) is None] == []
    assert [name for name in BY_MODEL if warehouse.rows(name)] == []
    for words in ("no persona is inferred", "nothing is played", "no episode is judged"):
        assert words in unasked.done.err, words
    # What a release states needs nobody's answer.
    assert set(warehouse.read("sim_personas")["origin"]) == {"released"}
    assert set(warehouse.read("sim_tasks")["domain"]) == {"book"}


def test_users_of_a_release_that_stand_in_both_splits_are_told_of(unasked: Built) -> None:
    assert "warning: 1 of 3 users of released tasks stand in both train and test" in unasked.done.err
    tasks = Warehouse(unasked.root).read("sim_tasks")
    assert set(tasks.filter("is_user_in_both")["user_id"]) == {"amazon_reviews_2023-U2"}
    assert tasks.group_by("user_id").agg(pl.col("split").n_unique())["split"].max() == 1


def test_a_run_without_a_language_model_keeps_what_was_played(
    simulated: Built, reviewed: Path, home: Path, copied: Copied
) -> None:
    root = copied(simulated.root, "later")
    before = versions(root)
    options = ("--only", "sim", "--sources", reviewed, "--warehouse", root)
    done = Command("run", *options, home=home, **TRAINING).wait()
    assert done.code == 0, done
    assert "earlier episodes stay" in done.err
    after = versions(root)
    assert {name: after[name] for name in SIMULATED} == {name: before[name] for name in SIMULATED}


# -- again -------------------------------------------------------------------------------------------------


def test_a_second_run_asks_nothing_and_changes_nothing(
    simulated: Built, reviewed: Path, home: Path, copied: Copied
) -> None:
    root = copied(simulated.root, "again")
    before = versions(root)
    options = ("--only", "sim", "--sources", reviewed, "--warehouse", root)
    with StandIn() as stand_in:
        environ = {**stand_in_environment(stand_in.base_url), **TRAINING}
        done = Command("run", *options, home=home, **environ).wait()
    assert done.code == 0, done
    assert stand_in.traffic.requests == 0
    after = versions(root)
    assert {name: after[name] for name in (*SIMULATED, "llm_calls")} == {
        name: before[name] for name in (*SIMULATED, "llm_calls")
    }


@pytest.fixture(scope="module")
def search(simulated: Built) -> episodes.Searcher:
    """The search over the items of `simulated`."""
    return open_search(Warehouse(simulated.root), TOY.encoder, silent)


@pytest.fixture
def build(search: episodes.Searcher) -> Callable[..., tuple[Mapping[str, float], int]]:
    """Plays some partitions of a warehouse; what was counted, and how many requests that took."""

    def run(
        root: Path, *partitions: episodes.Partition, plan: Simulation = PLAN, tell: Tell = silent, **settings: Any
    ) -> tuple[Mapping[str, float], int]:
        warehouse = Warehouse(root)
        with StandIn() as stand_in, llm_cache(warehouse) as kept:
            gateway = LlmGateway(replace(stand_in.settings(), **settings), "none", kept)
            built = build_episodes(warehouse, gateway, search, partitions, plan, tell)
            ecpo.build_ecpo(warehouse, gateway, partitions, tell)
            comparison.build_comparison(warehouse, gateway, search, partitions, plan.trees, tell)
        warehouse.publish({table.name: warehouse.latest(table.name) for table in PLAYED})
        return built.counts, stand_in.traffic.requests

    return run


EVERYWHERE = [(domain, agent) for domain in DOMAINS for agent in AGENTS]


def test_what_a_changed_prompt_concerns_is_played_again_and_paid_for_only_where_it_differs(
    simulated: Built, copied: Copied, build: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copied(simulated.root, "changed")
    prompts_of = agents.prompts_of
    monkeypatch.setattr(agents, "prompts_of", lambda name: (*prompts_of(name), *(["new@2"] if name == "react" else [])))
    counts, asked = build(root, *EVERYWHERE)
    before, after = content(simulated.root, "sim_episodes"), content(root, "sim_episodes")
    changed = (before["input_hash"] != after["input_hash"]).to_numpy()
    assert set(before.filter(changed)["agent"]) == {"react"}
    assert counts["played"] == changed.sum() == (before["agent"] == "react").sum()
    # The questions are the same still: their answers are there.
    assert asked == 0
    assert after.drop("input_hash").equals(before.drop("input_hash"))

    monkeypatch.setattr(agents, "prompts_of", prompts_of)
    monkeypatch.setattr(episodes, "SIMULATION_VERSION", "another")
    counts, asked = build(root, ("film", "chatrec"))
    assert (counts["played"], asked) == (rows(root, "sim_episodes", "film", "chatrec").height, 0)


def test_episodes_go_with_their_task(simulated: Built, copied: Copied, build: Callable) -> None:
    root = copied(simulated.root, "gone")
    warehouse = Warehouse(root)
    gone = rows(root, "pref_ecpo_pairs", "book", "actcrs")["episode_id"][0]
    task = warehouse.read("sim_episodes").filter(pl.col("episode_id") == gone)["task_id"][0]
    left = warehouse.write(SIM_TASKS, warehouse.read("sim_tasks").filter(pl.col("task_id") != task))
    warehouse.publish({left.table: left.version})
    before = warehouse.read("sim_episodes")
    build(root, *EVERYWHERE)
    after = warehouse.read("sim_episodes")
    assert task in before["task_id"] and task not in after["task_id"]
    ids = after["episode_id"].implode()
    for name in ("sim_turns", "pref_ecpo_pairs", "pref_trajectories", "pref_tree_pairs"):
        found = warehouse.read(name)
        assert found.height and found["episode_id"].is_in(ids).all(), name
    owners = [*after["episode_id"], *warehouse.read("pref_ecpo_pairs")["pair_id"], *warehouse.read("pref_tree_pairs")["pair_id"]]  # fmt: skip
    assert warehouse.read("sim_calls")["owner_id"].is_in(owners).all()


def test_a_larger_plan_adds_and_a_smaller_one_keeps_what_was_paid(
    simulated: Built, copied: Copied, build: Callable
) -> None:
    root, partition = copied(simulated.root, "plans"), ("book", "chatrec")
    before = content(root, "sim_episodes")
    counts, asked = build(root, partition, plan=replace(PLAN, train=6))
    assert (counts["played"], counts["played before"]) == (2, 10) and asked > 0
    larger = content(root, "sim_episodes")
    assert larger.join(before, on="episode_id", how="semi").equals(before)
    assert larger.height == before.height + 2
    stored = versions(root)
    counts, asked = build(root, partition, plan=replace(PLAN, train=1, test=1, seeker=0))
    assert (counts["played"], asked) == (0, 0)
    assert content(root, "sim_episodes").equals(larger)
    assert versions(root)["sim_turns"] == stored["sim_turns"]


def test_partitions_one_by_one_give_what_one_run_gives(unplayed: Path, simulated: Built, build: Callable) -> None:
    shutil.copytree(simulated.root / "llm", unplayed / "llm")
    order = random.Random(5).sample(EVERYWHERE, 4)
    assert sum(build(unplayed, partition)[1] for partition in order) == 0
    assert [each for each in order if differing(unplayed, simulated.root, *each)] == []
    assert set(content(unplayed, "sim_episodes").select("domain", "agent").iter_rows()) == {*order}


# -- what goes wrong ---------------------------------------------------------------------------------------


def test_a_killed_run_is_played_on_and_pays_for_nothing_twice(
    unplayed: Path, simulated: Built, simulate: Callable[..., Command]
) -> None:
    expected = rows(simulated.root, "sim_calls", "book", "actcrs")["request_hash"].n_unique()
    seen: list[bytes] = []
    kills = sorted(random.Random(9).sample(range(20, expected - 20), 2))
    process: list[int] = []

    def on_request(headers: Mapping[str, str], body: bytes) -> None:
        seen.append(body)
        if kills and len({*seen}) >= kills[0]:
            kills.pop(0)
            os.kill(process[0], signal.SIGKILL)

    with StandIn(Faults(shares={"slow": 1.0}, slow_s=0.02), on_request) as stand_in:
        environ = {**stand_in_environment(stand_in.base_url), "MARQUEE_LLM_WORKERS": str(WORKERS)}
        ended = []
        while not ended or ended[-1].code != 0:
            assert len(ended) < 3, ended[-1]
            command = simulate(unplayed, "--agent", "actcrs", "--domain", "book", **environ)
            process[:] = [command.pid]
            ended.append(command.wait())
    assert [done.code for done in ended] == [-signal.SIGKILL] * 2 + [0]
    assert len({*seen}) == expected
    assert len(seen) <= expected + 2 * WORKERS
    assert differing(unplayed, simulated.root, "book", "actcrs") == []


def test_a_finished_run_is_replayed_without_a_server(
    simulated: Built, copied: Copied, simulate: Callable[..., Command]
) -> None:
    root = copied(simulated.root, "replayed")
    forget_played(root)
    replay = {"MARQUEE_LLM_MODE": "replay", "MARQUEE_LLM_MODEL": STAND_IN_MODEL}
    done = simulate(root, "--domain", "book", **replay).wait()
    assert done.code == 0, done
    assert differing(root, simulated.root, "book") == []
    assert set(content(root, "sim_episodes")["domain"]) == {"book"}


def test_a_budget_ends_a_run_with_what_was_finished_and_the_next_one_goes_on(
    unplayed: Path, simulated: Built, build: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The stand-in costs nothing; here it does.
    monkeypatch.setattr("pipelines.gateways.llm.endpoint.is_stand_in", lambda model: False)
    partition, told = ("book", "chatrec"), []
    priced = {"price": Price(1.0, 1.0), "workers": 2}
    counts, asked = build(unplayed, partition, tell=told.append, budget_usd=0.08, **priced)
    assert counts["not finished"] > 0
    (warning,) = [text for text in told if "could not be played to their end" in text]
    assert warning.startswith("warning: ") and "budget" in warning
    some, all_ = rows(unplayed, "sim_episodes"), rows(simulated.root, "sim_episodes", *partition)
    assert 0 < some.height < all_.height
    assert some.join(all_, on=["episode_id", "outcome", "questions"], how="semi").height == some.height

    counts, later = build(unplayed, partition, **priced)
    assert counts["played"] == all_.height - some.height
    calls = rows(simulated.root, "sim_calls", *partition)
    assert asked + later == calls["request_hash"].n_unique()
    assert differing(unplayed, simulated.root, *partition) == []


def test_a_damaged_review_file_keeps_its_last_version_with_a_warning(
    simulated: Built, reviewed: Path, copied: Copied, home: Path
) -> None:
    root, sources = copied(simulated.root, "damaged"), copied(reviewed, "sources")
    before = {name: content(root, name) for name in ("core_reviews", "core_review_items", "sim_items", "sim_tasks")}
    reviews = sources / "yelp" / "yelp_academic_dataset_review.json"
    reviews.write_bytes(b"\x00\xff garbage \x80" * 500)
    (sources / "amazon-reviews-2023" / "Books.jsonl").write_bytes(b"")
    (sources / "ecpo" / "task" / "Book_test.jsonl").unlink()
    options = ("--only", "sim", "--stand-in", "--sources", sources, "--warehouse", root)
    done = Command("run", *options, home=home, **TRAINING).wait()
    assert done.code == 0, done
    for name in ("yelp_academic_dataset_review.json", "Books.jsonl", "Book_test.jsonl"):
        assert re.search(f"{name}.*its last version stays", done.err), (name, done.err)
    assert {name: content(root, name).equals(frame) for name, frame in before.items()} == dict.fromkeys(before, True)
    built = build_reviews(Warehouse(root), reviewed, False, silent)
    assert built.problems == ()
    assert [commit.table for commit in built.commits if commit.changed] == []


def test_an_index_that_is_gone_is_named_in_one_line(unplayed: Path, simulate: Callable[..., Command]) -> None:
    file = unplayed / Warehouse(unplayed).read("ml_item_index")["path"][0]
    file.unlink()
    done = simulate(unplayed, "--agent", "chatrec", "--domain", "film", "--stand-in").wait()
    assert done.code == 1, done
    assert str(file) in done.err and "Traceback" not in done.err
    assert rows(unplayed, "sim_episodes").is_empty()


# -- by hand -----------------------------------------------------------------------------------------------


def test_simulating_by_hand_touches_its_partition_only(
    simulated: Built, copied: Copied, simulate: Callable[..., Command]
) -> None:
    root = copied(simulated.root, "by-hand")
    options = ("--agent", "actcrs", "--domain", "book", "--tasks", 2, "--turns", 3, "--stand-in")
    done = simulate(root, *options).wait()
    assert done.code == 0, done
    others = [(domain, agent) for domain, agent in EVERYWHERE if (domain, agent) != ("book", "actcrs")]
    assert [each for each in others if differing(root, simulated.root, *each)] == []
    own = rows(root, "sim_episodes", "book", "actcrs")
    new = own.filter((pl.col("simulator") == "ailo") & (pl.col("turn_limit") == 3))
    assert new.group_by("split").len().sort("split").rows() == [("test", 2), ("train", 2)]
    assert new["agent_turns"].max() <= 3
    assert own.height == rows(simulated.root, "sim_episodes", "book", "actcrs").height

    shown = marquee("show", "episode", new["episode_id"][0], "--warehouse", root)
    assert shown.code == 0, shown
    turns = content(root, "sim_turns").filter(pl.col("episode_id") == new["episode_id"][0])
    said = " ".join(shown.out.split())
    assert [text for text in turns["text"] if " ".join(text.split()) not in said] == []


def marquee(*arguments: object, **more: str | None) -> Finished:
    """A command that starts no run, in this process."""
    from click.testing import CliRunner

    from assets.cli import main

    none = {name: None for name in os.environ if name.startswith(("MARQUEE_", "OPENAI_"))}
    done = CliRunner().invoke(main, [str(each) for each in arguments], env={**none, **TRAINING, **more})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return Finished(done.exit_code, done.stdout, done.stderr)


def test_a_domain_without_tasks_is_no_error(simulated: Built, reviewed: Path) -> None:
    options = ("--domain", "game", "--stand-in", "--sources", reviewed, "--warehouse", simulated.root)
    done = marquee("simulate", *options)
    assert (done.code, done.out) == (0, "there are no tasks in the domain game, only in: book, business, film\n")


def test_without_tasks_it_is_said_what_to_run_first(tmp_path: Path, reviewed: Path) -> None:
    done = marquee("simulate", "--stand-in", "--sources", reviewed, "--warehouse", tmp_path / "w")
    assert done.code == 1
    assert "marquee run" in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "w" / "published.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--agent", "hal"), "'hal' is not one of"),
        (("--domain", "shoes"), "'shoes' is not one of"),
        (("--tasks", "0"), "0 is not in the range"),
        (("--tasks", "many"), "'many' is not a valid integer"),
        (("--turns", "21"), "21 is not in the range"),
        (("--scale", "huge"), "'huge' is not one of"),
    ],
)
def test_rubbish_is_refused(simulated: Built, options: tuple[str, ...], words: str) -> None:
    done = marquee("simulate", *options, "--warehouse", simulated.root)
    assert done.code == 2
    assert words in done.err.splitlines()[-1]


def test_what_questions_there_would_be_is_forecast(simulated: Built, unplayed: Path) -> None:
    def figures(root: Path, stage: str) -> list[int]:
        done = marquee("llm", "forecast", "--warehouse", root, MARQUEE_LLM_MODEL=STAND_IN_MODEL, OPENAI_API_KEY="none")
        assert done.code == 0, done
        (line,) = [line for line in done.out.splitlines() if line.startswith(stage)]
        return [int(each.replace(",", "")) for each in re.findall(r"[\d,]+", line)[:3]]

    for stage in ("personas", "judgements"):
        questions, cached, calls = figures(simulated.root, stage)
        assert questions > 0 and (cached, calls) == (questions, 0), stage
    assert figures(simulated.root, "simulations")[2] == 0
    assert figures(unplayed, "simulations")[2] > 0


def test_a_split_that_there_is_not_is_one_line_and_the_released_one_is_kept(
    simulated: Built, reviewed: Path, copied: Copied, home: Path
) -> None:
    root = copied(simulated.root, "split")
    options = ("run", "--only", "sim", "--stand-in", "--sources", reviewed, "--warehouse", root)
    done = Command(*options, home=home, MARQUEE_SIMULATION_SPLIT="rubbish", **TRAINING).wait()
    assert done.code == 2
    assert "MARQUEE_SIMULATION_SPLIT must be one of hash, released, not 'rubbish'" in done.err
    assert "Traceback" not in done.err

    done = Command(*options, home=home, MARQUEE_SIMULATION_SPLIT="released", **TRAINING).wait()
    assert done.code == 0, done
    tasks = Warehouse(root).read("sim_tasks")
    books = tasks.filter(pl.col("domain") == "book")
    assert (books["split"] == books["released_split"]).all()
    assert books.height == 6
    played = Warehouse(root).read("sim_episodes")
    assert set(played["domain"]) == {*DOMAINS}
    assert played.filter(pl.col("domain") == "book")["task_id"].is_in(books["task_id"].implode()).all()


def test_the_job_can_be_run_by_dagster_itself(unplayed: Path, simulated: Built, home: Path, reviewed: Path) -> None:
    tags = json.dumps({name: str(value) for name, value in simulations("macrs", "business").items()})
    job = ("job", "execute", "-m", "assets.definitions", "-j", SIMULATION_JOB, "--tags", tags)
    with StandIn() as stand_in:
        environ: dict[str, Any] = {**stand_in_environment(stand_in.base_url), **TRAINING}
        environ |= {"MARQUEE_SOURCES": str(reviewed), "MARQUEE_WAREHOUSE": str(unplayed)}
        done = subprocess.run(
            [sys.executable, "-m", "dagster", *job],
            env=environment(home, **environ),
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert differing(unplayed, simulated.root, "business", "macrs") == []
    played = content(unplayed, "sim_episodes")
    assert played.select("domain", "agent").unique().rows() == [("business", "macrs")]
