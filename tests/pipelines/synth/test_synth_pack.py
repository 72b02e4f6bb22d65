"""Packs: determinism, the truth, rates of disagreement, damage, and packs too small or too big."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from pathlib import Path

import orjson
import polars as pl
import pytest

from pipelines.synth.catalogues.base import Part
from pipelines.synth.formats import CSV, JSONL, Format, lines_of, read_bytes
from pipelines.synth.noise import ARTICLES
from pipelines.synth.pack import CATALOGUES, write_pack
from pipelines.synth.words import real_films
from pipelines.synth.world import MOVIES_MAX, make_world

STREAMING = ("netflix", "disney_plus", "amazon_prime")
UTF8_CSV = {"separator": ",", "encoding": "utf-8", "header": True}
# How each delimited file is read back here: by its publisher's description, not by the code that wrote it.
DIALECTS = {
    "imdb/title.basics.tsv.gz": {"separator": "\t", "encoding": "utf-8", "header": True},
    "omdb/omdb.csv.gz": {"separator": ",", "encoding": "cp1252", "header": True},
    "ml-32m/movies.csv": UTF8_CSV,
    "ml-1m/movies.dat": {"separator": "::", "encoding": "latin-1", "header": False},
    "movietweetings-dbpedia/mappings.csv.gz": {"separator": ";", "encoding": "utf-8", "header": True},
    "netflix-prize/movie_titles_original.csv": {"separator": ",", "encoding": "latin-1", "header": False},
    "streaming-titles/netflix_titles.csv.gz": UTF8_CSV,
    "streaming-titles/disney_plus_titles.csv": UTF8_CSV,
    "streaming-titles/amazon_prime_titles.csv.gz": UTF8_CSV,
}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def records_of(pack: Path) -> pl.DataFrame:
    return pl.read_parquet(pack / "truth" / "records.parquet")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pack") / "small"
    write_pack(out, movies=1500, seed=3)
    return out


def test_same_seed_same_bytes(pack: Path, tmp_path: Path) -> None:
    write_pack(tmp_path / "again", movies=1500, seed=3)
    write_pack(tmp_path / "other", movies=1500, seed=4)
    assert digests(tmp_path / "again") == digests(pack)
    other = digests(tmp_path / "other")
    same = [name for name, digest in digests(pack).items() if other.get(name) == digest]
    assert set(same) <= {"truth/rejects.json", "truth/conversation_rejects.json"}


def test_gzip_headers_carry_no_time(pack: Path) -> None:
    packed = list(pack.rglob("*.gz"))
    assert len(packed) > 8
    for path in packed:
        assert path.read_bytes()[4:8] == b"\0\0\0\0", path.name


def test_progress_and_summary(tmp_path: Path) -> None:
    said: list[str] = []
    summary = write_pack(tmp_path / "p", movies=60, progress=said.append)
    assert summary.records.keys() == {c.name for c in CATALOGUES}
    assert sum(summary.records.values()) == records_of(tmp_path / "p").height
    assert any("imdb" in line for line in said)
    assert summary.rejects == json.loads((tmp_path / "p" / "truth" / "rejects.json").read_text())


@pytest.mark.parametrize("movies", [1, 2, 7, 40])
def test_tiny_packs(tmp_path: Path, movies: int) -> None:
    write_pack(tmp_path / "p", movies=movies, seed=1)
    films = pl.read_parquet(tmp_path / "p" / "truth" / "films.parquet")
    assert films["film"].to_list() == list(range(movies))
    assert films["is_real"].all()


@pytest.mark.parametrize(("movies", "seed"), [(0, 0), (-5, 0), (MOVIES_MAX + 1, 0), (10, -1)])
def test_numbers_out_of_range(tmp_path: Path, movies: int, seed: int) -> None:
    with pytest.raises(ValueError, match=r"movies must be|seed must not"):
        write_pack(tmp_path / "p", movies=movies, seed=seed)


def test_folder_with_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not empty"):
        write_pack(tmp_path, movies=5)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_small_pack_holds_real_films_and_same_titled_ones() -> None:
    known = {(t, y) for t, y in real_films().select("title", "year").iter_rows()}
    for seed in range(5):
        films = make_world(100, seed).filter("is_film")
        assert {(t, y) for t, y in films.select("title", "year").iter_rows()} <= known
        assert films["title"].str.to_lowercase().is_duplicated().sum() >= 10
    a, b = (set(make_world(100, seed).filter("is_film")["title"]) for seed in (1, 2))
    assert a != b


def test_real_films_are_well_formed() -> None:
    films = real_films()
    assert films.height > 1000
    assert films["year"].is_between(1888, 2029).all()
    assert films["runtime_min"].is_between(1, 1000).all()
    assert films.select("title", "year").is_unique().all()
    assert films["plot"].str.len_chars().is_between(20, 400).all() and films["plot"].is_unique().all()
    for column in ("imdb_id", "tmdb_id", "movielens_id"):
        assert films[column].drop_nulls().is_unique().all(), column
    assert films["imdb_id"].drop_nulls().str.contains(r"^tt\d{7,8}$").all()
    assert (films["directors"].list.len() > 0).all() and (films["cast"].list.len() > 0).all()


def test_beyond_the_real_films_others_are_invented() -> None:
    real = real_films().height
    works = make_world(real + 500, 0)
    films = works.filter("is_film")
    assert films.height == real + 500
    assert films["is_real"].sum() == real
    assert works.filter(~pl.col("is_film"))["film"].min() == films.height
    for column in ("film", "imdb_number", "tmdb_id", "movielens_id"):
        assert works[column].is_unique().all(), column
    assert not any(works.null_count().drop("original_title").row(0))


def cells(name: str, line: bytes) -> list[str]:
    """The cells of a line; quotes only where the file has them."""
    import csv

    dialect = DIALECTS[name]
    text = line.decode(str(dialect["encoding"]))
    separator = str(dialect["separator"])
    if len(separator) > 1 or name.endswith((".tsv.gz", "original.csv")):
        return text.split(separator)
    return next(csv.reader([text], delimiter=separator))


def test_truth_names_every_readable_row(pack: Path) -> None:
    records = records_of(pack)
    rejects = json.loads((pack / "truth" / "rejects.json").read_text())
    assert records.select("file", "line").is_unique().all()
    assert records.select("source", "source_id").is_unique().all()
    assert records["film"].null_count() == 0
    ids = {
        "imdb": "tconst",
        "omdb": "imdbID",
        "movielens_32m": "movieId",
        "movietweetings": "id",
        "netflix": "show_id",
        "disney_plus": "show_id",
        "amazon_prime": "show_id",
    }
    for name, dialect in DIALECTS.items():
        form = Format("delimited", header=bool(dialect["header"]), line_end="\r\n" if "32m" in name else "\n")
        header, lines = lines_of(read_bytes(pack / name), form)
        truth = records.filter(pl.col("file") == name)
        bad = rejects.get(name, {"broken": 0, "duplicate": 0})
        assert truth.height + bad["broken"] + bad["duplicate"] == len(lines), name
        first = 2 if dialect["header"] else 1
        width = len(cells(name, header)) if header else 0
        for source, source_id, at in truth.select("source", "source_id", "line").iter_rows():
            row = cells(name, lines[at - first])
            assert not width or len(row) == width
            where = cells(name, header).index(ids[source]) if header else 0
            assert row[where] == source_id


def test_truth_of_json_and_parquet(pack: Path) -> None:
    records = records_of(pack)
    for name in ("tmdb/movie_ids_11_20_2026.json.gz", "tmdb/tmdb_details.jsonl.gz"):
        lines = gzip.decompress((pack / name).read_bytes()).splitlines()
        truth = records.filter(pl.col("file") == name)
        assert truth.height > 100
        for source_id, line, title in truth.select("source_id", "line", "title").iter_rows():
            value = orjson.loads(lines[line - 1])
            assert str(value["id"]) == source_id
            assert value.get("title", value["original_title"]) == title
    details = orjson.loads(
        gzip.decompress((pack / "tmdb/tmdb_details.jsonl.gz").read_bytes()).splitlines()[truth["line"][0] - 1]
    )
    assert {"genres", "credits", "imdb_id", "overview", "runtime", "spoken_languages"} <= details.keys()
    assert {"cast", "crew"} == details["credits"].keys()
    wikipedia = records.filter(source="wikipedia")
    for name in wikipedia["file"].unique():
        films = orjson.loads((pack / name).read_bytes())
        truth = wikipedia.filter(file=name)
        assert [films[line - 1]["title"] for line in truth["line"]] == truth["title"].to_list()
        assert truth.height == len(films)
        assert {film["year"] // 10 for film in films} == {int(name[-10:-6]) // 10}
    letterboxd = records.filter(source="letterboxd")
    slugs = pl.read_parquet(pack / letterboxd["file"][0])["movie_id"]
    assert slugs.gather(letterboxd["line"] - 1).to_list() == letterboxd["source_id"].to_list()


def test_companion_files_refer_to_each_other(pack: Path) -> None:
    def table(name: str) -> pl.DataFrame:
        content = gzip.decompress((pack / "imdb" / name).read_bytes())
        return pl.read_csv(
            content,
            separator="\t",
            quote_char=None,
            infer_schema=False,
            null_values="\\N",
            ignore_errors=True,
        )

    names = table("name.basics.tsv.gz")
    principals, crew = table("title.principals.tsv.gz"), table("title.crew.tsv.gz")
    assert names["nconst"].is_unique().all()
    assert principals["nconst"].is_in(names["nconst"].implode()).all()
    assert crew["directors"].str.split(",").explode().drop_nulls().is_in(names["nconst"].implode()).all()
    assert principals.select("tconst", "ordering").is_unique().all()
    assert table("title.akas.tsv.gz").select("titleId", "ordering").is_unique().all()
    directed = crew["directors"].is_not_null().mean()
    assert isinstance(directed, float) and 0.9 < directed < 0.99


def test_broken_rows_are_what_the_truth_says(pack: Path) -> None:
    rejects = json.loads((pack / "truth" / "rejects.json").read_text())
    name = "tmdb/movie_ids_11_20_2026.json.gz"
    broken, seen, repeated = 0, set(), 0
    for line in gzip.decompress((pack / name).read_bytes()).splitlines():
        repeated += line in seen
        seen.add(line)
        try:
            orjson.loads(line)
        except orjson.JSONDecodeError:
            broken += 1
    assert rejects[name] == {"broken": broken, "duplicate": repeated}
    assert broken >= 1 and repeated >= 1


def test_truth_lies_outside_every_catalogue(pack: Path) -> None:
    assert {p.name for p in (pack / "truth").iterdir()} == {
        "records.parquet",
        "films.parquet",
        "rejects.json",
        "ratings.parquet",
        "reviews.json",
        "mentions.parquet",
        "operations.parquet",
        "dialogues.parquet",
        "dialogue_items.parquet",
        "conversation_rejects.json",
    }
    assert {path.parts[0] for path in map(Path, records_of(pack)["file"].unique())}.isdisjoint({"truth"})


def test_every_builtin_block_finds_its_files(pack: Path) -> None:
    """The reader's own view of a pack: what the truth calls a record is one, and nothing else is."""
    from pipelines.sources.blocks import builtin_blocks
    from pipelines.sources.read import read_source

    rejects = json.loads((pack / "truth" / "rejects.json").read_text())
    for (source,), truth in records_of(pack).group_by("source"):
        result = read_source(builtin_blocks()[str(source)], pack)
        filtered = result.rejects.filter(pl.col("reason").str.starts_with("filtered"))
        keys = ["source_id", "file", "line"]
        assert result.titles.join(truth, on=keys, how="anti").is_empty(), source
        missing = truth.join(result.titles, on=keys, how="anti")
        assert missing.join(filtered, on=["file", "line"], how="anti").is_empty(), source
        assert not missing["is_film"].any(), source
        for name in truth["file"].unique():
            found = result.rejects.filter(file=name).height - filtered.filter(file=name).height
            assert found == sum(rejects.get(name, {}).values()), name


