"""Which film a name is: items of the datasets, placeholders, hints, titles with their year, and titles in running text.

Belongs here: the order of the steps. Where names stand is found in scan, which films a title can be in lookup, what speaks for each in
features, how much in model, and what is wrong all the same in lint.

The links of a dialogue depend on the dialogue, its hints, and the films and people whose names occur in it, and on nothing else:
that is what lets a refresh link again only what it can change (reach).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.mentions.features import (
    Texts,
    candidate_evidence,
    genre_of_word,
    hit_evidence,
    may_begin,
    take_apart,
)
from pipelines.mentions.gazetteer import Gazetteer
from pipelines.mentions.lint import reasons
from pipelines.mentions.lookup import look_up, prepare
from pipelines.mentions.model import shares, weights
from pipelines.mentions.scan import scan
from pipelines.mentions.spelling import known_films, misspelt
from pipelines.mentions.tokens import keyed
from warehouse.tables.mentions import CORE_ITEM_LINKS, CORE_MENTIONS

Tell = Callable[[str], None]
Float = NDArray[np.float64]
Int = NDArray[np.int64]

LINKER_VERSION = weights().version

ALTERNATIVES = 4
CERTAIN = 0.9  # from this probability on, a link is context for others of its dialogue

_NAMESAKES = 40  # films of one name that are weighed against each other
_BATCH_CHARS = 20_000_000  # characters of text linked at once
_FILM_DOMAINS = ("film", "mixed")
_CONTEXT_ROUNDS = 2
_UNREAD = 0.02  # probability of a film at a place where the text shows none
_SAME_TIME = 1  # years by which films that are talked about together differ
_HIT_COLUMNS = ("row", "start", "end", "surface", "tokens", "key", "key_id", "article_before", "a", "b", "core", "first")
_KNOWN_VOTES = 1000  # ratings from which on a film is well known
_SERIES_HEAD = r"^(.{2,}?)(?::\s| [-–—] |\s(?:\d|[IVX]+|Part|Chapter|Vol|and the|vs)\b)"
_QUOTATION_MARK = "QUOTATION_MARK"  # how INSPIRED writes one
_LOWEST = 1e-4  # probability below which a candidate is no alternative
_FILM_COLUMNS = ("movie_id", "year", "kind", "votes", "source_count")

_NO_ALTERNATIVES = pl.lit([], dtype=CORE_MENTIONS.schema["alternatives"])


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


# ---------------------------------------------------------------------------------------------------------------- items


def _name_candidates(names: pl.Series, gazetteer: Gazetteer) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Films that stated names may be, with their evidence.

    Returns the prepared names (group, title, year as stated) and the candidates (group, movie_id, match, similarity, evidence, `score`).
    """
    prepared = prepare(names).with_row_index("group").with_columns(pl.col("group").cast(pl.Int64))
    found = look_up(prepared.select(query="group", title="title"), gazetteer, limit=_NAMESAKES)
    found = (
        found.rename({"query": "group"})
        .join(prepared.select("group", stated_year="year", written="title"), on="group", how="left", maintain_order="left")
        .join(gazetteer.films.select(*_FILM_COLUMNS), on="movie_id", how="left", maintain_order="left")
        .with_columns(
            bare_year=pl.lit(None, dtype=pl.Int32),
            around_new=pl.lit(False),
            around_old=pl.lit(False),
            surprise=pl.lit(0.0),
            in_lower_case=pl.lit(0.0),
            in_title_case=pl.lit(0.0),
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
    prepared, candidates = _name_candidates(names, gazetteer)
    tell(f"{names.len():,} names have {candidates.height:,} candidate films")
    choice = _choices(candidates, candidates["score"].to_numpy(), names.len(), weights().thresholds["items"])
    choice = choice.with_columns(item_name=names, stated_year=prepared["year"], title=prepared["title"])
    linked = items.join(choice, on="item_name", how="left", maintain_order="left")
    linked = _with_lint(
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
    return pl.int_range(texts.len(), dtype=pl.Int64, eager=True).is_in(keys.implode()) & texts.str.strip_chars().str.contains(r"\S\s+\S")


def _choices(candidates: pl.DataFrame, scores: Float, groups: int, threshold: float) -> pl.DataFrame:
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
        alternatives=pl.col("alternatives").fill_null(_NO_ALTERNATIVES),
        top_prob=pl.col("top_prob").fill_null(0.0),
        top_id="top_id",
        top_match="top_match",
    )


def _with_lint(links: pl.DataFrame) -> pl.DataFrame:
    """Add is_quarantined and quarantine_reason; `links` has the columns of lint.EVIDENCE."""
    return links.with_columns(quarantine_reason=reasons(links)).with_columns(
        is_quarantined=pl.col("quarantine_reason").is_not_null()
    )


# ------------------------------------------------------------------------------------------------------ names in texts


def plain_quotes(text: pl.Expr) -> pl.Expr:
    """INSPIRED's word for a quotation mark as so many quotation marks, so that offsets stay."""
    return text.str.replace_all(_QUOTATION_MARK, '"' * len(_QUOTATION_MARK), literal=True)


def read_turns(turns: pl.DataFrame, taken: pl.DataFrame, gazetteer: Gazetteer, tell: Tell) -> Reading:
    """Find every name of a film in turns and gather the evidence on it.

    `turns`: dialogue [i64], turn, role, text, sorted by dialogue and turn. `taken`: row, start, end of places that hold something else (placeholders).
    """
    texts = take_apart(turns.with_columns(plain_quotes(pl.col("text"))))
    hits, people = _places(scan(texts.rows.select("row", "text"), gazetteer, tell), texts)
    hits = hits.filter(_is_free(hits, taken, texts)).sort("row", "start", "end", "key_id")
    people = people.filter(_is_free(people, taken, texts))
    spelt, spelt_films = _misspelt(texts, hits, taken, gazetteer)
    hits = pl.concat([hits.select(_HIT_COLUMNS), spelt.select(_HIT_COLUMNS)]).sort("row", "start", "end", "key_id")
    hits = hits.with_columns(
        hit=pl.int_range(pl.len(), dtype=pl.Int64),
        is_inside_person=_is_inside(hits.with_columns(a="core"), people.filter(pl.col("tokens") > 1), strictly=False),
        is_inside_longer=_is_inside(hits.with_columns(a="core"), hits.filter(pl.col("tokens") > 1).with_columns(a="core"), strictly=True),
    )
    hits = pl.concat([hits, _years_behind(hits, texts)], how="horizontal")
    hits = hits.join(_series_sizes(gazetteer.films), on="key", how="left", maintain_order="left")
    hits = hits.with_columns(pl.col("series_size").fill_null(0))
    hits = pl.concat([hits, hit_evidence(hits, texts)], how="horizontal")
    candidates = _hit_candidates(hits, texts, gazetteer, spelt_films)
    evidence = candidate_evidence(candidates)
    candidates = pl.concat(
        [candidates.select("group", "movie_id", "match", "year", "votes", "stated_year", "dialogue"), evidence], how="horizontal"
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


def context_evidence(candidates: pl.DataFrame, reading: Reading, certain: pl.DataFrame, gazetteer: Gazetteer) -> pl.DataFrame:
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
        .agg(latest=pl.col("year").first(), latest_place=pl.col("place").first(), second=pl.col("year").slice(1).first())
    )
    places = certain.group_by("dialogue", "movie_id").agg(pl.col("place").n_unique().alias("n"), pl.col("place").first())
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
    )


def _genres_named(texts: Texts) -> pl.DataFrame:
    words = genre_of_word()
    table = pl.DataFrame({"folded": list(words), "genre": list(words.values())}, schema={"folded": pl.String, "genre": pl.String})
    return _dialogues_of(texts.words.join(table, on="folded").select("row", "genre"), texts).select("dialogue", "genre").unique()


def _years_named(texts: Texts) -> pl.DataFrame:
    years = texts.words.filter(pl.col("folded").str.contains(r"^(?:19|20)\d\d$")).select("row", year=pl.col("folded").cast(pl.Int32, strict=False))
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
        first=pl.Series(np.searchsorted(word_at, found["a"].to_numpy()), dtype=pl.Int64), core=pl.col("a") + _article_length()
    )
    return found.filter(pl.col("kind") == "film").drop("kind"), found.filter(pl.col("kind") == "person").drop("kind")


