"""The report on retrieval: what stands in it follows from the frames, nothing is loaded from elsewhere, and text is text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import polars as pl
import pytest

from pipelines.reporting.plots import Bar, Series, bars, lines
from pipelines.reporting.retrieval import page
from warehouse.contracts import Table
from warehouse.tables.ranking_evaluation import EVAL_RANKING, EVAL_RANKING_TESTS
from warehouse.tables.reranking import EVAL_HALLUCINATION, RL_REWARDS
from warehouse.tables.retrieval import ML_ITEM_INDEX, ML_TRAINING_LOG, RETRIEVERS

FRAMES = {
    table.name: table.empty()
    for table in (EVAL_RANKING, EVAL_RANKING_TESTS, EVAL_HALLUCINATION, ML_TRAINING_LOG, ML_ITEM_INDEX, RL_REWARDS)
} | {"retrievers": RETRIEVERS["lrurec"].empty()}


def rows(table: Table, *given: dict[str, Any], **shared: Any) -> pl.DataFrame:
    """Rows of `table` with the values given, and something plausible for what is not."""
    plausible = {pl.String: "x", pl.Boolean: False, pl.Float64: 0.5, pl.Int64: 1, pl.Int32: 1}

    def value(name: str, dtype: Any) -> Any:
        return [] if isinstance(dtype, pl.List) else plausible[type(dtype) if isinstance(dtype, pl.DataType) else dtype]

    blank = {name: value(name, dtype) for name, dtype in table.schema.items()}
    return table.conform(pl.DataFrame([{**blank, **shared, **each} for each in given], schema=table.schema))


def figures(*systems: tuple[str, float, bool]) -> pl.DataFrame:
    shared = {
        "dataset": "redial",
        "setting": "dialogues",
        "protocol": "full_repeats_kept",
        "slice": "all",
        "slice_value": "all",
        "pool": "full",
        "split": "test",
        "seeds": [42],
    }
    given = [
        {
            "system": system,
            "value": value * k / 10,
            "low": 0.0,
            "high": 1.0,
            "is_baseline": baseline,
            "metric": metric,
            "k": k,
        }
        for system, value, baseline in systems
        for metric, k in (("recall", 1), ("recall", 10), ("ndcg", 10), ("mrr", 10))
    ]
    return rows(EVAL_RANKING, *given, **shared)


class Texts(HTMLParser):
    """Texts of table cells, and every tag that was met."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._is_in_cell = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag == "td":
            self._is_in_cell = True
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._is_in_cell = self._is_in_cell and tag != "td"

    def handle_data(self, data: str) -> None:
        if self._is_in_cell:
            self.cells[-1] += data


def read(html: str) -> Texts:
    found = Texts()
    found.feed(html)
    return found


def test_systems_stand_in_order_and_baselines_are_named() -> None:
    made = page({**FRAMES, "eval_ranking": figures(("popularity", 0.2, True), ("lrurec", 0.4, False))}, {})
    cells = read(made.html).cells
    assert cells.index("lrurec") < cells.index("popularity (baseline)")
    assert cells[cells.index("lrurec") + 3] == "0.40000.0000 – 1.0000"
    assert made.figures == len(re.findall("<svg", made.html)) == 2


def test_an_empty_warehouse_has_a_page_that_says_so() -> None:
    made = page(FRAMES, {})
    assert made.figures == 0
    assert "nothing has been ranked" in made.html


def test_names_are_text_and_nothing_is_loaded_from_elsewhere() -> None:
    name = '<script>alert("x")</script>'
    made = page({**FRAMES, "eval_ranking": figures((name, 0.4, False), ("a&b", 0.3, False))}, {})
    found = read(made.html)
    assert [tag for tag, _ in found.tags if tag in ("script", "link", "iframe", "img")] == []
    assert name in found.cells
    links = [
        value
        for _, attributes in found.tags
        for key, value in attributes.items()
        if key in ("href", "src", "xlink:href")
    ]
    assert [link for link in links if not str(link).startswith("#")] == []


def test_the_stand_in_and_runs_that_learned_nothing_are_told_first() -> None:
    numbers = figures(("lrurec+stand-in", 0.4, False)).with_columns(is_stand_in=pl.lit(True))
    run = rows(
        RETRIEVERS["lrurec"], {"system": "rar_dpo", "stage": "rl", "seed": 42, "warnings": ["learned nothing: x"]}
    )
    html = page({**FRAMES, "eval_ranking": numbers, "retrievers": run}, {}).html
    warned = html[html.index('class="warning"') : html.index("<section")]
    assert "stand-in" in warned
    assert "rar_dpo (rl, seed 42): learned nothing: x" in warned


@pytest.mark.parametrize("draw", ["lines", "bars"])
def test_plots_take_the_colour_of_the_page_and_share_no_ids(draw: str) -> None:
    def drawn(name: str) -> str:
        if draw == "bars":
            return bars([Bar("a", 1.0, 0.5, 1.5), Bar("b", 2.0)], name, "x")
        return lines([Series("a", [1, 2], [1, 2], [0, 1], [2, 3]), Series("b", [1, 2], [2, 2])], name, "x", "y")

    one, other = drawn("first plot"), drawn("second plot")
    assert "currentColor" in one and "#010203" not in one
    ids = [set(re.findall(r'\bid="([^"]+)"', each)) for each in (one, other)]
    assert ids[0] and not ids[0] & ids[1]
    assert set(re.findall(r"url\(#([^)]+)\)", one)) <= ids[0]
    assert drawn("first plot") == one
