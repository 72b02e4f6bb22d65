"""What a title text says besides the title: year, other titles, kind of thing, an article moved to the end.

Belongs here: the rules for title texts, as data, and their application to a whole column.
Does not belong here: repair of damaged text (pipelines/sources/text.py) and the record's other fields.
"""

from __future__ import annotations

import polars as pl

from pipelines.corpus.vocabulary import is_language_name
from pipelines.sources.text import percent_decoded

FIRST_YEAR, LAST_YEAR = 1870, 2035
YEAR = r"(?:18[7-9]\d|19\d\d|20[0-2]\d|203[0-5])"

# Articles that catalogues move to the end: ", The" -> "The ".
_ARTICLES = (
    "The|THE|A|An|"  # English
    "Le|La|Les|Un|Une|"  # French
    "Il|Lo|Gli|Uno|Una|"  # Italian
    "El|Los|Las|"  # Spanish
    "O|Os|As|Um|Uma|"  # Portuguese
    "Der|Das|Ein|Eine|"  # German
    "De|Het|Een|"  # Dutch
    "Den|Det|En|Et|Ett|"  # Danish, Norwegian, Swedish
    "Az"  # Hungarian
)
# These are followed by their noun without a space.
_GLUED_ARTICLES = "L['’]|Un['’]|Al-|Ha-"
# Articles that are also English words need more evidence: German "Die" stands after no other comma ("Run,
# Hide, Die" is no article), Italian "I" belongs to a plural ("Vitelloni, I", not "Me, Myself, I").
_MOVED_ARTICLE = (
    (rf"^(?P<noun>.*\S),\s+(?P<article>{_ARTICLES})$", "${article} ${noun}"),
    (r"^(?P<noun>.*\S),\s+the$", "The ${noun}"),
    (rf"^(?P<noun>[^()]*\S),\s+(?P<article>{_ARTICLES})(?P<rest>\s\(.*\))$", "${article} ${noun}${rest}"),
    (rf"^(?P<noun>.*\S),\s+(?P<article>{_GLUED_ARTICLES})$", "${article}${noun}"),
    (r"^(?P<noun>[^,]*[^,\s]),\s+Die$", "Die ${noun}"),
    (r"^(?P<noun>[^\s,]+i(?:\s[^,]*)?),\s+I$", "I ${noun}"),
)

# Other titles found: which text they stand in, in what order, and the title.
ALIASES = pl.Schema({"row": pl.UInt32, "order": pl.Int32, "alias": pl.String})

# The last pair of round brackets, which may hold one more pair: "Babies (Bébé(s))".
_LAST_BRACKETS = r"^(?P<head>.*?)(?P<gap>\s*)\((?P<inside>(?:[^()]|\([^()]*\))*)\)(?: #\d+)?$"
_LAST_SQUARE = r"^(?P<head>.*?)(?P<gap>\s*)\[(?P<inside>[^\[\]]*)\]$"
_MAX_BRACKETS = 6  # more pairs than this are left in the title

