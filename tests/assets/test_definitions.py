"""What dagster sees: the graph, what explains it, what runs it, and the stock commands that load it."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

import models
from assets.auditing import MAKING_ORDER
from assets.automation import (
    ALL_DATASETS,
    CONVERSATIONS_JOB,
    EVERYTHING_JOB,
    REFRESH_JOB,
    RETRIEVAL_JOB,
    SIMULATION_JOB,
    SIMULATION_PARTITIONS,
    simulations,
    sources_sensor,
)
from assets.build.dialogues import TABLES as READ_TABLES
from assets.contracts import FIXED, all_contracts
from assets.groups import EXTERNAL, GROUPS, PARTITIONED, REFRESHED, SIMULATED
from assets.retrieval import GPU_POOL, ON_GPU
from assets.runs import phases
from pipelines.sources.blocks import all_blocks
from tests.assets.commands import PROJECT, environment
from warehouse.quality.suites.every import SUITES
from warehouse.tables.dialogues import DATASETS
from warehouse.tables.simulation import AGENTS, SIM_DOMAINS
from warehouse.tables.titles import raw_table_name

HEAVY = (
    "great_expectations",
    "matplotlib",
    "pandas",
    "torch",
    "sentence_transformers",
    "transformers",
    "faiss",
    "openai",
    "httpx",
    "starlette",
    "uvicorn",
    "jsonschema",
    "scipy",
    "tensorboard",
    "safetensors",
)
SOURCES_TOML = """
[[source]]
name = "club"
files = ["club.csv"]
format = "csv"

[source.columns]
source_id = "id"
title = "title"
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    (folder / "sources.toml").write_text(SOURCES_TOML)
    return folder


@pytest.fixture(scope="module")
def defs(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.Definitions]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARQUEE_SOURCES", str(sources))
        patch.setenv("MARQUEE_WAREHOUSE", str(tmp_path_factory.mktemp("warehouse")))
        patch.delitem(sys.modules, "assets.definitions", raising=False)
        yield importlib.import_module("assets.definitions").defs
        patch.delitem(sys.modules, "assets.definitions")


@pytest.fixture(scope="module")
def specs(defs: dg.Definitions) -> list[dg.AssetSpec]:
    return list(defs.resolve_all_asset_specs())


def test_every_table_is_exactly_one_asset(specs: list[dg.AssetSpec], sources: Path) -> None:
    names = sorted(spec.key.to_user_string() for spec in specs)
    blocks = all_blocks(sources)
    assert names == sorted(all_contracts(blocks))
    assert "raw_club__titles" in names
    assert {raw_table_name(name) for name in blocks} < set(names)


def test_checks_find_every_table_that_is_made() -> None:
    stored = [table.name for table in FIXED if table.kind == "table"]
    assert sorted(MAKING_ORDER) == sorted(stored)


def test_every_asset_explains_itself(specs: list[dg.AssetSpec], sources: Path) -> None:
    contracts = all_contracts(all_blocks(sources))
    for spec in specs:
        name = spec.key.to_user_string()
        assert spec.group_name in {name for names in GROUPS.values() for name in names}, name
        assert spec.description, name
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.code_version, name
        schema = spec.metadata["dagster/column_schema"]
        assert [column.name for column in schema.columns] == contracts[name].schema.names(), name
        assert all(column.description for column in schema.columns), name


