"""Plots as SVG: what they are given stands in them, in the page's colour, and always the same."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pipelines.reporting.plots import Bar, Part, Series, bubbles, dots, histograms, lines, stacked

DRAWN: dict[str, tuple[Callable[[str], str], tuple[str, ...]]] = {
    "dots": (lambda name: dots([Bar("people", 1.0, 0.5, 1.5, True), Bar("simulated", 2.0)], name, "words"), ("people", "simulated", "words")),
    "stacked": (lambda name: stacked(["one", "two"], [Part("found", [1, 0], "#0072b2"), Part("left", [0, 1], "#d55e00")], name, "share"), ("one", "found", "left")),
    "histograms": (lambda name: histograms({"inferred": [0.1, 0.2, 0.2], "random": [0.9]}, [0, 0.5, 1], name, "x"), ("inferred (n = 3)", "random (n = 1)")),
    "small histograms": (lambda name: histograms({"kept": [0.1]}, [0, 0.5, 1], name, "x", is_small=True), ("kept (n = 1)",)),
    "bubbles": (lambda name: bubbles({(1.0, 2.0): 1234, (2.0, 2.0): 7, (3.0, 2.0): 5}, 5, name, "before", "after"), ("1,234", "before", "after")),
    "lines": (lambda name: lines([Series("a", [1, 3], [0.5, 1])], name, "turn", "share", has_whole_ticks=True, top=1), ("turn", ">1<", ">3<")),
}  # fmt: skip


@pytest.mark.parametrize("kind", DRAWN)
def test_a_plot_holds_its_texts_in_the_colour_of_the_page(kind: str) -> None:
    draw, texts = DRAWN[kind]
    svg = draw("first plot")
    assert all(text in svg for text in texts)
    assert svg.startswith('<svg role="img" aria-label="first plot"')
    assert "currentColor" in svg and "#010203" not in svg
    assert draw("first plot") == svg
    assert not set(re.findall(r'\bid="([^"]+)"', svg)) & set(re.findall(r'\bid="([^"]+)"', draw("other plot")))


def test_only_ticks_that_are_there_are_drawn() -> None:
    svg = DRAWN["lines"][0]("plot")
    assert ">2<" not in svg
