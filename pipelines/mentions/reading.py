"""Every name of a film in a batch of turns, with the evidence on it.

Belongs here: from scan's places to hits and candidates with all their evidence, and the evidence that the rest of a dialogue gives.
Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.mentions.features import (
    WRITTEN,
    Texts,
    candidate_evidence,
    genre_of_word,
    hit_evidence,
    may_begin,
    take_apart,
)
from pipelines.mentions.gazetteer import Gazetteer
from pipelines.mentions.items import FILM_COLUMNS, NAMESAKES
from pipelines.mentions.scan import scan
from pipelines.mentions.spelling import KNOWN_VOTES, known_films, misspelt
from pipelines.mentions.tokens import keyed

Tell = Callable[[str], None]
Int = NDArray[np.int64]

QUOTATION_MARK = "QUOTATION_MARK"  # how INSPIRED writes one

_BETTER_KNOWN = 100  # times the ratings of a film of just that name, from which on a film of nearly that name is meant
_BESIDE = 30  # characters between the beginnings of names that stand beside each other
_SAME_TIME = 1  # years by which films that are talked about together differ
_SERIES_HEAD = r"^(.{2,}?)(?::\s| [-–—] |\s(?:\d|[IVX]+|Part|Chapter|Vol|and the|vs)\b)"
_HIT_COLUMNS = (
    "row",
    "start",
    "end",
    "surface",
    "tokens",
    "key",
    "key_id",
    "article_before",
    "a",
    "b",
    "core",
    "first",
)


@dataclass(frozen=True)
class Reading:
    """What was found in a batch of turns, before anything is decided.

    `hits`: hit (0..n-1), row, start, end, surface, tokens, key, year_behind, bare_year, and the evidence of features.hit_evidence.
    `candidates`: group (the hit), movie_id, match, the film's year and votes, and all evidence that the model weighs, but for the context.
    `people`: dialogue, person; `genres`: dialogue, genre; `years`: dialogue, year: what is named in each dialogue. `films`: all films.
    """

    texts: Texts
    hits: pl.DataFrame
    candidates: pl.DataFrame
    people: pl.DataFrame
    genres: pl.DataFrame
    years: pl.DataFrame
    films: pl.DataFrame


def plain_quotes(text: pl.Expr) -> pl.Expr:
    """INSPIRED's word for a quotation mark as so many quotation marks, so that offsets stay."""
    return text.str.replace_all(QUOTATION_MARK, '"' * len(QUOTATION_MARK), literal=True)


def read_turns(turns: pl.DataFrame, taken: pl.DataFrame, gazetteer: Gazetteer, tell: Tell) -> Reading:
    """Find every name of a film in turns and gather the evidence on it.

    `turns`: dataset, dialogue [i64], turn, role, text, sorted by dialogue and turn. `taken`: row, start, end of places that hold something else (placeholders).
    """
    texts = take_apart(turns.with_columns(plain_quotes(pl.col("text"))))
    hits, people = _places(scan(texts.rows.select("row", "text"), gazetteer, tell), texts)
    hits = hits.filter(_is_free(hits, taken, texts)).sort("row", "start", "end", "key_id")
    people = people.filter(_is_free(people, taken, texts))
    texts = _with_people_marked(texts, people)
    spelt, spelt_films = _misspelt(texts, hits, taken, gazetteer)
    hits = pl.concat([hits.select(_HIT_COLUMNS), spelt.select(_HIT_COLUMNS)]).sort("row", "start", "end", "key_id")
    hits = hits.with_columns(
        hit=pl.int_range(pl.len(), dtype=pl.Int64),
        is_inside_person=_is_inside(hits.with_columns(a="core"), people.filter(pl.col("tokens") > 1), strictly=False),
        is_inside_longer=_is_inside(
            hits.with_columns(a="core"), hits.filter(pl.col("tokens") > 1).with_columns(a="core"), strictly=True
        ),
    )
    hits = pl.concat([hits, years_behind(hits, texts)], how="horizontal")
    hits = hits.join(_series_sizes(gazetteer.films), on="key", how="left", maintain_order="left")
    hits = hits.with_columns(pl.col("series_size").fill_null(0))
    hits = pl.concat([hits, hit_evidence(hits, texts)], how="horizontal")
    candidates = _hit_candidates(hits, texts, gazetteer, spelt_films)
    evidence = candidate_evidence(candidates)
    candidates = pl.concat(
        [candidates.select("group", "movie_id", "match", "year", "votes", "stated_year", "dialogue"), evidence],
        how="horizontal",
    )
    return Reading(
        texts,
        hits,
        candidates,
        _dialogues_of(people, texts).select("dialogue", person="key").unique(),
        _genres_named(texts),
        _years_named(texts),
        gazetteer.films,
    )


