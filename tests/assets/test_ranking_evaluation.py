"""From training folders to figures: rankings as rows, what is done again and what is not, and the checks on all of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.build.ranking_evaluation import build_ranking_evaluation
from assets.build.rankings import (
    RankRun,
    UnusableRanking,
    baseline_runs,
    build_rankings,
    make_rankings,
    output,
    rank_config,
    rows_of,
)
from assets.build.tables import Tell
from models import rank
from warehouse.quality.run import audit, cross_checks, over
from warehouse.quality.suites.ranking_evaluation import SUITES
from warehouse.store import Warehouse
from warehouse.tables.dialogues import CORE_DIALOGUES
from warehouse.tables.ranking_evaluation import EVAL_RANKING, EVAL_RANKING_TESTS
from warehouse.tables.retrieval import ML_RANKINGS

SUITE = {suite.table.name: suite for suite in SUITES}
INTS = pa.list_(pa.int32())
ITEMS = 150


def silent(text: str) -> None:
    pass


def write_data(folder: Path, seed: int = 0, turns: int = 60) -> Path:
    """A training folder of dialogues with chance films: 150 films, of which the first are the most frequent."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    draw = lambda size: random.choice(ITEMS, size, replace=False, p=_POPULARITY).tolist()  # noqa: E731
    sequences = [{"sequence_id": f"s{n}", "items": draw(4), "first_target": 3} for n in range(200)]
    examples = []
    for number in range(turns):
        history, labels = draw(number % 4), draw(1 + number % 3)
        repeats = [label in history for label in labels]
        name = f"{'redial' if number % 3 else 'inspired'}-{number // 4}"
        examples.append(
            {
                "example_id": f"{name}:{number}",
                "cluster_id": name,
                "position": number % 20,
                "history": history,
                "labels": labels,
                "are_repeats": repeats,
            }
        )
    counts = np.bincount([each["items"][-1] for each in sequences], minlength=ITEMS)
    pq.write_table(
        pa.table(
            {
                "item": pa.array(range(ITEMS), pa.int32()),
                "movie_id": [f"mv{n:016x}" for n in range(ITEMS)],
                "count": counts,
            }
        ),
        folder / "items.parquet",
    )
    kinds = pa.schema([("sequence_id", pa.string()), ("items", INTS), ("first_target", pa.int32())])
    pq.write_table(pa.Table.from_pylist(sequences, schema=kinds), folder / "sequences.parquet")
    pq.write_table(
        pa.Table.from_pylist(examples, schema=pa.schema(list(rank.EXAMPLE_COLUMNS.items()))), folder / "test.parquet"
    )
    manifest = {"dataset": "dialogues", "setting": "dialogues", "data_hash": f"{seed:064x}"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


_POPULARITY = 1 / np.arange(1, ITEMS + 1)
_POPULARITY /= _POPULARITY.sum()


class Launcher:
    """Runs models.rank in this process and counts."""

    def __init__(self) -> None:
        self.systems: list[str] = []

    def __call__(self, module: str, config: Path, tell: Tell) -> None:
        assert module == "models.rank"
        self.systems += [run.get("baseline", "model") for run in json.loads(config.read_text())["runs"]]
        assert rank.main(["--config", str(config)]) == 0


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path / "warehouse")
    dialogues = [
        {
            "dialogue_id": f"{name}-1",
            "dataset": name,
            "source_id": "1",
            "conversation_id": "1",
            "domain": "film",
            "split": "test",
            "splits_stated": [],
            "turns": 1,
            "file": f"{name}/test.jsonl",
            "line": 1,
            "content_hash": 1,
        }
        for name in ("redial", "inspired")
    ]
    made.write(CORE_DIALOGUES, pl.DataFrame(dialogues, schema_overrides={"splits_stated": pl.List(pl.String)}))
    made.publish([CORE_DIALOGUES.name])
    return made


