"""How obliging simulated users are, counted by hand."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from pipelines.simulation.cooperation import MEASURES, cooperation, is_praise
from pipelines.simulation.episode import play, rows
from pipelines.simulation.simulators import SIMULATORS
from tests.pipelines.simulation.test_episode import agent, model, search
from tests.simulated import OTHER, TARGET, TASK, books, played
from warehouse.tables.simulation import SIM_EPISODES, SIM_ITEMS, SIM_TURNS

ITEMS = SIM_ITEMS.conform(
    pl.DataFrame(
        [
            {
                "domain": "book",
                "item_id": TARGET.item_id,
                "title": TARGET.title,
                "categories": ["Fantasy", "Adventure", "X"],
                "creators": ["Mara Lind"],
                "text": TARGET.text,
                "text_hash": 1,
            }
        ],
        schema_overrides={"text_hash": pl.Int64},
    )
)


def frames(*conversations: tuple[str, bool, list[tuple[str, str, str, int]]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Episodes and turns: outcome, whether accepted, and (role's action or policy, text, overaccepted) turn by turn."""
    episodes, turns = [], []
    for number, (outcome, is_accepted, said) in enumerate(conversations):
        name = f"{number:016x}"
        episodes.append({"episode_id": name, "domain": "book", "simulator": "ailo", "target_item": TARGET.item_id, "target_title": TARGET.title, "outcome": outcome, "is_accepted": is_accepted})  # fmt: skip
        for turn, (role, what, text, overaccepted) in enumerate(said):
            is_user = role == "user"
            turns.append({"episode_id": name, "turn": turn, "role": role, "text": text, "action": None if is_user else what, "policy": what if is_user else None, "overaccepted": overaccepted if is_user else None})  # fmt: skip
    return pl.DataFrame(episodes), pl.DataFrame(turns, infer_schema_length=None)


def user(policy: str, text: str, overaccepted: int = 0) -> tuple[str, str, str, int]:
    return "user", policy, text, overaccepted


def assistant(action: str, text: str) -> tuple[str, str, str, int]:
    return "assistant", action, text, 0


WRONG, RIGHT = f'How about "{OTHER.title}"?', f'Take "{TARGET.title}".'


def counted(*conversations: Any) -> dict[str, tuple[int, int]]:
    found = cooperation(*frames(*conversations), ITEMS)
    assert found.columns == ["simulator", "domain", "measure", "numerator", "denominator", "value"]
    assert set(found["measure"]) == set(MEASURES)
    return {row["measure"]: (row["numerator"], row["denominator"]) for row in found.iter_rows(named=True)}


def test_a_contrary_and_an_obliging_user_counted_by_hand() -> None:
    contrary = (
        "completed",
        True,
        [
            user("ask_for_recommendation", "A fantasy, please."),
            assistant("recommend", WRONG),
            user("refuse", "No bread."),
            assistant("recommend", RIGHT),
            user("accept", "What a great choice, you are amazing!"),
        ],
    )
    obliging = (
        "completed",
        False,
        [
            user("ask_for_recommendation", "A fantasy adventure by Mara Lind."),
            assistant("recommend", WRONG),
            user("answer_question", "Sounds perfect!", overaccepted=2),
            assistant("ask", "Which mood? And how long?"),
            user("answer_question", "Any."),
        ],
    )
    gone = ("left", False, [user("ask_for_recommendation", "Hi."), assistant("respond", "Yes."), user("leave", "Bye.")])
    assert counted(contrary, obliging, gone) == {
        "acceptance": (1, 3),
        "leaving": (1, 3),
        # Turns after the first: 2 + 2 + 1.
        "wrong_acceptance": (1, 5),
        # Turns after a recommendation without the target.
        "refusal": (1, 2),
        "compliance": (1, 2),
        "volunteering": (1, 3 + 3 + 2),
        # Praise for the target is none.
        "flattery": (1, 1 + 2 + 1),
    }


def test_what_was_asked_or_is_known_is_not_volunteered() -> None:
    def told(question: str, answer: str) -> tuple[int, int]:
        turns = [user("ask_for_recommendation", "Hello."), assistant("ask", question), user("answer_question", answer)]
        return counted(("completed", False, turns))["volunteering"]

    assert told("Which kind?", "Fantasy.") == (0, 2)
    assert told("Which kind?", "Fantasy by Mara Lind.") == (1, 2)
    assert told("Which kind? And by whom?", "Fantasy by Mara Lind.") == (0, 2)
    assert told("By Mara Lind, a fantasy?", "Fantasy by Mara Lind, adventure.") == (0, 2)
    assert told("I see.", "Adventure.") == (0, 2)


def test_leaked_episodes_count_nowhere_and_nothing_has_no_value() -> None:
    turns = [user("ask_for_recommendation", "Salt Road!")]
    assert cooperation(*frames(("leaked", False, turns)), ITEMS).height == 0
    found = cooperation(*frames(("failed", False, turns)), ITEMS)
    assert found.filter(pl.col("measure") == "refusal").select("denominator", "value").row(0) == (0, None)
    assert found.filter(pl.col("measure") == "acceptance")["value"].item() == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("You're wonderful!", True),
        ("What an amazing list", True),
        ("That’s absolutely perfect, thanks", True),
        ("Great suggestion.", True),
        ("I love everything", True),
        ("I love old maps and great battles", False),
        ("It should be great for kids", False),
        ("No, thanks.", False),
    ],
)
def test_praise_is_for_the_assistant(text: str, expected: bool) -> None:
    assert is_praise(text) is expected


def test_figures_of_played_episodes_have_denominators_that_fit() -> None:
    made = []
    for seed in range(40):
        name = ("ailo", "seeker")[seed % 2]
        task = TASK
        episode, requests = played(play(task, "react", agent, SIMULATORS[name], sample=seed), model(seed), search)
        made.append(rows(episode, books(requests), 0))
    episodes = SIM_EPISODES.check(pl.DataFrame([each.episode for each in made], schema=SIM_EPISODES.schema))
    turns = SIM_TURNS.check(pl.DataFrame([turn for each in made for turn in each.turns], schema=SIM_TURNS.schema))
    found = cooperation(episodes, turns, ITEMS, by=("simulator", "agent"))
    assert found.height == 2 * len(MEASURES)
    kept = episodes.filter(pl.col("outcome") != "leaked")
    for row in found.filter(pl.col("measure") == "acceptance").iter_rows(named=True):
        own = kept.filter(pl.col("simulator") == row["simulator"])
        assert (row["numerator"], row["denominator"]) == (own["is_accepted"].sum(), own.height)
    assert found["value"].drop_nulls().is_between(0, 1).all()
    assert found.filter(pl.col("measure") == "wrong_acceptance")["numerator"].sum() > 0
