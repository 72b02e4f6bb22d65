"""A whole source: mapping, joins, ids, repeats, and books that balance."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.blocks import SourceBlock, read_blocks
from pipelines.sources.files import Limits
from pipelines.sources.read import ReadResult, read_source, reject_share, source_files
from pipelines.sources.records import ReadError
from warehouse.contracts import Column
from warehouse.tables.titles import META_ROW_ACCOUNTING, META_SOURCE_FILES, RAW_REJECTS, raw_titles

ATTIC = """
[[source]]
name = "attic"
files = ["**/attic*.csv"]
format = "csv"
ignore = ["row"]
[source.columns]
source_id = "id"
title = "title"
year = "year"
genres = { from = "genres", separator = "|", null_words = ["none"] }
"""


def block(tmp_path: Path, text: str) -> SourceBlock:
    path = tmp_path / "blocks.toml"
    path.write_text(text, "utf-8")
    (only,) = read_blocks(path).values()
    return only


def read(tmp_path: Path, text: str, files: dict[str, str | bytes], limits: Limits | None = None) -> ReadResult:
    """Read the source of the TOML `text` from a folder with `files`; every frame must keep its contract."""
    folder = tmp_path / "sources"
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    folder.mkdir(exist_ok=True)
    source = block(tmp_path, text)
    result = read_source(source, folder, limits=limits)
    raw_titles(source.name, "x").check(result.titles)
    RAW_REJECTS.check(result.rejects)
    META_ROW_ACCOUNTING.check(result.accounting)
    META_SOURCE_FILES.check(result.files)
    balance = result.accounting.select((pl.col("rows_kept") + pl.col("rows_rejected") - pl.col("rows_in")).abs().sum())
    assert balance.item() == 0
    counted = result.rejects.group_by("file").len("found").join(result.accounting, on="file", how="full", coalesce=True)
    assert (counted["found"].fill_null(0) == counted["rows_rejected"]).all()
    return result


def reasons(result: ReadResult) -> list[tuple[str, int, str]]:
    return result.rejects.select("file", "line", "reason").rows()


def test_mapping_and_extra(tmp_path: Path) -> None:
    text = "row,id,title,year,genres,colour,length\n0,7,Heat,1995,Crime| Drama |none,,170\n1,8,Ronin,,none,red,\n"
    titles = read(tmp_path, ATTIC, {"attic.csv": text}).titles
    assert titles.select("source_id", "file", "line", "title", "year", "genres", "extra").rows() == [
        ("7", "attic.csv", 2, "Heat", "1995", ["Crime", "Drama"], '{"length":"170"}'),
        ("8", "attic.csv", 3, "Ronin", None, None, '{"colour":"red"}'),
    ]


def test_missing_ids_are_made_of_title_and_year(tmp_path: Path) -> None:
    text = "row,id,title,year,genres\n0,,Amélie  & Co!,c. 2001,\n1,,東京物語,1953,\n2,,???,,\n3, ,Heat,,\n"
    titles = read(tmp_path, ATTIC, {"attic.csv": text}).titles
    assert titles["source_id"].to_list() == ["amélie-co-2001", "東京物語-1953", "???", "heat"]


def test_equal_repeats_are_rejected_and_different_ones_numbered(tmp_path: Path) -> None:
    text = (
        "row,id,title,year,genres\n0,7,Heat,1995,\n1,7,Heat,1995,\n2,7,Heat,1996,\n3,7#2,Trap,,\n4,7,Heat,1997,\n"
        "5,7,Heat,1996,\n"
    )
    more = "row,id,title,year,genres\n9,7,Heat,1995,\n"
    result = read(tmp_path, ATTIC, {"attic1.csv": text, "attic2.csv": more})
    assert result.titles.select("source_id", "year").rows() == [
        ("7", "1995"),
        ("7#2", "1996"),
        ("7#2#2", None),
        ("7#3", "1997"),
    ]
    assert reasons(result) == [
        ("attic1.csv", 3, "duplicate of line 2"),
        ("attic1.csv", 7, "duplicate of line 4"),
        ("attic2.csv", 2, "duplicate of line 2 of attic1.csv"),
    ]
    assert result.rejects["raw"].to_list()[0] == "1,7,Heat,1995,"


def test_untitled_rows_are_rejected_but_films_called_na_are_not(tmp_path: Path) -> None:
    toml = ATTIC.replace("[source.columns]", 'null_words = ["", "NA"]\n[source.columns]').replace(
        'title = "title"', 'title = { from = "title", null_words = [] }'
    )
    result = read(tmp_path, toml, {"attic.csv": "row,id,title,year,genres\n0,1,NA,NA,none\n1,2,,1999,\n2,3,  ,,\n"})
    assert result.titles.select("title", "year", "genres").rows() == [("NA", None, None)]
    assert reasons(result) == [("attic.csv", 3, "title is empty"), ("attic.csv", 4, "title is empty")]


def test_filtered_rows_are_in_the_books_but_not_in_the_share(tmp_path: Path) -> None:
    toml = ATTIC + '[source.where]\nyear = ["1995", "1998"]\n'
    text = "row,id,title,year,genres\n0,1,A,1995,\n1,2,B,1996,\n2,3,C,,\n3,4,,1998,\n4,5,D\n"
    result = read(tmp_path, toml, {"attic.csv": text})
    assert result.titles["title"].to_list() == ["A"]
    assert set(reasons(result)) == {
        ("attic.csv", 3, "filtered: year = 1996"),
        ("attic.csv", 4, "filtered: year = "),
        ("attic.csv", 5, "title is empty"),
        ("attic.csv", 6, "3 fields, header has 5"),
    }
    assert reject_share(result.accounting, result.rejects) == pytest.approx(2 / 3)


JOINED = """
[[source]]
name = "joined"
files = ["films.csv"]
format = "csv"
[source.columns]
source_id = "id"
title = "title"
imdb_id = { from = "imdb", format = "tt{:0>7}" }
directors = { from = "director_ids", separator = ",", lookup = [
    { files = ["people.csv"], key = "pid", value = ["{stage}", "{first} {last}"] },
    { files = ["more.tsv"], format = "tsv", key = "pid", value = "name" },
] }
cast_members = { from = "cast_ids", lookup = { files = ["people.csv"], key = "pid", value = "last" } }
[[source.join]]
files = ["links/new.csv", "links/*.csv"]
on = "film"
to = "id"
take = { imdb = "imdb_id", director_ids = "directors" }
[[source.join]]
files = ["cast.csv"]
on = "id"
where = { kind = ["cast"] }
collect = { cast_ids = { from = "pid", order_by = "place" } }
"""

JOINED_FILES: dict[str, str | bytes] = {
    "films.csv": "id,title\n1,A\n2,B\n3,C\n",
    "links/new.csv": 'film,imdb_id,directors\n1,42,"p1,p9,p3"\n1,43,\nx,1,p1\nbroken\n',
    "links/old.csv": "film,imdb_id,directors\n1,99,p2\n2,7,p2\n",
    "cast.csv": "id,pid,kind,place\n1,p2,cast,10\n1,p1,cast,2\n1,p1,crew,1\n1,p1,cast,11\n2,p3,cast,\n",
    "people.csv": "pid,first,last,stage\np1,Ann,Lee,\np2,Bo,Ray,Bobo\np4,,Solo,\n",
    "more.tsv": "pid\tname\np3\tCy\np1\tno, people.csv comes first\n",
}


def test_joins_and_lookups(tmp_path: Path) -> None:
    result = read(tmp_path, JOINED, JOINED_FILES)
    assert result.titles.select("source_id", "imdb_id", "directors", "cast_members").rows() == [
        ("1", "tt0000042", ["Ann Lee", "Cy"], ["Lee", "Ray"]),
        ("2", "tt0000007", ["Bobo"], None),
        ("3", None, None, None),
    ]
    # Ids stay in `extra`, for a lookup may not know them all.
    assert json.loads(result.titles["extra"][0]) == {"director_ids": "p1,p9,p3", "cast_ids": ["p1", "p2"]}
    assert result.titles["extra"][2] is None
    books = {row["file"]: (row["rows_in"], row["rows_rejected"]) for row in result.accounting.to_dicts()}
    assert books == {
        "films.csv": (3, 0),
        "links/new.csv": (4, 1),
        "links/old.csv": (2, 0),
        "cast.csv": (5, 0),
        "people.csv": (3, 0),
        "more.tsv": (2, 0),
    }
    assert result.files["file"].to_list() == list(books)


def test_absent_joined_files_leave_nulls(tmp_path: Path) -> None:
    result = read(tmp_path, JOINED, {"films.csv": JOINED_FILES["films.csv"]})
    assert result.titles["title"].to_list() == ["A", "B", "C"]
    for name in ("imdb_id", "directors", "cast_members"):
        assert result.titles[name].null_count() == 3


def test_a_source_without_title_files_is_empty_and_reads_nothing(tmp_path: Path) -> None:
    result = read(tmp_path, JOINED, {"people.csv": JOINED_FILES["people.csv"]})
    assert (result.titles.height, result.accounting.height, result.files.height) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "file", "column", "key"),
    [
        (("films.csv", "id,name\n1,A\n"), "films.csv", "'title'", "columns.title"),
        (("films.csv", "no,title\n1,A\n"), "films.csv", "'id'", "columns.source_id"),
        (("cast.csv", "id,pid\n"), "cast.csv", "'kind'", "kind"),
        (("people.csv", "pid,last\n"), "people.csv", "'stage'", "stage"),
    ],
)
def test_missing_columns_are_named(tmp_path: Path, change: tuple[str, str], file: str, column: str, key: str) -> None:
    with pytest.raises(ReadError) as error:
        read(tmp_path, JOINED, JOINED_FILES | dict([change]))
    for word in (file, column, key):
        assert word in str(error.value)


def test_a_joined_column_may_not_hide_one_of_the_titles(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"films\.csv: has a column 'imdb' itself"):
        read(tmp_path, JOINED, JOINED_FILES | {"films.csv": "id,title,imdb\n1,A,2\n"})


def test_one_of_several_columns_is_enough(tmp_path: Path) -> None:
    toml = ATTIC.replace('year = "year"', 'year = ["year", "released"]')
    result = read(tmp_path, toml, {"attic.csv": "row,id,title,released,genres\n0,1,A,1990,\n"})
    assert result.titles["year"].to_list() == ["1990"]
    with pytest.raises(ReadError, match=r"no column 'year' or 'released' for key columns\.year"):
        read(tmp_path, toml, {"attic.csv": "row,id,title,when,genres\n0,1,A,1990,\n"})


def test_list_fields_from_patterns_flags_and_several_columns(tmp_path: Path) -> None:
    toml = """
