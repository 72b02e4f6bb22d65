"""What is expected of the tables of warehouse/tables/simulation.py and simulation_evaluation.py, beyond their contracts.

All of them may be empty: without reviews, or without a language model, nobody is simulated, and that is no fault.
"""

from __future__ import annotations

from collections.abc import Iterable

from warehouse.quality.suite import Derived, Suite, all_true, contract_suite, flag, share
from warehouse.tables import simulation as tables
from warehouse.tables.simulation_evaluation import EVAL_SIMULATION, EVAL_SIMULATOR_FIDELITY, REPORT_SIMULATION

# An agent searches so often a turn, and is shown so many items each time (ECPO, appendix B).
_MOST_SEARCHES, _TOP = 4, 5
_REJECTS_SHOWN = 20
_TOLERANCE = "1e-6"

_STAND_IN_MARKED = all_true("stand_in_is_marked", "is_stand_in_marked", "What the stand-in said is marked as its own.")
_IS_STAND_IN_MARKED = flag(
    "is_stand_in_marked",
    "\"is_stand_in\" OR NOT contains(coalesce(\"model\", ''), 'marquee-stand-in')",
    "is_stand_in",
    "model",
)
_TRAIN_ONLY = all_true("of_train_episodes", "is_of_train", "What is learned from is of the train split.")
_IS_OF_TRAIN = flag("is_of_train", "\"split\" = 'train'", "split")
_INTERVAL_IS_ORDERED = all_true(
    "interval_is_ordered", "is_ordered", "An interval has two ends, the lower one first, and a figure."
)
_IS_ORDERED = flag(
    "is_ordered",
    '("low" IS NULL) = ("high" IS NULL) AND ("value" IS NOT NULL OR "low" IS NULL) AND coalesce("low" <= "high" + 1e-9, TRUE)',
    "value",
    "low",
    "high",
)


def _in(column: str, values: Iterable[str]) -> str:
    return f'"{column}" IN ({", ".join(f"{chr(39)}{value}{chr(39)}" for value in values)})'


def _has_text(column: str) -> str:
    return f"regexp_matches(coalesce(\"{column}\", ''), '\\S')"


def _plain(column: str) -> str:
    """A text without what makes no other text of it."""
    return f"regexp_replace(lower(trim(\"{column}\")), '\\s+', ' ', 'g')"


def _context(column: str) -> Derived:
    """Whether a list of messages is the conversation before the turn: one message for each turn, the user's last."""
    said = f'len("{column}") = "turn" AND coalesce("{column}"[-1].role = \'user\', FALSE)'
    return flag("is_before_turn", said, column, "turn")


_CONTEXT_IS_BEFORE_TURN = all_true(
    "context_is_before_turn",
    "is_before_turn",
    "The context is all that was said before the turn, the user's words last.",
)

REVIEWS = contract_suite(
    tables.CORE_REVIEWS,
    all_true("user_of_source", "is_user_of_source", "A user's name begins with the source."),
    all_true("positive_follows_rating", "is_positive_rated", "What is rated 4 or more is positive, and what is rated less is not."),
    all_true("review_says_something", "says_something", "There are words, a rating or a verdict."),
    share("some_positive", "is_liked", 0.05, "Some items are liked; else there is nothing to look for."),
    derived=(
        flag("is_user_of_source", "starts_with(\"user_id\", \"source\" || '-')", "user_id", "source"),
        flag("is_positive_rated", 'coalesce("is_positive" = ("rating" >= 4), "rating" IS NULL)', "is_positive", "rating"),
        flag(
            "says_something",
            f'{_has_text("text")} OR {_has_text("headline")} OR "rating" IS NOT NULL OR "is_positive" IS NOT NULL',
            "text",
            "headline",
            "rating",
            "is_positive",
        ),
        flag("is_liked", '"is_positive"', "is_positive"),
    ),
)  # fmt: skip

FILES = contract_suite(
    tables.META_REVIEW_FILES,
    all_true("rows_are_accounted_for", "is_balanced", "Rows in = rows kept + rows rejected."),
    all_true("rejects_are_shown", "are_rejects_shown", "Rejected rows are shown, the first twenty of each file."),
    share("few_rejected", "rejected_share", None, "Few rows of a file are rejected, on average.", maximum=0.2),
    derived=(
        flag("is_balanced", '"rows" = "rows_kept" + "rows_rejected"', "rows", "rows_kept", "rows_rejected"),
        flag(
            "are_rejects_shown",
            f'len("rejects") = least("rows_rejected", {_REJECTS_SHOWN})',
            "rejects",
            "rows_rejected",
        ),
        Derived("rejected_share", '"rows_rejected" / nullif("rows", 0)', ("rows_rejected", "rows")),
    ),
)

