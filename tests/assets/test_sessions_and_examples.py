"""Building core_sessions and core_rec_turns: what is read again, what stays, and that the checks hold."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest

from assets.build.rec_turns import build_rec_turns
from assets.build.sessions import SessionsBuilt, build_sessions, session_files
from warehouse.contracts import Table
from warehouse.quality.run import Outcome, audit, audit_across, cross_checks, over
from warehouse.quality.suite import Suite
from warehouse.quality.suites.interactions import FILES, SUITES
from warehouse.store import Warehouse
from warehouse.tables.corpus import CORE_MOVIE_LINKS, CORE_MOVIES
from warehouse.tables.dialogues import CORE_DIALOGUES, CORE_TURNS, DATASETS
from warehouse.tables.interactions import CORE_REC_TURNS, CORE_SESSIONS, META_SESSION_FILES, TABLES
from warehouse.tables.mentions import CORE_MENTIONS

HEADER = "userId,movieId,rating,timestamp\n"
SMALL = HEADER + "".join(f"{user},{item},4.0,{1_000 * user + 60 * item}\n" for user in (1, 2) for item in range(1, 6))


def movie(number: int) -> str:
    return f"mv{number:016x}"


def filled(table: Table, rows: list[dict]) -> pl.DataFrame:
    """Rows that state some columns; the others are null, empty, 0 or the first word allowed."""
    blanks = {
        column.name: (
            None
            if column.nullable
            else [] if isinstance(column.dtype, pl.List)
            else False if column.dtype == pl.Boolean
            else 1 if column.dtype.is_numeric()
            else (column.allowed or ("x",))[0]
        )
        for column in table.columns
    }  # fmt: skip
    return table.check(pl.DataFrame([{**blanks, **row} for row in rows], schema=table.schema))


def publish(warehouse: Warehouse, table: Table, rows: list[dict]) -> None:
    warehouse.write(table, filled(table, rows))
    warehouse.publish([table.name])


def link(item: int, number: int, source: str = "movielens_small") -> dict:
    return {"source": source, "source_id": str(item), "record_id": item, "movie_id": movie(number), "method": "id"}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path / "w")
    publish(made, CORE_MOVIE_LINKS, [link(item, item) for item in (1, 2, 3, 4)])
    publish(made, CORE_MOVIES, [{"movie_id": movie(n), "movielens_id": None} for n in (1, 2, 3, 4)])
    return made


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    put(folder, "ml-latest-small/ratings.csv", SMALL.encode())
    return folder


def put(sources: Path, name: str, content: bytes) -> None:
    path = sources / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def built(warehouse: Warehouse, sources: Path, full: bool = False) -> tuple[SessionsBuilt, list[str]]:
    said: list[str] = []
    made = build_sessions(warehouse, sources, full, said.append)
    warehouse.publish({commit.table: commit.version for commit in made.commits})
    return made, said


def failed(tables: Mapping[str, pl.DataFrame], suites: Sequence[Suite] = SUITES) -> list[Outcome]:
    """What the suites and the checks across tables find."""
    names = {table.name for table in TABLES}
    with over(tables) as query:
        found = [each for suite in suites if suite.table.name in tables for each in audit(suite, query)]
        own = [check for check in cross_checks(TABLES) if check.table in names and set(check.needs) <= set(tables)]
        return [each for each in (*found, *audit_across(own, query, tables)) if each.status != "passed"]


# -------------------------------------------------------------------------------------------------------------- sessions


def test_ratings_become_sessions_with_books(warehouse: Warehouse, sources: Path) -> None:
    content = SMALL + "1,1,9.0,5\n" + "".join(f"x{n},1,3.0,5\n" for n in range(1))
    put(sources, "ml-latest-small/ratings.csv", content.encode())
    made, _ = built(warehouse, sources)
    rows = warehouse.read(CORE_SESSIONS.name)
    assert rows.height == 10 and rows["release"].unique().to_list() == ["ml-latest-small"]
    # Film 5 is not in the corpus: the rating stays.
    assert set(rows.select("source_item_id", "movie_id").unique().rows()) == {
        (1, movie(1)), (2, movie(2)), (3, movie(3)), (4, movie(4)), (5, None),
    }  # fmt: skip
    (book,) = warehouse.read(META_SESSION_FILES.name).to_dicts()
    assert (book["rows"], book["rows_kept"], book["rows_rejected"]) == (12, 10, 2)
    assert (book["items"], book["items_in_corpus"]) == (5, 4)
    assert book["rejects"] == [
        "line 12: rating is no number of stars from 0.5 to 5: 1,1,9.0,5",
        "line 13: userId is no id of a user: x0,1,3.0,5",
    ]
    assert made.problems == () and made.counts["ml-latest-small: films in the corpus"] == 4


def test_only_twenty_rejects_are_kept(warehouse: Warehouse, sources: Path) -> None:
    good = "".join(f"{user},{item},4.0,{item}\n" for user in range(50) for item in range(1, 5))
    bad = "".join(f"x,{n},3.0,5\n" for n in range(30))
    put(sources, "ml-latest-small/ratings.csv", (HEADER + good + bad).encode())
    built(warehouse, sources)
    (book,) = warehouse.read(META_SESSION_FILES.name).to_dicts()
    assert book["rows_rejected"] == 30 and len(book["rejects"]) == 20


def test_nothing_is_read_twice(warehouse: Warehouse, sources: Path) -> None:
    built(warehouse, sources)
    again, said = built(warehouse, sources)
    assert said == [] and not any(commit.changed for commit in again.commits)
    put(sources, "ml-1m/ratings.dat", b"1::1::4::100\n1::2::5::200\n")
    more, said = built(warehouse, sources)
    assert said == ["reading ml-1m/ratings.dat", "ml-1m: 2 ratings"]
    assert more.counts["releases read"] == 1
    assert warehouse.read(CORE_SESSIONS.name)["release"].value_counts(sort=True).rows() == [
        ("ml-latest-small", 10),
        ("ml-1m", 2),
    ]


def test_read_in_full_it_is_the_same(warehouse: Warehouse, sources: Path) -> None:
    built(warehouse, sources)
    again, said = built(warehouse, sources, full=True)
    assert said and not any(commit.changed for commit in again.commits)


def test_films_that_join_reach_the_ratings(warehouse: Warehouse, sources: Path) -> None:
    built(warehouse, sources)
    publish(warehouse, CORE_MOVIE_LINKS, [link(item, item % 4 + 1) for item in (1, 2, 3, 4, 5)])
    made, _ = built(warehouse, sources)
    assert made.counts["releases read"] == 1
    rows = warehouse.read(CORE_SESSIONS.name)
    assert rows["movie_id"].null_count() == 0
    assert rows.filter(pl.col("source_item_id") == 5)["movie_id"].unique().to_list() == [movie(2)]


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda path: path.write_bytes(b"userId,movieId,stars,timestamp\n1,1,1.0,5\n"), "no column 'rating'"),
        (lambda path: path.write_bytes(SMALL.encode() + b"x\n" * 20), "could not be read"),
        (lambda path: path.write_bytes(b""), "no rating in"),
        (lambda path: path.unlink(), "its files are gone"),
    ],
)
def test_a_damaged_release_keeps_its_last_version(
    damage: Callable[[Path], None], word: str, warehouse: Warehouse, sources: Path
) -> None:
    built(warehouse, sources)
    before = warehouse.read(CORE_SESSIONS.name), warehouse.read(META_SESSION_FILES.name)
    damage(sources / "ml-latest-small" / "ratings.csv")
    put(sources, "ml-1m/ratings.dat", b"1::1::4::100\n1::2::5::200\n")
    made, said = built(warehouse, sources)
    (problem,) = made.problems
    assert problem.startswith("ml-latest-small: ") and word in problem and problem in said
    is_old = pl.col("release") == "ml-latest-small"
    assert warehouse.read(CORE_SESSIONS.name).filter(is_old).equals(before[0])
    assert warehouse.read(META_SESSION_FILES.name).filter(is_old).equals(before[1])
    # The other release is read all the same.
    assert warehouse.read(CORE_SESSIONS.name).height == 12
    # Mended, it is read again.
    put(sources, "ml-latest-small/ratings.csv", (SMALL + "3,1,4.0,9\n").encode())
    mended, _ = built(warehouse, sources)
    assert mended.problems == ()
    assert warehouse.read(CORE_SESSIONS.name).filter(is_old).height == 11


def test_what_was_not_published_is_made_anew(warehouse: Warehouse, sources: Path) -> None:
    built(warehouse, sources)
    published = warehouse.read(CORE_SESSIONS.name)
    put(sources, "ml-latest-small/ratings.csv", (HEADER + "9,1,4.0,9\n").encode())
    build_sessions(warehouse, sources, False, lambda _: None)  # written, and held back by a check
    (sources / "ml-latest-small" / "ratings.csv").unlink()
    made, _ = built(warehouse, sources)
    assert made.problems
    assert warehouse.read(CORE_SESSIONS.name).equals(published)


def test_files_are_hashed_once_and_the_passed_over_one_is_in_the_books(warehouse: Warehouse, sources: Path) -> None:
    put(sources, "old/ml-latest-small/ratings.csv.gz", gzip.compress(b"not to be read"))
    built(warehouse, sources)
    books = warehouse.read(META_SESSION_FILES.name).sort("file")
    assert books.select("file", "passed_over_for", "rows").rows() == [
        ("ml-latest-small/ratings.csv", None, 10),
        ("old/ml-latest-small/ratings.csv.gz", "ml-latest-small/ratings.csv", 0),
    ]
    before = books.filter(pl.col("file") == "ml-latest-small/ratings.csv").row(0, named=True)
    path = sources / "ml-latest-small" / "ratings.csv"
    path.write_bytes(SMALL.replace("4.0", "3.0").encode())
    os.utime(path, ns=(before["mtime_ns"], before["mtime_ns"]))
    assert session_files(sources, books).filter(file=before["file"])["sha256"].item() == before["sha256"]
    assert session_files(sources, books.head(0)).filter(file=before["file"])["sha256"].item() != before["sha256"]


def test_no_ratings_at_all_give_empty_tables(warehouse: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    made, _ = built(warehouse, tmp_path / "bare")
    assert made.problems == ()
    assert warehouse.read(CORE_SESSIONS.name).is_empty() and warehouse.read(META_SESSION_FILES.name).is_empty()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        build_sessions(warehouse, tmp_path / "nowhere", False, print)


def test_sessions_pass_their_checks_and_damage_does_not(warehouse: Warehouse, sources: Path) -> None:
    many = "".join(
        f"{user},{item},4.0,{100_000 * (item // 10) + item}\n" for user in range(1, 30) for item in range(1, 40)
    )
    put(sources, "ml-latest-small/ratings.csv", (HEADER + many).encode())
    publish(warehouse, CORE_MOVIE_LINKS, [link(item, item) for item in range(1, 40)])
    publish(warehouse, CORE_MOVIES, [{"movie_id": movie(n)} for n in range(1, 40)])
    built(warehouse, sources)
    names = (CORE_SESSIONS.name, META_SESSION_FILES.name, CORE_MOVIES.name)
    tables = {name: warehouse.read(name) for name in names}
    assert failed(tables) == []

    rows, books = tables[CORE_SESSIONS.name], tables[META_SESSION_FILES.name]

    def found(**changed: pl.DataFrame) -> set[str]:
        return {each.check for each in failed({**tables, **changed}, [FILES]) if each.severity == "ERROR"}

    flipped = pl.when(pl.col("position") == 0).then(pl.lit("test")).otherwise("session_split")
    assert "session_in_one_split" in found(core_sessions=rows.with_columns(session_split=flipped))
    assert "session_books_balance" in found(core_sessions=rows.head(100))
    assert "one_left_out" in found(core_sessions=rows.with_columns(leave_one_out_split=pl.lit("train")))
    assert "sessions_in_order" in found(core_sessions=rows.with_columns(rated_at=pl.col("rated_at").reverse()))
    assert "books_balance" in found(meta_session_files=books.with_columns(rows=pl.col("rows") + 1))


# -------------------------------------------------------------------------------------------------------------- examples


def say(warehouse: Warehouse, dialogues: dict[str, tuple[str, str, list[list[int]]]]) -> None:
    """Publish dialogues: id -> conversation, split, films of each turn; the seeker begins."""
    rows, turns, mentions = [], [], []
    for dialogue, (conversation, split, said) in dialogues.items():
        own = {"dialogue_id": dialogue, "dataset": dialogue.split("-")[0]}
        rows.append({**own, "conversation_id": conversation, "split": split})
        for turn, films in enumerate(said):
            turns.append({**own, "turn": turn, "split": split, "role": "recommender" if turn % 2 else "seeker"})
            mentions += [
                {
                    **own,
                    "turn": turn,
                    "start": 9 * place,
                    "end": 9 * place + 5,
                    "movie_id": movie(film),
                    "score_prob": 0.9,
                }
                for place, film in enumerate(films)
            ]
    publish(warehouse, CORE_DIALOGUES, rows)
    publish(warehouse, CORE_TURNS, turns)
    publish(warehouse, CORE_MENTIONS, mentions)


SAID = {
    "redial-1": ("redial-1", "train", [[1], [2], [], [3, 1]]),
    "iard-1": ("redial-1", "train", [[1], [2]]),
    "iard-2": ("redial-2", "test", [[1], [2]]),
    "inspired-1": ("inspired-1", "valid", [[], [4]]),
}


def make(warehouse: Warehouse, datasets: tuple[str, ...] = DATASETS, full: bool = False) -> Mapping[str, float]:
    done = build_rec_turns(warehouse, datasets, full, lambda _: None)
    warehouse.publish([commit.table for commit in done.commits])
    return done.counts


def test_examples_of_all_datasets(warehouse: Warehouse) -> None:
    say(warehouse, SAID)
    counts = make(warehouse)
    rows = warehouse.read(CORE_REC_TURNS.name)
    assert rows.select("dialogue_id", "turn", "split").rows() == [
        ("iard-2", 1, "test"),
        ("inspired-1", 1, "valid"),
        ("redial-1", 1, "train"),
        ("redial-1", 3, "train"),
    ]
    assert counts["left out: iard turns of conversations that stand in redial"] == 1
    assert counts["redial, train: labels"] == 3
    names = [table.name for table in (CORE_REC_TURNS, CORE_DIALOGUES, CORE_TURNS, CORE_MENTIONS, CORE_MOVIES)]
    tables = {name: warehouse.read(name) for name in names}
    assert [each for each in failed(tables) if each.severity == "ERROR"] == []

    def found(**changed: pl.Expr) -> set[str]:
        return {each.check for each in failed({**tables, CORE_REC_TURNS.name: rows.with_columns(**changed)})}

    assert "repeats_are_marked" in found(are_repeats=pl.col("are_repeats").list.eval(~pl.element()))
    assert "conversation_in_one_split_and_dataset" in found(conversation_id=pl.lit("redial-1"))
    assert "no_example_from_a_held_out_conversation" in found(split=pl.lit("train"))
    assert "only_recommenders_give_examples" in found(turn=pl.col("turn") - 1)
    assert "labels_are_mentions" in found(labels=pl.col("labels").list.head(1))
    assert "last_is_in_history" in found(last_mentioned=pl.lit(movie(9)))
    assert "films_of_examples_exist" in found(labels=pl.col("labels").list.concat(pl.lit(movie(9))))


def test_only_what_changed_is_made_again(warehouse: Warehouse) -> None:
    say(warehouse, SAID)
    make(warehouse)
    assert make(warehouse)["datasets made"] == 0
    assert make(warehouse, full=True)["datasets made"] == len(DATASETS)
    whole = warehouse.read(CORE_REC_TURNS.name)
    say(warehouse, {**SAID, "redial-1": ("redial-1", "train", [[1], [2], [], [3]])})
    assert make(warehouse, ("redial",))["datasets made"] == 1
    fresh = warehouse.read(CORE_REC_TURNS.name)
    is_redial = pl.col("dataset") == "redial"
    assert fresh.filter(~is_redial).equals(whole.filter(~is_redial))
    assert fresh.filter(is_redial)["labels"].to_list() == [[movie(2)], [movie(3)]]


def test_one_dataset_alone_knows_of_the_others(warehouse: Warehouse) -> None:
    say(warehouse, SAID)
    make(warehouse, ("iard",))
    assert warehouse.read(CORE_REC_TURNS.name)["dialogue_id"].to_list() == ["iard-2"]


def test_quarantined_mentions_do_not_count(warehouse: Warehouse) -> None:
    say(warehouse, SAID)
    aside = warehouse.read(CORE_MENTIONS.name).with_columns(is_quarantined=pl.col("movie_id") == movie(2))
    warehouse.write(CORE_MENTIONS, aside)
    warehouse.publish([CORE_MENTIONS.name])
    make(warehouse)
    rows = warehouse.read(CORE_REC_TURNS.name).select("dialogue_id", "history", "labels").rows()
    assert rows == [
        ("inspired-1", [], [movie(4)]),
        ("redial-1", [movie(1)], [movie(3), movie(1)]),
    ]