[[source]]
name = "lists"
files = ["a.csv"]
format = "csv"
[source.columns]
title = "t"
genres = { from = ["Action", "Drama"], flag = "1" }
countries = { from = "pays", pattern = "[a-z]{2}" }
cast_members = { from = ["a1", "a2"] }
aliases = { from = "aka", separator = "/", format = "<{}>" }
year = { from = "when", pattern = '(\\d{4})-' }
"""
    text = 't,Action,Drama,pays,a1,a2,aka,when\nA,1,1,"{us,gb}",x,,p/ q,in 1999-05\nB,0,0,{},,,,1998\n'
    fields = ("genres", "countries", "cast_members", "aliases", "year")
    assert read(tmp_path, toml, {"a.csv": text}).titles.select(fields).rows() == [
        (["Action", "Drama"], ["us", "gb"], ["x"], ["<p>", "<q>"], "1999"),
        (None, None, None, None, None),
    ]


def test_grouped_rows_become_one_record(tmp_path: Path) -> None:
    toml = """
[[source]]
name = "grouped"
files = ["a.csv"]
format = "csv"
group_by = "id"
ignore = ["pid"]
[source.columns]
source_id = "id"
title = "t"
year = "y"
cast_members = "name"
"""
    text = "id,pid,t,y,name\n1,a,A,,x\n2,a,B,,x\n1,b,A,1990,y\n1,c,A,1991,x\n,d,C,,z\n,d,D,,\nshort\n"
    result = read(tmp_path, toml, {"a.csv": text})
    assert result.titles.select("source_id", "line", "title", "year", "cast_members").rows() == [
        ("1", 2, "A", "1990", ["x", "y"]),
        ("2", 3, "B", None, ["x"]),
        ("c", 6, "C", None, ["z"]),
        ("d", 7, "D", None, None),
    ]
    assert result.accounting.select("rows_in", "rows_kept").rows() == [(7, 6)]


def test_json_lines_by_their_suffix_and_lists_of_texts(tmp_path: Path) -> None:
    toml = """
