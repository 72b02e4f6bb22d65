"""Which films the turns of dialogues mention: placeholders, hints, titles with their year, and titles in running text.

Belongs here: the order of the steps. Where names stand and what speaks for each film is gathered in reading, how much in model, and what is
wrong all the same in lint.

The links of a dialogue depend on the dialogue, its hints, and the films and people whose names occur in it, and on nothing else:
that is what lets a refresh link again only what it can change (reach).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.mentions.features import Texts, hit_evidence
from pipelines.mentions.gazetteer import Gazetteer
from pipelines.mentions.items import LINKER_VERSION, NO_ALTERNATIVES, choices, link_items, with_lint
from pipelines.mentions.lint import EVIDENCE
from pipelines.mentions.lookup import prepare
from pipelines.mentions.model import shares, weights
from pipelines.mentions.reading import QUOTATION_MARK, Reading, context_evidence, read_turns, years_behind
from warehouse.tables.mentions import CORE_MENTIONS

Tell = Callable[[str], None]
Float = NDArray[np.float64]

CERTAIN = 0.9  # from this probability on, a link is context for others of its dialogue

_BATCH_CHARS = 20_000_000  # characters of text linked at once
_FILM_DOMAINS = ("film", "mixed")
_CONTEXT_ROUNDS = 2
_UNREAD = 0.02  # probability of a film at a place where the text shows none

# A mention before the lint has seen it: columns of core_mentions, those of lint.EVIDENCE, and whether the link is only what somebody stated.
_MENTION = pl.Schema(
    [
        *(
            (column, CORE_MENTIONS.schema[column])
            for column in ("start", "end", "surface", "item_id", "match", "alternatives")
        ),
        *EVIDENCE.items(),
        ("row", pl.Int64),
        ("is_face_value", pl.Boolean),
        ("is_sure", pl.Boolean),
    ]
)


def link_mentions(
    turns: pl.DataFrame, hints: pl.DataFrame, item_links: pl.DataFrame, gazetteer: Gazetteer, tell: Tell
) -> pl.DataFrame:
    """Link what turns mention to films: rows of core_mentions.

    `turns`: core_turns, `hints`: core_mention_hints, `item_links`: core_item_links of these datasets; items that hints name and that have no link
    there are linked on the way. Turns of other domains than films are left alone. Whole dialogues are taken together, and a result depends on
    its dialogue alone, whatever else is linked at the same time.
    """
    turns = (
        turns.filter(pl.col("domain").is_in(_FILM_DOMAINS))
        .select("dialogue_id", "turn", "dataset", "role", "text")
        .sort("dialogue_id", "turn")
    )
    links = _links_of_hints(hints, item_links, gazetteer, tell)
    size = (turns["text"].str.len_chars().cast(pl.Int64) + 1).cum_sum()
    batch = turns.select(size.shift(1, fill_value=0).alias("before") // _BATCH_CHARS, "dialogue_id")
    # A dialogue belongs to the batch in which it begins.
    number = batch.select(pl.col("before").first().over("dialogue_id")).to_series()
    parts = []
    for n in number.unique().sort():
        some = turns.filter(number == n)
        own = hints.join(some.select("dialogue_id").unique(), on="dialogue_id", how="semi")
        parts.append(_link_batch(some, own, links, gazetteer, tell))
    mentions = pl.concat([CORE_MENTIONS.empty(), *parts])
    tell(f"{mentions.height:,} mentions in {turns.height:,} turns")
    return mentions.sort("dialogue_id", "turn", "start", "end", "method")


def _links_of_hints(hints: pl.DataFrame, item_links: pl.DataFrame, gazetteer: Gazetteer, tell: Tell) -> pl.DataFrame:
    """Links of all items that hints name: those given, and those of items that have none yet."""
    missing = unlinked_items(hints, item_links)
    if not missing.height:
        return item_links
    return pl.concat([item_links, link_items(missing, gazetteer, tell)])


def unlinked_items(hints: pl.DataFrame, item_links: pl.DataFrame) -> pl.DataFrame:
    """Items that hints name and that are not among `item_links`: dataset, item_id, item_name."""
    return (
        hints.select("dataset", "item_id", "item_name")
        .drop_nulls()
        .join(item_links, on=["dataset", "item_id"], how="anti")
        .sort("dataset", "item_id", "item_name")
        .unique(["dataset", "item_id"], keep="first", maintain_order=True)
    )


def _link_batch(
    turns: pl.DataFrame, hints: pl.DataFrame, links: pl.DataFrame, gazetteer: Gazetteer, tell: Tell
) -> pl.DataFrame:
    turns = turns.with_columns(dialogue=pl.col("dialogue_id").rle_id().cast(pl.Int64))
    rows = turns.with_row_index("row").select(
        pl.col("row").cast(pl.Int64),
        "dialogue_id",
        "dialogue",
        "turn",
        length=pl.col("text").str.len_chars().cast(pl.Int64),
    )
    placed = (
        hints.join(rows, on=["dialogue_id", "turn"])
        .with_columns(pl.col("start", "end").cast(pl.Int64))
        .filter((pl.col("start") < pl.col("end")) & (pl.col("end") <= pl.col("length")))
        .sort("row", "start", "end", "position")
        .unique(["row", "start", "end", "kind"], keep="first", maintain_order=True)
    )
    is_id = pl.col("kind") == "id"
    taken = placed.filter(is_id).select("row", "start", "end")
    reading = read_turns(turns.select("dataset", "dialogue", "turn", "role", "text"), taken, gazetteer, tell)
    marks = _marks(placed.filter(is_id), links, reading.texts)
    text_scores, mark_scores = in_context(reading, marks, gazetteer)
    kinds = (
        _text_mentions(reading, text_scores),
        _mark_mentions(placed.filter(is_id), marks, mark_scores, links, reading),
        _hint_mentions(placed.filter(~is_id), links, reading, text_scores),
    )
    found = pl.concat([kind.select(_MENTION.names()).cast(_MENTION) for kind in kinds]).rechunk()
    # By position: joins of many columns with lists of structs are slow.
    at = found["row"]
    found = found.with_columns(turns[column].gather(at) for column in ("dialogue_id", "turn", "dataset"))
    found = with_lint(_word_for_word(found, turns)).with_columns(linker_version=pl.lit(LINKER_VERSION))
    # A film that was not linked is only kept where the lint says why.
    lost = pl.col("is_face_value") & ~pl.col("is_quarantined") & ~pl.col("is_sure")
    found = found.with_columns(
        movie_id=pl.when(~lost).then("movie_id"),
        match=pl.when(lost).then(pl.lit("none")).otherwise("match"),
        score_prob=pl.when(lost).then(1 - pl.col("score_prob")).otherwise("score_prob").cast(pl.Float32),
    )
    return CORE_MENTIONS.conform(found.select(CORE_MENTIONS.schema.names()))


def _word_for_word(found: pl.DataFrame, turns: pl.DataFrame) -> pl.DataFrame:
    """Write surfaces as they stand in the text where it was read with other quotation marks."""
    text = turns.with_row_index("row").filter(pl.col("text").str.contains(QUOTATION_MARK, literal=True))
    text = text.select(pl.col("row").cast(pl.Int64), "text")
    own = pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start"))
    surface = found.select("row", "start", "end", "surface").join(text, on="row", how="left", maintain_order="left")
    return found.with_columns(surface.select(pl.coalesce(own, "surface").alias("surface")).to_series())


def _marks(placed: pl.DataFrame, links: pl.DataFrame, texts: Texts) -> pl.DataFrame:
    """Films that placeholders may stand for, as far as the item's link says: group (the placeholder), dialogue, movie_id, score, place."""
    films = pl.concat(
        [
            links.filter(pl.col("movie_id").is_not_null()).select("dataset", "item_id", "movie_id", p="score_prob"),
            links.select("dataset", "item_id", "alternatives")
            .explode("alternatives")
            .drop_nulls("alternatives")
            .unnest("alternatives")
            .select("dataset", "item_id", "movie_id", p="score_prob"),
        ]
    ).with_columns(pl.col("p").cast(pl.Float64))
    left = (1 - pl.col("p").sum().over("dataset", "item_id")).clip(1e-4, 1)
    films = films.with_columns(score=(pl.col("p").clip(1e-9, 1) / left).log())
    numbered = placed.with_columns(
        group=pl.int_range(pl.len(), dtype=pl.Int64),
        place=pl.Series(texts.base).gather(placed["row"]) + pl.col("start"),
        has_year=_stated_years(placed["item_name"]).is_not_null(),
    )
    return (
        numbered.select("group", "dialogue", "place", "has_year", "dataset", "item_id")
        .join(films, on=["dataset", "item_id"])
        .sort("group", "movie_id")
    )