def built(warehouse: Warehouse, runs: list[RankRun], full: bool = False) -> Any:
    made = build_rankings(warehouse, runs, full, silent)
    warehouse.publish({commit.table: commit.version for commit in made.commits})
    return made


def evaluated(warehouse: Warehouse, full: bool = False) -> Any:
    made = build_ranking_evaluation(warehouse, full, silent)
    warehouse.publish({commit.table: commit.version for commit in made.commits})
    return made


def test_from_training_folder_to_figures(warehouse: Warehouse, tmp_path: Path) -> None:
    runs, launch = baseline_runs(write_data(tmp_path / "data")), Launcher()
    assert make_rankings(warehouse, runs, silent, launch) == 4
    assert built(warehouse, runs).counts["systems ranked anew"] == 4
    rows = warehouse.read(ML_RANKINGS.name)
    assert rows.height == 4 * 60 and set(rows["dataset"]) == {"redial", "inspired"}
    # Films stand under their ids, in the order of the lists.
    data = pq.read_table(tmp_path / "data" / "test.parquet").to_pylist()
    one = rows.filter(system="random", example_id=data[5]["example_id"]).row(0, named=True)
    assert one["history"] == [f"mv{n:016x}" for n in data[5]["history"]]
    assert one["labels"] == [f"mv{n:016x}" for n in data[5]["labels"]]
    made = evaluated(warehouse)
    numbers = warehouse.read(EVAL_RANKING.name)
    assert made.counts["figures"] == numbers.height > 0
    assert set(numbers["dataset_files"].explode()) == {"redial/test.jsonl", "inspired/test.jsonl"}
    # Random ranks as chance does, within four times the reach of its interval.
    random = numbers.filter(
        system="random", protocol="full_masked", metric="recall", k=50, slice="all", dataset="redial"
    )
    reach = (random["high"] - random["low"]).item()
    assert abs(random["value"] - random["chance"]).item() < 2 * reach


def test_nothing_is_done_twice(warehouse: Warehouse, tmp_path: Path) -> None:
    runs, launch = baseline_runs(write_data(tmp_path / "data")), Launcher()
    make_rankings(warehouse, runs, silent, launch)
    built(warehouse, runs)
    evaluated(warehouse)
    assert make_rankings(warehouse, runs, silent, launch) == 0 and len(launch.systems) == 4
    again = built(warehouse, runs)
    assert again.counts["systems ranked anew"] == 0 and not again.commits[0].changed
    assert not any(commit.changed for commit in evaluated(warehouse).commits)
    # A full build computes the same again.
    assert not built(warehouse, runs, full=True).commits[0].changed
    assert not any(commit.changed for commit in evaluated(warehouse, full=True).commits)


def test_other_data_is_ranked_again_and_systems_that_are_gone_are_taken_out(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    launch, data = Launcher(), write_data(tmp_path / "data")
    runs = baseline_runs(data)
    make_rankings(warehouse, runs, silent, launch)
    built(warehouse, runs)
    before = output(warehouse, runs[0])
    write_data(tmp_path / "data", seed=1)
    assert output(warehouse, runs[0]) != before
    kept = runs[:3]
    assert make_rankings(warehouse, kept, silent, launch) == 3
    made = built(warehouse, kept)
    assert made.counts["systems ranked anew"] == 3
    rows = warehouse.read(ML_RANKINGS.name)
    assert set(rows["system"]) == {run.system for run in kept} and set(rows["data_hash"]) == {f"{1:064x}"}


def test_no_systems_give_empty_tables(warehouse: Warehouse) -> None:
    assert built(warehouse, []).commits[0].rows == 0
    assert evaluated(warehouse).counts == {"figures": 0, "tests": 0}
    for table in (ML_RANKINGS, EVAL_RANKING, EVAL_RANKING_TESTS):
        outcomes = audit(SUITE[table.name], warehouse.read(table.name))
        assert not [each.check for each in outcomes if each.is_blocking]


def test_files_of_other_data_and_damaged_ones_are_refused(warehouse: Warehouse, tmp_path: Path) -> None:
    run = baseline_runs(write_data(tmp_path / "data"))[1]
    make_rankings(warehouse, [run], silent, Launcher())
    path = output(warehouse, run)
    write_data(tmp_path / "data", seed=1)
    with pytest.raises(UnusableRanking, match="other data"):
        rows_of(path, run)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UnusableRanking, match=r"rankings\.parquet: cannot be read"):
        rows_of(path, run)
    with pytest.raises(UnusableRanking, match="cannot be read"):
        built(warehouse, baseline_runs(write_data(tmp_path / "data")))
    assert warehouse.published(ML_RANKINGS.name) is None