[[source]]
name = "js"
files = ["a.*"]
format = "json"
ignore = ["junk"]
[source.columns]
title = "t"
genres = "g"
kind = { from = "tags", pattern = "^(?:book|novel)$" }
"""
    lines = '{"t": "A", "g": ["x"], "junk": 1, "tags": ["blue", "novel", "book"]}\n{"t": "B", "g": "y", "more": [1]}\n'
    titles = read(tmp_path, toml, {"a.jsonl": lines, "a.json": '[{"t": "C", "g": null, "tags": ["blue"]}]'}).titles
    assert titles.select("title", "genres", "kind", "extra").rows() == [
        ("C", None, None, None),
        ("A", ["x"], "novel", None),
        ("B", ["y"], None, '{"more":[1]}'),
    ]


def test_empty_files_are_told(tmp_path: Path) -> None:
    result = read(tmp_path, ATTIC, {"attic.csv": "", "attic2.csv": "row,id,title,year,genres\n"})
    assert result.messages == ("attic.csv: no rows", "attic2.csv: no rows")
    assert result.accounting["rows_in"].to_list() == [0, 0]


def test_hostile_archives(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    with zipfile.ZipFile(folder / "attic.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("attic1.csv", "row,id,title,year,genres\n0,1,A,,\n")
        archive.writestr("../attic2.csv", "row,id,title,year,genres\n0,2,B,,\n")
        archive.writestr("attic3.csv", "row,id,title,year,genres\n0,3,C,,\n" + "x" * 5_000_000)
    (folder / "attic4.csv.gz").write_bytes(gzip.compress(b"row,id,title,year,genres\n0,4,D,,\n0,5,E,,\n")[:-12])
    result = read(tmp_path, ATTIC, {}, Limits(expansion_after_bytes=100_000))
    assert [t for t in result.titles["title"] if t in "ABC"] == ["A"]
    by_file = {file: reason for file, _, reason in reasons(result)}
    assert "leads out" in by_file["attic.zip/../attic2.csv"]
    assert "bomb" in by_file["attic.zip/attic3.csv"]
    assert by_file["attic4.csv.gz"] == "gzip stream ends early"
    assert not (tmp_path / "attic2.csv").exists()


def test_a_broken_archive_is_one_reject(tmp_path: Path) -> None:
    toml = ATTIC.replace("**/attic*.csv", "**/attic/films.csv")
    result = read(tmp_path, toml, {"attic.zip": b"PK nonsense"})
    assert len(result.rejects) == 1
    assert "not a readable zip archive" in result.rejects["reason"][0]


def test_reading_twice_gives_the_same_and_hashes_follow_content_alone(tmp_path: Path) -> None:
    text = "row,id,title,year,genres\n0,1,A,1990,x|y\n1,2,B,,\n"
    first = read(tmp_path / "a", ATTIC, {"attic.csv": text})
    again = read(tmp_path / "b", ATTIC, {"attic.csv": text})
    assert first.titles.equals(again.titles)
    turned = read(tmp_path / "c", ATTIC, {"attic.csv": "genres,id,row,year,title\n,2,77,,B\nx|y,1,78,1990,A\n"})
    assert dict(first.titles.select("source_id", "row_hash").rows()) == dict(
        turned.titles.select("source_id", "row_hash").rows()
    )
    # Pinned: a change of this number makes every record of every user a changed one.
    assert first.titles["row_hash"][1] == HASH_OF_B


HASH_OF_B = 2612594181065498373


def test_fingerprints_follow_the_files_and_the_block(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    read(tmp_path, ATTIC, {"attic.csv": "row,id,title,year,genres\n"})
    source = block(tmp_path, ATTIC)
    before = source_files(source, folder)
    assert before.equals(read_source(source, folder).files)
    trusted = source_files(source, folder, before.with_columns(pl.lit("0" * 64).alias("sha256")))
    assert trusted["sha256"].to_list() == ["0" * 64]
    (folder / "attic.csv").write_text("row,id,title,year,genres\n0,1,A,,\n")
    after = source_files(source, folder, before)
    assert after["sha256"][0] != before["sha256"][0]
    changed = source_files(block(tmp_path, ATTIC.replace('"row"', '"row", "x"')), folder, after)
    assert changed["block_hash"][0] != after["block_hash"][0]
    assert changed["sha256"].equals(after["sha256"])


CELL = st.text(st.sampled_from('ab1| ,"\n\té'), max_size=6)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from(["1", "2", ""]), CELL, CELL), max_size=12),
    damage=st.lists(st.tuples(st.integers(0, 200), st.sampled_from([b'"', b",", b"\n", b"\0", b"\xff"])), max_size=4),
    cut=st.integers(0, 30),
    zipped=st.booleans(),
)
def test_books_balance_over_damaged_sources(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    damage: list[tuple[int, bytes]],
    cut: int,
    zipped: bool,
) -> None:
    quoted = ['0,{},"{}",1999,"{}"'.format(i, *(c.replace('"', '""') for c in (t, g))) for i, t, g in rows]
    data = "\n".join(quoted).encode()
    for at, what in damage:
        data = data[:at] + what + data[at:]
    data = b"row,id,title,year,genres\n" + data
    folder = tmp_path_factory.mktemp("damaged")
    if zipped:
        packed = gzip.compress(data, mtime=0)
        read(folder, ATTIC, {"attic.csv.gz": packed[: len(packed) - cut]})
    else:
        read(folder, ATTIC, {"attic.csv": data[: max(25, len(data) - cut)]})


@settings(max_examples=20, deadline=None)
@given(st.permutations([("1", "A"), ("2", "B"), ("3", "C"), ("3", "C"), ("", "D")]))
def test_records_do_not_depend_on_their_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    text = "row,id,title,year,genres\n" + "".join(f"0,{i},{t},,\n" for i, t in rows)
    titles = read(tmp_path_factory.mktemp("order"), ATTIC, {"attic.csv": text}).titles
    assert sorted(titles.select("source_id", "title").rows()) == [
        ("1", "A"),
        ("2", "B"),
        ("3", "C"),
        ("d", "D"),
    ]


def test_every_raw_field_can_be_filled(tmp_path: Path) -> None:
    from warehouse.tables.titles import RAW_FIELDS

    def cell(column: Column) -> str:
        return f"{column.name} value"

    mapping = "".join(f'{c.name} = "{c.name}"\n' for c in RAW_FIELDS)
    toml = '[[source]]\nname = "all"\nfiles = ["a.csv"]\nformat = "csv"\n[source.columns]\n' + mapping
    text = ",".join(c.name for c in RAW_FIELDS) + "\n" + ",".join(map(cell, RAW_FIELDS)) + "\n"
    (row,) = read(tmp_path, toml, {"a.csv": text}).titles.to_dicts()
    for column in RAW_FIELDS:
        expected = cell(column) if column.dtype == pl.String else [cell(column)]
        assert row[column.name] == expected
