"""`marquee grade-episodes`: the shipped logs give the published figures; rubbish is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from assets.commands.grade_episodes import grade_episodes
from tests.judged_frames import episode, episodes_of, key, turns, turns_of
from warehouse.exports import export
from warehouse.store import Warehouse
from warehouse.tables.simulation import SIM_EPISODES, SIM_TURNS

LOG = """User 0  Item 0:
user: Hi.
assistant: Try Salt Road.
rec_rewards: [5]
avg_rec_reward: 5.0
Correct recommendation: False
"""
TASKS = '{"UserID": "u", "Items": [{"ItemID": "i", "ItemName": "Salt Road"}]}\n'


def run(*arguments: object) -> Result:
    return CliRunner().invoke(grade_episodes, [str(each) for each in arguments])


def documents(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def figures(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["measure"]: each for each in document["figures"]}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    log, tasks = tmp_path / "short.log.gz", tmp_path / "tasks.jsonl"
    log.write_bytes(gzip.compress(LOG.encode()))
    tasks.write_text(TASKS)
    return log, tasks


@pytest.mark.real_data
def test_the_shipped_logs_give_the_published_figures(real_data: Path) -> None:
    folder = real_data / "ecpo"
    logs = [folder / "test_log" / "book" / f"actcrs_{name}.log.gz" for name in ("ecpo", "gpt")]
    ecpo, gpt = documents(run(*logs, "--tasks", folder / "task" / "Book_test.jsonl", "--json"))
    for graded, found in ((ecpo, 56), (gpt, 53)):
        assert (graded["successes"], graded["conversations"], graded["stated_successes"]) == (found, 100, found)
        assert graded["disagreements"] == []
        assert (graded["targets"], graded["users"]) == (50, 50)
    # The means that the logs' own ends state.
    means = {name: round(each["value"], 2) for name, each in figures(ecpo).items() if name.endswith("_by_conversation")}
    assert means == {
        "rec_reward_by_conversation": 3.29,
        "action_reward_by_conversation": 4.15,
        "expression_reward_by_conversation": 3.87,
    }
    success = figures(ecpo)["success"]
    # 100 tasks, 50 targets: clustered by them, .42 to .68 or so.
    assert success["clusters"] == 50
    assert (success["low"], success["high"]) == (pytest.approx(0.42, abs=0.025), pytest.approx(0.68, abs=0.025))


def test_a_disagreement_is_shown(files: tuple[Path, Path]) -> None:
    log, tasks = files
    (document,) = documents(run(log, "--tasks", tasks, "--json"))
    assert document["name"] == "short"
    assert [each["conversation"] for each in document["disagreements"]] == ["User 0 Item 0"]
    shown = run(log, "--tasks", tasks).output
    assert "1 of 1 found their target" in shown and "the recording says not found, scored found: 'Salt Road'" in shown


def test_our_own_exports_are_graded(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse")
    said = [*turns(1, "Hi.", "The Salt Road."), *turns(2, "Hi.", "No.", satisfaction=3.0)]
    warehouse.write(
        SIM_EPISODES, episodes_of(episode(1, 1, is_success=True, agent_turns=1), episode(2, 2, agent_turns=1))
    )
    warehouse.write(SIM_TURNS, turns_of(*said))
    warehouse.publish([SIM_EPISODES.name, SIM_TURNS.name])
    paths = []
    for table in (SIM_EPISODES, SIM_TURNS):
        paths.append(tmp_path / f"{table.name}.jsonl")
        export(warehouse.root, table.name, paths[-1], "jsonl", False, {})
    (document,) = documents(run(*paths, "--json"))
    assert (document["name"], document["source"], document["successes"]) == ("book actcrs ailo", "export", 1)
    assert figures(document)["satisfaction"]["value"] == 3
    assert figures(document)["agreement"]["value"] == 1
    wrong = run(paths[0])
    assert wrong.exit_code == 1 and "key 'agent_turns' says 1, and there are 0 replies" in wrong.output
    assert key(1) in paths[0].read_text()


def test_rubbish_is_named(files: tuple[Path, Path], tmp_path: Path) -> None:
    log, tasks = files
    broken = tmp_path / "broken.log.gz"
    broken.write_bytes(log.read_bytes()[:-12])
    cases = [
        ((log,), "hand its task file over by --tasks"),
        ((log, log, "--tasks", tasks), "a file is named twice"),
        ((broken, "--tasks", tasks), "broken.log.gz: the packed file is cut short"),
        ((log, "--tasks", log), "line 1: not readable as JSON"),
        ((tasks, "--tasks", tasks), "tasks.jsonl: line 1: key 'episode_id' is missing"),
    ]
    for arguments, message in cases:
        result = run(*arguments)
        assert result.exit_code == 1 and message in result.output.replace("\n", " "), result.output
        assert "Traceback" not in result.output
    assert run().exit_code == 2 and run(tmp_path / "none.log").exit_code == 2


def test_what_a_terminal_would_act_on_is_escaped(tmp_path: Path) -> None:
    hostile = "\x1b[2J\ud800"
    row = {
        "episode_id": hostile, "domain": hostile, "agent": "a", "simulator": "s", "user_id": "u", "target_item": "i", "target_title": f"Salt {hostile}",
        "outcome": "completed", "is_success": True, "agent_turns": 0,
    }  # fmt: skip
    file = tmp_path / "episodes.jsonl"
    file.write_text(json.dumps(row))
    for switches in ((), ("--json",)):
        result = run(file, *switches)
        assert (
            result.exit_code == 0 and "\x1b" not in result.output and "x1b[2J" in result.output.replace("u001b", "x1b")
        )


def test_nothing_is_written(files: tuple[Path, Path], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    run(files[0], "--tasks", files[1])
    assert sorted(tmp_path.rglob("*")) == before
