"""Items of simulated users: only what changed is embedded, and the search equals an exact one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets.build import sim_items
from assets.build.embeddings import build_embeddings
from assets.build.item_index import build_item_index
from assets.build.sim_items import build_sim_items, items, nearest, open_search
from models.encoders import Encoded
from pipelines.simulation.parts import Search
from tests.assets.simulated_warehouse import filled
from warehouse.store import Warehouse
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.simulation import CORE_REVIEW_ITEMS, CORE_REVIEW_TASKS, CORE_REVIEWS, ML_SIM_EMBEDDINGS, SIM_ITEMS

BOOKS, FILMS = 40, 12


class FakeEncoder:
    """Counts letters, so that texts which share letters are near each other; remembers what it was asked."""

    precision = "nowhere, float32"

    def __init__(self, name: str = "minilm", fingerprint: str = "1") -> None:
        self.name, self.fingerprint = name, fingerprint
        self.seen: list[str] = []
        self.calls = 0

    def encode(self, texts: Sequence[str], tell: object = None) -> Encoded:
        self.seen += texts
        self.calls += 1
        vectors = np.array([[1.0 + text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz0123456789"] for text in texts], np.float32)  # fmt: skip
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Encoded(vectors, np.ones(len(texts), np.int32), np.zeros(len(texts), bool))

    encode_queries = encode

    def agreement(self, texts: list[str]) -> float:
        return 1.0


def facts(number: int, **other: Any) -> dict[str, Any]:
    return {
        "source": "amazon_reviews_2023", "domain": "book", "item_id": f"B{number:03d}", "title": f"Book of {'abcdefghij'[number % 10] * 3} {number}", "creators": ["Mara Lind"],
        "categories": ["Books"], "description": f"About {number * 7}.", "file": "meta_Books.jsonl", "line": number + 1, **other,
    }  # fmt: skip


def review(number: int, **other: Any) -> dict[str, Any]:
    return {
        "review_id": f"{number:016x}", "source": "amazon_reviews_2023", "domain": "book", "user_id": "amazon_reviews_2023-u", "position": number, "item_id": f"B{number:03d}",
        "text": "Fine.", "rating": 5.0, "is_positive": True, "file": "Books.jsonl", "line": number + 1, "content_hash": number, **other,
    }  # fmt: skip


def write(warehouse: Warehouse, table: Any, rows: list[dict[str, Any]]) -> None:
    warehouse.write(table, filled(table, rows))
    warehouse.publish([table.name])


@pytest.fixture
def warehouse(tmp_path: Path, base: Path) -> Warehouse:
    shutil.copytree(base, tmp_path / "warehouse")
    return Warehouse(tmp_path / "warehouse")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with films and their index, reviews, items and a released task; its films' index is of FakeEncoder."""
    made = Warehouse(tmp_path_factory.mktemp("base") / "warehouse")
    lists = {name: [] for name, dtype in CORE_MOVIES.schema.items() if dtype == pl.List(pl.String)}
    films = [
        {"movie_id": f"mv{k:016x}", "title": f"Film {k}", "kind": "movie", "source_count": 1, "record_count": 1, "is_complete": False, "content_hash": k, **lists}
        for k in range(FILMS)
    ]  # fmt: skip
    write(made, CORE_MOVIES, films)
    # One item more than anybody has written about or looks for, and one of another domain.
    place = facts(900, domain="business", source="yelp", title="Ellery Roasters", place="Port Ellery, PA")
    write(made, CORE_REVIEW_ITEMS, [*(facts(n) for n in range(BOOKS + 2)), place])
    reviews = [*(review(n) for n in range(BOOKS)), review(900, domain="business", source="yelp", user_id="yelp-u")]
    write(made, CORE_REVIEWS, [*reviews, review(901, domain="film", source="movielens", user_id="movielens-u", item_id="mv" + "f" * 16)])  # fmt: skip
    task = {
        "source": "amazon_reviews_2023", "domain": "book", "user_id": "amazon_reviews_2023-u", "item_id": f"B{BOOKS:03d}", "released_split": "test", "position": 0,
        "activities": "a", "interests": "", "information_density": "", "expression_style": "", "tone": "", "orientations": "", "file": "Book_test.jsonl", "line": 1,
    }  # fmt: skip
    write(made, CORE_REVIEW_TASKS, [task])
    build_embeddings(made, FakeEncoder(), False, lambda _: None, "all")  # type: ignore[arg-type]
    made.publish(["ml_item_embeddings"])
    build_item_index(made, ["minilm"], False, lambda _: None)
    made.publish(["ml_item_index"])
    return made.root


