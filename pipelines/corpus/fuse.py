"""From linked records to films: one row a film, every field chosen by its policy, disagreements recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from pipelines.corpus.policy import ALIASES_MAX, DEFAULT_RELIABILITY, FIELDS, POLICY_VERSION, Field
from pipelines.corpus.vocabulary import canonical_genres
from pipelines.linking.keys import person_key, title_key
from warehouse.tables.corpus import CORE_MOVIE_CONFLICTS, CORE_MOVIES

COMPLETE = ("directors", "cast_members", "genres", "plot")


@dataclass(frozen=True)
class Fused:
    """`movies` conforms to core_movies, `conflicts` to core_movie_conflicts; both sorted by their keys."""

    movies: pl.DataFrame
    conflicts: pl.DataFrame


def fuse(
    records: pl.DataFrame,
    links: pl.DataFrame,
    reliability: Mapping[str, float],
    policy: str = POLICY_VERSION,
    enriched: pl.DataFrame | None = None,
) -> Fused:
    """Fuse the records of each film.

    `records`: core_title_records. `links`: record_id, movie_id of the films to make. `reliability`: weight of each source,
    0..1. `policy`: version of what decides, kept in content_hash. `enriched`: tmdb_id and further fields that a lookup service gave, filled in only where every source is silent.
    """
    members = _members(records, links, reliability)
    # Most films have a single record: nothing to decide, and no reason to group anything.
    alone = members.filter(pl.len().over("film") == 1)
    several = members.filter(pl.len().over("film") > 1)
    voted, conflicts = _vote(several)
    movies = pl.concat([_alone(alone), voted], how="diagonal")
    movies = movies.join(_aliases(members, movies), on="film", how="left")
    if enriched is not None and enriched.height:
        movies = fill_missing(movies, enriched)
    empty = pl.lit([], dtype=pl.List(pl.String))
    lists = [name for name, dtype in CORE_MOVIES.schema.items() if dtype == pl.List(pl.String)]
    movies = movies.with_columns(*(pl.col(name).fill_null(empty) for name in lists), pl.col("kind").fill_null("movie"))
    movies = movies.with_columns(
        is_complete=pl.all_horizontal(
            *(pl.col(name).list.len() > 0 for name in COMPLETE if name in lists), pl.col("plot").is_not_null()
        ),
        original_title=pl.when(pl.col("original_title") != pl.col("title")).then("original_title"),
    )
    movies = movies.join(signatures(records, links, policy, enriched), on="movie_id", how="left")
    names = movies.select("film", "movie_id")
    return Fused(
        CORE_MOVIES.conform(movies.drop("film")).sort("movie_id"),
        CORE_MOVIE_CONFLICTS.conform(conflicts.join(names, on="film").drop("film")).sort("movie_id", "field"),
    )


def signatures(
    records: pl.DataFrame,
    links: pl.DataFrame,
    policy: str = POLICY_VERSION,
    enriched: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Hash what each film is made from: movie_id, content_hash. Equal when neither its records nor the policy changed.

    `records` needs record_id, row_hash and tmdb_id; the order of rows does not matter.
    """
    version = int.from_bytes(hashlib.md5(policy.encode(), usedforsecurity=False).digest()[:7])
    rows = links.select("record_id", "movie_id").join(
        records.select("record_id", "row_hash", "tmdb_id"), on="record_id"
    )
    rows = rows.with_columns(pl.col("record_id") ^ pl.col("row_hash"))
    if enriched is not None and enriched.height:
        found = enriched.select("tmdb_id", found=pl.col("fetched_at").cast(pl.Int64))
        rows = rows.join(found, on="tmdb_id", how="left").with_columns(
            pl.col("record_id") ^ pl.col("found").fill_null(0)
        )
    # Both hashes are uniform, so their sum (which wraps around) is as good as a hash and knows no order.
    return rows.group_by("movie_id").agg(content_hash=pl.col("record_id").sum() ^ version)


def _members(records: pl.DataFrame, links: pl.DataFrame, reliability: Mapping[str, float]) -> pl.DataFrame:
    """Records with `movie_id`, its number `film` and the source's `weight`, the most reliable source of a film first.

    Everything below relies on that order: the first value of a group is the one of the most reliable source.
    """
    films = links.select("movie_id").unique().sort("movie_id").with_row_index("film")
    return (
        records.join(links.select("record_id", "movie_id").join(films, on="movie_id"), on="record_id")
        .with_columns(
            weight=pl.col("source").replace_strict(reliability, default=DEFAULT_RELIABILITY, return_dtype=pl.Float64)
        )
        .sort("film", "weight", "source", "source_id", descending=[False, True, False, False])
    )


