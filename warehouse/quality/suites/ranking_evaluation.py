"""What is expected of rankings and of figures of ranking, beyond their contracts."""

from __future__ import annotations

from warehouse.quality.suite import (
    ROWS_NOT_COLLAPSING,
    Derived,
    Expectation,
    Parameter,
    Suite,
    contract_suite,
    flag,
)
from warehouse.tables.ranking_evaluation import BASELINES, EVAL_RANKING, EVAL_RANKING_TESTS, REPORT_RETRIEVAL
from warehouse.tables.retrieval import ML_RANKINGS

# None are needed: a warehouse where nothing was trained yet is a sound one.
ROW_COUNT_MIN = Parameter("row_count_min", 0, "Fewest rows that are no reason to ask.", "count(*)")

_LABEL_LISTS = (
    *("are_repeats", "train_counts", "are_tail"),
    *("ranks_all", "ranks_masked", "ranks_uniform", "ranks_popularity"),
)
_TEXTS = ("dataset", "dataset_hash", "setting", "split", "protocol", "matcher", "interval", "protocol_version")


def _always(name: str, column: str, meaning: str) -> Expectation:
    return Expectation(
        name,
        "expect_column_values_to_be_between",
        {"column": column, "min_value": 1, "max_value": 1},
        "ERROR",
        meaning,
    )


def _is_baseline() -> str:
    return '"system" IN ({})'.format(", ".join(f"'{name}'" for name in BASELINES))


# Trained systems say which weights; means over seeds are of several, and the rest is ruled out by the number of seeds.
_PASSPORT = Derived(
    "has_passport",
    "CAST(coalesce("
    + " AND ".join(f"trim(\"{name}\") <> ''" for name in _TEXTS)
    + ' AND len("dataset_files") > 0 AND len("seeds") > 0'
    + ' AND ("is_baseline" OR "model_id" IS NOT NULL OR len("seeds") > 1 OR starts_with("system", \'recorded:\'))'
    + ", FALSE) AS INTEGER)",
    (*_TEXTS, "dataset_files", "seeds", "is_baseline", "model_id", "system"),
)

RANKINGS = contract_suite(
    ML_RANKINGS,
    ROWS_NOT_COLLAPSING,
    _always("a_place_for_each_label", "lists_fit", "Every list about labels is as long as the labels."),
    _always("places_are_in_the_pool", "places_fit", "A place lies between 1 and the number of films in its pool."),
    _always("masking_moves_up", "masking_fits", "Without the history a label's place is the same or better."),
    _always(
        "repeats_are_in_history", "repeats_fit", "Labels are marked as repeats exactly where the history has them."
    ),
    derived=(
        flag(
            "lists_fit",
            " AND ".join(f'len("{name}") = len("labels")' for name in _LABEL_LISTS),
            "labels",
            *_LABEL_LISTS,
        ),
        flag(
            "places_fit",
            'coalesce(list_min("ranks_all") >= 1 AND list_max("ranks_all") <= "pool_items", TRUE)'
            ' AND coalesce(list_min("ranks_masked") >= 1, TRUE)'
            ' AND coalesce(list_min("ranks_uniform") >= 1 AND list_max("ranks_uniform") <= 100, TRUE)'
            ' AND coalesce(list_min("ranks_popularity") >= 1 AND list_max("ranks_popularity") <= 100, TRUE)',
            *("ranks_all", "ranks_masked", "ranks_uniform", "ranks_popularity", "pool_items"),
        ),
        flag(
            "masking_fits",
            'len(list_filter(list_zip("ranks_all", "ranks_masked"), lambda each: each[2] > each[1])) = 0',
            "ranks_all",
            "ranks_masked",
        ),
        flag(
            "repeats_fit",
            'list_transform("labels", lambda each: list_contains("history", each)) = "are_repeats"',
            *("labels", "history", "are_repeats"),
        ),
    ),
    parameters=(ROW_COUNT_MIN,),
)

FIGURES = contract_suite(
    EVAL_RANKING,
    ROWS_NOT_COLLAPSING,
    _always(
        "number_has_its_passport",
        "has_passport",
        "Each number says on which files, split and protocol, with which matcher and which weights it was measured.",
    ),
    _always("value_in_interval", "is_in_interval", "A number lies inside its own interval."),
    _always("clusters_hold_units", "clusters_fit", "There are no more clusters than labels or turns."),
    _always("baselines_are_marked", "baseline_fits", "The trivial baselines, and no others, are marked as such."),
    _always(
        "language_model_is_named", "llm_fits", "The stand-in is named as a language model; others rank without one."
    ),
    derived=(
        _PASSPORT,
        flag("is_in_interval", '"value" BETWEEN "low" - 1e-9 AND "high" + 1e-9', "value", "low", "high"),
        flag("clusters_fit", '"clusters" <= "n"', "clusters", "n"),
        flag("baseline_fits", f'"is_baseline" = ({_is_baseline()})', "is_baseline", "system"),
        flag("llm_fits", '"llm_model" IS NOT NULL OR NOT "is_stand_in"', "llm_model", "is_stand_in"),
    ),
    parameters=(ROW_COUNT_MIN,),
)

TESTS = contract_suite(
    EVAL_RANKING_TESTS,
    ROWS_NOT_COLLAPSING,
    _always("difference_in_interval", "is_in_interval", "A difference lies inside its own interval."),
    _always(
        "correction_never_helps",
        "is_corrected",
        "Corrected p-values: Bonferroni's at least Holm's, Holm's at least the plain one.",
    ),
    _always("two_systems", "are_two", "A system is not compared with itself."),
    derived=(
        flag("is_in_interval", '"difference" BETWEEN "low" - 1e-9 AND "high" + 1e-9', "difference", "low", "high"),
        flag(
            "is_corrected",
            '"p_value" <= "p_holm" + 1e-12 AND "p_holm" <= "p_bonferroni" + 1e-12',
            *("p_value", "p_holm", "p_bonferroni"),
        ),
        flag("are_two", '"system" <> "other"', "system", "other"),
    ),
    parameters=(ROW_COUNT_MIN,),
)

SUITES: tuple[Suite, ...] = (RANKINGS, FIGURES, TESTS, contract_suite(REPORT_RETRIEVAL))
