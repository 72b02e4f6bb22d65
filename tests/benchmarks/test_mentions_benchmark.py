"""The benchmark of mentions, as the program it is, at a tiny size; and the mentions that it makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from benchmarks.bench_mentions import KINDS, mentions_of, with_typing_error
from pipelines.synth.draw import stream

PROJECT = Path(__file__).resolve().parents[2]


def test_mentions_are_titles_as_people_type_them() -> None:
    films = pl.DataFrame(
        {"movie_id": ["a", "b"], "title": ["The Old Ferry: Part 2", "Wren's House"], "votes": [5, None]}
    )
    mentions = mentions_of(films, 120, stream(1, "test"))
    assert set(mentions["how"]) == set(KINDS)
    of = {how: set(rows["mention"]) for (how,), rows in mentions.group_by("how")}
    assert of["lower case"] == {"the old ferry: part 2", "wren's house"}
    assert of["no article"] == {"Old Ferry: Part 2", "Wren's House"}
    assert of["no punctuation"] == {"The Old Ferry Part 2", "Wrens House"}
    wrong = mentions.filter(how="typing error")
    assert (wrong["mention"] != wrong["title"]).mean() > 0.5
    sizes = wrong.select(pl.col("mention", "title").str.len_chars().cast(pl.Int64))
    assert (sizes["mention"] - sizes["title"]).is_between(-1, 1).all()


def test_short_titles_are_left_alone() -> None:
    assert with_typing_error("Up", stream(1, "test")) == "Up"


@pytest.mark.slow
def test_the_line_that_it_prints() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/bench_mentions.py", "--movies", "300", "--mentions", "40"],
        cwd=PROJECT,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert set(found) == {"benchmark", "what", "figures", "targets", "machine"}
    figures = found["figures"]
    assert figures["films"] == 300
    assert figures["scan"]["hits"] > figures["scan"]["turns"] / 4
    assert figures["lookup"]["same_where_extract_one_is_right"] >= 0.95
    assert set(figures["lookup"]["right_by_kind"]) == set(KINDS)
    assert len(found["targets"]) == 3
