"""The retrieval stage as its users meet it: retrievers trained, aligned, ranked and evaluated by `marquee run`, whatever goes wrong on the way, and
`marquee train` and `marquee recommend` over what a run has made.

All in one file: what `retrieved` holds takes a minute of training, and tests of one file share it wherever they run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from assets.build.files import FileError
from assets.build.item_index import build_item_index, open_item_index
from assets.build.launching import ProcessFailed, launch
from assets.build.scales import scales
from assets.build.training import DIALOGUES, build_retriever, build_training_log, retriever_rows, training_data
from assets.cli import main
from assets.contracts import FIXED
from assets.settings import stand_in_environment
from pipelines.gateways.llm.runs import STAND_IN_MODEL
from pipelines.gateways.stand_in.faults import Faults
from pipelines.gateways.stand_in.server import StandIn
from pipelines.synth.churn import churn
from pipelines.synth.pack import write_pack
from tests.assets.commands import TRAINING, TRAINING_PATIENCE_S, Command, children, content, versions
from tests.assets.conftest import Built
from warehouse.quality.run import audit, audit_across, cross_checks
from warehouse.quality.suites.every import SUITES
from warehouse.sql import query
from warehouse.store import Warehouse
from warehouse.tables.ranking_evaluation import BASELINES
from warehouse.tables.retrieval import ML_RANKINGS, RETRIEVERS, RL_RETRIEVERS

pytestmark = pytest.mark.slow
Copied = Callable[[Path, str], Path]

ARCHITECTURES = [table.name for table in RETRIEVERS.values()]
ALIGNED = [table.name for table in RL_RETRIEVERS.values()]
ITEMS = ["core_sessions", "meta_session_files", "core_rec_turns", "ml_item_embeddings", "ml_item_index"]
BY_MODEL = ["rl_rewards", *ALIGNED, "llm_rankings", "eval_hallucination"]
FIGURES = ["ml_training_log", "ml_rankings", "eval_ranking", "eval_ranking_tests", "report_retrieval"]
STAGE = [*ITEMS, *ARCHITECTURES, *BY_MODEL, *FIGURES]
# What a clock says, and what follows from it: the page draws and prints it.
CLOCKED = {
    **dict.fromkeys([*ARCHITECTURES, *ALIGNED], ("train_s", "interactions_per_s")),
    "report_retrieval": ("path", "sha256", "bytes", "made_from"),
}
MODEL_FILES = {"weights.safetensors", "config.json", "items.parquet", "metrics.jsonl", "summary.json", "MODEL_CARD.md"}
AGAIN = ("run", "--only", "retrieval,eval")
TOY = scales()["toy"]
RELEASE = "ml-latest-small"
SHORT = ("--preset", "tiny", "--set", "training.max_epochs=1")


def silent(text: str) -> None:
    pass


def never(module: str, config: Path, tell: Callable[[str], None]) -> None:
    raise AssertionError(f"{module} was started: {config.read_text()}")


def of_the_stage(root: Path) -> dict[str, tuple[int | None, int | None]]:
    found = versions(root)
    return {name: found[name] for name in STAGE}


def rows(root: Path, name: str) -> pl.DataFrame:
    """Rows of a table in order, without what depends on the clock."""
    found = content(root, name).drop(CLOCKED.get(name, ()))
    return found.filter(~pl.col("name").str.contains("per_s|_s$")) if name == "ml_training_log" else found


def weights(root: Path) -> dict[str, str]:
    """SHA-256 of the weights that lie in the warehouse, by folder."""
    return {
        path.parent.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.glob("files/*/*/weights.safetensors"))
    }


@pytest.fixture(scope="module")
def rated(place: Path) -> Path:
    """Catalogues of films that people rate and talk about."""
    return write_pack(place / "rated", movies=150, seed=4, dialogues=30).out


@pytest.fixture(scope="module")
def prepared(place: Path, home: Path, rated: Path) -> Built:
    """The warehouse of that pack up to what retrievers learn from. Not to be written to."""
    root = place / "prepared"
    groups = ("--only", "raw,core,dialogues,items")
    done = Command("run", *groups, "--sources", rated, "--warehouse", root, home=home, **TRAINING).wait()
    assert done.code == 0, done
    return Built(root, done)


@pytest.fixture(scope="module")
def unassisted(place: Path, home: Path, rated: Path, prepared: Built) -> Built:
    """That warehouse with retrievers, trained, ranked and evaluated without a language model. Not to be written to."""
    root = Path(shutil.copytree(prepared.root, place / "unassisted"))
    options = ("--only", "retrieval,eval", "--sources", rated, "--warehouse", root)
    done = Command("run", *options, home=home, **TRAINING).wait(TRAINING_PATIENCE_S)
    assert done.code == 0, done
    return Built(root, done)


@pytest.fixture(scope="module")
def retrieved(place: Path, home: Path, rated: Path, unassisted: Built) -> Built:
    """That warehouse after another run, in which the stand-in is the language model: rewards, alignment, lists ranked again. Not to be written to."""
    root = Path(shutil.copytree(unassisted.root, place / "retrieved"))
    options = ("--only", "retrieval,eval", "--stand-in", "--sources", rated, "--warehouse", root)
    done = Command("run", *options, home=home, **TRAINING).wait(TRAINING_PATIENCE_S)
    assert done.code == 0, done
    return Built(root, done)


@pytest.fixture(scope="module")
def catalogues(place: Path, home: Path, pack: Path) -> Built:
    """A warehouse of films that nobody rates or talks about. Not to be written to."""
    root = place / "catalogues"
    groups = ("--only", "raw,core,dialogues,items,retrieval,eval")
    done = Command("run", *groups, "--sources", pack, "--warehouse", root, home=home, **TRAINING).wait()
    assert done.code == 0, done
    return Built(root, done)


# -- a whole run -------------------------------------------------------------------------------------------


def test_every_table_is_published_with_rows_and_passes_its_checks(retrieved: Built) -> None:
    assert "not published" not in retrieved.done.err
    warehouse = Warehouse(retrieved.root)
    assert [name for name in STAGE if warehouse.published(name) is None or not warehouse.rows(name)] == []
    ask = partial(query, retrieved.root)
    outcomes = [outcome for name in STAGE if name in SUITES for outcome in audit(name, ask)]
    outcomes += audit_across(
        [
            check
            for check in cross_checks(FIXED)
            if {*STAGE} & {*check.needs} and {*check.needs} <= {*warehouse.names()}
        ],
        ask,
        warehouse.names(),
    )
    assert len({outcome.table for outcome in outcomes}) >= len(STAGE)
    assert [outcome for outcome in outcomes if outcome.status == "errored" or outcome.is_blocking] == []


def test_models_are_trained_on_ratings_then_on_dialogues_then_aligned(retrieved: Built) -> None:
    found = retriever_rows(Warehouse(retrieved.root))
    by_id = {row["model_id"]: row for row in found.iter_rows(named=True)}
    assert len(by_id) == found.height == 2 * len(ARCHITECTURES) + len(ALIGNED)
    stages = found.group_by("stage").agg(pl.col("system").sort()).sort("stage")
    assert dict(stages.iter_rows()) == {
        "sessions": sorted(RETRIEVERS),
        "dialogues": sorted(RETRIEVERS),
        "rl": sorted(f"rar_{method}" for method in RL_RETRIEVERS),
    }
    for row in found.iter_rows(named=True):
        start = by_id[row["started_from"]] if row["started_from"] else None
        before = {"sessions": None, "dialogues": "sessions", "rl": "dialogues"}[row["stage"]]
        assert (start["stage"] if start else None) == before, row["system"]
        assert start is None or start["arch"] == row["arch"]
        # Alignment may keep the weights that it began with, but not without a word.
        assert start is None or start["sha256"] != row["sha256"] or row["warnings"], row["system"]


def test_folders_of_models_are_complete(retrieved: Built) -> None:
    for row in retriever_rows(Warehouse(retrieved.root)).iter_rows(named=True):
        folder = retrieved.root / row["path"]
        assert {path.name for path in folder.iterdir()} - {".lock", "tensorboard"} == MODEL_FILES
        assert hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest() == row["sha256"]
        assert json.loads((folder / "summary.json").read_text())["weights_sha256"] == row["sha256"]
        assert json.loads((folder / "config.json").read_text())["arch"] == row["arch"]
        assert row["data_hash"] in (folder / "MODEL_CARD.md").read_text()
        logged = Warehouse(retrieved.root).read("ml_training_log").filter(pl.col("model_id") == row["model_id"])
        assert logged.height > 0


def test_every_system_ranks_every_example_of_its_data_once(retrieved: Built) -> None:
    found = Warehouse(retrieved.root).read("ml_rankings")
    of_dialogues = found.filter(pl.col("setting") == "dialogues")
    others = found.filter(pl.col("setting") != "dialogues")
    aligned = {f"rar_{method}" for method in RL_RETRIEVERS}
    assert set(of_dialogues["system"]) == {*RETRIEVERS, *aligned, *BASELINES}
    assert set(others["system"]) == {*RETRIEVERS, *BASELINES}
    assert set(others["dataset"]) == {"ml-latest-small"}
    for part in (of_dialogues, others):
        examples = part.group_by("system").agg(pl.col("example_id").sort())
        assert examples["example_id"].n_unique() == 1
        assert examples["example_id"].list.n_unique().equals(examples["example_id"].list.len())


def test_figures_stand_beside_the_baselines_with_their_passports(retrieved: Built) -> None:
    warehouse = Warehouse(retrieved.root)
    found = warehouse.read("eval_ranking")
    passport = [name for name in found.columns if name not in ("model_id", "llm_model")]
    assert found.select(passport).null_count().sum_horizontal().item() == 0
    for files in found["dataset_files"].to_list():
        assert files
    assert set(found["corpus_version"]) == {warehouse.published("core_movies")}
    whole = found.filter(pl.col("slice") == "all", pl.col("protocol") == "full_repeats_kept")
    systems = whole.group_by("dataset").agg(pl.col("system").unique())
    assert systems.height >= 3
    assert all({*RETRIEVERS, *BASELINES} <= {*each} for each in systems["system"].to_list())
    assert set(found.filter(pl.col("is_baseline"))["system"]) == {*BASELINES}
    ids = {*retriever_rows(warehouse)["model_id"], None}
    assert set(found["model_id"]) <= ids


def test_what_the_stand_in_made_is_marked(retrieved: Built) -> None:
    warehouse = Warehouse(retrieved.root)
    for name in ("llm_rankings", "eval_hallucination"):
        found = warehouse.read(name, ["model", "is_stand_in"])
        assert set(found["model"]) == {STAND_IN_MODEL} and found["is_stand_in"].all()
    assert warehouse.read("rl_rewards", ["is_stand_in"])["is_stand_in"].all()
    figures = warehouse.read("eval_ranking", ["system", "llm_model", "is_stand_in"])
    by_model = figures.filter(pl.col("llm_model").is_not_null())
    assert by_model.height > 0 and by_model["is_stand_in"].all()
    assert not figures.filter(pl.col("llm_model").is_null())["is_stand_in"].any()


def test_the_report_is_one_page_that_loads_nothing(retrieved: Built) -> None:
    row = Warehouse(retrieved.root).read("report_retrieval").row(0, named=True)
    page = (retrieved.root / row["path"]).read_bytes()
    assert hashlib.sha256(page).hexdigest() == row["sha256"]
    assert row["figures"] > 5
    text = page.decode()
    assert "stand-in" in text
    assert all(system in text for system in (*RETRIEVERS, "rar_dpo", "popularity"))
    assert not any(f'{attribute}="http' in text for attribute in ("src", "href"))


# -- again -------------------------------------------------------------------------------------------------


def test_a_second_run_trains_nothing_and_changes_nothing(
    retrieved: Built, rated: Path, home: Path, copied: Copied
) -> None:
    root = copied(retrieved.root, "again")
    before = of_the_stage(root)
    done = Command(*AGAIN, "--stand-in", "--sources", rated, "--warehouse", root, home=home, **TRAINING).wait()
    assert done.code == 0, done
    assert of_the_stage(root) == before
    launched = [path for path in root.glob("files/*/*.json.log") if path.stat().st_mtime > retrieved_at(retrieved)]
    assert launched == []


def retrieved_at(built: Built) -> float:
    """When the last file of training was written."""
    return max(path.stat().st_mtime for path in built.root.glob("files/*/*.json.log"))


def test_training_again_gives_the_same_bytes(retrieved: Built, copied: Copied) -> None:
    root = copied(retrieved.root, "retrained")
    before, table = weights(root), RETRIEVERS["lrurec"].name
    shutil.rmtree(root / "files" / table)
    build_retriever(Warehouse(root), "lrurec", TOY, silent, partial(launch, environment={**os.environ, **TRAINING}))
    assert weights(root) == before


def test_a_refresh_embeds_only_what_changed_and_trains_nothing(
    retrieved: Built, rated: Path, home: Path, tmp_path: Path, copied: Copied
) -> None:
    root = copied(retrieved.root, "refreshed")
    later = churn(rated, tmp_path / "later", share=0.1, seed=1).out
    options = ("--only", "raw,core,dialogues,items", "--sources", later, "--warehouse", root)
    before, models = content(root, "ml_item_embeddings"), weights(root)
    done = Command("refresh", *options, home=home, **TRAINING).wait()
    assert done.code == 0, done
    after = content(root, "ml_item_embeddings")
    key = ["encoder", "movie_id", "text_hash"]
    same, new = after.join(before, on=key, how="semi"), after.join(before, on=key, how="anti")
    assert 0 < new.height < same.height
    assert Warehouse(root).history("ml_item_embeddings")["rows_upserted"][0] == new.height
    assert same.sort(key).equals(before.join(after, on=key, how="semi").sort(key))
    assert open_item_index(Warehouse(root), TOY.encoder).movie_ids == after["movie_id"].to_list()
    assert weights(root) == models


# -- what goes wrong ---------------------------------------------------------------------------------------


def test_killed_runs_publish_nothing_by_halves_and_the_next_one_ends_where_it_should(
    unassisted: Built, retrieved: Built, rated: Path, home: Path, copied: Copied
) -> None:
    root = copied(unassisted.root, "killed")
    shutil.rmtree(root / "files" / RETRIEVERS["lrurec"].name)
    before = {name: published for name, (published, _) in of_the_stage(root).items()}
    options = (*AGAIN, "--stand-in", "--sources", rated, "--warehouse", root)

    # A training that dies takes its step down, and what follows from it; the others go on.
    command = Command(*options, home=home, **TRAINING)
    command.until("  train lrurec ...")
    os.kill(training_of(command), signal.SIGKILL)
    done = command.wait(TRAINING_PATIENCE_S)
    assert done.code == 1, done
    assert "train_lrurec: " in done.err and "models.train ended with code -9" in done.err, done
    assert {name: published for name, (published, _) in of_the_stage(root).items()} == before

    # A run that dies takes its training with it.
    command = Command(*options, home=home, **TRAINING)
    command.until("  train lrurec ...")
    training = training_of(command)
    command.kill()
    wait_for(lambda: not Path(f"/proc/{training}").exists() or "(zombie)" in status_of(training))
    assert {name: published for name, (published, _) in of_the_stage(root).items()} == before

    command = Command(*options, home=home, **TRAINING)
    assert command.until("  rerank ...")
    time.sleep(0.2)
    command.kill()

    done = Command(*options, home=home, **TRAINING).wait(TRAINING_PATIENCE_S)
    assert done.code == 0, done
    assert weights(root) == weights(retrieved.root)
    assert [name for name in STAGE if not rows(root, name).equals(rows(retrieved.root, name))] == []


def training_of(command: Command) -> int:
    """The process that the command trains in, once there is one."""
    wait_for(lambda: bool(children(command.pid)))
    (child,) = children(command.pid)
    return child


def status_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/status").read_text()
    except OSError:
        return "(zombie)"


def wait_for(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + TRAINING_PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_damaged_files_of_a_model_are_named_and_nothing_is_overwritten(retrieved: Built, copied: Copied) -> None:
    root = copied(retrieved.root, "damaged")
    warehouse = Warehouse(root)
    path = root / warehouse.read(RETRIEVERS["sasrec"].name)["path"][0]
    before = of_the_stage(root)
    for name in ("weights.safetensors", "summary.json"):
        file = path / name
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(FileError, match=f"{file}: is damaged.*remove .*{path.name}"):
            build_retriever(warehouse, "sasrec", TOY, silent, never)
        assert file.read_bytes() == whole[: len(whole) // 2]
        file.write_bytes(whole)
    weight = path / "weights.safetensors"
    weight.rename(path / "elsewhere")
    with pytest.raises(FileError, match=f"{weight}: cannot be read"):
        build_retriever(warehouse, "sasrec", TOY, silent, never)
    (path / "elsewhere").rename(weight)

    log = path / "metrics.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"metrics\.jsonl"):
        build_training_log(warehouse)
    assert of_the_stage(root) == before


def test_a_damaged_index_is_named_and_built_again(retrieved: Built, copied: Copied) -> None:
    root = copied(retrieved.root, "index")
    warehouse = Warehouse(root)
    file = root / warehouse.read("ml_item_index")["path"][0]
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    with pytest.raises(FileError, match=str(file)):
        open_item_index(warehouse, TOY.encoder)
    told: list[str] = []
    build_item_index(warehouse, [TOY.encoder], False, told.append)
    assert any("is indexed again" in text and str(file) in text for text in told)
    assert file.read_bytes() == whole


def test_damaged_training_files_are_named(retrieved: Built, copied: Copied) -> None:
    root = copied(retrieved.root, "folder")
    warehouse = Warehouse(root)
    folder, _ = training_data(warehouse, DIALOGUES, DIALOGUES, TOY, silent)
    file = folder / "sequences.parquet"
    file.write_bytes(file.read_bytes()[:-5])
    shutil.rmtree(root / "files" / RETRIEVERS["lrurec"].name)
    with pytest.raises(ProcessFailed, match=str(file)):
        build_retriever(warehouse, "lrurec", TOY, silent, partial(launch, environment={**os.environ, **TRAINING}))
    assert not weights(root).keys() & {
        row["path"] for row in warehouse.read("ml_retriever_lrurec").to_dicts() if row["stage"] == "dialogues"
    }


# -- what is not there -------------------------------------------------------------------------------------


def test_without_a_language_model_there_is_everything_but_what_it_makes(unassisted: Built) -> None:
    warehouse = Warehouse(unassisted.root)
    assert [name for name in STAGE if warehouse.published(name) is None] == []
    assert [name for name in STAGE if not warehouse.rows(name)] == BY_MODEL
    assert set(warehouse.read("ml_rankings")["system"]) == {*RETRIEVERS, *BASELINES}
    assert not warehouse.read("eval_ranking")["is_stand_in"].any()


def test_catalogues_alone_give_empty_tables(catalogues: Built) -> None:
    warehouse = Warehouse(catalogues.root)
    assert [name for name in STAGE if warehouse.published(name) is None] == []
    assert [name for name in STAGE if warehouse.rows(name)] == ["report_retrieval"]
    assert "skipped: there are neither ratings nor dialogues with films to train on" in catalogues.done.err
    assert not list(catalogues.root.glob("files/*/*/weights.safetensors"))


def test_a_language_model_that_talks_nonsense_makes_no_list_and_stops_nothing(
    unassisted: Built, rated: Path, home: Path, copied: Copied
) -> None:
    root = copied(unassisted.root, "nonsense")
    with StandIn(Faults(shares={"malformed": 0.5, "off_schema": 0.5})) as stand_in:
        environ = {**stand_in_environment(stand_in.base_url), **TRAINING}
        done = Command(*AGAIN, "--sources", rated, "--warehouse", root, home=home, **environ).wait(TRAINING_PATIENCE_S)
    assert done.code == 0, done
    warehouse = Warehouse(root)
    # What was not answered is asked again by the next run; sets without a label need no answer.
    assert set(warehouse.read("llm_rankings")["outcome"]) <= {"empty", "no_answer"}
    assert set(warehouse.read("rl_rewards")["outcome"]) <= {"no_label", "empty", "no_answer"}
    assert "so it is not aligned" in done.err
    assert [name for name in ALIGNED if warehouse.published(name) is None or warehouse.rows(name)] == []
    assert set(warehouse.read("ml_rankings")["system"]) == {*RETRIEVERS, *BASELINES}


def test_dialogues_without_held_out_ones_are_passed_over(home: Path, tmp_path: Path) -> None:
    sources = write_pack(tmp_path / "few", movies=60, seed=4, dialogues=1).out
    for folder in (sources / "conversations").iterdir():
        if folder.name != "redial":
            shutil.rmtree(folder)
    (sources / "conversations" / "redial" / "test_data.jsonl").unlink()
    for file in sources.glob("**/ratings.*"):
        file.unlink()
    root = tmp_path / "w"
    groups = ("--only", "raw,core,dialogues,items,retrieval,eval")
    done = Command("run", *groups, "--sources", sources, "--warehouse", root, home=home, **TRAINING).wait()
    assert done.code == 0, done
    warehouse = Warehouse(root)
    assert warehouse.rows("core_rec_turns") > 0
    assert warehouse.rows(ML_RANKINGS.name) == 0


# -- by hand -----------------------------------------------------------------------------------------------


def marquee(*arguments: object) -> Result:
    return CliRunner().invoke(
        main, [str(argument) for argument in arguments], env={**TRAINING, "MARQUEE_SOURCES": None}
    )


def test_a_release_and_the_folder_made_of_it_give_the_same_weights(
    retrieved: Built, copied: Copied, tmp_path: Path
) -> None:
    root, one, other = copied(retrieved.root, "w"), tmp_path / "one", tmp_path / "other"
    done = marquee("train", "lrurec", *SHORT, "--data", RELEASE, "--out", one, "--warehouse", root)
    assert done.exit_code == 0, done.output
    said = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert said["model"] == str(one)
    assert float(said["validation_value"]) == json.loads((one / "summary.json").read_text())["validation_value"]
    folder = Path(json.loads((tmp_path / "one.json").read_text())["data"])
    assert folder.is_relative_to(root)
    done = marquee("train", "lrurec", *SHORT, "--data", folder, "--out", other, "--warehouse", tmp_path / "nowhere")
    assert done.exit_code == 0, done.output
    assert (one / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()

    # Another configuration does not overwrite it.
    whole = (one / "weights.safetensors").read_bytes()
    done = marquee("train", "lrurec", *SHORT, "--seed", 7, "--data", folder, "--out", one)
    assert done.exit_code == 1
    assert "holds a finished model of another configuration (seed)" in done.output
    assert (one / "weights.safetensors").read_bytes() == whole


def test_tuning_starts_from_another_model(retrieved: Built, copied: Copied, tmp_path: Path) -> None:
    root = copied(retrieved.root, "w")
    rows = Warehouse(root).read("ml_retriever_lrurec").filter(pl.col("stage") == "sessions")
    start = root / rows["path"][0]
    out = tmp_path / "tuned"
    done = marquee("train", "lrurec", *SHORT, "--from", start, "--out", out, "--warehouse", root)
    assert done.exit_code == 0, done.output
    config = json.loads((out / "config.json").read_text())
    assert config["init_from"] == {"weights_sha256": rows["sha256"][0]}
    assert config["dataset"] == "dialogues"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("lstm",), 2, "'lstm' is not one of"),
        (("lrurec", "--preset", "huge"), 2, "'huge' is not one of"),
        (("lrurec", "--data", "ml-1m"), 2, "'ml-1m' is neither a folder nor in the warehouse, which has: ml-latest-small, dialogues"),
        (("lrurec", "--set", "training.max_epochs"), 2, "say model.KEY=VALUE or training.KEY=VALUE"),
        (("lrurec", "--preset", "tiny", "--set", "training.epochs=1"), 1, "epochs"),
        (("lrurec", "--preset", "tiny", "--data", "."), 1, "manifest.json"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_said_in_words(
    retrieved: Built, copied: Copied, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    root, out = copied(retrieved.root, "w"), tmp_path / "out"
    done = marquee("train", *arguments, "--out", out, "--warehouse", root)
    assert (done.exit_code, words in done.output) == (code, True), done.output
    assert isinstance(done.exception, SystemExit), done.exc_info
    assert not list(out.glob("weights*"))


def test_an_empty_warehouse_has_nothing_to_train_on(tmp_path: Path) -> None:
    for data in ("dialogues", RELEASE):
        done = marquee("train", "gru4rec", "--data", data, "--out", tmp_path / "out", "--warehouse", tmp_path / "w")
        assert isinstance(done.exception, SystemExit), done.exc_info
        assert done.exit_code in (1, 2), done.output
        assert done.output.strip()


def test_catalogues_alone_are_nothing_to_train_on(catalogues: Built, copied: Copied, tmp_path: Path) -> None:
    root = copied(catalogues.root, "w")
    done = marquee("train", "gru4rec", "--out", tmp_path / "out", "--warehouse", root)
    assert isinstance(done.exception, SystemExit), done.exc_info
    assert done.exit_code == 1
    assert "no training sequence in the warehouse" in done.output


def titles(root: Path) -> list[str]:
    """The two films most often rated, as one would type them."""
    warehouse = Warehouse(root)
    counts = warehouse.read("core_sessions", ["movie_id"]).drop_nulls().group_by("movie_id").len()
    films = warehouse.read("core_movies", ["movie_id", "title", "year"]).drop_nulls()
    most = counts.join(films, on="movie_id").sort("len", "movie_id", descending=[True, False]).head(2)
    return [f"{title} ({year})" for title, year in most.select("title", "year").iter_rows()]


def recommended(root: Path, *arguments: object) -> tuple[list[dict], str]:
    done = marquee("recommend", *arguments, "--format", "json", "--warehouse", root)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


def test_recommending_by_titles_and_by_text(retrieved: Built) -> None:
    root, liked = retrieved.root, titles(retrieved.root)
    by_model, notes = recommended(root, "; ".join(liked), "-k", 5)
    assert len(by_model) == 5
    assert "answered by lrurec" in notes and "dialogues" in notes
    assert not {f"{film['title']} ({film['year']})" for film in by_model} & {*liked}
    scores = [film["score"] for film in by_model]
    assert scores == sorted(scores, reverse=True)

    aligned, notes = recommended(root, "; ".join(liked), "-k", 5, "--retriever", "rar_grpo")
    assert "answered by rar_grpo" in notes and len(aligned) == 5
    by_text, notes = recommended(root, "a quiet drama about a family by the sea", "-k", 3)
    assert "answered from the index" in notes and len(by_text) == 3


def test_wrong_wishes_are_answered_in_words(retrieved: Built) -> None:
    for arguments, words in (
        (("No Such Film At All; Neither Is This One",), "no film is called"),
        ((titles(retrieved.root)[0], "--retriever", "lstm"), "there is no retriever lstm"),
        (("",), "say what you like"),
    ):
        done = marquee("recommend", *arguments, "--warehouse", retrieved.root)
        assert isinstance(done.exception, SystemExit), done.exc_info
        assert words in done.output
