"""The `marquee` command: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from assets.cli import main
from assets.contracts import FIXED
from assets.groups import SIMULATED
from tests.assets.commands import Command, Finished, content, marquee, versions
from tests.assets.conftest import INVENTED, Built, known_films
from warehouse.store import Warehouse

Copied = Callable[[Path, str], Path]
Ask = Callable[..., Finished]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Runs a command that needs no dagster, in this process."""
    for name in ("MARQUEE_SOURCES", "MARQUEE_WAREHOUSE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Finished:
        done = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return Finished(done.exit_code, done.stdout, done.stderr)

    return run


# -- building ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_run_shows_its_steps_and_ends_with_queries_that_work(built: Built, home: Path) -> None:
    steps = [line.split()[1:-2] for line in built.done.err.splitlines() if line.startswith("✓")]
    assert sorted(" ".join(step) for step in steps) == [
        "annotate", "ask TMDB", "embed items", "evaluate annotation", "evaluate fidelity", "evaluate hallucination", "evaluate linking",
        "evaluate mentions", "evaluate pairs", "evaluate ranking", "evaluate simulation", "fuse", "index items", "keep ledger", "link", "link mentions",
        "make pairs", "make rec turns", "make sessions", "normalise", "read dialogues", "read sources", "report on retrieval", "report on simulation",
    ]  # fmt: skip
    assert "skipped: TMDB_API_KEY is not set" in built.done.err
    lines = built.done.out.splitlines()
    films = content(built.root, "core_movies").height
    assert f"{films} films from" in lines[1]
    assert f"warehouse: {built.root}" in lines
    commands = [line.strip() for line in lines if "marquee sql" in line]
    assert len(commands) == 2
    for command in commands:
        sql = command.split('"')[1]
        done = marquee("sql", "--format", "csv", sql, home=home, MARQUEE_WAREHOUSE=str(built.root))
        assert done.code == 0, done
        assert len(done.out.splitlines()) > 5


@pytest.mark.slow
def test_run_writes_nothing_into_the_checkout_when_told_other_folders(built: Built, builders_home: Path) -> None:
    # Dagster's own files lie beside the dagster.yaml that was named.
    assert (builders_home / "data" / "dagster" / "history" / "runs.db").is_file()
    assert {path.name for path in builders_home.iterdir() if path.is_dir()} == {"data"}


@pytest.mark.slow
def test_a_catalogue_of_ones_own_makes_a_raw_table_and_takes_part_in_linking(built: Built, pack: Path) -> None:
    raw = Warehouse(built.root).read("raw_festival__titles")
    assert raw.height == 4
    assert set(raw["file"]) == {"festival/programme.csv"}
    links = content(built.root, "core_movie_links")
    films = content(built.root, "core_movies")
    shared = (
        links.filter(pl.col("movie_id").is_in(links.filter(source="festival")["movie_id"].to_list()))
        .group_by("movie_id")
        .agg("source", number=pl.col("source_id").filter(source="festival").first())
        .join(films, on="movie_id")
        .sort("number")
    )
    assert shared["title"].to_list()[-1] == INVENTED[0]
    assert shared["source"].to_list()[-1] == ["festival"]
    assert shared["year"].to_list()[:3] == [year for _, year, _ in known_films(pack)[:3]]
    assert all(len(set(sources)) >= 3 for sources in shared["source"].to_list()[:3])


@pytest.mark.parametrize("groups", ["rubbish", "raw,cor", ",", ""])
@pytest.mark.parametrize("command", ["run", "refresh"])
def test_unknown_groups_are_refused_with_the_known_ones(command: str, groups: str, ask: Ask, tmp_path: Path) -> None:
    done = ask(command, "--only", groups, "--sources", tmp_path, "--warehouse", tmp_path / "w")
    assert done.code == 2
    assert "--only" in done.err
    assert "choose among raw, core, dialogues, anno, items, sim, pref, retrieval, eval" in done.err
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("command", ["run", "refresh"])
def test_missing_sources_folder_is_named(command: str, home: Path, tmp_path: Path) -> None:
    done = Command(command, "--sources", tmp_path / "nowhere", "--warehouse", tmp_path / "w", home=home).wait()
    assert done.code == 2, done
    assert str(tmp_path / "nowhere") in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('format = "csv"', 'format = "xls"'), ["festival", "format", "xls"]),
        (("reliability = 0.6", "reliability = 6"), ["festival", "reliability"]),
        (("delimiter", "delimeter"), ["festival", "delimeter"]),
        (('name = "festival"', 'name = "../festival"'), ["name"]),
        (("[[source]]", "[[source"), []),
    ],
    ids=["value", "range", "misspelt key", "path for a name", "no TOML"],
)
def test_wrong_block_is_named_with_file_and_key(
    change: tuple[str, str], words: list[str], home: Path, tmp_path: Path
) -> None:
    from tests.assets.conftest import FESTIVAL

    (tmp_path / "sources.toml").write_text(FESTIVAL.replace(*change))
    done = Command("run", "--sources", tmp_path, "--warehouse", tmp_path / "w", home=home).wait()
    assert done.code == 2, done
    assert [word for word in [str(tmp_path / "sources.toml"), *words] if word not in done.err] == []
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_synth_writes_the_same_pack_for_the_same_seed(home: Path, tmp_path: Path) -> None:
    packs = [tmp_path / "one", tmp_path / "two", tmp_path / "other"]
    for pack, seed in zip(packs, (7, 7, 8), strict=True):
        # The first as a program, whose hashes have seeds of their own.
        command = ("synth", pack, "--movies", 20, "--seed", seed)
        done = marquee(*command, home=home) if pack is packs[0] else Command(*command, home=home).wait()
        assert done.code == 0, done
        assert "20 films" in done.out
    one, two, other = (
        {str(path.relative_to(pack)): path.read_bytes() for path in pack.rglob("*") if path.is_file()} for pack in packs
    )
    assert one == two
    assert one != other
    again = Command("synth", packs[0], "--movies", 20, home=home).wait()
    assert again.code == 2, again
    assert "not empty" in again.err
    assert "Traceback" not in again.err