def context_evidence(
    candidates: pl.DataFrame, reading: Reading, certain: pl.DataFrame, gazetteer: Gazetteer
) -> pl.DataFrame:
    """What the rest of the dialogue says for each candidate: is the film known there, are its people, genre or year named.

    `candidates`: dialogue, movie_id, place [i64]; `certain`: dialogue, movie_id, place of links that are certain. A link is no
    context of its own place. Returns columns of numbers, one row a candidate.
    """
    pairs = candidates.select("dialogue", "movie_id").unique()
    films = gazetteer.films.select("movie_id", "year", "genres", "directors", "cast_members")
    told = pairs.join(reading.people.select("dialogue").unique(), on="dialogue", how="semi").join(films, on="movie_id")
    cast = (
        told.select("dialogue", "movie_id", name=pl.concat_list("directors", "cast_members"))
        .explode("name")
        .drop_nulls("name")
    )
    names = _with_keys(cast.select("name").unique(), "person", drops_article=False)
    by_people = (
        cast.join(names, on="name")
        .join(reading.people, on=["dialogue", "person"], how="semi")
        .select("dialogue", "movie_id")
        .unique()
        .with_columns(people_named=pl.lit(1.0))
    )
    by_genre = (
        pairs.join(reading.genres.select("dialogue").unique(), on="dialogue", how="semi")
        .join(films.select("movie_id", "genres"), on="movie_id")
        .explode("genres")
        .join(reading.genres, left_on=["dialogue", "genres"], right_on=["dialogue", "genre"], how="semi")
        .select("dialogue", "movie_id")
        .unique()
        .with_columns(genre_named=pl.lit(1.0))
    )
    by_year = (
        pairs.join(films.select("movie_id", "year"), on="movie_id")
        .join(reading.years, on=["dialogue", "year"], how="semi")
        .select("dialogue", "movie_id")
        .with_columns(year_named=pl.lit(1.0))
    )
    times = (
        certain.join(films.select("movie_id", "year"), on="movie_id")
        .group_by("dialogue", "place")
        .agg(pl.col("year").max())
        .drop_nulls()
        .sort("dialogue", "year", descending=[False, True])
        .group_by("dialogue", maintain_order=True)
        .agg(
            latest=pl.col("year").first(), latest_place=pl.col("place").first(), second=pl.col("year").slice(1).first()
        )
    )
    places = certain.group_by("dialogue", "movie_id").agg(
        pl.col("place").n_unique().alias("n"), pl.col("place").first()
    )
    out = candidates.select("dialogue", "movie_id", "place")
    for part in (by_people, by_genre, by_year):
        out = out.join(part, on=["dialogue", "movie_id"], how="left", maintain_order="left")
    out = out.join(places, on=["dialogue", "movie_id"], how="left", maintain_order="left", suffix="_certain")
    out = out.join(times, on="dialogue", how="left", maintain_order="left")
    out = out.join(films.select("movie_id", "year"), on="movie_id", how="left", maintain_order="left")
    latest = pl.when(pl.col("latest_place") == pl.col("place")).then("second").otherwise("latest")
    elsewhere = (pl.col("n") > 1) | ((pl.col("n") == 1) & (pl.col("place_certain") != pl.col("place")))
    return out.select(
        film_known=elsewhere.fill_null(False).cast(pl.Float64),
        people_named=pl.col("people_named").fill_null(0.0),
        genre_named=pl.col("genre_named").fill_null(0.0),
        year_named=pl.col("year_named").fill_null(0.0),
        of_the_time=(pl.col("year") >= latest - _SAME_TIME).fill_null(False).cast(pl.Float64),
        before_the_time=(pl.col("year") < latest - _SAME_TIME).fill_null(False).cast(pl.Float64),
        film_beside=pl.Series(_is_beside(out["place"].to_numpy(), certain["place"].to_numpy(), reading.texts)),
    )