def _stated_years(names: pl.Series) -> pl.Series:
    """The year that each name states, null where none."""
    unique = names.drop_nulls().unique().sort()
    stated = pl.DataFrame(
        {"name": unique, "year": prepare(unique)["year"]}, schema={"name": pl.String, "year": pl.Int32}
    )
    return names.to_frame("name").join(stated, on="name", how="left", maintain_order="left")["year"]


def in_context(reading: Reading, marks: pl.DataFrame, gazetteer: Gazetteer) -> tuple[Float, Float]:
    """Scores of the candidates of texts and of placeholders, with what the rest of the dialogue says.

    What is certain without context is context for the rest; what is certain then is context for all.
    """
    model = weights().models["texts"]
    group = reading.candidates["group"].to_numpy()
    own = model.part(reading.hits)[group] + model.part(reading.candidates)
    base = marks["score"].to_numpy()
    # A name with its year leaves nothing to the context.
    open_marks = (~marks["has_year"]).cast(pl.Float64).to_numpy()
    place = reading.hits["core"].gather(group)
    texts = reading.candidates.select("dialogue", "movie_id", place=place)
    text_scores, mark_scores = model.scores(own), base
    for _ in range(_CONTEXT_ROUNDS):
        text_p, _ = shares(text_scores, group, reading.hits.height)
        mark_group = marks["group"].to_numpy()
        mark_p, _ = shares(mark_scores, mark_group, int(mark_group.max(initial=-1)) + 1)
        certain = pl.concat(
            [
                texts.filter(pl.Series(text_p >= CERTAIN)),
                marks.filter(pl.Series(mark_p >= CERTAIN)).select("dialogue", "movie_id", "place"),
            ]
        )
        text_scores = model.scores(own, model.part(context_evidence(texts, reading, certain, gazetteer)))
        context = context_evidence(marks.select("dialogue", "movie_id", "place"), reading, certain, gazetteer)
        mark_scores = base + open_marks * model.part(context)
    return text_scores, mark_scores


