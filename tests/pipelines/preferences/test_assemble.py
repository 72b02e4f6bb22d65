"""All pairs together: splits, near-duplicates, what people judged."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.preferences import duplicates
from pipelines.preferences.assemble import assemble
from pipelines.preferences.degraded import degraded
from pipelines.preferences.duplicates import SPLIT_ORDER, mark_duplicates
from pipelines.preferences.human import human_pairs
from tests.pipelines.preferences.made_up import film_id, movies, talk
from warehouse.tables.annotation import ANNO_VALIDATION
from warehouse.tables.preferences import PREF_PAIRS

ANSWER = "you could watch @3 tonight because it is a very funny film about two brothers who open a bakery in a small town by the sea"


def pairs(*rows: tuple[str, str, str, str], films: str = "3") -> pl.DataFrame:
    """Pairs of (pair_id, asked, chosen, split)."""
    return pl.DataFrame(
        [
            {
                "pair_id": pair_id,
                "context": [{"role": "user", "content": asked}],
                "chosen": chosen,
                "rejected": "I do not know",
                "chosen_movie_ids": [film_id(int(films))],
                "rejected_movie_ids": [],
                "construction": "items_removed",
                "split": split,
                "dialogue_id": f"redial-{pair_id}",
                "turn": 1,
            }
            for pair_id, asked, chosen, split in rows
        ],
        schema_overrides={"rejected_movie_ids": pl.List(pl.String)},
    )


def marked(frame: pl.DataFrame) -> dict[str, str | None]:
    return dict(mark_duplicates(frame).select("pair_id", "duplicate_of").iter_rows())


def judgement(pair_id: str, person: str, prefers_chosen: bool) -> dict[str, object]:
    return {
        "kind": "pair",
        "item_id": pair_id,
        "dataset": "redial",
        "dialogue_id": "redial-0",
        "turn": 1,
        "annotator": person,
        "label": "chosen",
        "is_present": prefers_chosen,
        "was_present": True,
        "sample": "s1",
        "imported_at": datetime(2026, 1, 2),
    }


def validation(*judgements: dict[str, object]) -> pl.DataFrame:
    return ANNO_VALIDATION.conform(pl.DataFrame(judgements)) if judgements else ANNO_VALIDATION.empty()


# -- splits -------------------------------------------------------------------------------------------------


def test_pairs_fit_their_contract_and_go_where_their_conversation_is_held_out() -> None:
    said = [[("s", f"Hello {n}"), ("r", f"Try @{n + 3} {ANSWER[8:40]}")] for n in range(3)]
    own = talk(*said, splits=["train", "train", "valid"], conversation_ids=["c0", "c1", "c2"])
    other = talk([("s", "Hello"), ("r", "Well")], dataset="iard", splits=["test"], conversation_ids=["c1"])
    made = assemble([degraded(*own.parts, movies()).rows], pl.concat([own.dialogues, other.dialogues]))
    assert PREF_PAIRS.violations(made) == []
    assert made.height == 6
    splits = made.select("conversation_id", "split").unique().sort("conversation_id").rows()
    assert splits == [("c0", "train"), ("c1", "test"), ("c2", "valid")]


def test_pairs_of_dialogues_that_are_gone_are_left_out_and_kept_ones_are_assembled_again() -> None:
    own = talk(*([("s", f"Hello {n}"), ("r", f"Try @{n + 3} {ANSWER[8:40]}")] for n in range(3)))
    made = assemble([degraded(*own.parts, movies()).rows], own.dialogues)
    again = assemble([made, made.head(2)], own.dialogues)
    assert again.equals(made)
    fewer = assemble([made], own.dialogues.head(2))
    assert set(fewer["dialogue_id"]) == {"redial-0", "redial-1"}
    assert assemble([], own.dialogues).is_empty()


# -- near-duplicates ----------------------------------------------------------------------------------------


def test_texts_that_differ_in_case_and_marks_alone_are_duplicates() -> None:
    found = marked(
        pairs(("b", "Hi!", "Watch Film 3.", "train"), ("a", "hi", "watch  film 3", "train"), ("c", "hi", "no", "train"))
    )
    assert found == {"a": None, "b": "a", "c": None}


def test_long_texts_that_differ_in_a_word_are_duplicates_when_the_films_are_the_same() -> None:
    near = f"{ANSWER} again"
    same = pairs(("a", "hi", ANSWER, "train"), ("b", "hi", near, "train"))
    assert marked(same) == {"a": None, "b": "a"}
    other = pl.concat([pairs(("a", "hi", ANSWER, "train")), pairs(("b", "hi", near, "train"), films="4")])
    assert marked(other) == {"a": None, "b": None}
    far = pairs(
        ("a", "hi", ANSWER, "train"), ("b", "hi", near.replace("bakery", "bank").replace("sea", "lake"), "train")
    )
    assert marked(far) == {"a": None, "b": None}


def test_the_held_out_copy_stays() -> None:
    found = marked(pairs(("a", "hi", "Film 3", "train"), ("b", "hi", "film 3", "valid"), ("c", "Hi", "film 3", "test")))
    assert found == {"a": "c", "b": "c", "c": None}


WORDS = st.lists(st.sampled_from(["film", "good", "Good", "very", "!"]), min_size=1, max_size=4).map(" ".join)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(WORDS, WORDS, st.sampled_from(["train", "valid", "test"])), min_size=1, max_size=14),
    st.integers(0, 9),
)
def test_which_pairs_stay_does_not_depend_on_their_order(rows: list[tuple[str, str, str]], seed: int) -> None:
    frame = pairs(*((f"{number:02d}", *row) for number, row in enumerate(rows)))
    found = marked(frame)
    assert marked(frame.sample(fraction=1, shuffle=True, seed=seed)) == found
    split = dict(frame.select("pair_id", "split").iter_rows())
    for pair_id, first in found.items():
        if first is not None:
            assert found[first] is None
            assert SPLIT_ORDER.index(split[first]) <= SPLIT_ORDER.index(split[pair_id])


def test_near_duplicates_are_found_as_by_comparing_all() -> None:
    base = ANSWER.split()
    rows = [
        (
            f"{n:03d}",
            "hi there",
            " ".join([*base[: n % 23], *(["again"] * (n % 3)), *base[n % 23 :], *(["end"] * (n % 2))]),
            "train",
        )
        for n in range(60)
    ]
    frame = pairs(*rows)

    def grams(text: str) -> set[tuple[str, str]]:
        words = ["", *"".join(c if c.isalnum() else " " for c in text.lower()).split()]
        return set(pairwise(words))

    edges = set()
    for one, (first, _, left, _) in enumerate(rows):
        for second, _, right, _ in rows[one + 1 :]:
            a, b = grams(left), grams(right)
            if len(a & b) / len(a | b) >= duplicates.SIMILAR:
                edges.add((first, second))
    assert len(edges) > 20
    group = {pair_id: pair_id for pair_id, *_ in rows}
    for _ in rows:
        for a, b in edges:
            group[a] = group[b] = min(group[a], group[b])
    assert marked(frame) == {pair_id: None if first == pair_id else first for pair_id, first in group.items()}


def test_many_pairs_that_share_everything_but_a_word_are_compared_in_bounded_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(duplicates, "_BLOCK_MAX", 20)
    frame = pairs(*((f"{n:04d}", "hi", f"{ANSWER} {n}", "train") for n in range(100)))
    found = marked(frame)
    assert found["0000"] is None
    assert 1 <= sum(first is None for first in found.values()) <= 5


# -- people -------------------------------------------------------------------------------------------------


def drawn() -> pl.DataFrame:
    own = talk(*([("s", f"Hello {n}"), ("r", f"Try @{n + 3} {ANSWER[8:40]}")] for n in range(4)))
    return assemble([degraded(*own.parts, movies()).rows], own.dialogues)


def test_a_person_who_agrees_confirms_a_pair_and_one_who_does_not_turns_it_round() -> None:
    sample = drawn()
    agreed, turned = sample["pair_id"][0], sample["pair_id"][1]
    made = human_pairs(validation(judgement(agreed, "ann", True), judgement(turned, "bob", False)), sample)
    rows = {row["made_by"]: row for row in made.rows.to_dicts()}
    before = {row["pair_id"]: row for row in sample.to_dicts()}
    assert rows["ann"]["chosen"] == before[agreed]["chosen"]
    assert rows["bob"]["chosen"] == before[turned]["rejected"]
    assert rows["bob"]["rejected_movie_ids"] == before[turned]["chosen_movie_ids"]
    assert {row["construction"] for row in rows.values()} == {"human"}
    assert made.dropped == {}


def test_people_who_disagree_make_no_pair_until_it_is_settled() -> None:
    sample = drawn()
    pair_id = sample["pair_id"][0]
    both = [judgement(pair_id, "ann", True), judgement(pair_id, "bob", False)]
    assert human_pairs(validation(*both), sample).dropped == {"human: people disagree": 1}
    settled = human_pairs(validation(*both, judgement(pair_id, "adjudicated", False)), sample)
    assert settled.rows["made_by"].to_list() == ["adjudicated"]
    assert human_pairs(validation(judgement("f" * 16, "ann", True)), sample).dropped == {
        "human: pair not there any more": 1
    }
    assert human_pairs(validation(), sample).rows.is_empty()


def test_what_a_person_judged_stands_for_the_pair_that_was_judged() -> None:
    sample = drawn()
    turned = sample["pair_id"][1]
    made = human_pairs(validation(judgement(turned, "bob", False)), sample)
    own = talk(*([("s", f"Hello {n}"), ("r", f"Try @{n + 3} {ANSWER[8:40]}")] for n in range(4)))
    every = assemble([sample, made.rows], own.dialogues)
    assert PREF_PAIRS.violations(every) == []
    of = dict(every.select("pair_id", "duplicate_of").iter_rows())
    human = every.filter(construction="human")["pair_id"].item()
    assert of[turned] == human
    assert of[human] is None
