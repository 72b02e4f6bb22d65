"""Writing a pack: every catalogue's files, ratings of the films, conversations about them, and the truth beside them.

Belongs here: the list of catalogues, and a pack's layout on disk.
Does not belong here: what films there are (`world.py`) or what a catalogue says (`catalogues/`),
how they are rated (`ratings.py`) and reviewed (`reviews.py`), nor what is talked about them (`conversations/`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipelines.synth import damage as damages
from pipelines.synth import formats
from pipelines.synth.catalogues import (
    imdb,
    letterboxd,
    movielens,
    movietweetings,
    netflix_prize,
    omdb,
    streaming,
    tmdb,
    wikipedia,
)
from pipelines.synth.catalogues.base import Catalogue, Part
from pipelines.synth.conversations.write import default_dialogues, write_conversations
from pipelines.synth.draw import stream
from pipelines.synth.ratings import COLUMNS, FILE, make_ratings
from pipelines.synth.reviews import write_reviews
from pipelines.synth.world import make_world

Progress = Callable[[str], None]

CATALOGUES: tuple[Catalogue, ...] = (
    imdb.CATALOGUE,
    tmdb.TMDB_IDS,
    tmdb.TMDB_DETAILS,
    omdb.CATALOGUE,
    letterboxd.CATALOGUE,
    movielens.MOVIELENS_32M,
    movielens.MOVIELENS_1M,
    wikipedia.CATALOGUE,
    movietweetings.CATALOGUE,
    netflix_prize.CATALOGUE,
    streaming.NETFLIX,
    streaming.DISNEY_PLUS,
    streaming.AMAZON_PRIME,
)
TRUTH = "truth"
FILM_COLUMNS = (
    "film",
    "is_real",
    "title",
    "original_title",
    "original_latin",
    "aliases",
    "year",
    "kind",
    "genres",
    "directors",
    "cast",
    "runtime_min",
    "languages",
    "countries",
    "plot",
    "votes",
    "imdb_number",
    "tmdb_id",
    "movielens_id",
)


@dataclass(frozen=True)
class PackSummary:
    """What a pack holds: readable records by source, rows by file (joined files too) and rejects by file; readable
    dialogues by dataset and their files' rejects; ratings by file; records of reviews, items and tags by file.
    """

    out: Path
    movies: int
    seed: int
    records: dict[str, int]
    rows: dict[str, int]
    rejects: dict[str, dict[str, int]]
    dialogues: dict[str, int]
    dialogue_rejects: dict[str, dict[str, int]]
    ratings: dict[str, int]
    reviews: dict[str, int]


def write_pack(
    out: Path, movies: int = 1000, seed: int = 0, progress: Progress | None = None, dialogues: int | None = None
) -> PackSummary:
    """Write catalogues of `movies` films in their publishers' formats to the folder `out`, ratings of those that MovieLens
    lists, reviews of invented books and businesses and tags of films, conversations about the films in their datasets' formats to out/conversations, and the truth to out/truth.

    `dialogues` is the number of ReDial's conversations (0: none at all), from which the other datasets' follow; by
    default a fifth of `movies`, between 30 and 10,000. The same arguments give the same bytes. The truth:
    records.parquet (source, source_id, file, line, film, is_film, and title and year as this record has them), one
    row for every readable row of a catalogue; films.parquet (the films' facts); rejects.json (rows by file that a reader must reject:
    `broken` ones and `duplicate` ones, exact repetitions). Works that are no films have numbers from
    `movies` on and is_film false; ratings.parquet (the ratings, with film and session of each); reviews.json (records of each file of reviews, items and tags, and those that a
    reader must reject). The conversations' truth is described at `write_conversations`. Raises ValueError
    when `movies`, `seed` or `dialogues` is out of range, FileExistsError when `out` is a folder with content.
    """
    if out.is_dir() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty: a pack is written to a folder of its own")
    tell = progress or (lambda _: None)
    tell(f"inventing {movies:,} films")
    works = make_world(movies, seed)
    truths: list[pl.DataFrame] = []
    rows: dict[str, int] = {}
    rejects: dict[str, dict[str, int]] = {}
    for catalogue in CATALOGUES:
        tell(f"writing {catalogue.name}")
        for part in catalogue.parts(works, movies, seed):
            rows[part.name] = part.frame.height
            if part.records is None and part.name.endswith(".gz"):
                formats.write_frame(out / part.name, part.frame, part.form)
                continue
            damage = damages.damaged(part, stream(seed, part.name))
            write_part(out / part.name, part, damage)
            rows[part.name] = len(damage.source)
            if part.records is not None:
                truths.append(damages.truth(catalogue.name, part, damage))
            counts = {"broken": int(damage.is_broken.sum()), "duplicate": int(damage.is_duplicate.sum())}
            if any(counts.values()):
                rejects[part.name] = counts
    tell("writing the truth")
    records = pl.concat(truths)
    films = works.filter("is_film").select(FILM_COLUMNS)
    write_truth(out / TRUTH, records, films, rejects)
    tell("writing ratings")
    ratings = write_ratings(out, works, records, movies, seed)
    tell("writing reviews")
    said = write_reviews(out, pl.read_parquet(out / TRUTH / "ratings.parquet"), works.select("film", "genres"), seed)
    wanted = default_dialogues(movies) if dialogues is None else dialogues
    talks = write_conversations(out, out / TRUTH, works, wanted, seed, tell)
    counts_by_source = dict(records.group_by("source", maintain_order=True).len().iter_rows())
    return PackSummary(
        out,
        movies,
        seed,
        counts_by_source,
        rows,
        rejects,
        talks.dialogues,
        talks.rejects,
        ratings,
        {name: each.rows for name, each in said.items()},
    )


def write_part(path: Path, part: Part, damage: damages.Damaged) -> None:
    """Write one file of a catalogue with its damage."""
    frame = part.frame.select(pl.all().gather(damage.source))
    if part.form.kind == "parquet":
        formats.write_bytes(path, formats.parquet_bytes(frame))
    elif part.form.kind == "json":
        formats.write_bytes(path, formats.array_bytes(formats.as_objects(frame, part.optional)))
    else:
        header, lines = formats.text_lines(frame, part.form)
        for number, row in enumerate(damage.is_broken.nonzero()[0]):
            lines[row] = damages.broken(lines[row], number, part.form)
        formats.write_bytes(path, formats.joined(header, lines, part.form))


def write_ratings(out: Path, works: pl.DataFrame, records: pl.DataFrame, movies: int, seed: int) -> dict[str, int]:
    """Write ratings of the films that MovieLens lists, and their truth; returns the rows by file.

    Of a film that it lists twice the lower id is rated.
    """
    listed = records.filter((pl.col("source") == movielens.MOVIELENS_32M.name) & pl.col("is_film"))
    listed = listed.group_by("film").agg(movie_id=pl.col("source_id").cast(pl.Int64).min())
    films = works.join(listed.sort("film"), on="film", how="inner", maintain_order="left")
    rows = make_ratings(films, movies, seed)
    formats.write_bytes(out / FILE, rows.select(COLUMNS).write_csv().encode())
    formats.write_bytes(out / TRUTH / "ratings.parquet", formats.parquet_bytes(rows))
    return {FILE: rows.height}


def write_truth(folder: Path, records: pl.DataFrame, films: pl.DataFrame, rejects: dict[str, dict[str, int]]) -> None:
    """Write the truth of a pack."""
    folder.mkdir(parents=True, exist_ok=True)
    formats.write_bytes(folder / "records.parquet", formats.parquet_bytes(records))
    formats.write_bytes(folder / "films.parquet", formats.parquet_bytes(films))
    formats.write_bytes(folder / "rejects.json", json.dumps(rejects, indent=2, sort_keys=True).encode() + b"\n")