def _is_beside(places: Int, certain: Int, texts: Texts) -> NDArray[np.float64]:
    """Whether a certain film begins near each place, in the same turn: films come in lists [places]."""
    known = np.unique(certain)
    if not len(known):
        return np.zeros(len(places))
    own = np.searchsorted(texts.base, places, side="right")
    found = np.zeros(len(places), dtype=bool)
    for side, step in (("left", -1), ("right", 0)):
        at = np.searchsorted(known, places, side=side) + step  # type: ignore[call-overload]
        near = known[np.clip(at, 0, len(known) - 1)]
        found |= (
            (at >= 0)
            & (at < len(known))
            & (np.abs(near - places) <= _BESIDE)
            & (np.searchsorted(texts.base, near, side="right") == own)
        )
    return found.astype(np.float64)


def _with_people_marked(texts: Texts, people: pl.DataFrame) -> Texts:
    """Mark the words that stand in a person's name of two words or more: `in_person`."""
    named = people.filter(pl.col("tokens") > 1)
    step = np.zeros(texts.words.height + 1, dtype=np.int64)
    np.add.at(step, named["first"].to_numpy(), 1)
    np.add.at(step, (named["first"] + named["tokens"]).to_numpy(), -1)
    return replace(texts, words=texts.words.with_columns(in_person=pl.Series(np.cumsum(step)[:-1] > 0)))


def _genres_named(texts: Texts) -> pl.DataFrame:
    words = genre_of_word()
    table = pl.DataFrame(
        {"folded": list(words), "genre": list(words.values())}, schema={"folded": pl.String, "genre": pl.String}
    )
    return (
        _dialogues_of(texts.words.join(table, on="folded").select("row", "genre"), texts)
        .select("dialogue", "genre")
        .unique()
    )


def _years_named(texts: Texts) -> pl.DataFrame:
    years = texts.words.filter(pl.col("folded").str.contains(r"^(?:19|20)\d\d$")).select(
        "row", year=pl.col("folded").cast(pl.Int32, strict=False)
    )
    return _dialogues_of(years.drop_nulls(), texts).select("dialogue", "year").unique()


def _dialogues_of(rows: pl.DataFrame, texts: Texts) -> pl.DataFrame:
    return rows.join(texts.rows.select("row", "dialogue"), on="row", how="left", maintain_order="left")


