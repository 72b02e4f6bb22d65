"""What is expected of the tables of warehouse/tables/annotation.py, beyond their contracts."""

from __future__ import annotations

from warehouse.quality.suite import (
    ROWS_NOT_COLLAPSING,
    Expectation,
    Parameter,
    Suite,
    contract_suite,
    flag,
    share,
)
from warehouse.tables.annotation import (
    ANNO_STRATEGY,
    ANNO_TURNS,
    ANNO_VALIDATION,
    ANNO_VTO,
    EVAL_ANNOTATION,
    EVAL_ANNOTATION_DISAGREEMENTS,
)

# None are needed: a warehouse without conversations is a sound one.
ROW_COUNT_MIN = Parameter("row_count_min", 0, "Fewest rows that are no reason to ask.", "count(*)")

VTO = contract_suite(
    ANNO_VTO,
    ROWS_NOT_COLLAPSING,
    Expectation(
        "model_is_named",
        "expect_column_values_to_be_between",
        {"column": "names_model_rightly", "min_value": 1, "max_value": 1},
        "ERROR",
        "A model's row names the model that answered; a rule's or a person's names none.",
    ),
    share("rules_are_sure", "is_surer_than_chance", 0.9, "Rules are mostly sure of what they give."),
    derived=(
        flag("names_model_rightly", '("source" = \'llm\') = ("model" IS NOT NULL)', "source", "model"),
        flag("is_surer_than_chance", '"source" <> \'heuristic\' OR "confidence" >= 0.5', "source", "confidence"),
    ),
    parameters=(ROW_COUNT_MIN,),
)

TURNS = contract_suite(
    ANNO_TURNS,
    ROWS_NOT_COLLAPSING,
    Expectation(
        "operations_few",
        "expect_column_values_to_be_between",
        {"column": "operations", "min_value": 0, "max_value": 12},
        "WARN",
        "A turn with more than a dozen operations is one where rules fire on anything.",
    ),
    Expectation(
        "open_turns_say_nothing",
        "expect_column_values_to_be_between",
        {"column": "open_and_silent", "min_value": 1, "max_value": 1},
        "ERROR",
        "A turn that nobody decided has no operation and no confidence.",
    ),
    Expectation(
        "rules_are_heard",
        "expect_column_values_to_be_between",
        {"column": "rules_heard", "min_value": 1, "max_value": 1},
        "ERROR",
        "Where rules decide, they or people are heard; where they abstain, they are not.",
    ),
    share(
        "decided_by_rules",
        "is_by_rules",
        {"$PARAMETER": "rules_share_min"},
        "Rules decide a fair share: a fall means that texts or mentions come in another shape.",
    ),
    derived=(
        flag(
            "open_and_silent",
            '"decided_by" IS NOT NULL OR (len("operations") = 0 AND "confidence" = 0)',
            "decided_by",
            "operations",
            "confidence",
        ),
        flag(
            "rules_heard",
            '("decided_by" IS NOT DISTINCT FROM \'heuristic\') <= ("rule_confidence" IS NOT NULL) '
            "AND (\"rule_confidence\" IS NOT NULL) <= coalesce(\"decided_by\" IN ('heuristic', 'human'), FALSE)",
            "decided_by",
            "rule_confidence",
        ),
        flag("is_by_rules", '"rule_confidence" IS NOT NULL', "rule_confidence"),
    ),
    parameters=(
        ROW_COUNT_MIN,
        Parameter(
            "rules_share_min",
            0.3,
            "Least share of turns that rules decide.",
            'avg(CAST("rule_confidence" IS NOT NULL AS INTEGER))',
            0.9,
        ),
    ),
)

STRATEGY = contract_suite(
    ANNO_STRATEGY,
    ROWS_NOT_COLLAPSING,
    Expectation(
        "dataset_states_label",
        "expect_column_values_to_be_between",
        {"column": "states_label_rightly", "min_value": 1, "max_value": 1},
        "ERROR",
        "A dataset's row keeps the label as it was stated; others have none.",
    ),
    derived=(
        flag(
            "states_label_rightly",
            '("source" = \'dataset\') = ("stated_label" IS NOT NULL)',
            "source",
            "stated_label",
        ),
    ),
    parameters=(ROW_COUNT_MIN,),
)

EVALUATION = contract_suite(
    EVAL_ANNOTATION,
    Expectation(
        "value_in_interval",
        "expect_column_values_to_be_between",
        {"column": "is_in_interval", "min_value": 1, "max_value": 1},
        "WARN",
        "A figure lies inside its own interval.",
    ),
    derived=(
        flag(
            "is_in_interval",
            'coalesce("value" BETWEEN "ci_low" - 1e-9 AND "ci_high" + 1e-9, TRUE)',
            "value",
            "ci_low",
            "ci_high",
        ),
    ),
)

DISAGREEMENTS = contract_suite(
    EVAL_ANNOTATION_DISAGREEMENTS,
    Expectation(
        "wrong_at_most_judged",
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "judged", "column_B": "wrong", "or_equal": True},
        "ERROR",
        "No more can be wrong than were judged.",
    ),
)

SUITES: tuple[Suite, ...] = (VTO, TURNS, STRATEGY, contract_suite(ANNO_VALIDATION), EVALUATION, DISAGREEMENTS)