@pytest.fixture(scope="module")
def twenty_thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pack") / "big"
    write_pack(out, movies=20_000, seed=0)
    return out


def pairs(pack: Path) -> pl.DataFrame:
    """For each two catalogues: films in both, and the shares of them with another title or another year."""
    first = records_of(pack).filter("is_film").unique(["source", "film"], keep="first", maintain_order=True)
    both = first.join(first, on="film", suffix="_b").filter(pl.col("source") < pl.col("source_b"))
    title, other = (pl.col(c).str.to_lowercase() for c in ("title", "title_b"))
    # Editions, which the Netflix Prize lists, are no disagreement about the title.
    return both.group_by("source", "source_b").agg(
        pl.len().alias("films"),
        title=(title != other).mean(),
        year=(pl.col("year") != pl.col("year_b")).mean(),
        by_one=((pl.col("year") - pl.col("year_b")).abs() == 1).sum() / (pl.col("year") != pl.col("year_b")).sum(),
    )


@pytest.mark.slow
def test_catalogues_disagree_as_real_ones_do(twenty_thousand: Path) -> None:
    found = pairs(twenty_thousand).filter(pl.col("films") >= 800)
    assert found.height >= 15
    assert found["title"].is_between(0.05, 0.25).all(), found.sort("title")
    assert found["year"].drop_nulls().is_between(0.03, 0.12).all(), found.sort("year")
    assert found.filter(pl.col("year").is_not_null())["by_one"].min() > 0.7  # type: ignore[operator]