def test_only_what_is_read_from_files_has_no_inputs(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    roots = {key.to_user_string() for key in graph.root_materializable_asset_keys}
    titles = {name for name in roots if name.startswith("raw_") and name.endswith("__titles")}
    assert roots - titles == {table.name for table in READ_TABLES}


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("core_movies", {"core_movie_links", "core_title_records"}),
        ("core_mentions", {"core_turns", "core_mention_hints", "core_dialogue_items", "core_movies"}),
        ("anno_turns", {"core_turns", "core_mentions", "anno_vto", "anno_validation"}),
        ("pref_pairs", {"core_turns", "core_mentions", "core_feedback", "core_movies", "anno_validation"}),
        ("pref_pairs", {"pref_ecpo_pairs"}),
        ("pref_dpo", {"pref_pairs"}),
        ("core_reviews", {"core_turns", "core_feedback", "core_movie_links"}),
        ("sim_tasks", {"core_reviews", "sim_items"}),
        ("sim_episodes", {"sim_tasks", "sim_personas", "sim_items"}),
        ("eval_simulation", {"sim_episodes", "sim_judgements", "pref_ecpo_pairs", "llm_calls"}),
        ("core_rec_turns", {"core_dialogues", "core_turns", "core_film_mentions"}),
        ("ml_item_index", {"ml_item_embeddings"}),
        ("ml_retriever_lrurec", {"core_sessions", "core_rec_turns", "ml_item_embeddings"}),
        ("rl_rewards", {"ml_retriever_lrurec", "core_turns"}),
        ("ml_retriever_rar_dpo", {"ml_retriever_lrurec", "rl_rewards"}),
        ("ml_rankings", {"ml_retriever_gru4rec", "ml_retriever_rar_grpo"}),
        ("llm_rankings", {"ml_rankings", "core_turns", "core_movies"}),
        ("eval_ranking", {"ml_rankings", "llm_rankings"}),
        ("llm_calls", {"anno_vto", "anno_strategy", "pref_pairs", "llm_rankings", "rl_rewards"}),
    ],
)
def test_assets_follow_from_their_inputs(defs: dg.Definitions, name: str, inputs: set[str]) -> None:
    parents = defs.resolve_asset_graph().get(dg.AssetKey(name)).parent_keys
    assert inputs <= {key.to_user_string() for key in parents}


def test_what_people_say_is_the_only_asset_that_no_run_makes(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.external_asset_keys} == EXTERNAL


def test_every_asset_belongs_to_a_group_that_a_command_can_name(specs: list[dg.AssetSpec]) -> None:
    assert {spec.group_name for spec in specs} == {group for groups in GROUPS.values() for group in groups}
    assert set(REFRESHED) == set(GROUPS) - {"sim", "retrieval", "eval"}


def test_conversations_are_partitioned_by_dataset_and_simulations_by_domain_and_agent(
    specs: list[dg.AssetSpec],
) -> None:
    partitioned = {spec.key.to_user_string(): spec for spec in specs if spec.partitions_def}
    by_dataset, by_agent = set(), set()
    for name, spec in partitioned.items():
        assert spec.partitions_def is not None
        keys = spec.partitions_def.get_partition_keys()
        if spec.group_name in SIMULATED:
            by_agent.add(name)
            assert keys == [f"{agent}|{domain}" for agent in AGENTS for domain in SIM_DOMAINS]
        else:
            by_dataset.add(name)
            assert keys == list(DATASETS)
    groups = {spec.key.to_user_string(): spec.group_name for spec in specs}
    assert by_dataset == {name for name, group in groups.items() if group in PARTITIONED and name not in EXTERNAL}
    assert by_agent == {name for name, group in groups.items() if group in SIMULATED}


@pytest.mark.parametrize("agent", [None, *AGENTS])
@pytest.mark.parametrize("domain", [None, *SIM_DOMAINS])
def test_a_run_of_simulations_covers_what_is_asked_for(agent: str | None, domain: str | None) -> None:
    tags = simulations(agent, domain)
    first, last = (str(tags[f"dagster/asset_partition_range_{end}"]) for end in ("start", "end"))
    keys = SIMULATION_PARTITIONS.get_partition_keys_in_range(dg.PartitionKeyRange(first, last))
    wanted = {(one, other) for one in ([agent] if agent else AGENTS) for other in ([domain] if domain else SIM_DOMAINS)}
    assert {tuple(str(key).split("|")) for key in keys} == wanted


