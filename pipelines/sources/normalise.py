"""Raw title records -> `core_title_records`: every record of every source in one shape.

Belongs here: what the fields of a record mean. Nothing is looked up in other records and no row is ever lost:
a value that cannot be understood becomes null and is named in `issues`.
Does not belong here: reading files (pipelines/sources/read.py), text damage (text.py), title texts
(titles.py), words (pipelines/corpus/vocabulary.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import duckdb
import polars as pl

from pipelines.corpus.vocabulary import canonical_genres, canonical_kind, country_code, language_code
from pipelines.linking.keys import with_keys
from pipelines.sources.text import percent_decoded, repaired
from pipelines.sources.titles import ALIASES, YEAR, title_parts
from warehouse.tables.titles import CORE_TITLE_RECORDS, FILM_KINDS

# Raise whenever the same raw records would be normalised differently. Keys have a version of their own.
NORMALISE_VERSION = 1

MAX_RUNTIME_MIN = 6000
_ISSUE_LENGTH = 80  # characters of a bad value that its issue quotes

_NO_STRINGS = pl.lit([], dtype=pl.List(pl.String))

# What stands in lists of names and is nobody's name.
_NO_NAMES = (
    "and", "or", "et", "al", "et al", "the", "with", "more", "and more", "many more", "uncredited", "none",
    "n/a", "na", "null", "nan", "unknown", "others", "various", "tba", "cast", "dir", "director", "directors",
    "writer", "writers", "written", "written by", "screenwriters", "story", "screenplay", "novel", "book",
    "voice", "voices", "narrator", "see below",
)  # fmt: skip

# DBpedia and Wikipedia in English; other languages number their articles differently.
_DBPEDIA = "http://dbpedia.org/resource/"
_DBPEDIA_ADDRESS = r"^(?:https?://(?:www\.)?dbpedia\.org/(?:resource|page)/|dbr:)([^\s<>#]+)$"
_WIKIPEDIA_ADDRESS = r"^(?:https?:)?//(?:en|www)(?:\.m)?\.wikipedia\.org/wiki/([^?#]+)"


class Block(Protocol):
    """What normalisation needs to know about a source (pipelines/sources/blocks.py: SourceBlock)."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def kinds(self) -> Mapping[str, str]: ...
    @property
    def patterns(self) -> Mapping[str, str]: ...


def record_ids(frame: pl.DataFrame) -> pl.Series:
    """Stable numbers of records: 63 bits of md5(source:source_id).

    `frame` has `source` [str] and `source_id` [str]; returns `record_id` [i64], in the same order.
    """
    keys = frame.select("source", "source_id")
    with duckdb.connect() as connection:
        connection.register("keys", keys)
        return connection.sql(
            "SELECT (md5_number_lower(source || ':' || source_id) >> 1)::BIGINT AS record_id FROM keys"
        ).pl()["record_id"]


