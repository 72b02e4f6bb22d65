"""Answers of people against the same answers made worse: without the films they recommend, or with films that do not fit.

HARPO, appendix B, stage 2: "gold responses versus heuristically degraded variants (removing recommended items, introducing irrelevant
suggestions)". Only films that nobody in the dialogue has named before are touched: those are the recommendation, and an answer that
loses the seeker's own film makes no sense.
"""

from __future__ import annotations

import polars as pl

from pipelines.preferences.irrelevant import irrelevant_films
from pipelines.preferences.places import Recommendations, filled, led, recommendations
from pipelines.preferences.rows import ROWS, Made, alike, finished, together, with_hash
from pipelines.preferences.wording import without_films, wording

# Raise it when the code here, in places.py or in irrelevant.py gives other pairs. Rules and phrases have their own version.
DEGRADED_VERSION = "1"

_TURN = ["dialogue_id", "turn"]

# An answer without its films is no recommendation any more; one with other films keeps form, length and number, and loses what fits.
DIMENSIONS = {"items_removed": ["relevance", "satisfaction"], "items_replaced": ["relevance"]}


def degraded(turns: pl.DataFrame, mentions: pl.DataFrame, hints: pl.DataFrame, movies: pl.DataFrame) -> Made:
    """Pairs `items_removed` and `items_replaced` of recommending turns.

    turns: core_turns of whole dialogues; mentions: core_film_mentions and hints: core_mention_hints of them; movies: core_movies, all
    of them. A dialogue's pairs depend on that dialogue and on the films alone.
    """
    found = recommendations(turns, mentions, hints)
    both = together([items_removed(found), items_replaced(found, movies)])
    return Made(both.rows, {**found.dropped, **both.dropped})


def items_removed(found: Recommendations) -> Made:
    """Each answer against itself without the films it recommends (`wording.toml`)."""
    kept = found.places.with_columns(left=pl.when(~pl.col("is_new")).then("shown"))
    turns = filled(found.turns, found.places, "shown").rename({"filled": "better"})
    turns = with_hash(filled(turns, kept, "left"), "hash", *_TURN)
    worse = without_films(turns["filled"], turns["hash"]).alias("worse")
    left = found.places.filter(~pl.col("is_new")).pipe(_films, "movie_id", "rejected_movie_ids")
    rows = (
        turns.with_columns(worse)
        .join(left, on=_TURN, how="left")
        .with_columns(pl.col("rejected_movie_ids").fill_null(pl.lit([], dtype=pl.List(pl.String))))
    )
    return _pairs(rows, "items_removed", f"{DEGRADED_VERSION}.{wording().version}")


def items_replaced(found: Recommendations, movies: pl.DataFrame) -> Made:
    """Each answer against itself with films that do not fit in place of those it recommends, written as those are: with a year where
    they have one, in lower case where they are.
    """
    others = irrelevant_films(found.places.filter("is_new"), found.named, movies)
    titles = movies.select(other_id="movie_id", title=pl.col("title").str.replace_all(r"\s+", " "), year="year")
    places = (
        found.places.join(others, on=[*_TURN, "movie_id"], how="left")
        .join(titles, on="other_id", how="left")
        .with_columns(
            has_year=pl.col("shown").str.contains(r"\(\d{4}\)$"), is_lower=~pl.col("shown").str.contains(r"\p{Lu}")
        )
        .with_columns(
            written=pl.when("has_year")
            .then(pl.concat_str("title", pl.lit(" ("), pl.col("year").cast(pl.String), pl.lit(")")))
            .otherwise("title")
        )
        .with_columns(
            written=pl.when(~pl.col("is_new"))
            .then("shown")
            .when("is_lower")
            .then(pl.col("written").str.to_lowercase())
            .otherwise("written"),
            other_id=pl.when("is_new").then("other_id").otherwise("movie_id"),
        )
        .sort(*_TURN, "place")
    )
    missing = places.filter(pl.col("is_new") & pl.col("other_id").is_null()).select(_TURN).unique()
    whole = places.join(missing, on=_TURN, how="anti")
    turns = found.turns.join(missing, on=_TURN, how="anti")
    turns = filled(turns, whole, "shown").rename({"filled": "better"})
    rows = (
        filled(turns, whole, "written")
        .rename({"filled": "worse"})
        .join(_films(whole, "other_id", "rejected_movie_ids"), on=_TURN)
    )
    made = _pairs(rows, "items_replaced", DEGRADED_VERSION)
    return Made(
        made.rows, {**made.dropped, **({"no film that does not fit": missing.height} if missing.height else {})}
    )


def _films(places: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    """The films of each turn as they stand: dialogue_id, turn, `name`."""
    named = places.filter(pl.col(column).is_not_null()).sort(*_TURN, "place")
    return named.group_by(_TURN, maintain_order=True).agg(pl.col(column).alias(name))


def _all_films(column: str) -> pl.Expr:
    """The films of the lead and those of `column`, each once."""
    return pl.concat_list("lead_movie_ids", column).list.unique(maintain_order=True)


def _pairs(rows: pl.DataFrame, construction: str, version: str) -> Made:
    ready = rows.filter(~alike("better", "worse")).select(
        "dataset",
        "domain",
        *_TURN,
        "context",
        chosen=led("better"),
        rejected=led("worse"),
        dimensions=pl.lit(DIMENSIONS[construction], dtype=ROWS["dimensions"]),
        construction=pl.lit(construction),
        chosen_movie_ids=_all_films("movie_ids"),
        rejected_movie_ids=_all_films("rejected_movie_ids"),
        made_by=pl.lit(construction),
        version=pl.lit(version),
        is_stand_in=pl.lit(False),
    )
    same = rows.height - ready.height
    return Made(finished(ready), {f"{construction}: answers alike": same} if same else {})