@pytest.mark.parametrize(
    ("wanted", "jobs"),
    [
        ({"raw", "core"}, [EVERYTHING_JOB]),
        ({"raw", "dialogues", "retrieval", "eval"}, [EVERYTHING_JOB]),
        ({"episodes"}, [SIMULATION_JOB]),
        ({"users", "episodes", "judgements"}, [EVERYTHING_JOB, SIMULATION_JOB, EVERYTHING_JOB]),
        ({group for groups in GROUPS.values() for group in groups}, [EVERYTHING_JOB, SIMULATION_JOB, EVERYTHING_JOB]),
    ],
)
def test_a_run_has_a_part_for_each_kind_of_partition(wanted: set[str], jobs: list[str], defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    parts = phases(wanted)
    assert [part.job for part in parts] == jobs
    assert sorted(group for part in parts for group in part.groups) == sorted(wanted)
    there: set[dg.AssetKey] = set()
    for part in parts:
        there |= {key for key in graph.materializable_asset_keys if graph.get(key).group_name in part.groups}
        later = {
            key for key in graph.materializable_asset_keys if graph.get(key).group_name in wanted and key not in there
        }
        # Nothing is made before what it is made from.
        assert not [key for key in there if graph.get(key).parent_keys & later]


def test_checks_of_severity_error_block_what_comes_after(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    checks = {
        (key.asset_key.to_user_string(), key.name): graph.get_check_spec(key).blocking for key in graph.asset_check_keys
    }
    for table, suite in SUITES.items():
        if table in EXTERNAL:
            continue
        for expectation in suite.expectations:
            assert checks[table, expectation.name] == (expectation.severity == "ERROR"), (table, expectation.name)
    readable = {table: blocks for (table, name), blocks in checks.items() if name == "readable"}
    # Films are linked across catalogues; a dataset of dialogues or a release of ratings stands for itself, and the others go on without it.
    assert not readable.pop("core_dialogues")
    assert not readable.pop("core_sessions")
    assert not readable.pop("core_reviews")
    assert readable
    assert all(readable.values())
    assert not all(checks.values())


@pytest.mark.parametrize(
    ("name", "job", "cron", "tags"),
    [
        ("daily_refresh", REFRESH_JOB, "0 4 * * *", {}),
        ("daily_conversations", CONVERSATIONS_JOB, "0 5 * * *", ALL_DATASETS),
        ("weekly_training", RETRIEVAL_JOB, "0 8 * * 0", {}),
        ("weekly_simulation", SIMULATION_JOB, "0 10 * * 0", simulations()),
    ],
)
def test_refreshes_are_scheduled_daily_training_and_simulations_weekly(
    defs: dg.Definitions, name: str, job: str, cron: str, tags: dict[str, str]
) -> None:
    schedule = defs.resolve_schedule_def(name)
    assert (schedule.job_name, schedule.cron_schedule) == (job, cron)
    with dg.DagsterInstance.ephemeral() as instance:
        asked = schedule.evaluate_tick(dg.build_schedule_context(instance)).run_requests or []
    assert [{name: request.tags[name] for name in tags} for request in asked] == [tags]


def test_jobs_have_the_assets_of_their_part(defs: dg.Definitions, specs: list[dg.AssetSpec]) -> None:
    group = {spec.key: spec.group_name for spec in specs}
    made = {key for key in group if key.to_user_string() not in EXTERNAL}

    def of(job: str) -> set[dg.AssetKey]:
        return set(defs.resolve_job_def(job).asset_layer.executable_asset_keys)

    assert of(REFRESH_JOB) == {key for key in made if group[key] in {"raw", "meta", "core"}}
    assert of(CONVERSATIONS_JOB) == {
        key for key in made if group[key] in {"dialogues", "anno", "pref", "interactions", "embeddings"}
    }
    evaluated = {"eval_ranking", "eval_ranking_tests", "eval_hallucination", "report_retrieval", "llm_calls"}
    learned = {key for key in made if group[key] in {"interactions", "embeddings", "retrieval"}}
    assert of(RETRIEVAL_JOB) == learned | {dg.AssetKey(name) for name in evaluated}
    simulated = {key for key in made if group[key] in {"users", "episodes", "judgements"}}
    reported = {"llm_calls", "eval_simulation", "eval_simulator_fidelity", "report_simulation"}
    assert of(SIMULATION_JOB) == simulated | {dg.AssetKey(name) for name in reported}
    assert of(EVERYTHING_JOB) == {key for key in made if group[key] not in SIMULATED}


def test_what_learns_or_embeds_takes_turns_on_the_gpu(defs: dg.Definitions) -> None:
    job = defs.resolve_job_def(RETRIEVAL_JOB)
    pools = {node.name: node.definition.pools for node in job.graph.nodes}
    learning = {name for name in pools if name.startswith(("train_", "align_"))} | {"embed_items", "rank"}
    assert len(learning) == 10
    assert {name for name, found in pools.items() if GPU_POOL in found} == learning
    assert all(ON_GPU.items() <= node.definition.tags.items() for node in job.graph.nodes if node.name in learning)


def test_loading_the_definitions_imports_nothing_heavy(tmp_path: Path) -> None:
    code = f"import sys, assets.definitions; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path, MARQUEE_SOURCES=str(tmp_path)),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_imports_run_one_way() -> None:
    done = subprocess.run(
        [shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or "lint-imports"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_models_is_the_package_of_this_checkout() -> None:
    assert Path(models.__file__ or "").resolve().parent == PROJECT / "models"


def test_dagster_yaml_makes_an_instance_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(PROJECT / "dagster.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert not instance.telemetry_enabled
        assert instance.run_retries_enabled
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
    assert (tmp_path / "data" / "dagster").is_dir()


@pytest.mark.slow
def test_stock_dagster_loads_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").touch()
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "--workspace", "workspace.yaml"],
        env=environment(tmp_path, MARQUEE_SOURCES=str(tmp_path)),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "marquee" in done.stdout + done.stderr


BOTH = [REFRESH_JOB, CONVERSATIONS_JOB]


def _look(sensor: dg.SensorDefinition, cursor: str | None) -> tuple[list[dg.RunRequest], str | None, str | None]:
    """One look of the sensor: runs asked for, the new cursor, why none."""
    with dg.DagsterInstance.ephemeral() as instance:
        found = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))
    return found.run_requests or [], found.cursor, found.skip_message


def test_sensor_asks_once_when_files_have_settled(tmp_path: Path) -> None:
    sensor = sources_sensor(tmp_path)
    runs, cursor, why = _look(sensor, None)
    assert (runs, why) == ([], f"no files in {tmp_path}")

    file = tmp_path / "deep" / "films.csv"
    file.parent.mkdir()
    file.write_text("a")
    runs, cursor, why = _look(sensor, cursor)
    assert (runs, why) == ([], "files changed; waiting until they settle")
    file.write_text("ab")  # still being copied
    runs, cursor, why = _look(sensor, cursor)
    assert (runs, why) == ([], "files changed; waiting until they settle")
    runs, cursor, _ = _look(sensor, cursor)
    assert [run.job_name for run in runs] == BOTH
    for _ in range(2):
        runs, cursor, why = _look(sensor, cursor)
        assert (runs, why) == ([], "nothing changed")

    os.utime(file, ns=(1, 1))
    runs, cursor, _ = _look(sensor, cursor)
    assert runs == []
    runs, cursor, _ = _look(sensor, cursor)
    assert [run.job_name for run in runs] == BOTH


def test_sensor_asks_again_for_files_that_were_put_back(tmp_path: Path) -> None:
    sensor = sources_sensor(tmp_path)
    file = tmp_path / "films.csv"
    keys, cursor = [], None
    for text in ("good", "bad", "good"):
        file.write_text(text)
        os.utime(file, ns=(len(text), len(text)))
        for _ in range(2):
            runs, cursor, _ = _look(sensor, cursor)
            keys += [run.run_key for run in runs]
    # Dagster runs each key once ever, so equal files at another time need another key, and so does each job.
    assert len(keys) == len(set(keys)) == 6
    assert [str(key).rpartition(":")[2] for key in keys] == ["corpus", "conversations"] * 3


def test_the_run_for_conversations_covers_every_dataset(tmp_path: Path) -> None:
    (tmp_path / "films.csv").write_text("a")
    sensor = sources_sensor(tmp_path)
    _, cursor, _ = _look(sensor, None)
    runs, _, _ = _look(sensor, cursor)
    tags = {run.job_name: {name: run.tags.get(name) for name in ALL_DATASETS} for run in runs}
    assert tags == {REFRESH_JOB: dict.fromkeys(ALL_DATASETS), CONVERSATIONS_JOB: ALL_DATASETS}
