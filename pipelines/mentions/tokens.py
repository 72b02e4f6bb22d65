"""Texts taken apart into words: where each stands, its folded letters, and hashes under which runs of words are found.

Belongs here: word boundaries, folding, hashing, the key of a name. Names of films and of texts go through the same code, so that a
name is found wherever it is written. What the keys are looked up in is in gazetteer, what is done with them in scan and lookup.

Folding is that of pipelines/linking/keys.py, letter by letter: no accents, lower case, `&` as `and`, apostrophes dropped, roman numerals
of sequels as digits. Words of a key are joined without spaces. One thing differs: only English articles are left out at the
beginning of a key, and they alone are optional in a text. To drop `Die` would find Die Hard in every `hard`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

Int = NDArray[np.int64]
Letters = NDArray[np.uint32]
Hashes = NDArray[np.uint64]
Bool = NDArray[np.bool_]

# Articles that a name may lose and still be found, in the order of the bits of `Tokens.article`.
ARTICLES = ("the", "a", "an")

# Texts are taken apart in parts of about this many characters, so that memory does not grow with the number of texts.
PART_CHARS = 2_000_000

_WORD, _APOSTROPHE, _AMPERSAND = 1, 2, 3
_APOSTROPHES = "'’‘`´"
# Unicode decomposition leaves these alone, but people type them without their stroke or ligature.
_LETTERS = {"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ς": "σ"}
# Sequels' numerals; single letters are also words ("I", "V", "X").
_NUMERALS = {
    "ii": "2", "iii": "3", "iv": "4", "vi": "6", "vii": "7", "viii": "8", "ix": "9", "xi": "11", "xii": "12", "xiii": "13",
}  # fmt: skip
# `it's` is `it is`: no name of something that owns something stands before this `'s`.
_CONTRACTED = ("it", "that", "he", "she", "what", "who", "where", "here", "there", "let", "how", "when", "why", "this")
# A name does not run over a line's end, nor over a longer gap than this.
_WIDEST_GAP = 6
_SENTENCE_ENDS = ".!?:;…\n"

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
INVERSE = pow(_BASE, -1, 2**64)


@dataclass(frozen=True)
class Tokens:
    """The words of some texts, in order. All arrays are of shape [words] unless it is said otherwise.

    `row`: which text (0, 1, ...). `start`, `end`: where the word stands in the joined code points `chars` (each text is followed by a line
    end); `base` [texts]: where each text begins there. `at` [words + 1]: where its folded letters begin in `letters`. `prefix`
    [letters + 1] and `inverse` [letters + 1] give the hash of any run of letters. `segment`: a run of words can be a name only when
    all are of one segment. `article`: 0, or 1, 2, 3 for an article of ARTICLES. `is_glued`: no white space before the next word.
    `opens`: begins a sentence. `is_upper`: begins with a capital. `owner_end`: where the word ends without `'s`, 0 where it has none.
    """

    chars: Letters
    base: Int
    row: Int
    start: Int
    end: Int
    at: Int
    letters: Letters
    prefix: Hashes
    inverse: Hashes
    segment: Int
    article: NDArray[np.uint8]
    is_glued: Bool
    opens: Bool
    is_upper: Bool
    owner_end: Int

    def __len__(self) -> int:
        return len(self.row)

    def hashes(self, first: Int, last: Int) -> Hashes:
        """Hash of the letters from position `first` to `last` (exclusive) of `letters`, for each pair."""
        return (self.prefix[last] - self.prefix[first]) * self.inverse[first]

    def strings(self, first: Int, last: Int) -> pl.Series:
        """The letters from position `first` to `last` (exclusive) of `letters`, as text."""
        return decoded(self.letters, first, last)


def decoded(letters: Letters, first: Int, last: Int) -> pl.Series:
    """Slices of `letters` (letters and digits only) as texts, one for each pair of `first` and `last` (exclusive)."""
    if not len(first):
        return pl.Series(dtype=pl.String)
    length = last - first
    begin = np.cumsum(length + 1) - length - 1
    out = np.full(int((length + 1).sum()), ord("\n"), dtype="<u4")
    out[np.repeat(begin, length) + counted(length)] = letters[np.repeat(first, length) + counted(length)]
    return pl.Series([out[:-1].tobytes().decode("utf-32-le")]).str.split("\n").explode()


def counted(length: Int) -> Int:
    """0, 1, ..., n - 1 for each n of `length`, one after the other: shape [sum of length]."""
    total = int(length.sum())
    return np.arange(total, dtype=np.int64) - np.repeat(np.cumsum(length) - length, length)


@cache
def _folded(point: int) -> tuple[int, tuple[int, ...], bool]:
    """What a code point is in a word: its class, its folded letters, and whether it is a capital."""
    char = chr(point)
    if char == "&":
        return _AMPERSAND, tuple(map(ord, "and")), False
    if char in _APOSTROPHES:
        return _APOSTROPHE, (), False
    if unicodedata.category(char)[0] not in "LNM":
        return 0, (), False
    bare = "".join(c for c in unicodedata.normalize("NFKD", char) if unicodedata.category(c)[0] != "M").lower()
    bare = "".join(_LETTERS.get(c, c) for c in unicodedata.normalize("NFKD", bare))
    return _WORD, tuple(ord(c) for c in bare if unicodedata.category(c)[0] in "LN"), char.isupper() or char.istitle()


def hash_of(word: str) -> int:
    """The hash of a folded word, as `Tokens.hashes` gives it."""
    mixed = _mixed(np.array([ord(c) for c in word], dtype=np.uint32)).tolist()
    return sum(value * pow(_BASE, k, 2**64) for k, value in enumerate(mixed)) % 2**64


def _mixed(letters: Letters) -> Hashes:
    """Letters as numbers without a pattern (splitmix64, Steele et al. 2014), so that similar words do not collide."""
    value = letters.astype(np.uint64) + np.uint64(_BASE)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def running_hashes(letters: Letters) -> tuple[Hashes, Hashes]:
    """`prefix` and `inverse`, each [letters + 1]: the hash of letters[a:b] is (prefix[b] - prefix[a]) * inverse[a] modulo 2**64.

    It is a polynomial in a fixed odd base, so a run of words has the hash of its letters, wherever it stands and however it is spaced.
    """
    powers = _powers(_BASE, len(letters) + 1)
    prefix = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(_mixed(letters) * powers[:-1], dtype=np.uint64)])
    return prefix, _powers(INVERSE, len(letters) + 1)


def _powers(base: int, n: int) -> Hashes:
    out = np.full(n, base, dtype=np.uint64)
    out[0] = 1
    return np.cumprod(out)


def is_one_of(values: NDArray, which: str) -> Bool:
    """Whether each code point of `values` is one of the characters `which`."""
    return np.isin(values, np.array([ord(c) for c in which], dtype=np.uint32))


def word_hashes(words: tuple[str, ...]) -> Hashes:
    """Sorted hashes of folded words."""
    return np.sort(np.array([hash_of(word) for word in words], dtype=np.uint64))


def tokenise(texts: pl.Series) -> Tokens:
    """Take `texts` [str, nulls as empty] apart into words.

    A word is a run of letters, digits and marks, with the apostrophes inside it; `&` is a word of its own. Everything else, dots
    and hyphens included, parts words: keys have no spaces, so that `E.T.` and `Spider-Man` still fit `ET` and `Spiderman`.
    """
    texts = texts.fill_null("")
    sizes = texts.str.len_chars().cast(pl.Int64).to_numpy()
    base = np.cumsum(sizes + 1) - sizes - 1
    joined = "\n".join(texts.to_list()) + "\n"
    chars = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    present = np.zeros(0x110000, dtype=bool)
    present[chars] = True
    points = np.flatnonzero(present)
    facts = [_folded(point) for point in points.tolist()]
    code_of = np.zeros(0x110000, dtype=np.uint32)
    code_of[points] = np.arange(len(points))
    code = code_of[chars]
    kind = np.array([fact[0] for fact in facts], dtype=np.uint8)[code]
    width = np.array([len(fact[1]) for fact in facts], dtype=np.int64)
    folds = np.array([letter for fact in facts for letter in fact[1]] or [0], dtype=np.uint32)
    capital = np.array([fact[2] for fact in facts], dtype=bool)

    # The last character is a line end, so that each has a neighbour; the first has the last one.
    inside = kind == _WORD
    inside |= (kind == _APOSTROPHE) & np.roll(inside, 1) & np.roll(inside, -1)
    ampersand = kind == _AMPERSAND
    start = np.flatnonzero((inside & ~np.roll(inside, 1)) | ampersand)
    end = np.flatnonzero((inside & ~np.roll(inside, -1)) | ampersand) + 1

    used = np.flatnonzero(inside | ampersand)
    widths = width[code[used]]
    first_fold = np.cumsum(width) - width
    letters = folds[np.repeat(first_fold[code[used]], widths) + counted(widths)]
    letters_before = np.concatenate([[0], np.cumsum(widths)])
    words_before = np.searchsorted(used, np.concatenate([start, end]))
    begin, stop = np.split(letters_before[words_before], 2)
    # Marks alone are no word.
    some = stop > begin
    start, end, begin, stop = start[some], end[some], begin[some], stop[some]
    letters, at = _with_digits(letters, begin, stop)

    prefix, inverse = running_hashes(letters)

    before = np.concatenate([[0], end[:-1]])[: len(start)]
    lines = np.concatenate([[0], np.cumsum(chars == ord("\n"))])
    stops = np.concatenate([[0], np.cumsum(is_one_of(chars, _SENTENCE_ENDS))])
    parted = (start - before > _WIDEST_GAP) | (lines[start] > lines[before])
    row = np.searchsorted(base, start, side="right") - 1
    own = (prefix[at[1:]] - prefix[at[:-1]]) * inverse[at[:-1]]
    article = np.zeros(len(start), dtype=np.uint8)
    for bit, word in enumerate(ARTICLES, start=1):
        article[own == np.uint64(hash_of(word))] = bit
    # `A.I.` does not begin with an article.
    after = chars[end] if len(end) else chars[:0]
    is_glued = ~is_one_of(after, " \t\u00a0")

    owns = (end - start >= 3) & is_one_of(chars[end - 1], "sS") & (kind[end - 2] == _APOSTROPHE)
    stem = (prefix[at[1:] - 1] - prefix[at[:-1]]) * inverse[at[:-1]]
    owns &= ~np.isin(stem, word_hashes(_CONTRACTED))
    return Tokens(
        chars=chars,
        base=base,
        row=row,
        start=start,
        end=end,
        at=at,
        letters=letters,
        prefix=prefix,
        inverse=inverse,
        segment=np.cumsum(parted),
        article=article,
        is_glued=is_glued,
        opens=(stops[start] > stops[before]) | np.diff(row, prepend=-1).astype(bool),
        is_upper=capital[code[start]],
        owner_end=np.where(owns, end - 2, 0),
    )


def _with_digits(letters: Letters, begin: Int, stop: Int) -> tuple[Letters, Int]:
    """Write the words that are numerals of sequels as digits.

    `begin` and `stop` are where words stand in `letters`. Returns the new letters, word after word, and where each word begins there.
    """
    length = stop - begin
    short = np.flatnonzero((length >= 2) & (length <= 4))
    # A numeral is a number with the digits i = 1, v = 2, x = 3.
    value = np.zeros(len(short), dtype=np.int64)
    for k in range(4):
        here = letters[np.minimum(begin[short] + k, len(letters) - 1)] if len(short) else letters[:0]
        digit = np.select([here == ord("i"), here == ord("v"), here == ord("x")], [1, 2, 3], default=1000)
        value = np.where(length[short] > k, value * 4 + digit, value)
    pool, source, size = [letters], begin.copy(), length.copy()
    offset = len(letters)
    for numeral, digits in _NUMERALS.items():
        number = 0
        for c in numeral:
            number = number * 4 + "ivx".index(c) + 1
        found = short[value == number]
        source[found], size[found] = offset, len(digits)
        pool.append(np.array([ord(c) for c in digits], dtype=np.uint32))
        offset += len(digits)
    at = np.concatenate([[0], np.cumsum(size)])
    return np.concatenate(pool)[np.repeat(source, size) + counted(size)], at


def in_parts(texts: pl.Series, chars: int = PART_CHARS) -> Iterator[tuple[int, pl.Series]]:
    """Cut `texts` into parts of about `chars` characters (a longer text is a part of its own), each with the number of its first text."""
    total = texts.str.len_chars().fill_null(0).cast(pl.Int64).cum_sum().to_numpy()
    first = 0
    while first < len(texts):
        done = total[first - 1] if first else 0
        stop = max(first + 1, int(np.searchsorted(total, done + chars, side="right")))
        yield first, texts[first:stop]
        first = stop


def tokens_of(texts: pl.DataFrame) -> pl.DataFrame:
    """The words of texts as rows, in the order of the texts.

    `texts`: row [i64], text [str]. Returns row, start and end [i32, code points of the text], folded [str].
    """
    rows = texts["row"].cast(pl.Int64)
    parts = []
    for first, part in in_parts(texts["text"]):
        tokens = tokenise(part)
        base = tokens.base[tokens.row]
        parts.append(
            pl.DataFrame(
                {
                    "row": rows.gather(tokens.row + first),
                    "start": pl.Series(tokens.start - base, dtype=pl.Int32),
                    "end": pl.Series(tokens.end - base, dtype=pl.Int32),
                    "folded": tokens.strings(tokens.at[:-1], tokens.at[1:]),
                }
            )
        )
    empty = pl.DataFrame(schema={"row": pl.Int64, "start": pl.Int32, "end": pl.Int32, "folded": pl.String})
    return pl.concat([empty, *parts]).rechunk()


def keyed(names: pl.Series, drops_article: bool = True) -> pl.DataFrame:
    """Keys of names [str].

    Returns one row for each name that has a word: name [i64, its number], key [str], hash [u64], words [i64, without the article], article
    [u8, as in Tokens.article, 0 where none was dropped].
    """
    parts = []
    for first, part in in_parts(names):
        tokens = tokenise(part)
        count = np.bincount(tokens.row, minlength=len(part))
        word = (np.cumsum(count) - count)[count > 0]
        name, count = np.flatnonzero(count), count[count > 0]
        is_led = (count > 1) & (tokens.article[word] > 0) & ~tokens.is_glued[word] & drops_article
        begin, stop = tokens.at[word + is_led], tokens.at[word + count]
        parts.append(
            pl.DataFrame(
                {
                    "name": pl.Series(name + first, dtype=pl.Int64),
                    "key": tokens.strings(begin, stop),
                    "hash": pl.Series(tokens.hashes(begin, stop), dtype=pl.UInt64),
                    "words": pl.Series(count - is_led, dtype=pl.Int64),
                    "article": pl.Series(np.where(is_led, tokens.article[word], 0), dtype=pl.UInt8),
                }
            )
        )
    empty = pl.DataFrame(
        schema={"name": pl.Int64, "key": pl.String, "hash": pl.UInt64, "words": pl.Int64, "article": pl.UInt8}
    )
    return pl.concat([empty, *parts]).rechunk()
