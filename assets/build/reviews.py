"""Reading review files: only sources whose files changed, or whose films did.

Does not belong here: how files are read (`pipelines/reviews/`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assets.build.files import digest_of
from assets.build.preferences import film_mentions
from assets.build.tables import Built, Tell, published_or_empty
from pipelines.interactions.films import content_hash, film_ids
from pipelines.interactions.rec_turns import conversations
from pipelines.reviews.dialogues import remarks
from pipelines.reviews.layouts import DIALOGUES_FILE, DIALOGUES_LAYOUT, LAYOUTS, ReviewFile, review_files
from pipelines.reviews.movielens import UNKNOWN_FILM, read_tags, release_of
from pipelines.reviews.read import FACTS, FORMS, READER_VERSION, REVIEWS, TASKS, FileRead, read_lines
from pipelines.reviews.tables import Placed, items, released_split, reviews, tasks
from pipelines.sources.files import fingerprints
from pipelines.sources.records import concat_rejects
from warehouse.store import Warehouse
from warehouse.tables.corpus import CORE_MOVIE_LINKS, CORE_MOVIES
from warehouse.tables.dialogues import CORE_DIALOGUES, CORE_FEEDBACK, CORE_TURNS
from warehouse.tables.interactions import CORE_SESSIONS
from warehouse.tables.mentions import CORE_ITEM_LINKS, CORE_MENTIONS
from warehouse.tables.simulation import (
    CORE_REVIEW_ITEMS,
    CORE_REVIEW_TASKS,
    CORE_REVIEWS,
    META_REVIEW_FILES,
    REVIEW_SOURCES,
)

# A file of which more could not be read keeps its last version: it is damaged, or is not what its name says.
REJECT_SHARE_MAX = 0.2
REJECTS_KEPT = 20

_RAW_SHOWN = 200
_SAME = ["file", "layout", "domain", "sha256", "reader_version", "inputs_hash"]
_OUTPUTS = (CORE_REVIEWS, META_REVIEW_FILES, CORE_REVIEW_ITEMS, CORE_REVIEW_TASKS)
# Rows of a source, by table in the order of _OUTPUTS.
_Tables = tuple[pl.DataFrame, ...]
_DIALOGUE_INPUTS = (CORE_DIALOGUES, CORE_TURNS, CORE_MENTIONS, CORE_FEEDBACK, CORE_ITEM_LINKS)


@dataclass(frozen=True)
class ReviewsBuilt(Built):
    """`problems`: in words, files that keep their last version although they changed or went away."""

    problems: tuple[str, ...] = ()


def build_reviews(warehouse: Warehouse, sources: Path, full: bool, tell: Tell) -> ReviewsBuilt:
    """Bring core_reviews, core_review_items, core_review_tasks and meta_review_files up to date with the files under `sources` and with the dialogues.

    A source is read again as a whole when one of its files differs, or what else its reviews are made with. A file that is gone, or of which too much
    cannot be read, keeps its last version, with a word in `problems`. Raises FileNotFoundError when there is no folder `sources`.
    """
    files = review_files(sources)
    before = {table.name: published_or_empty(warehouse, table) for table in _OUTPUTS}
    known = before[META_REVIEW_FILES.name]
    inputs = _Inputs(warehouse)
    now = _fingerprinted(files, known, inputs)
    counts: dict[str, float] = {"sources read": 0, "rows rejected": 0}
    parts: list[_Tables] = []
    problems: list[str] = []
    for source in REVIEW_SOURCES:
        own = now.filter(pl.col("source") == source)
        stored = tuple(before[table.name].filter(pl.col("source") == source) for table in _OUTPUTS)
        was = stored[1].sort("file")
        for gone in was.join(own, on="file", how="anti")["file"]:
            problems.append(f"{source}: {gone} is gone; its last version stays")
        present = was.join(own, on="file", how="semi")
        if own.is_empty() or (not full and present.select(_SAME).equals(own.select(_SAME))):
            parts.append(stored)
            continue
        tell(f"reading reviews: {source}")
        parts.append(_read(source, own, stored, files, inputs, problems, counts))
        counts["sources read"] += 1
    frames = [pl.concat(column) for column in zip(*parts, strict=True)]
    for (source, domain), part in sorted(frames[0].partition_by("source", "domain", as_dict=True).items()):
        counts[f"{source}, {domain}: reviews"] = part.height
        counts[f"{source}, {domain}: users"] = part["user_id"].n_unique()
    counts["items"], counts["released tasks"] = frames[2].height, frames[3].height
    for problem in problems:
        tell(f"warning: {problem}")
    commits = tuple(warehouse.write(table, table.conform(frame)) for table, frame in zip(_OUTPUTS, frames, strict=True))
    return ReviewsBuilt(commits, counts, tuple(problems))


class _Inputs:
    """What reviews are made with beside their files: films of MovieLens's ids, ratings, dialogues. Each is read when it is first needed."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._ids: dict[str, pl.DataFrame] = {}

    def ids(self, file: ReviewFile) -> pl.DataFrame:
        """Films of the ids that a file of tags names."""
        release = release_of(file)
        assert release is not None
        if release.name not in self._ids:
            links = published_or_empty(self._warehouse, CORE_MOVIE_LINKS, ["source", "source_id", "movie_id"])
            movies = published_or_empty(self._warehouse, CORE_MOVIES, ["movie_id", "movielens_id"])
            self._ids[release.name] = film_ids(release, links, movies)
        return self._ids[release.name]

    def ratings(self, file: ReviewFile) -> pl.DataFrame:
        """Ratings of the release that a file of tags is of."""
        release = release_of(file)
        assert release is not None
        columns = ["release", "user_id", "source_item_id", "rating", "rated_at", "file", "line"]
        stored = published_or_empty(self._warehouse, CORE_SESSIONS, columns)
        return stored.filter(pl.col("release") == release.name)

    def hash_of(self, file: ReviewFile) -> str | None:
        """Hash of all that a file's reviews are made with beside its bytes; None where that is nothing."""
        if file.layout.name in FORMS:
            return None
        return digest_of([content_hash(self.ids(file)), self._warehouse.published(CORE_SESSIONS.name)])

    def dialogues(self) -> dict[str, str]:
        """Hash of the tables that remarks of dialogues are made from, for each dataset that has any."""
        versions = {table.name: self._warehouse.published(table.name) for table in _DIALOGUE_INPUTS}
        datasets = published_or_empty(self._warehouse, CORE_DIALOGUES, ["dataset"])["dataset"].unique().sort()
        return {dataset: digest_of([dataset, versions]) for dataset in datasets}

    def remarks(self, dataset: str) -> FileRead:
        """Remarks of the dialogues that stand in this dataset first."""
        columns = ["dialogue_id", "dataset", "conversation_id", "split"]
        owned = conversations(published_or_empty(self._warehouse, CORE_DIALOGUES, columns))
        here = owned.filter(pl.col("owner") == dataset).select("dialogue_id")
        is_own = pl.col("dataset") == dataset
        turns = published_or_empty(
            self._warehouse,
            CORE_TURNS,
            ["dialogue_id", "turn", "dataset", "domain", "role", "speaker_id", "plain_text"],
        ).filter(is_own & (pl.col("domain") == "film"))
        links = published_or_empty(self._warehouse, CORE_ITEM_LINKS, ["dataset", "item_id", "movie_id", "is_quarantined"])  # fmt: skip
        return remarks(
            turns.join(here, on="dialogue_id", how="semi"),
            film_mentions(self._warehouse).filter(is_own),
            published_or_empty(self._warehouse, CORE_FEEDBACK).filter(is_own),
            links.filter(is_own & ~pl.col("is_quarantined")).select("item_id", "movie_id"),
        )


