"""Audits: a sound corpus passes; each kind of damage fails the check that is meant for it, and no other."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from warehouse import sql
from warehouse.quality import run
from warehouse.quality.run import (
    EXAMPLES,
    CrossCheck,
    Outcome,
    audit,
    audit_across,
    baseline,
    cross_checks,
    over,
)
from warehouse.quality.suite import Derived, Expectation
from warehouse.quality.suites import corpus as corpus_suites
from warehouse.store import Warehouse
from warehouse.tables import (
    annotation,
    dialogues,
    interactions,
    llm,
    mentions,
    preferences,
    ranking_evaluation,
    reranking,
    retrieval,
    simulation,
    simulation_evaluation,
    titles,
)
from warehouse.tables import corpus as corpus_tables

Corpus = dict[str, pl.DataFrame]
CONTRACTS = (*corpus_tables.TABLES, *titles.TABLES)
BEYOND_CORPUS = (
    dialogues, mentions, llm, annotation, preferences, interactions, retrieval, reranking, ranking_evaluation, simulation, simulation_evaluation,
)  # fmt: skip
# The fixture `corpus` has rows of these; conversations have tests of their own.
SUITES = {suite.table.name: suite for suite in corpus_suites.SUITES}


def at(row: int, column: str, value: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Damage: `value` in one cell."""

    def damage(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            pl.when(pl.int_range(pl.len()) == row)
            .then(pl.lit(value, dtype=frame.schema[column]))
            .otherwise(pl.col(column))
            .alias(column)
        )

    return damage


