"""The hand-made frames keep the contracts: what tests build on them is built on what the warehouse would hold."""

from __future__ import annotations

import polars as pl
import pytest

from tests import simulation_frames
from warehouse.contracts import Table
from warehouse.tables.simulation import CALL_PURPOSES, EPISODE_OUTCOMES


@pytest.fixture(scope="module")
def frames() -> dict[str, pl.DataFrame]:
    return simulation_frames.frames()


@pytest.mark.parametrize("table", simulation_frames.STORED, ids=lambda table: table.name)
def test_each_table_has_rows_that_keep_its_contract(table: Table, frames: dict[str, pl.DataFrame]) -> None:
    assert frames[table.name].height
    assert table.violations(table.conform(frames[table.name])) == []


@pytest.mark.parametrize("table", simulation_frames.STORED, ids=lambda table: table.name)
def test_foreign_keys_hold(table: Table, frames: dict[str, pl.DataFrame]) -> None:
    for key in table.foreign_keys:
        other = frames[key.references]
        lost = frames[table.name].join(other, left_on=key.columns, right_on=key.references_columns, how="anti")
        assert lost.is_empty(), (table.name, key)


def test_every_branch_is_there_and_the_frames_are_always_the_same(frames: dict[str, pl.DataFrame]) -> None:
    assert set(frames["sim_episodes"]["outcome"]) == set(EPISODE_OUTCOMES)
    assert set(frames["sim_calls"]["purpose"]) == set(CALL_PURPOSES) - {"judge"}
    assert frames["pref_ecpo_pairs"]["status"].n_unique() > 3
    assert frames["sim_turns"].filter(pl.col("role") == "assistant")["satisfaction"].null_count()
    assert frames["sim_calls"].join(frames["llm_calls"], on="request_hash", how="anti").is_empty()
    again = simulation_frames.frames()
    assert all(frames[name].equals(again[name]) for name in frames)
