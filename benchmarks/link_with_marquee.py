"""Links records as the corpus does and says what it cost: one side of `bench_linking.py`, in a process of its own.

    python -m benchmarks.link_with_marquee RECORDS.parquet OUT.parquet

RECORDS: core_title_records. OUT: record_id, movie_id. Prints a JSON object: seconds and memory.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import polars as pl

from benchmarks.machine import own_peak_bytes
from pipelines.linking.link import COLUMNS, link


def main(source: Path, out: Path) -> None:
    """Link, and write what came of it."""
    records = pl.read_parquet(source, columns=list(COLUMNS))
    started, cpu = time.perf_counter(), time.process_time()
    nobody = pl.DataFrame(schema={"record_id": pl.Int64, "movie_id": pl.String})
    linked = link(records, nobody, pl.Series("movie_id", [], dtype=pl.String))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    peak = own_peak_bytes()
    linked.links.select("record_id", "movie_id").write_parquet(out)
    print(
        json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak, "pairs": linked.pairs.height})
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