REVIEW_ITEMS = contract_suite(
    tables.CORE_REVIEW_ITEMS,
    all_true("title_has_text", "has_title", "An item has a title that can be read."),
    derived=(flag("has_title", _has_text("title"), "title"),),
)

REVIEW_TASKS = contract_suite(
    tables.CORE_REVIEW_TASKS,
    all_true("user_of_source", "is_user_of_source", "A user's name begins with the source."),
    derived=(flag("is_user_of_source", 'starts_with("user_id", "source" || \'-\')', "user_id", "source"),),
)

ITEMS = contract_suite(
    tables.SIM_ITEMS,
    all_true("title_has_text", "has_title", "An item has a title that can be read."),
    all_true("text_begins_with_title", "has_title_first", "What agents are shown of an item begins with its title."),
    share("most_say_more", "says_more", 0.5, "Of most items more is known than the title."),
    derived=(
        flag("has_title", _has_text("title"), "title"),
        flag("has_title_first", "starts_with(lower(\"text\"), 'title: ')", "text"),
        flag("says_more", "contains(\"text\", chr(10))", "text"),
    ),
)  # fmt: skip

EMBEDDINGS = contract_suite(
    tables.ML_SIM_EMBEDDINGS,
    all_true("vector_has_length_one", "is_unit", "Vectors have length one, to a thousandth."),
    all_true("dimensions_agree", "is_of_equal_size", "All vectors of an encoder have equally many dimensions."),
    derived=(
        flag("is_unit", 'coalesce(abs(sqrt(list_dot_product("vector", "vector")) - 1) <= 0.001, FALSE)', "vector"),
        flag(
            "is_of_equal_size",
            'len("vector") > 0 AND len("vector") = max(len("vector")) OVER (PARTITION BY "encoder")',
            "encoder",
            "vector",
        ),
    ),
)

# A release may leave out what the user likes and decides by.
_STATED = " AND ".join(_has_text(name) for name in tables.TRAITS if name not in ("interests", "orientations"))

PERSONAS = contract_suite(
    tables.SIM_PERSONAS,
    all_true("traits_have_text", "have_traits_text", "Every trait says something; only a release may leave interests or orientations out."),
    all_true("support_is_of_traits", "is_support_of_traits", "Reviews support traits that there are, and are named."),
    all_true("origin_goes_with_prompt", "is_origin_told", "A persona names model, prompt and request where it was inferred, and nowhere else."),
    _STAND_IN_MARKED,
    share("traits_are_supported", "supported_share", 0.8, "Most traits of inferred personas rest on a review that is named."),
    share("no_foreign_words", "has_foreign_words", None, "No persona speaks of another domain in words that its user never used.", maximum=0),
    share("personas_differ", "is_repeated", None, "Few inferred personas are nearly the same as another one (ROUGE-L over .9).", maximum=0.05),
    derived=(
        flag(
            "have_traits_text",
            f"""{_STATED} AND ("origin" = 'released' OR ({_has_text("interests")} AND {_has_text("orientations")}))""",
            "origin",
            *tables.TRAITS,
        ),
        flag(
            "is_support_of_traits",
            f'len(list_filter("support", lambda s: s.review_id IS NULL OR NOT coalesce(s.{_in("trait", tables.TRAITS).replace(chr(34), "")}, FALSE))) = 0',
            "support",
        ),
        flag(
            "is_origin_told",
            " AND ".join(f"(\"{name}\" IS NOT NULL) = (\"origin\" = 'inferred')" for name in ("model", "prompt_version", "request_hash")),
            "origin",
            "model",
            "prompt_version",
            "request_hash",
        ),
        _IS_STAND_IN_MARKED,
        Derived(
            "supported_share",
            f"CASE WHEN \"origin\" = 'inferred' THEN len(list_distinct(list_transform(\"support\", lambda s: s.trait))) / {len(tables.TRAITS)} END",
            ("origin", "support"),
        ),
        flag("has_foreign_words", 'len("foreign_words") > 0', "foreign_words"),
        Derived(
            "is_repeated",
            "CASE WHEN \"origin\" = 'inferred' THEN CAST(\"max_rouge_l\" > 0.9 AS INTEGER) END",
            ("origin", "max_rouge_l"),
        ),
    ),
)  # fmt: skip

TASKS = contract_suite(
    tables.SIM_TASKS,
    all_true("released_tasks_are_whole", "is_release_told", "A released task states split and position, and no other task does."),
    derived=(
        flag(
            "is_release_told",
            '("released_split" IS NULL) = ("position" IS NULL)',
            "released_split",
            "position",
        ),
    ),
)  # fmt: skip

