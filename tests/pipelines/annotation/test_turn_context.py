"""What rules look at: masked titles and names, clauses, counts, and a hash that covers what came before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.annotation.context import CHARACTERS_READ, read_context
from pipelines.annotation.matching import match
from pipelines.annotation.rulebook import rulebook


def clauses(context) -> list[str]:
    return context.clauses["clause"].to_list()


def test_a_title_is_no_feeling(talk: Callable[..., Any]) -> None:
    context = read_context(*talk("s: [Love Hurts] is on"))
    assert clauses(context) == ["xtitlex is on"]
    assert context.turns["titles"].to_list() == [1]


def test_overlapping_mentions_are_one_title(talk: Callable[..., Any]) -> None:
    turns, mentions = talk("s: we saw [The Long Blue Sea] there")
    shorter = mentions.with_columns(pl.col("start") + 4, pl.col("end") - 4)
    context = read_context(turns, pl.concat([mentions, shorter]))
    assert clauses(context) == ["we saw xtitlex there"]
    assert context.turns["titles"].to_list() == [1]


def test_offsets_count_code_points(talk: Callable[..., Any]) -> None:
    assert clauses(read_context(*talk("s: 🎬🎬 très bien [Élan] 🎉")))[0].startswith("🎬🎬 très bien xtitlex")


def test_spellings_are_made_uniform_and_clauses_cut(talk: Callable[..., Any]) -> None:
    context = read_context(*talk("s: I didn't like it, but it's a sci-fi film. Isn't it?"))
    assert clauses(context) == ["i did not like it", "it is a scifi movie", "is not it ?"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("something with Mara Lind", 1),
        ("Hi There", 0),
        ("I LOVE IT SO MUCH", 0),
        ("Great Movie", 0),
        ("we watch a lot of Kubrick", 1),
    ],
)
def test_names_are_told_by_their_capitals(talk: Callable[..., Any], text: str, names: int) -> None:
    assert read_context(*talk(f"s: {text}")).turns["names"].to_list() == [names]


def test_placeholders_without_a_link_are_titles(talk: Callable[..., Any]) -> None:
    assert clauses(read_context(*talk("s: I saw @111776 twice"))) == ["i saw xtitlex twice"]


def test_films_count_as_new_once_and_as_proposed_after_the_recommender(talk: Callable[..., Any]) -> None:
    context = read_context(*talk("s: [Salt Road]", "r: [Salt Road] and [Blue Orchard]", "s: [Blue Orchard] then"))
    assert context.turns.select("new_titles", "proposed_titles").rows() == [(1, 0), (1, 0), (0, 1)]


def test_the_hash_covers_what_came_before_and_not_what_follows(talk: Callable[..., Any]) -> None:
    def hashes(*lines: str) -> list[int]:
        return read_context(*talk(*lines)).turns["input_hash"].to_list()

    first = hashes("s: hi", "r: [Salt Road]", "s: ok")
    assert hashes("s: hi", "r: [Salt Road]", "s: ok", "r: bye")[:3] == first
    changed = hashes("s: hello", "r: [Salt Road]", "s: ok")
    assert not set(changed) & set(first)
    assert hashes("s: hi", "r: Salt Road", "s: ok")[0] == first[0]
    assert hashes("s: hi", "r: Salt Road", "s: ok")[1] != first[1]


def test_frames_without_rows_are_fine(talk: Callable[..., Any]) -> None:
    context = read_context(*talk())
    assert context.turns.is_empty()
    assert match(rulebook("vto"), context).fired.is_empty()


@given(st.lists(st.text(max_size=60), min_size=1, max_size=6))
@settings(max_examples=12, deadline=None)
def test_any_text_can_be_read(texts: list[str]) -> None:
    lines = [text.encode("utf-8", "replace").decode() for text in texts]
    turns = pl.DataFrame(
        {
            "dialogue_id": ["redial-1"] * len(lines),
            "turn": pl.Series(range(len(lines)), dtype=pl.Int32),
            "dataset": ["redial"] * len(lines),
            "role": ["seeker" if at % 2 else "recommender" for at in range(len(lines))],
            "text": lines,
        }
    )
    mentions = pl.DataFrame(
        schema={"dialogue_id": pl.String, "turn": pl.Int32, "start": pl.Int32, "end": pl.Int32, "movie_id": pl.String}
    )
    context = read_context(turns, mentions)
    assert context.turns.height == len(lines)
    assert len(match(rulebook("vto"), context).words_left) == len(lines)


def test_a_megabyte_is_read_as_far_as_the_limit(talk: Callable[..., Any]) -> None:
    context = read_context(*talk("s: " + "so good " * 130_000))
    assert sum(len(clause) for clause in clauses(context)) <= CHARACTERS_READ
