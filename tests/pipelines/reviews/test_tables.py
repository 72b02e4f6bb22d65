"""Reviews, items and tasks of several files together: order, positions, repeats, and text without markup."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reviews.item_text import DESCRIPTION_CHARACTERS, film_items, review_items
from pipelines.reviews.read import FACTS, REVIEWS, TASKS, FileRead
from pipelines.reviews.tables import Placed, hexadecimal, items, plain, released_split, reviews, tasks
from pipelines.simulation.domains import domain
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.simulation import CORE_REVIEW_ITEMS, CORE_REVIEW_TASKS, CORE_REVIEWS


def review(**other: Any) -> dict[str, Any]:
    return {
        "user": "u1", "item_id": "i1", "headline": "Good", "text": "Fine.", "rating": 5.0, "is_positive": True,
        "reviewed_at": datetime(2020, 1, 1), "line": 1, **other,
    }  # fmt: skip


def facts(**other: Any) -> dict[str, Any]:
    return {
        "item_id": "i1", "title": "Salt Road", "creators": [], "categories": [], "place": None, "description": None, "average_rating": None,
        "ratings": None, "line": 1, **other,
    }  # fmt: skip


def placed(name: str, said: list[dict[str, Any]] | None = None, about: list[dict[str, Any]] | None = None) -> Placed:
    read = FileRead(pl.DataFrame(said or [], schema=REVIEWS), pl.DataFrame(about or [], schema=FACTS))
    return Placed(name, "book", read)


def test_positions_follow_time_and_what_has_none_comes_last() -> None:
    late, early, timeless = review(reviewed_at=datetime(2021, 1, 1), line=1), review(item_id="i2", line=2), review(item_id="i3", reviewed_at=None, line=3)  # fmt: skip
    other = review(user="u2", line=4)
    rows, repeats = reviews("yelp", [placed("b", [late, early]), placed("a", [timeless, other])])
    CORE_REVIEWS.check(rows)
    found = rows.sort("user_id", "position").select("user_id", "position", "item_id", "file").rows()
    assert found == [("yelp-u1", 0, "i2", "b"), ("yelp-u1", 1, "i1", "b"), ("yelp-u1", 2, "i3", "a"), ("yelp-u2", 0, "i1", "a")]  # fmt: skip
    assert repeats == {} and rows["review_id"].is_unique().all()


def test_repeats_count_once_and_are_told_by_file_and_line() -> None:
    first, again, other = review(), review(line=7), review(line=8, text="Fine!")
    rows, repeats = reviews("yelp", [placed("a", [first, again, other]), placed("b", [review(line=3)])])
    assert rows.height == 2 and set(rows["file"]) == {"a"}
    assert {name: part.select("line", "reason").rows() for name, part in repeats.items()} == {
        "a": [(7, "repeats another review")],
        "b": [(3, "repeats another review")],
    }


def test_ids_depend_on_nothing_but_source_user_item_and_position() -> None:
    one, _ = reviews("yelp", [placed("a", [review(text="one")])])
    two, _ = reviews("yelp", [placed("z", [review(text="two", line=9)]), placed("y", [review(user="u2")])])
    assert one["review_id"][0] in two["review_id"].to_list()
    assert one["content_hash"][0] not in two["content_hash"].to_list()
    assert hexadecimal(pl.Series([0, 2**64 - 1], dtype=pl.UInt64)).to_list() == ["0" * 16, "f" * 16]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("One.<br /><br />Two.", "One. Two."),
        ("<p>Sweet</p>  <B>bold</B>, <a href='x'>linked</a>.", "Sweet bold, linked."),
        ("<<b>br>x", "x"),
        ("It&#39;s &amp; it&#34;s &lt;br /&gt; fine", "It's & it\"s fine"),
        ("I <3 it, 2 < 3 and 4 > 3", "I <3 it, 2 < 3 and 4 > 3"),
        ("See [[ASIN:B000 Salt Road]] and [[VIDEOID:abc]]!", "See and !"),
        ("  \n ", ""),
        ("<br />", ""),
    ],
)
def test_markup_is_taken_out_and_words_stay(text: str, clean: str) -> None:
    assert plain(pl.Series([text])).to_list() == [clean]


@given(st.lists(st.text(alphabet=st.sampled_from("ab <>/&;br#39lt[]:AV\n"), max_size=40), max_size=5))
def test_cleaning_again_changes_nothing_that_cleaning_gave(texts: list[str]) -> None:
    once = plain(pl.Series(texts, dtype=pl.String))
    assert plain(once).equals(once) and once.null_count() == 0 and not once.str.contains(r"(?i)<br\s*/?>").any()


def test_an_item_is_as_the_best_file_describes_it() -> None:
    best = facts(title="Salt Road: A Novel", creators=["Mara Lind"], line=4)
    rest = facts(title="Salt road", creators=["M. Lind"], categories=["Books"], description="A <b>sea</b>.", average_rating=4.5, ratings=3)  # fmt: skip
    rows, repeats = items("yelp", [placed("meta", [], [best]), placed("other", [review()], [rest, rest])])
    CORE_REVIEW_ITEMS.check(rows)
    row = rows.row(0, named=True)
    assert (row["title"], row["creators"], row["categories"], row["description"]) == ("Salt Road: A Novel", ["Mara Lind"], ["Books"], "A sea.")  # fmt: skip
    assert (row["file"], row["line"], row["average_rating"], row["ratings"]) == ("meta", 4, 4.5, 3)
    assert repeats == {}


def test_repeats_of_items_are_told_in_files_of_items_alone() -> None:
    rows, repeats = items("yelp", [placed("meta", [], [facts(), facts(line=5)]), placed("said", [review()], [facts(), facts(line=2)])])  # fmt: skip
    assert rows.height == 1
    assert {name: part.select("line", "reason").rows() for name, part in repeats.items()} == {"meta": [(5, "repeats another item")]}  # fmt: skip


def test_tasks_keep_the_split_of_their_file() -> None:
    row = {"user": "u1", "item_id": "i1", "position": 3, "activities": "a", **dict.fromkeys(("interests", "information_density", "expression_style", "tone", "orientations"), ""), "line": 4}  # fmt: skip
    read = FileRead(tasks=pl.DataFrame([row], schema=TASKS))
    rows = tasks("yelp", [(Placed("task/Yelp_test.jsonl.gz", "business", read), released_split("task/Yelp_test.jsonl.gz"))])  # fmt: skip
    CORE_REVIEW_TASKS.check(rows)
    assert rows.select("user_id", "released_split", "position").row(0) == ("yelp-u1", "test", 3)


def test_no_files_give_no_rows() -> None:
    assert reviews("yelp", [])[0].is_empty() and items("yelp", [])[0].is_empty() and tasks("yelp", []).is_empty()


# --------------------------------------------------------------------------------------------------------------- item text


def described(**other: Any) -> pl.DataFrame:
    row = {**facts(), "source": "amazon_reviews_2023", "domain": "book", "file": "f", **other}
    return CORE_REVIEW_ITEMS.conform(pl.DataFrame([row], schema=CORE_REVIEW_ITEMS.schema))


def test_text_of_an_item_title_first_description_last() -> None:
    full = described(title="Salt\nRoad", creators=["Mara Lind", "Jo Bell"], categories=["Books", "Fantasy"], description="A sea.")  # fmt: skip
    assert review_items(full)["text"].to_list() == ["Title: Salt Road\nAuthor: Mara Lind, Jo Bell\nCategories: Books, Fantasy\nDescription: A sea."]  # fmt: skip
    place = described(domain="business", title="Ellery Roasters", place="Port Ellery, PA")
    assert review_items(place)["text"].to_list() == ["Title: Ellery Roasters\nLocation: Port Ellery, PA"]
    assert domain("business").creator == "owner"


def test_long_descriptions_are_cut_after_a_word() -> None:
    text = review_items(described(description="word " * 1000))["text"][0]
    assert text.endswith("word…") and DESCRIPTION_CHARACTERS - 10 < len(text.split("Description: ")[1]) <= DESCRIPTION_CHARACTERS + 1  # fmt: skip
    fitting = "a" * DESCRIPTION_CHARACTERS
    assert review_items(described(description=fitting))["text"][0].endswith(fitting)


def test_films_have_the_text_of_the_item_index() -> None:
    lists = {name: [] for name, dtype in CORE_MOVIES.schema.items() if dtype == pl.List(pl.String)}
    film = {
        "movie_id": "mv" + "0" * 16,
        "title": "Salt",
        "year": 1999,
        "kind": "movie",
        **lists,
        "genres": ["Drama"],
        "directors": ["A B"],
    }
    found = film_items(pl.DataFrame([film], schema=CORE_MOVIES.schema))
    assert found.select("domain", "title", "categories", "creators", "text").row(0) == ("film", "Salt", ["Drama"], ["A B"], "Title: Salt\nYear: 1999\nGenre: Drama\nDirector: A B")  # fmt: skip