def everywhere(column: str, value: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Damage: `value` in the whole column."""
    return lambda frame: frame.with_columns(pl.lit(value, dtype=frame.schema[column]).alias(column))


def first_row_twice(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame, frame.head(1)])


def wrong(outcomes: list[Outcome]) -> set[tuple[str, str, str]]:
    return {(each.check, each.severity, each.status) for each in outcomes if each.status != "passed"}


@pytest.mark.parametrize("name", SUITES)
def test_a_sound_table_passes(corpus: Corpus, name: str) -> None:
    outcomes = audit(name, corpus[name])
    assert wrong(outcomes) == set()
    assert [each.check for each in outcomes] == [each.name for each in SUITES[name].expectations]
    assert all(each.table == name and each.observed and each.rule for each in outcomes)
    assert {each.rows for each in outcomes} == {None, corpus[name].height}


DAMAGES = [
    ("core_movies", at(0, "movie_id", "mv12"), {("movie_id_pattern", "ERROR")}),
    ("core_movies", at(0, "movie_id", "mv0000000000000000\n"), {("movie_id_pattern", "ERROR")}),
    ("core_movies", first_row_twice, {("key_unique", "ERROR")}),
    ("core_movies", at(3, "title", None), {("title_not_null", "ERROR")}),
    ("core_movies", at(3, "title", " \t"), {("title_has_text", "ERROR")}),
    ("core_movies", at(3, "year", 1066), {("year_range", "ERROR")}),
    ("core_movies", at(3, "kind", "poem"), {("kind_allowed", "ERROR")}),
    ("core_movies", at(0, "directors", []), {("is_complete_holds", "ERROR")}),
    ("core_movies", at(0, "plot", None), {("is_complete_holds", "ERROR")}),
    ("core_movies", at(1, "is_complete", True), {("is_complete_holds", "ERROR")}),
    (
        "core_movies",
        at(0, "genres", None),
        {("genres_not_null", "ERROR"), ("is_complete_holds", "ERROR")},
    ),
    ("core_movies", at(0, "source_count", 2), {("sources_within_records", "ERROR")}),
    ("core_movies", at(0, "record_count", 1_000), {("largest_film", "WARN")}),
    ("core_movies", everywhere("record_count", 60), {("records_per_film", "WARN")}),
    ("core_movies", everywhere("year", 1900), {("year_spread", "WARN")}),
    ("core_movies", everywhere("imdb_id", "0000001"), {("imdb_id_pattern", "ERROR")}),
    ("core_movies", lambda frame: frame.drop("tmdb_id"), {("columns_present", "ERROR")}),
    ("core_title_records", first_row_twice, {("key_unique", "ERROR")}),
    ("core_title_records", everywhere("is_film", False), {("mostly_films", "WARN")}),
    ("core_title_records", everywhere("issues", ["year out of range: 3"]), {("few_issues", "WARN")}),
    ("core_movie_links", at(0, "score_prob", 0.3), {("score_over_threshold", "ERROR")}),
    ("core_movie_links", at(1, "evidence", "{"), {("evidence_is_json", "ERROR")}),
    ("core_movie_links", at(0, "record_id", 10), {("record_linked_once", "ERROR")}),
    ("core_movie_links", everywhere("method", "single"), {("some_linked", "WARN")}),
    ("core_movie_links", first_row_twice, {("key_unique", "ERROR"), ("record_linked_once", "ERROR")}),
    ("core_movie_conflicts", at(0, "field", "colour"), {("field_is_a_column", "ERROR")}),
    ("core_movie_conflicts", at(0, "values_by_source", "not JSON"), {("values_are_json", "ERROR")}),
    ("core_movie_conflicts", pl.DataFrame.clear, {("has_conflicts", "WARN")}),
    ("eval_entity_resolution", everywhere("value", 1.5), None),
    ("eval_entity_resolution", at(0, "ci_low", 0.999), {("interval_is_ordered", "ERROR")}),
    ("eval_entity_resolution", at(0, "value", 0.5), {("overall_precision", "WARN")}),
    ("eval_entity_resolution", at(1, "value", 0.5), {("overall_recall", "WARN")}),
]


@pytest.mark.parametrize(("name", "damage", "expected"), DAMAGES)
def test_damage_fails_the_check_that_is_meant_for_it(
    corpus: Corpus, name: str, damage: Callable[[pl.DataFrame], pl.DataFrame], expected: set[Any] | None
) -> None:
    found = wrong(audit(name, damage(corpus[name])))
    if expected is None:
        expected = {("shares_in_range", "ERROR"), ("overall_precision", "WARN"), ("overall_recall", "WARN")}
    # An absent column also keeps the checks about it from running.
    assert {each[:2] for each in found if each[2] == "failed"} == expected
    assert {each[2] for each in found} <= ({"failed", "errored"} if "columns_present" in str(expected) else {"failed"})


def test_failing_rows_are_counted_and_named_by_their_key(corpus: Corpus) -> None:
    frame = corpus["core_movies"].with_columns(
        year=pl.when(pl.int_range(pl.len()) < 7).then(1_601).otherwise("year").cast(pl.Int32)
    )
    outcome = next(each for each in audit("core_movies", frame) if each.check == "year_range")
    assert (outcome.failing, outcome.rows, outcome.is_blocking) == (7, 60, True)
    assert outcome.observed == "7 of 60 rows (11.67 %)"
    assert len(outcome.examples) == EXAMPLES
    assert outcome.examples[0] == "movie_id = mv0000000000000000, year = 1601"
    assert outcome.rule == "expect_column_values_to_be_between(column='year', min_value=1870, max_value=2035)"


def test_an_expectation_that_breaks_is_errored_and_alone_in_it(corpus: Corpus) -> None:
    good = SUITES["core_movie_conflicts"]
    broken = replace(
        good,
        expectations=(
            *good.expectations,
            Expectation("no_column", "expect_column_values_to_be_unique", {"column": "nowhere"}, "ERROR", "?"),
            Expectation("no_kind", "expect_wonders", {"column": "field"}, "ERROR", "?"),
            Expectation("bad_kwargs", "expect_column_mean_to_be_between", {"column": "field"}, "ERROR", "?"),
            Expectation(
                "bad_regex",
                "expect_column_values_to_match_regex",
                {"column": "field", "regex": "("},
                "WARN",
                "?",
            ),
            Expectation(
                "text_mean",
                "expect_column_mean_to_be_between",
                {"column": "chosen", "min_value": 1},
                "WARN",
                "?",
            ),
        ),
    )
    outcomes = audit(broken, corpus["core_movie_conflicts"])
    assert len(outcomes) == len(broken.expectations)
    ill = {each.check for each in outcomes if each.status == "errored"}
    assert ill == {"no_column", "no_kind", "bad_kwargs", "bad_regex", "text_mean"}
    assert all(each.error and not each.is_blocking for each in outcomes if each.status == "errored")
    assert not [each for each in outcomes if each.status == "failed"]


def test_a_table_that_cannot_be_read_is_errored_not_bad(corpus: Corpus) -> None:
    def unreadable(text: str) -> pl.DataFrame:
        raise OSError("disk on fire")

    outcomes = audit("core_movies", unreadable)
    assert {each.status for each in outcomes} == {"errored"}
    assert all("disk on fire" in (each.error or "") for each in outcomes)
    broken = replace(
        SUITES["core_movies"],
        derived=(*SUITES["core_movies"].derived[1:], Derived("is_complete_by_fields", "no_function(1)", ())),
    )
    assert {each.status for each in audit(broken, corpus["core_movies"])} == {"errored"}


@pytest.mark.parametrize("name", [name for name in SUITES if name != "core_movie_conflicts"])
def test_an_empty_table_fails_for_being_empty_only(corpus: Corpus, name: str) -> None:
    outcomes = audit(name, corpus[name].clear())
    failed = {each.check for each in outcomes if each.status == "failed"}
    assert failed <= {"has_rows", "rows_not_collapsing"}
    assert "has_rows" in failed
    figures = {each.name for each in SUITES[name].expectations if each.is_figure}
    assert {each.check for each in outcomes if each.status == "errored"} == figures


def test_a_column_of_nulls_only_does_not_break_the_audit(corpus: Corpus) -> None:
    outcomes = audit("core_movies", everywhere("year", None)(corpus["core_movies"]))
    assert ("year_known", "WARN", "failed") in wrong(outcomes)
    assert not [each for each in outcomes if each.is_blocking]


def test_ids_beyond_the_precision_of_floats_stay_apart(corpus: Corpus) -> None:
    big = 2**62
    frame = corpus["core_title_records"].with_columns(record_id=big + pl.int_range(pl.len(), dtype=pl.Int64))
    assert wrong(audit("core_title_records", frame)) == set()


def test_limits_of_drift_come_from_the_version_before(corpus: Corpus) -> None:
    with over(corpus) as query:
        limits = baseline(SUITES["core_movies"], query)
    assert limits == {
        "row_count_min": pytest.approx(48),
        "complete_share_min": pytest.approx(0.8 / 3),
        "director_share_min": pytest.approx(0.8),
    }
    movies = corpus["core_movies"]
    assert wrong(audit("core_movies", movies, limits)) == set()
    shrunk = movies.filter(pl.int_range(pl.len()) % 2 == 0)
    assert wrong(audit("core_movies", shrunk, limits)) == {("rows_not_collapsing", "WARN", "failed")}
    plotless = movies.with_columns(plot=pl.lit(None, dtype=pl.String), is_complete=pl.lit(False))
    assert wrong(audit("core_movies", plotless, {"complete_share_min": 0.2})) == {
        ("complete_not_collapsing", "WARN", "failed")
    }
    with over({"core_movies": movies.clear()}) as query:
        assert baseline(SUITES["core_movies"], query) == {}


def test_the_threshold_of_linking_is_a_parameter(corpus: Corpus) -> None:
    links = corpus["core_movie_links"]
    found = wrong(audit("core_movie_links", links, {"link_threshold_prob": 0.99}))
    assert found == {("score_over_threshold", "ERROR", "failed")}


def test_unknown_names_are_refused(corpus: Corpus) -> None:
    with pytest.raises(KeyError):
        audit("core_nothing", corpus["core_movies"])
    with pytest.raises(KeyError, match="no parameter speed"):
        audit("core_movies", corpus["core_movies"], {"speed": 1})


def test_no_frame_is_kept(corpus: Corpus) -> None:
    import pandas as pd

    audit("core_movies", corpus["core_movies"])
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, pd.DataFrame) and len(each) == 60]


def test_it_works_over_the_published_catalogue(corpus: Corpus, tmp_path: Path) -> None:
    tables = {table.name: table for table in CONTRACTS}
    warehouse = Warehouse(tmp_path / "it's a warehouse")
    for name, frame in corpus.items():
        warehouse.write(tables[name], frame)
    warehouse.publish(list(corpus))
    query = partial(sql.query, tmp_path / "it's a warehouse")
    assert wrong([each for name in SUITES for each in audit(name, query)]) == set()
    assert wrong(audit_across(corpus_checks(), query, corpus)) == set()


# Across tables


def corpus_checks() -> list[CrossCheck]:
    """The checks across tables that need tables of the corpus only."""
    tables = {table.name for table in CONTRACTS}
    return [each for each in cross_checks(CONTRACTS) if {each.table, *each.needs} <= tables]


def across(corpus: Corpus) -> set[tuple[str, str, str]]:
    with over(corpus) as query:
        return wrong(audit_across(corpus_checks(), query, corpus))


def test_a_sound_corpus_holds_together(corpus: Corpus) -> None:
    assert across(corpus) == set()


def test_cross_checks_are_sound_data() -> None:
    contracts = [*CONTRACTS, *(table for area in BEYOND_CORPUS for table in area.TABLES)]
    checks = cross_checks(contracts)
    names = [(each.table, each.name) for each in checks]
    assert len(set(names)) == len(names)
    tables = {table.name for table in contracts}
    keys = {
        (table.name, f"{'_'.join(key.columns)}_in_{key.references}")
        for table in contracts
        for key in table.foreign_keys
    }
    assert keys and keys <= set(names)
    # The corpus is whole without conversations and retrieval: nothing of it is checked against them.
    assert {each.table for each in checks} - {each.table for each in corpus_checks()} <= {
        table.name for area in BEYOND_CORPUS for table in area.TABLES
    }
    for each in checks:
        assert each.severity in ("ERROR", "WARN")
        assert {each.table, *each.needs} <= tables
        # A check may belong to a table that it says something about and does not look at.
        assert all(name in each.sql for name in each.needs if name != each.table)


ACROSS = [
    ("meta_row_accounting", at(1, "rows_kept", 29), {("books_balance", "ERROR")}),
    ("raw_rejects", lambda frame: frame.head(1), {("rejects_are_all_there", "ERROR")}),
    ("raw_rejects", at(0, "file", "c.csv"), {("rejects_are_all_there", "ERROR")}),
    (
        "core_movie_links",
        lambda frame: frame.filter(pl.col("record_id") != 0),
        {("every_film_record_is_linked", "ERROR"), ("counts_agree_with_links", "ERROR")},
    ),
    ("core_movie_links", at(0, "source_id", "alpha-77"), {("linked_records_exist", "ERROR")}),
    ("core_title_records", at(0, "is_film", False), {("only_films_are_linked", "ERROR")}),
    (
        "core_movies",
        lambda frame: frame.filter(pl.col("movie_id") != "mv0000000000000001"),
        {("movie_id_in_core_movies", "ERROR")},
    ),
    ("core_movies", at(0, "record_count", 3), {("counts_agree_with_links", "ERROR")}),
    ("core_movies", at(0, "imdb_id", "tt0000002"), {("imdb_id_names_one_film", "WARN")}),
    (
        "core_movie_conflicts",
        at(0, "movie_id", "mv0000000000000002"),
        {("conflicts_need_two_records", "ERROR")},
    ),
    (
        "eval_entity_resolution",
        lambda frame: frame.filter(pl.col("metric") != "recall"),
        {("headline_figures_are_there", "ERROR")},
    ),
    (
        "eval_entity_resolution",
        lambda frame: frame.with_columns(value=pl.when(metric="f1").then(0.6).otherwise("value")),
        {("f1_follows_from_its_parts", "ERROR"), ("linker_beats_the_yardstick", "WARN")},
    ),
]


@pytest.mark.parametrize(("name", "damage", "expected"), ACROSS)
def test_damage_across_tables_is_found(
    corpus: Corpus, name: str, damage: Callable[[pl.DataFrame], pl.DataFrame], expected: set[tuple[str, str]]
) -> None:
    corpus[name] = damage(corpus[name])
    assert across(corpus) == {(*each, "failed") for each in expected}


def test_a_year_that_piles_up_is_found_in_a_large_corpus(corpus: Corpus) -> None:
    many = pl.concat([corpus["core_movies"]] * 20)
    piled = many.with_columns(year=pl.when(pl.int_range(pl.len()) % 3 == 0).then(1_970).otherwise("year"))
    check = [each for each in cross_checks([]) if each.name == "no_year_piles_up"]
    for frame, status in ((many, "passed"), (piled, "failed"), (piled.head(900), "passed")):
        with over({"core_movies": frame}) as query:
            assert [each.status for each in audit_across(check, query, ["core_movies"])] == [status]


def test_offending_rows_are_counted_and_shown(corpus: Corpus) -> None:
    corpus["core_movie_links"] = corpus["core_movie_links"].filter(pl.col("record_id") >= 100)
    with over(corpus) as query:
        outcomes = audit_across(cross_checks([]), query, corpus)
    lost = next(each for each in outcomes if each.check == "every_film_record_is_linked")
    assert (lost.failing, lost.observed, len(lost.examples)) == (15, "15 found", EXAMPLES)
    assert lost.examples[0] == "record_id = 0, source = alpha, source_id = alpha-0, title = Film 0"


def test_a_cross_check_that_cannot_run_is_errored(corpus: Corpus) -> None:
    del corpus["raw_rejects"]
    assert across(corpus) == {("rejects_are_all_there", "ERROR", "errored")}
    bad = CrossCheck("bad", "core_movies", ("core_movies",), "ERROR", "?", "SELECT nothing FROM core_movies")
    with over(corpus) as query:
        outcome = audit_across([bad], query, corpus)[0]
    assert outcome.status == "errored"
    assert "nothing" in (outcome.error or "")


def test_great_expectations_is_imported_only_to_audit() -> None:
    code = (
        "import sys, warehouse.quality.suites.every, warehouse.quality.run, warehouse.quality.report; "
        "print([name for name in ('great_expectations', 'pandas') if name in sys.modules])"
    )
    root = Path(run.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
