"""Where names of films and people stand in texts.

Belongs here: finding every place, and leaving out those that are nothing but common words. Nothing is decided here: places overlap, and a
key has many films. What speaks for each is weighed in features and model.

Every run of words is hashed and looked up at once (no loop over texts or words); each find is compared letter by letter.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from pipelines.mentions.gazetteer import Gazetteer
from pipelines.mentions.tokens import Bool, Int, Letters, Tokens, in_parts, is_one_of, tokenise

Tell = Callable[[str], None]

# What scan gives.
HITS = pl.Schema(
    {
        "row": pl.Int64,
        "start": pl.Int32,  # code points of the text; the name's own article is included where the text has it
        "end": pl.Int32,  # exclusive; a possessive 's is left out
        "surface": pl.String,
        "kind": pl.String,  # film or person
        "key_id": pl.Int64,  # of Gazetteer.keys
        "key": pl.String,
        "tokens": pl.Int32,  # words between start and end
        "article_before": pl.Boolean,  # an article stands before it that belongs to none of its films' names
        "spacing_differs": pl.Boolean,  # no name of the key has that many words: `spider man` for `Spiderman`
    }
)

# Longest run of words that is looked up whatever it is; more only where the first words are those of a longer name.
_WORDS = 12
# From this share of capitals among the other words on, capitals do not show a title.
_MANY_CAPITALS = 0.5
# Words up to this length need no capital within a title ("Gone with the Wind").
_SMALL_WORD = 3
_QUOTES = "\"'“”‘’«»*_`"
_BLANKS = " \t\u00a0"


def scan(texts: pl.DataFrame, gazetteer: Gazetteer, tell: Tell) -> pl.DataFrame:
    """Every place in texts where a name of the gazetteer stands, whole words in any case: see HITS.

    `texts`: row [i64], text [str]. Places may overlap, and one place has a row for each kind. A single common word
    (gazetteer.COMMON_ZIPF) is left out unless the writing shows a name (_is_marked); so are common words that make up a name only when they are
    written together. How many were, is told.
    """
    rows = texts["row"].cast(pl.Int64)
    parts, dropped = [], 0
    for first, part in in_parts(texts["text"]):
        hits, left_out = _scan_part(part, gazetteer)
        parts.append(hits.with_columns(row=rows.gather(hits["row"] + first)))
        dropped += left_out
    found = pl.concat([pl.DataFrame(schema=HITS), *parts]).rechunk()
    tell(f"{texts.height:,} texts hold {found.height:,} names; {dropped:,} of common words alone are left out")
    return found


def _scan_part(texts: pl.Series, gazetteer: Gazetteer) -> tuple[pl.DataFrame, int]:
    """Hits in some texts (`row` counts them from 0), and how many places were left out."""
    tokens = tokenise(texts)
    first, count, owned, key = _found(tokens, gazetteer)
    key_at = gazetteer.at[key]
    same = _letters_equal(
        tokens.letters,
        tokens.at[first],
        tokens.at[first + count] - owned,
        gazetteer.letters,
        key_at,
        gazetteer.at[key + 1],
    )
    first, count, owned, key = first[same], count[same], owned[same], key[same]
    last = first + count - 1

    # An article before the name belongs to it when a film's name has it.
    before = np.maximum(first - 1, 0)
    stands = (first > 0) & ~tokens.is_glued[before] & (tokens.segment[before] == tokens.segment[first])
    stands &= (tokens.start[first] - tokens.end[before] <= 2) & is_one_of(
        tokens.chars[tokens.start[first] - 1], _BLANKS
    )
    article = np.where(stands, tokens.article[before], 0)
    has_article = (article > 0) & ((gazetteer.articles[key] >> article & 1) > 0)
    begin = first - has_article
    start = tokens.start[begin]
    end = np.where(owned, tokens.owner_end[last], tokens.end[last])

    common = np.isin(tokens.hashes(tokens.at[:-1], tokens.at[1:]), gazetteer.common)
    commons = np.concatenate([[0], np.cumsum(common)])
    is_common = commons[last + 1] - commons[first] == count
    # Several common words are worth a look when they are divided as in the name ("get out", but not "to day").
    respaced = _is_respaced(gazetteer, key, count)
    is_common &= (count == 1) | respaced
    kept = ~is_common
    some = np.flatnonzero(is_common)
    kept[some] = _is_marked(tokens, begin[some], last[some], start[some], end[some])
    dropped = int((~kept).sum())

    first, last, key, begin, start, end = (x[kept] for x in (first, last, key, begin, start, end))
    respaced, has_article, article = respaced[kept], has_article[kept], article[kept]
    row = tokens.row[first]
    text = tokens.chars.tobytes().decode("utf-32-le", "surrogatepass")
    keys = gazetteer.keys[key]
    hits = pl.DataFrame(
        {
            "row": row,
            "start": pl.Series(start - tokens.base[row], dtype=pl.Int32),
            "end": pl.Series(end - tokens.base[row], dtype=pl.Int32),
            "surface": pl.Series(
                [text[a:b] for a, b in zip(start.tolist(), end.tolist(), strict=True)], dtype=pl.String
            ),
            "key_id": key,
            "key": keys["key"],
            "tokens": pl.Series(last - begin + 1, dtype=pl.Int32),
            "article_before": (article > 0) & ~has_article,
            "spacing_differs": respaced,
            "is_film": keys["is_film"],
            "is_person": keys["is_person"],
        }
    )
    by_kind = [
        hits.filter(f"is_{kind}").with_columns(kind=pl.lit(kind)).select(HITS.names()) for kind in ("film", "person")
    ]
    return pl.concat(by_kind).sort("row", "start", "end", "kind", "key_id"), dropped


def _found(tokens: Tokens, gazetteer: Gazetteer) -> tuple[Int, Int, Int, Int]:
    """Runs of words whose hash is that of a key: first word, number of words, letters of a possessive 's left out (0 or 1), key."""
    found: list[tuple[Int, Int, Int, Int]] = []
    every = np.arange(len(tokens))
    # A name does not begin with an article, unless it is nothing else (tokens.keyed).
    leads = (tokens.article > 0) & ~tokens.is_glued
    for count in range(1, _WORDS + 1):
        firsts = every[: max(len(every) - count + 1, 0)]
        good = tokens.segment[firsts] == tokens.segment[firsts + count - 1]
        if count > 1:
            good &= ~leads[firsts]
        _add(found, tokens, gazetteer, firsts[good], count)
    if gazetteer.longest > _WORDS:
        found += _long(tokens, gazetteer, every[~leads])
    none = np.zeros(0, dtype=np.int64)
    first, count_, owned, key = (
        (np.concatenate([none, *column]) for column in zip(*found, strict=True)) if found else [none] * 4
    )
    return first, count_, owned, key


