"""What is expected of the tables of warehouse/tables/interactions.py, beyond their contracts."""

from __future__ import annotations

from warehouse.quality.suite import Suite, all_true, contract_suite, flag, share
from warehouse.tables.interactions import CORE_REC_TURNS, CORE_SESSIONS, META_SESSION_FILES

SESSIONS = contract_suite(
    CORE_SESSIONS,
    share("films_in_corpus", "is_in_corpus", 0.9, "Nine tenths of the ratings are of films that the corpus has."),
    share(
        "sessions_are_for_training",
        "is_for_training",
        0.6,
        "About eight tenths of the ratings are in sessions of train.",
        maximum=0.95,
    ),
    share(
        "few_are_held_out",
        "is_held_out",
        None,
        "Where one is left out, few of the ratings are: users have more than a handful.",
        maximum=0.4,
    ),
    derived=(
        flag("is_in_corpus", '"movie_id" IS NOT NULL', "movie_id"),
        flag("is_for_training", "\"session_split\" = 'train'", "session_split"),
        flag("is_held_out", "\"leave_one_out_split\" <> 'train'", "leave_one_out_split"),
    ),
)

FILES = contract_suite(
    META_SESSION_FILES,
    all_true("books_balance", "is_balanced", "Rows in the file = rows kept + rows rejected."),
    all_true("corpus_within_items", "is_within", "Films in the corpus are among those of the file."),
    all_true(
        "rejects_are_shown", "are_rejects_shown", "The first twenty of the rejected rows are shown, or all of fewer."
    ),
    share("few_rejects", "is_clean", 0.5, "At least half of the files have no rejected row."),
    share("ids_are_known", "is_mostly_known", 1, "Nine tenths of each release's films are in the corpus."),
    derived=(
        flag("is_balanced", '"rows" = "rows_kept" + "rows_rejected"', "rows", "rows_kept", "rows_rejected"),
        flag("is_within", '"items_in_corpus" <= "items"', "items_in_corpus", "items"),
        flag("are_rejects_shown", 'len("rejects") = least("rows_rejected", 20)', "rejects", "rows_rejected"),
        flag("is_clean", '"rows_rejected" = 0', "rows_rejected"),
        flag("is_mostly_known", '"items_in_corpus" >= 0.9 * "items"', "items_in_corpus", "items"),
    ),
)

REC_TURNS = contract_suite(
    CORE_REC_TURNS,
    all_true("has_label", "is_labelled", "A turn names a film."),
    all_true("labels_differ", "are_labels_different", "No film is a label of a turn twice."),
    all_true("history_differs", "is_history_different", "No film stands in a history twice."),
    all_true("repeats_are_marked", "are_repeats_right", "A label is marked as a repeat where it is in the history."),
    all_true(
        "last_is_in_history",
        "is_last_right",
        "The film mentioned last is in the history; there is none where the history is empty.",
    ),
    share("few_repeats", "is_all_repeats", None, "Most turns name a film that is new.", maximum=0.5),
    share("most_have_a_history", "has_history", 0.3, "Recommendations mostly follow a film that was mentioned."),
    derived=(
        flag("is_labelled", 'len("labels") > 0', "labels"),
        flag("are_labels_different", 'len("labels") = len(list_distinct("labels"))', "labels"),
        flag("is_history_different", 'len("history") = len(list_distinct("history"))', "history"),
        flag(
            "are_repeats_right",
            '"are_repeats" = list_transform("labels", lambda film: list_contains("history", film))',
            "are_repeats",
            "labels",
            "history",
        ),
        flag(
            "is_last_right",
            'CASE WHEN len("history") = 0 THEN "last_mentioned" IS NULL '
            'ELSE coalesce(list_contains("history", "last_mentioned"), FALSE) END',
            "history",
            "last_mentioned",
        ),
        flag("is_all_repeats", 'len(list_filter("are_repeats", lambda r: NOT r)) = 0', "are_repeats"),
        flag("has_history", 'len("history") > 0', "history"),
    ),
)

SUITES: tuple[Suite, ...] = (SESSIONS, FILES, REC_TURNS)