def build(warehouse: Warehouse, encoder: FakeEncoder | None) -> Any:
    built = build_sim_items(warehouse, encoder, lambda _: None)  # type: ignore[arg-type]
    warehouse.publish({commit.table: commit.version for commit in built.commits})
    return built


def test_items_are_those_that_somebody_wrote_about_or_looks_for_and_the_films_of_the_index(warehouse: Warehouse) -> None:  # fmt: skip
    built = build(warehouse, FakeEncoder())
    assert {name: built.counts[name] for name in built.counts if name.endswith("items")} == {"book: items": BOOKS + 1, "business: items": 1, "film: items": FILMS}  # fmt: skip
    assert built.counts["embedded"] == BOOKS + 2
    known = items(warehouse)
    assert known["book", "B003"].text == "Title: Book of ddd 3\nAuthor: Mara Lind\nCategories: Books\nDescription: About 21."  # fmt: skip
    assert known["business", "B900"].text.endswith("Location: Port Ellery, PA\nDescription: About 6300.")
    assert set(warehouse.read(ML_SIM_EMBEDDINGS.name)["domain"]) == {"book", "business"}


def test_only_texts_that_changed_are_embedded(warehouse: Warehouse) -> None:
    build(warehouse, FakeEncoder())
    again = FakeEncoder()
    built = build(warehouse, again)
    assert again.seen == [] and not any(commit.changed for commit in built.commits)
    changed = [facts(n) for n in range(BOOKS + 2)]
    changed[3]["description"], changed[4]["average_rating"] = "Other words.", 4.5
    write(warehouse, CORE_REVIEW_ITEMS, changed)
    assert build(warehouse, again).counts["embedded"] == 1 and "Other words." in again.seen[0]
    # The business has no facts any more: it is gone with its embedding.
    assert set(warehouse.read(ML_SIM_EMBEDDINGS.name)["domain"]) == {"book"}


def test_another_version_of_the_encoder_embeds_all_again_and_another_encoder_stands_beside(warehouse: Warehouse) -> None:  # fmt: skip
    build(warehouse, FakeEncoder())
    assert build(warehouse, FakeEncoder(fingerprint="2")).counts["embedded"] == BOOKS + 2
    built = build(warehouse, FakeEncoder("other"))
    assert built.counts["embedded"] == BOOKS + 2 and "film: items" not in built.counts
    assert set(warehouse.read(ML_SIM_EMBEDDINGS.name)["encoder"]) == {"minilm", "other"}


def test_without_an_encoder_embeddings_stay(warehouse: Warehouse) -> None:
    build(warehouse, FakeEncoder())
    built = build(warehouse, None)
    assert built.counts["embedded"] == 0 and built.counts["film: items"] == FILMS
    assert not any(commit.changed for commit in built.commits)


def test_nothing_there_gives_empty_tables(tmp_path: Path) -> None:
    fresh = Warehouse(tmp_path / "fresh")
    build(fresh, FakeEncoder())
    assert fresh.read(SIM_ITEMS.name).is_empty() and items(fresh) == {}


# ---------------------------------------------------------------------------------------------------------------- searching


