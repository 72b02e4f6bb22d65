"""Killed writers and crowds of readers: what is published is always whole."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from warehouse import sql
from warehouse.contracts import Column, Table
from warehouse.store import Warehouse

REPO = Path(__file__).parents[2]

# Two tables published together, each a whole generation: generation g has 200 + g % 7 rows, all marked g.
LEFT = Table(
    name="core_left",
    meaning="",
    key=("id",),
    columns=(
        Column("id", pl.Int64, "", nullable=False),
        Column("generation", pl.Int64, "", nullable=False),
        Column("text", pl.String, ""),
    ),
)
RIGHT = Table(name="core_right", meaning="", key=LEFT.key, columns=LEFT.columns)
TABLES = {table.name: table for table in (LEFT, RIGHT)}

WRITER = """
import itertools, random, sys
from pathlib import Path
import polars as pl
sys.path.insert(0, sys.argv[2])
import test_store_crashes as shared
from warehouse import delta
from warehouse.store import Warehouse

store = Warehouse(Path(sys.argv[1]))
delta.WHOLE_FILES = 0
with store.lock():
    latest = store.latest("core_left")
    start = 0 if latest is None else store.read("core_left", version=latest)["generation"].max()
    print("ready", start, flush=True)
    for generation in itertools.count(start + 1):
        frame = shared.rows(generation)
        for table in (shared.LEFT, shared.RIGHT):
            if generation % 2:
                store.write(table, frame)
            else:
                store.merge(table, frame, pl.DataFrame({"id": range(frame.height, 300)}))
            print("written", flush=True)
        store.publish([shared.LEFT.name, shared.RIGHT.name], shared.TABLES)
        print("published", flush=True)
        if generation % 5 == 0:
            store.vacuum(keep_versions=5, keep_days=1)
"""

READER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_store_crashes as shared
print("ready", flush=True)
sys.stdin.readline()
seen, end = set(), time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    seen.add(shared.whole_generation(Path(sys.argv[1])))
print(sorted(seen))
"""


def rows(generation: int) -> pl.DataFrame:
    count = 200 + generation % 7
    return pl.DataFrame({"id": range(count), "generation": [generation] * count, "text": ["x" * 200] * count})


def whole_generation(root: Path) -> int:
    """The generation that readers see; fails if they see parts of several."""
    store = Warehouse(root)
    for name in TABLES:
        read = store.read(name)
        generations = read["generation"].unique().to_list()
        assert len(generations) == 1, generations
        assert read.height == 200 + generations[0] % 7
    # One query sees both tables at the same publication.
    span = "SELECT min(generation) AS low, max(generation) AS high, count(*) AS count"
    (seen,) = sql.query(
        root,
        "SELECT l.low, l.high, r.low AS right_low, r.high AS right_high, l.count, r.count AS right_count "
        f"FROM ({span} FROM core_left) AS l, ({span} FROM core_right) AS r",
    ).rows()
    assert len(set(seen[:4])) == 1, seen
    assert set(seen[4:]) == {200 + seen[0] % 7}, seen
    return seen[0]


def start(program: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=REPO,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def publish_generation(store: Warehouse, generation: int) -> None:
    for table in TABLES.values():
        store.write(table, rows(generation))
    store.publish(list(TABLES), TABLES)


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_whole_versions_and_a_free_warehouse(tmp_path):
    store = Warehouse(tmp_path / "warehouse")
    publish_generation(store, 0)
    chance = random.Random(7)
    generations = [0]
    for _ in range(12):
        writer = start(WRITER, store.root, Path(__file__).parent)
        try:
            assert writer.stdout.readline().startswith("ready"), writer.stderr.read()
            # Some whole steps, then a moment inside the next one.
            for _ in range(chance.randrange(2, 9)):
                assert writer.stdout.readline().strip() in ("written", "published"), writer.stderr.read()
                generations.append(whole_generation(store.root))
            time.sleep(chance.uniform(0.0, 0.05))
        finally:
            os.kill(writer.pid, signal.SIGKILL)
            _, told = writer.communicate()
        assert "Traceback" not in told, told
        generations.append(whole_generation(store.root))
    assert generations == sorted(generations)
    assert generations[-1] >= 8
    publish_generation(store, 10_000)
    assert whole_generation(store.root) == 10_000
    assert [path.name for path in store.root.iterdir() if path.name.endswith((".tmp", ".wal"))] == []


@pytest.mark.slow
def test_a_dozen_readers_see_whole_versions_while_tables_are_written(tmp_path):
    store = Warehouse(tmp_path / "warehouse")
    publish_generation(store, 0)
    readers = [start(READER, store.root, Path(__file__).parent, 3) for _ in range(12)]
    try:
        for reader in readers:
            assert reader.stdout.readline() == "ready\n", reader.stderr.read()
        for reader in readers:
            reader.stdin.write("\n")
            reader.stdin.flush()
        generation = 0
        while any(reader.poll() is None for reader in readers):
            generation += 1
            publish_generation(store, generation)
        for reader in readers:
            seen, told = reader.communicate()
            assert reader.returncode == 0, told
            assert seen.strip() != "[]"
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()
    assert generation > 2
    assert whole_generation(store.root) == generation
