"""Write, audit, publish: the checks that a new version must pass before readers see it, as dagster asset checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache

import dagster as dg
import duckdb

from assets.build.dialogues import DatasetOutcome
from assets.build.sources import SourceOutcome
from assets.contracts import FIXED
from assets.progress import Teller
from warehouse.catalog import identifier, literal
from warehouse.contracts import Table
from warehouse.quality.run import CrossCheck, Outcome, Query, audit_across, baseline, cross_checks
from warehouse.quality.run import audit as audit_table
from warehouse.quality.suites.every import SUITES
from warehouse.store import Commit, Warehouse

# The order in which a run makes the tables that checks compare: a check across tables belongs to the last one it needs.
MAKING_ORDER = (
    "meta_source_files", "raw_rejects", "meta_row_accounting", "core_title_records", "core_record_pairs", "core_movie_links",
    "core_movie_id_history", "raw_tmdb_api__details", "core_movies", "core_movie_conflicts", "eval_entity_resolution", "eval_uncertain_pairs",
    "core_dialogues", "core_turns", "core_turn_labels", "core_mention_hints", "core_feedback", "core_dialogue_items",
    "raw_dialogue_rejects", "meta_dialogue_files", "core_item_links", "core_mentions", "anno_validation", "anno_vto", "anno_turns",
    "anno_strategy", "core_sessions", "meta_session_files", "core_rec_turns", "ml_item_embeddings", "ml_item_index",
    "core_reviews", "meta_review_files", "core_review_items", "core_review_tasks", "sim_items", "ml_sim_embeddings", "sim_personas", "sim_tasks", "sim_episodes", "sim_turns",
    "sim_calls", "pref_ecpo_pairs", "pref_trajectories", "pref_tree_pairs", "pref_pairs",
    "ml_retriever_gru4rec", "ml_retriever_sasrec", "ml_retriever_bert4rec", "ml_retriever_fmlprec", "ml_retriever_lrurec", "rl_rewards",
    "ml_retriever_rar_dpo", "ml_retriever_rar_simpo", "ml_retriever_rar_grpo", "ml_training_log", "ml_rankings", "llm_rankings",
    "sim_judgements", "llm_calls", "eval_ranking", "eval_ranking_tests", "eval_hallucination", "report_retrieval", "eval_mention_linking", "eval_mention_disagreements", "eval_annotation",
    "eval_annotation_disagreements", "eval_preferences",
    "eval_simulation", "eval_simulator_fidelity", "report_simulation",
)  # fmt: skip


@cache
def _across() -> dict[str, list[CrossCheck]]:
    """Checks across tables, by the table whose making completes what they need."""
    found: dict[str, list[CrossCheck]] = {}
    for check in cross_checks(FIXED):
        found.setdefault(max(check.needs, key=MAKING_ORDER.index), []).append(check)
    return found


def check_specs(table: Table) -> list[dg.AssetCheckSpec]:
    """Specs of every check that belongs to `table`; those of severity ERROR block what depends on it."""
    suite = SUITES.get(table.name)
    expectations = suite.expectations if suite else ()
    return [
        dg.AssetCheckSpec(check.name, asset=table.name, blocking=check.severity == "ERROR", description=check.meaning)
        for check in (*expectations, *_across().get(table.name, ()))
    ]


def checks_of(tables: Iterable[Table]) -> list[dg.AssetCheckSpec]:
    """Specs of every check of several tables."""
    return [spec for table in tables for spec in check_specs(table)]


@contextmanager
def staged(warehouse: Warehouse, names: Iterable[str], versions: Mapping[str, int]) -> Iterator[Query]:
    """A query function over the tables `names`: the given versions and, for all others, the published ones."""
    with duckdb.connect() as connection:
        for name in names:
            version = versions.get(name, warehouse.published(name))
            if version is None:
                continue
            files = warehouse.files(name, version)
            if files:
                listed = ", ".join(literal(str(file)) for file in files)
                connection.execute(f"CREATE VIEW {identifier(name)} AS SELECT * FROM read_parquet([{listed}])")
            else:
                connection.register(name, warehouse.read(name, version=version))
        yield lambda sql: connection.sql(sql).pl()


def audit(warehouse: Warehouse, commits: Mapping[str, Commit], teller: Teller) -> list[tuple[str, Outcome]]:
    """Check the versions in `commits`: pairs of the table that a check belongs to and its outcome.

    A version that is published already has passed its checks and is not checked again.
    """
    fresh = {name for name, commit in commits.items() if commit.changed or warehouse.published(name) != commit.version}
    outcomes: list[tuple[str, Outcome]] = []
    known = [name for name in MAKING_ORDER if name in commits or warehouse.published(name) is not None]
    with staged(warehouse, known, {name: commit.version for name, commit in commits.items()}) as query:
        for name in commits:
            suite = SUITES.get(name)
            across = _across().get(name, [])
            if name in fresh and suite:
                teller(f"checking {name}")
                limits = {}
                if warehouse.published(name) is not None:
                    with staged(warehouse, [name], {}) as before:
                        limits = baseline(suite, before)
                outcomes += [(name, outcome) for outcome in audit_table(suite, query, limits)]
            elif suite:
                outcomes += [
                    (name, _held(name, each.name, each.severity, each.meaning, commits[name]))
                    for each in suite.expectations
                ]
            if fresh & {need for check in across for need in check.needs}:
                outcomes += [(name, outcome) for outcome in audit_across(across, query, known)]
            else:
                outcomes += [
                    (name, _held(name, each.name, each.severity, each.meaning, commits[name])) for each in across
                ]
    return outcomes


def _held(table: str, check: str, severity, meaning: str, commit: Commit) -> Outcome:
    return Outcome(
        table=table,
        check=check,
        severity=severity,
        status="passed",
        meaning=meaning,
        rule="",
        observed=f"unchanged: version {commit.version} was checked when it was made",
    )


def check_result(found: tuple[str, Outcome]) -> dg.AssetCheckResult:
    """An outcome as dagster shows it. A check that could not run is a warning that says so, not bad data."""
    table, outcome = found
    is_error = outcome.severity == "ERROR" and outcome.status != "errored"
    shown = {
        "status": outcome.status,
        "rule": outcome.rule,
        "observed": outcome.observed,
        "failing rows": outcome.failing,
        "examples": "\n".join(outcome.examples),
        "could not run because": outcome.error,
    }
    return dg.AssetCheckResult(
        asset_key=table,
        check_name=outcome.check,
        passed=outcome.status == "passed",
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        description=outcome.meaning,
        metadata={name: value for name, value in shown.items() if value not in (None, "")},
    )


def is_blocking(found: tuple[str, Outcome]) -> bool:
    """Whether the outcome keeps the new version from being published."""
    return found[1].is_blocking


def source_check(table: str, outcome: SourceOutcome) -> dg.AssetCheckResult:
    """Whether a source could be read: an error when it was refused, a warning when its files are gone."""
    return dg.AssetCheckResult(
        asset_key=table,
        check_name="readable",
        passed=outcome.problem is None,
        severity=dg.AssetCheckSeverity.ERROR if outcome.status == "refused" else dg.AssetCheckSeverity.WARN,
        description=outcome.problem,
        metadata={
            "status": outcome.status,
            "rows kept": outcome.rows_kept,
            "rows rejected": outcome.rows_rejected,
            "share that could not be read": outcome.bad_share,
            "messages": "\n".join(outcome.messages),
        },
    )


def files_check(table: Table, problems: Sequence[str]) -> dg.AssetCheckResult:
    """Whether the files of `table` could be read: a warning where some keep their last version."""
    return dg.AssetCheckResult(
        asset_key=table.name,
        check_name="readable",
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(problems) or None,
    )


def dialogues_check(outcomes: Mapping[str, DatasetOutcome]) -> dg.AssetCheckResult:
    """Whether the dialogue datasets could be read: an error when one was refused, a warning when files are gone."""
    problems = [outcome.problem for outcome in outcomes.values() if outcome.problem]
    is_refused = any(outcome.status == "refused" for outcome in outcomes.values())
    return dg.AssetCheckResult(
        asset_key="core_dialogues",
        check_name="readable",
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR if is_refused else dg.AssetCheckSeverity.WARN,
        description="; ".join(problems) or None,
        metadata={name: f"{each.status}: {each.dialogues:,} dialogues read" for name, each in outcomes.items()},
    )
