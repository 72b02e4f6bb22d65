"""The truth: the films (and series, episodes, games) that the catalogues then report on.

Belongs here: which works exist, their facts, and how they relate (same titles, sequels).
Does not belong here: what a catalogue says about them (`catalogues.py`).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.synth import people
from pipelines.synth.draw import Stream, hits, pick, positions, stream
from pipelines.synth.grammar import english_titles, foreign_titles, plots
from pipelines.synth.words import Numbers, cultures, facts, lists, real_films

FIRST_YEAR, LAST_YEAR = 1888, 2029
THIS_YEAR = 2026
MOVIES_MAX = 5_000_000

# Share of titles that several films bear, and how many more films bear such a title (1, 2 or 3 more).
SHARED_TITLE_SHARE = 0.072
SHARED_TITLE_MORE = (0.70, 0.20, 0.10)
# A film that bears another's title came out in the same year, in a neighbouring one, or at any other time.
SAME_YEAR_SHARE, NEIGHBOUR_YEAR_SHARE = 0.10, 0.12
SEQUEL_SHARE = 0.04
# Share of the works that are not films, relative to the films.
OTHER_SHARE = 0.08

# Invented ids lie far above the ones in use, so that they never name a real film.
IMDB_FIRST, TMDB_FIRST, MOVIELENS_FIRST, PERSON_FIRST = 50_000_000, 5_000_000, 500_000, 20_000_000
ID_STEP = 7


def make_world(movies: int, seed: int) -> pl.DataFrame:
    """All works, one row each: the films 0..movies-1 first, then the works that are not films.

    Columns: film (number of the work), is_film, is_real, title, original_title (own script; null when the
    same), original_latin (the same in Latin letters), aliases, year, kind, genres, directors, director_ids,
    cast, cast_ids, runtime_min, languages, countries, plot, votes, known (0..1, 1 = best known),
    imdb_number, tmdb_id, movielens_id, article (name in Wikipedia), is_shared_title. Raises ValueError when
    `movies` is not between 1 and 5,000,000.
    """
    if not 1 <= movies <= MOVIES_MAX:
        raise ValueError(f"movies must be between 1 and {MOVIES_MAX:,}: {movies}")
    real = chosen_real(movies, seed)
    works = invented(movies - real.height, seed, others=max(3, round(movies * OTHER_SHARE)), real=real)
    return _with_ids(_with_votes(works, stream(seed, "votes")), stream(seed, "ids"))


def chosen_real(movies: int, seed: int) -> pl.DataFrame:
    """The real films of a pack: all of them, or a choice in which films of one title are always found."""
    films = real_films()
    if movies >= films.height:
        return films
    random = stream(seed, "real films")
    order = pl.DataFrame({"row": random.permutation(films.height)})
    titles = films.select(title=pl.col("title").str.to_lowercase()).with_row_index("row")
    shuffled = order.join(titles.with_columns(pl.col("row").cast(pl.Int64)), on="row", maintain_order="left")
    together = shuffled.group_by("title", maintain_order=True).agg(pl.col("row"))
    shared = together.filter(pl.col("row").list.len() > 1)
    fits = shared.filter(pl.col("row").list.len().cum_sum() <= max(3, movies // 5))
    first = fits.explode("row")["row"].to_list() if movies > 1 else []
    rest = [row for row in shuffled["row"].to_list() if row not in set(first)]
    return films.select(pl.all().gather(sorted((first + rest)[:movies])))


def invented(
    films: int, seed: int, others: int, real: pl.DataFrame, first: int = 0, taken: set[str] | None = None
) -> pl.DataFrame:
    """`real` films, then `films` invented ones, then `others` works that are no films; without votes and ids.

    The first film gets the number `first`. No invented film bears a title of `taken` or of a real film.
    """
    random = stream(seed, "world")
    n = films + others
    culture = positions(random, n, [c.share for c in cultures()])
    titles, year, sequel_of = _titles_and_years(
        random, culture, films, set(real["title"].str.to_lowercase()) | (taken or set())
    )
    directors, cast, names = people.people_of(random, culture, year)
    _keep_crew(random, sequel_of, directors, cast)
    name_column = pl.concat(names)
    kind, runtime = _kinds(random, films, others)
    languages, countries = _places(random, culture)
    works = titles.with_columns(
        is_film=pl.Series(np.arange(n) < films),
        is_real=pl.lit(False),
        year=pl.Series(year.astype(np.int32)),
        kind=kind,
        genres=_genres(random, n),
        director_ids=people.as_lists(directors),
        cast_ids=people.as_lists(cast),
        runtime_min=pl.Series(runtime.astype(np.int32)),
        languages=languages,
        countries=countries,
        plot=plots(random, n),
        imdb_id=pl.lit(None, dtype=pl.String),
        tmdb_id=pl.lit(None, dtype=pl.Int64),
        movielens_id=pl.lit(None, dtype=pl.Int64),
    )
    works = works.with_columns(
        directors=people.named(works["director_ids"], name_column),
        cast=people.named(works["cast_ids"], name_column),
    )
    known = _real_as_works(real, first_person=len(name_column))
    both = pl.concat([known.select(works.columns), works]) if real.height else works
    return both.select(pl.Series("film", np.arange(first, first + both.height)), pl.all())


def _real_as_works(real: pl.DataFrame, first_person: int) -> pl.DataFrame:
    """Real films in the shape of invented ones; their people get numbers from `first_person`."""
    names = pl.concat([real["directors"].explode(), real["cast"].explode()]).drop_nulls().unique(maintain_order=True)
    people_numbers = dict(zip(names.to_list(), range(first_person, first_person + len(names)), strict=True))
    native = pl.col("aliases").list.filter(pl.element().str.contains(r"[^\p{Latin}\p{Common}\p{Inherited}]"))
    latin = pl.col("aliases").list.set_difference(native)
    original = pl.col("original_title").replace("", None)
    number = pl.element().replace_strict(people_numbers, return_dtype=pl.Int64)
    return real.with_columns(
        is_film=pl.lit(True),
        is_real=pl.lit(True),
        original_latin=original.fill_null(pl.col("title")),
        original_title=native.list.first().fill_null(original),
        aliases=pl.when(latin.list.len() > 0).then(latin.list.sort()).otherwise(pl.lit([], dtype=pl.List(pl.String))),
        kind=pl.when(pl.col("runtime_min") < 40).then(pl.lit("short")).otherwise(pl.lit("movie")),
        director_ids=pl.col("directors").list.eval(number),
        cast_ids=pl.col("cast").list.eval(number),
    )


def _titles_and_years(
    random: Stream, culture: Numbers, films: int, taken: set[str]
) -> tuple[pl.DataFrame, Numbers, Numbers]:
    """Titles (title, original_title, original_latin, aliases), years [n] and whose sequel each work is (-1:
    none).

    The rows of films which bear another's title or continue another film are rewritten to do so, in place.
    """
    n = len(culture)
    year = _years(random, n)
    titles = _distinct_titles(random, culture, taken)
    sequel_of = np.full(n, -1, dtype=np.int64)
    more = 1 + sum(count * share for count, share in enumerate(SHARED_TITLE_MORE, 1)) * SHARED_TITLE_SHARE
    followers = films - round(films / more)
    order = random.permutation(films)
    late, early = order[:followers], order[followers:]
    if followers:
        shared = early[: max(1, round(len(early) * SHARED_TITLE_SHARE))]
        counts = 1 + positions(random, len(shared), SHARED_TITLE_MORE)
        base = np.repeat(shared, counts)
        base = np.resize(base, followers)
        drawn = random.random(followers)
        side = np.where(random.random(followers) < 0.5, -1, 1)
        near = np.where(drawn < SAME_YEAR_SHARE, 0, side)
        year[late] = np.where(
            drawn < SAME_YEAR_SHARE + NEIGHBOUR_YEAR_SHARE,
            np.clip(year[base] + near, FIRST_YEAR, LAST_YEAR),
            year[late],
        )
        source = np.arange(n)
        source[late] = base
        titles = titles.select(pl.all().gather(source))
        culture[late] = culture[base]
    sequels = early[len(early) - round(len(early) * SEQUEL_SHARE) :]
    if len(sequels) and len(early) > 2 * len(sequels):
        base = early[: len(early) - len(sequels)][random.permutation(len(early) - len(sequels))[: len(sequels)]]
        sequel_of[sequels] = base
        year[sequels] = np.minimum(year[base] + random.integers(1, 8, len(sequels)), LAST_YEAR)
        culture[sequels] = culture[base]
        part = pick(random, len(sequels), lists()["franchise_part"])
        subtitle = pick(random, len(sequels), lists()["subtitle"])
        numbered = pl.Series(random.random(len(sequels)) < 0.55)
        ending = pl.select(pl.when(numbered).then(pl.lit(" ") + part).otherwise(pl.lit(": ") + subtitle).alias("e"))[
            "e"
        ]
        titles = _continued(titles, sequels, base, ending, taken)
    return titles, year, sequel_of


def _continued(titles: pl.DataFrame, rows: Numbers, base: Numbers, ending: pl.Series, taken: set[str]) -> pl.DataFrame:
    """`titles` with `rows` renamed to the title of `base` plus `ending`, where no other film bears that
    title.
    """
    names = titles.select(pl.all().gather(base)).with_columns(
        pl.col("title", "original_latin", "original_title") + ending,
        aliases=pl.lit([], dtype=pl.List(pl.String)),
    )
    lower = pl.col("title").str.to_lowercase()
    free = names.select(
        lower.is_first_distinct()
        & ~lower.is_in(titles["title"].str.to_lowercase().implode())
        & ~lower.is_in(pl.Series(list(taken), dtype=pl.String).implode())
    )["title"]
    names = names.filter(free)
    source = np.arange(titles.height)
    source[rows[free.to_numpy()]] = titles.height + np.arange(names.height)
    return pl.concat([titles, names.select(titles.columns)]).select(pl.all().gather(source))


def _distinct_titles(random: Stream, culture: Numbers, taken: set[str]) -> pl.DataFrame:
    """A title for every work, none equal (letter case aside) to another or to one of `taken`."""
    drawn = _draw_titles(random, culture)
    repeated = _repeats(drawn, taken)
    for _ in range(6):
        if not len(repeated):
            break
        again = _draw_titles(random, culture[repeated])
        source = np.arange(drawn.height)
        source[repeated] = drawn.height + np.arange(len(repeated))
        drawn = pl.concat([drawn, again]).select(pl.all().gather(source))
        repeated = _repeats(drawn, taken)
    if len(repeated):
        # The grammar of a small culture is exhausted: number what is left, as studios do.
        number = pl.Series(np.arange(100, 100 + len(repeated)).astype(str))
        ending = pl.select((pl.lit(" ") + number).alias("e"))["e"]
        drawn = _continued(drawn, repeated, repeated, ending, taken)
    return drawn


def _repeats(titles: pl.DataFrame, taken: set[str]) -> Numbers:
    lower = pl.col("title").str.to_lowercase()
    known = pl.Series(sorted(taken), dtype=pl.String)
    mask = titles.select((~lower.is_first_distinct()) | lower.is_in(known.implode()))["title"]
    return np.flatnonzero(mask.to_numpy())


def _draw_titles(random: Stream, culture: Numbers) -> pl.DataFrame:
    n = len(culture)
    parts, rows = [], []
    for number, place in enumerate(cultures()):
        where = np.flatnonzero(culture == number)
        m = len(where)
        if not m:
            continue
        rows.append(where)
        alias = pl.Series(english_titles(random, m))
        has_alias = hits(random, m, 0.12)
        if place.patterns:
            foreign = foreign_titles(random, m, place)
            abroad = hits(random, m, 0.18)
            title = pl.when(abroad).then(pl.col("english")).otherwise(pl.col("latin"))
            # Catalogues give most of the foreign originals in Latin letters.
            script = pl.when(hits(random, m, 0.4)).then(pl.col("script"))
            original = pl.coalesce(script, pl.when(abroad).then(pl.col("latin")))
            # Some of those known by their own title are also known by the English one.
            alias_of = pl.when(has_alias & ~abroad).then(pl.concat_list("english"))
            part = foreign.select(
                title=title,
                original_title=original,
                original_latin=pl.col("latin"),
                aliases=alias_of.otherwise(pl.lit([], dtype=pl.List(pl.String))),
            )
        else:
            part = pl.select(title=english_titles(random, m)).with_columns(
                original_title=pl.lit(None, dtype=pl.String),
                original_latin=pl.col("title"),
                aliases=pl.when(has_alias)
                .then(pl.concat_list(pl.lit(alias)))
                .otherwise(pl.lit([], dtype=pl.List(pl.String))),
            )
        parts.append(part)
    order = np.argsort(np.concatenate(rows), kind="stable") if n else np.arange(0)
    return pl.concat(parts).select(pl.all().gather(order))


def _years(random: Stream, n: int) -> Numbers:
    """Years [n]: the nearer to today the more, with a few films announced for the years to come."""
    year = THIS_YEAR - np.floor(random.exponential(23, n)).astype(np.int64)
    year = np.where(random.random(n) < 0.012, random.integers(THIS_YEAR + 1, LAST_YEAR + 1, n), year)
    early = year < FIRST_YEAR + 5
    return np.where(early, FIRST_YEAR + np.floor(random.random(n) ** 0.5 * 42).astype(np.int64), year)


def _keep_crew(random: Stream, sequel_of: Numbers, directors: Numbers, cast: Numbers) -> None:
    """Give sequels much of the crew of the film they continue, in place."""
    rows = np.flatnonzero(sequel_of >= 0)
    for seats, share in ((directors, 0.6), (cast, 0.55)):
        same = random.random((len(rows), 1 if share == 0.6 else seats.shape[1])) < share
        seats[rows] = np.where(same, seats[sequel_of[rows]], seats[rows])


def _kinds(random: Stream, films: int, others: int) -> tuple[pl.Series, Numbers]:
    kinds = ["movie", "short", "tv_movie", "video", "tv_special"]
    kind = pl.concat(
        [
            pick(random, films, kinds, [76, 13, 6, 4, 1]),
            pick(random, others, ["tv_episode", "tv_series", "game"], [52, 42, 6]),
        ]
    )
    feature = np.clip(random.normal(98, 17, films + others), 45, 240)
    short = np.clip(random.exponential(13, films + others), 1, 39)
    is_short = kind.is_in(["short", "tv_episode"]).to_numpy()
    return kind, np.where(is_short, short, feature).round()


def _places(random: Stream, culture: Numbers) -> tuple[pl.Series, pl.Series]:
    """Language and country codes as list columns: one or two languages, one or two countries."""
    n = len(culture)
    codes = [c.language for c in cultures()]
    language = pl.Series(codes).gather(culture)
    second = pick(random, n, codes)
    country = pl.Series([""] * n)
    for number, place in enumerate(cultures()):
        drawn = pick(random, n, list(place.countries), list(place.countries.values()))
        country = country.zip_with(pl.Series(culture != number), drawn)
    partner = pick(random, n, list(facts("countries")))
    frame = pl.DataFrame({"l": language, "m": second, "c": country, "d": partner})
    one_language, one_country = hits(random, n, 0.86), hits(random, n, 0.88)
    lists_of = frame.select(
        languages=pl.when(one_language).then(pl.concat_list("l")).otherwise(pl.concat_list("l", "m")),
        countries=pl.when(one_country).then(pl.concat_list("c")).otherwise(pl.concat_list("c", "d")),
    ).with_columns(pl.all().list.unique(maintain_order=True))
    return lists_of["languages"], lists_of["countries"]


def _genres(random: Stream, n: int) -> pl.Series:
    names, weights = list(facts("genre_weights")), list(facts("genre_weights").values())
    drawn = pl.DataFrame({f"g{i}": pick(random, n, names, weights) for i in range(3)})
    count = 1 + positions(random, n, [35, 40, 25])
    return drawn.select(
        pl.concat_list("g0", "g1", "g2")
        .list.head(pl.lit(pl.Series(count)))
        .list.unique(maintain_order=True)
        .list.sort()
    )["g0"]


def _with_votes(works: pl.DataFrame, random: Stream, better_known: int = 0) -> pl.DataFrame:
    """Zipfian votes; real films stand among the best known ones, `better_known` others before all of them."""
    n = works.height
    chance = random.random(n)
    chance = np.where(works["is_real"].to_numpy(), chance * 0.03, chance)
    chance = np.where(works["is_film"].to_numpy(), chance, 0.1 + 0.9 * chance)
    rank = np.empty(n)
    rank[np.argsort(chance, kind="stable")] = np.arange(n)
    votes = np.maximum(5, 2_600_000 / (rank + better_known + 3) ** 0.95).astype(np.int64)
    announced = works["year"].to_numpy() > THIS_YEAR
    return works.with_columns(votes=pl.Series(np.where(announced, 0, votes)), known=pl.Series(1 - rank / max(1, n)))


def _with_ids(works: pl.DataFrame, random: Stream) -> pl.DataFrame:
    """Ids of every work: the real ones where known, else invented ones that roughly follow the year."""
    n = works.height
    by_year = np.empty(n, dtype=np.int64)
    by_year[np.argsort(works["year"].to_numpy() + random.normal(0, 8, n), kind="stable")] = np.arange(n)
    jitter = random.integers(0, ID_STEP, n)
    shuffled = random.permutation(n)
    shared = pl.len().over(pl.col("title").str.to_lowercase()) > 1
    article = pl.col("title").str.replace_all(" ", "_", literal=True)
    return works.with_columns(
        # English Wikipedia's name for it: equal titles are told apart by the year, if by anything.
        article=pl.when(shared).then(pl.format("{}_({}_film)", article, "year")).otherwise(article),
        is_shared_title=shared,
        imdb_number=pl.col("imdb_id")
        .str.strip_prefix("tt")
        .cast(pl.Int64)
        .fill_null(pl.Series(IMDB_FIRST + by_year * ID_STEP + jitter)),
        tmdb_id=pl.col("tmdb_id").fill_null(pl.Series(TMDB_FIRST + shuffled * ID_STEP + jitter)),
        movielens_id=pl.col("movielens_id").fill_null(pl.Series(MOVIELENS_FIRST + by_year)),
    ).drop("imdb_id")


def added(count: int, seed: int, first: int, taken: set[str]) -> pl.DataFrame:
    """`count` further invented films, numbered from `first`, with ids beyond those of every pack.

    None bears a title of `taken` (small letters).
    """
    works = invented(count, seed, others=0, real=real_films().head(0), first=first, taken=taken)
    works = _with_votes(works, stream(seed, "added votes"), better_known=first).with_columns(
        imdb_id=pl.lit(None, dtype=pl.String), tmdb_id=pl.lit(None, dtype=pl.Int64)
    )
    works = _with_ids(works, stream(seed, "added ids"))
    beyond = (MOVIES_MAX + first) * ID_STEP
    return works.with_columns(
        pl.col("director_ids", "cast_ids").list.eval(pl.element() + beyond),
        pl.col("imdb_number") + beyond,
        pl.col("tmdb_id") + beyond,
        pl.col("movielens_id") + MOVIES_MAX + first,
    )
