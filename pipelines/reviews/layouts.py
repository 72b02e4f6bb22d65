"""The files that hold reviews, items and tasks, as data: known by their names, wherever they lie under the sources folder.

A new category of Amazon Reviews 2023 is a row here. Does not belong here: how a line is read (`amazon.py`, `ecpo.py`, `yelp.py`, `movielens.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.sources.files import SourceFile, list_folder, match_files

# Remarks of dialogues are no files: they stand in the books under this layout, and under names that begin so.
DIALOGUES_LAYOUT = "dialogue_turns"
DIALOGUES_FILE = "core_turns/"


@dataclass(frozen=True)
class Layout:
    """How a file is written. `files`: its possible names (globs under the sources folder, without .gz) and what its items are."""

    name: str
    source: str
    files: Mapping[str, str]


# Categories of Amazon Reviews 2023 whose items are known to be of one domain. Films of its `Movies_and_TV` have no id that the corpus knows.
_CATEGORIES = {"Books": "book", "Kindle_Store": "book", "Video_Games": "game"}
# ECPO's own names, and whose users and items they are.
_ECPO = {"Book": ("amazon_reviews_2023", "book"), "Game": ("amazon_reviews_2023", "game"), "Yelp": ("yelp", "business")}
_ECPO_SPLITS = ("train", "test")


def _ecpo(name: str, pattern: str) -> tuple[Layout, ...]:
    """One layout for each source: `pattern` with ECPO's name of each domain in it."""
    return tuple(
        Layout(
            name,
            source,
            {
                pattern.format(name=each, split=split): domain
                for each, (own, domain) in _ECPO.items()
                if own == source
                for split in _ECPO_SPLITS
            },
        )
        for source in ("amazon_reviews_2023", "yelp")
    )


# Of an item that several files describe, the first of these layouts counts: what the publisher says before what was made of it.
LAYOUTS: tuple[Layout, ...] = (
    Layout("amazon_meta", "amazon_reviews_2023", {f"**/meta_{name}.jsonl": to for name, to in _CATEGORIES.items()}),
    Layout("amazon_reviews", "amazon_reviews_2023", {f"**/{name}.jsonl": to for name, to in _CATEGORIES.items()}),
    Layout("yelp_business", "yelp", {"**/yelp_academic_dataset_business.json": "business"}),
    Layout("yelp_reviews", "yelp", {"**/yelp_academic_dataset_review.json": "business"}),
    *_ecpo("ecpo_reviews", "**/reviews/{name}/processed_data_with_summaries.jsonl"),
    *_ecpo("ecpo_tasks", "**/task/{name}_{split}.jsonl"),
    Layout("movielens_tags", "movielens", {"**/tags.csv": "film"}),
    Layout("movielens_tags_dat", "movielens", {"**/tags.dat": "film"}),
)


@dataclass(frozen=True)
class ReviewFile:
    """A file and what it is."""

    layout: Layout
    domain: str
    file: SourceFile


def review_files(sources: Path) -> list[ReviewFile]:
    """The files under `sources`, by layout, then by name. Raises FileNotFoundError when there is no such folder."""
    return assign(list_folder(sources))


def assign(listing: Sequence[SourceFile]) -> list[ReviewFile]:
    """As `review_files`, of what `list_folder` returned. A file is taken once, by the first layout that knows it."""
    found: dict[str, ReviewFile] = {}
    for layout in LAYOUTS:
        for pattern, domain in layout.files.items():
            for file in match_files([pattern], listing):
                found.setdefault(file.name, ReviewFile(layout, domain, file))
    return list(found.values())
