"""What catalogues get wrong: titles, years, ids and text.

Belongs here: errors and variants that any catalogue may have, at rates given by the caller.
Does not belong here: a catalogue's house style (`catalogues/`), which is no error.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.synth.draw import Stream, hits, pick, positions
from pipelines.synth.words import lists

ARTICLES = "The|A|An|La|Le|Les|El|Los|Las|Il|Lo|Der|Die|Das"

# How one film comes to have two titles, with weights for a catalogue without habits of its own.
VARIANTS: dict[str, float] = {
    "article moved": 12,
    "subtitle": 22,
    "spelling": 16,
    "original": 22,
    "alias in brackets": 12,
    "typo": 16,
}
YEAR_STEPS = (1, -1, 2, -2, 10, -9)
YEAR_STEP_WEIGHTS = (46, 40, 5, 4, 3, 2)


def varied_titles(works: pl.DataFrame, rate: float, random: Stream, variants: dict[str, float] = VARIANTS) -> pl.Series:
    """Titles [n] of which a share `rate` differs from `works.title`.

    `works` needs title, original_latin and aliases. A variant a title has no room for (an article to move, an
    alias) becomes another subtitle or a typo.
    """
    n = works.height
    rows = np.flatnonzero(random.random(n) < rate)
    kind = pick(random, len(rows), list(variants), list(variants.values()))
    some = works.select(
        pl.col("title").gather(rows),
        pl.col("original_latin").gather(rows),
        alias=pl.col("aliases").list.first().gather(rows),
    ).with_columns(kind=kind, added=pick(random, len(rows), lists()["subtitle"]))
    some = some.with_columns(typo=_typos(some["title"], random))
    title, base = pl.col("title"), pl.col("title").str.replace(r": .*$", "")
    other_name = pl.coalesce(
        pl.when(pl.col("original_latin") != title).then(pl.col("original_latin")),
        "alias",
        pl.lit(None, dtype=pl.String),
    )
    subtitled = pl.when(base != title).then(base).otherwise(title + ": " + pl.col("added"))
    varied = (
        pl.when(pl.col("kind") == "article moved")
        .then(title.str.replace(f"^({ARTICLES}) (.+)$", "${2}, ${1}"))
        .when(pl.col("kind") == "subtitle")
        .then(subtitled)
        .when(pl.col("kind") == "spelling")
        .then(respelled(title))
        .when(pl.col("kind") == "original")
        .then(other_name)
        .when(pl.col("kind") == "alias in brackets")
        .then(title + " (" + other_name + ")")
        .otherwise(pl.col("typo"))
    )
    fallback = pl.when(hits(random, len(rows), 0.5)).then(subtitled).otherwise(pl.col("typo"))
    changed = some.select(pl.when(varied.is_null() | (varied == title)).then(fallback).otherwise(varied).alias("t"))[
        "t"
    ]
    return works["title"].scatter(rows, changed)


def respelled(title: pl.Expr) -> pl.Expr:
    """Another way to spell a title: without diacritics, or with `&`, digits and apostrophes written
    otherwise.
    """
    plain = title.str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.replace_all("ß", "ss")
    swapped = (
        pl.when(title.str.contains(" & ", literal=True))
        .then(title.str.replace(" & ", " and ", literal=True))
        .when(title.str.contains(" and ", literal=True))
        .then(title.str.replace(" and ", " & ", literal=True))
        .when(title.str.contains(r" [23]$"))
        .then(title.str.replace(r" 2$", " II").str.replace(r" 3$", " III"))
        .when(title.str.contains(r" II+$"))
        .then(title.str.replace(r" III$", " 3").str.replace(r" II$", " 2"))
        .when(title.str.contains("'", literal=True))
        .then(title.str.replace_all("'", "", literal=True))
        .otherwise(title.str.replace("our", "or", literal=True).str.replace("ce", "se", literal=True))
    )
    return pl.when(plain != title).then(plain).otherwise(swapped)


def _typos(titles: pl.Series, random: Stream) -> pl.Series:
    """Each title with one letter swapped with the next, left out or doubled; very short ones get a mark."""
    n = len(titles)
    length = titles.str.len_chars()
    at = pl.Series((1 + random.random(n) * np.maximum(length.to_numpy() - 3, 1)).astype(np.int64))
    kind = pl.Series(positions(random, n, [4, 3, 3]))
    frame = pl.DataFrame({"t": titles, "at": at, "kind": kind, "length": length})
    t, p = pl.col("t"), pl.col("at")
    before, here, following = t.str.slice(0, p), t.str.slice(p, 1), t.str.slice(p + 1, 1)
    rest = t.str.slice(p + 1)
    doubled = before + here + here + rest
    swapped = before + following + here + t.str.slice(p + 2)
    in_word = (here != " ") & (following != " ")
    return frame.select(
        pl.when(pl.col("length") < 5)
        .then(t + "!")
        .when((pl.col("kind") == 0) & (here != following) & in_word)
        .then(swapped)
        .when((pl.col("kind") == 1) | ~in_word)
        .then(before + rest)
        .otherwise(doubled)
        .str.strip_chars()
        .alias("t")
    )["t"]


def varied_years(years: pl.Series, rate: float, random: Stream) -> pl.Series:
    """Years [n] of which a share `rate` is wrong, mostly by one."""
    n = len(years)
    step = np.asarray(YEAR_STEPS)[positions(random, n, YEAR_STEP_WEIGHTS)]
    step = np.where(random.random(n) < rate, step, 0)
    return pl.Series((years.to_numpy() + step).astype(np.int32))


def wrong_ids(ids: pl.Series, wrong: float, shared: float, random: Stream) -> pl.Series:
    """Ids [n] of which a share `wrong` belongs to some other row, and a share `shared` repeats the row
    before.
    """
    n = len(ids)
    source = np.arange(n)
    rows = np.flatnonzero(random.random(n) < wrong)
    source[rows] = random.integers(0, n, len(rows)) if n else source[rows]
    rows = np.flatnonzero(random.random(n) < shared)
    source[rows] = np.maximum(rows - 1, 0)
    return ids.gather(source)


def blanked(column: pl.Expr, share: float, n: int, random: Stream) -> pl.Expr:
    """`column` with a share of its values [n] missing."""
    return pl.when(hits(random, n, share)).then(None).otherwise(column)


def doubly_encoded(texts: pl.Series, share: float, random: Stream) -> pl.Series:
    """Texts of which a share of those with non-ASCII letters was encoded as UTF-8 twice."""
    foreign = np.flatnonzero((texts.str.len_bytes() > texts.str.len_chars()).fill_null(False).to_numpy())
    rows = foreign[random.random(len(foreign)) < share]
    garbled = [text.encode().decode("latin-1") for text in texts.gather(rows).to_list()]
    return texts.scatter(rows, garbled)


def with_entities(titles: pl.Series, share: float, random: Stream) -> pl.Series:
    """Titles of which a share has `&` and apostrophes written as HTML entities."""
    escaped = pl.lit(titles).str.replace_all("&", "&amp;", literal=True).str.replace_all("'", "&#39;", literal=True)
    return pl.select(pl.when(hits(random, len(titles), share)).then(escaped).otherwise(pl.lit(titles)).alias("t"))["t"]