def _article_length() -> pl.Expr:
    return pl.when(pl.col("tokens") > 1).then(pl.col("surface").str.extract(r"(?i)^((?:the|an?)\s+)").str.len_chars()).fill_null(0)


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
    found = misspelt(texts.words, may_begin(texts), gazetteer).with_columns(pl.col("row", "start", "end").cast(pl.Int64))
    base = pl.Series(texts.base)
    found = found.with_columns(a=base.gather(found["row"]) + pl.col("start"), b=base.gather(found["row"]) + pl.col("end"))
    # A well-known film of just that name is what is meant.
    known = gazetteer.names.filter(pl.col("kind") != "part").join(known_films(gazetteer.films), on="movie_id", how="semi")["key_id"]
    exact = hits.filter(pl.col("key_id").is_in(known.unique().implode())).select(a="core", b="b").unique()
    found = found.filter(_is_free(found, taken, texts)).join(exact, on=["a", "b"], how="anti")
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
            spans.select("a", "b", order=pl.int_range(pl.len(), dtype=pl.Int64), far=pl.lit(-1, dtype=pl.Int64), rank=pl.lit(0)),
            others.select("a", "b", order=pl.lit(-1, dtype=pl.Int64), far="b", rank=pl.lit(rank)),
        ]
    ).sort("a", "b", "rank", descending=[False, True, False])
    # What comes before begins no later; it covers when it ends no earlier.
    reached = every.with_columns(reached=pl.col("far").cum_max().shift(1).fill_null(-1)).filter(pl.col("order") >= 0)
    return reached.sort("order").select(pl.col("reached") >= pl.col("b")).to_series()