# What brackets at the end can say: their whole text -> kind of title (None: says nothing about it).
_WORDS_BEFORE = rf"(?:{YEAR}\s)?(?:[\w./&'’–-]+\s){{0,4}}"
_QUALIFIERS: tuple[tuple[str, str | None], ...] = (
    (
        rf"(?i:{_WORDS_BEFORE}(?:tv|television|web|radio|anime|drama)[\s-]*(?:mini-?)?\s?"
        rf"(?:series|show|serial|programme|program)(?:\s{YEAR}\s?[-–]?\s?(?:{YEAR})?)?)",
        "tv_series",
    ),
    (r"(?i:(?:tv\s)?mini-?\s?series)|(?i:the )?Series|Original Series", "tv_series"),
    (rf"(?i:{_WORDS_BEFORE}(?:tv|television)\s(?:film|movie))|TV|TV {YEAR}|TV [Vv]ersion", "tv_movie"),
    (r"(?i:(?:tv|television) special)", "tv_special"),
    (r"(?i:(?:tv|television) (?:pilot|episode))", "tv_episode"),
    (r"V|Video|video", "video"),
    (rf"VG|(?:{YEAR} )?video ?game|(?:{YEAR} )?video game series", "game"),
    (
        rf"(?:{YEAR} )?(?:film series|franchise|trilogy|novel|novella|novel series|book|book series|play|"
        r"soundtrack|album|song|comics|comic book|comic strip|manga|character|opera|short story|magazine|"
        r"band|company|disambiguation)",
        "other",
    ),
    (rf"(?:{YEAR} )?(?:film|Film|movie|serial)", None),
    (r"(?i:animated|animation|documentary|short film|anime|silent(?: film)?)", None),
    (r"Comedy|Drama|Horror|Thriller", None),
    # Editions and formats of the same film.
    (r"(?i:(?:in )?(?:imax )?3-?d(?: re-?(?:release|issue))?|imax(?: 3d)?)", None),
    (r"(?i:hd|uhd|4k(?: uhd)?|full-?\s?screen|wide-?\s?screen)", None),
    (
        rf"(?i:(?:{_WORDS_BEFORE}|\d\w\w anniversary )(?:re-?\s?issue|re-?\s?release|restored|restoration)"
        rf"(?: {YEAR})?)",
        None,
    ),
    (
        r"(?i:(?:[\w'’.-]+\s){0,3}(?:director['’]?s cut|(?:theatrical|extended|unrated|uncut|special|limited|"
        r"collector['’]?s) (?:widescreen )?(?:edition|version|cut|release)))",
        None,
    ),
    (
        r"(?i:(?:u\.?s\.?|u\.?k\.?|canada|canadian|american|british|theatrical) (?:release|version|only))",
        None,
    ),
    (r"(?i:(?:english[- ])?(?:subtitled|dubbed|dub|subbed|with subtitles)|uncensored|unrated|uncut)", None),
)
# Freebase and Wikipedia tell namesakes apart by what they are ("1964 Hindi film", "Crime Fiction Film").
# Not looked for where a year follows: brackets there hold another title ("Serbian Film, A (Srpski film)
# (2010)").
_NAMESAKES: tuple[tuple[str, str | None], ...] = (
    (
        rf"{_WORDS_BEFORE}(?:novel|book|play|soundtrack|album|song|"
        r"comics|manga|character|opera|film series)",
        "other",
    ),
    (
        rf"(?:{YEAR}\s)?[A-Z0-9][\w./&'’–-]*(?:\s[\w./&'’–-]+){{0,3}}\s(?:film|Film|movie|serial)",
        None,
    ),
)
# A language alone, or with one of these words, tells a dubbed version apart.
_VERSION_WORDS = r"(?i)^in\s+|\s+(?:version|dub|dubbed(?: version)?|subtitled|subtitles|audio|language)$"
# Only these, and footnote marks, are taken out of square brackets: [REC] is a title.
_SQUARE = (
    r"\d{1,3}|[a-z]{2}(?:-[a-z]+)?|"
    r"(?i:4k(?: uhd)?|uhd|hd|(?:english )?(?:dubbed|subtitled|subbed|dub)|ultimate edition)"
)
# IMDb numbers namesakes of one year.
_NUMBERED_NAMESAKE = r"^[IVXL]{1,5}$"

_ALSO_KNOWN_AS = r"(?i)^(?:a\.?\s?k\.?\s?a\b\.?|also known as)[:,]?\s*"
# Brackets before the year hold another title, unless they continue the sentence ("Birdman or (The Unexpected
# Virtue of Ignorance)", "(and Enjoy It)"), are glued to a word ("Maggie Moore(s)"), or number a part.
_CONTINUES = r"(?i:(?:^|[\s:,])(?:or|and|&)[:,]?)$"
_CONTINUED = r"^(?:and|or|but|with|from|of|for|in|if|as|not|to|the|an|is)\s|^\.\.\.\s?(?i:or|and|but)\s|^a\s[a-z]"
_PART = (
    r"(?i)^(?:(?:part|pt|vol|volume|chapter|episode|ep|season|book|no)\b\.?\s*"
    r"(?:\d+|[ivxl]+|one|two|three|four|five|six|seven|eight|nine|ten)|\w+ sequence)$"
)

_COUNT = r"one|two|three|four|five|six|seven|eight|nine|ten"
_ORDINAL = r"first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|final|last"
_SEASON = (
    rf"(?i)[:,–-]\s*(?:the\s+)?(?:complete\s+)?(?:"
    rf"(?:{_ORDINAL}|\d{{1,2}}(?:st|nd|rd|th))\s+(?:season|series)|"
    rf"(?:season|series)\s+(?:\d{{1,2}}|{_COUNT}|[ivx]{{1,4}})"
    r")\s*(?:$|[:,(./–-])|[:,–-]\s*the\s+complete\s+series\b"
)

