"""Items as text: what is embedded and what agents are shown, one `Key: value` a line, the title first.

Films have the text of the item index (`pipelines/retrieval/item_text.py`), so that both searches see the same. The description is last, so that an encoder that reads
only so much cuts that. Does not belong here: encoding.
"""

from __future__ import annotations

import polars as pl

from pipelines.preferences.rows import stable_hashes
from pipelines.retrieval.item_text import item_text
from pipelines.simulation.domains import domain, domains
from warehouse.tables.simulation import SIM_ITEMS

# MiniLM reads 256 tokens, some 1,100 characters; what is beyond them helps no search, and fills the prompts of agents.
DESCRIPTION_CHARACTERS = 1_000
CREATORS_MAX, CATEGORIES_MAX = 5, 8

_CUT = "…"


def film_items(movies: pl.DataFrame) -> pl.DataFrame:
    """Rows of SIM_ITEMS of some films: `movies` has MOVIE_COLUMNS of core_movies."""
    texts = item_text(movies)
    rows = movies.select(
        pl.lit("film").alias("domain"),
        item_id="movie_id",
        title="title",
        categories=pl.col("genres").fill_null(pl.lit([], dtype=pl.List(pl.String))),
        creators=pl.col("directors").fill_null(pl.lit([], dtype=pl.List(pl.String))),
    ).with_columns(
        texts["text"],
        texts["text_hash"],
        average_rating=pl.lit(None, dtype=pl.Float32),
        ratings=pl.lit(None, dtype=pl.Int64),
    )
    # A film without any word has nothing that it could be found by.
    return SIM_ITEMS.conform(rows.filter(pl.col("text").is_not_null() & (pl.col("title") != "")))


def review_items(facts: pl.DataFrame) -> pl.DataFrame:
    """Rows of SIM_ITEMS of items as releases describe them: rows of core_review_items."""
    known = {name: domain(name).creator.capitalize() for name in domains()}
    key = pl.col("domain").replace_strict(known, return_dtype=pl.String)
    lines = [
        pl.concat_str(pl.lit("Title: "), _line("title")),
        pl.concat_str(key, pl.lit(": "), _listed("creators", CREATORS_MAX)),
        pl.concat_str(pl.lit("Categories: "), _listed("categories", CATEGORIES_MAX)),
        pl.concat_str(pl.lit("Location: "), _line("place")),
        pl.concat_str(pl.lit("Description: "), _shortened("description")),
    ]
    # Rechunked: expressions over lists of several chunks are not safe.
    made = facts.rechunk().with_columns(text=pl.concat_str(lines, separator="\n", ignore_nulls=True))
    return SIM_ITEMS.conform(
        made.with_columns(text_hash=(stable_hashes(made["text"]) // 2).cast(pl.Int64)).select(SIM_ITEMS.schema.names())
    )


def _line(column: str) -> pl.Expr:
    value = pl.col(column).str.replace_all(r"\s+", " ").str.strip_chars()
    return pl.when(value != "").then(value)


def _listed(column: str, most: int) -> pl.Expr:
    joined = pl.col(column).list.head(most).list.join(", ").str.replace_all(r"\s+", " ").str.strip_chars()
    return pl.when(joined != "").then(joined)


def _shortened(column: str) -> pl.Expr:
    """On one line, and cut after a whole word where it is too long."""
    value = _line(column)
    head = value.str.slice(0, DESCRIPTION_CHARACTERS).str.replace(r"\s*\S*$", "")
    return (
        pl.when(value.str.len_chars() > DESCRIPTION_CHARACTERS).then(pl.concat_str(head, pl.lit(_CUT))).otherwise(value)
    )
