"""Contracts of the corpus: which records are one film, what is known of it, and how that was decided."""

from __future__ import annotations

import polars as pl

from warehouse.contracts import Column, ForeignKey, Table
from warehouse.tables.titles import FILM_KINDS, STRINGS

MOVIE_ID_PATTERN = "mv[0-9a-f]{16}"

# How a record came to its film, strongest evidence first (pipelines/linking/rules.py decides).
LINK_METHODS = ("id", "title_year", "title_people", "alias", "fuzzy", "single")

CORE_RECORD_PAIRS = Table(
    name="core_record_pairs",
    meaning="Every pair of records that blocking proposed and scoring did not dismiss, with its evidence.",
    key=("record_a", "record_b"),
    columns=(
        Column("record_a", pl.Int64, "The lower record_id of the pair.", nullable=False),
        Column("record_b", pl.Int64, "The higher record_id of the pair.", nullable=False),
        Column(
            "score_prob",
            pl.Float32,
            "Probability that both are the same film.",
            nullable=False,
            minimum=0,
            maximum=1,
        ),
        Column(
            "method",
            pl.String,
            "Kind of evidence that carried the score.",
            nullable=False,
            allowed=LINK_METHODS,
        ),
        Column(
            "levels",
            pl.Int64,
            "The comparison level of each rule, four bits each (pipelines/linking/rules.py).",
            nullable=False,
        ),
    ),
)

CORE_MOVIE_LINKS = Table(
    name="core_movie_links",
    meaning="Which film each record is, and why.",
    key=("source", "source_id"),
    foreign_keys=(ForeignKey(("movie_id",), "core_movies", ("movie_id",)),),
    columns=(
        Column("source", pl.String, "Source of the record.", nullable=False),
        Column("source_id", pl.String, "The record's id inside its source.", nullable=False),
        Column("record_id", pl.Int64, "The record in core_title_records.", nullable=False),
        Column("row_hash", pl.Int64, "The record's content hash when it was linked.", nullable=False),
        Column("movie_id", pl.String, "The film.", nullable=False, pattern=MOVIE_ID_PATTERN),
        Column(
            "method",
            pl.String,
            "Kind of evidence of the strongest pair; `single` when no other record joined.",
            nullable=False,
            allowed=LINK_METHODS,
        ),
        Column(
            "score_prob",
            pl.Float32,
            "Probability of the record's strongest pair inside the film; 1 for a single record.",
            nullable=False,
            minimum=0,
            maximum=1,
        ),
        Column(
            "evidence",
            pl.String,
            "JSON: the partner record and the level that each rule found, with its weight in bits.",
        ),
    ),
)

CORE_MOVIES = Table(
    name="core_movies",
    meaning="The corpus: one row a film.",
    key=("movie_id",),
    columns=(
        Column(
            "movie_id",
            pl.String,
            "Stable id of the film; a redirect is in core_movie_id_history.",
            nullable=False,
            pattern=MOVIE_ID_PATTERN,
        ),
        Column("title", pl.String, "Title in display form.", nullable=False),
        Column("original_title", pl.String, "Title in the original language where it differs."),
        Column("aliases", STRINGS, "Other titles that the sources know it under.", nullable=False),
        Column("year", pl.Int32, "Year of first release.", unit="year", minimum=1870, maximum=2035),
        Column("kind", pl.String, "What kind of film.", nullable=False, allowed=FILM_KINDS),
        Column("genres", STRINGS, "Genres.", nullable=False),
        Column("directors", STRINGS, "Names of the directors.", nullable=False),
        Column("cast_members", STRINGS, "Names of the leading actors, in billing order.", nullable=False),
        Column("plot", pl.String, "Plot summary."),
        Column("runtime_min", pl.Int32, "Running time.", unit="minutes", minimum=1, maximum=6000),
        Column("languages", STRINGS, "Languages spoken, ISO 639-1 where known.", nullable=False),
        Column("countries", STRINGS, "Countries of production, ISO 3166 alpha-2 where known.", nullable=False),
        Column("votes", pl.Int64, "Most ratings that any source counts.", unit="votes", minimum=0),
        Column("imdb_id", pl.String, "IMDb id.", pattern=r"tt\d{7,9}"),
        Column("tmdb_id", pl.Int64, "TMDB id.", minimum=1),
        Column("movielens_id", pl.Int64, "MovieLens id (ml-1m, 20m and later).", minimum=1),
        Column("wikidata_id", pl.String, "Wikidata item.", pattern=r"Q\d+"),
        Column("dbpedia_uri", pl.String, "DBpedia resource."),
        Column("wikipedia_slug", pl.String, "English Wikipedia article."),
        Column("source_count", pl.Int32, "Sources that know the film.", unit="sources", nullable=False, minimum=1),
        Column("record_count", pl.Int32, "Records that were joined.", unit="records", nullable=False, minimum=1),
        Column(
            "is_complete",
            pl.Boolean,
            "Director, cast, genre and plot are all present (RAR, section A.1).",
            nullable=False,
        ),
        Column(
            "content_hash",
            pl.Int64,
            "Hash of the records and the rules that the row was made from.",
            nullable=False,
        ),
    ),
)

