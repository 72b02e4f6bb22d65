"""From files to the published catalogue: `marquee run` on a synthetic pack, its time and the memory of its whole process tree.

    python benchmarks/bench_build.py [--movies N | --pack DIR]

Making the pack is not counted. The clock starts with the process, imports included, and is read when a version of core_movies is
published and when the process has ended (evaluation included).
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from assets.groups import GROUPS
from benchmarks.agreement import agreement
from benchmarks.machine import GB, PROJECT, Cost, Target, environment, machine, print_line, tell, watch
from pipelines.synth.pack import TRUTH, write_pack
from warehouse.catalog import PUBLISHED_FILE, read_published
from warehouse.store import Warehouse

MOVIES = 337_731
_STEP = re.compile(r"^[✓✗] (?P<step>\S.*?) +(?P<seconds>\d+\.\d) s$")
_FILMS = "core_movies"
_UNTRAINED = ",".join(name for name in GROUPS if name != "retrieval")


@dataclass(frozen=True)
class Ran:
    """A measured `marquee` command: its cost, and when it published a version of core_movies (None when it did not)."""

    cost: Cost
    published_s: float | None

    def figures(self) -> dict[str, object]:
        """The figures as they are printed."""
        return {
            "seconds_to_core_movies": None if self.published_s is None else round(self.published_s, 2),
            "seconds": round(self.cost.seconds, 2),
            "cpu_seconds": round(self.cost.cpu_seconds, 2),
            "step_seconds": steps(self.cost),
            "peak_memory_tree_gb": round(self.cost.peak_tree_bytes / GB, 2),
            "peak_memory_process_gb": round(self.cost.peak_process_bytes / GB, 2),
        }


def steps(cost: Cost) -> dict[str, float]:
    """Seconds of each step, as the command itself tells them."""
    found = (_STEP.match(line) for _, line in cost.lines)
    return {match["step"]: float(match["seconds"]) for match in found if match}


def _published(root: Path) -> int | None:
    entry = read_published(root).tables.get(_FILMS)
    return None if entry is None else entry.version


def _noticing(root: Path) -> tuple[Callable[[float], None], list[float]]:
    """A sampler that notes when another version of core_movies than now is published, and where it notes it."""
    file, before = root / PUBLISHED_FILE, _published(root)
    at: list[float] = []
    seen: list[int] = []

    def sample(seconds: float) -> None:
        if at or not file.exists() or (changed := file.stat().st_mtime_ns) in seen[-1:]:
            return
        seen.append(changed)
        if _published(root) != before:
            at.append(seconds)

    return sample, at


def marquee(command: str, sources: Path, root: Path, home: Path, only: str | None = None) -> Ran:
    """Run `marquee run` or `marquee refresh` in a process and watch it; dagster's files go to `home`.

    Without `only` that is everything but training, and films are embedded that are rated or talked about: both have benchmarks of their own.
    """
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(PROJECT / "dagster.yaml", home)
    sample, at = _noticing(root)
    line = [sys.executable, "-m", "assets.cli", command, "--sources", sources, "--warehouse", root]
    if command == "run":
        line += ["--only", only or _UNTRAINED]
    cost = watch(line, environment(home, MARQUEE_EMBED="used"), sample)
    return Ran(cost, at[0] if at else None)


def add_pack_options(parser: argparse.ArgumentParser, default: int | None = MOVIES) -> None:
    """Give a benchmark the options that say which pack it measures."""
    pack = parser.add_mutually_exclusive_group()
    pack.add_argument("--movies", type=int, default=default, help=f"films in the synthetic pack ({MOVIES:,})")
    pack.add_argument("--pack", type=Path, help="a pack that `marquee synth` has written, instead of making one")


def made_pack(options: argparse.Namespace, folder: Path) -> Path:
    """The pack to measure."""
    if options.pack is not None:
        return options.pack.absolute()
    return write_pack(folder / "pack", movies=options.movies, progress=tell).out


def with_truth(records: pl.DataFrame, pack: Path) -> pl.DataFrame:
    """Add `film`, the truth of a pack, to records (source, source_id); one that the pack does not know is a film of its own."""
    truth = pl.read_parquet(pack / TRUTH / "records.parquet", columns=["source", "source_id", "film"])
    own = -1 - pl.int_range(pl.len(), dtype=pl.Int64)
    return records.join(truth, on=["source", "source_id"], how="left", maintain_order="left").with_columns(
        pl.col("film").cast(pl.Int64).fill_null(own)
    )


def quality(root: Path, pack: Path) -> dict[str, object]:
    """Precision and recall of the published links of all sources, ids visible."""
    links = Warehouse(root).read("core_movie_links", ["source", "source_id", "movie_id"])
    # Names that conversations state are no records of the pack's truth.
    known = pl.read_parquet(pack / TRUTH / "records.parquet", columns=["source"])["source"].unique()
    links = with_truth(links.filter(pl.col("source").is_in(known.implode())), pack)
    return {
        "truth": "the pack's own; all catalogues, ids visible",
        **agreement(links["film"].to_numpy(), links["movie_id"].rank("dense").to_numpy()),
    }


def size(root: Path) -> dict[str, object]:
    """What a warehouse holds."""
    warehouse = Warehouse(root)
    accounting = warehouse.read("meta_row_accounting")
    return {
        "sources": accounting["source"].n_unique(),
        "files": accounting["file"].n_unique(),
        "rows": int(accounting["rows_in"].sum()),
        "records": warehouse.rows("core_title_records"),
        "films": warehouse.rows(_FILMS),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_pack_options(parser)
    options = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="marquee-bench-") as temporary:
        folder = Path(temporary)
        pack, root = made_pack(options, folder), folder / "warehouse"
        where = machine()
        ran = marquee("run", pack, root, folder / "home")
        figures = {**size(root), **ran.figures(), "quality": quality(root, pack)}
    published_s = None if ran.published_s is None else round(ran.published_s, 2)
    targets = [
        Target("seconds_to_core_movies", published_s, 120),
        Target("peak_memory_tree_gb", round(ran.cost.peak_tree_bytes / GB, 2), 4),
    ]
    what = f"marquee run from files to published catalogue; the targets hold for {MOVIES:,} films on 2 cores"
    print_line("build", what, figures, targets, where)


if __name__ == "__main__":
    main()