def _fingerprinted(files: Sequence[ReviewFile], known: pl.DataFrame, inputs: _Inputs) -> pl.DataFrame:
    """META_REVIEW_FILES of the files that there are and of the dialogues, up to the books."""
    usable = [each for each in files if each.layout.name in FORMS]
    # Of two files of tags of one release the first counts: they are copies of each other.
    tags = [(release, each) for each in files if each.layout.name not in FORMS and (release := release_of(each))]
    usable += {release.name: each for release, each in reversed(tags)}.values()
    rows = known.select("file", "size_bytes", "mtime_ns", "sha256").iter_rows()
    found = fingerprints(
        [each.file for each in usable], {file: (size, mtime, digest) for file, size, mtime, digest in rows}
    )
    listed: list[tuple[Any, ...]] = [
        (each.file.name, each.layout.source, each.layout.name, each.domain, *found[each.file.name], READER_VERSION, inputs.hash_of(each))
        for each in usable
    ]  # fmt: skip
    listed += [
        (f"{DIALOGUES_FILE}{dataset}", "dialogues", DIALOGUES_LAYOUT, "film", 0, 0, "0" * 64, READER_VERSION, digest)
        for dataset, digest in inputs.dialogues().items()
    ]
    left_out = ("rows", "rows_kept", "rows_rejected", "rejects")
    schema = {name: dtype for name, dtype in META_REVIEW_FILES.schema.items() if name not in left_out}
    return pl.DataFrame(listed, schema=schema, orient="row").sort("file")


