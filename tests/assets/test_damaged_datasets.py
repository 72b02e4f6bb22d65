"""Whether what was read of a dataset may replace what is stored: files count by their size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from assets.build.dialogues import DatasetOutcome, build_dialogues
from pipelines.synth.pack import write_pack
from warehouse.store import Warehouse

REDIAL, MUSE = "conversations/redial/train_data.jsonl", "conversations/muse/detail_convs/conv_7000.json"
Read = Callable[..., dict[str, DatasetOutcome]]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return write_pack(tmp_path / "sources", movies=20, dialogues=80).out


@pytest.fixture
def read(tmp_path: Path, sources: Path) -> Read:
    """Reads datasets into a warehouse and publishes them."""
    warehouse = Warehouse(tmp_path / "warehouse")

    def run(*datasets: str) -> dict[str, DatasetOutcome]:
        built, outcomes = build_dialogues(warehouse, datasets, sources, False, lambda text: None)
        warehouse.publish({commit.table: commit.version for commit in built.commits})
        rows = warehouse.read("core_dialogues", ["dataset"])["dataset"].value_counts()
        counted = dict(rows.iter_rows())
        assert all(counted.get(name, 0) == each.dialogues for name, each in outcomes.items() if each.status == "read")
        return outcomes

    return run


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff" * 4_000, b"[1, 2]\n{}\n"], ids=["nothing", "binary", "other JSON"]
)
def test_a_file_that_lost_most_of_a_dataset_is_refused_until_it_is_repaired(
    content: bytes, read: Read, sources: Path
) -> None:
    assert read("redial")["redial"].status == "read"
    whole = (sources / REDIAL).read_bytes()
    (sources / REDIAL).write_bytes(content)
    refused = read("redial")["redial"]
    assert refused.status == "refused"
    assert "of its files could not be read (allowed 20%)" in (refused.problem or "")
    named = f"first: {REDIAL} line 1" if content else f"{REDIAL} is empty now"
    assert named in (refused.problem or "")
    (sources / REDIAL).write_bytes(whole)
    assert read("redial")["redial"].status in ("read", "unchanged")


def test_one_bad_file_among_many_is_a_reject_and_no_more(read: Read, sources: Path) -> None:
    before = read("muse")["muse"]
    assert before.status == "read"
    (sources / MUSE).write_bytes(b"{")
    after = read("muse")["muse"]
    assert (after.status, after.dialogues, after.rejected) == ("read", before.dialogues - 1, before.rejected + 1)


def test_a_first_look_at_rubbish_stores_nothing(read: Read, sources: Path) -> None:
    for file in (sources / "conversations" / "redial").iterdir():
        file.write_bytes(b"\xfe\xff rubbish")
    outcomes = read("redial", "muse")
    assert (outcomes["redial"].status, outcomes["muse"].status) == ("refused", "read")
