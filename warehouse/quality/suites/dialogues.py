"""What is expected of the tables of warehouse/tables/dialogues.py, beyond their contracts.

A warehouse without conversations is legal: nothing here fails on empty tables. Shares are in cross_checks/dialogues.toml.
"""

from __future__ import annotations

from warehouse.quality.suite import (
    ROWS_NOT_COLLAPSING,
    Expectation,
    Parameter,
    Severity,
    Suite,
    contract_suite,
    flag,
)
from warehouse.tables.dialogues import (
    CORE_DIALOGUE_ITEMS,
    CORE_DIALOGUES,
    CORE_FEEDBACK,
    CORE_MENTION_HINTS,
    CORE_TURN_LABELS,
    CORE_TURNS,
    META_DIALOGUE_FILES,
)

_ROW_COUNT_MIN = Parameter("row_count_min", 0, "Fewest rows that are no reason to ask.", "count(*)")


def _holds(name: str, column: str, severity: Severity, meaning: str) -> Expectation:
    """The flag `column` is 1 in every row."""
    return Expectation(
        name, "expect_column_values_to_be_in_set", {"column": column, "value_set": [1]}, severity, meaning
    )


DIALOGUES = contract_suite(
    CORE_DIALOGUES,
    ROWS_NOT_COLLAPSING,
    _holds("id_is_made_of_its_parts", "id_fits", "ERROR", "The id is the dataset and the id inside it."),
    _holds("extra_is_json", "extra_is_valid_json", "ERROR", "The remaining fields can be read as JSON."),
    _holds("splits_stated_are_splits", "stated_fit", "ERROR", "What files state is train, valid or test, each once."),
    Expectation(
        "length_is_a_conversations",
        "expect_column_values_to_be_between",
        {"column": "turns", "max_value": 500},
        "WARN",
        "No dialogue has over 500 turns: that would be several in one.",
    ),
    Expectation(
        "someone_answers",
        "expect_column_values_to_be_between",
        {"column": "turns", "min_value": 2},
        "WARN",
        "A conversation has at least two turns.",
    ),
    derived=(
        flag("id_fits", '"dialogue_id" = "dataset" || \'-\' || "source_id"', "dialogue_id", "dataset", "source_id"),
        flag("extra_is_valid_json", 'coalesce(json_valid("extra"), TRUE)', "extra"),
        flag(
            "stated_fit",
            "len(list_filter(\"splits_stated\", lambda s: s NOT IN ('train', 'valid', 'test'))) = 0 "
            'AND len(list_distinct("splits_stated")) = len("splits_stated")',
            "splits_stated",
        ),
    ),
    parameters=(_ROW_COUNT_MIN,),
)

TURNS = contract_suite(
    CORE_TURNS,
    ROWS_NOT_COLLAPSING,
    _holds("text_can_be_stored", "text_is_clean", "ERROR", "No NUL stands in a text."),
    _holds("text_is_not_endless", "text_is_bounded", "ERROR", "No text has over 1,000,000 characters."),
    _holds(
        "plain_text_is_plain",
        "plain_is_clean",
        "ERROR",
        "The readable text has no control character, no line end, and no blank around it.",
    ),
    _holds("a_caption_an_image", "captions_fit", "ERROR", "There is a caption for each image, or none."),
    _holds("extra_is_json", "extra_is_valid_json", "ERROR", "The remaining fields can be read as JSON."),
    derived=(
        flag("text_is_clean", 'NOT contains("text", chr(0))', "text"),
        flag("text_is_bounded", 'length("text") <= 1000000', "text"),
        flag(
            "plain_is_clean",
            r"""NOT regexp_matches("plain_text", '[\x00-\x1F\x7F-\x9F]') AND trim("plain_text") = "plain_text" """,
            "plain_text",
        ),
        flag("captions_fit", 'len("captions") = 0 OR len("captions") = len("images")', "captions", "images"),
        flag("extra_is_valid_json", 'coalesce(json_valid("extra"), TRUE)', "extra"),
    ),
    parameters=(_ROW_COUNT_MIN,),
)

TURN_LABELS = contract_suite(
    CORE_TURN_LABELS,
    ROWS_NOT_COLLAPSING,
    _holds("scheme_is_the_datasets", "scheme_fits", "ERROR", "A dataset's labels are in its own scheme."),
    _holds("label_has_text", "label_is_text", "ERROR", "A label is more than blanks."),
    derived=(
        flag("scheme_fits", 'starts_with("scheme", "dataset" || \'_\')', "scheme", "dataset"),
        flag("label_is_text", "trim(\"label\") <> ''", "label"),
    ),
    parameters=(_ROW_COUNT_MIN,),
)

MENTION_HINTS = contract_suite(
    CORE_MENTION_HINTS,
    ROWS_NOT_COLLAPSING,
    _holds("span_is_whole", "span_fits", "ERROR", "A hint has a beginning and an end behind it, or neither."),
    _holds("placeholder_has_a_place", "id_has_span", "ERROR", "A placeholder stands somewhere in the text."),
    _holds("id_has_text", "id_is_text", "ERROR", "An item's id is more than blanks."),
    derived=(
        flag("span_fits", 'coalesce("end" > "start", "end" IS NULL AND "start" IS NULL)', "start", "end"),
        flag("id_has_span", '"kind" <> \'id\' OR "start" IS NOT NULL', "kind", "start"),
        flag("id_is_text", "trim(\"item_id\") <> ''", "item_id"),
    ),
    parameters=(_ROW_COUNT_MIN,),
)

FEEDBACK = contract_suite(
    CORE_FEEDBACK,
    ROWS_NOT_COLLAPSING,
    _holds(
        "redial_answers_are_read",
        "redial_fits",
        "ERROR",
        "ReDial's 0, 1 and 2 are no, yes and `did not say`.",
    ),
    _holds("answer_has_text", "answer_is_text", "ERROR", "An answer is more than blanks."),
    derived=(
        flag(
            "redial_fits",
            '"dataset" <> \'redial\' OR "value" IS NOT DISTINCT FROM '
            "CASE \"answer\" WHEN '0' THEN 0.0 WHEN '1' THEN 1.0 END",
            "dataset",
            "answer",
            "value",
        ),
        flag("answer_is_text", "trim(\"answer\") <> ''", "answer"),
    ),
    parameters=(_ROW_COUNT_MIN,),
)

DIALOGUE_ITEMS = contract_suite(
    CORE_DIALOGUE_ITEMS,
    ROWS_NOT_COLLAPSING,
    _holds("name_has_text", "name_is_text", "ERROR", "A name is more than blanks."),
    derived=(flag("name_is_text", "trim(\"item_name\") <> ''", "item_name"),),
    parameters=(_ROW_COUNT_MIN,),
)

DIALOGUE_FILES = contract_suite(
    META_DIALOGUE_FILES,
    _holds("books_balance", "is_balanced", "ERROR", "Every record of a file is either kept or rejected."),
    _holds("file_holds_something", "has_rows", "WARN", "A file that was read holds a record."),
    derived=(
        flag("is_balanced", '"rows_in" = "rows_kept" + "rows_rejected"', "rows_in", "rows_kept", "rows_rejected"),
        flag("has_rows", '"rows_in" > 0', "rows_in"),
    ),
)

SUITES: tuple[Suite, ...] = (
    DIALOGUES,
    TURNS,
    TURN_LABELS,
    MENTION_HINTS,
    FEEDBACK,
    DIALOGUE_ITEMS,
    DIALOGUE_FILES,
)
