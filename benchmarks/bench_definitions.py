"""What loading the code location costs on top of importing dagster: medians over fresh processes.

    python benchmarks/bench_definitions.py

Each process imports dagster, then assets.definitions, then resolves the asset graph, with an empty sources folder. A first process,
which may still compile bytecode and warm the disk cache, is not counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.machine import Target, environment, machine, print_line, tell, watch

PROCESSES = 5
_CODE = """
import json, time
times = [time.perf_counter()]
import dagster
times.append(time.perf_counter())
import assets.definitions
times.append(time.perf_counter())
assets.definitions.defs.resolve_asset_graph()
times.append(time.perf_counter())
names = ("dagster_s", "definitions_s", "asset_graph_s")
print(json.dumps(dict(zip(names, (b - a for a, b in zip(times, times[1:]))))))
"""


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)
    where = machine()
    with TemporaryDirectory(prefix="marquee-bench-") as temporary:
        folder = Path(temporary)
        env = environment(folder, MARQUEE_SOURCES=folder, MARQUEE_WAREHOUSE=folder / "warehouse")
        runs = []
        for number in range(PROCESSES + 1):
            tell(f"process {number} of {PROCESSES}")
            runs.append(json.loads(watch([sys.executable, "-c", _CODE], env).out))
    counted = runs[1:]
    figures: dict[str, object] = {name: round(median(run[name] for run in counted), 3) for name in counted[0]}
    figures["processes"] = PROCESSES
    figures["definitions_s_all"] = [round(run["definitions_s"], 3) for run in counted]
    target = Target("definitions_s", float(str(figures["definitions_s"])), 1.0)
    what = "import dagster; import assets.definitions on top of it; resolving the asset graph after that (medians, seconds)"
    print_line("definitions", what, figures, [target], where)


if __name__ == "__main__":
    main()