CORE_MOVIE_CONFLICTS = Table(
    name="core_movie_conflicts",
    meaning="Fields on which the sources of a film disagree, the value chosen and why.",
    key=("movie_id", "field"),
    foreign_keys=(ForeignKey(("movie_id",), "core_movies", ("movie_id",)),),
    columns=(
        Column("movie_id", pl.String, "The film.", nullable=False, pattern=MOVIE_ID_PATTERN),
        Column("field", pl.String, "Column of core_movies.", nullable=False),
        Column(
            "values_by_source",
            pl.String,
            "JSON object: each value and the sources that state it.",
            nullable=False,
        ),
        Column("chosen", pl.String, "The value in core_movies.", nullable=False),
        Column(
            "reason",
            pl.String,
            "Why it won: most support, or the most reliable source among equals.",
            nullable=False,
        ),
    ),
)

CORE_MOVIE_ID_HISTORY = Table(
    name="core_movie_id_history",
    meaning="Redirects: ids of films that were merged, split or withdrawn.",
    key=("movie_id", "new_movie_id", "event", "changed_at"),
    columns=(
        Column("movie_id", pl.String, "The id that was in use.", nullable=False, pattern=MOVIE_ID_PATTERN),
        Column("new_movie_id", pl.String, "Where its records are now; empty when they are gone.", nullable=False),
        Column("event", pl.String, "What happened.", nullable=False, allowed=("merged", "split", "withdrawn")),
        Column("changed_at", pl.Datetime("us"), "When the run noticed, UTC.", nullable=False),
    ),
)

CORE_MOVIES_COMPLETE = Table(
    name="core_movies_complete",
    meaning="Films with director, cast, genre and plot all present: the corpus of the paper (RAR, section 3.2).",
    columns=CORE_MOVIES.columns,
    key=("movie_id",),
    sql="SELECT * FROM core_movies WHERE is_complete",
)

_PROTOCOL = (
    Column(
        "protocol",
        pl.String,
        "What was hidden, what counts as truth, which records took part.",
        nullable=False,
    ),
    Column("linker_version", pl.String, "Version of the linking rules.", nullable=False),
)

EVAL_ENTITY_RESOLUTION = Table(
    name="eval_entity_resolution",
    meaning="How well linking finds the pairs that share an id, when the ids are hidden from it.",
    group="eval",
    key=("slice", "metric"),
    columns=(
        Column("slice", pl.String, "`all`, or a source pair such as `imdb_2010s x omdb`.", nullable=False),
        Column(
            "metric",
            pl.String,
            "precision, recall, f1, blocking_recall, ... or one of the yardsticks.",
            nullable=False,
        ),
        Column("value", pl.Float64, "The figure.", nullable=False),
        Column("ci_low", pl.Float64, "Lower end of the 95 % interval, bootstrap clustered by film."),
        Column("ci_high", pl.Float64, "Upper end of the 95 % interval."),
        Column("pairs", pl.Int64, "Pairs the figure is computed from.", unit="pairs", nullable=False, minimum=0),
        Column("films", pl.Int64, "Films (clusters) in the sample.", unit="films", nullable=False, minimum=0),
        *_PROTOCOL,
    ),
)

EVAL_UNCERTAIN_PAIRS = Table(
    name="eval_uncertain_pairs",
    meaning="The twenty least certain decisions of the linker, for a person to look at.",
    group="eval",
    key=("record_a", "record_b"),
    columns=(
        Column("record_a", pl.Int64, "One record.", nullable=False),
        Column("record_b", pl.Int64, "The other record.", nullable=False),
        Column(
            "score_prob",
            pl.Float32,
            "Probability that both are the same film.",
            nullable=False,
            minimum=0,
            maximum=1,
        ),
        Column("is_linked", pl.Boolean, "Whether the linker joined them.", nullable=False),
        Column("is_same_id", pl.Boolean, "Whether their hidden ids agree.", nullable=False),
        Column("left", pl.String, "The one record in words.", nullable=False),
        Column("right", pl.String, "The other record in words.", nullable=False),
        Column(
            "evidence",
            pl.String,
            "JSON: the level that each rule found, with its weight in bits.",
            nullable=False,
        ),
    ),
)

TABLES = (
    CORE_RECORD_PAIRS,
    CORE_MOVIE_LINKS,
    CORE_MOVIES,
    CORE_MOVIE_CONFLICTS,
    CORE_MOVIE_ID_HISTORY,
    CORE_MOVIES_COMPLETE,
    EVAL_ENTITY_RESOLUTION,
    EVAL_UNCERTAIN_PAIRS,
)
