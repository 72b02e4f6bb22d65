"""Recommender turns that recommend a film, taken apart: the words around the films, and each film in its place.

Belongs here: which turns are worth a pair, where their films stand, putting a turn together again with something else in the places.
Does not belong here: what is put there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from pipelines.dialogues.dialogue import readable_name
from pipelines.preferences.context import contexts

# A longer turn is a pasted text, no answer to learn from.
ANSWER_CHARACTERS_MAX = 4_000

# A slot in a text. Cleaned texts hold no control characters, so it can be nothing else.
SLOT = "\x02"

_TURN = ["dialogue_id", "turn"]
_YEAR_BEHIND = r"^\s?\((?:18|19|20)\d\d\)"
# As pipelines/dialogues makes plain texts: control characters that are no blanks go, runs of blanks are one.
_CONTROLS = r"[\x00-\x08\x0e-\x1b\x7f-\x{84}\x{86}-\x{9f}]"
_BLANKS = r"[\s\x1c-\x1f]+"


@dataclass(frozen=True)
class Recommendations:
    """Turns in which the recommender names a film that nobody in the dialogue has named before.

    turns: dialogue_id, turn, dataset, domain, context, lead, text (with a SLOT in each film's place), movie_ids (as they
    stand), lead_movie_ids (films of the lead).
    places: dialogue_id, turn, place (from 0), movie_id, shown (as written there), is_new (nobody named the film before).
    named: dialogue_id, movie_id: every film of a dialogue. dropped: turns left out, by reason.
    """

    turns: pl.DataFrame
    places: pl.DataFrame
    named: pl.DataFrame
    dropped: dict[str, int] = field(default_factory=dict)


def recommendations(turns: pl.DataFrame, mentions: pl.DataFrame, hints: pl.DataFrame) -> Recommendations:
    """Take recommending turns apart.

    turns: core_turns of whole dialogues; mentions: rows of core_film_mentions of them; hints: core_mention_hints of them, for the
    names behind placeholders. Offsets count characters of core_turns.text; spans that do not lie in it are left out. Spans that
    overlap are one place, whose film is that of the longest of them. A year in brackets behind a film belongs to its place.
    """
    films = mentions.select(*_TURN, "start", "end", "movie_id", "score_prob").with_columns(
        pl.col("turn").cast(pl.Int32)
    )
    named = films.select("dialogue_id", "movie_id").unique()
    first = films.group_by("dialogue_id", "movie_id").agg(first=pl.col("turn").min())
    candidates = turns.filter(pl.col("role") == "recommender").join(films.select(_TURN).unique(), on=_TURN, how="semi")
    new = films.join(first, on=["dialogue_id", "movie_id"]).filter(pl.col("first") == pl.col("turn"))
    recommending = candidates.join(new, on=_TURN, how="semi")
    short = recommending.filter(pl.col("text").str.len_chars() <= ANSWER_CHARACTERS_MAX)
    around = contexts(turns, short.select(_TURN))
    spoken = short.select(*_TURN, "dataset", "domain", "text").join(around, on=_TURN)
    usable = spoken.filter(pl.col("lead").str.len_chars() <= ANSWER_CHARACTERS_MAX)
    places = _places(usable, films, hints).join(
        first, on=["dialogue_id", "movie_id"], how="left", maintain_order="left"
    )
    places = places.with_columns(is_new=(pl.col("first") == pl.col("turn")).fill_null(False))
    rebuilt = _with_slots(usable, places)
    films_of = (
        places.filter(pl.col("movie_id").is_not_null()).group_by(_TURN, maintain_order=True).agg(movie_ids="movie_id")
    )
    ready = (
        _with_lead_films(rebuilt, films)
        .join(films_of, on=_TURN)
        .join(places.filter("is_new"), on=_TURN, how="semi")
        .sort(_TURN)
    )
    dropped = {
        "only films named before": candidates.height - recommending.height,
        "answer too long": recommending.height - short.height + spoken.height - usable.height,
        "no seeker before": short.height - spoken.height,
        "film not in the text": usable.height - ready.height,
    }
    return Recommendations(
        ready.select(*_TURN, "dataset", "domain", "context", "lead", "text", "movie_ids", "lead_movie_ids"),
        places.join(ready, on=_TURN, how="semi")
        .select(*_TURN, "place", "movie_id", "shown", "is_new")
        .sort(*_TURN, "place"),
        named,
        {reason: number for reason, number in dropped.items() if number},
    )


def _places(turns: pl.DataFrame, films: pl.DataFrame, hints: pl.DataFrame) -> pl.DataFrame:
    """Places in order: dialogue_id, turn, place, start, end, movie_id (null for names without a film), shown."""
    texts = turns.select(*_TURN, "text", length=pl.col("text").str.len_chars().cast(pl.Int32))
    stated = hints.filter(
        (pl.col("kind") == "id") & pl.col("item_name").is_not_null() & pl.col("start").is_not_null()
    ).select(
        *_TURN,
        "start",
        "end",
        movie_id=pl.lit(None, dtype=pl.String),
        score_prob=pl.lit(-1.0, dtype=pl.Float32),
        name=pl.col("item_name").map_elements(readable_name, return_dtype=pl.String),
    )
    spans = (
        pl.concat([films.with_columns(name=pl.lit(None, dtype=pl.String)), stated.select(*films.columns, "name")])
        .join(texts, on=_TURN)
        .filter((pl.col("start") < pl.col("end")) & (pl.col("start") >= 0) & (pl.col("end") <= pl.col("length")))
        .sort(*_TURN, "start", "end", "movie_id")
    )
    furthest = pl.col("end").cum_max().shift(1).over(_TURN)
    grouped = (
        spans.with_columns(place=(pl.col("start") >= furthest).fill_null(True).cum_sum().over(_TURN) - 1)
        .with_columns(length=pl.col("end") - pl.col("start"))
        .sort(
            *_TURN,
            "place",
            pl.col("movie_id").is_null(),
            -pl.col("length"),
            -pl.col("score_prob"),
            "movie_id",
            "name",
            nulls_last=True,
        )
        .group_by(*_TURN, "place", maintain_order=True)
        .agg(
            pl.col("start").min(),
            pl.col("end").max(),
            pl.col("movie_id").first(),
            # The name behind a placeholder stands for it where the placeholder is the whole place.
            name=pl.col("name")
            .filter((pl.col("start") == pl.col("start").min()) & (pl.col("end") == pl.col("end").max()))
            .drop_nulls()
            .first(),
            text=pl.col("text").first(),
        )
    )
    behind = pl.col("text").str.slice(pl.col("end"), 8).str.extract(f"({_YEAR_BEHIND})", 1).fill_null("")
    has_room = (pl.col("end") + pl.col("year").str.len_chars() <= pl.col("start").shift(-1).over(_TURN)).fill_null(True)
    return (
        grouped.with_columns(year=behind)
        .with_columns(year=pl.when(has_room & pl.col("movie_id").is_not_null()).then("year").otherwise(pl.lit("")))
        .with_columns(
            shown=pl.concat_str(
                pl.coalesce("name", pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start"))), "year"
            ).pipe(_cleaned),
            end=(pl.col("end") + pl.col("year").str.len_chars()).cast(pl.Int32),
        )
        .select(*_TURN, pl.col("place").cast(pl.Int32), "start", "end", "movie_id", "shown")
    )


def _cleaned(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(_CONTROLS, "").str.replace_all(_BLANKS, " ").str.strip_chars(" ")


def _with_lead_films(turns: pl.DataFrame, films: pl.DataFrame) -> pl.DataFrame:
    """`turns` with the films that their leads name: lead_movie_ids."""
    said = films.select("dialogue_id", "start", "movie_id", said_at="turn")
    named = (
        turns.filter(pl.col("lead_from").is_not_null())
        .select(*_TURN, said_at=pl.int_ranges("lead_from", "turn", dtype=pl.Int32))
        .explode("said_at", empty_as_null=False)
        .join(said, on=["dialogue_id", "said_at"])
        .sort(*_TURN, "said_at", "start")
        .group_by(_TURN, maintain_order=True)
        .agg(lead_movie_ids=pl.col("movie_id").unique(maintain_order=True))
    )
    return turns.join(named, on=_TURN, how="left", maintain_order="left").with_columns(
        pl.col("lead_movie_ids").fill_null(pl.lit([], dtype=pl.List(pl.String)))
    )


def _with_slots(turns: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """`turns` with their texts cleaned and a SLOT in every place."""
    around = places.join(turns.select(*_TURN, "text"), on=_TURN).sort(*_TURN, "place")
    since = pl.col("end").shift(1).over(_TURN).fill_null(0)
    before = pl.col("text").str.slice(since, pl.col("start") - since)
    pieces = around.select(*_TURN, "end", "text", piece=before.str.replace_all(_CONTROLS, ""))
    joined = pieces.group_by(_TURN, maintain_order=True).agg(
        head=pl.col("piece").str.join(SLOT),
        tail=pl.col("text").last().str.slice(pl.col("end").last()),
    )
    built = joined.select(
        *_TURN,
        slotted=pl.concat_str("head", pl.lit(SLOT), pl.col("tail").str.replace_all(_CONTROLS, ""))
        .str.replace_all(_BLANKS, " ")
        .str.strip_chars(" "),
    )
    return turns.join(built, on=_TURN).with_columns(text="slotted").drop("slotted")


def filled(turns: pl.DataFrame, places: pl.DataFrame, fill: str) -> pl.DataFrame:
    """`turns` with a column `filled`: `text` with the column `fill` of `places` in its slots, in order.

    A slot whose fill is null stays a slot. places: dialogue_id, turn, place, `fill`; one row a slot.
    """
    parts = (
        turns.select(*_TURN, part=pl.col("text").str.split(SLOT))
        .with_columns(place=pl.int_ranges(0, pl.col("part").list.len(), dtype=pl.Int32))
        .explode("part", "place", empty_as_null=False)
        .join(
            places.select(*_TURN, "place", pl.col(fill).fill_null(SLOT).alias("fill")), on=[*_TURN, "place"], how="left"
        )
        .sort(*_TURN, "place")
    )
    texts = parts.group_by(_TURN, maintain_order=True).agg(
        filled=pl.concat_str("part", pl.col("fill").fill_null("")).str.join("")
    )
    return turns.join(texts, on=_TURN, how="left", maintain_order="left")


def led(answer: str) -> pl.Expr:
    """The column `answer` behind what the recommender has said since the seeker's last turn."""
    return (
        pl.when(pl.col("lead") == "")
        .then(pl.col(answer))
        .otherwise(pl.concat_str("lead", pl.lit("\n"), pl.col(answer)))
    )
