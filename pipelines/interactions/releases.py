"""The MovieLens releases and the layouts of their rating files, as data.

A file is taken by its name and by the folder that names its release; adding a release is a row here. Does not belong here: how rows are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.sources.blocks import FileFormat
from pipelines.sources.files import SourceFile, list_folder, match_files

LICENCE = "MovieLens terms: research use, no redistribution without permission"


@dataclass(frozen=True)
class Layout:
    """How a rating file is written.

    `columns`: the file's own names of user, film, rating and time, in this order; the latter two where it has them. `form`: how its bytes become
    records; None for Parquet. `states_split`: whether it has the columns `position` and `split` in place of times.
    """

    name: str
    file: str
    columns: tuple[str, ...]
    form: FileFormat | None
    states_split: bool = False


_HEADERLESS = ("UserID", "MovieID", "Rating", "Timestamp")

RATINGS_CSV = Layout(
    "ratings_csv", "ratings.csv", ("userId", "movieId", "rating", "timestamp"), FileFormat("csv", quote='"')
)
RATINGS_DAT = Layout("ratings_dat", "ratings.dat", _HEADERLESS, FileFormat("csv", delimiter="::", header=_HEADERLESS))
U_DATA = Layout("u_data", "u.data", _HEADERLESS, FileFormat("csv", delimiter="\t", header=_HEADERLESS))
# Made of a release for a paper: each user's films in order, and which of them are held out; neither stars nor times.
LEAVE_ONE_OUT = Layout(
    "leave_one_out", "interactions_leave_one_out.parquet", ("UserID", "MovieID"), None, states_split=True
)

# Of two files of a release that of the first layout counts: stars and times say more than an order.
LAYOUTS: tuple[Layout, ...] = (RATINGS_CSV, RATINGS_DAT, U_DATA, LEAVE_ONE_OUT)


@dataclass(frozen=True)
class Release:
    """One release: the folders it is known by, its layouts, and the catalogue sources that share its film ids, the nearest first.

    `shares_ids`: whether its film ids are those of core_movies.movielens_id.
    """

    name: str
    folders: tuple[str, ...]
    layouts: tuple[Layout, ...]
    catalogues: tuple[str, ...]
    shares_ids: bool = True


# Sources whose ids are MovieLens's own, the most complete first. Of two ids that are one film core_movies keeps one; these have both.
_SHARED = ("movielens_32m", "movielens_25m", "movielens_20m", "movielens_small", "movielens_1m")


def _shared(*first: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *_SHARED)))


RELEASES: tuple[Release, ...] = (
    # Numbered on its own: ids of other releases say nothing about its films.
    Release("ml-100k", ("ml-100k",), (U_DATA,), ("movielens_100k",), shares_ids=False),
    Release("ml-1m", ("ml-1m",), (RATINGS_DAT, LEAVE_ONE_OUT), _shared("movielens_1m")),
    Release("ml-10m", ("ml-10m", "ml-10M100K"), (RATINGS_DAT,), _shared()),
    Release("ml-20m", ("ml-20m",), (RATINGS_CSV,), _shared("movielens_20m")),
    Release("ml-25m", ("ml-25m",), (RATINGS_CSV,), _shared("movielens_25m")),
    Release("ml-32m", ("ml-32m",), (RATINGS_CSV,), _shared("movielens_32m")),
    Release("ml-latest", ("ml-latest",), (RATINGS_CSV,), _shared()),
    Release("ml-latest-small", ("ml-latest-small",), (RATINGS_CSV,), _shared("movielens_small")),
)


@dataclass(frozen=True)
class RatingFile:
    """A rating file and what it is; `passed_over` names the file that counts in its place."""

    release: Release
    layout: Layout
    file: SourceFile
    passed_over: str | None = None


def rating_files(sources: Path) -> list[RatingFile]:
    """The rating files under `sources`, by release; one of each release counts. Raises FileNotFoundError when there is no such folder."""
    return assign(list_folder(sources))


def assign(listing: Sequence[SourceFile]) -> list[RatingFile]:
    """As `rating_files`, of what `list_folder` returned."""
    found: list[RatingFile] = []
    for release in RELEASES:
        own: list[tuple[Layout, SourceFile]] = []
        for layout in LAYOUTS:
            if layout in release.layouts:
                patterns = [f"**/{folder}/{layout.file}" for folder in release.folders]
                own += [(layout, file) for file in match_files(patterns, listing)]
        # A file that cannot be opened stands in for none that can.
        own.sort(key=lambda each: each[1].problem is not None)
        for layout, file in own:
            first = own[0][1].name
            found.append(RatingFile(release, layout, file, None if file.name == first else first))
    return found
