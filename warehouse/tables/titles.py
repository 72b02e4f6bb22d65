"""Contracts of the tables that hold catalogue records as their sources state them.

`raw_<source>__titles` has one shape for every source, so that a source nobody foresaw needs no contract of its own.
"""

from __future__ import annotations

import polars as pl

from warehouse.contracts import Column, Table

STRINGS = pl.List(pl.String)

# Kinds of title, in the terms of IMDb's titleType. The corpus holds the first five: what a viewer would call a film.
FILM_KINDS = ("movie", "short", "tv_movie", "tv_special", "video")
OTHER_KINDS = ("tv_series", "tv_episode", "game", "other")
KINDS = FILM_KINDS + OTHER_KINDS

# The fields a source block can fill. Text as the source has it; cleaning happens in core_title_records.
RAW_FIELDS = (
    Column("title", pl.String, "Title as the source writes it, year and aliases included.", nullable=False),
    Column("original_title", pl.String, "Title in the original language, as written."),
    Column("aliases", STRINGS, "Other titles, as written."),
    Column("year", pl.String, "Year or release date, as written."),
    Column("kind", pl.String, "The source's own word for what the title is (movie, TV Show, ...)."),
    Column("genres", STRINGS, "The source's own genre words."),
    Column("directors", STRINGS, "Names of the directors."),
    Column("cast_members", STRINGS, "Names of the leading actors, in billing order."),
    Column("plot", pl.String, "Plot summary or description."),
    Column("runtime", pl.String, "Running time, as written."),
    Column("languages", STRINGS, "Languages spoken, as written."),
    Column("countries", STRINGS, "Countries of production, as written."),
    Column(
        "votes",
        pl.String,
        "How many people rated it, or another measure of how well known it is, as written.",
    ),
    Column("imdb_id", pl.String, "IMDb id or a link holding it, as written."),
    Column("tmdb_id", pl.String, "TMDB id, as written."),
    Column(
        "movielens_id",
        pl.String,
        "MovieLens id (the numbering shared by ml-1m, ml-20m and later), as written.",
    ),
    Column("wikidata_id", pl.String, "Wikidata item, as written."),
    Column("dbpedia_uri", pl.String, "DBpedia resource, as written."),
    Column("wikipedia_slug", pl.String, "English Wikipedia article, as written."),
)

RAW_TITLE_COLUMNS = (
    Column("source_id", pl.String, "The record's id inside its source.", nullable=False),
    Column("file", pl.String, "File the record was read from, relative to the sources folder.", nullable=False),
    Column(
        "line",
        pl.Int64,
        "Line (or array position) of the record in that file, from 1.",
        nullable=False,
        minimum=1,
    ),
    Column(
        "row_hash",
        pl.Int64,
        "Hash of the record's content: equal when nothing in it changed.",
        nullable=False,
    ),
    *RAW_FIELDS,
    Column("extra", pl.String, "The source's remaining columns as a JSON object."),
)


def raw_table_name(source: str) -> str:
    """Name of the raw title table of `source`."""
    return f"raw_{source}__titles"


def raw_titles(source: str, meaning: str, licence: str | None = None) -> Table:
    """Contract of `raw_<source>__titles`."""
    return Table(
        name=raw_table_name(source),
        meaning=meaning,
        columns=RAW_TITLE_COLUMNS,
        key=("source_id",),
        group="raw",
        licence=licence,
    )


RAW_REJECTS = Table(
    name="raw_rejects",
    meaning="Every row that could not be read, with where it stood, why, and its text.",
    group="raw",
    columns=(
        Column("source", pl.String, "Source block that read the file.", nullable=False),
        Column("file", pl.String, "File, relative to the sources folder.", nullable=False),
        Column("line", pl.Int64, "Line (or array position) in that file, from 1.", nullable=False, minimum=1),
        Column("reason", pl.String, "Why the row was rejected, in words.", nullable=False),
        Column("raw", pl.String, "The row's text, cut at 2,000 characters; bytes that are not text are escaped."),
    ),
)

META_ROW_ACCOUNTING = Table(
    name="meta_row_accounting",
    meaning="The books: for every file, rows in = rows kept + rows rejected.",
    group="meta",
    key=("source", "file"),
    columns=(
        Column("source", pl.String, "Source block that read the file.", nullable=False),
        Column("file", pl.String, "File, relative to the sources folder.", nullable=False),
        Column("rows_in", pl.Int64, "Data rows in the file.", unit="rows", nullable=False, minimum=0),
        Column("rows_kept", pl.Int64, "Rows that went on.", unit="rows", nullable=False, minimum=0),
        Column("rows_rejected", pl.Int64, "Rows in raw_rejects.", unit="rows", nullable=False, minimum=0),
    ),
)

