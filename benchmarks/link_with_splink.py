"""Links records with Splink and says what it cost: the other side of `bench_linking.py`, in a process of its own.

    python -m benchmarks.link_with_splink RECORDS.parquet OUT.parquet

RECORDS: core_title_records with director_keys and cast_keys. OUT: a row a record, a column a threshold, the cluster at that
threshold. Prints a JSON object: seconds and memory of every threshold.

The settings are what somebody who knows both Splink and films would choose, on titles, names and genres that Marquee has
already normalised: six blocking rules (and one for each id, where ids are visible), weights of every field trained by EM without labels, rare titles counting more than
common ones. They were chosen for Splink's F1 on the real catalogues.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from benchmarks.machine import own_peak_bytes

if TYPE_CHECKING:
    from splink import Linker

# Match probabilities at which clusters are formed; the best one is chosen afterwards, with the truth in hand.
THRESHOLDS = (0.9999, 0.999, 0.99, 0.95, 0.9, 0.8, 0.72, 0.65, 0.58, 0.5, 0.4, 0.3, 0.2, 0.1, 0.03, 0.01)
IDS = ("imdb_id", "tmdb_id", "movielens_id", "wikidata_id", "wikipedia_slug")
SEED = 42


def features(records: pl.DataFrame) -> pl.DataFrame:
    """The columns that Splink is given; empty lists become nulls, which it takes for unknown."""
    lists = {"directors": "director_keys", "actors": "cast_keys", "genres": "genres"}
    people = [pl.when(pl.col(column).list.len() > 0).then(pl.col(column)).alias(name) for name, column in lists.items()]
    return records.select(
        "record_id",
        "source",
        "title_key",
        "year",
        "runtime_min",
        *IDS,
        *people,
        names=pl.concat_list(pl.concat_list("title_key"), "alias_keys", "part_keys").list.unique(),
        director=pl.col("director_keys").list.first(),
        actor=pl.col("cast_keys").list.first(),
    )


def linker(database: duckdb.DuckDBPyConnection, given: list[str]) -> Linker:
    """Splink's model; `given`: the id columns that hold anything."""
    import splink.comparison_level_library as levels
    import splink.comparison_library as comparisons
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    title = comparisons.CustomComparison(
        output_column_name="title",
        comparison_levels=[
            levels.NullLevel("title_key"),
            levels.ExactMatchLevel("title_key", term_frequency_adjustments=True),
            levels.CustomLevel("list_has_any(names_l, names_r)", label_for_charts="one title's other name"),
            levels.JaroWinklerLevel("title_key", 0.95),
            levels.JaroWinklerLevel("title_key", 0.9),
            levels.JaroWinklerLevel("title_key", 0.8),
            levels.ElseLevel(),
        ],
    )
    numbers = {"year": (0, 1, 2), "runtime_min": (1, 5, 15)}
    number_comparisons = [
        comparisons.CustomComparison(
            output_column_name=column,
            comparison_levels=[
                levels.NullLevel(column),
                *(levels.AbsoluteDifferenceLevel(column, difference_threshold=gap) for gap in gaps),
                levels.ElseLevel(),
            ],
        )
        for column, gaps in numbers.items()
    ]
    people = comparisons.CustomComparison(
        output_column_name="directors",
        comparison_levels=[
            levels.NullLevel("directors"),
            levels.ArrayIntersectLevel("directors", 1),
            levels.JaroWinklerLevel("director", 0.9),
            levels.ElseLevel(),
        ],
    )
    settings = SettingsCreator(
        link_type="dedupe_only",
        unique_id_column_name="record_id",
        comparisons=[
            title,
            *number_comparisons,
            people,
            comparisons.ArrayIntersectAtSizes("actors", [2, 1]),
            comparisons.ArrayIntersectAtSizes("genres", [2, 1]),
            comparisons.CustomComparison(
                output_column_name="source",
                comparison_levels=[levels.CustomLevel("source_l <> source_r"), levels.ElseLevel()],
            ),
            *(comparisons.ExactMatch(column) for column in given),
        ],
        blocking_rules_to_generate_predictions=[
            *(block_on(column) for column in given),
            block_on("title_key"),
            block_on("names", "year", arrays_to_explode=["names"]),
            block_on("substr(title_key, 1, 7)", "year"),
            block_on("director", "year"),
            block_on("director", "substr(title_key, 1, 4)"),
            block_on("actor", "year", "substr(title_key, 1, 2)"),
        ],
        retain_matching_columns=False,
    )
    api = DuckDBAPI(database)
    model = Linker(api.register("features"), settings, log_level=None)
    model.training.estimate_probability_two_random_records_match([block_on("title_key", "year")], recall=0.7)
    model.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=SEED)
    for rule in (block_on("title_key", "year"), block_on("director", "year")):
        model.training.estimate_parameters_using_expectation_maximisation(rule, max_pairs=1e6)
    return model


def main(source: Path, out: Path) -> None:
    """Link, and write what came of it."""
    records = features(pl.read_parquet(source))
    given = [column for column in IDS if records[column].null_count() < records.height]
    logging.getLogger("splink").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    database = duckdb.connect()
    started, cpu = time.perf_counter(), time.process_time()
    database.register("arriving", records)
    database.execute("CREATE TABLE features AS SELECT * FROM arriving")
    model = linker(database, given)
    trained_s = time.perf_counter() - started
    pairs = model.inference.predict(threshold_match_probability=min(THRESHOLDS))
    predicted_s, predicted_cpu_s = time.perf_counter() - started, time.process_time() - cpu
    print(f"trained in {trained_s:.1f} s, predicted after {predicted_s:.1f} s", file=sys.stderr)
    labels, costs = records.select("record_id"), {}
    for threshold in THRESHOLDS:
        started, cpu = time.perf_counter(), time.process_time()
        clusters = model.clustering.cluster_pairwise_predictions_at_threshold(pairs, threshold)
        # Each threshold answers for one clustering, as if it had been the only one.
        costs[str(threshold)] = {
            "seconds": predicted_s + time.perf_counter() - started,
            "cpu_seconds": predicted_cpu_s + time.process_time() - cpu,
            "peak_bytes": own_peak_bytes(),
        }
        found = clusters.as_duckdbpyrelation().pl().select("record_id", pl.col("cluster_id").alias(str(threshold)))
        labels = labels.join(found, on="record_id", how="left", maintain_order="left")
        clusters.drop_table_from_database_and_remove_from_cache()
    labels.write_parquet(out)
    print(json.dumps({"trained_s": trained_s, "predicted_s": predicted_s, "thresholds": costs}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
