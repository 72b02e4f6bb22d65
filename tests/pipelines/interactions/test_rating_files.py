"""Rating files: which are found, what is read of them, and what becomes of damaged ones."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from pipelines.interactions.read import RATINGS, read_ratings
from pipelines.interactions.releases import RELEASES, RatingFile, rating_files

Write = Callable[[str, bytes], RatingFile]

HEADER = b"userId,movieId,rating,timestamp\n"
ROWS = [(1, 10, 4.0, 1_000), (1, 30, 3.0, 5_000), (1, 20, 5.0, 1_000), (2, 10, 1.0, 900), (1, 40, 2.0, 3_199)]


def delimited(separator: str, header: bytes = b"", end: str = "\n", whole_stars: bool = False) -> bytes:
    rows = [(u, i, int(r) if whole_stars else r, t) for u, i, r, t in ROWS]
    return header + "".join(separator.join(map(str, row)) + end for row in rows).encode()


FILES = {
    "ml-100k/u.data": delimited("\t", whole_stars=True),
    "ml-1m/ratings.dat": delimited("::", whole_stars=True),
    "ml-10M100K/ratings.dat": delimited("::"),
    "ml-20m/ratings.csv": delimited(",", HEADER),
    "ml-25m/ratings.csv": delimited(",", HEADER.replace(b"\n", b"\r\n"), "\r\n"),
    "deep/down/ml-latest-small/ratings.csv": delimited(",", HEADER),
}


def as_rows(ratings: pl.DataFrame) -> list[tuple]:
    return ratings.select("user_id", "source_item_id", "rating", "time_s").rows()


@pytest.mark.parametrize("name", FILES)
def test_every_layout_gives_the_same_rows(name: str, one_file: Write) -> None:
    read = read_ratings(one_file(name, FILES[name]))
    assert as_rows(read.ratings) == ROWS
    assert read.ratings.schema == RATINGS
    assert read.rejects.is_empty() and read.failure is None
    first = 2 if name.endswith(".csv") else 1
    assert read.ratings["line"].to_list() == list(range(first, first + len(ROWS)))


def test_columns_are_known_by_their_names(one_file: Write) -> None:
    file = one_file("ml-32m/ratings.csv", b"timestamp,rating,note,movieId,userId\n1000,4.5,x,10,1\n")
    assert as_rows(read_ratings(file).ratings) == [(1, 10, 4.5, 1000)]


def test_gzip_and_zip_are_read_as_they_are(one_file: Write, tmp_path: Path) -> None:
    file = one_file("ml-25m/ratings.csv.gz", gzip.compress(FILES["ml-25m/ratings.csv"]))
    assert as_rows(read_ratings(file).ratings) == ROWS
    folder = tmp_path / "zipped"
    folder.mkdir()
    with zipfile.ZipFile(folder / "ml-25m.zip", "w") as archive:
        archive.writestr("ml-25m/ratings.csv", FILES["ml-25m/ratings.csv"])
    (member,) = rating_files(folder)
    assert member.release.name == "ml-25m"
    assert as_rows(read_ratings(member).ratings) == ROWS


def test_hidden_files_and_links_out_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "ratings.csv").write_bytes(FILES["ml-20m/ratings.csv"])
    sources = tmp_path / "sources"
    for folder in ("ml-20m", ".hidden/ml-25m", "ml-32m", "ml-other"):
        (sources / folder).mkdir(parents=True)
    (sources / "ml-20m" / "ratings.csv").symlink_to(outside / "ratings.csv")
    (sources / ".hidden" / "ml-25m" / "ratings.csv").write_bytes(FILES["ml-20m/ratings.csv"])
    (sources / "ml-32m" / ".ratings.csv").write_bytes(FILES["ml-20m/ratings.csv"])
    (sources / "ml-other" / "ratings.csv").write_bytes(FILES["ml-20m/ratings.csv"])
    assert rating_files(sources) == []
    with pytest.raises(FileNotFoundError, match="nowhere"):
        rating_files(tmp_path / "nowhere")


def test_ratings_count_before_the_order_made_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    frame = pl.DataFrame({"UserID": [1], "position": [0], "split": ["train"], "MovieID": [7]})
    frame.write_parquet(folder / "interactions_leave_one_out.parquet")
    (alone,) = rating_files(tmp_path)
    assert alone.layout.name == "leave_one_out" and alone.passed_over is None
    (folder / "ratings.dat").write_bytes(FILES["ml-1m/ratings.dat"])
    first, second = rating_files(tmp_path)
    assert (first.layout.name, first.passed_over) == ("ratings_dat", None)
    assert (second.layout.name, second.passed_over) == ("leave_one_out", "ml-1m/ratings.dat")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"x,10,4.0,1000", "userId is no id of a user"),
        (b"-1,10,4.0,1000", "userId is no id of a user"),
        (b"1,,4.0,1000", "movieId is no id of a film"),
        (b"1,10,0.0,1000", "rating is no number of stars from 0.5 to 5"),
        (b"1,10,nan,1000", "rating is no number of stars from 0.5 to 5"),
        (b"1,10,5.5,1000", "rating is no number of stars from 0.5 to 5"),
        (b"1,10,4.0,1000000000000", "timestamp is no time in seconds since 1970"),
        (b"1,10,4.0,2009-01-01", "timestamp is no time in seconds since 1970"),
        (b"99999999999999999999,10,4.0,1000", "userId is no id of a user"),
        (b"1,10,4.0", "3 fields, header has 4"),
        (b"1,10,4.0,1000,5", "5 fields, header has 4"),
        (b"2,10,1.0,900", "repeats another row"),
    ],
)
def test_bad_rows_are_set_apart(line: bytes, reason: str, one_file: Write) -> None:
    content = FILES["ml-20m/ratings.csv"] + line + b"\n3,10,2.5,7\n"
    read = read_ratings(one_file("ml-20m/ratings.csv", content))
    assert as_rows(read.ratings) == [*ROWS, (3, 10, 2.5, 7)]
    assert read.rejects.select("line", "reason").rows() == [(len(ROWS) + 2, reason)]
    assert read.failure is None
    if reason != "repeats another row":
        assert read.rejects["raw"].to_list() == [line.decode()]


def test_bytes_that_are_no_text_cost_their_line(one_file: Write) -> None:
    content = FILES["ml-1m/ratings.dat"] + b"\xff\xfe::1::2::3\n3::10::2::7\n"
    read = read_ratings(one_file("ml-1m/ratings.dat", content))
    assert read.ratings.height == len(ROWS) + 1
    assert read.rejects["line"].to_list() == [len(ROWS) + 1]


def test_a_second_rating_of_a_film_is_kept(one_file: Write) -> None:
    read = read_ratings(one_file("ml-20m/ratings.csv", HEADER + b"1,10,4.0,1000\n1,10,2.0,2000\n"))
    assert read.ratings.height == 2 and read.rejects.is_empty()


def test_a_header_without_a_column_is_said(one_file: Write) -> None:
    read = read_ratings(one_file("ml-20m/ratings.csv", b"userId,movieId,stars,timestamp\n1,10,4.0,1000\n"))
    assert read.failure == "no column 'rating' in the header"
    assert read.ratings.is_empty() and read.rejects.height == 1


def test_an_archive_cut_short_is_said(one_file: Write) -> None:
    whole = gzip.compress(HEADER + b"".join(b"%d,10,4.0,%d\n" % (n, n * 7919) for n in range(20_000)))
    read = read_ratings(one_file("ml-20m/ratings.csv.gz", whole[: len(whole) // 2]))
    assert read.failure == "gzip stream ends early"
    assert 0 < read.ratings.height < 20_000


@pytest.mark.parametrize("content", [b"", b"PAR1 this is none", b"\x00" * 64])
def test_a_file_that_is_no_parquet_is_said(content: bytes, one_file: Write) -> None:
    read = read_ratings(one_file("ml-1m/interactions_leave_one_out.parquet", content))
    assert read.failure is not None and "Parquet" in read.failure
    assert read.rejects.height == 1


def test_parquet_without_a_column_and_with_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "ml-1m" / "interactions_leave_one_out.parquet"
    path.parent.mkdir()
    pl.DataFrame({"UserID": [1], "MovieID": [1], "split": ["train"]}).write_parquet(path)
    (file,) = rating_files(tmp_path)
    assert read_ratings(file).failure == "no column 'position'"
    rows = {
        "UserID": [1, 1, None, 1, 1],
        "MovieID": [5, 6, 7, 8, 5],
        "position": [0, 1, 2, -3, 0],
        "split": ["train", "vall", "test", "test", "train"],
    }
    pl.DataFrame(rows).write_parquet(path)
    read = read_ratings(rating_files(tmp_path)[0])
    assert read.ratings.select("user_id", "source_item_id", "order", "split").rows() == [(1, 5, 0, "train")]
    assert read.rejects.select("line", "reason").rows() == [
        (2, "split is no split"),
        (3, "UserID is no id of a user"),
        (4, "position is no position"),
        (5, "repeats another row"),
    ]


def test_releases_say_which_ids_they_share() -> None:
    shared = {release.name: release.shares_ids for release in RELEASES}
    assert shared.pop("ml-100k") is False
    assert all(shared.values())
    assert next(release for release in RELEASES if release.name == "ml-100k").catalogues == ("movielens_100k",)
