"""What is expected of the tables of warehouse/tables/preferences.py, beyond their contracts."""

from __future__ import annotations

from warehouse.quality.suite import Derived, Suite, all_true, contract_suite, flag, share
from warehouse.tables.preferences import DIMENSIONS, EVAL_PREFERENCES, PREF_PAIRS

_KNOWN_DIMENSIONS = ", ".join(f"'{name}'" for name in DIMENSIONS)

PAIRS = contract_suite(
    PREF_PAIRS,
    all_true(
        "answers_differ", "do_answers_differ", "The better answer is another one than the worse, blanks and case aside."
    ),
    all_true("answers_have_text", "have_answers_text", "Both answers say something."),
    all_true(
        "dimensions_known",
        "are_dimensions_known",
        "A pair names one or more of CHARM's four dimensions, and nothing else.",
    ),
    all_true("context_has_user", "has_context_user", "The seeker has spoken before the answer."),
    all_true("model_is_named", "is_model_named", "Who wrote the answers is stated where a model did."),
    all_true("duplicate_of_another", "is_duplicate_of_another", "No pair is its own near-duplicate."),
    share("context_ends_with_user", "ends_with_user", 1, "Contexts end with the seeker, as chat templates want it."),
    share("few_duplicates", "is_duplicate", None, "Few pairs nearly repeat another one.", maximum=0.3),
    share(
        "length_tells_little",
        "is_longer_better",
        0.2,
        "The better answer is the longer one in 20 to 80 % of the pairs that are not equally long: beyond that, length alone gives it away.",
        maximum=0.8,
    ),
    derived=(
        flag(
            "do_answers_differ",
            "regexp_replace(lower(chosen), '\\s+', ' ', 'g') <> regexp_replace(lower(rejected), '\\s+', ' ', 'g')",
            "chosen",
            "rejected",
        ),
        flag(
            "have_answers_text",
            "regexp_matches(\"chosen\", '\\S') AND regexp_matches(\"rejected\", '\\S')",
            "chosen",
            "rejected",
        ),
        flag(
            "are_dimensions_known",
            f'len("dimensions") > 0 AND len(list_filter("dimensions", lambda d: d NOT IN ({_KNOWN_DIMENSIONS}))) = 0',
            "dimensions",
        ),
        flag("has_context_user", "len(list_filter(\"context\", lambda m: m.role = 'user')) > 0", "context"),
        flag("is_model_named", '"construction" <> \'llm_quality\' OR "model" IS NOT NULL', "construction", "model"),
        flag("is_duplicate_of_another", '"duplicate_of" IS DISTINCT FROM "pair_id"', "duplicate_of", "pair_id"),
        flag("ends_with_user", "coalesce(\"context\"[-1].role = 'user', FALSE)", "context"),
        flag("is_duplicate", '"duplicate_of" IS NOT NULL', "duplicate_of"),
        # Null where both are equally long: that says nothing about length.
        Derived(
            "is_longer_better",
            'CASE WHEN length("chosen") <> length("rejected") THEN CAST(length("chosen") > length("rejected") AS INTEGER) END',
            ("chosen", "rejected"),
        ),
    ),
)

EVAL = contract_suite(
    EVAL_PREFERENCES,
    all_true("interval_is_ordered", "is_ordered", "An interval has two ends, the lower one first."),
    all_true("shares_are_shares", "is_share", "Shares and accuracies lie between 0 and 1."),
    derived=(
        flag(
            "is_ordered",
            '("ci_low" IS NULL) = ("ci_high" IS NULL) AND coalesce("ci_low" <= "ci_high", TRUE)',
            "ci_low",
            "ci_high",
        ),
        flag(
            "is_share",
            'NOT regexp_matches("metric", \'(share|accuracy)$\') OR "value" BETWEEN 0 AND 1',
            "metric",
            "value",
        ),
    ),
)

SUITES: tuple[Suite, ...] = (PAIRS, EVAL)
