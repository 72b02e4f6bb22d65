"""IMDb's official dumps: seven joined tab-separated files, of which six are written here.

Belongs here: the dumps' columns and words. Does not belong here: other files that merely carry IMDb ids.
"""

from __future__ import annotations

import polars as pl

from pipelines.synth.catalogues.base import Catalogue, Part, about, comma_list, imdb_id, ratings, runtimes
from pipelines.synth.draw import Stream, hits
from pipelines.synth.formats import IMDB_TSV
from pipelines.synth.noise import blanked
from pipelines.synth.world import PERSON_FIRST

KINDS = {
    "movie": "movie",
    "short": "short",
    "tv_movie": "tvMovie",
    "video": "video",
    "tv_special": "tvSpecial",
    "tv_series": "tvSeries",
    "tv_episode": "tvEpisode",
    "game": "videoGame",
}


def _person(column: pl.Expr) -> pl.Expr:
    return pl.lit("nm") + (column + PERSON_FIRST).cast(pl.String).str.zfill(7)


def _render(records: pl.DataFrame, random: Stream) -> list[Part]:
    records = records.sort("imdb_number").with_columns(tconst=imdb_id())
    n = records.height
    genres = (
        pl.when(pl.col("kind") == "short")
        .then(pl.concat_list("genres", pl.lit(["Short"])).list.sort().list.head(3))
        .otherwise(pl.col("genres"))
    )
    basics = records.select(
        "tconst",
        titleType=pl.col("kind").replace_strict(KINDS),
        primaryTitle="title",
        originalTitle=pl.when(pl.col("original_latin") == pl.col("true_title"))
        .then(pl.col("title"))
        .otherwise(pl.col("original_latin")),
        isAdult=pl.lit(0),
        startYear=blanked(pl.col("year"), 0.005, n, random),
        endYear=pl.when((pl.col("kind") == "tv_series") & hits(random, n, 0.6)).then(pl.col("year") + 2),
        runtimeMinutes=blanked(pl.lit(runtimes(records, random)), 0.12, n, random),
        genres=blanked(comma_list(genres, ","), 0.03, n, random),
    )
    # Who is missing in crew is missing in principals too.
    records = records.with_columns(
        all_director_ids=pl.col("director_ids"), director_ids=blanked(pl.col("director_ids"), 0.03, n, random)
    )
    people = comma_list(pl.col("director_ids").list.eval(_person(pl.element())), ",")
    crew = records.select("tconst", directors=people, writers=blanked(people, 0.5, n, random))
    rated = records.with_columns(averageRating=ratings(records, random)).filter(pl.col("votes") >= 5)
    return [
        Part(
            "imdb/title.basics.tsv.gz",
            IMDB_TSV,
            basics,
            about(records, pl.col("tconst")),
            edited="runtimeMinutes",
        ),
        Part("imdb/title.crew.tsv.gz", IMDB_TSV, crew),
        Part("imdb/title.ratings.tsv.gz", IMDB_TSV, rated.select("tconst", "averageRating", numVotes="votes")),
        Part("imdb/title.akas.tsv.gz", IMDB_TSV, _akas(records)),
        Part("imdb/title.principals.tsv.gz", IMDB_TSV, _principals(records)),
        Part("imdb/name.basics.tsv.gz", IMDB_TSV, _names(records)),
    ]


def _akas(records: pl.DataFrame) -> pl.DataFrame:
    """Every title a work is known by: as displayed, the original, and other names."""
    known = {"titleId": pl.col("tconst"), "region": pl.col("countries").list.first()}
    nothing = pl.lit(None, dtype=pl.String)
    display = records.select(**known, title="title", types=pl.lit("imdbDisplay"), original=pl.lit(0))
    original = records.select(
        titleId="tconst",
        region=nothing,
        title=pl.coalesce("original_title", "original_latin"),
        types=pl.lit("original"),
        original=pl.lit(1),
    )
    latin = records.filter(pl.col("original_latin") != pl.col("true_title")).select(
        **known, title="original_latin", types=pl.lit("imdbDisplay"), original=pl.lit(0)
    )
    others = (
        records.filter(pl.col("aliases").list.len() > 0)
        .select(
            titleId="tconst",
            region=pl.lit("XWW"),
            title="aliases",
            types=pl.lit("alternative"),
            original=pl.lit(0),
        )
        .explode("title")
    )
    return (
        pl.concat([display, original, latin, others])
        .sort("titleId", maintain_order=True)
        .select(
            "titleId",
            pl.int_range(1, pl.len() + 1).over("titleId").alias("ordering"),
            "title",
            "region",
            language=nothing,
            types="types",
            attributes=nothing,
            isOriginalTitle="original",
        )
    )


def _principals(records: pl.DataFrame) -> pl.DataFrame:
    """The cast in billing order, then the directors."""
    cast = records.select("tconst", person="cast_ids", order=pl.lit(0)).explode("person").drop_nulls("person")
    directors = records.select("tconst", person="director_ids", order=pl.lit(1)).explode("person").drop_nulls("person")
    played = pl.when(pl.col("person") % 2 == 0).then(pl.lit("actor")).otherwise(pl.lit("actress"))
    return (
        pl.concat([cast, directors])
        .sort("tconst", "order", maintain_order=True)
        .select(
            "tconst",
            pl.int_range(1, pl.len() + 1).over("tconst").alias("ordering"),
            nconst=_person(pl.col("person")),
            category=pl.when(pl.col("order") == 0).then(played).otherwise(pl.lit("director")),
            job=pl.lit(None, dtype=pl.String),
            characters=pl.when(pl.col("order") == 0).then(pl.format('["Role {}"]', pl.col("person") % 97)),
        )
    )


def _names(records: pl.DataFrame) -> pl.DataFrame:
    """Everybody credited, with the first works they are known for."""
    some = [
        records.select("tconst", "true_year", person=ids, name=names, what=pl.lit(what)).explode("person", "name")
        for ids, names, what in (("all_director_ids", "directors", "director"), ("cast_ids", "cast", "actor"))
    ]
    people = (
        pl.concat(some)
        .drop_nulls("person")
        .group_by("person")
        .agg(
            pl.col("name").first(),
            pl.col("true_year").min(),
            pl.col("what").first(),
            pl.col("tconst").sort().head(3).str.join(","),
        )
    )
    age = 22 + pl.col("person") % 30
    return people.sort("person").select(
        nconst=_person(pl.col("person")),
        primaryName="name",
        birthYear=pl.when(pl.col("person") % 3 != 0).then(pl.col("true_year") - age),
        deathYear=pl.lit(None, dtype=pl.Int32),
        primaryProfession="what",
        knownForTitles="tconst",
    )


CATALOGUE = Catalogue(
    name="imdb",
    share=0.92,
    render=_render,
    title_rate=0.03,
    year_rate=0.018,
    steepness=2.0,
    others=0.075,
    other_kinds=("tv_series", "tv_episode", "game"),
)