def _text_mentions(reading: Reading, scores: Float) -> pl.DataFrame:
    """Names in running text that are linked: of places that overlap, those that are surest."""
    hits = reading.hits
    choice = choices(reading.candidates, scores, hits.height, weights().thresholds["texts"])
    linked = pl.concat(
        [
            hits.select(
                "hit",
                "row",
                "start",
                "end",
                "surface",
                "core",
                "b",
                "year_behind",
                "is_inside_person",
                "commonness",
                "is_marked",
            ),
            choice,
        ],
        how="horizontal",
    ).filter(pl.col("movie_id").is_not_null())
    linked = linked.filter(_best_of_overlapping(linked))
    year_fits = (pl.col("year_behind") - pl.col("film_year")).abs() <= 1
    return linked.with_columns(
        *_edges(linked, reading.texts),
        method=pl.when(year_fits).then(pl.lit("title_year")).otherwise(pl.lit("free_text")),
        name=pl.lit(None, dtype=pl.String),
        item_id=pl.lit(None, dtype=pl.String),
        stated_year="year_behind",
        is_person="is_inside_person",
        is_face_value=pl.lit(False),
        is_sure=pl.lit(True),
    )


def _best_of_overlapping(places: pl.DataFrame) -> pl.Series:
    """Which places to keep so that none overlap: the surest first, the longer of two equally sure.

    `places`: core, b (begin and end over all texts), score_prob. A place is kept when it is the best of all that it touches; those it touches
    are out; and so on with what is left.
    """
    order = (
        places.select(
            pl.struct(
                p=-pl.col("score_prob").round(6), size=pl.col("core") - pl.col("b"), a="core", n=pl.int_range(pl.len())
            ).rank("ordinal")
        )
        .to_series()
        .cast(pl.Int64)
        .to_numpy()
    )
    a, b = places["core"].to_numpy(), places["b"].to_numpy()
    kept, alive = np.zeros(len(a), dtype=bool), np.ones(len(a), dtype=bool)
    points = np.unique(np.concatenate([a, b]))
    first, last = np.searchsorted(points, a), np.searchsorted(points, b)
    while alive.any():
        some = np.flatnonzero(alive)
        width = last[some] - first[some]
        owner = np.repeat(some, width)
        cell = np.repeat(first[some] - np.cumsum(width) + width, width) + np.arange(int(width.sum()))
        best = np.full(len(points), np.iinfo(np.int64).max)
        np.minimum.at(best, cell, order[owner])
        lost = np.zeros(len(a), dtype=bool)
        lost[owner[best[cell] != order[owner]]] = True
        winners = alive & ~lost
        kept |= winners
        covered = np.zeros(len(points), dtype=bool)
        covered[cell[winners[owner]]] = True
        out = np.zeros(len(a), dtype=bool)
        out[owner[covered[cell]]] = True
        alive &= ~out
    return pl.Series(kept, dtype=pl.Boolean)