def normalise(titles: pl.DataFrame, block: Block) -> pl.DataFrame:
    """Normalise raw records (RAW_TITLE_COLUMNS) of the source `block`.

    Returns CORE_TITLE_RECORDS: the same rows in the same order. Each row depends on itself alone. Raises
    ValueError when the block's title pattern has no group called title.
    """
    issues = _Issues()
    base = titles.select("source_id", "row_hash", source=pl.lit(block.name, dtype=pl.String))
    year = _years(repaired(titles["year"]), issues)
    title, original, aliases, title_year, title_kind = _title_fields(titles, block, year, issues)
    kind = _kinds(repaired(titles["kind"]), title_kind, block, issues)
    dbpedia = _dbpedia_uris(titles["dbpedia_uri"], issues)
    columns = {
        "record_id": record_ids(base),
        "title": title,
        "original_title": original,
        "aliases": aliases,
        "year": year.zip_with(year.is_not_null(), title_year),
        "kind": kind,
        "is_film": kind.is_null() | kind.is_in(list(FILM_KINDS)),
        "genres": _genre_lists(titles["genres"]),
        "directors": _mapped(titles["directors"], _names),
        "cast_members": _mapped(titles["cast_members"], _names),
        "plot": repaired(titles["plot"]),
        "runtime_min": _runtimes(repaired(titles["runtime"]), issues),
        "languages": _mapped(titles["languages"], lambda words: _codes(words, language_code)),
        "countries": _mapped(titles["countries"], lambda words: _codes(words, country_code)),
        "votes": _votes(repaired(titles["votes"]), issues),
        "imdb_id": _imdb_ids(repaired(titles["imdb_id"]), issues),
        "tmdb_id": _numbers(repaired(titles["tmdb_id"]), "tmdb_id", r"themoviedb\.org/movie/(\d{1,10})", issues),
        "movielens_id": _numbers(
            repaired(titles["movielens_id"]), "movielens_id", r"movielens\.org/movies/(\d{1,10})", issues
        ),
        "wikidata_id": _wikidata_ids(repaired(titles["wikidata_id"]), issues),
        "dbpedia_uri": dbpedia,
        "wikipedia_slug": _wikipedia_slugs(titles["wikipedia_slug"], dbpedia, issues),
    }
    result = base.with_columns(**columns).with_columns(issues=issues.lists(titles.height))
    return CORE_TITLE_RECORDS.conform(with_keys(result))


class _Issues:
    """Collects what was wrong with single values, in the order of the fields."""

    def __init__(self) -> None:
        self._found: list[pl.DataFrame] = []

    def add(self, wrong: pl.Series, what: str, values: pl.Series | None = None) -> None:
        """Note `what` for each row where `wrong` holds, quoting its value."""
        rows = wrong.fill_null(False).arg_true()
        if not rows.len():
            return
        found = pl.DataFrame({"row": rows.cast(pl.UInt32)})
        text = pl.lit(what)
        if values is not None:
            found = found.with_columns(value=values.cast(pl.String).gather(rows))
            text = pl.lit(f"{what}: ") + pl.col("value").str.slice(0, _ISSUE_LENGTH)
        self._found.append(found.select("row", issue=text))

    def lists(self, height: int) -> pl.Series:
        """The issues of each of `height` rows [list[str]]."""
        if not self._found:
            return _empty_lists(height)
        rows = pl.DataFrame({"row": pl.int_range(height, dtype=pl.UInt32, eager=True)})
        lists = pl.concat(self._found).group_by("row", maintain_order=True).agg("issue")
        joined = rows.join(lists, on="row", how="left", maintain_order="left")
        return joined.select(pl.col("issue").fill_null(_NO_STRINGS)).to_series()


def _each(values: pl.Series, **expressions: pl.Expr) -> pl.DataFrame:
    """Evaluate expressions over the column `value`."""
    return values.alias("value").to_frame().select(**expressions)


def _empty_lists(height: int) -> pl.Series:
    return pl.Series([[]], dtype=pl.List(pl.String)).new_from_index(0, height)


# ---------------------------------------------------------------------------------------------- titles


def _title_fields(
    titles: pl.DataFrame, block: Block, year: pl.Series, issues: _Issues
) -> tuple[pl.Series, pl.Series, pl.Series, pl.Series, pl.Series]:
    """title, original_title, aliases, and the year and kind that the title texts state."""
    text = repaired(titles["title"])
    empty = text.is_null()
    issues.add(empty, "title is empty")
    only_year = text.str.contains(rf"^\({YEAR}\)$").fill_null(False)
    issues.add(only_year, "title is only a year", text)
    stated = text.filter(only_year).str.extract(rf"({YEAR})").cast(pl.Int32)
    # A record without a title still needs a name that no other record has, or it would be linked to its like.
    text = text.zip_with(~(empty | only_year), f"[untitled {block.name}:" + titles["source_id"] + "]")
    text = _spaced(text, titles["dbpedia_uri"])
    text, found_year, pattern_aliases = _by_pattern(text, block.patterns.get("title"))
    read, found = title_parts(text, year.is_not_null(), found_year)
    title_year = _scattered(read["year"], only_year, stated)
    original = _display(repaired(titles["original_title"]))
    original = original.zip_with(
        (original.str.to_lowercase() != read["title"].str.to_lowercase()).fill_null(False),
        pl.Series([None], dtype=pl.String),
    )
    aliases = _alias_lists(titles["aliases"], [pattern_aliases, found], read["title"], original)
    return read["title"], original.alias("original_title"), aliases, title_year, read["kind"]


