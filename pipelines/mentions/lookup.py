"""Which films a text can be that is known to be a title, misspelt or not.

Belongs here: names in, candidate films out. Which candidate is meant (year, popularity, context) is decided in link.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.mentions.gazetteer import KINDS, PARTED, Gazetteer, strings_of, with_hash, wordless_key
from pipelines.mentions.near import one_error_away, sharing_trigrams
from pipelines.mentions.tokens import ARTICLES, Int, Letters, keyed
from pipelines.sources.text import repaired
from pipelines.sources.titles import title_parts

# What look_up gives.
CANDIDATES = pl.Schema(
    {
        "query": pl.Int64,
        "movie_id": pl.String,
        "match": pl.String,  # exact (a title), alias (original title or alias), part (half of a name), fuzzy
        "similarity": pl.Float32,  # of the texts, 0..1; 1 where the keys are equal
        "name": pl.String,  # the name of the film that was met
    }
)

_MATCHES = ("exact", "alias", "part", "fuzzy")
_ORDER = {kind: order for order, kind in enumerate(KINDS)}
_MATCH_OF = {"title": "exact", "original": "alias", "alias": "alias", "part": "part"}

# A shorter half of a title says nothing.
_MIN_HALF = 3
# Names are compared up to this length: what is longer is no title.
_MAX_CHARS = 300
# Less similar names are not the same name.
_LEAST_SIMILAR = 0.6
# From here on a misspelt name says more than an equal half of a name.
_NEARLY = 0.85
# A misspelt half of a name is worth so much of a misspelt name.
_PART_WEIGHT = 0.9
_ARTICLE = rf"(?i)^(?:{'|'.join(ARTICLES)}) "
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# `the` with one typing error.
_NEARLY_THE = sorted(
    {"hte", "teh", "he", "te", "th"}
    | {"the"[:k] + letter + "the"[k:] for k in range(4) for letter in _LETTERS}
    | {"the"[:k] + letter + "the"[k + 1 :] for k in range(3) for letter in _LETTERS}
)
# Fuzzy matching takes so many queries at once, which bounds its memory.
_BATCH = 500


def prepare(names: pl.Series) -> pl.DataFrame:
    """Clean names as datasets state them: `Whip It  (2009)`, `%22Crocodile%22 Dundee (1986)`, `Matrix, The`.

    `names` [str, nulls allowed]. Returns title [str, empty where nothing is left] and year [i32, null where none is stated], a row for each.
    """
    texts = repaired(names.cast(pl.String).str.slice(0, _MAX_CHARS)).fill_null("")
    return title_parts(texts)[0].select(pl.col("title").fill_null("").alias("title"), "year")


def look_up(queries: pl.DataFrame, gazetteer: Gazetteer, limit: int = 8) -> pl.DataFrame:
    """Films that titles can be, at most `limit` for each, the best first: see CANDIDATES.

    `queries`: query [i64, unique], title [str, see prepare]. A title whose key is that of a title, original title or alias gives the films
    of that key. Any other gives the films of which it is a part, those of which its own parts are names, and those whose name
    is spelt nearly the same. Films of equal rank come in the order of votes and sources.
    """
    queries = queries.select(pl.col("query").cast(pl.Int64), pl.col("title").fill_null("").str.slice(0, _MAX_CHARS))
    distinct = queries.select("title").unique(maintain_order=True)
    distinct = distinct.with_columns(text=pl.int_range(pl.len(), dtype=pl.Int64))
    keys = _keys(distinct["title"])
    exact = _films_of(keys, gazetteer)
    is_open = ~pl.col("text").is_in(exact.filter(pl.col("match") != "part")["text"].unique().implode())
    halves = _films_of(_halves(distinct.filter(is_open)), gazetteer).with_columns(match=pl.lit("part"))
    fuzzy = _fuzzy(distinct.filter(is_open), gazetteer)
    ranked = (
        pl.concat([exact, halves, fuzzy])
        .with_columns(
            rank=pl.when(
                (pl.col("match") == "fuzzy") & (pl.col("similarity") > _NEARLY) & (pl.col("order") < _ORDER["part"])
            )
            .then(1)
            .otherwise(pl.col("match").replace_strict(list(_MATCHES), range(len(_MATCHES)), return_dtype=pl.Int32))
        )
        .sort("text", "rank", "similarity", "order", "name", descending=[False, False, True, False, False])
        .unique(["text", "film"], keep="first", maintain_order=True)
    )
    films = gazetteer.films.select("movie_id", "votes", "source_count")[ranked["film"]]
    ranked = (
        pl.concat([ranked, films], how="horizontal")
        .join(distinct, on="text", maintain_order="left")
        .with_columns(
            as_written=pl.col("name").str.to_lowercase() == pl.col("title").str.to_lowercase(),
            article=pl.col("name").str.contains(_ARTICLE) == pl.col("title").str.contains(_ARTICLE),
        )
        .sort(
            "text", "rank", "similarity", "as_written", "article", "order", "votes", "source_count", "movie_id",
            descending=[False, False, True, True, True, False, True, True, False], nulls_last=True,
        )
        .filter(pl.int_range(pl.len()).over("text") < limit)
    )  # fmt: skip
    return queries.join(ranked, on="title", maintain_order="left_right").select(CANDIDATES.names()).cast(CANDIDATES)


def _keys(titles: pl.Series) -> pl.DataFrame:
    """Keys of titles: text [i64, the number of the title], key [str], hash [u64]; none where nothing is left of a title."""
    found = keyed(titles).select("key", "hash", text="name")
    without = np.setdiff1d(np.arange(len(titles)), found["text"].to_numpy())
    wordless = titles.gather(without).to_frame("title").select(text=without, key=wordless_key(pl.col("title")))
    wordless = with_hash(wordless.filter(pl.col("key") != ""))
    return pl.concat([found.select(wordless.columns), wordless])


def _halves(texts: pl.DataFrame) -> pl.DataFrame:
    """Keys of the parts of titles that have parts, in the shape of _keys. `texts`: text, title."""
    parts = (
        texts.filter(pl.col("title").str.contains(PARTED))
        .select("text", title=pl.col("title").str.replace_all(PARTED, "\x00").str.split("\x00"))
        .explode("title")
    )
    keys = _keys(parts["title"])
    keys = keys.with_columns(text=parts["text"].gather(keys["text"]))
    return keys.filter(pl.col("key").str.len_chars() >= _MIN_HALF).unique(maintain_order=True)


def _films_of(keys: pl.DataFrame, gazetteer: Gazetteer) -> pl.DataFrame:
    """Films of which a name has one of these keys (see _keys). Returns text, film (row of gazetteer.films), match, similarity, name."""
    number = gazetteer.find(keys["hash"].to_numpy())
    hit = np.flatnonzero(number >= 0)
    hit = hit[(gazetteer.keys["key"].gather(number[hit]) == keys["key"].gather(hit)).to_numpy()]
    at, names = gazetteer.names_of_keys(number[hit])
    return names.select(
        "film",
        "name",
        match=pl.col("kind").replace_strict(_MATCH_OF, return_dtype=pl.String),
        similarity=pl.lit(1.0, dtype=pl.Float64),
        order=pl.col("kind").replace_strict(_ORDER, return_dtype=pl.Int32),
        text=keys["text"].gather(hit[at]),
    )


def _fuzzy(titles: pl.DataFrame, gazetteer: Gazetteer) -> pl.DataFrame:
    """Films with a name that is spelt nearly like a title. `titles`: text, title. Returns the columns of _films_of."""
    parts = [_films_of(_keys(titles["title"].clear()), gazetteer)]
    for begin in range(0, titles.height, _BATCH):
        batch = titles[begin : begin + _BATCH]
        keys = _spellings(batch)
        near = _close(keys, gazetteer, one_error_away(*_joined(keys["key"]), gazetteer.omissions))
        found = near.filter(pl.col("similarity") >= _NEARLY)["text"].unique()
        far = keys.filter(~pl.col("text").is_in(found.implode()))
        parts += [near, _close(far, gazetteer, sharing_trigrams(*_joined(far["key"]), gazetteer.trigrams))]
    return pl.concat(parts)


def _spellings(titles: pl.DataFrame) -> pl.DataFrame:
    """Keys under which misspelt titles are looked for, in the shape of _keys: their own, and that without a misspelt `the`.

    `titles`: text, title.
    """
    misspelt = titles.filter(pl.col("title").str.to_lowercase().str.extract(r"^(\S+) ").is_in(_NEARLY_THE))
    titles = pl.concat([titles, misspelt.with_columns(pl.col("title").str.replace(r"^\S+ ", ""))])
    keys = _keys(titles["title"])
    return keys.with_columns(text=titles["text"].gather(keys["text"]))


def _joined(keys: pl.Series) -> tuple[Letters, Int]:
    """The letters of keys one after the other, and where each begins: [letters], [keys + 1]."""
    sizes = keys.str.len_chars().cast(pl.Int64).to_numpy()
    letters = np.frombuffer("".join(keys.to_list()).encode("utf-32-le"), dtype="<u4")
    return letters, np.concatenate([[0], np.cumsum(sizes)])


def _close(keys: pl.DataFrame, gazetteer: Gazetteer, pairs: tuple[Int, Int]) -> pl.DataFrame:
    """Films whose names are alike, letter by letter, out of `pairs` of a row of `keys` and a key of the gazetteer."""
    from rapidfuzz import fuzz, process

    query, key = pairs
    asked, known = keys["key"].gather(query), strings_of(gazetteer, key)
    ratio = process.cpdist(asked.to_list(), known.to_list(), scorer=fuzz.ratio, score_cutoff=100 * _LEAST_SIMILAR)
    close = np.flatnonzero(ratio)
    at, names = gazetteer.names_of_keys(key[close])
    weight = pl.when(pl.col("kind") == "part").then(_PART_WEIGHT).otherwise(1.0)
    return names.select(
        "film",
        "name",
        match=pl.lit("fuzzy"),
        similarity=weight * pl.Series(ratio[close[at]].astype(np.float64) / 100),
        order=pl.col("kind").replace_strict(_ORDER, return_dtype=pl.Int32),
        text=keys["text"].gather(query[close[at]]),
    )
