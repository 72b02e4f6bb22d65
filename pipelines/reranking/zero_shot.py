"""Recorded lists of titles graded under the rules of He et al. 2023, which RAR's evaluation follows.

The rules: a list is read from the first "1."; numbers and parentheses are stripped; each title is the nearest name of the vocabulary by edit
distance of lower-cased letters, and out of vocabulary (OOV) when that is more than two edits away. The vocabulary is every name of the
catalogue, people and genres included, without years, so that films of one name are one. Two switches: OOV titles are
dropped, or hold their place; films already mentioned are dropped (from lists and from labels), or kept. Each label of a turn is one row; figures are
means over rows, NDCG = 1 / log2(rank + 1).

Belongs here: lists, labels and a vocabulary in, figures out. Does not belong here: reading files (assets/commands/grade.py).

Source: He et al., "Large language models as zero-shot conversational recommenders" (CIKM 2023).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.evaluation.ranking.intervals import estimate, weights

RULES_VERSION = "1"
MATCHER = f"nearest name within two edits, He et al. 2023, version {RULES_VERSION}"
MOST_EDITS = 2
RECALL_AT = (1, 5, 10, 20)
NDCG_AT = (10,)

# Titles times names whose distances are held at once, a byte each.
_AT_ONCE = 20_000_000

_FIRST = re.compile(r"(?<!\d)1\.")
_NUMBER = re.compile(r"^\s*\d+\.\s*")
_PARENTHESES = re.compile(r"\s*\([^)]*\)")
_RESOURCE = re.compile(r"^<?https?://[^/]+/resource/(.*?)>?$")


@dataclass(frozen=True)
class Turn:
    """What was to be found at one place: names `labels`, names `seen` before, and the dialogue (`cluster`) that it is in."""

    cluster: str
    labels: tuple[str, ...]
    seen: frozenset[str]


@dataclass(frozen=True)
class Figure:
    """One number with its 95 % interval, clustered by dialogue (`interval`: how it was made), and what a random order of the vocabulary would give."""

    metric: str
    k: int
    value: float
    low: float
    high: float
    interval: str
    n: int
    clusters: int
    chance: float


def listed_titles(text: str) -> list[str]:
    """The titles of an answer from its first "1." on, numbers and parentheses stripped; none where there is no "1."."""
    first = _FIRST.search(text)
    lines = text[first.start() :].splitlines() if first else []
    titles = (plain_name(_NUMBER.sub("", line)) for line in lines)
    return [title for title in titles if title]


def plain_name(text: str) -> str:
    """A name without what stands in parentheses: `Heat (1995)` is `Heat`."""
    return _PARENTHESES.sub("", text).strip()


def name_of(entry: str) -> str:
    """The name that a catalogue's entry stands for: a title, or a resource such as `<http://dbpedia.org/resource/Heat_(1995_film)>`.

    Of resources underscores and hyphens are blanks, as in the recorded matching.
    """
    found = _RESOURCE.match(entry)
    return plain_name(unquote(found[1]).replace("_", " ").replace("-", " ") if found else entry)


def nearest(
    titles: Sequence[str], vocabulary: Sequence[str], most: int = MOST_EDITS
) -> dict[str, tuple[str, int] | None]:
    """For each title the nearest name of the vocabulary and its edits (Levenshtein, lower-cased); None when that is more than `most`.

    Of names equally near, the first one of the vocabulary.
    """
    from rapidfuzz import process
    from rapidfuzz.distance import Levenshtein

    if not vocabulary:
        return dict.fromkeys(titles)
    names = [name.lower() for name in vocabulary]
    first_of: dict[str, int] = {}
    for place, name in enumerate(names):
        first_of.setdefault(name, place)
    distinct = list(dict.fromkeys(titles))
    found: dict[str, tuple[str, int] | None] = {}
    exact = {title: first_of[title.lower()] for title in distinct if title.lower() in first_of}
    found.update({title: (vocabulary[place], 0) for title, place in exact.items()})
    rest = [title for title in distinct if title not in exact]
    at_once = max(1, _AT_ONCE // len(names))
    for begin in range(0, len(rest), at_once):
        some = rest[begin : begin + at_once]
        # Beyond the cut-off every distance is `most` + 1.
        edits: NDArray[np.uint8] = process.cdist(
            [title.lower() for title in some], names, scorer=Levenshtein.distance, score_cutoff=most, dtype=np.uint8
        )
        places = edits.argmin(axis=1)
        for title, place, number in zip(some, places, edits[np.arange(len(some)), places], strict=True):
            found[title] = (vocabulary[place], int(number)) if number <= most else None
    return found


def grade(
    lists: Sequence[Sequence[str]],
    turns: Sequence[Turn],
    vocabulary: Sequence[str],
    drop_oov: bool,
    drop_seen: bool,
) -> pl.DataFrame:
    """One row a turn and label: cluster [str], label [str], rank [i64, from 1; null where the list does not have it].

    `lists`: titles in order, one list for each of `turns`. `vocabulary`: distinct names. Raises ValueError where lists and turns are not as many.
    """
    if len(lists) != len(turns):
        raise ValueError(f"{len(lists):,} lists for {len(turns):,} turns")
    matched = nearest([title for each in lists for title in each], vocabulary)
    rows = []
    for titles, turn in zip(lists, turns, strict=True):
        ranks: dict[str, int] = {}
        place = 0
        for title in titles:
            match = matched[title]
            if (match is None and drop_oov) or (match is not None and drop_seen and match[0] in turn.seen):
                continue
            place += 1
            if match is not None:
                ranks.setdefault(match[0], place)
        labels = [label for label in turn.labels if not (drop_seen and label in turn.seen)]
        rows += [(turn.cluster, label, ranks.get(label)) for label in labels]
    return pl.DataFrame(rows, schema={"cluster": pl.String, "label": pl.String, "rank": pl.Int64}, orient="row")


def figures(rows: pl.DataFrame, names: int) -> list[Figure]:
    """Recall and NDCG over the rows of `grade`; `names`: how many the vocabulary has. None where there are no rows."""
    if rows.is_empty():
        return []
    ranks = rows["rank"].cast(pl.Float64).fill_null(float("inf")).to_numpy()
    asked = [*(("recall", k) for k in RECALL_AT), *(("ndcg", k) for k in NDCG_AT)]
    columns = np.column_stack([_gain(metric, ranks) * (ranks <= k) for metric, k in asked])
    _, cluster = np.unique(rows["cluster"].to_numpy(), return_inverse=True)
    clusters = int(cluster.max()) + 1
    means, low, high, methods = estimate(columns, cluster, weights(clusters))
    chances = [float(_gain(metric, np.arange(1.0, min(k, names) + 1)).sum() / names) for metric, k in asked]
    return [
        Figure(
            metric,
            k,
            float(means[at]),
            float(low[at]),
            float(high[at]),
            methods[at],
            rows.height,
            clusters,
            chances[at],
        )
        for at, (metric, k) in enumerate(asked)
    ]


def _gain(metric: str, ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ones_like(ranks) if metric == "recall" else 1 / np.log2(ranks + 1)


def passport(hashes: Mapping[str, str], names: int, drop_oov: bool, drop_seen: bool) -> dict[str, object]:
    """What figures of this module are figures of: files by their SHA-256, pool, switches, matcher."""
    return {
        "protocol": "he_2023",
        "files": dict(hashes),
        "pool": "vocabulary",
        "pool_items": names,
        "oov": "dropped" if drop_oov else "kept",
        "seen": "masked" if drop_seen else "kept",
        "repeats": "dropped" if drop_seen else "kept",
        "unit": "label",
        "matcher": MATCHER,
    }
