"""Whether texts name items: in full, in another way, and not by chance."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.simulation.naming import holds_title, leaks, masked, mentions, named
from pipelines.simulation.parts import Item

RARE = ("Ostermere", "Halvard", "Quillon", "Brannoch", "Zerlina", "Tavish", "Morwenna", "Uldrin")
CHATTER = "i would like something funny with a good plot please for my kids and not too long"
EVERYDAY = ("It", "Up", "Her", "Us", "Big", "Taken", "The Help", "Get Out", "Friday", "Click", "Heat", "Home")


@pytest.mark.parametrize(
    ("text", "title", "holds"),
    [
        ("Try “Salt  Road” tonight.", "Salt Road", True),
        ("try SALT ROAD", "Salt Road", True),
        ("the basalt road is long", "Salt Road", False),
        ("salt roads", "Salt Road", False),
        ("I read Simon’s Cat.", "Simon's Cat", True),
        ("Spider–Man it is", "Spider-Man", True),
        ("Salt Road (The Harbour Saga Book 2)!", "Salt Road (The Harbour Saga Book 2)", True),
        ("Salt Road", "Salt Road (The Harbour Saga Book 2)", False),
        ("Is it good?", "It", True),
        ("nothing", "", False),
        ("costs $5", "$", False),
        ("have you seen $ yet", "$", True),
        ("Salt\nRoad", "Salt Road", True),
        ("我想看盐之路吗", "盐之路", True),
        ("слова о море", "слов", False),
        ("Love &amp; Salt", "Love & Salt", True),
    ],
)
def test_a_full_title_stands_in_a_text_whatever_the_writing(text: str, title: str, holds: bool) -> None:
    assert holds_title(text, title) is holds


@pytest.mark.parametrize(
    "text",
    [
        "I want Salt Roed by that author",
        "maybe the brannoch chronicles",
        "The Branoch Chronicles?",
        "is it called brannoch chronicles: the salt road",
        "something like Brannochchronicles",
        'it was "The Brannoch Chronicle"',
    ],
)
def test_misspelt_and_shortened_titles_leak(text: str) -> None:
    title = "The Brannoch Chronicles: Salt Road (Halvard Saga Book 2) [Illustrated] (1999)"
    assert leaks(text, title) or leaks(text, "Salt Roed: A Novel")
    assert mentions(text, title) or mentions(text, "Salt Roed: A Novel")


@pytest.mark.parametrize("title", EVERYDAY)
def test_everyday_words_leak_only_where_the_writing_shows_a_title(title: str) -> None:
    small = title.lower()
    for harmless in (
        f"could you help me find {small} or so, it is for her and us, get out the big ones",
        f"i would like {small} with no violence",
        f"{title} is what I mean" if " " not in title else f"{small} is what I mean",
        f"I WANT {title.upper()} NOW",
    ):
        assert not leaks(harmless, title), harmless
    assert leaks(f'have you seen "{title}" yet', title)
    assert leaks(f"the one called '{title}', from the nineties", title)
    assert leaks(f"i liked {title} (1999) a lot", title)


@pytest.mark.parametrize("title", ["Get Out", "The Help", "Heat", "Click", "Taken"])
def test_everyday_words_with_capitals_in_a_running_sentence_leak(title: str) -> None:
    assert leaks(f"I would rather see {title} with my friends again", title)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("I liked Brannoch 3 best", "Brannoch 2"),
        ("I liked the Brannoch Chronicles 3 best", "The Brannoch Chronicles 2"),
        ("we saw the third one", "Brannoch 3"),
        ("I want a novel", "Ostermere: A Novel"),
        ("give me volume 2 of anything", "Ostermere: Volume 2"),
        ("feathers are soft", "Heathers"),
        ("a romantic comedy, or a romance", "Romantic Comedy"),
        ("", "Brannoch"),
        ("something", ""),
        ("something", "???"),
        ("我想看", "盐之路"),
    ],
)
def test_what_is_near_a_title_is_none(text: str, title: str) -> None:
    assert not leaks(text, title)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("i think frozen 2 was fine", "Frozen II"),
        ("Dumb and Dumber (1994) was fun", "Dumb & Dumber"),
        ("I saw Brannoch III with him", "Brannoch 3"),
        ("how about amelie from halvard", "Amélie from Halvard"),
        ("我想看盐之路吗", "盐之路"),
    ],
)
def test_numbers_accents_and_signs_do_not_hide_a_title(text: str, title: str) -> None:
    assert leaks(text, title)


rare_titles = st.lists(st.sampled_from(RARE), min_size=1, max_size=4, unique=True).map(" ".join)
chatter = st.lists(
    st.sampled_from(CHATTER.split()),
    min_size=4,
    max_size=20,
).map(" ".join)


@given(rare_titles, chatter, chatter, st.sampled_from([str.lower, str.upper, str.title]))
def test_a_telling_title_leaks_wherever_it_stands(title: str, before: str, behind: str, case: object) -> None:
    text = f"{before} {case(title)}, {behind}"  # type: ignore[operator]
    assert leaks(text, title)
    assert leaks(text, f"The {title}: A Tale of the North (Harbour Book 7)")
    assert holds_title(text, title)


@given(rare_titles, chatter, st.integers(min_value=0))
def test_a_letter_too_few_leaks_too(title: str, before: str, at: int) -> None:
    letters = [place for place, letter in enumerate(title) if letter != " "]
    place = letters[at % len(letters)]
    assert leaks(f"{before} {title[:place]}{title[place + 1 :]}", title)


@given(chatter, rare_titles)
def test_talk_without_the_title_does_not_leak(text: str, title: str) -> None:
    assert not leaks(text, title)
    assert not holds_title(text, title)


@given(st.text(max_size=80), st.text(max_size=40))
def test_any_texts_can_be_compared(text: str, title: str) -> None:
    assert isinstance(leaks(text, title), bool)
    assert isinstance(masked(text, title, "this book"), str)
    assert holds_title(title, title) or not any(map(str.isalnum, title))
    assert holds_title(f"{text} {title}", title) or not holds_title(title, title)


@given(rare_titles, chatter)
def test_masked_texts_do_not_give_the_title_away(title: str, text: str) -> None:
    hidden = masked(f"{title}: {text}. In {title.lower()}, {text}", f"{title} (1999)", "this book")
    assert not leaks(hidden, title)
    assert hidden.count("this book") == 2


def test_only_items_whose_titles_stand_in_a_text_are_named() -> None:
    items = [Item(title, title, f"Title: {title}") for title in ("Salt Road", "The Quiet Oven", "Salt")]
    assert [item.title for item in named("Take Salt Road, not the oven", items)] == ["Salt Road", "Salt"]


@pytest.mark.real_data
@pytest.mark.parametrize(("log", "successes"), [("actcrs_ecpo", 56), ("actcrs_gpt", 53)])
def test_the_released_logs_score_as_their_authors_counted(real_data: Path, log: str, successes: int) -> None:
    folder = real_data / "ecpo"
    tasks = [json.loads(line) for line in (folder / "task" / "Book_test.jsonl").read_text().splitlines()]
    text = gzip.decompress((folder / "test_log" / "book" / f"{log}.log.gz").read_bytes()).decode()
    parts = re.split(r"^User (\d+)\s+Item \d+:\n", text, flags=re.MULTILINE)[1:]
    found: list[bool] = []
    stated: list[bool] = []
    for user, body in zip(parts[::2], parts[1::2], strict=True):
        title = tasks[int(user)]["Items"][0]["ItemName"]
        said = re.split(r"^(user|assistant): ", body.partition("rec_rewards:")[0], flags=re.MULTILINE)[1:]
        replies = [turn for role, turn in zip(said[::2], said[1::2], strict=True) if role == "assistant"]
        found.append(any(holds_title(reply, title) for reply in replies))
        stated.append("Correct recommendation: True" in body)
    assert len(found) == 100
    assert sum(found) == successes
    assert found == stated
