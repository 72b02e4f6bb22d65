"""Evidence on a name in a text: how it is written, what stands beside it, and what speaks for each film it may be.

Belongs here: columns of evidence, as numbers from about 0 to 1. What they weigh is data (`weights.toml`), the words that count as cues are
data (`cues.toml`). Evidence looks at one dialogue and the films whose names occur in it, never at other dialogues.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.corpus.vocabulary import GENRES, canonical_genres
from pipelines.mentions.tokens import tokens_of

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

_ENDS = ".!?:;…\n"
_QUOTES = "\"'“”‘’«»*_`"
_ABBREVIATED = ("mr", "mrs", "ms", "dr", "vs", "st", "jr", "vol", "pt")  # a full stop behind these ends no sentence
_SPACES = " \t\u00a0"
_MAX_SURPRISE = 16.0  # surprise of a name beyond which more makes no difference
_UNKNOWN_WORD = 1.0  # Zipf frequency below which words are not told apart
_MAX_VOTES = 6.5  # log10 of the most ratings that a film has
_ARTICLE = r"(?i)^(?:the|an?) "
_MAX_SOURCES = 5.0  # log2 of the most sources that know a film
# log2 of the sources that know a film, by log10 of its ratings: a line through the films with more than 1,000 ratings in a corpus of some thirty
# catalogues, on which the weights were fitted. In a corpus of few catalogues, few know even the best-known film; its ratings tell that it is known.
_SOURCES_PER_VOTES, _SOURCES_OFFSET = 1.09, 1.56
_KNOWN_VOTES = 20_000  # a film with so many ratings is one that people talk about

# The last year in which a dataset's dialogues were written, where its authors state it: nobody talks of films that are years away, and people talk
# of what is in the theatres. ReDial: Li et al. 2018; IARD: Cai and Chen 2020, ReDial's dialogues; INSPIRED: Hayati et al. 2020.
WRITTEN = {"redial": 2018, "iard": 2018, "inspired": 2020}


@cache
def cues() -> dict[str, dict[str, frozenset[str]]]:
    """The cue words by section and cue (cues.toml)."""
    data = tomllib.loads((files("pipelines.mentions") / "cues.toml").read_text(encoding="utf-8"))
    return {part: {cue: frozenset(words) for cue, words in sets.items()} for part, sets in data.items()}


@cache
def zipf(word: str) -> float:
    """How common a folded word is in English: log10 of its occurrences in a billion words, at least 1 (wordfreq, Speer 2022)."""
    from wordfreq import zipf_frequency

    return max(_UNKNOWN_WORD, zipf_frequency(word, "en"))


@dataclass(frozen=True)
class Texts:
    """Turns taken apart. `rows`: row, text, dialogue (number), is_asked; `words`: one row a word, in the order of the texts.

    Words are said to stand in a person's name (`in_person`) by whoever knows of people (reading); until then none does.
    `chars` holds the code points of all texts, each followed by a 0; row r begins at `base[r]`. Rows are numbered 0..n-1.
    """

    rows: pl.DataFrame
    words: pl.DataFrame
    chars: NDArray[np.uint32]
    base: Int

    def char(self, row: Int, offset: Int) -> NDArray[np.uint32]:
        """The code point at an offset of a row's text; 0 before its beginning and behind its end."""
        at = self.base[row] + offset
        return np.where(offset < 0, 0, self.chars[np.clip(at, 0, len(self.chars) - 1)])


def _is_one_of(chars: NDArray[np.uint32], which: str) -> Bool:
    return np.isin(chars, np.array([ord(c) for c in which], dtype=np.uint32))