EPISODES = contract_suite(
    tables.SIM_EPISODES,
    all_true("success_has_its_turn", "is_success_placed", "There is a turn of success exactly where there is success, and it is one of the agent's turns."),
    all_true("turns_within_limit", "is_within_limit", "The agent had no more turns than it was given."),
    all_true("outcome_is_told", "is_outcome_told", "What leaked or failed says why, and nothing else does."),
    all_true("leaked_is_no_success", "is_leak_in_vain", "Nothing is a success that the user gave away, and only what was completed is accepted."),
    _STAND_IN_MARKED,
    share("few_failed", "is_failed", None, "Few episodes fail for want of a usable answer.", maximum=0.1),
    share("few_leaked", "is_leaked", None, "Few episodes are lost to a user who names the target.", maximum=0.2),
    derived=(
        flag(
            "is_success_placed",
            '"is_success" = ("success_turn" IS NOT NULL) AND coalesce("success_turn" <= "agent_turns", TRUE)',
            "is_success",
            "success_turn",
            "agent_turns",
        ),
        flag("is_within_limit", '"agent_turns" <= "turn_limit"', "agent_turns", "turn_limit"),
        flag("is_outcome_told", f'({_in("outcome", ("leaked", "failed"))}) = ("problem" IS NOT NULL)', "outcome", "problem"),
        flag(
            "is_leak_in_vain",
            "NOT (\"outcome\" = 'leaked' AND \"is_success\") AND (\"outcome\" = 'completed' OR NOT \"is_accepted\")",
            "outcome",
            "is_success",
            "is_accepted",
        ),
        _IS_STAND_IN_MARKED,
        flag("is_failed", "\"outcome\" = 'failed'", "outcome"),
        flag("is_leaked", "\"outcome\" = 'leaked'", "outcome"),
    ),
)  # fmt: skip

TURNS = contract_suite(
    tables.SIM_TURNS,
    all_true("even_turns_are_users", "is_in_turn", "Even turns are the user's, odd ones the agent's."),
    all_true("text_has_words", "has_words", "Who speaks says something."),
    all_true("turn_is_of_its_role", "is_of_role", "The agent's turns have an action and may be scored; the user's have a policy and are not."),
    all_true("satisfaction_is_the_sum", "is_sum", "Satisfaction is flexibility, coherence and guidance together; all four are there, or none."),
    all_true("scores_have_samples", "is_sampled", "A score is the mean of one sample or more, and says why; feelings have a value exactly where states were named."),
    all_true("searches_are_few", "is_frugal", f"The agent searches {_MOST_SEARCHES} times a turn at most; what it retrieved stands there once, {_TOP} items a search at most."),
    share("few_malformed", "malformed_share", None, "Few confirmations are malformed after retrying.", maximum=0.05),
    derived=(
        flag("is_in_turn", "(\"turn\" % 2 = 0) = (\"role\" = 'user')", "turn", "role"),
        flag("has_words", _has_text("text"), "text"),
        flag(
            "is_of_role",
            "(\"role\" = 'assistant') = (\"action\" IS NOT NULL) AND (\"role\" = 'user') = (\"policy\" IS NOT NULL)"
            " AND (\"role\" = 'assistant' OR (\"satisfaction\" IS NULL AND \"confirmations\" IS NULL AND len(\"queries\") = 0))",
            *("role", "action", "policy", "satisfaction", "confirmations", "queries"),
        ),
        flag(
            "is_sum",
            f'coalesce(abs("satisfaction" - "flexibility" - "coherence" - "guidance") <= {_TOLERANCE},'
            ' coalesce("satisfaction", "flexibility", "coherence", "guidance") IS NULL)',
            *("satisfaction", "flexibility", "coherence", "guidance"),
        ),
        flag(
            "is_sampled",
            '(coalesce("confirmations", 0) > 0) = ("satisfaction" IS NOT NULL) AND ("satisfaction" IS NULL OR "reason" IS NOT NULL)'
            ' AND ("feeling" IS NOT NULL) = (len("feelings") > 0)',
            *("confirmations", "satisfaction", "reason", "feeling", "feelings"),
        ),
        flag(
            "is_frugal",
            f'len("queries") <= {_MOST_SEARCHES} AND len("retrieved") <= {_TOP} * len("queries") AND len(list_distinct("retrieved")) = len("retrieved")',
            "queries",
            "retrieved",
        ),
        Derived("malformed_share", '"malformed" / nullif("malformed" + "confirmations", 0)', ("malformed", "confirmations")),
    ),
)  # fmt: skip