def test_configurations_name_what_ranks(tmp_path: Path) -> None:
    out = tmp_path / "r.parquet"
    trained = RankRun("lrurec", 123, tmp_path / "data", model=tmp_path / "model", model_id="a" * 16)
    assert rank_config(trained, out)["model"] == str(tmp_path / "model")
    assert rank_config(RankRun("markov", 0, tmp_path / "data"), out)["baseline"] == "markov"
    with pytest.raises(ValueError, match="no baseline"):
        RankRun("lrurec", 123, tmp_path / "data")
    with pytest.raises(ValueError, match="come together"):
        RankRun("lrurec", 123, tmp_path / "data", model=tmp_path / "model")


# -- checks ----------------------------------------------------------------------------------------------------

Frames = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    folder = tmp_path_factory.mktemp("sound")
    store, runs = Warehouse(folder / "warehouse"), baseline_runs(write_data(folder / "data"))
    dialogues = pl.DataFrame({"dialogue_id": ["redial-1", "inspired-1"]}).with_columns(
        *(pl.lit("1").alias(name) for name in ("source_id", "conversation_id")),
        *(pl.lit(1).alias(name) for name in ("turns", "line", "content_hash")),
        dataset=pl.col("dialogue_id").str.head(-2),
        domain=pl.lit("film"),
        split=pl.lit("test"),
        splits_stated=pl.lit([], dtype=pl.List(pl.String)),
        file=pl.lit("a/test.jsonl"),
    )
    store.write(CORE_DIALOGUES, dialogues)
    store.publish([CORE_DIALOGUES.name])
    make_rankings(store, runs, silent, Launcher())
    built(store, runs)
    evaluated(store)
    return {table.name: store.read(table.name) for table in (ML_RANKINGS, EVAL_RANKING, EVAL_RANKING_TESTS)}


def wrong(frames: Frames, known: Frames | None = None) -> set[str]:
    """Names of all checks that do not pass: expectations on tables that are other than `known`, and queries over all of them."""
    failed = {
        each.check
        for name, frame in frames.items()
        if known is None or frame is not known[name]
        for each in audit(SUITE[name], frame)
        if each.status != "passed"
    }
    with over(frames) as query:
        for check in cross_checks([]):
            if check.table in frames and set(check.needs) <= set(frames) and query(check.sql).height:
                failed.add(check.name)
    return failed


def put(name: str, column: str, value: Any, where: Any = None) -> Callable[[Frames], Frames]:
    """Damage: `value` in `column` where it holds; in the first row if nothing is said."""

    def damage(frames: Frames) -> Frames:
        frame = frames[name]
        put_where = pl.int_range(pl.len()) == 0 if where is None else where
        new = value if isinstance(value, pl.Expr) else pl.lit(value, dtype=frame.schema[column])
        changed = pl.when(put_where).then(new).otherwise(pl.col(column)).cast(frame.schema[column]).alias(column)
        return {**frames, name: frame.with_columns(changed)}

    return damage


def without(name: str, where: pl.Expr) -> Callable[[Frames], Frames]:
    return lambda frames: {**frames, name: frames[name].filter(~where)}


def test_sound_tables_pass_every_check(sound: Frames) -> None:
    assert wrong(sound) == set()