META_SOURCE_FILES = Table(
    name="meta_source_files",
    meaning="Fingerprint of every source file as it was last read: what a refresh compares with.",
    group="meta",
    key=("source", "file"),
    columns=(
        Column("source", pl.String, "Source block that read the file.", nullable=False),
        Column("file", pl.String, "File, relative to the sources folder.", nullable=False),
        Column("size_bytes", pl.Int64, "Size on disk.", unit="bytes", nullable=False, minimum=0),
        Column("mtime_ns", pl.Int64, "Time of last change.", unit="ns since 1970", nullable=False),
        Column("sha256", pl.String, "Hash of the file's bytes.", nullable=False, pattern="[0-9a-f]{64}"),
        Column("block_hash", pl.String, "Hash of the source block and the reader that read it.", nullable=False),
    ),
)

CORE_TITLE_RECORDS = Table(
    name="core_title_records",
    meaning="Every record of every source in one normalised shape.",
    key=("record_id",),
    columns=(
        Column(
            "record_id",
            pl.Int64,
            "Stable number of the record: 63 bits of md5(source:source_id).",
            nullable=False,
        ),
        Column("source", pl.String, "Source the record comes from.", nullable=False),
        Column("source_id", pl.String, "The record's id inside its source.", nullable=False),
        Column(
            "row_hash",
            pl.Int64,
            "Hash of the record's content: equal when nothing in it changed.",
            nullable=False,
        ),
        Column(
            "title",
            pl.String,
            "Title in display form: article in front, no year, entities decoded.",
            nullable=False,
        ),
        Column("original_title", pl.String, "Title in the original language where it differs from `title`."),
        Column("aliases", STRINGS, "Other titles, without `title` and `original_title`.", nullable=False),
        Column("year", pl.Int32, "Year of first release.", unit="year", minimum=1870, maximum=2035),
        Column("kind", pl.String, "What the title is; null when the source does not say.", allowed=KINDS),
        Column(
            "is_film",
            pl.Boolean,
            "False for series, episodes, games and other things that are no film.",
            nullable=False,
        ),
        Column("genres", STRINGS, "Genres in one vocabulary (pipelines/corpus/vocabulary.py).", nullable=False),
        Column("directors", STRINGS, "Names of the directors.", nullable=False),
        Column("cast_members", STRINGS, "Names of the leading actors, in billing order.", nullable=False),
        Column("plot", pl.String, "Plot summary or description."),
        Column("runtime_min", pl.Int32, "Running time.", unit="minutes", minimum=1, maximum=6000),
        Column("languages", STRINGS, "Languages spoken, ISO 639-1 where known.", nullable=False),
        Column("countries", STRINGS, "Countries of production, ISO 3166 alpha-2 where known.", nullable=False),
        Column("votes", pl.Int64, "How many people rated it, where the source says.", unit="votes", minimum=0),
        Column("imdb_id", pl.String, "IMDb id the source gives: evidence, not gospel.", pattern=r"tt\d{7,9}"),
        Column("tmdb_id", pl.Int64, "TMDB id the source gives.", minimum=1),
        Column("movielens_id", pl.Int64, "MovieLens id the source gives.", minimum=1),
        Column("wikidata_id", pl.String, "Wikidata item the source gives.", pattern=r"Q\d+"),
        Column("dbpedia_uri", pl.String, "DBpedia resource the source gives."),
        Column(
            "wikipedia_slug",
            pl.String,
            "English Wikipedia article the source gives, decoded, with underscores.",
        ),
        Column("title_key", pl.String, "Comparison key of the title (pipelines/linking/keys.py).", nullable=False),
        Column("alias_keys", STRINGS, "Comparison keys of the original title and the aliases.", nullable=False),
        Column("part_keys", STRINGS, "Comparison keys of the halves of titles with a subtitle.", nullable=False),
        Column("director_keys", STRINGS, "Comparison keys of the directors.", nullable=False),
        Column("cast_keys", STRINGS, "Comparison keys of the leading actors.", nullable=False),
        Column(
            "issues",
            STRINGS,
            "What was wrong with single values, e.g. `year out of range: 201`.",
            nullable=False,
        ),
    ),
)

TABLES = (RAW_REJECTS, META_ROW_ACCOUNTING, META_SOURCE_FILES, CORE_TITLE_RECORDS)
