"""What every catalogue has: a choice of works, an error rate, and files.

Belongs here: `Catalogue`, `Part`, choosing a catalogue's records, and columns several catalogues write alike.
Does not belong here: any single catalogue's format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from pipelines.synth.draw import Stream, covered, exactly, hits, stream
from pipelines.synth.formats import Format
from pipelines.synth.noise import VARIANTS, varied_titles, varied_years
from pipelines.synth.words import facts

# Ids of a film's second record in a catalogue: beyond the ids of first records.
AGAIN_FIRST = 400_000_000


@dataclass(frozen=True)
class Part:
    """One file of a catalogue.

    `records` [rows of frame] says what each row is about (source_id, film, is_film, title, year); None for
    files that only add to the records of another one. `edited` is the column that a change of a record
    rewrites. `optional`: keys of a JSON object left out where null. `duplicates`: share of rows that stand
    there twice.
    """

    name: str
    form: Format
    frame: pl.DataFrame
    records: pl.DataFrame | None = None
    edited: str = ""
    optional: tuple[str, ...] = ()
    duplicates: float = 0.0


@dataclass(frozen=True)
class Catalogue:
    """A catalogue, named as its source block.

    It knows a share `share` of all films (among those for which `eligible` holds, the better known the
    likelier, by `steepness`) and, of the `other_kinds`, as many works as a share `others` of the number of
    films. `title_rate` and `year_rate` are the shares of its records whose title or year differs from the
    truth, `again` the share of films that it lists twice under different ids.
    """

    name: str
    share: float
    render: Callable[[pl.DataFrame, Stream], list[Part]]
    title_rate: float
    year_rate: float
    steepness: float = 3.0
    eligible: pl.Expr = field(default_factory=lambda: pl.lit(True))
    others: float = 0.0
    other_kinds: tuple[str, ...] = ()
    again: float = 0.0
    variants: Mapping[str, float] = field(default_factory=lambda: dict(VARIANTS))

    def parts(self, works: pl.DataFrame, movies: int, seed: int) -> list[Part]:
        """The catalogue's files about its choice of `works`, of which `movies` are films."""
        random = stream(seed, f"{self.name} choice")
        flags = works.select(
            film=pl.col("is_film") & self.eligible,
            other=~pl.col("is_film") & pl.col("kind").is_in(self.other_kinds),
        )
        known = works["known"].to_numpy()
        films = covered(random, known, flags["film"].to_numpy(), max(3, round(movies * self.share)), self.steepness)
        others = covered(random, known, flags["other"].to_numpy(), round(movies * self.others), self.steepness)
        again = films[exactly(random, len(films), round(len(films) * self.again))]
        chosen = works.select(pl.all().gather(np.concatenate([films, others, again])))
        is_again = np.arange(chosen.height) >= len(films) + len(others)
        return self.parts_of(chosen.with_columns(is_again=pl.Series(is_again)), seed)

    def parts_of(self, works: pl.DataFrame, seed: int) -> list[Part]:
        """The catalogue's files about all of `works` (which need the column is_again)."""
        random = stream(seed, f"{self.name} errors")
        records = works.with_columns(
            true_title=pl.col("title"),
            true_year=pl.col("year"),
            title=varied_titles(works, self.title_rate, random, dict(self.variants)),
            year=varied_years(works["year"], self.year_rate, random),
        )
        return self.render(records, random)


def about(records: pl.DataFrame, source_id: pl.Expr) -> pl.DataFrame:
    """The truth of a part's rows, which stand in the order of `records`."""
    return records.select(source_id.cast(pl.String).alias("source_id"), "film", "is_film", "title", "year")


def numbered_id(name: str) -> pl.Expr:
    """The id column `name`, or for a film's second record an id of its own."""
    return pl.when("is_again").then(AGAIN_FIRST + pl.col("film")).otherwise(pl.col(name))


def imdb_id(number: pl.Expr | None = None) -> pl.Expr:
    """IMDb's id: tt and at least seven digits."""
    number = pl.col("imdb_number") if number is None else number
    return pl.lit("tt") + number.cast(pl.String).str.zfill(7)


def words(name: str, column: str) -> pl.Expr:
    """The list column `column` with each entry in a catalogue's own words (table `name` of words.toml)."""
    return pl.col(column).list.eval(pl.element().replace(facts(name)))


def comma_list(values: pl.Expr, separator: str = ", ") -> pl.Expr:
    """A list column as text; null where the list is empty."""
    return pl.when(values.list.len() > 0).then(values.list.join(separator))


def dates(records: pl.DataFrame, random: Stream) -> pl.Expr:
    """A release date in the record's year, ISO 8601."""
    month, day = (
        pl.Series(random.integers(1, 13, records.height)),
        pl.Series(random.integers(1, 29, records.height)),
    )
    two = [pl.lit(part.cast(pl.String).str.zfill(2)) for part in (month, day)]
    return pl.format("{}-{}-{}", "year", *two)


def ratings(records: pl.DataFrame, random: Stream) -> pl.Series:
    """Average ratings of 1.0 to 9.9."""
    return pl.Series(np.clip(random.normal(6.2, 1.2, records.height), 1, 9.9).round(1))


def runtimes(records: pl.DataFrame, random: Stream) -> pl.Series:
    """Running times in minutes, a fifth of them off by a few."""
    off = np.where(random.random(records.height) < 0.2, random.integers(-4, 5, records.height), 0)
    return pl.Series(np.maximum(1, records["runtime_min"].to_numpy() + off))


def some(records: pl.DataFrame, share: float, random: Stream) -> pl.Series:
    """Mask over `records`, true for a share."""
    return hits(random, records.height, share)
