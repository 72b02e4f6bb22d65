"""Lists as models give them, and what is no list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reranking.parsing import LONGEST_LINE, MOST_LINES, Line, parse


def texts(answer: str, which: int = 0) -> list[str]:
    """First readings of the lines of one list."""
    return [line.readings[0] if line.readings else "" for line in parse(answer).lists[which]]


WANTED = ["Heat (1995)", "12 Angry Men", "Alien: Covenant"]


@pytest.mark.parametrize(
    "answer",
    [
        "1. Heat (1995)\n2. 12 Angry Men\n3. Alien: Covenant",
        "1) Heat (1995)\n2) 12 Angry Men\n3) Alien: Covenant",
        "1: Heat (1995)\n2: 12 Angry Men\n3: Alien: Covenant",
        "(1) Heat (1995)\n(2) 12 Angry Men\n(3) Alien: Covenant",
        "1 - Heat (1995)\n2 - 12 Angry Men\n3 - Alien: Covenant",
        "#1 Heat (1995)\n#2 12 Angry Men\n#3 Alien: Covenant",
        "Rank 1: Heat (1995)\nRank 2: 12 Angry Men\nRank 3: Alien: Covenant",
        "1\\. Heat (1995)\n2\\. 12 Angry Men\n3\\. Alien: Covenant",
        "**1.** Heat (1995)\n**2.** 12 Angry Men\n**3.** Alien: Covenant",
        "**1. Heat (1995)**\n**2. 12 Angry Men**\n**3. Alien: Covenant**",
        "1. **Heat** (1995)\n2. *12 Angry Men*\n3. `Alien: Covenant`",
        '1. "Heat" (1995)\n2. “12 Angry Men”\n3. «Alien: Covenant»',
        "- 1. Heat (1995)\n- 2. 12 Angry Men\n- 3. Alien: Covenant",
        "### 1. Heat (1995)\nTense.\n### 2. 12 Angry Men\nA jury.\n### 3. Alien: Covenant",
        "1. Heat (1995)\n1. 12 Angry Men\n1. Alien: Covenant",
        "3. Alien: Covenant\n2. 12 Angry Men\n1. Heat (1995)",
        "- Heat (1995)\n- 12 Angry Men\n- Alien: Covenant",
        "Heat (1995)\n12 Angry Men\nAlien: Covenant",
        "1. Heat (1995) 2. 12 Angry Men 3. Alien: Covenant",
        "1. Heat (1995)\\n2. 12 Angry Men\\n3. Alien: Covenant",
        "1. Heat (1995)\r\n2. 12 Angry Men\r\n3. Alien: Covenant\r\n",
        "Here you are:\n\n1. Heat (1995)\n2. 12 Angry Men\n3. Alien: Covenant\n\nEnjoy!",
        "```\n1. Heat (1995)\n2. 12 Angry Men\n3. Alien: Covenant\n```",
        "<think>1. No\n2. Not that</think>\n1. Heat (1995)\n2. 12 Angry Men\n3. Alien: Covenant",
        "So they like 1. crime</think>1. Heat (1995)\n2. 12 Angry Men\n3. Alien: Covenant",
        '["Heat (1995)", "12 Angry Men", "Alien: Covenant"]',
        'Sure:\n```json\n["1. Heat (1995)", "2. 12 Angry Men", "3. Alien: Covenant"]\n```',
        '{"ranking": [{"rank": 2, "title": "12 Angry Men"}, {"rank": 1, "title": "Heat", "year": 1995}, {"rank": 3, "name": "Alien: Covenant"}]}',
        "| Rank | Movie | Year |\n| --- | --- | --- |\n| 1 | Heat | 1995 |\n| 2 | **12 Angry Men** | |\n| 3 | Alien: Covenant | |",
        "1. Heat (1995)<br>\n2. <b>12 Angry Men</b>\n3. Alien: Covenant",
        "1. [Heat (1995)](https://example.org)\n2. 12 Angry Men\n3. Alien: Covenant",
    ],
)
def test_a_list_is_read_however_it_is_written(answer: str) -> None:
    assert texts(answer) == WANTED
    assert [line.rank for line in parse(answer).lists[0]] == [1, 2, 3]
    assert len(parse(answer).lists) == 1


@pytest.mark.parametrize(
    ("written", "reading"),
    [
        ("Heat (1995) - a crime film", "Heat (1995)"),
        ("Heat (1995), since they like crime", "Heat (1995)"),
        ("Heat – tense", "Heat"),
        ("**Heat**: tense", "Heat"),
        ("Heat (Michael Mann's film)", "Heat"),
        ("Star Wars: Episode IV - A New Hope: the first", "Star Wars: Episode IV - A New Hope"),
        ("Star Wars: Episode IV - A New Hope: the first", "Star Wars"),
    ],
)
def test_a_remark_behind_a_name_can_be_left_out(written: str, reading: str) -> None:
    assert reading in parse(f"1. {written}\n2. Up").lists[0][0].readings


def test_longer_readings_come_before_shorter_ones() -> None:
    (line, *_) = parse("1. Star Wars: Episode IV - A New Hope\n2. Up").lists[0]
    assert line.readings == ("Star Wars: Episode IV - A New Hope", "Star Wars: Episode IV", "Star Wars")


def test_a_film_whose_name_is_a_number_is_one() -> None:
    assert texts("1. 1917\n2. 300\n3. 2:22\n4. 2001: A Space Odyssey") == [
        "1917",
        "300",
        "2:22",
        "2001: A Space Odyssey",
    ]
    assert texts("| # | Film |\n|--|--|\n| 1 | 1917 |\n| 2 | Up |") == ["1917", "Up"]


def test_two_lists_stay_two() -> None:
    parsed = parse("They like:\n1. crime\n2. cities\n\nRanking:\n1. Heat\n2. Up\n3. Alien")
    assert [[line.text for line in each] for each in parsed.lists] == [["crime", "cities"], ["Heat", "Up", "Alien"]]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("", "the answer is empty"),
        ("  \n ", "the answer is empty"),
        ("I am sorry, I cannot help with that.", "there is no list in the answer"),
        ("<think>They like crime. 1. Heat", "the model was still thinking when its answer ended"),
        ("[]", "there is no list in the answer"),
        ("{}", "there is no list in the answer"),
    ],
)
def test_why_there_is_no_list_is_said(answer: str, problem: str) -> None:
    assert parse(answer).lists == ()
    assert parse(answer).problem == problem


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "nothing stands after the number"),
        ("***", "nothing stands after the number"),
        ("?!", "there is no letter and no digit in it"),
        ("x" * (LONGEST_LINE + 1), "too long to be a name"),
    ],
)
def test_a_line_that_cannot_be_read_stays_with_its_reason(written: str, reason: str) -> None:
    first, second = parse(f"1. {written}\n2. Heat").lists[0]
    assert (first.readings, first.reason) == ((), reason)
    assert second == Line(2, "Heat", ("Heat",))


def test_endless_answers_are_bounded() -> None:
    parsed = parse("\n".join(f"{n}. Film {n}" for n in range(1, 900)))
    assert len(parsed.lists[0]) == MOST_LINES


@given(st.text(max_size=400) | st.lists(st.sampled_from(["1. ", "2) ", "**", "|", "\n", "<think>", "</think>", "[", '"', "a", "- ", "```", "{", "(1999)", ":"])).map("".join))  # fmt: skip
def test_any_text_is_read_without_trouble(answer: str) -> None:
    parsed = parse(answer)
    assert bool(parsed.lists) == (parsed.problem is None)
    for each in parsed.lists:
        assert [line.rank for line in each] == list(range(1, len(each) + 1))
        assert all(bool(line.readings) == (line.reason is None) for line in each)
        assert all(len(line.text) <= LONGEST_LINE for line in each)
