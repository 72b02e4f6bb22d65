"""Sheets for people: a stable sample, a blind sheet, a strict import, and settling what several people say."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.annotation import strategy, validation, vto
from warehouse.tables.annotation import ANNO_STRATEGY, ANNO_VALIDATION, ANNO_VTO, NO_OPERATION, OPERATIONS

NOW = datetime(2026, 1, 2, 3, 4, 5)
LINES = (
    "s: Hello!",
    "r: What kind of movies do you like?",
    "s: I usually like horror films",
    "r: unlit towers at dusk",
    "s: =1+1, thanks",
)


class Desk:
    """A small annotated conversation, its sheet, and what comes of filling it in."""

    def __init__(self, talk: Callable[..., Any]) -> None:
        self.turns, mentions = talk(*LINES)
        made = vto.annotate(self.turns, mentions)
        self.rows, self.settled = made.rows, vto.settle(made.decisions, made.rows)
        self.items = validation.turn_items(self.settled, self.rows)
        self.sheet = validation.write_turn_sheet("vto", self.items, self.turns, "all")
        self.lines = list(csv.DictReader(io.StringIO(self.sheet)))

    def filled(self, marks: Mapping[int, Mapping[str, str]], delimiter: str = ",") -> bytes:
        target = io.StringIO()
        writer = csv.DictWriter(target, list(self.lines[0]), delimiter=delimiter, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(line | dict(marks.get(at, {})) for at, line in enumerate(self.lines))
        return target.getvalue().encode()

    def read(self, content: bytes, annotator: str | None = "ann") -> pl.DataFrame:
        known = validation.every_turn(self.turns).with_columns(pl.lit("vto").alias("kind"))
        return validation.read_sheet(content, "sheet.csv", known, NOW, annotator)

    def problems(self, content: bytes, annotator: str | None = "ann") -> list[str]:
        with pytest.raises(validation.SheetError) as refused:
            self.read(content, annotator)
        return refused.value.problems


@pytest.fixture(scope="module")
def desk(talk: Callable[..., Any]) -> Desk:
    return Desk(talk)


def test_people_judge_blind(desk: Desk) -> None:
    assert [line["item_id"] for line in desk.lines] == [f"redial-1#{turn}" for turn in range(5)]
    assert all(not line[name] for line in desk.lines for name in (*OPERATIONS, NO_OPERATION, "annotator"))
    assert "retrieve_preferences" not in "".join(desk.lines[2].values())
    assert desk.lines[2]["context"].splitlines() == ["seeker: Hello!", "recommender: What kind of movies do you like?"]


def test_what_is_filled_in_comes_back_beside_what_was_said_then(desk: Desk) -> None:
    rows = desk.read(
        desk.filled({1: {"model_user_state": "1"}, 2: {"extract_entities": "x"}, 0: {NO_OPERATION: "yes"}})
    )
    ANNO_VALIDATION.check(rows)
    assert rows.height == 3 * len(OPERATIONS)
    said = rows.filter(pl.col("is_present") | pl.col("was_present")).sort("turn", "label")
    assert said.select("turn", "label", "is_present", "was_present", "was_by").rows() == [
        (1, "model_user_state", True, True, "heuristic"),
        (2, "extract_entities", True, False, "heuristic"),
        (2, "retrieve_preferences", False, True, "heuristic"),
    ]
    assert said["made_by"][0] == f"recommender_asks_taste {vto.versions()['recommender_asks_taste']}"


def test_a_sheet_nobody_touched_says_nothing(desk: Desk) -> None:
    assert desk.read(desk.filled({})).is_empty()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheets_of_any_country_can_be_read(desk: Desk, delimiter: str) -> None:
    content = b"\xef\xbb\xbf" + desk.filled({1: {"select_best": "TRUE"}}, delimiter).replace(b"\n", b"\r\n")
    assert desk.read(content).filter("is_present")["label"].to_list() == ["select_best"]


@pytest.mark.parametrize(
    ("marks", "says"),
    [
        ({1: {"select_best": "maybe"}}, "sheet.csv, line 3, column select_best: 'maybe' is neither 1 nor 0"),
        ({1: {"select_best": "1", NO_OPERATION: "1"}}, "line 3, column no_operation: marked beside select_best"),
        ({1: {"select_best": "0"}}, "line 3, column no_operation: mark it when the turn has no operation"),
        ({1: {"select_best": "1", "item_id": "redial-9#1"}}, "line 3, column item_id: unknown item 'redial-9#1'"),
        ({1: {"select_best": "1", "drawn": "e30="}}, "line 3, column drawn: not what was exported"),
        ({1: {"kind": "vote"}}, "line 3, column kind: 'vote' is none of"),
        ({1: {"select_best": "1"}, 2: {"select_best": "1", "item_id": "redial-1#1"}}, "judged by ann in line 3, too"),
        ({1: {"select_best": "1", "note": "n" * 3_000}}, "line 3, column note: longer than"),
    ],
)
def test_a_wrong_row_is_refused_with_line_and_column(desk: Desk, marks: dict[int, dict[str, str]], says: str) -> None:
    problems = desk.problems(desk.filled(marks))
    assert len(problems) == 1
    assert says in problems[0]


def test_lines_are_counted_as_they_stand_in_the_file(desk: Desk) -> None:
    assert "line 6, column rank_options" in desk.problems(desk.filled({3: {"rank_options": "?"}}))[0]


def test_somebody_has_to_be_named(desk: Desk) -> None:
    content = desk.filled({1: {"select_best": "1"}})
    assert "column annotator" in desk.problems(content, None)[0]
    assert desk.read(desk.filled({1: {"select_best": "1", "annotator": "bob"}}))["annotator"].unique().to_list() == [
        "bob"
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"a,b\n1,2\n",
        b"item_id,kind,drawn,kind\n",
        b'item_id,kind,drawn\n"x',
        b"item_id,kind,drawn\n1,2,3,4\n",
        b"item_id,kind,drawn\nx,vto,\0\n",
    ],
)
def test_what_is_no_sheet_is_refused(desk: Desk, content: bytes) -> None:
    assert all(problem.startswith("sheet.csv") for problem in desk.problems(content))


@given(st.text(max_size=40).filter(lambda text: "\0" not in text))
@settings(max_examples=60, deadline=None)
def test_a_cell_is_no_formula_and_comes_back(text: str) -> None:
    cell = validation.escaped(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert validation.unescaped(cell) == text or text.startswith("''")


def test_a_formula_in_a_turn_is_defused(desk: Desk) -> None:
    assert desk.lines[4]["text"] == "'=1+1, thanks"


def test_the_sample_is_stable_and_every_stratum_is_in_it() -> None:
    def items(number: int) -> pl.DataFrame:
        ids = [f"redial-{at}#0" for at in range(number)]
        return pl.DataFrame(
            {"item_id": ids, "dataset": "redial", "stratum": ["rare" if at < 5 else "usual" for at in range(number)]}
        )

    few, many = validation.draw(items(2_000), 0.2), validation.draw(items(4_000), 0.2)
    usual = few.items.filter(pl.col("stratum") == "usual")
    assert set(usual["item_id"]) <= set(many.items["item_id"])
    assert 0.17 < usual.height / 2_000 < 0.23
    assert few.strata.filter(pl.col("stratum") == "rare")["sampled"].item() >= validation.LEAST_OF_STRATUM
    assert few.strata["items"].sum() == 2_000


def test_the_same_import_twice_is_news_once(desk: Desk) -> None:
    rows = desk.read(desk.filled({1: {"select_best": "1"}}))
    fresh, gone = validation.news(rows, ANNO_VALIDATION.empty())
    assert fresh.height == rows.height
    assert gone.is_empty()
    later = rows.with_columns(pl.lit(datetime(2027, 1, 1)).alias("imported_at").cast(pl.Datetime("us")))
    assert [frame.height for frame in validation.news(later, rows)] == [0, 0]
    other = desk.read(desk.filled({1: {"rank_options": "1"}}))
    assert validation.news(other, rows)[0].height == 2


def said(desk: Desk, who: str, operation: str) -> pl.DataFrame:
    return desk.read(desk.filled({1: {operation: "1"}}), who)


def test_people_who_agree_settle_an_item_and_others_leave_it_open(desk: Desk) -> None:
    ann, bob = said(desk, "ann", "select_best"), said(desk, "bob", "rank_options")
    alone = validation.human_vto_rows(ann)
    assert ANNO_VTO.check(alone).select("operation", "source", "made_by").rows() == [("select_best", "human", "ann")]
    agreed = validation.human_vto_rows(pl.concat([ann, said(desk, "bob", "select_best")]))
    assert agreed["made_by"].to_list() == ["ann, bob"]
    both = pl.concat([ann, bob])
    assert validation.human_vto_rows(both).is_empty()
    assert validation.disagreements(both, "vto") == {"redial-1#1": "ann: select_best; bob: rank_options"}
    ruled = pl.concat([both, said(desk, validation.ADJUDICATED, "rank_options")])
    assert validation.human_vto_rows(ruled)["operation"].to_list() == ["rank_options"]
    assert validation.disagreements(ruled, "vto") == {}


def test_no_operation_is_a_judgement(desk: Desk) -> None:
    assert validation.human_vto_rows(said(desk, "ann", NO_OPERATION))["operation"].to_list() == [NO_OPERATION]


def test_a_sheet_of_disagreements_names_what_was_said(desk: Desk) -> None:
    words = {"redial-1#1": "ann: select_best; bob: rank_options"}
    sheet = validation.write_turn_sheet("vto", desk.items.head(2), desk.turns, "again", words)
    lines = list(csv.DictReader(io.StringIO(sheet)))
    assert [line["annotator"] for line in lines] == ["", validation.ADJUDICATED]
    assert lines[1]["note"] == words["redial-1#1"]


def test_strategies_are_judged_by_name(desk: Desk, talk: Callable[..., Any]) -> None:
    rows = strategy.settle(strategy.annotate(*talk(*LINES)))
    items = validation.strategy_items(rows)
    assert items["item_id"].to_list() == ["redial-1#1"]
    lines = list(csv.DictReader(io.StringIO(validation.write_turn_sheet("strategy", items, desk.turns, "all"))))
    known = validation.every_turn(desk.turns).with_columns(pl.lit("strategy").alias("kind"))

    def read(cell: str) -> pl.DataFrame:
        target = io.StringIO()
        writer = csv.DictWriter(target, list(lines[0]))
        writer.writeheader()
        writer.writerow(lines[0] | {"strategy": cell})
        return validation.read_sheet(target.getvalue().encode(), "s.csv", known, NOW, "ann")

    judged = read("Experience inquiry")
    assert judged.filter("is_present")["label"].to_list() == ["experience_inquiry"]
    assert judged.filter("was_present")["label"].to_list() == ["opinion_inquiry"]
    human = ANNO_STRATEGY.check(validation.human_strategy_rows(judged))
    assert human["strategy"].to_list() == ["experience_inquiry"]
    with pytest.raises(validation.SheetError, match="line 2, column strategy: 'flattery' is none of"):
        read("flattery")


@pytest.mark.parametrize(
    ("pair_id", "better", "is_present"),
    [("0" * 15 + "2", "A", True), ("0" * 15 + "3", "A", False), ("0" * 15 + "3", "b", True)],
)
def test_pairs_are_judged_without_showing_which_is_which(pair_id: str, better: str, is_present: bool) -> None:
    pairs = pl.DataFrame(
        {"pair_id": [pair_id], "dataset": ["redial"], "dialogue_id": ["redial-1"], "turn": pl.Series([3], dtype=pl.Int32),
         "construction": ["items_removed"], "version": ["1"], "duplicate_of": pl.Series([None], dtype=pl.String),
         "context": [[{"role": "user", "content": "a film?"}]], "chosen": ["Salt Road"], "rejected": ["none"]}
    )  # fmt: skip
    items = validation.pair_items(pairs)
    line = next(csv.DictReader(io.StringIO(validation.write_pair_sheet(items, pairs, "all"))))
    assert {line["answer_a"], line["answer_b"]} == {"Salt Road", "none"}
    target = io.StringIO()
    writer = csv.DictWriter(target, list(line))
    writer.writeheader()
    writer.writerow(line | {"better": better})
    known = items.with_columns(pl.lit("pair").alias("kind"))
    judged = validation.read_sheet(target.getvalue().encode(), "p.csv", known, NOW, "ann")
    assert judged.select("label", "is_present", "was_present").rows() == [("chosen", is_present, True)]
