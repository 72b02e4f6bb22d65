"""Reading a ranked list out of what a language model wrote.

Asked for `<rank>. <movie name>` and nothing else, models give bold names, bullets, remarks, thoughts, tables, JSON, two lists. Belongs here: text in,
lines out, each with the ways it can be read, or the reason why it cannot. Does not belong here: which film a line is (`matching.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

PARSING_VERSION = "1"

# What is looked at of an answer, and of a line: beyond that is no list of films.
LONGEST_ANSWER = 100_000
LONGEST_LINE = 300
MOST_LINES = 500

# Keys under which a JSON list may state a name.
_NAME_KEYS = ("title", "name", "movie", "movie_name", "film")
_YEAR_KEYS = ("year", "release_year")
_RANK_KEYS = ("rank", "position", "#")

_THOUGHT = re.compile(r"<(think|thinking|reasoning|thought)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_THOUGHT_BEGINS = re.compile(r"<(?:think|thinking|reasoning|thought)>", re.IGNORECASE)
_THOUGHT_ENDS = re.compile(r"</(?:think|thinking|reasoning|thought)>", re.IGNORECASE)
_FENCE = re.compile(r"^\s*(?:```|~~~)[\w-]*\s*$")
# "1. ", "1) ", "**1.** ", "- 1: ", "#1 ", "1 - ", "(1) ", "Rank 1: ". Not "12 Angry Men" and not "2:22".
_NUMBERED = re.compile(
    r"^[\s>*_•·#-]*\(?(?:(?:rank|no\.?|number|#)\s*)?(?P<rank>\d{1,3})(?:\\?[.):\]]+(?!\d)(?=\D|$)|\s+[-–—]\s+)[*_]*\s*(?P<text>.*)$", re.IGNORECASE
)  # fmt: skip
_HASHED = re.compile(r"^[\s>*_-]*#(?P<rank>\d{1,3})\s+(?P<text>\S.*)$")
_BULLET = re.compile(r"^\s*[-*•·+]\s+(?P<text>\S.*)$")
_NEXT_NUMBER = re.compile(r"(?<=\S)\s+(\d{1,3})[.)]\s")
_RULE = re.compile(r"^[\s|:=+-]*$")
_BOLD = re.compile(r"^(?P<mark>\*\*|__|\*|_|`)(?P<name>\S.*?)(?P=mark)\s*(?P<rest>.*)$")
_QUOTED = re.compile(r"""^["“”«‹„](?P<name>[^"“”»›]+)["“”»›]\s*(?P<rest>.*)$""")
_LINK = re.compile(r"\[([^\]]+)\]\([^)\s]*\)")
_YEAR_FIRST = re.compile(r"^\s*[\[(](?:18|19|20)\d\d[\])]")
_UP_TO_YEAR = re.compile(r"^(.+?[\[(](?:18|19|20)\d\d[^)\]]{0,40}[\])])")
_REMARK = re.compile(r"\s+[-–—|]+\s+|\s*[—]\s*|:\s+|\s+\(|\s*;\s+")
_HTML = re.compile(r"</?(?:b|i|em|strong|br|li|ol|ul|p)\s*/?>", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]")
_LEFTOVERS = ' \t\r\n*_`"“”«»'


@dataclass(frozen=True)
class Line:
    """A line of a list. `rank`: its place, from 1. `text`: the name as written, without marks.

    `readings`: names that it can mean, the likeliest first; whatever follows the first is shorter (a remark cut off). Empty where the line cannot be
    read, and then `reason` says why.
    """

    rank: int
    text: str
    readings: tuple[str, ...]
    reason: str | None = None


@dataclass(frozen=True)
class Parsed:
    """What an answer holds: its lists, in order, none of them empty; and what is the matter where there is none."""

    lists: tuple[tuple[Line, ...], ...]
    problem: str | None = None


def parse(answer: str) -> Parsed:
    """Read the lists of an answer.

    Numbered lines make a list; where the numbers begin anew, another one. Numbers that are all different order a list, whichever way it was
    written down. Without numbers, a JSON list, rows of a table, bullets and short lines stand for a list, in this order. Thoughts in tags are
    left out; thoughts that never end leave no answer.
    """
    text, problem = _spoken(answer[:LONGEST_ANSWER])
    if problem:
        return Parsed((), problem)
    if not text.strip():
        return Parsed((), "the answer is empty")
    if (listed := _from_json(text)) is not None:
        lists: list[list[tuple[int | None, str]]] = [[(None, each) for each in listed]]
    else:
        lines = [_HTML.sub(" ", line) for line in _unfolded(text).splitlines() if not _FENCE.match(line)]
        lists = _numbered(lines) or _table(lines) or _plain(lines)
    made = tuple(_made(each[:MOST_LINES]) for each in lists if each)
    return Parsed(made) if made else Parsed((), "there is no list in the answer")


def _spoken(answer: str) -> tuple[str, str | None]:
    """The answer without thoughts."""
    text = _THOUGHT.sub("\n", answer)
    if ended := list(_THOUGHT_ENDS.finditer(text)):
        # Chat templates may open the thought themselves.
        text = text[ended[-1].end() :]
    if begun := _THOUGHT_BEGINS.search(text):
        text = text[: begun.start()]
        if not text.strip():
            return "", "the model was still thinking when its answer ended"
    return text, None


def _unfolded(text: str) -> str:
    """An answer of one line, as lines: at line feeds that were escaped twice, else before each number that counts on."""
    text = text.strip()
    if "\n" in text:
        return text
    if "\\n" in text:
        return text.replace("\\n", "\n")
    lines, number, begin = [], 2, 0
    for found in _NEXT_NUMBER.finditer(text):
        if int(found[1]) == number:
            lines.append(text[begin : found.start()])
            number, begin = number + 1, found.start()
    return "\n".join([*lines, text[begin:]])