IS_MAIN = (pl.col("slice") == "all") & (pl.col("system") == "markov") & (pl.col("protocol") == "full_masked")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (put("eval_ranking", "dataset_hash", ""), "number_has_its_passport"),
        (put("eval_ranking", "dataset_files", []), "number_has_its_passport"),
        (put("eval_ranking", "matcher", " "), "number_has_its_passport"),
        (put("eval_ranking", "protocol_version", None), "number_has_its_passport"),
        (put("eval_ranking", "seeds", []), "number_has_its_passport"),
        (put("eval_ranking", "is_baseline", False), "number_has_its_passport"),
        (put("eval_ranking", "is_baseline", False), "baselines_are_marked"),
        (put("eval_ranking", "chance", None), "chance_not_null"),
        (put("eval_ranking", "high", pl.col("value") - 0.01, pl.col("value") > 0.5), "value_in_interval"),
        (put("eval_ranking", "clusters", 10**6), "clusters_hold_units"),
        (put("eval_ranking", "is_stand_in", True), "language_model_is_named"),
        (without("eval_ranking", IS_MAIN), "baselines_stand_beside"),
        (
            put("eval_ranking", "value", 0.9, IS_MAIN & (pl.col("metric") == "ndcg") & (pl.col("k") == 10)),
            "figures_are_feasible",
        ),
        (
            put(
                "eval_ranking",
                "value",
                0.0,
                IS_MAIN & pl.col("metric").is_in(["recall", "hit_rate"]) & (pl.col("k") == 50),
            ),
            "figures_grow_with_k",
        ),
        (put("eval_ranking_tests", "difference", 0.5), "tests_agree_with_figures"),
        (put("eval_ranking_tests", "difference", 0.5), "difference_in_interval"),
        (put("eval_ranking_tests", "p_holm", 0.0, pl.col("p_value") > 0.1), "correction_never_helps"),
        (put("eval_ranking_tests", "other", pl.col("system")), "two_systems"),
        (put("ml_rankings", "system", "lrurec"), "every_ranking_is_judged"),
        (without("ml_rankings", pl.int_range(pl.len()) == 0), "systems_rank_the_same_examples"),
        (put("ml_rankings", "train_counts", []), "a_place_for_each_label"),
        (put("ml_rankings", "ranks_all", pl.lit([0])), "places_are_in_the_pool"),
        (put("ml_rankings", "ranks_uniform", pl.lit([101])), "places_are_in_the_pool"),
        (put("ml_rankings", "ranks_masked", pl.lit([149]), pl.col("ranks_all").list.max() < 100), "masking_moves_up"),
        (put("ml_rankings", "history", pl.col("labels"), ~pl.col("are_repeats").list.any()), "repeats_are_in_history"),
    ],
)
def test_damage_fails_the_check_that_is_meant_for_it(
    sound: Frames, damage: Callable[[Frames], Frames], expected: str
) -> None:
    assert expected in wrong(damage(sound), sound)


def test_the_models_order_needs_the_retrievers_beside_it(sound: Frames) -> None:
    one = sound["eval_ranking"].filter(IS_MAIN).head(1)
    own = one.with_columns(
        pool=pl.lit("llm_candidates"), system=pl.lit("lrurec"), seeds=pl.lit([42], dtype=pl.List(pl.Int32))
    )
    model = own.with_columns(system=pl.lit("lrurec+judge"), llm_model=pl.lit("judge"))
    rows = [frame.with_columns(number_id=pl.lit(f"{at:016}")) for at, frame in enumerate((own, model))]
    both = {**sound, "eval_ranking": pl.concat([sound["eval_ranking"], *rows])}
    alone = {**sound, "eval_ranking": pl.concat([sound["eval_ranking"], rows[1]])}
    assert "own_order_stands_beside" in wrong(alone, alone) and "own_order_stands_beside" not in wrong(both, both)