# A resource address in the place of a title.
_ADDRESS = r"^<?https?://(?:dbpedia\.org/(?:resource|page)|[a-z]+(?:\.m)?\.wikipedia\.org/wiki)/(.+?)>?$"

# Only texts with one of these can say any of the above: most titles need no closer look.
_SAYS_MORE = r"[)\]]|(?i:season|series)|%[0-9A-Fa-f]{2}|_|://|,\s+\S{1,4}$"


def _qualified(inside: pl.Expr, rules: tuple[tuple[str, str | None], ...]) -> tuple[pl.Expr, pl.Expr]:
    """Whether the text of brackets is a qualifier by one of `rules`, and the kind that it states."""
    known, kind = pl.lit(False), pl.lit(None, dtype=pl.String)
    for pattern, states in reversed(rules):
        matches = inside.str.contains(f"^(?:{pattern})$")
        known = known | matches
        kind = pl.when(matches).then(pl.lit(states, dtype=pl.String)).otherwise(kind)
    return known, kind


def _languages(insides: pl.Series) -> list[str]:
    """Those texts of brackets that name nothing but a language."""
    bare = insides.str.replace_all(_VERSION_WORDS, "")
    return [text for text, word in zip(insides, bare, strict=True) if word and is_language_name(word)]


def with_article_in_front(text: pl.Expr) -> pl.Expr:
    """Move an article to the front: `Postman, The` -> `The Postman`, `Amant, L'` -> `L'Amant`."""
    moved = text
    for pattern, in_front in reversed(_MOVED_ARTICLE):
        moved = pl.when(text.str.contains(pattern)).then(text.str.replace(pattern, in_front)).otherwise(moved)
    return moved


def _peeled(work: pl.DataFrame) -> pl.DataFrame:
    """Read the last brackets of `rest` [str]; `work` also has `year` [i32] and `has_year` [bool].

    Adds `head` (what stands before them), `role` (year, qualifier, alias, or null when they belong to the
    title), `found_year`, `found_kind` and `alias`.
    """
    square = pl.col("rest").str.ends_with("]")
    parts = work.with_columns(
        pl.when(square)
        .then(pl.col("rest").str.extract_groups(_LAST_SQUARE))
        .otherwise(pl.col("rest").str.extract_groups(_LAST_BRACKETS))
        .struct.unnest(),
        square=square,
    ).with_columns(pl.col("inside").str.strip_chars(" "), pl.col("head").fill_null(""))
    inside, head = pl.col("inside"), pl.col("head")
    languages = _languages(parts["inside"].drop_nulls().unique())
    known, kind = _qualified(inside, _QUALIFIERS)
    namesake, namesake_kind = _qualified(inside, _NAMESAKES)
    one_year = inside.str.extract(rf"^(?:TV\s)?({YEAR})(?:/[IVXLC]+)?$").cast(pl.Int32)
    # A span is the year of the title only where no other year is stated: elsewhere it belongs to the title.
    span = inside.str.extract(rf"^({YEAR})\s*[-–—/]\s*(?:\d\d|{YEAR}|present)?$").cast(pl.Int32)
    stated = pl.coalesce(one_year, pl.when(~pl.col("has_year")).then(span))
    is_year = stated.is_not_null() & (pl.col("year").is_null() | (pl.col("year") == stated))
    after_year = pl.col("year").is_not_null() | head.str.contains(rf"\({YEAR}\)$")
    is_qualifier = (
        known
        | (namesake & ~after_year & ~inside.str.contains(r"^(?i:the|an?)\s"))
        | inside.is_in(languages)
        | (after_year & inside.str.contains(_NUMBERED_NAMESAKE))
    )
    also = inside.str.contains(_ALSO_KNOWN_AS + r"\S")
    is_alias = (
        after_year
        & inside.str.contains(r"\p{L}|\d[^\d\s]|\d\d|\p{No}")
        & ~inside.str.contains(rf"^{YEAR}\s*[-–—,]\s*{YEAR}$")
        & (pl.col("gap") != "")
        & ~head.str.contains(_CONTINUES)
        & ~inside.str.contains(_CONTINUED)
        & ~inside.str.contains(_PART)
    )
    role = (
        pl.when(inside.is_null() | (head == ""))
        .then(pl.lit(None, dtype=pl.String))
        .when(pl.col("square"))
        .then(pl.when(inside.str.contains(f"^(?:{_SQUARE})$") | inside.is_in(languages)).then(pl.lit("qualifier")))
        .when(is_year)
        .then(pl.lit("year"))
        .when(is_qualifier)
        .then(pl.lit("qualifier"))
        .when(also | is_alias)
        .then(pl.lit("alias"))
    )
    return parts.with_columns(
        role=role,
        found_kind=pl.coalesce(kind, namesake_kind),
        alias=inside.str.replace(_ALSO_KNOWN_AS, ""),
        one_year=stated,
    ).with_columns(
        found_year=pl.when(pl.col("role") == "year")
        .then("one_year")
        .when(pl.col("role") == "qualifier")
        .then(inside.str.extract(rf"\b({YEAR})\b").cast(pl.Int32)),
        found_kind=pl.when(pl.col("role") == "qualifier").then("found_kind"),
    )