def _alone(members: pl.DataFrame) -> pl.DataFrame:
    return members.select(
        "film",
        "movie_id",
        "votes",
        *(field.name for field in FIELDS),
        source_count=pl.lit(1, dtype=pl.UInt32),
        record_count=pl.lit(1, dtype=pl.UInt32),
    )


def _vote(members: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Decide every field of films with several records: (films, conflicts by film)."""
    movies = members.group_by("film").agg(
        pl.col("movie_id").first(),
        pl.col("votes").max(),
        source_count=pl.col("source").n_unique(),
        record_count=pl.len(),
    )
    conflicts = []
    for field in FIELDS:
        ranked = _ranked(members, field)
        chosen = ranked.unique("film", keep="first", maintain_order=True).select(
            "film", pl.col("value").alias(field.name)
        )
        movies = movies.join(chosen, on="film", how="left")
        if field.is_conflict_recorded:
            conflicts.append(_conflicts(ranked, field))
    return movies, pl.concat(conflicts)


def _stated(members: pl.DataFrame, field: Field) -> pl.DataFrame:
    """Rows that state the field: film, source, weight, value, and `same`, which equal values share."""
    rows = members.select("film", "source", "weight", pl.col(field.name).alias("value"))
    if isinstance(members.schema[field.name], pl.List):
        rows = rows.filter(pl.col("value").list.len() > 0)
    else:
        rows = rows.drop_nulls("value")
    if field.compare == "title":
        keys = rows.select("value").unique().with_columns(same=title_key(pl.col("value")))
        return rows.join(keys, on="value", how="left", maintain_order="left")
    if field.compare == "people":
        keyed = rows["value"].explode().unique().to_frame("name").with_columns(key=person_key(pl.col("name")))
        keys = (
            rows.select("value")
            .with_row_index("row")
            .explode("value")
            .join(keyed, left_on="value", right_on="name", how="left")
            .unique(["row", "key"])
            .sort("row", "key")
            .group_by("row", maintain_order=True)
            .agg(pl.col("key"))
        )
        return rows.with_columns(keys["key"].list.join("|").alias("same"))
    return rows.with_columns(same=pl.col("value"))


def _ranked(members: pl.DataFrame, field: Field) -> pl.DataFrame:
    """Values of each film, the chosen one first: film, same, value, support, sources."""
    rows = _stated(members, field)
    if field.policy == "vote":
        return (
            rows.unique(["film", "same", "source"], keep="first", maintain_order=True)
            .group_by("film", "same")
            .agg(
                pl.col("value").first(),
                pl.col("source"),
                support=pl.col("weight").sum(),
                best=pl.col("weight").first(),
            )
            .sort("film", "support", "best", "same", descending=[False, True, True, False])
        )
    size = pl.col("value").list.len() if field.policy == "best_list" else pl.col("value").str.len_chars()
    ranked = rows.with_columns(size=size).sort(
        "film", "weight", "size", descending=[False, True, True], maintain_order=True
    )
    if not field.is_conflict_recorded:
        return ranked
    return ranked.group_by("film", "same", maintain_order=True).agg(
        pl.col("value").first(), pl.col("source").unique(maintain_order=True), support=pl.col("weight").sum()
    )


def _conflicts(ranked: pl.DataFrame, field: Field) -> pl.DataFrame:
    """Films whose sources state different values of `field`; `ranked` has the winning value of each film first."""
    first = ranked.unique("film", keep="first", maintain_order=True).select("film", chosen_same="same")
    rows = ranked.join(first, on="film", how="left", maintain_order="left")
    if field.tolerance:
        differs = (pl.col("same") - pl.col("chosen_same")).abs() > field.tolerance
    else:
        differs = pl.col("same") != pl.col("chosen_same")
    rows = rows.join(rows.filter(differs).select("film").unique(), on="film", how="semi")
    text = pl.col("value").list.join(", ") if field.compare == "people" else pl.col("value").cast(pl.String)
    return (
        rows.with_columns(text=text)
        .group_by("film", maintain_order=True)
        .agg(
            stated=pl.struct("text", sources="source", support=pl.col("support").round(2)),
            chosen=pl.col("text").first(),
            lead=pl.col("support").first() - pl.col("support").slice(1).max(),
        )
        .select(
            "film",
            pl.lit(field.name).alias("field"),
            pl.struct(values="stated").struct.json_encode().alias("values_by_source"),
            "chosen",
            _reason(field).alias("reason"),
        )
    )


def _reason(field: Field) -> pl.Expr:
    if field.policy != "vote":
        return pl.lit("stated by the most reliable source; among equals the fuller value")
    return (
        pl.when(pl.col("lead") > 0)
        .then(pl.lit("most support: the reliabilities of the sources that agree add up"))
        .otherwise(pl.lit("equal support: the most reliable single source decides, then the smaller value"))
    )


def _aliases(members: pl.DataFrame, movies: pl.DataFrame) -> pl.DataFrame:
    """Other titles of each film, best supported first, without the chosen ones: film, aliases."""
    names = pl.concat(
        [
            members.select("film", "weight", name="title"),
            members.select("film", "weight", name="original_title").drop_nulls(),
            members.select("film", "weight", name="aliases").explode("name").drop_nulls(),
        ]
    )
    own = pl.concat([movies.select("film", name=column).drop_nulls() for column in ("title", "original_title")])
    names = names.join(own, on=["film", "name"], how="anti")  # mostly the same text: cheaper than making keys first
    keys = pl.concat([names["name"], own["name"]]).unique().to_frame("name").with_columns(key=title_key(pl.col("name")))
    own = own.join(keys, on="name").select("film", "key")
    return (
        names.join(keys, on="name")
        .join(own, on=["film", "key"], how="anti")
        .sort("film", "weight", "name", descending=[False, True, False])
        .group_by("film", "key", maintain_order=True)
        .agg(pl.col("name").first(), support=pl.col("weight").sum())
        .sort("film", "support", "key", descending=[False, True, False])
        .group_by("film", maintain_order=True)
        .agg(aliases=pl.col("name").head(ALIASES_MAX))
    )


def incomplete_films(records: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Films of which no record states director, cast, genre or plot, and the TMDB ids stated for them: movie_id, tmdb_id."""
    return (
        links.select("record_id", "movie_id")
        .join(records, on="record_id")
        .group_by("movie_id")
        .agg(
            pl.col("tmdb_id").drop_nulls().mode().min(),
            *((pl.col(name).list.len() > 0).any() for name in ("directors", "cast_members", "genres")),
            pl.col("plot").is_not_null().any(),
        )
        .filter(~pl.all_horizontal(COMPLETE) & pl.col("tmdb_id").is_not_null())
        .select("movie_id", "tmdb_id")
        .sort("tmdb_id")
    )


def in_our_genres(enriched: pl.DataFrame) -> pl.DataFrame:
    """Replace the genre words of a lookup service by those of the corpus; words without a counterpart are dropped."""
    words = enriched["genres"].explode().drop_nulls().unique()
    ours = pl.DataFrame(
        {"genres": words, "ours": [list(canonical_genres(word) or ()) for word in words]},
        schema={"genres": pl.String, "ours": pl.List(pl.String)},
    )
    mapped = (
        enriched.select("tmdb_id", "genres")
        .explode("genres")
        .join(ours, on="genres", maintain_order="left")
        .explode("ours")
        .drop_nulls("ours")
        .group_by("tmdb_id", maintain_order=True)
        .agg(genres=pl.col("ours").unique(maintain_order=True))
    )
    return enriched.drop("genres").join(mapped, on="tmdb_id", how="left")


def fill_missing(movies: pl.DataFrame, enriched: pl.DataFrame) -> pl.DataFrame:
    """Fill fields of `movies` that no source states from `enriched`, by TMDB id."""
    fields = [
        c
        for c in ("directors", "cast_members", "genres", "plot", "runtime_min", "languages", "countries")
        if c in enriched.columns
    ]
    extra = enriched.select("tmdb_id", *(pl.col(c).alias(f"{c}_extra") for c in fields)).unique("tmdb_id")
    joined = movies.join(extra, on="tmdb_id", how="left")
    filled = []
    for name in fields:
        silent = pl.col(name).is_null()
        if isinstance(movies.schema[name], pl.List):
            silent |= pl.col(name).list.len() == 0
        filled.append(pl.when(silent).then(pl.col(f"{name}_extra")).otherwise(pl.col(name)).alias(name))
    return joined.with_columns(filled).select(movies.columns)