# -- asking ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_sql_answers_in_csv_json_and_a_table(built: Built, ask: Ask) -> None:
    films = content(built.root, "core_movies").select("movie_id", "title", "year", "directors").sort("movie_id")
    sql = "SELECT movie_id, title, year, directors FROM core_movies ORDER BY movie_id"
    found = json.loads(ask("sql", sql, "--format", "json", "--warehouse", built.root).out)
    assert found == films.to_dicts()
    rows = list(csv.DictReader(io.StringIO(ask("sql", sql, "--format", "csv", "--warehouse", built.root).out)))
    assert [row["title"] for row in rows] == films["title"].to_list()
    assert [json.loads(row["directors"]) for row in rows] == films["directors"].to_list()
    assert [row["year"] for row in rows] == ["" if year is None else str(year) for year in films["year"]]
    shown = ask("sql", sql, "--warehouse", built.root).out
    assert f"{films.height} rows" in shown
    assert films["movie_id"][0] in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE copied AS SELECT * FROM core_movies",
        "DROP VIEW core_movies",
        "DELETE FROM core_movies",
        "INSERT INTO core_movies SELECT * FROM core_movies",
        "COPY core_movies TO '{folder}/stolen.csv'",
        "ATTACH '{folder}/other.duckdb'",
        "SELECT * FROM read_text('{folder}/secret.txt')",
        "SELECT * FROM read_csv('{folder}/*')",
        "SELECT * FROM '{folder}/secret.parquet'",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT 1; DROP VIEW core_movies",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELECT getenv('HOME')",
        "SELECT",
        "",
    ],
)
def test_sql_reads_tables_and_nothing_else(sql: str, built: Built, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    pl.DataFrame({"word": ["secret"]}).write_parquet(tmp_path / "secret.parquet")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    done = ask("sql", sql.replace("{folder}", str(tmp_path)), "--warehouse", built.root)
    assert done.code == 2, done
    assert done.err.startswith("marquee: ")
    assert not done.out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.slow
def test_sql_as_a_program_refuses_with_one_line_and_exit_code_2(built: Built, home: Path) -> None:
    done = marquee("sql", "DROP VIEW core_movies", home=home, MARQUEE_WAREHOUSE=str(built.root))
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err


@pytest.mark.parametrize("command", [["sql", "SELECT 1"], ["tables"], ["describe", "core_movies"], ["check"]])
def test_asking_where_nothing_is_published_says_so(command: list[str], ask: Ask, tmp_path: Path) -> None:
    done = ask(*command, "--warehouse", tmp_path / "empty")
    assert done.code == 2
    assert "nothing is published" in done.err
    assert str(tmp_path / "empty") in done.err


@pytest.mark.slow
def test_tables_lists_every_table_with_its_rows_and_meaning(built: Built, ask: Ask) -> None:
    listed = json.loads(ask("tables", "--format", "json", "--warehouse", built.root).out)
    by_name = {row["name"]: row for row in listed}
    # What simulations are made of is not built here, nor are the views over it.
    views = {table.name for table in FIXED if table.sql is not None and table.group not in SIMULATED}
    assert set(Warehouse(built.root).names()) | views == set(by_name)
    assert all(row["meaning"] for row in listed)
    assert by_name["core_movies"]["rows"] == content(built.root, "core_movies").height
    assert by_name["core_movies"]["version"] == 0
    assert by_name["core_movies_complete"]["kind"] == "view"
    assert 0 < by_name["core_movies_complete"]["rows"] < by_name["core_movies"]["rows"]
    assert "Programme of an invented festival" in by_name["raw_festival__titles"]["meaning"]
    assert "core_movies_complete" in ask("tables", "--warehouse", built.root).out


@pytest.mark.slow
def test_describe_tells_every_column(built: Built, ask: Ask) -> None:
    done = ask("describe", "core_movies", "--format", "csv", "--warehouse", built.root)
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["column"] for row in rows] == content(built.root, "core_movies").columns
    assert all(row["meaning"] and row["type"] for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "word"),
    [
        (["describe", "core_movie"], "core_movie"),
        (["describe", "x'; DROP VIEW core_movies --"], "DROP VIEW"),
        (["history", "core_movie"], "core_movie"),
        (["history", "../../home"], "../../home"),
        (["rollback", "core_movies", "17"], "17"),
        (["rollback", "nothing", "0"], "nothing"),
    ],
)
def test_names_of_no_table_are_refused(command: list[str], word: str, built: Built, ask: Ask) -> None:
    before = versions(built.root)
    done = ask(*command, "--warehouse", built.root)
    assert done.code == 2, done
    assert done.err.startswith("marquee: ")
    assert word in done.err
    assert versions(built.root) == before


