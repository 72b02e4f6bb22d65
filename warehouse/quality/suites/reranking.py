"""What is expected of the tables of warehouse/tables/reranking.py, beyond their contracts."""

from __future__ import annotations

from warehouse.quality.suite import Suite, all_true, contract_suite, flag, share
from warehouse.tables.reranking import EVAL_HALLUCINATION, LINE_KINDS, LLM_RANKINGS, RL_REWARDS

_KINDS = ", ".join(f"'{kind}'" for kind in LINE_KINDS)
_OF_CANDIDATES = "('candidate', 'repeated')"

RANKINGS = contract_suite(
    LLM_RANKINGS,
    all_true("ranked_are_candidates", "are_ranked_candidates", "The model ranks candidates, and each of them once."),
    all_true("candidates_differ", "are_candidates_different", "No film is shown twice in a list."),
    all_true(
        "lines_have_known_kinds", "have_lines_kinds", f"A line is one of: {', '.join(LINE_KINDS)}; and says why it is."
    ),
    all_true(
        "ranked_follow_lines", "is_ranked_as_lines", "The films ranked are those of the candidate lines, in order."
    ),
    all_true("outcome_is_told", "is_outcome_told", "Where no candidate is ranked the row says why."),
    all_true("stand_in_is_marked", "is_stand_in_marked", "What the stand-in ranked is marked as its own."),
    share("few_without_list", "has_no_list", None, "Few answers name no candidate at all.", maximum=0.2),
    share("most_candidates_ranked", "is_mostly_ranked", 0.5, "Most answers rank half of the candidates or more."),
    derived=(
        flag(
            "are_ranked_candidates",
            'len(list_intersect("ranked", "candidates")) = len("ranked") AND len(list_distinct("ranked")) = len("ranked")',
            "ranked",
            "candidates",
        ),
        flag("are_candidates_different", 'len(list_distinct("candidates")) = len("candidates")', "candidates"),
        flag(
            "have_lines_kinds",
            f"len(list_filter(\"lines\", lambda l: coalesce(l.kind, '') NOT IN ({_KINDS}) OR coalesce(l.reason, '') = '')) = 0"
            f' AND len(list_filter("lines", lambda l: l.kind IN {_OF_CANDIDATES} AND l.movie_id IS NULL)) = 0',
            "lines",
        ),
        flag(
            "is_ranked_as_lines",
            'list_transform(list_filter("lines", lambda l: l.kind = \'candidate\'), lambda l: l.movie_id) IS NOT DISTINCT FROM "ranked"',
            "lines",
            "ranked",
        ),
        flag(
            "is_outcome_told",
            '("outcome" = \'answered\') = (len("ranked") > 0) AND ("outcome" = \'answered\' OR "problem" IS NOT NULL)',
            "outcome",
            "ranked",
            "problem",
        ),
        flag(
            "is_stand_in_marked", '"is_stand_in" = starts_with("model", \'marquee-stand-in\')', "is_stand_in", "model"
        ),
        flag("has_no_list", "\"outcome\" <> 'answered'", "outcome"),
        flag("is_mostly_ranked", '2 * len("ranked") >= len("candidates")', "ranked", "candidates"),
    ),
)

REWARDS = contract_suite(
    RL_REWARDS,
    all_true(
        "no_reward_without_label", "is_zero_without_label", "A set without a label has reward 0, and nobody was asked."
    ),
    all_true(
        "reward_goes_with_rank",
        "is_reward_ranked",
        "There is a reward where a label was ranked within the set's size, and nowhere else.",
    ),
    all_true("candidates_differ", "are_candidates_different", "No film is drawn twice for a set."),
    all_true("stand_in_is_marked", "is_stand_in_marked", "What the stand-in ranked is marked as its own."),
    share(
        "few_without_list",
        "has_no_list",
        None,
        "Few of the answers that were asked for name no candidate.",
        maximum=0.2,
    ),
    share("some_hold_labels", "holds_label", 0.02, "Some sets hold a label; else there is nothing to learn from."),
    derived=(
        flag(
            "is_zero_without_label",
            '("outcome" = \'no_label\') = (NOT "has_label")'
            ' AND ("has_label" OR ("reward" = 0 AND "label_rank" IS NULL AND "request_hash" IS NULL))',
            "outcome",
            "has_label",
            "reward",
            "label_rank",
            "request_hash",
        ),
        flag(
            "is_reward_ranked",
            '("reward" > 0) = (coalesce("label_rank", 2147483647) <= len("candidates"))',
            "reward",
            "label_rank",
            "candidates",
        ),
        flag(
            "are_candidates_different",
            'len("candidates") > 0 AND len(list_distinct("candidates")) = len("candidates")',
            "candidates",
        ),
        flag(
            "is_stand_in_marked", '"is_stand_in" = starts_with("model", \'marquee-stand-in\')', "is_stand_in", "model"
        ),
        flag("has_no_list", "\"outcome\" IN ('empty', 'no_answer')", "outcome"),
        flag("holds_label", '"has_label"', "has_label"),
    ),
)

HALLUCINATION = contract_suite(
    EVAL_HALLUCINATION,
    all_true("interval_is_ordered", "is_ordered", "An interval has two ends, about its share."),
    all_true("lines_within_all", "is_part", "Lines of a kind are some of all lines, and their share is just that."),
    all_true("stand_in_is_marked", "is_stand_in_marked", "Figures of the stand-in are marked as its own."),
    derived=(
        flag(
            "is_ordered",
            '("share" IS NULL) = ("low" IS NULL) AND ("share" IS NULL) = ("high" IS NULL)'
            ' AND coalesce("low" <= "share" + 1e-9 AND "share" <= "high" + 1e-9, TRUE)',
            "share",
            "low",
            "high",
        ),
        flag(
            "is_part", '"lines" <= "n" AND coalesce(abs("share" * "n" - "lines") < 1e-6, TRUE)', "lines", "n", "share"
        ),
        flag(
            "is_stand_in_marked", '"is_stand_in" = starts_with("model", \'marquee-stand-in\')', "is_stand_in", "model"
        ),
    ),
)

SUITES: tuple[Suite, ...] = (RANKINGS, REWARDS, HALLUCINATION)