def test_the_search_equals_an_exact_one(warehouse: Warehouse) -> None:
    encoder = FakeEncoder()
    build(warehouse, encoder)
    search = open_search(warehouse, encoder, lambda _: None)  # type: ignore[arg-type]
    rows = warehouse.read(SIM_ITEMS.name)
    for domain in ("book", "film", "business"):
        own = rows.filter(pl.col("domain") == domain).sort("item_id")
        vectors = encoder.encode(own["text"].to_list()).vectors.astype(np.float64)
        for query in ("Film 7", "book of iii", "roasters", "zzz"):
            cosines = vectors @ encoder.encode([query]).vectors[0].astype(np.float64)
            (found,) = search([Search(domain, query, 5)])
            assert len(found) == min(5, own.height)
            place = {item_id: at for at, item_id in enumerate(own["item_id"])}
            assert all(each.item_id in place for each in found), "an item of another domain"
            assert [cosines[place[each.item_id]] for each in found] == pytest.approx(sorted(cosines, reverse=True)[: len(found)], abs=2e-6)  # fmt: skip


def test_queries_of_a_call_are_embedded_together_equal_ones_once_and_results_are_remembered(warehouse: Warehouse) -> None:  # fmt: skip
    build(warehouse, FakeEncoder())
    encoder = FakeEncoder()
    search = open_search(warehouse, encoder, lambda _: None)  # type: ignore[arg-type]
    wanted = [Search("book", "abc", 3), Search("film", "abc", 2), Search("book", "xyz", 1), Search("book", "abc", 3)]
    found = search(wanted)
    assert [len(each) for each in found] == [3, 2, 1, 3] and found[0] == found[3]
    assert encoder.calls == 1 and encoder.seen == ["abc", "xyz"]
    assert search(wanted[:2]) == found[:2] and encoder.calls == 1
    assert search([]) == []


def test_what_is_remembered_does_not_grow_without_end(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    build(warehouse, FakeEncoder())
    monkeypatch.setattr(sim_items, "_REMEMBERED", 3)
    search = open_search(warehouse, FakeEncoder(), lambda _: None)  # type: ignore[arg-type]
    whole = [Search("book", f"query {n}", 2) for n in range(6)]
    found = [search([each])[0] for each in whole]
    assert search(whole) == found and search([*whole[2:], *whole[:2]]) == [*found[2:], *found[:2]]


def test_results_do_not_depend_on_company_or_order(warehouse: Warehouse) -> None:
    build(warehouse, FakeEncoder())
    wanted = [Search(domain, f"{letter} {n}", 5) for domain in ("book", "film") for letter in "aeiou" for n in range(3)]
    together = open_search(warehouse, FakeEncoder(), lambda _: None)(wanted)  # type: ignore[arg-type]
    alone = open_search(warehouse, FakeEncoder(), lambda _: None)  # type: ignore[arg-type]
    assert [alone([each])[0] for each in reversed(wanted)] == together[::-1]


def test_equal_cosines_come_in_order_of_ids() -> None:
    vectors = np.array([[1, 0], [0, 1], [1, 0], [1, 1e-9]], np.float32)
    assert nearest(vectors, np.array([[1, 0], [0, 1]], np.float32), 3) == [[0, 2, 3], [1, 0, 2]]
    assert nearest(vectors, np.zeros((0, 2), np.float32), 3) == []


def test_a_domain_without_items_finds_nothing_and_says_so(warehouse: Warehouse) -> None:
    build(warehouse, FakeEncoder())
    told: list[str] = []
    search = open_search(warehouse, FakeEncoder(), told.append)  # type: ignore[arg-type]
    assert search([Search("game", "chess", 5)]) == [[]]
    assert told == ["game: minilm has embedded no item, so nothing can be found"]


def test_a_search_for_no_item_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(ValueError, match="a search for 0 items"):
        open_search(warehouse, "minilm", lambda _: None)([Search("book", "a", 0)])