@pytest.mark.slow
def test_titles_shared_by_several_films(twenty_thousand: Path) -> None:
    films = pl.read_parquet(twenty_thousand / "truth" / "films.parquet")
    titles = films.group_by(pl.col("title").str.to_lowercase()).agg(
        pl.len(), years=pl.col("year").n_unique(), span=pl.col("year").max() - pl.col("year").min()
    )
    several = (titles["years"] > 1).mean()
    assert isinstance(several, float) and 0.06 <= several <= 0.08
    shared = titles.filter(pl.col("len") > 1)
    assert (shared["years"] < shared["len"]).sum() > 30  # in one year
    assert (shared["span"] == 1).sum() > 50  # in neighbouring years


@pytest.mark.slow
def test_coverage(twenty_thousand: Path) -> None:
    records, movies = records_of(twenty_thousand), 20_000
    expected = {c.name: c.share for c in CATALOGUES}
    films = dict(records.filter("is_film").group_by("source").agg(pl.col("film").n_unique()).iter_rows())
    for source, share in expected.items():
        assert films[source] / movies == pytest.approx(share, rel=0.25), source
    assert len(films) >= 7
    assert records.height > 2.9 * movies
    votes = pl.read_parquet(twenty_thousand / "truth" / "films.parquet").select("film", "votes")
    known = records.filter("is_film").group_by("film").len().join(votes, on="film", how="right").fill_null(0)
    top = known.top_k(2000, by="votes")["len"].mean()
    rest = known.bottom_k(10_000, by="votes")["len"].mean()
    assert isinstance(top, float) and isinstance(rest, float) and top > 1.8 * rest
    assert sorted(votes["votes"], reverse=True)[0] > 100 * votes["votes"].median()  # type: ignore[operator]