def _spaced(text: pl.Series, uris: pl.Series) -> pl.Series:
    """Titles taken from a resource address have underscores for spaces."""
    names = pl.DataFrame({"text": text, "name": uris.str.extract(r"([^/<>]+)>?\s*$")})
    taken = (names["text"] == names["name"]).fill_null(False)
    if not taken.any():
        return text
    rows = taken.arg_true()
    return text.clone().scatter(rows, percent_decoded(text.gather(rows)).str.replace_all("_", " ", literal=True))


def _by_pattern(text: pl.Series, pattern: str | None) -> tuple[pl.Series, pl.Series, pl.DataFrame]:
    """Apply a block's pattern for titles.

    Returns the title, the year, and the aliases (`row`, `order`, `alias`) in its groups; a title that the
    pattern does not match stays as it is.
    """
    no_aliases = pl.DataFrame(schema=ALIASES)
    no_years = pl.Series([None], dtype=pl.Int32).new_from_index(0, text.len())
    if pattern is None:
        return text, no_years, no_aliases
    groups = text.str.extract_groups(pattern).struct.unnest()
    if "title" not in groups.columns:
        raise ValueError(f"title pattern has no group called title: {pattern}")
    title = repaired(groups["title"])
    matched = title.is_not_null()
    if "year" in groups.columns:
        # Only a year in range may be taken off the title.
        year = groups["year"].str.extract(rf"^({YEAR})$").cast(pl.Int32)
        matched &= groups["year"].fill_null("").is_in([""]) | year.is_not_null()
        year = year.zip_with(matched, no_years)
    else:
        year = no_years
    aliases = no_aliases
    if "alias" in groups.columns:
        rows = (matched & groups["alias"].is_not_null()).arg_true()
        alias = repaired(groups["alias"].gather(rows))
        aliases = pl.DataFrame({"row": rows.cast(pl.UInt32), "alias": alias}).with_columns(
            order=pl.lit(-100, dtype=pl.Int32)
        )
        aliases = aliases.select(no_aliases.columns).drop_nulls()
    return title.zip_with(matched, text), year, aliases


def _display(texts: pl.Series) -> pl.Series:
    """Further titles in display form: without a year in brackets, article in front."""
    known = texts.is_not_null()
    parts, _ = title_parts(texts.filter(known))
    return _scattered(texts, known, parts["title"])


def _scattered(texts: pl.Series, where: pl.Series, values: pl.Series) -> pl.Series:
    """`texts` with `values` in the rows where `where` holds."""
    return texts.clone().scatter(where.arg_true(), values) if values.len() else texts


def _alias_lists(given: pl.Series, found: list[pl.DataFrame], title: pl.Series, original: pl.Series) -> pl.Series:
    """Aliases of each row: those given, then those found; without title, original title and repetitions."""
    rows = pl.DataFrame({"given": given}).with_row_index("row")
    listed = rows.explode("given", empty_as_null=True).drop_nulls()
    listed = listed.select(
        "row", pl.lit(-1000, dtype=pl.Int32).alias("order"), alias=_display(repaired(listed["given"]))
    )
    aliases = pl.concat([listed, *found]).drop_nulls().sort("row", "order", maintain_order=True)
    if not aliases.height:
        return _empty_lists(rows.height)
    lists = (
        aliases.with_columns(
            key=pl.col("alias").str.to_lowercase(),
            title=title.gather(aliases["row"]).str.to_lowercase(),
            original=original.gather(aliases["row"]).str.to_lowercase(),
        )
        .filter(pl.col("key") != pl.col("title"), (pl.col("key") != pl.col("original")).fill_null(True))
        .unique(["row", "key"], keep="first", maintain_order=True)
        .group_by("row", maintain_order=True)
        .agg("alias")
    )
    joined = rows.select("row").join(lists, on="row", how="left", maintain_order="left")
    return joined.select(pl.col("alias").fill_null(_NO_STRINGS)).to_series()