def _edges(places: pl.DataFrame, texts: Texts) -> list[pl.Series]:
    """The characters at and around the ends of places (row, start, end), as the lint asks for them."""
    row, start, end = (places[c].cast(pl.Int64).to_numpy() for c in ("row", "start", "end"))
    offsets = {"before": start - 1, "first": start, "last": end - 1, "after": end}
    return [
        pl.Series(name, ["" if point == 0 else chr(point) for point in texts.char(row, at).tolist()], dtype=pl.String)
        for name, at in offsets.items()
    ]


def _mark_mentions(
    placed: pl.DataFrame, marks: pl.DataFrame, scores: Float, links: pl.DataFrame, reading: Reading
) -> pl.DataFrame:
    """Placeholders with the films they stand for."""
    films = marks.with_columns(
        match=pl.lit("exact"), year=pl.lit(None, dtype=pl.Int32), votes=pl.lit(None, dtype=pl.Int64)
    )
    choice = choices(films, scores, placed.height, weights().thresholds["items"])
    return _annotated(pl.concat([placed, choice], how="horizontal"), links, reading).with_columns(
        method=pl.lit("id"),
        commonness=pl.lit(0.0, dtype=pl.Float32),
        is_marked=pl.lit(True),
        is_face_value=pl.lit(False),
        is_sure=pl.lit(True),
    )