@pytest.mark.slow
def test_years_and_missing_values(twenty_thousand: Path) -> None:
    films = pl.read_parquet(twenty_thousand / "truth" / "films.parquet")
    assert films["year"].is_between(1888, 2029).all()
    assert (films["year"] >= 2000).mean() > (films["year"] < 2000).mean()  # type: ignore[operator]
    netflix = pl.read_csv(
        gzip.decompress((twenty_thousand / "streaming-titles/netflix_titles.csv.gz").read_bytes()),
        infer_schema=False,
        ignore_errors=True,
        truncate_ragged_lines=True,
    )
    assert 0.2 < netflix["director"].null_count() / netflix.height < 0.4
    details = gzip.decompress((twenty_thousand / "tmdb/tmdb_details.jsonl.gz").read_bytes())
    assert "Ã".encode() in details  # encoded twice
    tweets = gzip.decompress((twenty_thousand / "movietweetings-dbpedia/mappings.csv.gz").read_bytes())
    assert b"&amp;" in tweets and b"&#39;" in tweets


@pytest.mark.slow
def test_movielens_titles_and_links(twenty_thousand: Path) -> None:
    movies = [cells("ml-32m/movies.csv", line) for line in _good_lines(twenty_thousand, "ml-32m/movies.csv")]
    titles = pl.Series([row[1] for row in movies])
    assert titles.str.contains(rf", ({ARTICLES}) .*\(\d{{4}}\)$").sum() > 500
    assert titles.str.contains("a.k.a. ", literal=True).sum() > 20
    assert 0.98 < titles.str.contains(r"\(\d{4}\) ?$").mean() < 0.999  # type: ignore[operator]
    links = pl.read_csv(twenty_thousand / "ml-32m/links.csv", infer_schema=False, ignore_errors=True)
    assert links["tmdbId"].drop_nulls().is_duplicated().any()
    assert links["imdbId"].str.contains(r"^\d{7,9}$").mean() > 0.999  # type: ignore[operator]


def _good_lines(pack: Path, name: str) -> list[bytes]:
    _, lines = lines_of(read_bytes(pack / name), Format("delimited", line_end="\r\n"))
    good = records_of(pack).filter(pl.col("file") == name)["line"]
    return [lines[line - 2] for line in good]


def test_damage_never_leaves_a_readable_row() -> None:
    from pipelines.synth.damage import broken

    source = random.Random(0)
    for number in range(40):
        row = ["12", "A title, with a comma", str(source.random())]
        line = '{},"{}",{}'.format(*row).encode()
        damaged = broken(line, number, CSV)
        is_text = b"\xff" not in damaged and b"\x00" not in damaged
        assert not is_text or len(cells("ml-32m/movies.csv", damaged)) != 3
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(broken(b'{"id": 1, "title": "x"}', number, JSONL))


def test_part_without_records_has_no_truth() -> None:
    from pipelines.synth.damage import damaged, truth
    from pipelines.synth.draw import stream

    part = Part("x.csv", CSV, pl.DataFrame({"a": [1, 2]}))
    with pytest.raises(ValueError, match=r"x\.csv"):
        truth("source", part, damaged(part, stream(0, "x")))