# ---------------------------------------------------------------------------------------------- values


def _years(texts: pl.Series, issues: _Issues) -> pl.Series:
    """Year out of a year, a span (its first year) or a date in any common form; null when out of range."""
    value = pl.col("value")
    parts = _each(
        texts,
        year=pl.coalesce(
            value.str.extract(rf"^({YEAR})(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])$"),
            value.str.extract(rf"(?:^|\D)({YEAR})(?:\D|$)"),
        ).cast(pl.Int32),
        number=pl.coalesce(value.str.extract(r"^(-?\d+)(?:\.0*)?$"), value.str.extract(r"(?:^|\D)(\d{4})(?:\D|$)")),
        short=value.str.contains(r"^\d{1,2}[-/. ]\w{1,9}[-/. ]\d{2}$"),
    )
    missed = parts["year"].is_null() & texts.is_not_null()
    out_of_range = missed & parts["number"].is_not_null()
    issues.add(out_of_range, "year out of range", parts["number"])
    issues.add(missed & ~out_of_range & parts["short"], "year has two digits", texts)
    issues.add(missed & ~out_of_range & ~parts["short"], "year not understood", texts)
    return parts["year"]


def _kinds(words: pl.Series, title_kind: pl.Series, block: Block, issues: _Issues) -> pl.Series:
    """Kind of each record: its own word for it, else what its title says, else what its source holds."""
    own = {word.casefold(): kind for word, kind in block.kinds.items()}
    known = words.drop_nulls().unique()
    kinds = [own.get(word.casefold()) or canonical_kind(word) for word in known]
    kind = words.replace_strict(known, kinds, default=None, return_dtype=pl.String) if known.len() else words
    issues.add(kind.is_null() & words.is_not_null(), "kind not understood", words)
    default = pl.Series([block.kind], dtype=pl.String)
    return kind.zip_with(kind.is_not_null(), title_kind).zip_with(
        kind.is_not_null() | title_kind.is_not_null(), default
    )


def _runtimes(texts: pl.Series, issues: _Issues) -> pl.Series:
    """Minutes out of `142`, `142 min`, `1h 30m`, `PT142M`, `1:30:00`, `7380 s`; seasons are none."""
    lower = texts.str.to_lowercase()
    value = pl.col("value")
    number = r"(\d{1,7}(?:\.\d{1,6})?)"
    minute_word = r"(?:m|mn|min|mins|minutes?|minutos?|')"
    second_word = r"(?:s|sec|secs|seconds?)"
    hour_word = r"(?:h|hrs?|hours?)"

    def minutes(pattern: str, *factors: float) -> pl.Expr:
        """Sum of the pattern's groups times their factors; null where the pattern does not match."""
        groups = [value.str.extract(pattern, i + 1).cast(pl.Float64) * f for i, f in enumerate(factors)]
        return pl.when(value.str.contains(pattern), value.str.contains(r"\d")).then(pl.sum_horizontal(groups))

    found = _each(
        lower,
        minutes=pl.coalesce(
            minutes(rf"^{number}(?:\s*[-–/]\s*\d+)?\s*{minute_word}?\.?(?:\s*\(.*\))?$", 1),
            minutes(rf"^{number}\s*{second_word}\.?$", 1 / 60),
            minutes(rf"^{number}\s*{hour_word}\.?,?\s*(?:and\s+)?(?:(\d{{1,3}})\s*{minute_word}?\.?)?$", 60, 1),
            minutes(r"^pt?(?:(\d{1,3})h)?(?:(\d{1,4})m)?(?:(\d{1,6})(?:\.\d+)?s)?$", 60, 1, 1 / 60),
            minutes(r"^(\d{1,2}):([0-5]\d)(?::([0-5]\d))?$", 60, 1, 1 / 60),
        ).round(),
        seasons=value.str.contains(r"\b(?:seasons?|episodes?|series)\b"),
    )
    number_found = found["minutes"].is_not_null()
    too_long = number_found & (found["minutes"] > MAX_RUNTIME_MIN)
    issues.add(too_long, "runtime out of range", texts)
    issues.add(~number_found & ~found["seasons"], "runtime not understood", texts)
    return found.select(
        pl.when(pl.col("minutes").is_between(1, MAX_RUNTIME_MIN)).then("minutes").cast(pl.Int32).alias("runtime_min")
    ).to_series()