def _without_brackets(work: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Take meaning out of the brackets at the end of `rest`, last pair first.

    Returns `work` with `rest`, `year` and `kind` brought up to date, and the aliases found (see ALIASES).
    """
    done: list[pl.DataFrame] = []
    aliases: list[pl.DataFrame] = []
    columns = work.columns
    for turn in range(_MAX_BRACKETS):
        peeled = _peeled(work)
        done.append(peeled.filter(pl.col("role").is_null()).select(columns))
        peeled = peeled.filter(pl.col("role").is_not_null())
        if not peeled.height:
            work = peeled.select(columns)
            break
        aliases.append(
            peeled.filter(pl.col("role") == "alias").select("row", "alias", order=pl.lit(-turn, dtype=pl.Int32))
        )
        work = peeled.with_columns(
            rest=pl.col("head").str.strip_chars_end(" "),
            year=pl.coalesce("year", "found_year"),
            has_year=pl.col("has_year") | pl.col("found_year").is_not_null(),
            kind=pl.coalesce("kind", "found_kind"),
        ).select(columns)
    found = pl.concat(aliases) if aliases else pl.DataFrame(schema=ALIASES)
    return pl.concat([*done, work]), found.select(ALIASES.names())


def title_parts(
    texts: pl.Series, has_year: pl.Series | None = None, found_year: pl.Series | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read title texts (already repaired, no nulls).

    `has_year` [bool] says which records state a year of their own, so that a span of years in their title
    stays there; `found_year` [i32] gives years that were already taken off the end of the text.

    Returns two frames. The first has a row for each text, in order: `title` [str] in display form, `year`
    [i32] and `kind` [str] where the text states them. The second has the other titles found (see ALIASES).
    """
    frame = pl.DataFrame({"text": texts}).with_row_index("row")
    frame = frame.with_columns(
        year=found_year if found_year is not None else pl.lit(None, dtype=pl.Int32),
        has_year=has_year if has_year is not None else pl.lit(False),
    ).with_columns(pl.col("has_year") | pl.col("year").is_not_null())
    work = frame.filter(pl.col("text").str.contains(_SAYS_MORE))
    address = work["text"].str.extract(_ADDRESS)
    rest = percent_decoded(address.fill_null(work["text"]))
    work = work.with_columns(rest=rest, from_address=address.is_not_null()).with_columns(
        rest=pl.when(pl.col("from_address") | (~pl.col("rest").str.contains(" ") & pl.col("rest").str.contains(r"_\(")))
        .then(pl.col("rest").str.replace_all("_", " ", literal=True))
        .otherwise("rest")
        .str.replace_all(r"\s+", " ")
        .str.strip_chars(" ")
        .str.replace(rf"(\({YEAR}\))\)+$", "${1}"),
        kind=pl.lit(None, dtype=pl.String),
    )
    whole = work["rest"]
    work, aliases = _without_brackets(work.select("row", "rest", "year", "has_year", "kind"))
    work = work.sort("row").with_columns(
        title=with_article_in_front(pl.col("rest")),
        kind=pl.coalesce("kind", pl.when(whole.str.contains(_SEASON)).then(pl.lit("tv_series"))),
    )
    read = frame.join(
        work.select("row", "title", "kind", found="year"), on="row", how="left", maintain_order="left"
    ).select(
        pl.when(pl.col("title") != "").then("title").otherwise("text").alias("title"),
        pl.coalesce("found", "year").alias("year"),
        "kind",
    )
    aliases = (
        aliases.with_columns(alias=with_article_in_front(pl.col("alias").str.strip_chars(" ,;")))
        .filter(pl.col("alias") != "")
        .sort("row", "order")
    )
    return read, aliases
