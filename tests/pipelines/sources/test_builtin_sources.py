"""The built-in blocks: consistent among themselves, and right on the real catalogues where there are any."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipelines.sources.blocks import builtin_blocks
from pipelines.sources.files import list_folder, match_files
from pipelines.sources.read import ReadResult, read_source, reject_share

# Upstream names of the files that each built-in source is made of: every layout a user may have.
LAYOUTS = {
    "movielens_32m": ["ml-32m/movies.csv", "ml-32m.zip/ml-32m/movies.csv"],
    "movielens_25m": ["ml-25m/movies.csv", "x/ml-25m/movies.csv.gz"],
    "movielens_20m": ["ml-20m/movies.csv"],
    "movielens_small": ["ml-latest-small/movies.csv"],
    "movielens_1m": ["ml-1m/movies.dat", "ml-1m.zip/ml-1m/movies.dat"],
    "movielens_100k": ["ml-100k/u.item"],
    "movielens_1m_tmdb": ["movielens_movies_tmdb.csv"],
    "imdb": ["title.basics.tsv.gz", "imdb/title.basics.tsv"],
    "imdb_pandas": ["pandas-rewritten/title.basics.tsv.gz"],
    "imdb_2010s": ["zippedData/imdb.title.basics.csv.gz"],
    "imdb_collabs": ["collabs.csv"],
    "imdb_5000": ["imdb-5000/movie_metadata.csv"],
    "imdb_top_1000": ["imdb_top_1000.csv"],
    "omdb": ["omdb.csv"],
    "tmdb_ids": ["movie_ids_05_15_2026.json.gz"],
    "tmdb_details": ["tmdb_details.jsonl", "tmdb_details/603.json"],
    "tmdb_2010s": ["tmdb.movies.csv"],
    "tmdb_pt": ["tmdb-pt/tmdb_movies.json", "tmdb_movies_large.json"],
    "tmdb_reviews": ["wikidata-tmdb-sample/tmdb_movies.csv"],
    "movietweetings": [
        "movietweetings-dbpedia/mappings.csv",
        "MovieTweetingsMappings-master/data/mappings.csv",
    ],
    "dbpedia_facebook": ["LinkedDatasets/facebook_movies/mappingLinkedData.tsv"],
    "dbpedia_yahoo": ["LinkedDatasets/yahoo_23MB/mappingLinkedData.tsv"],
    "wikipedia": ["movies-1900s.json", "wikipedia-movie-data/movies-2020s.json.gz"],
    "wikidata": ["wikidata_movies.csv"],
    "timdb": ["1990-2009/bollywood.csv"],
    "netflix_prize": ["movie_titles.txt", "netflix-prize-data/movie_titles.csv", "movie_titles_original.csv"],
    "netflix": ["netflix_titles.csv"],
    "disney_plus": ["disney_plus_titles.csv"],
    "amazon_prime": ["amazon_prime_titles.csv"],
    "letterboxd": ["letterboxd/sample_movie_data_5000000.parquet"],
    "the_numbers": ["tn.movie_budgets.csv.gz"],
    "boxofficemojo": ["bom.movie_gross.csv.gz"],
    "bechdel": ["data-master/bechdel/movies.csv"],
    "biopics": ["biopics/biopics.csv"],
    "movie_stats": ["movie-stats/movies.csv", "movie-stats-main/movies.csv"],
    "aws_moviedata": ["moviedata.json"],
    "vega": ["vega-datasets-main/data/movies.json", "vega-movies/movies.json"],
    "cinema_fr": ["cinema-fr/films.csv", "cinema-supabase-main/csv/films.csv"],
    "redial": ["movies_with_mentions.csv"],
    "redial_info": ["redial/ievalm/id2info.json", "iEvaLM-CRS-main/data/redial/id2info.json"],
    "reddit_movie": ["gt_catalog.csv"],
    "opendialkg": ["opendialkg/id2info.json", "iEvaLM-CRS-main/data/opendialkg/id2info.json"],
}

# Title-file rows as the catalogues document them; records kept; share of records that have a field, at least.
# Rows not kept are repeats, or in NOT_REPEATS.
REAL = {
    "movielens_32m": (87_585, 87_585, {"genres": 0.9, "imdb_id": 0.7, "tmdb_id": 0.7, "movielens_id": 1}),
    "movielens_small": (9_742, 9_742, {"genres": 0.9, "imdb_id": 1, "tmdb_id": 0.99, "movielens_id": 1}),
    "movielens_1m": (3_883, 3_883, {"genres": 1, "movielens_id": 1}),
    "movielens_100k": (1_682, 1_682, {"genres": 0.99, "year": 0.99}),
    "movielens_1m_tmdb": (3_883, 3_883, {"tmdb_id": 0.9, "plot": 0.9, "cast_members": 0.9, "runtime": 0.9}),
    "imdb": (
        299,
        160,
        {"year": 0.9, "kind": 1, "directors": 0.2, "cast_members": 0.2, "aliases": 0.05, "genres": 0.9},
    ),
    "imdb_pandas": (1_000, 1_000, {"year": 1, "kind": 1, "genres": 0.9}),
    "imdb_2010s": (
        146_144,
        146_144,
        {"year": 1, "runtime": 0.78, "genres": 0.96, "votes": 0.5, "directors": 0.08},
    ),
    "imdb_collabs": (72_939, 8_045, {"imdb_id": 1, "cast_members": 0.99}),
    "imdb_5000": (5_043, 4_998, {"imdb_id": 0.99, "directors": 0.97, "cast_members": 0.99, "year": 0.97}),
    "imdb_top_1000": (1_000, 1_000, {"plot": 1, "directors": 1, "cast_members": 1, "year": 0.99}),
    "omdb": (
        12_569,
        12_569,
        {"imdb_id": 1, "directors": 0.99, "cast_members": 0.98, "year": 1, "countries": 0.98},
    ),
    "tmdb_2010s": (26_517, 25_497, {"tmdb_id": 1, "year": 1, "genres": 0.9}),
    "tmdb_pt": (796, 796, {"tmdb_id": 1, "plot": 0.94, "genres": 0.95, "cast_members": 0.1}),
    "tmdb_reviews": (14, 12, {"tmdb_id": 1, "imdb_id": 1}),
    "movietweetings": (27_066, 27_066, {"imdb_id": 1, "dbpedia_uri": 0.64, "genres": 0.99}),
    "dbpedia_facebook": (3_901, 3_901, {"dbpedia_uri": 1}),
    "dbpedia_yahoo": (3_309, 3_309, {"dbpedia_uri": 1}),
    "wikipedia": (36_273, 36_266, {"year": 1, "cast_members": 0.97, "genres": 0.98, "plot": 0.95}),
    "wikidata": (51, 0, {}),
    "timdb": (
        3_194,
        3_193,
        {"imdb_id": 0.96, "directors": 0.95, "year": 0.96, "wikipedia_slug": 1, "plot": 0.28},
    ),
    "netflix_prize": (17_770, 17_770, {"year": 0.99}),
    "netflix": (7_787, 7_787, {"kind": 1, "directors": 0.69, "plot": 1, "genres": 1, "year": 1}),
    "disney_plus": (1_450, 1_450, {"kind": 1, "plot": 1, "genres": 1, "year": 1}),
    "amazon_prime": (9_668, 9_668, {"kind": 1, "plot": 1, "genres": 1, "year": 1}),
    "letterboxd": (18_994, 18_994, {"year": 0.99, "genres": 0.95, "runtime": 0.94, "kind": 0.99}),
    "the_numbers": (5_782, 5_782, {"year": 1}),
    "boxofficemojo": (3_387, 3_387, {"year": 1}),
    "bechdel": (1_794, 1_794, {"imdb_id": 1, "year": 1}),
    "biopics": (761, 761, {"imdb_id": 1, "directors": 1, "countries": 1}),
    "movie_stats": (7_668, 7_668, {"directors": 0.99, "year": 1, "runtime": 0.99}),
    "aws_moviedata": (4_609, 4_609, {"directors": 0.99, "cast_members": 0.99, "plot": 0.9, "runtime": 0.9}),
    "vega": (3_201, 3_200, {"year": 1, "directors": 0.58}),
    "cinema_fr": (1_698, 1_698, {"year": 0.99, "plot": 0.9, "cast_members": 0.9, "original_title": 0.7}),
    "redial": (6_924, 6_924, {}),
    "redial_info": (6_583, 6_583, {"imdb_id": 0.99, "plot": 0.97, "directors": 0.98}),
    "reddit_movie": (7_404, 7_404, {"year": 0.99}),
    "opendialkg": (3_672, 3_672, {"year": 0.78, "directors": 0.43, "cast_members": 0.6}),
}
NOT_REPEATS = {
    "imdb": {"filtered: titleType = tvEpisode": 139},
    "timdb": {"5 fields, header has 4": 1},
    "vega": {"title is empty": 1},
    "wikidata": {"title is empty": 51},
}


def test_every_source_knows_its_upstream_files_and_no_two_share_one(tmp_path: Path) -> None:
    blocks = builtin_blocks()
    assert set(LAYOUTS) == set(blocks)
    for names in LAYOUTS.values():
        for name in names:
            if ".zip/" not in name:
                path = tmp_path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")
    listing = list_folder(tmp_path)
    owners: dict[str, list[str]] = {file.name: [] for file in listing}
    for block in blocks.values():
        for file in match_files(block.files, listing):
            owners[file.name].append(block.name)
    expected = {n: [source] for source, names in LAYOUTS.items() for n in names if ".zip/" not in n}
    assert owners == expected


def test_archives_as_downloaded_are_found(tmp_path: Path) -> None:
    import zipfile

    for source, names in LAYOUTS.items():
        for name in names:
            archive, inside, member = name.partition(".zip/")
            if inside:
                with zipfile.ZipFile(tmp_path / f"{archive}.zip", "w") as target:
                    target.writestr(member, "")
                found = match_files(builtin_blocks()[source].files, list_folder(tmp_path))
                assert [file.name for file in found] == [name]


def test_only_releases_with_the_shared_numbering_give_movielens_ids() -> None:
    giving = {name for name, block in builtin_blocks().items() if "movielens_id" in block.columns}
    assert giving == {f"movielens_{release}" for release in ("32m", "25m", "20m", "small", "1m", "1m_tmdb")}


def test_built_in_blocks_say_what_they_are() -> None:
    for block in builtin_blocks().values():
        assert block.title != block.name
        assert 0 < block.reliability < 1


def test_tmdb_details_as_the_api_answers(tmp_path: Path) -> None:
    import orjson

    film = {
        "id": 1, "imdb_id": "tt0000001", "title": "The Invented", "original_title": "L'Inventé",
        "overview": "Nothing.", "release_date": "2001-02-03", "runtime": 90, "vote_count": 12,
        "genres": [{"id": 18, "name": "Drama"}],
        "spoken_languages": [{"iso_639_1": "fr"}], "production_countries": [{"iso_3166_1": "BE"}],
        "credits": {
            "cast": [{"name": "A. Actor", "order": 0}, {"name": "B. Actor", "order": 1}],
            "crew": [{"name": "C. Chief", "job": "Director"}, {"name": "W. Writer", "job": "Screenplay"}],
        },
    }  # fmt: skip
    (tmp_path / "tmdb_details").mkdir()
    (tmp_path / "tmdb_details" / "1.json").write_bytes(orjson.dumps(film))
    (tmp_path / "tmdb_details.jsonl").write_bytes(orjson.dumps(film | {"id": 2}) + b"\n")
    titles = read_source(builtin_blocks()["tmdb_details"], tmp_path).titles
    assert titles["tmdb_id"].to_list() == ["2", "1"]
    row = titles.row(1, named=True)
    assert row["genres"] == ["Drama"]
    assert row["directors"] == ["C. Chief"]
    assert row["cast_members"] == ["A. Actor", "B. Actor"]
    assert (row["languages"], row["countries"], row["runtime"]) == (["fr"], ["BE"], "90")


def test_streaming_titles_under_their_kaggle_column_names(tmp_path: Path) -> None:
    text = "show_id,type,title,director,cast,country,release_year,duration,listed_in,description\n"
    (tmp_path / "disney_plus_titles.csv").write_text(text + 's1,Movie,Invented,,"A, B",,2001,90 min,"Drama, War",x\n')
    titles = read_source(builtin_blocks()["disney_plus"], tmp_path).titles
    assert titles.select("genres", "cast_members", "kind").row(0) == (["Drama", "War"], ["A", "B"], "Movie")


@pytest.fixture(scope="session")
def real_sources(real_data: Path) -> dict[str, ReadResult]:
    return {name: read_source(block, real_data) for name, block in builtin_blocks().items()}


@pytest.mark.real_data
@pytest.mark.slow
def test_real_catalogues_are_read_in_full(real_sources: dict[str, ReadResult]) -> None:
    present = {name for name, result in real_sources.items() if result.files.height}
    assert present == set(REAL)
    for name, (rows, kept, shares) in REAL.items():
        result = real_sources[name]
        title_files = set(result.titles["file"]) | set(result.rejects["file"])
        counted = result.accounting.filter(pl.col("file").is_in(title_files) | (pl.len() == 1))
        assert counted["rows_in"].sum() == rows, name
        assert result.titles.height == kept, name
        for field, share in shares.items():
            assert 1 - result.titles[field].null_count() / kept >= share, (name, field)


@pytest.mark.real_data
@pytest.mark.slow
def test_real_rejects_have_known_reasons_and_stay_within_bounds(real_sources: dict[str, ReadResult]) -> None:
    blocks = builtin_blocks()
    for name, result in real_sources.items():
        share = reject_share(result.accounting, result.rejects)
        assert share <= blocks[name].reject_share_max, (name, share)
        others = result.rejects.filter(~pl.col("reason").str.starts_with("duplicate of "))
        assert dict(others.group_by("reason").len().rows()) == NOT_REPEATS.get(name, {}), name


@pytest.mark.real_data
@pytest.mark.slow
def test_no_real_file_is_read_as_titles_by_two_sources(real_data: Path) -> None:
    listing = list_folder(real_data)
    owners = [file.name for block in builtin_blocks().values() for file in match_files(block.files, listing)]
    assert len(owners) == len(set(owners))
