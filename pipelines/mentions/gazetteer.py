"""The names by which films and their people can be found in texts.

Belongs here: which names a film has, and the structures that finding them needs. How they are found is in scan and lookup; which
film a name means is decided in link.

What a film is found by depends on that film alone. A change of one film can therefore change hits of its own names only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.mentions.near import Omissions, Trigrams, omissions, trigrams
from pipelines.mentions.tokens import Hashes, Int, Letters, counted, decoded, hash_of, keyed

# Kinds of names, the most telling first. A `part` is a half of a name, or a name without its foreign article.
KINDS = ("title", "original", "alias", "part")

# What names_of gives.
NAMES = pl.Schema({"movie_id": pl.String, "name": pl.String, "kind": pl.String})

# Zipf frequency (log10 of occurrences in a billion words, wordfreq 3.1) from which on a word says nothing by itself: about the
# thousand most frequent words of English.
COMMON_ZIPF = 5.0

# Longer names are not typed in full, and absurd ones must not cost anything.
_MAX_CHARS = 300
# A shorter half of a name ("Alien: ...") names too many films.
_MIN_PART = 6
# Where a name falls into parts: "Star Wars: Episode IV - A New Hope", "Birdman or (The ...)".
PARTED = r",? or:? \(|,? or: |:\s+| [-–—] | \("
# "Harry Potter and the ...": people say the first part, of two words or more.
_HEAD = r"(?i)^(\S+ \S.*?) (?:and|&) the \S"
# Parts that many films have and that name none.
_GENERIC = (
    r"(?i)^(?:(?:part|pt|chapter|episode|volume|vol|season|book|phase)\.? \S+|the (?:movie|film|beginning|series|return|musical|"
    r"final chapter|legend|sequel|story|true story|untold story|documentary|early years|next generation|last chapter)|"
    r".*\b(?:cut|edition|version|special|director'?s|collection))$"
)
# Articles that can be left out in a text although a key keeps them (tokens.ARTICLES are left out of every key).
_FOREIGN_ARTICLE = r"(?i)^(?:(?:le|la|les|il|lo|gli|el|los|las|der|das)\s+|l['’])"


@dataclass(frozen=True)
class Gazetteer:
    """Names of films and people, ready to be found.

    `films`: the films as given, sorted by movie_id. `keys`: key_id [i64, 0..n-1, in the order of the keys], key, is_film, is_person.
    `names`: key_id, movie_id, name, kind (see KINDS), film (row of `films`); one row for each film of a key, with its most telling name. The names of
    key k are names[names_at[k] : names_at[k + 1]].

    For scan: `letters` and `at` hold the letters of the keys; `hashes` is sorted, with `key_of` beside it; `bloom` says by the top
    bits of a hash whether it may be among them. `articles` [keys]: bit 1 << a is set when a film's name of that key begins with article a
    (0: none). `words` [keys]: bit 1 << n is set when a name of that key has n words. `longest`: words of the longest name.
    `common`: sorted hashes of the commonest words.
    """

    films: pl.DataFrame
    keys: pl.DataFrame
    names: pl.DataFrame
    names_at: Int
    letters: Letters
    at: Int
    hashes: Hashes
    key_of: Int
    bloom: NDArray[np.bool_]
    articles: NDArray[np.uint8]
    words: NDArray[np.uint64]
    longest: int
    common: Hashes

    @property
    def person_keys(self) -> pl.Series:
        """Keys of people, sorted."""
        return self.keys.filter("is_person")["key"]

    @cached_property
    def omissions(self) -> Omissions:
        """Index of the names of films for those that are misspelt by a letter; made when it is first asked for."""
        return omissions(self.letters, self.at, self.keys["is_film"].to_numpy())

    @cached_property
    def trigrams(self) -> Trigrams:
        """Index of the names of films for those that are misspelt; made when it is first asked for."""
        return trigrams(self.letters, self.at, self.keys["is_film"].to_numpy())

    def names_of_keys(self, keys: Int) -> tuple[Int, pl.DataFrame]:
        """The names of several keys: the place in `keys` that each belongs to, and its row of `names`."""
        first, size = self.names_at[keys], self.names_at[keys + 1] - self.names_at[keys]
        return np.repeat(np.arange(len(keys)), size), self.names[np.repeat(first, size) + counted(size)]

    def find(self, hashes: Hashes) -> Int:
        """Key numbers with these hashes, -1 where there is none. Equal hashes need not mean equal keys: compare the letters."""
        shift = np.uint64(64 - int(np.log2(len(self.bloom))))
        found = np.full(len(hashes), -1, dtype=np.int64)
        maybe = np.flatnonzero(self.bloom[hashes >> shift])
        if len(maybe) and len(self.hashes):
            place = np.minimum(np.searchsorted(self.hashes, hashes[maybe]), len(self.hashes) - 1)
            is_equal = self.hashes[place] == hashes[maybe]
            found[maybe[is_equal]] = self.key_of[place[is_equal]]
        return found


def names_of(movies: pl.DataFrame) -> pl.DataFrame:
    """Names of films: see NAMES. `movies`: movie_id, title, original_title, aliases."""
    parts = [
        movies.select("movie_id", name="title", kind=pl.lit("title")),
        movies.select("movie_id", name="original_title", kind=pl.lit("original")),
        movies.select("movie_id", name="aliases", kind=pl.lit("alias")).explode("name"),
    ]
    return pl.concat([part.cast(NAMES) for part in parts]).drop_nulls("name").unique(maintain_order=True)


def _parts_of(names: pl.DataFrame) -> pl.DataFrame:
    """Parts of names by which people call films, in the shape of NAMES."""
    name = pl.col("name")
    segments = (
        names.filter(name.str.contains(PARTED))
        .select("movie_id", piece=name.str.replace_all(PARTED, "\x00").str.split("\x00"))
        .filter(pl.col("piece").list.len() <= 4)
    )
    tails = segments.filter(pl.col("piece").list.len() > 2).select(
        "movie_id", name=pl.col("piece").list.slice(1).list.join(": ")
    )
    others = (
        names.select("movie_id", name=name.str.extract(_HEAD)).drop_nulls("name"),
        names.filter(name.str.contains(_FOREIGN_ARTICLE)).select(
            "movie_id", name=name.str.replace(_FOREIGN_ARTICLE, "")
        ),
    )
    pieces = pl.concat([segments.select("movie_id", name="piece").explode("name"), tails, *others])
    # Of a part in brackets the second one is left.
    pieces = pieces.with_columns(pl.col("name").str.strip_chars_end(") "))
    return pieces.filter(~pl.col("name").str.contains(_GENERIC)).with_columns(kind=pl.lit("part")).unique()


def build_gazetteer(films: pl.DataFrame, names: pl.DataFrame) -> Gazetteer:
    """Make films findable by their names, and their people by theirs.

    `films`: movie_id, title, year, kind, genres, directors, cast_members, votes, source_count. `names`: see NAMES (of these films).
    The result does not depend on the order of the rows. People of a single name ("Prince") are left out: it is a word more often.
    """
    names = names.select(NAMES.names()).filter(pl.col("name").str.len_chars() <= _MAX_CHARS)
    parts = _parts_of(names)
    every = pl.concat([names, parts])
    texts = every["name"].unique().sort()
    people = films.select(pl.concat_list("directors", "cast_members").alias("name")).explode("name")["name"]
    people = people.drop_nulls().unique().sort()
    people = people.filter(people.str.len_chars() <= _MAX_CHARS)

    of_films = keyed(texts)
    of_films = of_films.with_columns(text=texts.gather(of_films["name"]))
    of_people = keyed(people, drops_article=False).filter(pl.col("words") > 1)
    bare = texts.gather(np.setdiff1d(np.arange(len(texts)), of_films["name"].to_numpy()))

    listed = (
        every.join(of_films.select("text", "key", "article", "words"), left_on="name", right_on="text")
        .with_columns(rank=pl.col("kind").replace_strict(list(KINDS), range(len(KINDS)), return_dtype=pl.Int8))
        .filter((pl.col("kind") != "part") | (pl.col("key").str.len_chars() >= _MIN_PART))
    )
    # A name without a word ("...") cannot be found in a text, only when it is asked for.
    unspoken = (
        names.join(bare.to_frame("name"), on="name", how="semi")
        .with_columns(
            key=wordless_key(pl.col("name")),
            article=pl.lit(0, dtype=pl.UInt8),
            words=pl.lit(0, dtype=pl.Int64),
            rank=pl.col("kind").replace_strict(list(KINDS), range(len(KINDS)), return_dtype=pl.Int8),
        )
        .filter(pl.col("key") != "")
    )
    listed = pl.concat([listed, unspoken.select(listed.columns)])
    keys = (
        pl.concat(
            [
                listed.select("key", is_film=pl.lit(True), is_person=pl.lit(False)),
                of_people.select("key", is_film=pl.lit(False), is_person=pl.lit(True)),
            ]
        )
        .group_by("key")
        .agg(pl.col("is_film", "is_person").any())
        .sort("key")
        .with_row_index("key_id")
        .with_columns(pl.col("key_id").cast(pl.Int64))
    )
    number = keys.select("key", "key_id")
    listed = listed.join(number, on="key").sort("key_id", "movie_id", "rank", "article", "name")
    hashed = (
        pl.concat([part.select("key", "hash") for part in (of_films, of_people, with_hash(unspoken))])
        .unique()
        .join(number, on="key")
        .sort("hash", "key_id")
    )
    hashes = hashed["hash"].to_numpy()
    bits = max(10, int(np.ceil(np.log2(max(len(hashes), 1)))) + 5)
    bloom = np.zeros(1 << bits, dtype=bool)
    bloom[hashes >> np.uint64(64 - bits)] = True
    articles, words = np.zeros(keys.height, dtype=np.uint8), np.zeros(keys.height, dtype=np.uint64)
    np.bitwise_or.at(articles, listed["key_id"].to_numpy(), np.uint8(1) << listed["article"].to_numpy())
    with_people = pl.concat(
        [listed.select("key_id", "words"), of_people.join(number, on="key").select("key_id", "words")]
    )
    counts = np.minimum(with_people["words"].to_numpy(), 63).astype(np.uint64)
    np.bitwise_or.at(words, with_people["key_id"].to_numpy(), np.uint64(1) << counts)
    sizes = keys["key"].str.len_chars().cast(pl.Int64).to_numpy()
    letters = np.frombuffer("".join(keys["key"].to_list()).encode("utf-32-le"), dtype="<u4")
    films = films.sort("movie_id")
    number_of = films.select("movie_id", film=pl.int_range(pl.len(), dtype=pl.Int64))
    named = (
        listed.unique(["key_id", "movie_id"], keep="first", maintain_order=True)
        .join(number_of, on="movie_id", maintain_order="left")
        .select("key_id", "movie_id", "name", "kind", "film")
    )
    return Gazetteer(
        films=films,
        keys=keys,
        names=named,
        names_at=np.searchsorted(named["key_id"].to_numpy(), np.arange(keys.height + 1)),
        letters=letters,
        at=np.concatenate([[0], np.cumsum(sizes)]),
        hashes=hashes,
        key_of=hashed["key_id"].to_numpy(),
        bloom=bloom,
        articles=articles,
        words=words,
        longest=int(with_people["words"].to_numpy().max(initial=1)),
        common=_common_words(),
    )


def wordless_key(name: pl.Expr) -> pl.Expr:
    """Key of a name that has no word ("...", "!!!"): its lower-cased text without white space."""
    return name.str.to_lowercase().str.replace_all(r"\s", "")


def with_hash(wordless: pl.DataFrame) -> pl.DataFrame:
    """Add `hash` to keys (`key`) of names that have no word; there are few of them."""
    return wordless.with_columns(hash=pl.Series([hash_of(key) for key in wordless["key"]], dtype=pl.UInt64))


def _common_words() -> Hashes:
    """Sorted hashes of the words from COMMON_ZIPF on, and of all numbers of one or two digits (wordfreq, Speer 2022)."""
    from wordfreq import iter_wordlist, zipf_frequency

    words = []
    for word in iter_wordlist("en"):
        if zipf_frequency(word, "en") < COMMON_ZIPF:
            break
        words.append(word)
    folded = keyed(pl.Series(words), drops_article=False)["hash"]
    numbers = pl.Series([hash_of(str(n)) for n in range(100)], dtype=pl.UInt64)
    return pl.concat([folded, numbers]).unique().sort().to_numpy()


def with_any_spacing(gazetteer: Gazetteer) -> Gazetteer:
    """The same names as if each stood there with every number of words.

    Scanning leaves out common words that are divided otherwise than all names of a key. So a name is found in more places when another
    film's name has its letters, too. With this gazetteer all places are found at which the names can be met, whatever other names there are.
    """
    return replace(gazetteer, words=np.full_like(gazetteer.words, np.iinfo(np.uint64).max))


def strings_of(gazetteer: Gazetteer, keys: Int) -> pl.Series:
    """The keys with these numbers as text."""
    return decoded(gazetteer.letters, gazetteer.at[keys], gazetteer.at[keys + 1])