def _hit_candidates(hits: pl.DataFrame, texts: Texts, gazetteer: Gazetteer, spelt: pl.DataFrame) -> pl.DataFrame:
    """Films that each hit may be, at most _NAMESAKES for a name, the best known first."""
    keys = hits.select("key_id").unique()
    exact = gazetteer.names.join(keys, on="key_id", how="semi").select(
        "key_id",
        "movie_id",
        "name",
        similarity=pl.lit(1.0, dtype=pl.Float32),
        match=pl.col("kind").replace({"title": "exact", "original": "alias"}),
    )
    films = (
        pl.concat([exact, spelt.select(exact.columns)])
        .join(gazetteer.films.select(*_FILM_COLUMNS), on="movie_id")
        .sort("key_id", "votes", "source_count", "movie_id", descending=[False, True, True, False], nulls_last=True)
        .filter(pl.int_range(pl.len()).over("key_id") < _NAMESAKES)
    )
    # "The new Lion King" says of every "lion king" of the dialogue which one is meant.
    hits = hits.join(texts.rows.select("row", "dialogue"), on="row", how="left", maintain_order="left").with_columns(
        pl.col("around_new", "around_old", "year_behind").max().over("dialogue", "key_id")
    )
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
        films.filter(pl.col("votes") >= _KNOWN_VOTES)
        .select("movie_id", name=pl.col("title").str.extract(_SERIES_HEAD))
        .drop_nulls("name")
    )


def _series_sizes(films: pl.DataFrame) -> pl.DataFrame:
    """Names at the head of several films' titles, with their number: key, series_size."""
    return _with_keys(series_heads(films), "key").group_by("key").agg(series_size=pl.len().cast(pl.Int64))


def _years_behind(hits: pl.DataFrame, texts: Texts) -> pl.DataFrame:
    """Years directly behind each hit: in brackets (`Heat (1995)`), and bare (`Heat 1995`)."""
    end = hits["b"].to_numpy()
    chars = np.concatenate([texts.chars, np.zeros(32, dtype=np.uint32)])
    blanks = np.zeros(len(end), dtype=np.int64)
    skipped = np.array([ord(c) for c in " \"'”’"], dtype=np.uint32)
    for _ in range(len(_QUOTATION_MARK) + 2):
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


# -------------------------------------------------------------------------------------------------------------- mentions


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