def _places(found: pl.DataFrame, texts: Texts) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split what scan found into names of films and of people.

    Adds `first`, the index of the first word of each, and begin and end counted over all texts: `a` and `b`, `core` without an article.
    """
    base = pl.Series(texts.base)
    found = found.with_columns(pl.col("row", "start", "end").cast(pl.Int64)).with_columns(
        a=base.gather(found["row"]) + pl.col("start"), b=base.gather(found["row"]) + pl.col("end")
    )
    word_at = texts.base[texts.words["row"].cast(pl.Int64).to_numpy()] + texts.words["start"].cast(pl.Int64).to_numpy()
    found = found.with_columns(
        first=pl.Series(np.searchsorted(word_at, found["a"].to_numpy()), dtype=pl.Int64),
        core=pl.col("a") + _article_length(),
    )
    return found.filter(pl.col("kind") == "film").drop("kind"), found.filter(pl.col("kind") == "person").drop("kind")


def _article_length() -> pl.Expr:
    return (
        pl.when(pl.col("tokens") > 1)
        .then(pl.col("surface").str.extract(r"(?i)^((?:the|an?)\s+)").str.len_chars())
        .fill_null(0)
    )


def _is_free(hits: pl.DataFrame, taken: pl.DataFrame, texts: Texts) -> pl.Series:
    """Whether each hit overlaps none of the places `taken` (row, start, end)."""
    step = np.zeros(len(texts.chars) + 1, dtype=np.int64)
    base = texts.base[taken["row"].cast(pl.Int64).to_numpy()]
    np.add.at(step, base + taken["start"].to_numpy(), 1)
    np.add.at(step, base + taken["end"].to_numpy(), -1)
    covered = np.concatenate([[0], np.cumsum(np.cumsum(step) > 0)])
    return pl.Series(covered[hits["b"].to_numpy()] == covered[hits["a"].to_numpy()], dtype=pl.Boolean)


def _misspelt(
    texts: Texts, hits: pl.DataFrame, taken: pl.DataFrame, gazetteer: Gazetteer
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Places of misspelt names where no name stands as it is, and the films they may be (key_id, movie_id, name, match, similarity).

    Each place has a `key_id` of its own, below 0.
    """
    found = misspelt(texts.words, may_begin(texts), gazetteer).with_columns(
        pl.col("row", "start", "end").cast(pl.Int64)
    )
    base = pl.Series(texts.base)
    found = found.with_columns(
        a=base.gather(found["row"]) + pl.col("start"), b=base.gather(found["row"]) + pl.col("end")
    )
    # A well-known film of just that name is what is meant, unless the other is known so much better.
    known = (
        gazetteer.names.filter(pl.col("kind") != "part")
        .join(known_films(gazetteer.films).select("movie_id", "votes"), on="movie_id")
        .group_by("key_id")
        .agg(pl.col("votes").max().fill_null(0).alias("exact_votes"))
    )
    exact = (
        hits.select("key_id", a="core", b="b")
        .join(known, on="key_id")
        .group_by("a", "b")
        .agg(pl.col("exact_votes").max())
    )
    found = found.filter(_is_free(found, taken, texts)).join(
        gazetteer.films.select("movie_id", "votes"), on="movie_id", how="left", maintain_order="left"
    )
    found = found.join(exact, on=["a", "b"], how="left", maintain_order="left").filter(
        pl.col("exact_votes").is_null()
        | (pl.col("votes").fill_null(0) >= _BETTER_KNOWN * (pl.col("exact_votes") + 500))
    )
    found = found.with_columns(key_id=-1 - pl.struct("a", "b").rank("dense").cast(pl.Int64))
    places = found.unique("key_id", keep="first", maintain_order=True)
    word_at = texts.base[texts.words["row"].cast(pl.Int64).to_numpy()] + texts.words["start"].cast(pl.Int64).to_numpy()
    text = places.join(texts.rows.select("row", "text"), on="row", how="left", maintain_order="left")
    places = places.with_columns(
        surface=text.select(pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start"))).to_series(),
        key=pl.lit(""),
        tokens=pl.col("tokens").cast(pl.Int32),
        core="a",
        article_before=pl.lit(False),
        first=pl.Series(np.searchsorted(word_at, places["a"].to_numpy()), dtype=pl.Int64),
    )
    return places, found.select("key_id", "movie_id", "name", "similarity", match=pl.lit("fuzzy"))


def _is_inside(spans: pl.DataFrame, others: pl.DataFrame, strictly: bool) -> pl.Series:
    """Whether each span (a, b) lies in one of `others`; `strictly`: in one that is longer."""
    rank = 1 if strictly else -1  # among equal places, those that count come last, or first
    every = pl.concat(
        [
            spans.select(
                "a", "b", order=pl.int_range(pl.len(), dtype=pl.Int64), far=pl.lit(-1, dtype=pl.Int64), rank=pl.lit(0)
            ),
            others.select("a", "b", order=pl.lit(-1, dtype=pl.Int64), far="b", rank=pl.lit(rank)),
        ]
    ).sort("a", "b", "rank", descending=[False, True, False])
    # What comes before begins no later; it covers when it ends no earlier.
    reached = every.with_columns(reached=pl.col("far").cum_max().shift(1).fill_null(-1)).filter(pl.col("order") >= 0)
    return reached.sort("order").select(pl.col("reached") >= pl.col("b")).to_series()


def _hit_candidates(hits: pl.DataFrame, texts: Texts, gazetteer: Gazetteer, spelt: pl.DataFrame) -> pl.DataFrame:
    """Films that each hit may be, at most NAMESAKES for a name, the best known first."""
    keys = hits.select("key_id").unique()
    exact = gazetteer.names.join(keys, on="key_id", how="semi").select(
        "key_id",
        "movie_id",
        "name",
        similarity=pl.lit(1.0, dtype=pl.Float32),
        match=pl.col("kind").replace({"title": "exact", "original": "alias"}),
    )
    series = series_of(gazetteer.films)
    keyed_series = hits.select("key_id", "key").unique().join(series, on="key").drop("key")
    others = keyed_series.join(exact, on=["key_id", "movie_id"], how="anti").select(
        "key_id",
        "movie_id",
        "name",
        similarity=pl.lit(1.0, dtype=pl.Float32),
        match=pl.lit("part"),
    )
    films = (
        pl.concat([exact, others, spelt.select(exact.columns)])
        .join(
            keyed_series.select("key_id", "movie_id", in_series=pl.lit(True)).unique(),
            on=["key_id", "movie_id"],
            how="left",
        )
        .with_columns(pl.col("in_series").fill_null(False))
        .join(gazetteer.films.select(*FILM_COLUMNS), on="movie_id")
        .sort("key_id", "votes", "source_count", "movie_id", descending=[False, True, True, False], nulls_last=True)
        .filter(pl.int_range(pl.len()).over("key_id") < NAMESAKES)
    )
    # "The new Lion King" says of every "lion king" of the dialogue which one is meant.
    told = pl.col("dataset").replace_strict(WRITTEN, default=None, return_dtype=pl.Int32)
    hits = hits.join(texts.rows.select("row", "dialogue", told=told), on="row", how="left", maintain_order="left")
    hits = hits.with_columns(pl.col("around_new", "around_old", "year_behind").max().over("dialogue", "key_id"))
    return (
        hits.select(
            "key_id",
            "dialogue",
            group="hit",
            stated_year="year_behind",
            bare_year="bare_year",
            row="row",
            around_new=pl.col("around_new") > 0,
            around_old=pl.col("around_old") > 0,
            surprise="surprise",
            in_lower_case="in_lower_case",
            in_title_case="in_title_case",
            one_word="one_word",
            told="told",
            written="surface",
            article_before="article_before",
        )
        .join(films, on="key_id", how="inner", maintain_order="left")
        .join(texts.rows.select("row", "dialogue"), on="row", how="left", maintain_order="left")
    )


def _with_keys(names: pl.DataFrame, column: str, drops_article: bool = True) -> pl.DataFrame:
    """Add the key of each name (column `name`) under which texts are searched; names without a word are left out."""
    found = keyed(names["name"], drops_article)
    return names[found["name"]].with_columns(found["key"].alias(column))


def series_heads(films: pl.DataFrame) -> pl.DataFrame:
    """What stands before the number or the subtitle in titles of well-known films (`Star Wars: ...`, `Toy Story 2`): movie_id, name."""
    return (
        films.filter(pl.col("votes") >= KNOWN_VOTES)
        .select("movie_id", name=pl.col("title").str.extract(_SERIES_HEAD))
        .drop_nulls("name")
    )


def series_of(films: pl.DataFrame) -> pl.DataFrame:
    """The films of each series, by the key of its name: movie_id, name, key."""
    return _with_keys(series_heads(films), "key").unique(["key", "movie_id"], keep="first", maintain_order=True)


def _series_sizes(films: pl.DataFrame) -> pl.DataFrame:
    """Names at the head of several films' titles, with their number: key, series_size."""
    return series_of(films).group_by("key").agg(series_size=pl.len().cast(pl.Int64))


def years_behind(hits: pl.DataFrame, texts: Texts) -> pl.DataFrame:
    """Years directly behind each hit: in brackets (`Heat (1995)`), and bare (`Heat 1995`)."""
    end = hits["b"].to_numpy()
    chars = np.concatenate([texts.chars, np.zeros(32, dtype=np.uint32)])
    blanks = np.zeros(len(end), dtype=np.int64)
    skipped = np.array([ord(c) for c in " \"'”’"], dtype=np.uint32)
    for _ in range(len(QUOTATION_MARK) + 2):
        blanks += np.isin(chars[np.minimum(end + blanks, len(chars) - 1)], skipped)

    def year(at: Int) -> tuple[Int, NDArray[np.bool_]]:
        digits = np.stack([chars[np.minimum(at + k, len(chars) - 1)].astype(np.int64) - ord("0") for k in range(4)])
        value = (digits * np.array([1000, 100, 10, 1])[:, None]).sum(axis=0)
        behind = chars[np.minimum(at + 4, len(chars) - 1)].astype(np.int64) - ord("0")
        good = ((digits >= 0) & (digits <= 9)).all(axis=0) & (value >= 1880) & (value <= 2035)
        return value, good & ~((behind >= 0) & (behind <= 9))

    opening = end + blanks
    in_brackets = np.isin(chars[opening], [ord("("), ord("[")])
    value, good = year(opening + 1)
    bare_value, bare_good = year(opening)
    return pl.DataFrame(
        {"year_behind": pl.Series(value, dtype=pl.Int32), "bare_year": pl.Series(bare_value, dtype=pl.Int32)}
    ).with_columns(
        pl.when(pl.Series(in_brackets & good)).then("year_behind"),
        pl.when(pl.Series(~in_brackets & bare_good & (blanks > 0))).then("bare_year"),
    )
