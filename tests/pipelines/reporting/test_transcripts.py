"""Transcripts: what stands in them follows from the tables, and no text in them can steer a terminal."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reporting.transcripts import Found, Transcript, harmless, retrieved, titles, transcript
from tests import simulation_frames

# Escape, C1's control sequence introducer, bell, carriage return, an override of direction.
CONTROLS = "\x1b\x9b\x07\r\u202e"


@pytest.fixture(scope="module")
def frames() -> dict[str, pl.DataFrame]:
    return simulation_frames.frames()


def made(frames: dict[str, pl.DataFrame], **changes: object) -> Transcript:
    pairs = frames["pref_ecpo_pairs"].filter("is_improved")
    episode = frames["sim_episodes"].filter(pl.col("episode_id") == pairs["episode_id"][0]).row(0, named=True)
    (persona,) = frames["sim_personas"].filter(pl.col("persona_id") == episode["persona_id"]).to_dicts()
    return transcript({**episode, **changes}, frames["sim_turns"], titles(frames["sim_items"]), persona, pairs)


def test_every_turn_stands_in_it_with_scores_and_rewrites(frames: dict[str, pl.DataFrame]) -> None:
    found = made(frames)
    turns = frames["sim_turns"].filter(pl.col("episode_id") == found.episode_id).sort("turn")
    assert [line.text for line in found.lines] == turns["text"].to_list()
    assert [line.scores.satisfaction if line.scores else None for line in found.lines] == turns[
        "satisfaction"
    ].to_list()
    assert [line.does for line in found.lines] == turns.select(pl.coalesce("action", "policy"))["action"].to_list()
    pairs = frames["pref_ecpo_pairs"].filter((pl.col("episode_id") == found.episode_id) & pl.col("is_improved"))
    rewritten = {line.turn: line.rewrite for line in found.lines if line.rewrite}
    assert {turn: each.text for turn, each in rewritten.items()} == dict(pairs.select("turn", "rewritten").iter_rows())
    assert all(each.score_after > each.score_before for each in rewritten.values())
    assert list(found.persona)[:2] == ["activities", "interests"]


def test_items_have_titles_and_the_target_is_marked(frames: dict[str, pl.DataFrame]) -> None:
    success = frames["sim_episodes"].filter("is_success").row(0, named=True)
    found = transcript(success, frames["sim_turns"], titles(frames["sim_items"]))
    named = [item for line in found.lines for item in line.retrieved]
    assert Found(success["target_item"], success["target_title"], True) in named
    assert all(item.title.startswith("The ") for item in named)
    without = transcript(success, frames["sim_turns"], {})
    assert {item.title for line in without.lines for item in line.retrieved} == {item.item_id for item in named}
    own = frames["sim_turns"].filter(pl.col("episode_id") == success["episode_id"])
    assert set(retrieved(own)["item_id"]) == {item.item_id for item in named}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"is_success": True, "success_turn": 2, "is_accepted": True}, "found in turn 2; the user accepted it"),
        ({"is_success": True, "success_turn": 2, "is_accepted": False}, "found in turn 2; the user did not say yes to it"),
        ({"is_success": False, "is_retrieved": True, "outcome": "completed", "agent_turns": 5}, "not found in 5 of 5 turns, though a search had retrieved it"),
        ({"is_success": True, "success_turn": 1, "is_accepted": False, "is_stopped": True}, "found in turn 1; the user was won over"),
        ({"is_success": False, "is_retrieved": False, "is_stopped": True, "outcome": "completed", "agent_turns": 2}, "not found in 2 of 5 turns; the user was won over"),
        ({"is_success": False, "is_retrieved": False, "outcome": "left", "agent_turns": 3}, "the user left after 3 of 5 turns"),
        ({"is_success": False, "outcome": "leaked", "problem": "said it"}, "the user named the target: counts nowhere: said it"),
        ({"is_success": False, "outcome": "failed", "agent_turns": 1, "problem": "no answer"}, "broke off after 1 of 5 turns: no answer"),
    ],
)  # fmt: skip
def test_how_it_ended_is_said_in_words(frames: dict[str, pl.DataFrame], changes: dict[str, object], words: str) -> None:
    assert made(frames, **changes).ending == words


def test_escape_codes_and_marks_of_direction_are_spelled_out_everywhere(frames: dict[str, pl.DataFrame]) -> None:
    dirty = made(
        {
            **frames,
            "sim_turns": frames["sim_turns"].with_columns(
                pl.lit(f"a{CONTROLS}b").alias("text"), pl.lit([CONTROLS]).alias("queries"), pl.lit(CONTROLS).alias("reason")
            ),
            "pref_ecpo_pairs": frames["pref_ecpo_pairs"].with_columns(pl.lit(CONTROLS).alias("rewritten")),
        },
        target_title=CONTROLS,
    )  # fmt: skip
    assert dirty.lines[0].text == f"a{CONTROLS}b"
    clean = harmless(dirty)
    assert clean.lines[0].text == r"a\x1b\x9b\x07 \u202eb"
    assert clean.target_title == r"\x1b\x9b\x07 \u202e"
    everything = repr(clean)
    assert not [each for each in CONTROLS if each in everything]


@given(st.text())
def test_harmless_text_is_printable_and_stays_as_it_is(text: str) -> None:
    clean = harmless(text)
    assert all(each.isprintable() or each == "\n" for each in clean)
    assert harmless(clean) == clean
    if text.isprintable():
        assert clean == text
