"""Which film an item of a dataset is, from its name and year alone; and the choice between candidate films.

Belongs here: candidates of stated names, and the decision which of scored candidates is the link. Which films a title can be is found in
lookup, what speaks for each in features, how much in model, and what is wrong all the same in lint.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.mentions.features import candidate_evidence
from pipelines.mentions.gazetteer import Gazetteer
from pipelines.mentions.lint import reasons
from pipelines.mentions.lookup import look_up, prepare
from pipelines.mentions.model import shares, weights
from pipelines.mentions.tokens import keyed
from warehouse.tables.mentions import CORE_ITEM_LINKS

Tell = Callable[[str], None]
Float = NDArray[np.float64]

LINKER_VERSION = weights().version

ALTERNATIVES = 4
NAMESAKES = 40  # films of one name that are weighed against each other
FILM_COLUMNS = ("movie_id", "year", "kind", "votes", "source_count")

_LOWEST = 1e-4  # probability below which a candidate is no alternative

NO_ALTERNATIVES = pl.lit([], dtype=CORE_ITEM_LINKS.schema["alternatives"])


def name_candidates(names: pl.Series, gazetteer: Gazetteer) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Films that stated names may be, with their evidence.

    Returns the prepared names (group, title, year as stated) and the candidates (group, movie_id, match, similarity, evidence, `score`).
    """
    prepared = prepare(names).with_row_index("group").with_columns(pl.col("group").cast(pl.Int64))
    found = look_up(prepared.select(query="group", title="title"), gazetteer, limit=NAMESAKES)
    found = (
        found.rename({"query": "group"})
        .join(
            prepared.select("group", stated_year="year", written="title"), on="group", how="left", maintain_order="left"
        )
        .join(gazetteer.films.select(*FILM_COLUMNS), on="movie_id", how="left", maintain_order="left")
        .with_columns(
            bare_year=pl.lit(None, dtype=pl.Int32),
            around_new=pl.lit(False),
            around_old=pl.lit(False),
            surprise=pl.lit(0.0),
            in_lower_case=pl.lit(0.0),
            in_title_case=pl.lit(0.0),
            one_word=pl.lit(0.0),
            in_series=pl.lit(False),
            told=pl.lit(None, dtype=pl.Int32),
            article_before=pl.lit(False),
        )
    )
    evidence = candidate_evidence(found)
    model = weights().models["items"]
    return prepared, pl.concat(
        [found.select("group", "movie_id", "match", "year", "votes", "stated_year"), evidence],
        how="horizontal",
    ).with_columns(score=pl.Series(model.scores(model.part(evidence)), dtype=pl.Float64))


def link_items(items: pl.DataFrame, gazetteer: Gazetteer, tell: Tell) -> pl.DataFrame:
    """Link the items of the datasets to films by name and year: rows of core_item_links.

    `items`: dataset, item_id, item_name. Each distinct name is looked up once.
    """
    items = items.select("dataset", "item_id", "item_name").sort("dataset", "item_id")
    names = items["item_name"].unique().sort()
    prepared, candidates = name_candidates(names, gazetteer)
    tell(f"{names.len():,} names have {candidates.height:,} candidate films")
    choice = choices(candidates, candidates["score"].to_numpy(), names.len(), weights().thresholds["items"])
    choice = choice.with_columns(item_name=names, stated_year=prepared["year"], title=prepared["title"])
    linked = items.join(choice, on="item_name", how="left", maintain_order="left")
    linked = with_lint(
        linked.with_columns(
            method=pl.lit("item"),
            name=pl.col("item_name"),
            **{c: pl.lit("") for c in ("before", "first", "last", "after")},
            commonness=pl.lit(0.0, dtype=pl.Float32),
            is_marked=pl.lit(True),
            is_person=_are_people(linked["title"], gazetteer),
        )
    )
    return CORE_ITEM_LINKS.conform(
        linked.with_columns(linker_version=pl.lit(LINKER_VERSION)).select(CORE_ITEM_LINKS.schema.names())
    )


def _are_people(titles: pl.Series, gazetteer: Gazetteer) -> pl.Series:
    """Whether each text is the name of a person of the corpus, of two words or more."""
    texts = titles.fill_null("")
    keys = keyed(texts, drops_article=False).filter(pl.col("key").is_in(gazetteer.person_keys.implode()))["name"]
    return pl.int_range(texts.len(), dtype=pl.Int64, eager=True).is_in(
        keys.implode()
    ) & texts.str.strip_chars().str.contains(r"\S\s+\S")


def choices(candidates: pl.DataFrame, scores: Float, groups: int, threshold: float) -> pl.DataFrame:
    """Decide for each group 0..groups-1: movie_id, score_prob, match, film_year, film_votes, alternatives, top_prob.

    `candidates`: group, movie_id, match, year, votes, with `scores` in nats. The likeliest film is the link when its probability
    reaches `threshold`; else there is none, and score_prob is the probability that there is none.
    """
    group = candidates["group"].to_numpy().astype(np.int64)
    p, p_none = shares(scores, group, groups)
    ranked = (
        candidates.select("group", "movie_id", "match", "year", "votes")
        .with_columns(p=pl.Series(p, dtype=pl.Float64))
        .sort("group", "p", "movie_id", descending=[False, True, False])
        .with_columns(rank=pl.int_range(pl.len()).over("group"))
    )
    every = pl.DataFrame({"group": np.arange(groups, dtype=np.int64), "p_none": p_none})
    top = ranked.filter(pl.col("rank") == 0).select(
        "group", top_id="movie_id", top_match="match", film_year="year", film_votes="votes", top_prob="p"
    )
    out = every.join(top, on="group", how="left", maintain_order="left")
    is_linked = (pl.col("top_prob") >= threshold).fill_null(False)
    out = out.with_columns(is_linked=is_linked)
    others = (
        ranked.join(out.select("group", "is_linked"), on="group", how="left", maintain_order="left")
        .filter((pl.col("p") >= _LOWEST) & ((pl.col("rank") > 0) | ~pl.col("is_linked")))
        .group_by("group", maintain_order=True)
        .agg(alternatives=pl.struct("movie_id", score_prob=pl.col("p").cast(pl.Float32)).head(ALTERNATIVES))
    )
    out = out.join(others, on="group", how="left", maintain_order="left")
    return out.select(
        movie_id=pl.when("is_linked").then("top_id"),
        score_prob=pl.when("is_linked").then("top_prob").otherwise("p_none").cast(pl.Float32),
        match=pl.when("is_linked").then("top_match").otherwise(pl.lit("none")),
        film_year=pl.when("is_linked").then("film_year"),
        film_votes=pl.when("is_linked").then("film_votes"),
        alternatives=pl.col("alternatives").fill_null(NO_ALTERNATIVES),
        top_prob=pl.col("top_prob").fill_null(0.0),
        top_id="top_id",
        top_match="top_match",
    )


def with_lint(links: pl.DataFrame) -> pl.DataFrame:
    """Add is_quarantined and quarantine_reason; `links` has the columns of lint.EVIDENCE."""
    return links.with_columns(quarantine_reason=reasons(links)).with_columns(
        is_quarantined=pl.col("quarantine_reason").is_not_null()
    )