def _votes(texts: pl.Series, issues: _Issues) -> pl.Series:
    """Whole number of votes: `28,341,469`, `9300.0`."""
    plain = texts.str.replace_all(r"[,' ]", "")
    votes = (
        _each(
            plain,
            votes=pl.col("value").str.extract(r"^(\d{1,15}(?:\.\d+)?)$").cast(pl.Float64).cast(pl.Int64),
        )
    ).to_series()
    issues.add(votes.is_null() & texts.is_not_null(), "votes not understood", texts)
    return votes


# ---------------------------------------------------------------------------------------------- identifiers


def _imdb_ids(texts: pl.Series, issues: _Issues) -> pl.Series:
    """`tt` and at least seven digits, out of an id, its bare number or a link."""
    value = pl.col("value")
    digits = pl.coalesce(
        value.str.extract(r"(?i)(?:^|[^a-z0-9])tt(\d{1,10})(?:\D|$)"),
        value.str.extract(r"^(\d{1,10})(?:\.0+)?$"),
    ).str.strip_chars_start("0")
    ids = _each(
        texts,
        imdb_id=pl.when(digits.str.len_bytes().is_between(1, 9)).then(pl.lit("tt") + digits.str.zfill(7)),
    ).to_series()
    issues.add(ids.is_null() & texts.is_not_null(), "imdb_id not understood", texts)
    return ids


def _numbers(texts: pl.Series, field: str, address: str, issues: _Issues) -> pl.Series:
    """Positive number, out of itself or of a link that matches `address`."""
    value = pl.col("value")
    number = pl.coalesce(value.str.extract(r"^(\d{1,10})(?:\.0+)?$"), value.str.extract(address)).cast(pl.Int64)
    numbers = _each(texts, number=pl.when(number > 0).then(number)).to_series()
    issues.add(numbers.is_null() & texts.is_not_null(), f"{field} not understood", texts)
    return numbers


def _wikidata_ids(texts: pl.Series, issues: _Issues) -> pl.Series:
    """`Q` and digits, out of an id or a link."""
    ids = _each(texts, q=pl.lit("Q") + pl.col("value").str.extract(r"(?i)(?:^|/|:)q([1-9]\d{0,11})>?$")).to_series()
    issues.add(ids.is_null() & texts.is_not_null(), "wikidata_id not understood", texts)
    return ids


def _dbpedia_uris(raw: pl.Series, issues: _Issues) -> pl.Series:
    """`http://dbpedia.org/resource/` and the resource's name, percent-decoded."""
    texts = repaired(raw.str.strip_chars('<>" \t\r\n'))
    value = pl.col("value")
    name = _each(
        texts.str.replace_all(" ", "_", literal=True),
        name=pl.coalesce(
            value.str.extract(_DBPEDIA_ADDRESS),
            pl.when(~value.str.contains("://", literal=True)).then(value.str.extract(r"^([^<>#/:][^<>#]*)$")),
        ),
    ).to_series()
    name = percent_decoded(name)
    issues.add(name.is_null() & texts.is_not_null(), "dbpedia_uri not understood", texts)
    return _DBPEDIA + name.str.replace_all(" ", "_", literal=True)


