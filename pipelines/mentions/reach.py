"""Which dialogues a change of films can link otherwise.

Belongs here: the reverse of linking: from changed films to the dialogues whose links depend on them. It may name too many, never too few: a refresh
that links only these gives what linking all would give.
"""

from __future__ import annotations

import polars as pl

from pipelines.mentions.features import may_begin, take_apart
from pipelines.mentions.gazetteer import build_gazetteer, names_of
from pipelines.mentions.items import link_items
from pipelines.mentions.link import unlinked_items
from pipelines.mentions.reading import plain_quotes, series_heads
from pipelines.mentions.scan import scan
from pipelines.mentions.spelling import misspelt

_FILM_DOMAINS = ("film", "mixed")


def changed_films(before: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Films that were added, taken out or changed, in the state before and in the one now (rows of both frames, by content_hash)."""
    key = ["movie_id", "content_hash"]
    return pl.concat(
        [before.join(now, on=key, how="anti"), now.join(before, on=key, how="anti").select(before.columns)]
    )


def in_reach(
    turns: pl.DataFrame,
    hints: pl.DataFrame,
    items: pl.DataFrame,
    item_links: pl.DataFrame,
    before: pl.DataFrame,
    now: pl.DataFrame,
) -> pl.Series:
    """Ids of the dialogues [str, sorted] whose links can differ between the films `before` and `now`.

    `turns`: core_turns, `hints`: core_mention_hints, `items`: core_dialogue_items, `item_links`: core_item_links as linked with `before`, all
    of the same datasets. `before`, `now`: columns of core_movies that linking takes, and content_hash.
    """
    changed = changed_films(before, now)
    if not changed.height:
        return pl.Series("dialogue_id", [], dtype=pl.String)
    films = turns.filter(pl.col("domain").is_in(_FILM_DOMAINS)).sort("dialogue_id", "turn")
    met = [_dialogues_that_name(films, changed), _dialogues_of_items(hints, items, item_links, changed, before, now)]
    return pl.concat(met).unique().sort()


def _dialogues_that_name(turns: pl.DataFrame, changed: pl.DataFrame) -> pl.Series:
    """Dialogues in which a name of a changed film or of its people stands, misspelt or not."""
    # Both states of a film are films of their own here: all that counts is where their names stand.
    states = changed.with_columns(
        movie_id=pl.concat_str("movie_id", pl.lit("/"), pl.int_range(pl.len()).cast(pl.String))
    )
    heads = series_heads(states).select("movie_id", "name", kind=pl.lit("alias"))
    small = build_gazetteer(states.drop("content_hash"), pl.concat([names_of(states), heads]))
    numbered = turns.with_columns(dialogue=pl.col("dialogue_id").rle_id().cast(pl.Int64))
    texts = take_apart(numbered.select("dialogue", "turn", "role", text=plain_quotes(pl.col("text"))))
    rows = [
        scan(texts.rows.select("row", "text"), small, lambda _: None)["row"],
        misspelt(texts.words, may_begin(texts), small)["row"],
    ]
    return numbered["dialogue_id"].gather(pl.concat(rows).unique().sort())


def _dialogues_of_items(
    hints: pl.DataFrame,
    items: pl.DataFrame,
    item_links: pl.DataFrame,
    changed: pl.DataFrame,
    before: pl.DataFrame,
    now: pl.DataFrame,
) -> pl.Series:
    """Dialogues with hints at items that are linked otherwise now, or that may be a changed film."""
    then, there = item_links, items.select("dataset", "item_id", "item_name")
    missing = unlinked_items(hints, item_links)
    if missing.height:
        gazetteer = build_gazetteer(before.drop("content_hash"), names_of(before))
        then = pl.concat([then, link_items(missing, gazetteer, lambda _: None)])
        there = pl.concat([there, missing.select(there.columns)]).unique(
            ["dataset", "item_id"], keep="first", maintain_order=True
        )
    again = link_items(there, build_gazetteer(now.drop("content_hash"), names_of(now)), lambda _: None)
    stated = [c for c in again.columns if c not in ("alternatives", "linker_version")]
    flat = [
        frame.with_columns(
            pl.col("alternatives").cast(pl.List(pl.Struct({"movie_id": pl.String, "score_prob": pl.Float32})))
        )
        for frame in (then, again)
    ]
    other = [
        frame.with_columns(
            others=pl.col("alternatives").list.eval(pl.element().struct.json_encode()).list.join("|")
        ).select(*stated, "others")
        for frame in flat
    ]
    differ = pl.concat(
        [
            a.join(b, on=[*stated, "others"], how="anti", nulls_equal=True).select("dataset", "item_id")
            for a, b in (other, other[::-1])
        ]
    )
    # Its people, year or ratings count, too, where the link stays.
    ids = changed["movie_id"].unique().implode()
    may_be = again.filter(
        pl.col("movie_id").is_in(ids)
        | pl.col("alternatives").list.eval(pl.element().struct.field("movie_id").is_in(ids)).list.any()
    ).select("dataset", "item_id")
    touched = pl.concat([differ, may_be]).unique()
    return hints.join(touched, on=["dataset", "item_id"], how="semi")["dialogue_id"]