_PURPOSES = {
    "episode": ("policy", "utterance", "agent", "confirmation", "feeling"),
    "ecpo": ("rewrite", "confirm_rewrite"),
    "tree": ("branch",),
    "judge": ("judge",),
}

CALLS = contract_suite(
    tables.SIM_CALLS,
    all_true("purpose_goes_with_method", "is_of_method", "What was asked is what the method asks."),
    share("mostly_answered", "is_answered", 0.8, "Most questions bring a usable answer."),
    derived=(
        flag(
            "is_of_method",
            " OR ".join(f"(\"method\" = '{method}' AND {_in('purpose', own)})" for method, own in _PURPOSES.items()),
            "method",
            "purpose",
        ),
        flag("is_answered", _in("outcome", ("answered", "repaired")), "outcome"),
    ),
)

ECPO = contract_suite(
    tables.PREF_ECPO_PAIRS,
    all_true("kept_pairs_are_whole", "is_whole", "A kept pair has a rewrite that says something else than the reply, its distance, and a second score."),
    all_true("improvement_follows_scores", "is_improvement_right", "A rewrite is an improvement where it scores higher, and nowhere else."),
    all_true("gains_add_up", "is_gain_right", "What the rewrite gains in each dimension is what it gains together."),
    _CONTEXT_IS_BEFORE_TURN,
    _TRAIN_ONLY,
    _STAND_IN_MARKED,
    share("mostly_kept", "is_kept", 0.5, "Most rewrites can be used."),
    share("few_without_rewrite", "is_without_rewrite", None, "Few replies are left without a rewrite, or with an empty one.", maximum=0.1),
    share("few_score_lower", "is_worse", None, "Few rewrites score lower than what they are to better.", maximum=0.2),
    derived=(
        flag(
            "is_whole",
            f"\"status\" <> 'kept' OR ({_has_text('rewritten')} AND {_plain('rewritten')} <> {_plain('original')}"
            ' AND "score_after" IS NOT NULL AND "rewrite_distance" IS NOT NULL)',
            *("status", "rewritten", "original", "score_after", "rewrite_distance"),
        ),
        flag(
            "is_improvement_right",
            '"is_improved" IS NOT DISTINCT FROM ("score_after" > "score_before")',
            *("is_improved", "score_after", "score_before"),
        ),
        flag(
            "is_gain_right",
            f'coalesce(abs("flexibility_gain" + "coherence_gain" + "guidance_gain" - ("score_after" - "score_before")) <= {_TOLERANCE}, TRUE)',
            *("flexibility_gain", "coherence_gain", "guidance_gain", "score_after", "score_before"),
        ),
        _context("context"),
        _IS_OF_TRAIN,
        _IS_STAND_IN_MARKED,
        flag("is_kept", "\"status\" = 'kept'", "status"),
        flag("is_without_rewrite", f"{_in('status', ('empty', 'no_answer', 'unparseable'))}", "status"),
        flag("is_worse", '"score_after" < "score_before"', "score_after", "score_before"),
    ),
)  # fmt: skip

TRAJECTORIES = contract_suite(
    tables.PREF_TRAJECTORIES,
    _TRAIN_ONLY,
    _CONTEXT_IS_BEFORE_TURN,
    all_true("completion_holds_response", "is_response_held", "What is learned holds the reply, which says something."),
    _STAND_IN_MARKED,
    derived=(
        _IS_OF_TRAIN,
        _context("prompt"),
        flag("is_response_held", f'{_has_text("response")} AND contains("completion", "response")', "response", "completion"),
        _IS_STAND_IN_MARKED,
    ),
)  # fmt: skip

_EXTREME = 'list_contains(list_transform(list_filter(list_zip("replies", "rewards"), lambda e: e[2] = {best}("rewards")), lambda e: e[1]), {reply})'

TREES = contract_suite(
    tables.PREF_TREE_PAIRS,
    _TRAIN_ONLY,
    _CONTEXT_IS_BEFORE_TURN,
    all_true("a_reward_for_each_reply", "is_rewarded", "Every sampled reply was played to the end and has its place among the rewards."),
    all_true("pair_is_best_and_worst", "is_extreme", "The pair is a reply with the highest reward and one with the lowest, and these differ."),
    _STAND_IN_MARKED,
    share("mostly_pairs", "is_pair", 0.2, "Some sampled turns give a pair; else sampling is paid for in vain."),
    derived=(
        _IS_OF_TRAIN,
        _context("context"),
        flag("is_rewarded", 'len("rewards") = "trajectories" AND len("replies") = "trajectories"', "rewards", "replies", "trajectories"),
        flag(
            "is_extreme",
            '("chosen" IS NULL) = ("rejected" IS NULL) AND ("chosen" IS NULL OR coalesce("chosen" <> "rejected" AND list_max("rewards") > list_min("rewards")'
            f' AND {_EXTREME.format(best="list_max", reply="chosen")} AND {_EXTREME.format(best="list_min", reply="rejected")}, FALSE))',
            *("chosen", "rejected", "rewards", "replies"),
        ),
        _IS_STAND_IN_MARKED,
        flag("is_pair", '"chosen" IS NOT NULL', "chosen"),
    ),
)  # fmt: skip

