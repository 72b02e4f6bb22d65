"""Measuring the linker on the records of the corpus."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from assets.build.tables import Built, Tell
from pipelines.evaluation.entity_resolution import evaluate
from pipelines.linking.link import COLUMNS
from pipelines.sources.blocks import SourceBlock
from warehouse.store import Warehouse
from warehouse.tables.corpus import EVAL_ENTITY_RESOLUTION, EVAL_UNCERTAIN_PAIRS
from warehouse.tables.titles import CORE_TITLE_RECORDS

# Ids of less reliable sources are guesses themselves (found by title search, or noisy): no truth to measure against.
_TRUSTED_FROM = 0.5

# The records on which other linkers have been measured, too; reported on their own where all of them are present.
YARDSTICK = ("movielens_32m", "omdb", "imdb_2010s", "movietweetings", "imdb_5000")


def build_evaluation(warehouse: Warehouse, blocks: Mapping[str, SourceBlock], tell: Tell) -> Built:
    """Link all records with a trusted IMDb id anew, with the ids hidden: eval_entity_resolution, eval_uncertain_pairs."""
    trusted = [name for name, block in blocks.items() if block.reliability >= _TRUSTED_FROM]
    records = (
        warehouse.scan(CORE_TITLE_RECORDS.name)
        .filter(pl.col("is_film") & pl.col("imdb_id").is_not_null() & pl.col("source").is_in(trusted))
        .select("title", *COLUMNS)
        .collect()
    )
    tell(f"linking {records.height:,} records with their ids hidden")
    measured = evaluate(
        records,
        f"ids hidden; truth: equal IMDb ids; sources: {', '.join(sorted(records['source'].unique()))}",
    )
    metrics = [measured.metrics]
    present = set(records["source"].unique())
    if present > set(YARDSTICK):
        some = records.filter(pl.col("source").is_in(YARDSTICK))
        tell(f"the same for the {some.height:,} records of the yardstick")
        yardstick = evaluate(some, f"ids hidden; truth: equal IMDb ids; sources: {', '.join(YARDSTICK)}").metrics
        metrics.append(yardstick.filter(pl.col("slice") == "all").with_columns(slice=pl.lit("yardstick")))
    return Built(
        (
            warehouse.write(EVAL_ENTITY_RESOLUTION, pl.concat(metrics)),
            warehouse.write(EVAL_UNCERTAIN_PAIRS, measured.uncertain),
        ),
        {"records judged": records.height},
    )