def _wikipedia_slugs(raw: pl.Series, dbpedia: pl.Series, issues: _Issues) -> pl.Series:
    """Name of the English article with underscores, out of a name or a link.

    DBpedia names its resources after these articles, so a record without one takes its resource's name.
    """
    texts = repaired(raw)
    value = pl.col("value")
    name = _each(
        texts,
        name=pl.coalesce(
            value.str.extract(_WIKIPEDIA_ADDRESS),
            value.str.extract(r"^(?:\./|/wiki/)([^?#]+)"),
            pl.when(~value.str.contains(r"://|^//|^/w/|index\.php")).then(value.str.extract(r"^([^#<>\[\]{}|]+)")),
        ),
    ).to_series()
    name = percent_decoded(name).str.replace_all(r"\s+", "_").str.strip_chars("_")
    # The first letter of an article's name is always a capital.
    slug = _each(
        name, slug=pl.when(value != "").then(value.str.slice(0, 1).str.to_uppercase() + value.str.slice(1))
    ).to_series()
    issues.add(slug.is_null() & texts.is_not_null(), "wikipedia_slug not understood", texts)
    return slug.zip_with(slug.is_not_null(), dbpedia.str.strip_prefix(_DBPEDIA))


# ---------------------------------------------------------------------------------------------- lists


def _mapped(lists: pl.Series, mapping: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """Map the values of a list column: `mapping` sees each different value once, and null drops it.

    Repetitions go, the order stays, null becomes an empty list.
    """
    distinct = lists.explode(empty_as_null=True).unique().drop_nulls()
    if not distinct.len():
        return _empty_lists(lists.len())
    changes = pl.DataFrame({"old": distinct, "new": mapping(distinct)}).filter(pl.col("old").ne_missing(pl.col("new")))
    value = pl.element().replace(changes["old"], changes["new"]) if changes.height else pl.element()
    return (
        lists.to_frame("value")
        .select(
            pl.col("value").list.eval(value).list.drop_nulls().list.unique(maintain_order=True).fill_null(_NO_STRINGS)
        )
        .to_series()
    )


def _genre_lists(lists: pl.Series) -> pl.Series:
    """Genres of the vocabulary; one word may stand for several, unknown words are dropped."""
    joined = _mapped(lists, lambda words: _words(words, lambda word: "|".join(canonical_genres(word) or ()) or None))
    split = pl.col("value").list.join("|").str.split("|").list.unique(maintain_order=True)
    return (
        joined.to_frame("value")
        .select(pl.when(pl.col("value").list.len() > 0).then(split).otherwise("value"))
        .to_series()
    )


def _words(words: pl.Series, mapping: Callable[[str], str | None]) -> pl.Series:
    return pl.Series([mapping(word) for word in words], dtype=pl.String)


def _codes(words: pl.Series, code: Callable[[str], str | None]) -> pl.Series:
    return _words(repaired(words).fill_null(""), code)


def _names(texts: pl.Series) -> pl.Series:
    """Names of people: without roles in brackets; null for debris and bare IMDb ids."""
    clean = (
        repaired(texts)
        .str.replace_all(r"\s*\([^()]*\)", "")
        .str.replace(r"\s*\([^()]*$", "")
        .str.replace(r"(?i)^(?:dir|director|with|cast|starring)\.?:\s*", "")
        .str.strip_chars(" ,;:|/[]{}()*")
        .str.replace(r"(?i)^(?:and|&)\s+", "")
        .str.replace(r'^"([^"]*)"$', "${1}")
        .str.replace_all(r"\s+", " ")
        .str.strip_chars(" ")
    )
    value = pl.col("value")
    return _each(
        clean,
        name=pl.when(
            value.str.contains(r"[\p{L}\p{N}]"),
            value.str.len_chars() > 1,
            # "JR" is somebody, "Jr." is what a comma left behind.
            ~value.str.contains(r"^(?:nm\d{5,}|[JjSs]r\.?)$"),
            ~value.str.strip_chars_end(".").str.to_lowercase().is_in(_NO_NAMES),
        ).then(value),
    ).to_series()