JUDGEMENTS = contract_suite(
    tables.SIM_JUDGEMENTS,
    all_true("wins_name_both", "is_win_told", "Wins, and nothing else, name a dimension, another episode and which was shown first."),
    all_true("value_is_of_its_measure", "is_value_right", "Wins are 1, 0 or -1; intentions and credibility 1 to 5."),
    all_true("missing_values_say_why", "is_problem_told", "Where no usable answer came the row says why."),
    _STAND_IN_MARKED,
    share("few_without_value", "is_without_value", None, "Few questions to the judge bring no usable answer.", maximum=0.1),
    derived=(
        flag(
            "is_win_told",
            " AND ".join(f"(\"{name}\" IS NOT NULL) = (\"measure\" = 'win')" for name in ("dimension", "against_id", "is_first"))
            + ' AND "against_id" IS DISTINCT FROM "episode_id"',
            *("measure", "dimension", "against_id", "is_first", "episode_id"),
        ),
        flag(
            "is_value_right",
            "coalesce(CASE WHEN \"measure\" = 'win' THEN \"value\" IN (-1, 0, 1) ELSE \"value\" BETWEEN 1 AND 5 END, TRUE)",
            "measure",
            "value",
        ),
        flag("is_problem_told", '("value" IS NULL) = ("problem" IS NOT NULL)', "value", "problem"),
        _IS_STAND_IN_MARKED,
        flag("is_without_value", '"request_hash" IS NOT NULL AND "value" IS NULL', "request_hash", "value"),
    ),
)  # fmt: skip

# Measures that are shares of episodes or of verdicts.
_SHARES = "^(success|retrieved|conv_sr|rec_sr|win_rate(_[a-z]+)?)$"

FIGURES = contract_suite(
    EVAL_SIMULATION,
    _INTERVAL_IS_ORDERED,
    all_true("shares_are_shares", "is_share", "Shares lie between 0 and 1."),
    all_true("value_has_its_units", "is_of_units", "A figure rests on one unit or more, in no more clusters than units."),
    all_true("left_out_says_why", "is_invalid_told", "Where units are left out, the row says why or how they count."),
    _STAND_IN_MARKED,
    derived=(
        _IS_ORDERED,
        flag("is_share", f"NOT regexp_matches(\"measure\", '{_SHARES}') OR coalesce(\"value\" BETWEEN 0 AND 1, TRUE)", "measure", "value"),
        flag("is_of_units", '("value" IS NULL OR "n" > 0) AND "clusters" <= "n"', "value", "n", "clusters"),
        flag("is_invalid_told", '"invalid" = 0 OR "invalid_reason" IS NOT NULL', "invalid", "invalid_reason"),
        _IS_STAND_IN_MARKED,
    ),
)  # fmt: skip

FIDELITY = contract_suite(
    EVAL_SIMULATOR_FIDELITY,
    _INTERVAL_IS_ORDERED,
    all_true("rates_are_shares", "is_rate", "Rates lie between 0 and 1."),
    all_true("people_are_people", "is_human_told", "People have no distance to people, and no stand-in spoke for them."),
    derived=(
        _IS_ORDERED,
        flag("is_rate", "NOT regexp_matches(\"measure\", '_rate$') OR coalesce(\"value\" BETWEEN 0 AND 1, TRUE)", "measure", "value"),
        flag("is_human_told", "\"kind\" <> 'human' OR (\"distance\" IS NULL AND NOT \"is_stand_in\")", "kind", "distance", "is_stand_in"),
    ),
)  # fmt: skip

SUITES: tuple[Suite, ...] = (
    REVIEWS, FILES, REVIEW_ITEMS, REVIEW_TASKS, ITEMS, EMBEDDINGS, PERSONAS, TASKS, EPISODES, TURNS, CALLS, ECPO, TRAJECTORIES, TREES,
    JUDGEMENTS, FIGURES, FIDELITY, contract_suite(REPORT_SIMULATION),
)  # fmt: skip
