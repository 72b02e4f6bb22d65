"""What a refresh costs next to a full build: nothing changed, 1 % of the records changed, as many changed in one catalogue.

    python benchmarks/bench_refresh.py [--movies N | --pack DIR] [--no-verify]

A pack is built in full; copies of that warehouse are then refreshed: with the same files; with 1 % of every catalogue's records
edited, removed or added, so that nearly every file must be read again; and with the same number of changed records in OMDb's
files alone. Shares are those of a full build without its evaluation, which a refresh leaves out, too. Then (unless --no-verify) full runs over the changed files show whether the tables are the same.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from benchmarks.bench_build import MOVIES, Ran, add_pack_options, made_pack, marquee, size, steps
from benchmarks.machine import Target, machine, print_line, tell
from pipelines.synth.churn import ChurnSummary, churn
from pipelines.synth.pack import TRUTH
from warehouse.store import Warehouse

SHARE = 0.01
ONE_CATALOGUE = "omdb"
MOST = 0.5  # of a catalogue's records can change
# A refresh leaves the evaluation of the linker as it is.
_NOT_REFRESHED, _EVALUATION = "eval_", "evaluate linking"
# Tables with when they were written in them, or what a run asked of the world: not the same twice by nature.
_OWN_TIMES = {"core_movie_id_history": "changed_at", "meta_source_files": "mtime_ns"}


def changed_records(summary: ChurnSummary, source: str | None = None) -> int:
    """How many records churn changed, in all catalogues or in one."""
    counts = (summary.edited, summary.removed, summary.added)
    return sum(number for each in counts for name, number in each.items() if source in (None, name))


def churned_alone(pack: Path, folder: Path, number: int) -> tuple[Path, int]:
    """A copy of the pack in which about `number` records of one catalogue changed; returns it and their number."""
    records = pl.read_parquet(pack / TRUTH / "records.parquet", columns=["source", "file"])
    own = records.filter(pl.col("source") == ONE_CATALOGUE)
    everywhere = churn(pack, folder / "everywhere", share=min(MOST, number / own.height))
    out = folder / "alone"
    shutil.copytree(pack, out, copy_function=shutil.copy2)
    for name in own["file"].unique():
        shutil.copy2(everywhere.out / name, out / name)
    shutil.rmtree(everywhere.out)
    return out, changed_records(everywhere, ONE_CATALOGUE)


def differing(root: Path, other: Path) -> list[str]:
    """Tables whose rows are not the same in both warehouses."""
    one, two = Warehouse(root), Warehouse(other)
    names = sorted({*one.names(), *two.names()})
    return [name for name in names if not name.startswith(_NOT_REFRESHED) and not _same(one, two, name)]


def _same(one: Warehouse, two: Warehouse, name: str) -> bool:
    if one.published(name) is None or two.published(name) is None:
        return one.published(name) is two.published(name)
    if one.rows(name) != two.rows(name):
        return False
    # As multisets: rows are hashed, lists included, and sorted by that.
    left, right = (
        each.read(name).drop(_OWN_TIMES.get(name, []), strict=False).hash_rows(seed=1).sort() for each in (one, two)
    )
    return left.equals(right)


def refreshed(base: Path, sources: Path, folder: Path, name: str) -> tuple[Ran, Path]:
    """Refresh a copy of the warehouse `base` from `sources`."""
    root = folder / name
    shutil.copytree(base, root)
    tell(f"refresh: {name}")
    return marquee("refresh", sources, root, folder / "home"), root


def verified(base: Path, sources: Path, folder: Path, root: Path) -> dict[str, object]:
    """Compare the refreshed warehouse `root` with a full run over the same sources; both end where `base` began."""
    whole = folder / "whole"
    shutil.copytree(base, whole)
    tell(f"full run, to compare with {root.name}")
    marquee("run", sources, whole, folder / "home", only="raw,core,dialogues,anno,pref")
    found = differing(root, whole)
    shutil.rmtree(whole)
    return {"is_equal_to_full_run": not found, "differing_tables": found}


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-verify", action="store_true", help="skip the full runs that show the tables to be equal")
    add_pack_options(parser)
    options = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="marquee-bench-") as temporary:
        folder = Path(temporary)
        pack, base = made_pack(options, folder), folder / "full"
        tell("changing records")
        everywhere = churn(pack, folder / "churned", share=SHARE)
        number = changed_records(everywhere)
        alone, number_alone = churned_alone(pack, folder, number)
        where = machine()
        tell("full build")
        full = marquee("run", pack, base, folder / "home")
        full_s = full.cost.seconds - steps(full.cost).get(_EVALUATION, 0.0)
        figures: dict[str, object] = {
            **size(base),
            "full_build": full.figures(),
            "full_build_without_evaluation_s": round(full_s, 2),
        }
        shares = {}
        for name, sources, changed in (
            ("nothing_changed", pack, 0),
            ("changed_everywhere", everywhere.out, number),
            ("changed_in_one_catalogue", alone, number_alone),
        ):
            ran, root = refreshed(base, sources, folder, name)
            shares[name] = round(ran.cost.seconds / full_s, 4)
            found: dict[str, object] = {
                "records_changed": changed, "share_of_full_build": shares[name], **ran.figures(),
            }  # fmt: skip
            if changed and not options.no_verify:
                found |= verified(base, sources, folder, root)
            figures[name] = found
            shutil.rmtree(root)
            if name == "nothing_changed":
                idle_s = round(ran.cost.seconds, 2)
    targets = [
        Target("nothing_changed.seconds", idle_s, 10),
        Target("changed_everywhere.share_of_full_build", shares["changed_everywhere"], 0.1),
        Target("changed_in_one_catalogue.share_of_full_build", shares["changed_in_one_catalogue"], 0.1),
    ]
    what = f"marquee refresh on a built warehouse; the targets hold for {MOVIES:,} films on 2 cores"
    print_line("refresh", what, figures, targets, where)


if __name__ == "__main__":
    main()
