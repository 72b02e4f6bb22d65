"""Whatever goes wrong in a run: readers see whole versions, and the next run ends where an undisturbed one would."""

from __future__ import annotations

import gzip
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from assets.contracts import all_contracts
from pipelines.sources.blocks import all_blocks
from tests.assets.commands import CORE, Command, checksum, content, differing, reading, versions
from tests.assets.conftest import Built
from warehouse.store import Warehouse

pytestmark = pytest.mark.slow
Copied = Callable[[Path, str], Path]

STEPS = ("read sources", "normalise", "link", "fuse")
# What is not made of catalogues has faults, and tests, of its own.
CORPUS = ("--only", "raw,core")


def _kill(steps: Sequence[str], options: tuple[object, ...], home: Path, seed: int) -> None:
    """Start the command once for each step, and kill it somewhere in that step or soon after."""
    moment = random.Random(seed)
    for step in steps:
        command = Command(*options, home=home)
        command.until(f"  {step} ...")
        time.sleep(moment.random() * 1.2)
        command.kill()


def test_killed_refreshes_show_readers_whole_versions_only_and_the_next_one_finishes(
    built: Built, refreshed: Built, churned: Path, home: Path, tmp_path: Path, copied: Copied
) -> None:
    root = copied(built.root, "killed")
    options = ("refresh", "--sources", churned, "--warehouse", root)
    with reading(root, tmp_path / "readers", readers=1, pause_s=0.02) as seen:
        _kill(STEPS, (*options, *CORPUS), home, seed=1)
        done = Command(*options, *CORPUS, home=home).wait()
    assert done.code == 0, done
    assert differing(root, refreshed.root) == []
    done = Command(*options, home=home).wait()
    assert done.code == 0, done
    assert differing(root, refreshed.root) == []
    assert set(seen) <= {checksum(built.root), checksum(refreshed.root)}
    assert checksum(refreshed.root) in seen
    assert Command(*options, home=home).wait().out == "nothing changed: the corpus is up to date\n"


def test_killed_first_runs_leave_nothing_in_the_way_of_the_next_one(
    built: Built, pack: Path, home: Path, tmp_path: Path
) -> None:
    root = tmp_path / "first"
    options = ("run", *CORPUS, "--sources", pack, "--warehouse", root)
    _kill(["normalise", "fuse"], options, home, seed=3)
    done = Command(*options, home=home).wait()
    assert done.code == 0, done
    assert differing(root, built.root) == []


def test_versions_that_a_killed_run_left_unpublished_do_not_leak_into_the_next_one(
    refreshed: Built, churned: Path, home: Path, copied: Copied
) -> None:
    root = copied(refreshed.root, "left")
    warehouse = Warehouse(root)
    names = (*CORE, "raw_omdb__titles", "meta_row_accounting")
    for name, table in all_contracts(all_blocks(churned)).items():
        if name in names:
            warehouse.merge(table, table.empty(), warehouse.read(name).head(20))
    assert all(published != latest for published, latest in (versions(root)[name] for name in names))
    assert checksum(root) == checksum(refreshed.root)
    options = (*CORPUS, "--sources", churned, "--warehouse", root)
    done = Command("refresh", *options, home=home).wait()
    assert done.code == 0, done
    assert differing(root, refreshed.root, [*CORE, "meta_row_accounting"]) == []
    assert checksum(root) == checksum(refreshed.root)


def test_two_refreshes_at_once_take_turns_while_a_dozen_readers_ask(
    built: Built, refreshed: Built, churned: Path, home: Path, tmp_path: Path, copied: Copied
) -> None:
    root = copied(built.root, "shared")
    with reading(root, tmp_path / "readers", readers=12, pause_s=3.0) as seen:
        options = (*CORPUS, "--sources", churned, "--warehouse", root)
        commands = [Command("refresh", *options, home=home) for _ in range(2)]
        both = [command.wait() for command in commands]
    assert [done.code for done in both] == [0, 0], both
    assert sum("waiting for another run" in done.err for done in both) == 1
    assert differing(root, refreshed.root) == []
    assert set(seen) == {checksum(built.root), checksum(refreshed.root)}
    # The second one found nothing left to do.
    assert {latest for _, latest in (versions(root)[name] for name in CORE)} == {1}


def _spoil(lines: list[bytes]) -> list[bytes]:
    """Turn 60 % of the lines below the header into rubbish."""
    chosen = set(random.Random(4).sample(range(1, len(lines)), round(0.6 * len(lines))))
    return [b"\x00\xfe rubbish" if number in chosen else line for number, line in enumerate(lines)]


