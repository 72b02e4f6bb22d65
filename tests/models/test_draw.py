"""Drawing candidate sets for training turns, and the files they go through."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from models.candidate_sets import (
    ABOUT,
    DRAWS,
    REWARDS,
    SetsError,
    Turn,
    history_tensors,
    holds_label,
    read_rewards,
    read_turns,
    some_turns,
    write_rows,
)
from models.config import ConfigError
from models.draw import draw_round, main, read_config
from models.sampling import plackett_luce
from tests.models.rl_folders import ITEMS, a_policy, by_place, turns_of, write_data, write_model


def configured(folder: Path, **keys: Any) -> Path:
    data = folder / "data" if (folder / "data").exists() else write_data(folder / "data")
    if not (folder / "model").exists():
        write_model(folder / "model", data)
    file = folder / "draw.json"
    file.write_text(
        json.dumps({"model": "model", "data": "data", "out": "out/draws.parquet", "k": 5, "sets": 4, **keys})
    )
    return file


# Turns


def test_turns_are_the_sequences_of_one_label_put_together(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    assert read_turns(data / "sequences.parquet", ITEMS) == sorted(turns_of(), key=lambda turn: turn.example_id)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("u1", [1, 2, 3], 1)], r"row 1: sequence 'u1' is no turn"),
        ([("d:1:0", [1, 2, 3], 1)], r"row 1: sequence 'd:1:0' is no turn"),
        ([("d:1:0", [1, 2], 1), ("d:1:1", [3, 2], 1)], r"row 2: .* another history"),
        ([("d:1:0", [1, 99], 1)], r"row 1: items holds 99"),
        ([("d:1:0", [], 0)], r"row 1: .* no turn"),
        ([], "empty"),
    ],
)
def test_sequences_that_are_no_turns_are_refused(tmp_path: Path, rows: list[tuple], message: str) -> None:
    file = tmp_path / "sequences.parquet"
    schema = pa.schema([("sequence_id", pa.string()), ("items", pa.list_(pa.int32())), ("first_target", pa.int32())])
    pq.write_table(pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema), file)
    with pytest.raises(SetsError, match=f"{file}: .*{message}" if message == "empty" else message):
        read_turns(file, ITEMS)


def test_a_sample_of_turns_hangs_on_seed_and_id_alone() -> None:
    turns = turns_of(40)
    sample = some_turns(turns, 10, 1)
    assert len(sample) == 10
    assert sample == some_turns(turns[::-1], 10, 1)
    assert sample != some_turns(turns, 10, 2)
    without = some_turns([turn for turn in turns if turn != sample[0]], 10, 1)
    assert len(set(without) & set(sample)) == 9
    assert some_turns(turns, 0, 1) == turns


# Drawing


def test_draws_are_of_the_policy_and_come_with_their_likelihood() -> None:
    policy, turns = a_policy().train(), turns_of()
    groups = list(draw_round(policy, turns, 3, 5, torch.Generator().manual_seed(1), batch=5))
    assert [group.turn for group in groups] == turns
    assert policy.training
    policy.eval()
    items, lengths = history_tensors(turns, policy.config.max_history)
    candidates = torch.stack([torch.from_numpy(group.candidates) for group in groups])
    expected = plackett_luce(policy.score(policy.query(items, lengths)).detach().double(), candidates)
    assert torch.allclose(torch.from_numpy(np.stack([group.log_probs for group in groups])), expected, atol=1e-4)
    for group in groups:
        assert group.has_label.tolist() == [
            bool(set(each) & set(group.turn.labels)) for each in group.candidates.tolist()
        ]


def test_padding_is_no_label() -> None:
    candidates = torch.tensor([[[0, 1], [2, 3]]])
    assert holds_label(candidates, torch.tensor([[3, -1]])).tolist() == [[False, True]]


def test_the_command_writes_sets_and_draws_again_for_turns_without_a_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(configured(tmp_path, max_rounds=3, max_turns=9, seed=5))]) == 0
    table = pq.read_table(tmp_path / "out" / "draws.parquet")
    assert table.schema.equals(DRAWS)
    rows = table.to_pylist()
    assert len({row["example_id"] for row in rows}) == 9
    known = {turn.example_id: turn for turn in turns_of()}
    by_round: dict[tuple[str, int], list[dict]] = {}
    for row in rows:
        by_round.setdefault((row["example_id"], row["round"]), []).append(row)
    for (example_id, number), group in by_round.items():
        assert [row["draw"] for row in group] == [0, 1, 2, 3]
        has_label = [row["has_label"] for row in group]
        assert has_label == [bool(set(row["candidates"]) & set(known[example_id].labels)) for row in group]
        assert all(len(set(row["candidates"])) == 5 and row["log_prob"] < 0 for row in group)
        assert ((example_id, number + 1) in by_round) == (not any(has_label) and number < 2)
    assert {number for _, number in by_round} > {0}, "no turn was drawn for again: this test tests nothing"
    about = json.loads(pq.read_schema(tmp_path / "out" / "draws.parquet").metadata[ABOUT])
    assert (about["seed"], about["turns"], about["sets"]) == (5, 9, len(rows))
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["event"] == "done" and events[-1]["sets"] == len(rows)


def test_the_same_configuration_gives_the_same_file(tmp_path: Path) -> None:
    file = configured(tmp_path)
    out = tmp_path / "out" / "draws.parquet"
    written = []
    for seed in (1, 1, 2):
        configured(tmp_path, seed=seed)
        assert main(["--config", str(file)]) == 0
        written.append(pq.read_table(out).to_pylist())
    assert written[0] == written[1] != written[2]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kk": 3}, "unknown key 'kk'; did you mean 'k'"),
        ({"k": "5"}, "k must be of type int"),
        ({"sets": 0}, "sets must be at least 1"),
        ({"k": ITEMS + 1}, f"k is {ITEMS + 1}; there are {ITEMS} items"),
        ({"model": "nowhere"}, "nowhere"),
        ({"data": "nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_be_drawn_ends_with_a_message_and_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], message: str
) -> None:
    assert main(["--config", str(configured(tmp_path, **keys))]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_of_other_items_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = configured(tmp_path)
    table = pq.read_table(tmp_path / "model" / "items.parquet")
    renamed = table.set_column(1, "movie_id", pa.array([f"nm{item}" for item in range(ITEMS)]))
    pq.write_table(renamed, tmp_path / "model" / "items.parquet")
    assert main(["--config", str(file)]) == 1
    assert "other items" in capsys.readouterr().err


def test_a_configuration_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "draw.toml").write_text('data = "data"\nout = "out"\n')
    with pytest.raises(ConfigError, match="'model' is missing"):
        read_config(tmp_path / "draw.toml")


# Rewards

TURN = Turn("d:1", (1, 2), (7, 8))


def reward_row(draw: int = 0, **changes: Any) -> dict[str, Any]:
    candidates = [[7, 3, 4], [3, 4, 5]][draw % 2]
    row = {
        "example_id": "d:1",
        "history": [1, 2],
        "labels": [7, 8],
        "round": 0,
        "draw": draw,
        "candidates": candidates,
        "log_prob": -9.0,
        "has_label": 7 in candidates,
        "reward": 0.5 if 7 in candidates else 0.0,
    }
    return {**row, **changes}


def rewards_file(folder: Path, rows: list[dict[str, Any]]) -> Path:
    write_rows(folder / "rewards.parquet", rows, REWARDS, {})
    return folder / "rewards.parquet"


def test_the_last_round_of_a_turn_is_what_it_learns_from(tmp_path: Path) -> None:
    without = {"candidates": [3, 4, 5], "has_label": False, "reward": 0.0}
    rows = [reward_row(1, round=1), reward_row(0, **without), reward_row(0, round=1), reward_row(1, **without)]
    (group,) = read_rewards(rewards_file(tmp_path, rows), [TURN], ITEMS)
    assert group.turn == TURN
    assert group.resamples == 1
    assert group.candidates.tolist() == [[7, 3, 4], [3, 4, 5]]
    assert group.rewards.tolist() == [0.5, 0.0]
    assert group.has_label.tolist() == [True, False]


def test_fewer_sets_than_stored_can_be_used(tmp_path: Path) -> None:
    file = rewards_file(tmp_path, [reward_row(draw) for draw in range(4)])
    (group,) = read_rewards(file, [TURN], ITEMS, sets=2)
    assert len(group.rewards) == 2
    with pytest.raises(SetsError, match="5 sets a turn are asked for, but there are 4"):
        read_rewards(file, [TURN], ITEMS, sets=5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"example_id": "d:9"}, "'d:9' is none of the 1 training turns"),
        ({"history": [1]}, "another history or other labels"),
        ({"labels": [7]}, "another history or other labels"),
        ({"candidates": [3, 3, 4]}, "an item is twice in the set"),
        ({"candidates": [3, 4, ITEMS]}, f"candidates holds {ITEMS}, which is no item"),
        ({"candidates": [3, 4, -1]}, "candidates holds -1"),
        ({"candidates": [3, 4]}, "2 candidates, but 3 in row 1"),
        ({"candidates": []}, "the set is empty"),
        ({"reward": math.nan}, "the reward is nan"),
        ({"reward": math.inf}, "the reward is inf"),
        ({"reward": 1.5}, "the reward is 1.5"),
        ({"reward": -0.1}, "the reward is -0.1"),
        ({"reward": 0.2}, "holds no label"),
        ({"has_label": True}, "has_label is True, which is not so"),
        ({"log_prob": 0.1}, "log_prob is 0.1"),
        ({"log_prob": math.nan}, "log_prob is nan"),
        ({"log_prob": -math.inf}, "log_prob is -inf"),
        ({"reward": None}, "reward is null"),
    ],
)
def test_a_wrong_row_is_refused_by_file_and_number(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = rewards_file(tmp_path, [reward_row(0), reward_row(1, **changes)])
    with pytest.raises(SetsError) as error:
        read_rewards(file, [TURN], ITEMS)
    assert str(error.value).startswith(f"{file}: row 2: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "empty"),
        ([reward_row(0), reward_row(2)], "sets [0, 2]; expected round 0 with sets 0 to 1"),
        ([reward_row(0), reward_row(0)], "sets [0, 0]"),
        (
            [reward_row(0), reward_row(1), reward_row(0, round=1)],
            "round 1: sets [0]; expected round 1 with sets 0 to 1",
        ),
        ([reward_row(0, round=1), reward_row(1, round=1)], "expected round 0"),
        ([reward_row(0, reward=0.0), reward_row(1)], "the reward is 0 in all 2 rows"),
    ],
)
def test_a_file_that_teaches_nothing_or_lacks_sets_is_refused(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    file = rewards_file(tmp_path, rows)
    with pytest.raises(SetsError) as error:
        read_rewards(file, [TURN], ITEMS)
    assert str(file) in str(error.value) and message in str(error.value)


def test_files_that_are_missing_broken_or_of_other_columns_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "rewards.parquet"
    with pytest.raises(SetsError, match="cannot be read"):
        read_rewards(file, [TURN], ITEMS)
    file.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(SetsError, match="cannot be read"):
        read_rewards(file, [TURN], ITEMS)
    pq.write_table(pa.table({"example_id": ["d:1"]}), file)
    with pytest.raises(SetsError, match="column 'history' is missing"):
        read_rewards(file, [TURN], ITEMS)
    rows = pa.Table.from_pylist([reward_row(0)], REWARDS)
    pq.write_table(rows.set_column(0, "example_id", pa.array([[1]])), file)
    with pytest.raises(SetsError, match="cannot be read"):
        read_rewards(file, [TURN], ITEMS)


def test_a_write_that_fails_leaves_the_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = rewards_file(tmp_path, [reward_row(0)])
    before = file.read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("models.candidate_sets.pq.write_table", fail)
    with pytest.raises(OSError, match="no space"):
        rewards_file(tmp_path, [reward_row(1)])
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["rewards.parquet"]


def test_the_synthetic_reward_falls_with_the_place_of_the_first_label() -> None:
    rewards = by_place(TURN, np.array([[7, 3, 4], [3, 8, 7], [3, 4, 5]]))
    assert rewards.tolist() == pytest.approx([1.0, 1 / math.log2(3), 0.0])