def _add(found: list[tuple[Int, Int, Int, Int]], tokens: Tokens, gazetteer: Gazetteer, first: Int, count: int) -> None:
    """Look up the runs of `count` words from each of `first`, as they stand and without a possessive 's."""
    begin, stop = tokens.at[first], tokens.at[first + count]
    owners = np.flatnonzero(tokens.owner_end[first + count - 1])
    for some, owned in ((slice(None), 0), (owners, 1)):
        key = gazetteer.find(tokens.hashes(begin[some], stop[some] - owned))
        hit = np.flatnonzero(key >= 0)
        n = len(hit)
        found.append((first[some][hit], np.full(n, count), np.full(n, owned), key[hit]))


def _long(tokens: Tokens, gazetteer: Gazetteer, first: Int) -> list[tuple[Int, Int, Int, Int]]:
    """Look up runs of more than _WORDS words: only those divided as the name is, so that no name's hits depend on other names."""
    found: list[tuple[Int, Int, Int, Int]] = []
    for count in range(_WORDS + 1, gazetteer.longest + 1):
        first = first[first + count <= len(tokens)]
        first = first[tokens.segment[first] == tokens.segment[first + count - 1]]
        _add(found, tokens, gazetteer, first, count)
    kept = []
    for firsts, counts, owned, key in found:
        same = ~_is_respaced(gazetteer, key, counts)
        kept.append((firsts[same], counts[same], owned[same], key[same]))
    return kept


def _is_respaced(gazetteer: Gazetteer, key: Int, count: Int) -> Bool:
    """Whether no name of a key has that many words, for each pair."""
    return gazetteer.words[key] >> np.minimum(count, 63).astype(np.uint64) & np.uint64(1) == 0


def _letters_equal(a: Letters, a_first: Int, a_last: Int, b: Letters, b_first: Int, b_last: Int) -> Bool:
    """Whether two slices are equal, for each pair of slices."""
    length = a_last - a_first
    equal = length == b_last - b_first
    pairs = np.flatnonzero(equal)
    n = length[pairs]
    counted = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n)
    differs = a[np.repeat(a_first[pairs], n) + counted] != b[np.repeat(b_first[pairs], n) + counted]
    wrong = np.unique(np.repeat(pairs, n)[differs])
    equal[wrong] = False
    return equal


def _is_marked(tokens: Tokens, begin: Int, last: Int, start: Int, end: Int) -> Bool:
    """Whether the writing shows a name, for runs of words from `begin` to `last` (inclusive) with their places in `chars`.

    That is: quotation marks around it; a year in brackets behind it; nothing else in the text; or capitals at its longer words, where
    they say something: not a single word at the beginning of a sentence, not in a text full of capitals.
    """
    chars = np.concatenate([tokens.chars, np.zeros(8, dtype=np.uint32)])
    quoted = is_one_of(chars[start - 1], _QUOTES) & is_one_of(chars[end], _QUOTES)
    behind = end + is_one_of(chars[end], _BLANKS)
    digits = np.stack([chars[behind + k] for k in range(1, 5)])
    is_digit = ((digits >= ord("0")) & (digits <= ord("9"))).all(axis=0)
    dated = is_one_of(chars[behind], "([") & is_digit & is_one_of(chars[behind + 5], ")]")

    row = tokens.row[last]
    row_first, row_last = np.searchsorted(tokens.row, row), np.searchsorted(tokens.row, row, side="right") - 1
    whole = (begin == row_first) & (last == row_last)

    large = tokens.end - tokens.start > _SMALL_WORD
    needs = np.concatenate([[0], np.cumsum(large)])
    has = np.concatenate([[0], np.cumsum(large & tokens.is_upper)])
    free = ~tokens.opens & large
    frees = np.concatenate([[0], np.cumsum(free)])
    capitals = np.concatenate([[0], np.cumsum(free & tokens.is_upper)])
    ups = np.concatenate([[0], np.cumsum(tokens.is_upper)])

    def inside(sums: Int) -> Int:
        return sums[last + 1] - sums[begin]

    def outside(sums: Int) -> Int:
        return sums[row_last + 1] - sums[row_first] - inside(sums)

    others = outside(frees)
    sober = outside(capitals) < _MANY_CAPITALS * np.maximum(others, 1)
    capital = (inside(needs) == inside(has)) & tokens.is_upper[begin] & tokens.is_upper[last] & sober
    # "I" is a capital anyhow.
    is_i = (end - start == 1) & is_one_of(chars[start], "I")
    capital &= ((inside(ups) > 1) | ~tokens.opens[begin]) & ~is_i
    # `The` is the beginning of something else.
    capital &= (begin < last) | (tokens.article[begin] == 0)
    return quoted | dated | whole | capital