def test_sources_with_corrupt_files_are_named_and_keep_their_versions_until_repaired(
    built: Built, pack: Path, home: Path, copied: Copied
) -> None:
    root, sources = copied(built.root, "spoilt"), copied(pack, "sources")
    cut, rubbish = sources / "omdb" / "omdb.csv.gz", sources / "ml-32m" / "movies.csv"
    whole = {path: path.read_bytes() for path in (cut, rubbish)}
    cut.write_bytes(whole[cut][: len(whole[cut]) // 2])
    rubbish.write_bytes(b"\n".join(_spoil(whole[rubbish].split(b"\n"))))
    before = versions(root)
    options = (*CORPUS, "--sources", sources, "--warehouse", root)

    done = Command("run", *options, home=home).wait()
    assert done.code == 1, done
    told = [line for line in done.err.splitlines() if line.startswith("✗ raw_")]
    by_source = {line.split()[1]: line for line in told}
    assert set(by_source) == {"raw_omdb__titles.readable:", "raw_movielens_32m__titles.readable:"}, done
    assert "omdb/omdb.csv.gz breaks off at line " in by_source["raw_omdb__titles.readable:"]
    spoilt = by_source["raw_movielens_32m__titles.readable:"]
    assert "ml-32m/movies.csv line " in spoilt
    assert "could not be read" in spoilt
    assert "what was published before stays published" in done.err
    assert "Traceback" not in done.err
    after = versions(root)
    kept = [*CORE, "raw_omdb__titles", "raw_movielens_32m__titles"]
    assert {name: after[name][0] for name in kept} == {name: before[name][0] for name in kept}
    assert differing(root, built.root) == []

    for path, data in whole.items():
        path.write_bytes(data)
    done = Command("refresh", *options, home=home).wait()
    assert done.code == 0, done
    assert differing(root, built.root) == []
    for name in ("meta_row_accounting", "meta_source_files", "raw_omdb__titles"):
        both = [content(each, name).drop("mtime_ns", strict=False) for each in (root, built.root)]
        assert both[0].equals(both[1]), name
    rejects = [Warehouse(each).read("raw_rejects").sort("source", "file", "line") for each in (root, built.root)]
    assert rejects[0].equals(rejects[1])


def test_source_whose_files_vanish_keeps_its_last_version_and_says_so(
    built: Built, pack: Path, home: Path, copied: Copied
) -> None:
    root, sources = copied(built.root, "gone"), copied(pack, "sources")
    (sources / "omdb" / "omdb.csv.gz").unlink()
    done = Command("refresh", *CORPUS, "--sources", sources, "--warehouse", root, home=home).wait()
    assert done.code == 0, done
    assert "omdb: its files are gone" in done.err
    assert Warehouse(root).published("raw_omdb__titles") == 0
    assert Warehouse(root).rows("raw_omdb__titles") > 0
    assert differing(root, built.root) == []


def test_runs_on_a_full_disk_fail_and_leave_everything_readable(
    built: Built, refreshed: Built, churned: Path, home: Path, copied: Copied
) -> None:
    root = copied(built.root, "full")
    options = ("refresh", *CORPUS, "--sources", churned, "--warehouse", root)
    # Too little for a table's file; enough for those, too little for the catalogue.
    for limit_bytes in (4_000, 200_000):
        done = Command(*options, home=home, file_limit_bytes=limit_bytes).wait()
        assert done.code == 1, done
        assert "✗ read_sources: " in done.err
        assert "what was published before stays published" in done.err
        assert checksum(root) == checksum(built.root)
        assert Command("tables", "--warehouse", root, home=home).wait().code == 0
    done = Command(*options, home=home).wait()
    assert done.code == 0, done
    assert differing(root, refreshed.root) == []
    assert checksum(root) == checksum(refreshed.root)


def test_first_run_over_garbage_only_fails_and_says_which_file(home: Path, tmp_path: Path) -> None:
    sources, root = tmp_path / "sources", tmp_path / "w"
    (sources / "ml-32m").mkdir(parents=True)
    (sources / "omdb").mkdir()
    (sources / "ml-32m" / "movies.csv").write_bytes(random.Random(5).randbytes(20_000))
    (sources / "omdb" / "omdb.csv.gz").write_bytes(gzip.compress(b"x")[:-4])
    done = Command("run", *CORPUS, "--sources", sources, "--warehouse", root, home=home).wait()
    assert done.code == 1, done
    assert "ml-32m/movies.csv" in done.err
    assert "omdb/omdb.csv.gz" in done.err
    assert "core_movies" not in Warehouse(root).names()