def _hint_mentions(placed: pl.DataFrame, links: pl.DataFrame, reading: Reading, scores: Float) -> pl.DataFrame:
    """Hints that point at a place in the text, taken at face value, with the probability that they are right.

    A hint was mostly made by comparing strings. That its film is meant is judged by the text; that somebody stated it adds a little.
    """
    placed = placed.with_columns(hint=pl.int_range(pl.len(), dtype=pl.Int64))
    stated = placed.join(
        links.select("dataset", "item_id", "movie_id", "alternatives", "match", item_prob="score_prob"),
        on=["dataset", "item_id"],
        how="left",
        maintain_order="left",
    ).with_columns(pl.col("match").fill_null("none"), pl.col("alternatives").fill_null(NO_ALTERNATIVES))
    group = reading.candidates["group"]
    p, _ = shares(scores, group.to_numpy(), reading.hits.height)
    read = reading.candidates.select("movie_id", p=pl.Series(p), hit="group").join(
        reading.hits.select("hit", "row", hit_start="start", hit_end="end"), on="hit"
    )
    met = (
        stated.select("hint", "row", "start", "end", "movie_id")
        .join(read, on=["row", "movie_id"])
        .filter((pl.col("hit_start") < pl.col("end")) & (pl.col("start") < pl.col("hit_end")))
    )
    in_text = stated.join(met.group_by("hint").agg(pl.col("p").max()), on="hint", how="left", maintain_order="left")
    unread = in_text["p"].fill_null(_UNREAD).clip(1e-6, 1 - 1e-6)
    odds = unread / (1 - unread) * np.exp(weights().models["hints"].bias)
    prob = pl.Series("score_prob", odds / (1 + odds) * in_text["item_prob"].fill_null(0.0))
    has_film = pl.col("movie_id").is_not_null()
    stated = stated.with_columns(prob).with_columns(
        score_prob=pl.when(has_film).then("score_prob").otherwise(1.0).cast(pl.Float32),
        is_face_value=has_film,
        is_sure=pl.col("score_prob") >= weights().thresholds["hints"],
    )
    return _annotated(stated, links, reading).with_columns(*_writing(stated, reading.texts), method=pl.lit("hint"))


def _annotated(placed: pl.DataFrame, links: pl.DataFrame, reading: Reading) -> pl.DataFrame:
    """Add to placeholders and hints what output and lint ask for."""
    texts = reading.texts
    text = placed.select("row", "start", "end").join(
        texts.rows.select("row", "text"), on="row", how="left", maintain_order="left"
    )
    people = links.filter(pl.col("quarantine_reason") == "person_name").select(
        "dataset", "item_id", is_person=pl.lit(True)
    )
    films = reading.films.select("movie_id", film_year="year", film_votes="votes")
    return (
        placed.drop("film_year", "film_votes", strict=False)
        .with_columns(
            *_edges(placed, texts),
            text.select(surface=pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start"))).to_series(),
            name="item_name",
            stated_year=_stated_years(placed["item_name"]),
        )
        .join(people, on=["dataset", "item_id"], how="left", maintain_order="left")
        .join(films, on="movie_id", how="left", maintain_order="left")
        .with_columns(pl.col("is_person").fill_null(False))
        .drop("dataset", "dialogue_id", "turn", strict=False)
    )


def _writing(placed: pl.DataFrame, texts: Texts) -> list[pl.Series]:
    """How common the words of places are, and whether the writing shows a title: commonness, is_marked."""
    base = texts.base[placed["row"].to_numpy()]
    word_at = texts.base[texts.words["row"].cast(pl.Int64).to_numpy()] + texts.words["start"].cast(pl.Int64).to_numpy()
    if not len(word_at) or not placed.height:
        none = [pl.lit(0.0, dtype=pl.Float32).alias("commonness"), pl.lit(False).alias("is_marked")]
        return list(placed.with_columns(none).select("commonness", "is_marked").get_columns())
    a, b = base + placed["start"].to_numpy(), base + placed["end"].to_numpy()
    # The word in which the place begins, also where it begins inside of it.
    first = np.maximum(np.searchsorted(word_at, a, side="right") - 1, 0)
    last = np.maximum(np.searchsorted(word_at, b) - 1, first)
    text = placed.join(texts.rows.select("row", "text"), on="row", how="left", maintain_order="left")
    hits = text.select(
        "row",
        "start",
        "end",
        surface=pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start")),
        first=pl.Series(first, dtype=pl.Int64),
        tokens=pl.Series(last - first + 1, dtype=pl.Int64),
        b=pl.Series(b),
        series_size=pl.lit(0),
        is_inside_person=pl.lit(False),
        is_inside_longer=pl.lit(False),
    )
    hits = pl.concat([hits, years_behind(hits, texts)], how="horizontal")
    return list(hit_evidence(hits, texts).select("commonness", "is_marked").get_columns())