def _links_of_hints(
    hints: pl.DataFrame, item_links: pl.DataFrame, gazetteer: Gazetteer, tell: Tell
) -> pl.DataFrame:
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
        pl.col("row").cast(pl.Int64), "dialogue_id", "dialogue", "turn", length=pl.col("text").str.len_chars().cast(pl.Int64)
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
    reading = read_turns(turns.select("dialogue", "turn", "role", "text"), taken, gazetteer, tell)
    marks = _marks(placed.filter(is_id), links, reading.texts)
    text_scores, mark_scores = _in_context(reading, marks, gazetteer)
    found = pl.concat(
        [
            _text_mentions(reading, text_scores),
            _mark_mentions(placed.filter(is_id), marks, mark_scores, links, reading),
            _hint_mentions(placed.filter(~is_id), links, reading, text_scores),
        ],
        how="diagonal_relaxed",
    )
    found = found.join(turns.with_row_index("row").select(pl.col("row").cast(pl.Int64), "dialogue_id", "turn", "dataset"), on="row")
    found = _with_lint(_word_for_word(found, turns)).with_columns(linker_version=pl.lit(LINKER_VERSION))
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
    text = turns.with_row_index("row").filter(pl.col("text").str.contains(_QUOTATION_MARK, literal=True))
    text = text.select(pl.col("row").cast(pl.Int64), "text")
    own = pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start"))
    return found.join(text, on="row", how="left", maintain_order="left").with_columns(surface=pl.coalesce(own, "surface"))


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
    stated = pl.DataFrame({"name": unique, "year": prepare(unique)["year"]}, schema={"name": pl.String, "year": pl.Int32})
    return names.to_frame("name").join(stated, on="name", how="left", maintain_order="left")["year"]


def _in_context(reading: Reading, marks: pl.DataFrame, gazetteer: Gazetteer) -> tuple[Float, Float]:
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
    choice = _choices(reading.candidates, scores, hits.height, weights().thresholds["texts"])
    linked = pl.concat(
        [hits.select("hit", "row", "start", "end", "surface", "core", "b", "year_behind", "is_inside_person", "commonness", "is_marked"), choice],
        how="horizontal",
    ).filter(pl.col("movie_id").is_not_null())
    linked = linked.filter(_best_of_overlapping(linked))
    year_fits = (pl.col("year_behind") - pl.col("film_year")).abs() <= 1
    return linked.with_columns(
        _edges(linked, reading.texts),
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
    order = places.select(
        pl.struct(p=-pl.col("score_prob").round(6), size=pl.col("core") - pl.col("b"), a="core", n=pl.int_range(pl.len())).rank("ordinal")
    ).to_series().cast(pl.Int64).to_numpy()
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
    films = marks.with_columns(match=pl.lit("exact"), year=pl.lit(None, dtype=pl.Int32), votes=pl.lit(None, dtype=pl.Int64))
    choice = _choices(films, scores, placed.height, weights().thresholds["items"])
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
        on=["dataset", "item_id"], how="left", maintain_order="left",
    ).with_columns(  # fmt: skip
        pl.col("match").fill_null("none"), pl.col("alternatives").fill_null(_NO_ALTERNATIVES)
    )
    group = reading.candidates["group"]
    p, _ = shares(scores, group.to_numpy(), reading.hits.height)
    read = reading.candidates.select("movie_id", p=pl.Series(p), hit="group").join(
        reading.hits.select("hit", "row", hit_start="start", hit_end="end"), on="hit"
    )
    met = stated.select("hint", "row", "start", "end", "movie_id").join(read, on=["row", "movie_id"]).filter(
        (pl.col("hit_start") < pl.col("end")) & (pl.col("start") < pl.col("hit_end"))
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
    return _annotated(stated, links, reading).with_columns(_writing(stated, reading.texts), method=pl.lit("hint"))


def _annotated(placed: pl.DataFrame, links: pl.DataFrame, reading: Reading) -> pl.DataFrame:
    """Add to placeholders and hints what output and lint ask for."""
    texts = reading.texts
    text = placed.select("row", "start", "end").join(texts.rows.select("row", "text"), on="row", how="left", maintain_order="left")
    people = links.filter(pl.col("quarantine_reason") == "person_name").select("dataset", "item_id", is_person=pl.lit(True))
    films = reading.films.select("movie_id", film_year="year", film_votes="votes")
    return (
        placed.drop("film_year", "film_votes", strict=False)
        .with_columns(
            _edges(placed, texts),
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
        return list(placed.select(none).get_columns())
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
    hits = pl.concat([hits, _years_behind(hits, texts)], how="horizontal")
    return list(hit_evidence(hits, texts).select("commonness", "is_marked").get_columns())
