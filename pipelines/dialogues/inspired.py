"""INSPIRED (Hayati et al. 2020): utterances with strategies, one a row, and the surveys of the people who talked.

Tab separated without quoting; quotation marks in texts are written QUOTATION_MARK. The `movies` column was made by matching strings and is
often wrong: a hint. The `*_dict` columns are Python literals about the whole dialogue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pipelines.dialogues.dialogue import RECOMMENDER, SEEKER, Dialogue, Turn, hint_names, plain
from pipelines.dialogues.records import (
    BadRecord,
    Books,
    Place,
    Record,
    a_text,
    an_id,
    as_id,
    as_name,
    as_number,
    python_literal,
    rest_of,
    table_rows,
)
from pipelines.dialogues.splits import stated_split
from pipelines.sources.blocks import FileFormat
from pipelines.sources.files import SourceFile

_TSV = FileFormat("tsv", delimiter="\t")
_ROLES = {"RECOMMENDER": RECOMMENDER, "SEEKER": SEEKER}
# The README calls the first one first_label; the files call it expert_label.
_SCHEMES = {
    "expert_label": "inspired_strategy",
    "first_label": "inspired_strategy",
    "second_label": "inspired_second_strategy",
}
_LITERALS = ("movie_dict", "genre_dict", "actor_dict", "director_dict", "others_dict")
_OF_THE_DIALOGUE = ("fine_label", "case", "coarse_label", "movie_id")
_NOTHING = frozenset({"", "nan", "NaN", "None"})
_QUOTE = "QUOTATION_MARK"

_LIKERT = {
    "strongly disagree": 0.0,
    "disagree": 0.25,
    "neither agree nor disagree": 0.5,
    "agree": 0.75,
    "strongly agree": 1.0,
}
_PERSONALITY_SCALE = (1.0, 6.0)  # survey_data/README.md
# Columns by which a survey's rows are found, and columns that answer nothing.
_SURVEY_KEYS = ("seeker_survey_id", "seek_survey_id", "rec_survey_id", "User_ID", "user_id")
_NO_ANSWERS = ("role", "case", "fine_label", "coarse_label", "movie_id", "seeker_id", "recommender_id", *_SURVEY_KEYS)


@dataclass
class Surveys:
    """What the survey files say. `dialogues`: the row about a dialogue. `answers`: by side and key (survey or user), rows of answers."""

    dialogues: dict[str, dict[str, str]] = field(default_factory=dict)
    answers: dict[tuple[str, str], list[dict[str, str]]] = field(default_factory=dict)


def read_surveys(files: Sequence[SourceFile], books: Books) -> Surveys:
    """Read survey_data: the list of dialogues, and one file for each survey, whose name says whose it is (`seeker_`, `rec_`)."""
    surveys = Surveys()
    for file in files:
        side = SEEKER if PurePosixPath(file.name).name.startswith("seek") else RECOMMENDER
        for record in table_rows(file, _TSV, books):
            row = record.value
            key = next((name for name in _SURVEY_KEYS if name in row), None)
            try:
                if "dialog_id" in row and "seek_survey_id" in row:
                    surveys.dialogues.setdefault(an_id(row, "dialog_id"), row)
                elif key is not None:
                    surveys.answers.setdefault((side, an_id(row, key)), []).append(row)
                else:
                    raise BadRecord(f"none of the columns {', '.join(_SURVEY_KEYS)}")
            except BadRecord as error:
                books.reject(record.place, str(error))
                continue
            books.keep(record.place)
    return surveys


def read_dialogues(files: Sequence[SourceFile], books: Books, surveys: Surveys) -> Iterator[Dialogue]:
    """Dialogues of the files with one utterance a row."""
    for file in files:
        groups: dict[str, list[Record]] = {}
        seen: dict[tuple[str, str], tuple[int, str]] = {}
        for record in table_rows(file, _TSV, books):
            row = record.value
            try:
                dialogue_id = an_id(row, "dialog_id")
                if row.get("speaker", "").strip().upper() not in _ROLES:
                    raise BadRecord("speaker: neither RECOMMENDER nor SEEKER")
                text = a_text(row, "text")
                utterance = as_id(row.get("utt_id"))
                if utterance is not None:
                    line, other = seen.setdefault((dialogue_id, utterance), (record.place.line, text))
                    if line != record.place.line:
                        same = "the same conversation" if text == other else f"utt_id: another {utterance}"
                        raise BadRecord(f"{same} stands in {file.name} line {line}")
            except BadRecord as error:
                books.reject(record.place, str(error))
                continue
            groups.setdefault(dialogue_id, []).append(record)
        for dialogue_id, records in groups.items():
            dialogue = _dialogue(dialogue_id, records)
            split = stated_split(file.name)
            dialogue.stated = (split,) if split else ()
            _add_surveys(dialogue, surveys)
            yield dialogue


def _dialogue(source_id: str, records: list[Record]) -> Dialogue:
    places: list[Place] = [record.place for record in records]
    dialogue = Dialogue(source_id, places, [])
    for record in records:
        dialogue.turns.append(_turn(record.value, dialogue))
    of_all = {name: _first(records, name) for name in _OF_THE_DIALOGUE}
    dialogue.outcome = of_all.pop("fine_label") or of_all.pop("case")
    dialogue.extra |= {name: value for name, value in of_all.items() if value is not None}
    return dialogue


def _first(records: list[Record], name: str) -> str | None:
    return next((value for record in records if (value := record.value.get(name, "")) not in _NOTHING), None)


def _turn(row: dict[str, str], dialogue: Dialogue) -> Turn:
    text = row["text"]
    turn = Turn(_ROLES[row["speaker"].strip().upper()], text, plain(text.replace(_QUOTE, '"')))
    for column, scheme in _SCHEMES.items():
        label = row.get(column, "").strip()
        if label not in _NOTHING:
            turn.labels.append((scheme, label))
    titles = [title.strip() for title in row.get("movies", "").split(";")]
    items = [(item_id, item_id) for title in titles if (item_id := as_name(title)) is not None]
    hint_names(turn, "column", items)
    turn.extra = rest_of(row, "dialog_id", "speaker", "text", "movies", *_SCHEMES, *_LITERALS, *_OF_THE_DIALOGUE)
    if row.get("text_with_placeholder") == text:
        del turn.extra["text_with_placeholder"]
    unreadable: dict[str, Any] = {}
    unread_titles = [title for title in titles if title and as_name(title) is None]
    if unread_titles:
        unreadable["movies"] = unread_titles
    for column in _LITERALS:
        stated = row.get(column, "")
        if stated in _NOTHING:
            continue
        value = python_literal(stated)
        if value is None:
            unreadable[column] = stated
        elif dialogue.extra.setdefault(column, value) != value:
            turn.extra[column] = value
    if unreadable:
        turn.extra["unreadable"] = unreadable
    return turn


def _add_surveys(dialogue: Dialogue, surveys: Surveys) -> None:
    """Who talked, what they answered, and whether the seeker accepted."""
    about = surveys.dialogues.get(dialogue.source_id, {})
    seeker_survey, recommender_survey = about.get("seek_survey_id"), about.get("rec_survey_id")
    for row in surveys.answers.get((SEEKER, seeker_survey or ""), []):
        dialogue.seeker_id = dialogue.seeker_id or as_id(row.get("seeker_id"))
        dialogue.recommender_id = dialogue.recommender_id or as_id(row.get("recommender_id"))
    for turn in dialogue.turns:
        turn.speaker_id = dialogue.seeker_id if turn.role == SEEKER else dialogue.recommender_id
    for side, key in (
        (SEEKER, seeker_survey),
        (RECOMMENDER, recommender_survey),
        (SEEKER, dialogue.seeker_id),
        (RECOMMENDER, dialogue.recommender_id),
    ):
        for row in surveys.answers.get((side, key or ""), []):
            for question, answer in row.items():
                if question not in _NO_ANSWERS and answer not in _NOTHING:
                    dialogue.feedback.setdefault((side, "", question), (None, answer, _value(answer)))
    if dialogue.outcome is None and about.get("fine_label", "") not in _NOTHING:
        dialogue.outcome = about["fine_label"]
    if dialogue.outcome is not None:
        accepted = (
            1.0 if dialogue.outcome.startswith("accept") else 0.0 if dialogue.outcome.startswith("reject") else None
        )
        dialogue.feedback[SEEKER, "", "accepted"] = (None, dialogue.outcome, accepted)


def _value(answer: str) -> float | None:
    """An answer on a scale as a number from 0 to 1; null for words of no scale."""
    low, high = _PERSONALITY_SCALE
    score = as_number(answer)
    if score is not None:
        return (score - low) / (high - low) if low <= score <= high else None
    return _LIKERT.get(answer.strip().lower())