def take_apart(turns: pl.DataFrame) -> Texts:
    """Take turns apart into words. `turns`: dialogue [i64], turn, role, text, sorted by dialogue and turn; row numbers are given here."""
    rows = turns.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    text = rows["text"]
    lengths = text.str.len_chars().cast(pl.Int64).to_numpy()
    base = np.zeros(len(lengths), dtype=np.int64)
    base[1:] = np.cumsum(lengths[:-1] + 1)
    joined = "\0".join(text.to_list()) + "\0"
    chars = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    words = tokens_of(rows.select("row", "text"))
    row, start = (words[c].cast(pl.Int64).to_numpy() for c in ("row", "start"))
    at = base[row] + start
    before = np.where(start > 0, chars[np.maximum(at - 1, 0)], 0)
    # The last character before the word that is neither blank nor quotation mark, looking back three places.
    seen = before.copy()
    for back in (2, 3):
        skip = _is_one_of(seen, _SPACES + _QUOTES + "(")
        seen = np.where(skip, np.where(start >= back, chars[np.maximum(at - back, 0)], 0), seen)
    opens = (seen == 0) | _is_one_of(seen, _ENDS) | (_is_one_of(before, "-–—") & (start < 3))
    first = chars[at] if len(at) else np.zeros(0, dtype=np.uint32)
    points, inverse = np.unique(first, return_inverse=True)
    upper = np.array([chr(c).isupper() for c in points.tolist()], dtype=bool)[inverse] if len(points) else first > 0
    digit = np.array([chr(c).isdigit() for c in points.tolist()], dtype=bool)[inverse] if len(points) else first > 0
    words = words.with_columns(
        opens=pl.Series(opens, dtype=pl.Boolean)
        & ~(pl.col("folded").shift(1).is_in(_ABBREVIATED) & (pl.col("row").shift(1) == pl.col("row"))).fill_null(False),
        upper=pl.Series(upper, dtype=pl.Boolean),
        digit=pl.Series(digit, dtype=pl.Boolean),
    )
    unique = words.select("folded").unique()
    flags = {
        f"{part}_{cue}": pl.col("folded").is_in(list(words))
        for part, sets in cues().items()
        if part in ("before", "behind", "around")
        for cue, words in sets.items()
    }
    asking = list(cues()["asking"]["words"])
    unique = unique.with_columns(
        **flags,
        asking=pl.col("folded").is_in(asking),
        kind_word=pl.col("folded").is_in(list(_kind_words())),
        zipf=pl.Series([zipf(word) for word in unique["folded"]], dtype=pl.Float32),
        skipped=pl.col("folded").is_in(["the", "a", "an", "movie", "film"]),
        which=pl.col("folded").is_in(["which", "what"]),
    )
    words = words.join(unique, on="folded", how="left", maintain_order="left")
    words = words.with_columns(in_person=pl.lit(False))
    rows = rows.with_columns(is_asked=_asked(rows, words))
    return Texts(rows, words, chars, base)


def may_begin(texts: Texts) -> pl.Series:
    """Where a name that nothing else shows may begin: at a capital, a number, a sentence, or behind a word that tells of films [words]."""
    cue = pl.any_horizontal(f"before_{cue}" for cue in ("watched", "called", "liked", "about"))
    behind = pl.lit(False)
    for back in (1, 2):  # "watched the ..."
        step = cue.shift(back) & (pl.col("row").shift(back) == pl.col("row"))
        behind |= step if back == 1 else step & pl.col("skipped").shift(1)
    return texts.words.select(
        (pl.col("upper") | pl.col("opens") | pl.col("digit") | behind).fill_null(False)
    ).to_series()


def _asked(rows: pl.DataFrame, words: pl.DataFrame) -> pl.Series:
    """Whether the turn before a turn, of the same dialogue, asks for films [rows]."""
    asking = words.group_by("row").agg(pl.col("asking").any())
    marked = rows.select("row", "dialogue", question=pl.col("text").str.contains("?", literal=True)).join(
        asking, on="row", how="left", maintain_order="left"
    )
    asks = pl.col("question") & pl.col("asking").fill_null(False)
    return marked.select(
        (asks.shift(1) & (pl.col("dialogue").shift(1) == pl.col("dialogue"))).fill_null(False)
    ).to_series()


