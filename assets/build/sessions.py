"""Reading rating files into sessions: only releases whose files changed, or whose films did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from assets.build.tables import Built, Tell, as_one, published_or_empty, unchanged
from pipelines.interactions.films import content_hash, film_ids
from pipelines.interactions.read import READER_VERSION, RatingsRead, read_ratings
from pipelines.interactions.releases import RELEASES, RatingFile, rating_files
from pipelines.interactions.sessions import sessions
from pipelines.sources.files import fingerprints
from warehouse.store import Commit, Warehouse
from warehouse.tables.corpus import CORE_MOVIE_LINKS, CORE_MOVIES
from warehouse.tables.interactions import CORE_SESSIONS, META_SESSION_FILES

# A release of which more could not be read keeps its last version: its file is damaged, or is not what its name says.
REJECT_SHARE_MAX = 0.2
REJECTS_KEPT = 20

_RAW_SHOWN = 200
_FINGERPRINT = ["file", "release", "layout", "passed_over_for", "size_bytes", "mtime_ns", "sha256", "reader_version"]
_SAME = ["file", "layout", "passed_over_for", "sha256", "reader_version"]


@dataclass(frozen=True)
class SessionsBuilt(Built):
    """`problems`: in words, releases that keep their last version although their files changed or went away."""

    problems: tuple[str, ...] = ()


def session_files(sources: Path, known: pl.DataFrame) -> pl.DataFrame:
    """The rating files under `sources` with their fingerprints: META_SESSION_FILES up to its books; by file.

    A file whose size and time of change are those in `known` (META_SESSION_FILES) is not hashed again. Raises FileNotFoundError when there is no
    such folder.
    """
    return _fingerprinted(rating_files(sources), known)


def _fingerprinted(files: Sequence[RatingFile], known: pl.DataFrame) -> pl.DataFrame:
    rows = known.select("file", "size_bytes", "mtime_ns", "sha256").iter_rows()
    found = fingerprints(
        [each.file for each in files], {file: (size, mtime, digest) for file, size, mtime, digest in rows}
    )
    return pl.DataFrame(
        [
            (
                each.file.name,
                each.release.name,
                each.layout.name,
                each.passed_over,
                *found[each.file.name],
                READER_VERSION,
            )
            for each in files
        ],
        schema={name: META_SESSION_FILES.schema[name] for name in _FINGERPRINT},
        orient="row",
    ).sort("file")


def build_sessions(warehouse: Warehouse, sources: Path, full: bool, tell: Tell) -> SessionsBuilt:
    """Bring core_sessions and meta_session_files up to date with the rating files under `sources`.

    A release is read again when one of its files differs, or a film that one of its ids stands for. One whose files are gone, or of which too much cannot
    be read, keeps its last version, with a word in `problems`. Raises FileNotFoundError when there is no folder `sources`.
    """
    files = rating_files(sources)
    known = published_or_empty(warehouse, META_SESSION_FILES)
    now = _fingerprinted(files, known)
    links = published_or_empty(warehouse, CORE_MOVIE_LINKS, ["source", "source_id", "movie_id"])
    movies = published_or_empty(warehouse, CORE_MOVIES, ["movie_id", "movielens_id"])
    books: list[pl.DataFrame] = []
    commits: list[Commit] = []
    problems: list[str] = []
    counts: dict[str, float] = {"releases read": 0, "rows rejected": 0}
    # Releases are replaced one by one in the newest version: where that was not published, none of it is taken for good.
    lags = warehouse.latest(CORE_SESSIONS.name) != warehouse.published(CORE_SESSIONS.name)
    for release in RELEASES:
        own, before = (frame.filter(pl.col("release") == release.name) for frame in (now, known))
        file = next((each for each in files if each.release == release and each.passed_over is None), None)
        ids = film_ids(release, links, movies)
        ids_hash = content_hash(ids)
        is_same = own.select(_SAME).equals(before.sort("file").select(_SAME)) and set(before["ids_hash"]) <= {ids_hash}
        found: RatingsRead | str | None
        if file is None:
            found = f"{release.name}: its files are gone; the last version stays" if before.height else None
        elif is_same and not full and not lags:
            found = None
        else:
            tell(f"reading {file.file.name}")
            read = read_ratings(file)
            found = _problem(release.name, file.file.name, read) or read
        if file is not None and isinstance(found, RatingsRead):
            rows = sessions(release.name, file.file.name, found.ratings, ids)
            tell(f"{release.name}: {rows.height:,} ratings")
            commits.append(warehouse.replace(CORE_SESSIONS, rows, "release", release.name))
            books.append(_books(own, found, rows, ids_hash))
            counts["releases read"] += 1
            counts["rows rejected"] += found.rejects.height
            continue
        problems += [found] if isinstance(found, str) else []
        books.append(before)
        if lags:
            commits.append(_put_back(warehouse, release.name))
    if warehouse.latest(CORE_SESSIONS.name) is None:
        commits.append(warehouse.write(CORE_SESSIONS, CORE_SESSIONS.empty()))
    written = pl.concat([META_SESSION_FILES.conform(part) for part in (META_SESSION_FILES.empty(), *books)])
    for row in written.filter(pl.col("passed_over_for").is_null()).iter_rows(named=True):
        counts[f"{row['release']}: ratings"] = row["rows_kept"]
        counts[f"{row['release']}: films"] = row["items"]
        counts[f"{row['release']}: films in the corpus"] = row["items_in_corpus"]
    for problem in problems:
        tell(problem)
    both = (_as_one(warehouse, commits), warehouse.write(META_SESSION_FILES, written))
    return SessionsBuilt(both, counts, tuple(problems))


def _put_back(warehouse: Warehouse, release: str) -> Commit:
    """Make the published ratings of a release its newest ones."""
    published = published_or_empty(warehouse, CORE_SESSIONS).filter(pl.col("release") == release)
    return warehouse.replace(CORE_SESSIONS, published, "release", release)


def _problem(release: str, file: str, read: RatingsRead) -> str | None:
    """Why what was read may not replace what is stored; None when it may."""
    if read.failure is not None:
        return f"{release}: {file} could not be read to its end: {read.failure}; the last version stays"
    rows = read.ratings.height + read.rejects.height
    if not rows:
        return f"{release}: no rating in {file}; the last version stays"
    share = read.rejects.height / rows
    if share > REJECT_SHARE_MAX:
        first = read.rejects.row(0, named=True)
        return (
            f"{release}: {share:.0%} of {file} could not be read (allowed {REJECT_SHARE_MAX:.0%}); "
            f"first: line {first['line']}: {first['reason']}; the last version stays"
        )
    return None


def _books(own: pl.DataFrame, read: RatingsRead, rows: pl.DataFrame, ids_hash: str) -> pl.DataFrame:
    """The release's rows of META_SESSION_FILES; files that were passed over hold nothing that was read."""
    rejects = [
        f"line {line}: {reason}: {raw[:_RAW_SHOWN]}"
        for line, reason, raw in read.rejects.head(REJECTS_KEPT).iter_rows()
    ]
    films = rows.select(items=pl.col("source_item_id").n_unique(), items_in_corpus=pl.col("source_item_id").filter(pl.col("movie_id").is_not_null()).n_unique())  # fmt: skip
    is_read = pl.col("passed_over_for").is_null()
    figures = {
        "rows": read.ratings.height + read.rejects.height,
        "rows_kept": rows.height,
        "rows_rejected": read.rejects.height,
        "items": films["items"].item(),
        "items_in_corpus": films["items_in_corpus"].item(),
    }
    none = pl.lit([], dtype=pl.List(pl.String))
    return own.with_columns(
        *(pl.when(is_read).then(pl.lit(value)).otherwise(0).alias(name) for name, value in figures.items()),
        pl.when(is_read).then(pl.lit(rejects, dtype=pl.List(pl.String))).otherwise(none).alias("rejects"),
        pl.lit(ids_hash).alias("ids_hash"),
    )


def _as_one(warehouse: Warehouse, commits: Sequence[Commit]) -> Commit:
    """The commits of all releases as one of the table, as publishing takes it."""
    if not commits:
        version = warehouse.latest(CORE_SESSIONS.name)
        assert version is not None
        return unchanged(warehouse, CORE_SESSIONS, version)
    return as_one(commits)
