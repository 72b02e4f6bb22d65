"""Contracts of what services answered when they were asked about single films.

One row an id that was asked for, whatever the answer: what is here is never asked for again without need.
"""

from __future__ import annotations

import polars as pl

from warehouse.contracts import Column, Table
from warehouse.tables.titles import STRINGS

FETCH_STATUSES = ("found", "missing", "failed")

# What is kept of TMDB's answer. A field that the answer lacks, or states in a form that cannot be right, is
# null.
TMDB_DETAILS = (
    Column("title", pl.String, "Title in the language asked for."),
    Column("original_title", pl.String, "Title in the original language."),
    Column("directors", STRINGS, "Names of the directors."),
    Column("cast_members", STRINGS, "Names of the first ten actors, in billing order."),
    Column("genres", STRINGS, "TMDB's genre names."),
    Column("plot", pl.String, "TMDB's overview."),
    Column("runtime_min", pl.Int32, "Running time.", unit="minutes", minimum=1, maximum=6000),
    Column("languages", STRINGS, "Languages spoken, ISO 639-1."),
    Column("countries", STRINGS, "Countries of production, ISO 3166 alpha-2."),
    Column("imdb_id", pl.String, "IMDb id that TMDB gives.", pattern=r"tt\d{7,9}"),
    Column("year", pl.Int32, "Year of the release date.", unit="year", minimum=1870, maximum=2035),
)

RAW_TMDB_API__DETAILS = Table(
    name="raw_tmdb_api__details",
    meaning="What TMDB's API answered for each film it was asked about.",
    group="raw",
    key=("tmdb_id",),
    sort_by=("tmdb_id",),
    licence="TMDB API terms of use; attribution required",
    columns=(
        Column("tmdb_id", pl.Int64, "TMDB id that was asked for.", nullable=False, minimum=1),
        Column(
            "status",
            pl.String,
            "`found`; `missing`: TMDB has no such film; `failed`: no usable answer, to be asked again.",
            nullable=False,
            allowed=FETCH_STATUSES,
        ),
        *TMDB_DETAILS,
        Column("fetched_at", pl.Datetime("us"), "When the answers were stored, UTC.", nullable=False),
        Column(
            "http_status",
            pl.Int32,
            "HTTP status of the last answer; null when none came.",
            minimum=100,
            maximum=599,
        ),
        Column("error", pl.String, "Why it failed, in words."),
    ),
)

TABLES = (RAW_TMDB_API__DETAILS,)
