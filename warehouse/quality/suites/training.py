"""What is expected of training runs and their log (warehouse/tables/retrieval.py), beyond their contracts."""

from __future__ import annotations

from warehouse.contracts import Table
from warehouse.quality.suite import Derived, Expectation, Suite, contract_suite, flag, share
from warehouse.tables.retrieval import ML_TRAINING_LOG, RETRIEVERS, RL_RETRIEVERS

# As models/rl_health.py and models/rl.py say it.
_LEARNED_NOTHING = (
    "len(list_filter(\"warnings\", lambda w: regexp_matches(w, 'learned nothing|starting weights were kept'))) > 0"
)


def _runs(table: Table, by_hand: Expectation, derived: Derived) -> Suite:
    return contract_suite(
        table,
        share("ended_without_nan", "has_nan", None, "No run was stopped by a loss that is no number.", maximum=0),
        share("nothing_to_warn_of", "has_warnings", None, "Runs went without warnings.", maximum=0.5),
        by_hand,
        derived=(
            flag("has_nan", "\"ended_by\" = 'nan'", "ended_by"),
            flag("has_warnings", 'len("warnings") > 0', "warnings"),
            derived,
        ),
    )


_LEARNED = share(
    "learned_something",
    "is_in_vain",
    None,
    "No run ended where it began: one that learns nothing is no result.",
    maximum=0,
)
_FINDS = share("finds_something", "is_untuned", None, "Every tuned retriever finds a label of validation.", maximum=0)

_IS_UNTUNED = flag("is_untuned", '"stage" = \'dialogues\' AND "validation_value" <= 0', "stage", "validation_value")
_IS_IN_VAIN = flag("is_in_vain", _LEARNED_NOTHING, "warnings")

SUITES: tuple[Suite, ...] = (
    *(_runs(table, _FINDS, _IS_UNTUNED) for table in RETRIEVERS.values()),
    *(_runs(table, _LEARNED, _IS_IN_VAIN) for table in RL_RETRIEVERS.values()),
    contract_suite(ML_TRAINING_LOG),
)