def _from_json(text: str) -> list[str] | None:
    """Names of a JSON list, alone or in a fence or an object; None where the answer is none."""
    inner = "\n".join(line for line in text.splitlines() if not _FENCE.match(line)).strip()
    begin = min((place for place in (inner.find("["), inner.find("{")) if place >= 0), default=-1)
    # Text before it may be an introduction; a bracket after a number is a list's own.
    if begin < 0 or _NUMBERED.match(inner.splitlines()[0]) or len(inner[:begin]) > LONGEST_LINE:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(inner[begin:])
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        value = next((each for each in value.values() if isinstance(each, list)), None)
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(each, dict) for each in value):
        ranks = [next((each[key] for key in _RANK_KEYS if isinstance(each.get(key), int)), None) for each in value]
        stated = [rank for rank in ranks if rank is not None]
        if len(set(stated)) == len(value):
            value = [value[place] for place in sorted(range(len(value)), key=stated.__getitem__)]
    names = [_json_name(each) for each in value]
    return names if any(names) else None


def _json_name(value: Any) -> str:
    if isinstance(value, str):
        numbered = _NUMBERED.match(value)
        return numbered["text"] if numbered else value
    if isinstance(value, dict):
        name = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), "")
        year = next((value[key] for key in _YEAR_KEYS if isinstance(value.get(key), int)), None)
        return f"{name} ({year})" if name and year and str(year) not in name else name
    return ""


def _numbered(lines: Iterable[str]) -> list[list[tuple[int | None, str]]]:
    """Lists of numbered lines. A number that stood before in the list begins another one; so does a 1 after rising numbers."""
    lists: list[list[tuple[int | None, str]]] = []
    numbers: set[int] = set()
    last = 0
    for line in lines:
        if line.count("|") >= 2:
            continue
        found = _NUMBERED.match(line) or _HASHED.match(line)
        if found is None:
            continue
        number = int(found["rank"])
        is_countdown = bool(numbers) and number == last - 1
        if not lists or number in numbers or (number == 1 and not is_countdown):
            lists.append([])
            numbers = set()
        numbers.add(number)
        last = number
        lists[-1].append((number, found["text"]))
    # "1." before every line is how Markdown numbers a list.
    if len(lists) > 1 and all(len(each) == 1 for each in lists):
        return [[(None, text) for each in lists for _, text in each]]
    return lists


def _table(lines: Iterable[str]) -> list[list[tuple[int | None, str]]]:
    """The rows of a table: the name is the first cell that is no number. Its header, which stands above a rule, is none of them."""
    rows: list[tuple[int | None, str]] = []
    for line in lines:
        if line.count("|") < 2:
            continue
        if _RULE.match(line):
            rows.clear()
            continue
        cells = [cell.strip(_LEFTOVERS + "#.") for cell in line.strip().strip("|").split("|")]
        names = [place for place, cell in enumerate(cells) if cell and not cell.isdecimal()]
        rank = int(cells[0]) if cells[0].isdecimal() and len(cells[0]) <= 3 else None
        if not names and len(cells) > 1 and rank is not None:
            names = [1]  # a film whose name is a number: 1917
        if names:
            year = next((cell for cell in cells[names[0] + 1 :] if re.fullmatch(r"(?:18|19|20)\d\d", cell)), None)
            name = cells[names[0]]
            rows.append((rank, f"{name} ({year})" if year and year not in name else name))
    return [rows] if rows else []


def _plain(lines: Iterable[str]) -> list[list[tuple[int | None, str]]]:
    """Bullets; or, where there are none, lines that are short enough to be names."""
    said = [line for line in lines if line.strip()]
    bullets = [found["text"] for line in said if (found := _BULLET.match(line))]
    if bullets:
        return [[(None, text) for text in bullets]]
    names = [line.strip() for line in said if len(line.split()) <= 12 and not line.rstrip().endswith((":", ".", "?"))]
    return [[(None, name) for name in names]] if len(names) >= 2 else []


def _made(rows: list[tuple[int | None, str]]) -> tuple[Line, ...]:
    numbers = [number for number, _ in rows if number is not None]
    if len(set(numbers)) == len(rows):
        rows = sorted(rows, key=lambda row: row[0] or 0)
    lines = [_read(text) for _, text in rows]
    return tuple(replace(line, rank=place) for place, line in enumerate(lines, start=1))


def _read(written: str) -> Line:
    text = " ".join(_LINK.sub(r"\1", written).split())
    plain = text.strip(_LEFTOVERS)
    if not plain:
        return Line(0, "", (), "nothing stands after the number")
    if len(plain) > LONGEST_LINE:
        return Line(0, plain[:LONGEST_LINE], (), "too long to be a name")
    if not _WORD.search(plain):
        return Line(0, plain, (), "there is no letter and no digit in it")
    readings: list[str] = []
    marked = _BOLD.match(text) or _QUOTED.match(text)
    if marked:
        # A year after the marks is still part of the name: **Heat** (1995).
        year = _YEAR_FIRST.match(marked["rest"])
        readings.append(f"{marked['name']} {year[0].strip() if year else ''}")
    if up_to := _UP_TO_YEAR.match(plain):
        readings.append(up_to[1])
    readings.append(plain)
    # Longer readings first: "Alien: Covenant" before "Alien".
    readings += [plain[: found.start()] for found in reversed(list(_REMARK.finditer(plain)))]
    clean = (re.sub(r"\*\*|__|`", "", reading).strip(_LEFTOVERS + ".,:;") for reading in readings)
    distinct = tuple(dict.fromkeys(reading for reading in clean if _WORD.search(reading)))
    return Line(0, distinct[0] if marked else plain, distinct)
