"""Comparison keys: the forms of titles and names under which records are looked up and compared.

Belongs here: text in, key out. What the keys are used for is decided in blocking and scoring.
"""

from __future__ import annotations

import polars as pl

# Raise whenever a text would get another key: records are then keyed again.
KEYS_VERSION = 1

# Letters that Unicode decomposition leaves alone but that people type without their stroke or ligature.
_LETTERS = {"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}

# Leading articles carry no information and are the first thing that catalogues disagree on.
_ARTICLES = (
    "the|a|an|le|la|les|l|un|une|il|lo|gli|el|los|las|una|der|die|das|den|det|een|het|ein|eine|en|ett|os|as|um|uma"
)

# Roman numerals of sequels; single letters are left alone because they are also words ("I", "V", "X").
_NUMERALS = {
    "ii": "2",
    "iii": "3",
    "iv": "4",
    "vi": "6",
    "vii": "7",
    "viii": "8",
    "ix": "9",
    "xi": "11",
    "xii": "12",
    "xiii": "13",
}

_LEADING_ACTORS = 6
_MIN_PART = 6  # a shorter half of a title ("Alien: ...") names too many films


def folded(text: pl.Expr) -> pl.Expr:
    """Lower case, without accents or punctuation, single spaces: `Amélie & Co.` -> `amelie and co`."""
    text = text.str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.to_lowercase()
    text = text.str.replace_many(list(_LETTERS), list(_LETTERS.values()))
    text = text.str.replace_all("&", " and ", literal=True).str.replace_all(r"['’‘`´.]", "")
    return text.str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()


def title_key(text: pl.Expr) -> pl.Expr:
    """Key of a title: folded, without a leading article, numerals as digits, no spaces.

    A title made of nothing but punctuation keeps its lower-cased text, so that no title has an empty key.
    """
    key = (pl.lit(" ") + folded(text) + pl.lit(" ")).str.replace_many(
        [f" {roman} " for roman in _NUMERALS], [f" {digit} " for digit in _NUMERALS.values()]
    )
    key = key.str.strip_chars()
    bare = key.str.replace(rf"^(?:{_ARTICLES}) ", "").str.replace_all(" ", "", literal=True)
    return pl.when(bare != "").then(bare).otherwise(text.str.to_lowercase().str.replace_all(r"\s", ""))


def person_key(name: pl.Expr) -> pl.Expr:
    """Key of a person: folded name tokens in alphabetical order, initials joined, so that name order does not matter."""
    tokens = folded(name).str.replace_all(r"\b(\p{L}) (\p{L})\b", "${1}${2}")
    return tokens.str.split(" ").list.sort().list.join(" ")


def with_keys(records: pl.DataFrame) -> pl.DataFrame:
    """Add `title_key` [str] and the lists `alias_keys`, `part_keys`, `director_keys` and `cast_keys` to title records.

    `alias_keys` holds the keys of the original title and the aliases, `part_keys` those of the halves of titles that
    have a subtitle. Neither repeats `title_key`. `cast_keys` holds the leading actors only.
    """
    rows = records.select(
        "title", pl.concat_list(pl.concat_list("original_title"), "aliases").alias("others")
    ).with_row_index("row")
    others = rows.select("row", "others").explode("others").drop_nulls()
    texts = pl.concat([rows["title"], others["others"]]).unique()
    keys = texts.to_frame("text").with_columns(key=title_key(pl.col("text")))
    rows = rows.select("row", "title").join(keys, left_on="title", right_on="text", how="left", maintain_order="left")
    alias = (
        others.join(keys, left_on="others", right_on="text")
        .join(rows.select("row", main="key"), on="row")
        .filter(pl.col("key") != pl.col("main"))
        .group_by("row")
        .agg(alias_keys=pl.col("key").unique().sort())
    )
    halves = (
        rows.filter(pl.col("title").str.contains(r":\s| [-–—] "))
        .select(
            "row",
            "key",
            part=pl.col("title").str.replace_all(r":\s| [-–—] ", "\x00").str.split_exact("\x00", 1),
        )
        .unnest("part")
        .select("row", "key", pl.concat_list("field_0", "field_1").alias("part"))
        .explode("part")
        .drop_nulls()
        .with_columns(part=title_key(pl.col("part")))
        .filter((pl.col("part").str.len_chars() >= _MIN_PART) & (pl.col("part") != pl.col("key")))
        .group_by("row")
        .agg(part_keys=pl.col("part").unique().sort())
    )
    empty = pl.lit([], dtype=pl.List(pl.String))
    found = rows.join(alias, on="row", how="left", maintain_order="left").join(
        halves, on="row", how="left", maintain_order="left"
    )
    return records.with_columns(
        found["key"].alias("title_key"),
        found.select(pl.col("alias_keys").fill_null(empty)).to_series(),
        found.select(pl.col("part_keys").fill_null(empty)).to_series(),
        _person_keys(records["directors"]).alias("director_keys"),
        _person_keys(records["cast_members"].list.head(_LEADING_ACTORS)).alias("cast_keys"),
    )


def _person_keys(names: pl.Series) -> pl.Series:
    """Keys of lists of names, in their order and each once; shape [records]."""
    rows = names.to_frame("name").with_row_index("row").explode("name").drop_nulls("name")
    unique = rows.select("name").unique().with_columns(key=person_key(pl.col("name"))).filter(pl.col("key") != "")
    keyed = (
        rows.join(unique, on="name", maintain_order="left")
        .unique(["row", "key"], keep="first", maintain_order=True)
        .group_by("row", maintain_order=True)
        .agg("key")
    )
    every = pl.DataFrame({"row": pl.int_range(names.len(), dtype=pl.UInt32, eager=True)})
    found = every.join(keyed, on="row", how="left", maintain_order="left")["key"]
    return found.to_frame().select(pl.col("key").fill_null(pl.lit([], dtype=pl.List(pl.String)))).to_series()