def _at(column: pl.Series, index: Int, valid: Bool) -> NDArray[np.float64]:
    """Values of a word column at `index`, 0 where not valid."""
    values = column.cast(pl.Float64).to_numpy()
    if not len(values):
        return np.zeros(len(index))
    return np.where(valid, values[np.clip(index, 0, len(values) - 1)], 0.0)


def hit_evidence(hits: pl.DataFrame, texts: Texts) -> pl.DataFrame:
    """Evidence on the places where names stand, one row a hit.

    `hits`: row, start, end, surface, first (index of its first word in `texts.words`), tokens, series_size, year_behind (in brackets), bare_year
    (without them), is_inside_person, is_inside_longer. Returns a column of numbers for each piece of evidence, and `commonness`, the
    Zipf frequency of the rarest word, and `is_marked`, whether the writing shows a title.
    """
    words = texts.words
    row, start, end, begin, count = (
        hits[c].cast(pl.Int64).to_numpy() for c in ("row", "start", "end", "first", "tokens")
    )
    last = begin + count - 1
    # What is said of the words of a name leaves its article out.
    has_article = (hits["surface"].str.contains(_ARTICLE) & (hits["tokens"] > 1)).to_numpy().astype(np.int64)
    first, count = begin + has_article, count - has_article
    word_row = words["row"].cast(pl.Int64).to_numpy()
    total = words.height

    def same_row(index: Int) -> Bool:
        inside = (index >= 0) & (index < total)
        return inside & (word_row[np.clip(index, 0, max(total - 1, 0))] == row) if total else inside

    def sums(column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sum over the hit's words, and over all words of its turn."""
        running = np.concatenate([[0.0], np.cumsum(words[column].cast(pl.Float64).to_numpy())])
        turn_first = np.searchsorted(word_row, row, side="left")
        turn_last = np.searchsorted(word_row, row, side="right")
        return running[last + 1] - running[first], running[turn_last] - running[turn_first]

    opens = _at(words["opens"], begin, same_row(begin)) > 0
    # Words without case (digits) count as written like the rest; so do small words inside a title.
    small = words.select(
        cased=(~pl.col("digit")) & (pl.col("folded").str.len_chars() > 3),
        capital=pl.col("upper") & (pl.col("folded").str.len_chars() > 3),
        free=~pl.col("opens")
        & ~pl.col("digit")
        & ~pl.col("in_person")
        & (pl.col("folded") != "i")
        & (pl.col("folded").str.len_chars() > 3),
        free_capital=pl.col("upper")
        & ~pl.col("opens")
        & ~pl.col("in_person")
        & (pl.col("folded") != "i")
        & (pl.col("folded").str.len_chars() > 3),
    )
    words = words.with_columns(small)
    upper_here, _ = sums("upper")
    cased_here, _ = sums("cased")
    capital_here, _ = sums("capital")
    free_here, free_turn = sums("free")
    free_capital_here, free_capital_turn = sums("free_capital")
    others = free_turn - free_here
    loud = np.where(others > 0, (free_capital_turn - free_capital_here) / np.maximum(others, 1), 0.0)
    first_capital = _at(words["upper"], first, same_row(first)) > 0
    first_upper = first_capital | (_at(words["digit"], first, same_row(first)) > 0)
    last_upper = (_at(words["upper"], last, same_row(last)) > 0) | (_at(words["digit"], last, same_row(last)) > 0)
    all_capital = first_upper & last_upper & (capital_here == cased_here) & (upper_here > 0)
    # A capital at the beginning of a sentence says nothing for a single word.
    in_title_case = all_capital & (~opens | (upper_here >= 2))
    open_single = all_capital & ~in_title_case
    lower = upper_here == 0
    # Capitals say something where they are few.
    all_upper = _shouted(texts, row, start, end)
    row_end = texts.rows["text"].str.len_chars().cast(pl.Int64).to_numpy()[row]
    shouted = all_upper & _shouted(texts, row, np.zeros_like(start), row_end)
    acronym = all_upper & ~shouted

    running = np.concatenate([[0.0], np.cumsum(8.0 - words["zipf"].cast(pl.Float64).to_numpy())])
    surprise = np.minimum(running[last + 1] - running[first], _MAX_SURPRISE)
    rarest = _minimum(words["zipf"].cast(pl.Float64).to_numpy(), first, count)

    one_back, two_back, three_back = begin - 1, begin - 2, begin - 3
    skip = _at(words["skipped"], one_back, same_row(one_back)) > 0
    cue_at = np.where(skip, two_back, one_back)
    skip_more = skip & (_at(words["skipped"], two_back, same_row(two_back)) > 0)
    cue_at = np.where(skip_more, three_back, cue_at)
    cue_valid = same_row(cue_at) & ~opens
    next_at = last + 1
    next_valid = same_row(next_at) & ~(_at(words["opens"], next_at, same_row(next_at)) > 0)

    char_before, char_behind = texts.char(row, start - 1), texts.char(row, end)
    char_before2 = np.where(_is_one_of(char_before, _SPACES), texts.char(row, start - 2), char_before)
    quoted = _is_one_of(char_before, _QUOTES) & _is_one_of(char_behind, _QUOTES)
    turn_first = np.searchsorted(word_row, row, side="left")
    turn_last = np.searchsorted(word_row, row, side="right") - 1
    ends_here = (last == turn_last) | (same_row(next_at) & (_at(words["opens"], next_at, same_row(next_at)) > 0))
    whole_turn = (begin - turn_first <= 1) & (turn_last - last <= 1)
    whole_sentence = opens & ends_here
    asked = texts.rows["is_asked"].cast(pl.Float64).to_numpy()[row]
    is_kind = words["kind_word"].cast(pl.Float64).to_numpy()
    kind_name = _minimum(is_kind, first, count) > 0
    columns: dict[str, NDArray] = {
        "in_title_case": in_title_case & (loud < 0.5) & ~all_upper,
        "in_title_case_among_capitals": in_title_case & (loud >= 0.5) & ~all_upper,
        "capital_at_start": open_single & ~all_upper,
        "in_lower_case": lower & (loud < 0.05),
        "in_lower_case_among_capitals": lower & (loud >= 0.05),
        "in_mixed_case": ~all_capital & ~lower & ~(first_capital & ~opens & (count > 1)),
        "in_capitals": acronym,
        "shouted": shouted,
        "in_sentence_case": first_capital & ~opens & ~all_capital & (count > 1),
        "one_word": count == 1,
        "two_words": count == 2,
        "three_words": count == 3,
        "many_words": count >= 4,
        "one_word_in_lower_case": (count == 1) & lower,
        "one_word_in_title_case": (count == 1) & in_title_case,
        "two_words_in_lower_case": (count == 2) & lower,
        "surprise": surprise / 10.0,
        "surprise_in_lower_case": np.where(lower, surprise / 10.0, 0.0),
        "common_word": np.clip(rarest - 4.0, 0, 3) / 2.0,
        "common_word_in_lower_case": np.where(lower, np.clip(rarest - 4.0, 0, 3) / 2.0, 0.0),
        "rare_word": np.clip(4.0 - rarest, 0, 3) / 2.0,
        "short_name": (end - start) <= 3,
        "digits_only": _digits_only(words, first, count),
        "quoted": quoted,
        "comma_before": _is_one_of(char_before2, ",&/"),
        "comma_behind": _is_one_of(char_behind, ",&/"),
        "opens_sentence": opens,
        "ends_sentence": ends_here,
        "whole_sentence": whole_sentence,
        "whole_turn": whole_turn,
        "asked": asked > 0,
        "asked_whole_turn": (asked > 0) & whole_turn,
        "glued": _is_one_of(char_before, "-@#/_") | _is_one_of(char_behind, "-@_"),
        "has_year_behind": hits["year_behind"].is_not_null().to_numpy(),
        "has_bare_year": hits["bare_year"].is_not_null().to_numpy(),
        "common_word_marked": np.where(
            (in_title_case & (loud < 0.5) & ~all_upper) | acronym, np.clip(rarest - 4.0, 0, 3) / 2.0, 0.0
        ),
        "capital_article": (has_article > 0) & (_at(words["upper"], begin, same_row(begin)) > 0) & ~opens & ~all_upper,
        "kind_word": kind_name & (count == 1),
        "kind_phrase": kind_name & (count > 1),
        "kind_phrase_in_lower_case": kind_name & (count > 1) & lower,
        "series_name": np.minimum(np.log2(1 + hits["series_size"].to_numpy()), 4) / 4,
        "inside_person": hits["is_inside_person"].to_numpy(),
        "inside_longer": hits["is_inside_longer"].to_numpy(),
        "possessive": _is_one_of(char_behind, "'’") & _is_one_of(texts.char(row, end + 1), "sS") & ~quoted,
        "long_series": hits["series_size"].to_numpy() >= 3,
        "between_commas": _is_one_of(char_before2, ",&/") & _is_one_of(char_behind, ",&/"),
        "phrase": hits["surface"].str.to_lowercase().str.replace_all(r"[^a-z]", "").is_in(_phrases()).to_numpy(),
    }
    for cue in cues()["before"]:
        at = one_back if cue in ("determiner", "verb", "person") else cue_at
        valid = (same_row(at) & ~opens) if cue in ("determiner", "verb", "person") else cue_valid
        columns[f"before_{cue}"] = _at(words[f"before_{cue}"], at, valid)
    columns["before_determiner_in_lower_case"] = columns["before_determiner"] * lower
    for cue in cues()["behind"]:
        columns[f"behind_{cue}"] = _at(words[f"behind_{cue}"], next_at, next_valid)
    # "Which Joker movie?" asks for one of several.
    which = _at(words["which"], one_back, same_row(one_back))
    columns["behind_several"] = np.maximum(columns["behind_several"], columns["behind_film"] * which)
    columns["behind_sentence_in_lower_case"] = columns["behind_sentence"] * lower
    for cue in cues()["around"]:
        near = np.zeros(len(row), dtype=bool)
        reach = ~opens
        for back in (1, 2, 3):
            at = begin - back
            reach = reach & same_row(at)
            near |= _at(words[f"around_{cue}"], at, reach) > 0
            reach = reach & ~(_at(words["opens"], at, same_row(at)) > 0)
        near |= _at(words[f"around_{cue}"], next_at, next_valid) > 0
        near |= (columns["behind_film"] > 0) & (_at(words[f"around_{cue}"], next_at + 1, same_row(next_at + 1)) > 0)
        columns[f"around_{cue}"] = near.astype(np.float64)
    number = words.select(
        pl.col("folded").str.contains(r"^(?:\d{1,2}|two|three|four|five|part|chapter|volume|vol|episode)$")
    ).to_series()
    columns["number_behind"] = _at(number, next_at, next_valid)
    columns["behind_film_in_title_case"] = columns["behind_film"] * (in_title_case | acronym)
    columns["series_name_asked"] = columns["series_name"] * (columns["asked"] & whole_turn)
    columns["series_name_watched"] = columns["series_name"] * columns["before_watched"]
    columns["series_name_of_several"] = columns["series_name"] * np.maximum(
        columns["behind_several"], columns["around_whole"]
    )
    columns["no_cue_in_lower_case"] = (
        lower
        & ~(columns["before_watched"] + columns["before_called"] + columns["before_liked"] > 0)
        & ~whole_turn
        & ~quoted
    )
    out = pl.DataFrame({name: pl.Series(values.astype(np.float64)) for name, values in columns.items()})
    year = hits["year_behind"].is_not_null().to_numpy() | hits["bare_year"].is_not_null().to_numpy()
    marked = (in_title_case & (loud < 0.5) & ~all_upper) | acronym | quoted | year
    return out.with_columns(commonness=pl.Series(rarest, dtype=pl.Float32), is_marked=pl.Series(marked))


def _shouted(texts: Texts, row: Int, start: Int, end: Int) -> Bool:
    """Whether a hit of at least two letters is written in capitals alone: no lower-case letter in it."""
    points = np.unique(texts.chars)
    lower = np.array([chr(c).islower() for c in points.tolist()], dtype=bool)
    upper = np.array([chr(c).isupper() for c in points.tolist()], dtype=bool)
    code = np.searchsorted(points, texts.chars)
    lowers = np.concatenate([[0], np.cumsum(lower[code])])
    uppers = np.concatenate([[0], np.cumsum(upper[code])])
    a, b = texts.base[row] + start, texts.base[row] + end
    return (lowers[b] - lowers[a] == 0) & (uppers[b] - uppers[a] >= 2)


def _minimum(values: NDArray[np.float64], first: Int, count: Int) -> NDArray[np.float64]:
    """Smallest of values[first : first + count] for each hit."""
    out = values[first].copy() if len(first) else np.zeros(0)
    for k in range(1, int(count.max(initial=1))):
        more = count > k
        out[more] = np.minimum(out[more], values[first[more] + k])
    return out


def _digits_only(words: pl.DataFrame, first: Int, count: Int) -> Bool:
    digits = words["folded"].str.contains(r"^\d+$").to_numpy()
    return (count == 1) & (digits[first] if len(first) else np.zeros(0, dtype=bool))


@cache
def _kind_words() -> frozenset[str]:
    """Keys that are words for kinds of film: genres and the like."""
    listed = cues()["kinds"]["words"]
    return frozenset(word.replace(" ", "") for word in listed) | frozenset(genre_of_word())


@cache
def _phrases() -> list[str]:
    """Letters of what people say without meaning a title: greetings and the like."""
    return sorted(phrase.replace(" ", "") for phrase in cues()["phrases"]["words"])


@cache
def genre_of_word() -> dict[str, str]:
    """Folded words that name a genre -> the genre of the corpus."""
    words = {genre.lower().replace("-", "").replace(" ", "") for genre in GENRES}
    words |= {
        "scifi",
        "romcom",
        "romcoms",
        "comedies",
        "dramas",
        "thrillers",
        "westerns",
        "animated",
        "romantic",
        "scary",
        "funny",
        "superhero",
        "musicals",
        "documentaries",
        "mysteries",
        "suspense",
        "cartoon",
        "cartoons",
        "gangster",
        "kids",
    }
    found = {}
    for word in sorted(words):
        genres = canonical_genres(word)
        if genres:
            found[word] = genres[0]
    return found


def _plain(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()


def candidate_evidence(candidates: pl.DataFrame) -> pl.DataFrame:
    """Evidence for each film that a name may be, one row a candidate.

    `candidates`: group, match, similarity, year, votes, source_count, kind, stated_year (in brackets or in the name), bare_year,
    written (the name as written), name (the film's that it was matched with), article_before, around_new, around_old [bool], surprise, in_lower_case, in_title_case and one_word [f64] of the place, in_series (the
    name is that of a series and the film one of its films), told (the last year in which the dialogue can have been written, or null). Returns a column of numbers for each piece of evidence.
    """
    gap = (pl.col("stated_year") - pl.col("year")).abs()
    bare_gap = (pl.col("bare_year") - pl.col("year")).abs()
    ratings = (pl.col("votes").fill_null(0) + 1).log10()
    votes = ratings / _MAX_VOTES
    sources = (
        pl.max_horizontal(
            pl.col("source_count").cast(pl.Float64).log(2), _SOURCES_PER_VOTES * ratings - _SOURCES_OFFSET
        )
        / _MAX_SOURCES
    )
    films = pl.len().over("group", "match")
    # Films that hardly anybody knows do not make another film of the name the older one.
    known = ((pl.col("source_count") > 2) | (pl.col("votes") >= 1000).fill_null(False)) & (
        (pl.col("match") != "part") | pl.col("in_series")
    )
    age = pl.col("told") - pl.col("year")
    known &= (age >= -1).fill_null(True)
    is_current = age.is_between(-1, 1).fill_null(False)
    is_new = pl.col("around_new")
    is_later = (age < -1).fill_null(False)
    newest = ~is_later & (pl.col("year") >= pl.when(known).then(pl.col("year")).max().over("group"))
    oldest = pl.col("year") <= pl.when(known).then(pl.col("year")).min().over("group")
    several = pl.col("year").n_unique().over("group") > 1
    return candidates.select(
        match_alias=(pl.col("match") == "alias"),
        match_part=(pl.col("match") == "part"),
        match_fuzzy=(pl.col("match") == "fuzzy"),
        unlikeness=pl.when(pl.col("match") == "fuzzy").then(1 - pl.col("similarity")).otherwise(0.0),
        year_same=(gap == 0).fill_null(False) | (pl.col("stated_year").is_null() & (bare_gap == 0).fill_null(False)),
        year_one_apart=(gap == 1).fill_null(False),
        year_apart=(gap > 1).fill_null(False),
        year_far_apart=(gap > 5).fill_null(False),
        year_stated_film_without=pl.col("stated_year").is_not_null() & pl.col("year").is_null(),
        film_without_year=pl.col("year").is_null(),
        rated=votes,
        catalogued=sources,
        rated_without_year=pl.when(pl.col("stated_year").is_null()).then(votes).otherwise(0.0),
        catalogued_without_year=pl.when(pl.col("stated_year").is_null()).then(sources).otherwise(0.0),
        never_rated=pl.col("votes").is_null(),
        is_short=(pl.col("kind") == "short"),
        namesakes=films.log(2) / 4.0,
        new_and_newest=pl.col("around_new") & several & newest.fill_null(False),
        new_and_older=pl.col("around_new") & several & ~newest.fill_null(False),
        old_and_oldest=pl.col("around_old") & several & oldest.fill_null(False),
        old_and_newer=pl.col("around_old") & several & ~oldest.fill_null(False),
        newest=several & newest.fill_null(False),
        later=is_later,
        current=is_current,
        current_unrated=is_current & pl.col("votes").is_null(),
        recent=age.is_between(2, 4).fill_null(False),
        new_and_current=is_new & is_current,
        new_and_past=is_new & (age > 1).fill_null(False),
        new_and_in_series=is_new & pl.col("in_series") & newest.fill_null(False),
        series_other=pl.col("in_series") & (pl.col("match") == "part"),
        series_newest_current=pl.col("in_series") & newest.fill_null(False) & is_current,
        alias_in_lower_case=(pl.col("match") == "alias") * pl.col("in_lower_case"),
        unknown_one_word=~(pl.col("votes") >= _KNOWN_VOTES).fill_null(False) * pl.col("one_word"),
        unknown_in_lower_case=~(pl.col("votes") >= _KNOWN_VOTES).fill_null(False) * pl.col("in_lower_case"),
        rated_and_surprising=votes * pl.col("surprise"),
        catalogued_in_title_case=sources * pl.col("in_title_case"),
        rated_in_title_case=votes * pl.col("in_title_case"),
        rated_in_lower_case=votes * pl.col("in_lower_case"),
        spelled_same=_plain(pl.col("written")) == _plain(pl.col("name")),
        article_missing=pl.col("name").str.contains(_ARTICLE) & ~pl.col("written").str.contains(_ARTICLE),
        article_surplus=~pl.col("name").str.contains(_ARTICLE)
        & (pl.col("written").str.contains(_ARTICLE) | pl.col("article_before")),
    ).with_columns(pl.all().cast(pl.Float64))