@pytest.mark.slow
def test_history_and_rollback_bring_an_earlier_version_back(
    built: Built, refreshed: Built, ask: Ask, copied: Copied
) -> None:
    root = copied(refreshed.root, "rolled")
    listed = json.loads(ask("history", "core_movies", "--format", "json", "--warehouse", root).out)
    assert [(row["version"], row["operation"], row["is_published"]) for row in listed] == [
        (1, "merge", True),
        (0, "write", False),
    ]
    assert "rows_upserted" in ask("history", "core_movies", "--warehouse", root).out
    done = ask("rollback", "core_movies", "0", "--warehouse", root)
    assert done.code == 0, done
    assert "version 0 is published again as version 2" in done.out
    assert content(root, "core_movies").equals(content(built.root, "core_movies"))
    # What asks the catalogue sees it, too.
    count = json.loads(ask("sql", "SELECT count(*) AS n FROM core_movies", "--format", "json", "--warehouse", root).out)
    assert count == [{"n": content(built.root, "core_movies").height}]


@pytest.mark.slow
def test_check_passes_a_good_corpus_and_writes_its_report(built: Built, home: Path, tmp_path: Path) -> None:
    done = marquee("check", "--report", tmp_path / "r.html", "--warehouse", built.root, home=home)
    assert done.code == 0, done
    assert "failed" not in done.out
    assert "passed" in done.out
    assert str(tmp_path / "r.html") in done.out
    assert "core_movies" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_check_fails_a_corpus_whose_tables_do_not_belong_together(
    refreshed: Built, ask: Ask, copied: Copied, tmp_path: Path
) -> None:
    root = copied(refreshed.root, "torn")
    assert ask("rollback", "core_movies", "0", "--warehouse", root).code == 0
    done = ask("check", "--report", tmp_path / "r.html", "--warehouse", root)
    assert done.code == 1, done
    assert "failed" in done.out
    assert "core_movie" in done.out
    assert "failed" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_warehouse_folder_that_cannot_be_used_is_refused_in_one_line(ask: Ask, tmp_path: Path) -> None:
    done = ask("history", "core_movies", "--warehouse", tmp_path / "films[1]")
    assert done.code == 2
    assert "films[1]" in done.err