def _read(
    source: str,
    own: pl.DataFrame,
    stored: _Tables,
    files: Sequence[ReviewFile],
    inputs: _Inputs,
    problems: list[str],
    counts: dict[str, float],
) -> _Tables:
    """Read a source: rows by table, in the order of _OUTPUTS."""
    by_name = {each.file.name: each for each in files}
    placed: dict[str, Placed] = {}
    for name, domain in own.select("file", "domain").iter_rows():
        found = _file_read(name, by_name.get(name), inputs)
        problem = None if name.startswith(DIALOGUES_FILE) else _problem(source, name, found)
        if problem is None:
            placed[name] = Placed(name, domain, found)
        else:
            problems.append(problem)
    new = set(placed)
    for name, domain in stored[1].filter(~pl.col("file").is_in(sorted(new))).select("file", "domain").iter_rows():
        placed[name] = Placed(name, domain, _as_stored(name, source, stored))
    layouts = dict(pl.concat([frame.select("file", "layout") for frame in (stored[1], own)]).iter_rows())
    rank = {layout.name: place for place, layout in enumerate(LAYOUTS)}
    ordered = sorted(placed.values(), key=lambda each: (rank.get(layouts[each.file], 0), each.file))
    rows, repeats = reviews(source, ordered)
    made_items, items_again = items(source, ordered)
    books = _books(own, [each for each in ordered if each.file in new], {**repeats, **items_again})
    counts["rows rejected"] += int(books["rows_rejected"].sum())
    return (
        rows,
        pl.concat([books, stored[1].filter(~pl.col("file").is_in(sorted(new)))]),
        made_items,
        tasks(source, [(each, released_split(each.file)) for each in ordered if each.read.tasks.height]),
    )


def _file_read(name: str, file: ReviewFile | None, inputs: _Inputs) -> FileRead:
    """What a file holds, or what dialogues of the dataset that it stands for do."""
    if file is None:
        return inputs.remarks(name.removeprefix(DIALOGUES_FILE))
    return read_lines(file) if file.layout.name in FORMS else read_tags(file, inputs.ids(file), inputs.ratings(file))


def _as_stored(name: str, source: str, stored: _Tables) -> FileRead:
    """What is stored of a file, as if it were read now."""
    own = [frame.filter(pl.col("file") == name) for frame in stored]
    user = pl.col("user_id").str.strip_prefix(f"{source}-").alias("user")
    frames = [frame.with_columns(user) if "user_id" in frame.columns else frame for frame in (own[0], own[2], own[3])]
    said, facts, released = (
        frame.select(schema.names()).cast(schema) for frame, schema in zip(frames, (REVIEWS, FACTS, TASKS), strict=True)
    )
    return FileRead(said, facts, released)


def _problem(source: str, file: str, read: FileRead) -> str | None:
    """Why what was read may not replace what is stored; None when it may."""
    if read.failure is not None:
        return f"{source}: {file} could not be read to its end: {read.failure}; its last version stays"
    if not read.rows:
        return f"{source}: no record in {file}; its last version stays"
    # Tags of films that the corpus lacks say nothing against their file.
    broken = read.rejects.filter(pl.col("reason") != UNKNOWN_FILM)
    share = broken.height / read.rows
    if share > REJECT_SHARE_MAX:
        first = broken.row(0, named=True)
        return (
            f"{source}: {share:.0%} of {file} could not be read (allowed {REJECT_SHARE_MAX:.0%}); "
            f"first: line {first['line']}: {first['reason']}; its last version stays"
        )
    return None


def _books(own: pl.DataFrame, placed: Sequence[Placed], repeats: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Rows of META_REVIEW_FILES of the files that were read."""
    figures = []
    for each in placed:
        again = repeats.get(each.file)
        rejects = each.read.rejects if again is None else concat_rejects([each.read.rejects, again]).sort("line")
        figures.append(
            {
                "file": each.file,
                "rows": each.read.rows,
                "rows_kept": each.read.rows - rejects.height,
                "rows_rejected": rejects.height,
                "rejects": [
                    f"line {line}: {reason}: {raw[:_RAW_SHOWN]}"
                    for line, reason, raw in rejects.head(REJECTS_KEPT).iter_rows()
                ],
            }
        )
    columns = ("file", "rows", "rows_kept", "rows_rejected", "rejects")
    frame = pl.DataFrame(figures, schema={name: META_REVIEW_FILES.schema[name] for name in columns})
    return META_REVIEW_FILES.conform(own.join(frame, on="file", how="inner"))
