"""Checks of simulated users: sound tables pass, empty ones too, and each kind of damage fails the check that is meant for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from tests import simulation_frames
from warehouse.quality.run import audit, audit_across, cross_checks, over
from warehouse.quality.suites import simulation as suites
from warehouse.tables import simulation, simulation_evaluation
from warehouse.tables.interactions import META_SESSION_FILES

Tables = dict[str, pl.DataFrame]
Damage = Callable[[pl.DataFrame], pl.DataFrame]

SUITES = {suite.table.name: suite for suite in suites.SUITES}
ACROSS = [each for each in cross_checks([]) if each.table in SUITES]
KEPT = pl.col("status") == "kept"
WIN = pl.col("measure") == "win"
AGENTS_TURN = pl.col("role") == "assistant"
TITLE = "The Long Way Home Again"


@pytest.fixture(scope="module")
def tables() -> Tables:
    """Sound tables in which seekers of RSO have test tasks alone, as in a run, and nobody stands in both splits of the release."""
    made = simulation_frames.frames()
    is_spare = (pl.col("simulator") == "seeker") & (pl.col("split") == "train")
    spare = made["sim_episodes"].filter(is_spare)["episode_id"].to_list()
    for name, owner in (("sim_episodes", "episode_id"), ("sim_turns", "episode_id"), ("sim_calls", "owner_id")):
        made[name] = made[name].filter(~pl.col(owner).is_in(spare))
    made["sim_tasks"] = made["sim_tasks"].with_columns(is_user_in_both=pl.lit(False))
    return made | {"meta_session_files": META_SESSION_FILES.empty()}


def status_of(check: str, name: str, frame: pl.DataFrame) -> str:
    """What comes of one expectation of a table, alone: all of them together take their time."""
    suite = SUITES[name]
    only = tuple(each for each in suite.expectations if each.name == check)
    (outcome,) = audit(replace(suite, expectations=only), frame)
    return outcome.status


def torn(tables: Tables) -> set[str]:
    """The checks across tables that fail; none may be unable to run."""
    with over(tables) as ask:
        found = audit_across(ACROSS, ask, tables)
    assert {each.status for each in found} <= {"passed", "failed"}
    return {each.check for each in found if each.status == "failed"}


def put(where: pl.Expr | None = None, **values: Any) -> Damage:
    """Damage: `values`, expressions or literals, in the first row that fits `where`."""

    def damage(frame: pl.DataFrame) -> pl.DataFrame:
        fits = frame.select(pl.lit(True) if where is None else where).to_series().fill_null(False)
        row = (fits if len(fits) == frame.height else fits.extend_constant(True, frame.height - 1)).arg_max()
        assert row is not None and frame.height
        is_it = pl.int_range(pl.len()) == row
        changes = [
            pl.when(is_it)
            .then(value if isinstance(value, pl.Expr) else pl.lit(value, dtype=frame.schema[name]))
            .otherwise(pl.col(name))
            .cast(frame.schema[name])
            .alias(name)
            for name, value in values.items()
        ]
        return frame.with_columns(changes)

    return damage


def everywhere(**values: Any) -> Damage:
    """Damage: `values` in all rows."""
    return lambda frame: frame.with_columns(
        pl.lit(value, dtype=frame.schema[name]).alias(name) for name, value in values.items()
    )


def without(where: pl.Expr) -> Damage:
    """Damage: the first row that fits `where` is lost."""
    return lambda frame: frame.filter(pl.int_range(pl.len()) != frame.select(where.fill_null(False).arg_max()).item())


def empty_list(name: str) -> pl.Expr:
    return pl.col(name).list.head(0)


@pytest.mark.parametrize("name", SUITES)
def test_a_sound_table_passes(tables: Tables, name: str) -> None:
    outcomes = audit(SUITES[name], tables[name])
    assert [(each.check, each.observed, each.error) for each in outcomes if each.status != "passed"] == []


@pytest.mark.parametrize("name", SUITES)
def test_an_empty_table_is_no_fault(tables: Tables, name: str) -> None:
    assert [each.check for each in audit(SUITES[name], tables[name].clear()) if each.status == "failed"] == []


def test_sound_tables_hold_together_and_so_do_empty_ones(tables: Tables) -> None:
    assert torn(tables) == set()
    assert torn({name: frame.clear() for name, frame in tables.items()}) == set()


def test_every_stored_table_has_a_suite() -> None:
    stored = {each.name for area in (simulation, simulation_evaluation) for each in area.TABLES if each.sql is None}
    assert stored == set(SUITES)


def test_no_check_has_the_name_of_another_of_its_table() -> None:
    for check in ACROSS:
        assert check.name not in {each.name for each in SUITES[check.table].expectations}, check.name


DAMAGES: list[tuple[str, Damage, str]] = [
    ("core_reviews", put(user_id="yelp-x"), "user_of_source"),
    ("core_reviews", put(is_positive=False), "positive_follows_rating"),
    ("core_reviews", put(rating=2.0), "positive_follows_rating"),
    ("core_reviews", put(headline=None, text=" ", rating=None, is_positive=None), "review_says_something"),
    ("core_reviews", everywhere(is_positive=False, rating=1.0), "some_positive"),
    ("meta_review_files", put(rows_kept=pl.col("rows_kept") - 1), "rows_are_accounted_for"),
    ("meta_review_files", put(rejects=empty_list("rejects")), "rejects_are_shown"),
    ("meta_review_files", put(rows_kept=1, rows_rejected=pl.col("rows") - 1), "few_rejected"),
    ("core_review_items", put(title=" "), "title_has_text"),
    ("core_review_tasks", put(user_id="yelp-x"), "user_of_source"),
    ("sim_items", put(title="\t"), "title_has_text"),
    ("sim_items", put(text="Year: 1990\nTitle: The Frozen River"), "text_begins_with_title"),
    ("sim_items", everywhere(text="Title: The Frozen River"), "most_say_more"),
    ("ml_sim_embeddings", put(vector=pl.col("vector").list.eval(pl.element() * 2)), "vector_has_length_one"),
    ("ml_sim_embeddings", put(vector=pl.lit([1.0])), "dimensions_agree"),
    ("sim_personas", put(tone=" "), "traits_have_text"),
    ("sim_personas", put(pl.col("origin") == "inferred", interests=""), "traits_have_text"),
    ("sim_personas", put(support=[{"trait": "age", "review_id": "0" * 16}]), "support_is_of_traits"),
    ("sim_personas", put(support=[{"trait": "tone", "review_id": None}]), "support_is_of_traits"),
    ("sim_personas", put(pl.col("origin") == "inferred", request_hash=None), "origin_goes_with_prompt"),
    ("sim_personas", put(pl.col("origin") == "random", model="m"), "origin_goes_with_prompt"),
    ("sim_personas", put(model="marquee-stand-in-1", is_stand_in=False), "stand_in_is_marked"),
    ("sim_personas", everywhere(support=[{"trait": "tone", "review_id": "0" * 16}]), "traits_are_supported"),
    ("sim_personas", put(foreign_words=["novel"]), "no_foreign_words"),
    ("sim_personas", everywhere(max_rouge_l=0.95), "personas_differ"),
    ("sim_tasks", put(pl.col("released_split").is_not_null(), position=None), "released_tasks_are_whole"),
    ("sim_episodes", put(pl.col("is_success"), is_success=False), "success_has_its_turn"),
    ("sim_episodes", put(pl.col("is_success"), success_turn=pl.col("agent_turns") + 1), "success_has_its_turn"),
    ("sim_episodes", put(agent_turns=6), "turns_within_limit"),
    ("sim_episodes", put(pl.col("outcome") == "failed", problem=None), "outcome_is_told"),
    ("sim_episodes", put(pl.col("outcome") == "completed", problem="tired"), "outcome_is_told"),
    ("sim_episodes", put(pl.col("outcome") == "leaked", is_success=True, success_turn=1), "leaked_is_no_success"),
    ("sim_episodes", put(pl.col("outcome") == "left", is_accepted=True), "leaked_is_no_success"),
    ("sim_episodes", everywhere(outcome="failed"), "few_failed"),
    ("sim_episodes", everywhere(outcome="leaked"), "few_leaked"),
    ("sim_turns", put(role="assistant"), "even_turns_are_users"),
    ("sim_turns", put(text="\n"), "text_has_words"),
    ("sim_turns", put(AGENTS_TURN, action=None), "turn_is_of_its_role"),
    ("sim_turns", put(AGENTS_TURN, policy="leave"), "turn_is_of_its_role"),
    ("sim_turns", put(~AGENTS_TURN, confirmations=0), "turn_is_of_its_role"),
    ("sim_turns", put(pl.col("satisfaction") < 5, satisfaction=pl.col("satisfaction") + 0.5), "satisfaction_is_the_sum"),
    ("sim_turns", put(pl.col("satisfaction") > 0, guidance=None), "satisfaction_is_the_sum"),
    ("sim_turns", put(pl.col("satisfaction") > 0, confirmations=0), "scores_have_samples"),
    ("sim_turns", put(pl.col("satisfaction") > 0, reason=None), "scores_have_samples"),
    ("sim_turns", put(pl.col("feeling").is_not_null(), feelings=empty_list("feelings")), "scores_have_samples"),
    ("sim_turns", put(AGENTS_TURN, queries=list("abcde")), "searches_are_few"),
    ("sim_turns", put(AGENTS_TURN, queries=["a"], retrieved=["x", "x"]), "searches_are_few"),
    ("sim_turns", put(AGENTS_TURN, queries=["a"], retrieved=list("abcdef")), "searches_are_few"),
    ("sim_turns", everywhere(confirmations=0, malformed=1), "few_malformed"),
    ("sim_calls", put(purpose="branch"), "purpose_goes_with_method"),
    ("sim_calls", everywhere(outcome="invalid"), "mostly_answered"),
    ("pref_ecpo_pairs", put(KEPT, rewritten=None), "kept_pairs_are_whole"),
    ("pref_ecpo_pairs", put(KEPT, rewritten=" "), "kept_pairs_are_whole"),
    ("pref_ecpo_pairs", put(KEPT, rewritten=pl.col("original").str.to_uppercase() + "  "), "kept_pairs_are_whole"),
    ("pref_ecpo_pairs", put(KEPT, score_after=None, is_improved=None), "kept_pairs_are_whole"),
    ("pref_ecpo_pairs", put(KEPT, is_improved=~pl.col("is_improved")), "improvement_follows_scores"),
    ("pref_ecpo_pairs", put(KEPT, is_improved=None), "improvement_follows_scores"),
    (
        "pref_ecpo_pairs",
        put(KEPT, flexibility_gain=0.0, coherence_gain=0.0, guidance_gain=pl.col("score_after") - pl.col("score_before") + 0.5),
        "gains_add_up",
    ),
    ("pref_ecpo_pairs", put(context=pl.col("context").list.head(0)), "context_is_before_turn"),
    ("pref_ecpo_pairs", put(split="test"), "of_train_episodes"),
    ("pref_ecpo_pairs", everywhere(status="too_far"), "mostly_kept"),
    ("pref_ecpo_pairs", everywhere(status="empty"), "few_without_rewrite"),
    ("pref_ecpo_pairs", everywhere(score_before=3.0, score_after=2.0, is_improved=False), "few_score_lower"),
    ("pref_trajectories", put(split="test"), "of_train_episodes"),
    ("pref_trajectories", put(prompt=pl.col("prompt").list.head(0)), "context_is_before_turn"),
    ("pref_trajectories", put(completion="Recommend: nothing"), "completion_holds_response"),
    ("pref_tree_pairs", put(split="test"), "of_train_episodes"),
    ("pref_tree_pairs", put(rewards=pl.col("rewards").list.head(1)), "a_reward_for_each_reply"),
    ("pref_tree_pairs", put(pl.col("chosen").is_not_null(), chosen=pl.col("rejected"), rejected=pl.col("chosen")), "pair_is_best_and_worst"),
    ("pref_tree_pairs", put(pl.col("chosen").is_not_null(), rejected=None), "pair_is_best_and_worst"),
    ("pref_tree_pairs", everywhere(chosen=None, rejected=None), "mostly_pairs"),
    ("sim_judgements", put(WIN, is_first=None), "wins_name_both"),
    ("sim_judgements", put(WIN, against_id=pl.col("episode_id")), "wins_name_both"),
    ("sim_judgements", put(~WIN, dimension="overall"), "wins_name_both"),
    ("sim_judgements", put(WIN, value=0.5), "value_is_of_its_measure"),
    ("sim_judgements", put(~WIN, value=0.0), "value_is_of_its_measure"),
    ("sim_judgements", put(pl.col("problem").is_null(), value=None), "missing_values_say_why"),
    ("sim_judgements", everywhere(value=None, problem="-"), "few_without_value"),
    ("eval_simulation", put(pl.col("low").is_not_null(), high=None), "interval_is_ordered"),
    ("eval_simulation", put(pl.col("low").is_not_null(), low=pl.col("high") + 1), "interval_is_ordered"),
    ("eval_simulation", put(pl.col("measure") == "success", value=1.5), "shares_are_shares"),
    ("eval_simulation", put(pl.col("value").is_not_null(), n=0, clusters=0), "value_has_its_units"),
    ("eval_simulation", put(invalid=3, invalid_reason=None), "left_out_says_why"),
    ("eval_simulation", put(model="a marquee-stand-in-1", is_stand_in=False), "stand_in_is_marked"),
    ("eval_simulator_fidelity", put(pl.col("measure") == "question_rate", value=1.5), "rates_are_shares"),
    ("eval_simulator_fidelity", put(pl.col("kind") == "human", is_stand_in=True), "people_are_people"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "damage", "check"), DAMAGES)
def test_damage_is_found(tables: Tables, name: str, damage: Damage, check: str) -> None:
    assert status_of(check, name, damage(tables[name])) == "failed"


TORN: list[tuple[str, Damage, str]] = [
    ("core_reviews", put(file="elsewhere.jsonl"), "reviews_are_in_the_books"),
    ("meta_review_files", put(rows_kept=1), "reviews_are_in_the_books"),
    ("meta_review_files", put(layout="amazon_reviews", rows_kept=pl.col("rows_kept") + 1), "no_review_is_lost"),
    ("core_reviews", put(position=9), "positions_have_no_gaps"),
    ("core_reviews", without(pl.col("position") == 0), "positions_have_no_gaps"),
    ("core_reviews", without(pl.col("position") == 0), "support_is_the_users_own"),
    ("sim_personas", put(pl.col("origin") == "inferred", user_id="dialogues-u5"), "support_is_the_users_own"),
    ("sim_personas", put(pl.col("origin") == "inferred", request_hash="0" * 64), "personas_are_in_the_ledger"),
    ("sim_tasks", put(pl.col("split") == "train", split="test"), "no_user_in_two_splits"),
    ("sim_tasks", put(pl.col("released_split").is_not_null(), is_user_in_both=True), "users_of_the_release_in_two_splits"),
    ("sim_tasks", put(user_id="dialogues-u5"), "task_is_the_personas"),
    ("sim_episodes", put(pl.col("split") == "train", split="test"), "episodes_are_of_their_tasks"),
    ("sim_turns", without(pl.col("turn") == 0), "turns_have_no_gaps"),
    ("sim_turns", without(AGENTS_TURN), "agent_turns_are_counted"),
    ("sim_episodes", put(pl.col("satisfaction_mean") < 4, satisfaction_mean=5.0), "agent_turns_are_counted"),
    ("sim_turns", put(agent=pl.when(pl.col("agent") == "react").then(pl.lit("macrs")).otherwise(pl.lit("react"))), "turns_are_of_their_episode"),
    ("sim_episodes", put(pl.col("is_success"), target_title="Nobody's Film"), "success_names_the_target"),
    ("sim_episodes", put(is_retrieved=~pl.col("is_retrieved")), "retrieved_is_what_turns_say"),
    ("sim_items", without(pl.col("item_id") == "b0000"), "retrieved_items_exist"),
    ("sim_episodes", put(questions=99), "questions_are_counted"),
    ("sim_calls", without(pl.col("number") == 0), "numbers_have_no_gaps"),
    ("pref_ecpo_pairs", without(KEPT), "rewrites_own_their_questions"),
    ("sim_calls", lambda frame: frame.filter(pl.col("method") != "tree"), "branches_own_their_questions"),
    ("llm_calls", lambda frame: frame.filter(pl.col("prompt") != "rewrite"), "questions_are_in_the_ledger"),
    ("pref_ecpo_pairs", put(turn=0), "rewrites_are_of_turns_that_count"),
    ("pref_ecpo_pairs", put(original="Something else."), "rewrites_are_of_the_turns_as_they_stand"),
    ("pref_ecpo_pairs", put(score_before=pl.col("score_before") + 0.5), "rewrites_are_of_the_turns_as_they_stand"),
    ("pref_ecpo_pairs", without(KEPT), "every_unsatisfying_turn_is_rewritten"),
    ("pref_trajectories", without(pl.col("turn") == 1), "trajectories_are_of_successes"),
    ("sim_judgements", put(WIN, against_id="0" * 16), "rivals_share_their_task"),
    ("sim_judgements", without(WIN), "wins_are_judged_in_both_orders"),
    ("sim_judgements", put(WIN, is_first=~pl.col("is_first")), "wins_are_judged_in_both_orders"),
    ("sim_judgements", put(request_hash="0" * 64), "judgements_are_in_the_ledger"),
    ("eval_simulator_fidelity", lambda frame: frame.filter(pl.col("kind") != "human"), "people_are_there_to_compare"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "damage", "check"), TORN)
def test_tables_that_do_not_belong_together_are_found(tables: Tables, name: str, damage: Damage, check: str) -> None:
    assert check in torn({**tables, name: damage(tables[name])})


@pytest.mark.parametrize(
    ("table", "check"),
    [
        ("pref_ecpo_pairs", "rewrites_are_of_turns_that_count"),
        ("pref_trajectories", "trajectories_are_of_successes"),
        ("pref_tree_pairs", "sampled_episodes_count"),
        ("sim_judgements", "leaked_episodes_are_not_judged"),
    ],
)
def test_nothing_is_made_of_episodes_that_leaked(tables: Tables, table: str, check: str) -> None:
    used = tables[table]["episode_id"][0]
    leaked = put(pl.col("episode_id") == used, outcome="leaked", problem="-")(tables["sim_episodes"])
    assert check in torn({**tables, "sim_episodes": leaked})


def _spoken(tables: Tables, user: str, agent: str, title: str = TITLE) -> Tables:
    """The tables, with an episode in which the user's second turn and the agent's first say this."""
    episode = tables["sim_turns"].filter(pl.col("turn") == 2)["episode_id"][0]
    is_it = pl.col("episode_id") == episode
    turns = put(is_it & (pl.col("turn") == 2), text=user)(tables["sim_turns"])
    turns = put(is_it & (pl.col("turn") == 1), text=agent, retrieved=[])(turns)
    return {**tables, "sim_turns": turns, "sim_episodes": put(is_it, target_title=title)(tables["sim_episodes"])}


@pytest.mark.parametrize(
    ("user", "agent", "title", "is_leak"),
    [
        (f"I look for {TITLE.upper()}!", "What do you like?", TITLE, True),
        (f"I liked {TITLE}.", f"How about {TITLE.lower()}?", TITLE, False),
        (f"I liked {TITLE}.", "How about the long way home again", f"{TITLE}: A Memoir", False),
        ("I look for the long way home", "What do you like?", TITLE, False),
        ("It is the first time for me.", "What do you like?", "The First Time", False),
    ],
)
def test_a_target_that_the_user_names_first_is_a_leak(
    tables: Tables, user: str, agent: str, title: str, is_leak: bool
) -> None:
    assert ("no_leak_counts" in torn(_spoken(tables, user, agent, title))) is is_leak


def test_a_released_split_may_share_its_users_and_no_other_may(tables: Tables) -> None:
    tasks = tables["sim_tasks"]
    user = tasks.filter(pl.col("released_split").is_not_null())["user_id"][0]
    kept = tasks.with_columns(
        split=pl.when(pl.col("user_id") == user).then("released_split").otherwise("split"),
        is_user_in_both=pl.col("user_id") == user,
    )
    assert kept.filter(pl.col("user_id") == user)["split"].n_unique() == 2
    found = torn({**tables, "sim_tasks": kept})
    assert "users_of_the_release_in_two_splits" in found
    assert "no_user_in_two_splits" not in found
    torn_apart = put(pl.col("user_id") == user, released_split=None, position=None)(kept)
    assert "no_user_in_two_splits" in torn({**tables, "sim_tasks": torn_apart})
