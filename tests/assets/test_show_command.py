"""`marquee show episode`, and the report that is kept as a file: both read what is published and change nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from assets.build.files import checked
from assets.build.simulation_report import SHOWN, build_simulation_report
from assets.commands import show as command
from assets.commands.show import show
from pipelines.reporting import plots
from tests import simulation_frames
from warehouse.store import Warehouse
from warehouse.tables.simulation import SIM_EPISODES, SIM_TURNS
from warehouse.tables.simulation_evaluation import REPORT_SIMULATION

FRAMES = simulation_frames.frames()
# A control sequence that clears the screen, one that sets the window's title, an override of direction.
STEERING = "\x1b[2J\x1b]0;mine\x07\u202e"


def stored(folder: Path, **changed: pl.DataFrame) -> Warehouse:
    """A warehouse that holds the frames; tables other than those that the report and the command read are left out."""
    warehouse = Warehouse(folder)
    tables = [table for table in simulation_frames.STORED if table in SHOWN or table.name == "sim_items"]
    for table in tables:
        warehouse.write(table, changed.get(table.name, FRAMES[table.name]))
    warehouse.publish([table.name for table in tables])
    return warehouse


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return stored(tmp_path_factory.mktemp("warehouse"))


def shown(warehouse: Warehouse, *arguments: str) -> Result:
    return CliRunner().invoke(show, ["episode", "--warehouse", str(warehouse.root), *arguments])


def rewritten_episode() -> str:
    return FRAMES["pref_ecpo_pairs"].filter("is_improved").sort("pair_id")["episode_id"][0]


def test_a_transcript_has_turns_policies_searches_titles_scores_reasons_and_outcome(warehouse: Warehouse) -> None:
    episode_id = FRAMES["sim_episodes"].filter(pl.col("is_success") & pl.col("is_accepted"))["episode_id"][0]
    result = shown(warehouse, episode_id)
    assert result.exit_code == 0
    turns = FRAMES["sim_turns"].filter(pl.col("episode_id") == episode_id).sort("turn")
    for row in turns.iter_rows(named=True):
        assert row["text"] in result.stdout
        assert f"{row['turn']:>2} " in result.stdout
        assert (row["action"] or row["policy"]).replace("_", " ") in result.stdout
        assert row["reason"] is None or row["reason"] in result.stdout
        assert all(f"searched: {query}" in result.stdout for query in row["queries"])
    assert "(the target)" in result.stdout
    assert "the user accepted it" in result.stdout
    assert "STAND-IN" in result.stdout
    assert "tone" in result.stdout
    assert "\x1b" not in result.stdout


def test_rewrites_stand_under_their_turns_with_both_scores(warehouse: Warehouse) -> None:
    episode_id = rewritten_episode()
    out = shown(warehouse, episode_id).stdout
    for row in (
        FRAMES["pref_ecpo_pairs"]
        .filter((pl.col("episode_id") == episode_id) & (pl.col("status") == "kept"))
        .iter_rows(named=True)
    ):
        assert f"rewritten, {row['score_before']:g}/5 -> {row['score_after']:g}/5: {row['rewritten']}" in out


def test_on_a_terminal_what_is_wrapped_stays_under_its_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    command._print_styled(iter([("", "bold", "head"), ("     ", "dim", "word " * 60), ("tone  ", "", "[b]warm[/b]")]))
    head, *rest = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert head == "head"
    assert len(rest) > 3
    assert all(line.startswith("     word") for line in rest[:-1])
    assert rest[-1] == "tone  [b]warm[/b]"


def test_no_stand_in_is_told_of_where_a_model_answered(tmp_path: Path) -> None:
    episodes = FRAMES["sim_episodes"].with_columns(is_stand_in=pl.lit(False), model=pl.lit("some-model"))
    out = shown(stored(tmp_path, sim_episodes=episodes), episodes["episode_id"][0]).stdout
    assert "STAND-IN" not in out and "some-model" in out


def test_json_holds_everything_as_it_was_said(tmp_path: Path) -> None:
    episode_id = rewritten_episode()
    turns = FRAMES["sim_turns"].with_columns(text=pl.concat_str("text", pl.lit(STEERING)))
    result = shown(stored(tmp_path, sim_turns=turns), episode_id, "--json")
    document = json.loads(result.stdout)
    own = turns.filter(pl.col("episode_id") == episode_id).sort("turn")
    assert [line["text"] for line in document["lines"]] == own["text"].to_list()
    (row,) = FRAMES["sim_episodes"].filter(pl.col("episode_id") == episode_id).to_dicts()
    assert {name: document[name] for name in ("outcome", "target_title", "agent", "is_stand_in")} == {
        name: row[name] for name in ("outcome", "target_title", "agent", "is_stand_in")
    }
    assert any(line["rewrite"] for line in document["lines"])
    assert result.stdout.isascii() and "\x1b" not in result.stdout


def test_escape_codes_in_texts_do_not_reach_the_terminal(tmp_path: Path) -> None:
    turns = FRAMES["sim_turns"].with_columns(text=pl.lit(STEERING), reason=pl.lit(STEERING))
    episodes = FRAMES["sim_episodes"].with_columns(target_title=pl.lit(STEERING), problem=pl.lit(STEERING))
    dirty = stored(tmp_path, sim_turns=turns, sim_episodes=episodes)
    assert not set("\x1b\x07\u202e") & set(shown(dirty, rewritten_episode()).output)
    assert r"\x1b[2J" in shown(dirty, rewritten_episode()).stdout


def test_the_first_digits_are_enough_and_ambiguous_ones_are_listed(tmp_path: Path) -> None:
    first, second = FRAMES["sim_episodes"]["episode_id"].to_list()[:2]
    twins = {first: "abcd" + first[4:], second: "abcd" + second[4:]}

    def renamed(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(pl.col("episode_id").replace(twins))

    changed = {name: renamed(FRAMES[name]) for name in ("sim_episodes", "sim_turns", "pref_ecpo_pairs")}
    changed["sim_episodes"] = changed["sim_episodes"].with_columns(
        target_title=pl.concat_str("target_title", pl.lit(STEERING))
    )
    warehouse = stored(tmp_path, **changed)
    assert shown(warehouse, twins[first][:8].upper()).exit_code == 0
    result = shown(warehouse, "abcd")
    assert result.exit_code == 1
    assert "2 episodes begin with abcd" in result.stderr
    assert all(twin in result.stderr for twin in twins.values())
    assert not set("\x1b\x07\u202e") & set(result.stderr)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("00000000", "no episode's id begins with 00000000; to find one:"),
        ("abc", "the first four are needed"),
        ("' OR 1=1 --", "has sixteen digits"),
        ("../../etc", "has sixteen digits"),
    ],
)
def test_ids_that_lead_nowhere_are_told_how_to_find_one(warehouse: Warehouse, given: str, words: str) -> None:
    result = shown(warehouse, "--", given)
    assert result.exit_code == 1
    assert words in result.stderr


def test_a_warehouse_without_episodes_says_so(tmp_path: Path) -> None:
    result = shown(Warehouse(tmp_path), "abcdef")
    assert result.exit_code == 1
    assert "nothing was simulated yet" in result.stderr


def test_an_episode_can_be_shown_where_its_items_personas_and_pairs_are_gone(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    for table in (SIM_EPISODES, SIM_TURNS):
        warehouse.write(table, FRAMES[table.name])
    warehouse.publish([SIM_EPISODES.name, SIM_TURNS.name])
    episode = FRAMES["sim_episodes"].filter("is_success").row(0, named=True)
    result = shown(warehouse, episode["episode_id"])
    assert result.exit_code == 0
    assert f"*{episode['target_item']}* (the target)" in result.stdout


def test_the_report_is_a_file_whose_row_names_it_and_what_it_was_made_from(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "drawn", lambda *_: "<svg></svg>")
    told: list[str] = []
    built = build_simulation_report(warehouse, told.append)
    (commit,) = built.commits
    (row,) = warehouse.read(REPORT_SIMULATION.name, version=commit.version).to_dicts()
    file = checked(warehouse.root, row["path"], row["sha256"])
    html = file.read_text("utf-8")
    assert str(file) in told[-1]
    assert row["bytes"] == file.stat().st_size and row["figures"] == html.count("<svg>")
    assert json.loads(row["made_from"])["sim_episodes"] == warehouse.published("sim_episodes")
    # Titles of what the shown conversations retrieved come out of sim_items.
    talk = html[html.index('id="examples"') :]
    assert "(the target)</mark>" in talk and "mv0000" not in talk
    assert not build_simulation_report(warehouse, told.append).commits[0].changed


def test_the_report_of_an_empty_warehouse_says_what_is_missing(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    built = build_simulation_report(warehouse, lambda _: None)
    (row,) = warehouse.read(REPORT_SIMULATION.name, version=built.commits[0].version).to_dicts()
    assert "nothing was simulated" in (warehouse.root / row["path"]).read_text("utf-8")
