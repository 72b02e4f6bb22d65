"""Items that simulated users look for: their texts, the embeddings of all that are no films, and the search that agents use.

Films are searched in the item index; items of other domains, a few thousand each, exactly. Does not belong here: how to encode (`models/encoders.py`), the film index
(`item_index.py`), the text of an item (`pipelines/reviews/item_text.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from assets.build.embeddings import encoder_hashes
from assets.build.item_index import open_item_index
from assets.build.tables import Built, Tell, latest_or_empty, published_or_empty
from pipelines.retrieval.item_text import MOVIE_COLUMNS
from pipelines.reviews.item_text import film_items, review_items
from pipelines.simulation.parts import Item, Search
from warehouse.store import Warehouse
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.retrieval import ML_ITEM_EMBEDDINGS
from warehouse.tables.simulation import CORE_REVIEW_ITEMS, CORE_REVIEW_TASKS, CORE_REVIEWS, ML_SIM_EMBEDDINGS, SIM_ITEMS

if TYPE_CHECKING:
    from models.encoders import Encoder

# Raise when the same facts would give other items.
ITEMS_VERSION = "1"

_KEY = ["domain", "item_id"]
# Searches whose results are remembered: those of a whole run of some thousand episodes.
_REMEMBERED = 200_000


def build_sim_items(warehouse: Warehouse, encoder: Encoder | None, tell: Tell) -> Built:
    """Bring sim_items and ml_sim_embeddings up to date.

    Films are those that `encoder` has embedded (that any has, without one); other items those that a user of core_reviews or a released task names. Only texts that
    changed are embedded; rows of other encoders stay as far as their items do. Without an `encoder` none are. Raises EncoderError, StoreError.
    """
    rows = _items(warehouse, encoder.name if encoder else None)
    others = rows.filter(pl.col("domain") != "film")
    counts: dict[str, float] = {f"{domain}: items": number for domain, number in rows.group_by("domain").len().sort("domain").iter_rows()}  # fmt: skip
    commit = warehouse.write(SIM_ITEMS, rows)
    stored = latest_or_empty(warehouse, ML_SIM_EMBEDDINGS).join(others, on=_KEY, how="semi")
    if encoder is None:
        tell(f"no encoder: no item is embedded, {stored.height:,} earlier embeddings stay")
        return Built((commit, warehouse.write(ML_SIM_EMBEDDINGS, stored)), {**counts, "embedded": 0})
    texts = others.select(*_KEY, "text", encoder_hashes(others["text_hash"], encoder.fingerprint))
    kept = stored.filter(pl.col("encoder") != encoder.name)
    same = stored.filter(pl.col("encoder") == encoder.name).join(texts, on=[*_KEY, "text_hash"], how="semi")
    todo = texts.join(same, on=_KEY, how="anti").sort(_KEY)
    if todo.height:
        tell(f"{encoder.name}: embedding {todo.height:,} items ({encoder.precision})")
    found = encoder.encode(todo["text"].to_list(), tell).vectors if todo.height else np.zeros((0, 1), np.float32)
    vectors = pl.Series("vector", found.tolist(), dtype=ML_SIM_EMBEDDINGS.schema["vector"])
    new = todo.select(pl.lit(encoder.name).alias("encoder"), *_KEY, "text_hash").with_columns(vectors)
    parts = [ML_SIM_EMBEDDINGS.conform(part) for part in (kept, same, new)]
    counts |= {"embedded": todo.height, "embedded before": same.height}
    return Built((commit, warehouse.write(ML_SIM_EMBEDDINGS, pl.concat(parts))), counts)


def _items(warehouse: Warehouse, encoder: str | None) -> pl.DataFrame:
    """Rows of SIM_ITEMS."""
    embedded = published_or_empty(warehouse, ML_ITEM_EMBEDDINGS, ["encoder", "movie_id"])
    if encoder is not None:
        embedded = embedded.filter(pl.col("encoder") == encoder)
    movies = published_or_empty(warehouse, CORE_MOVIES, MOVIE_COLUMNS)
    films = film_items(movies.join(embedded, on="movie_id", how="semi"))
    used = pl.concat(
        [published_or_empty(warehouse, table, _KEY) for table in (CORE_REVIEWS, CORE_REVIEW_TASKS)]
    ).unique()
    facts = published_or_empty(warehouse, CORE_REVIEW_ITEMS).join(used, on=_KEY, how="semi")
    return pl.concat([films, review_items(facts.filter(pl.col("domain") != "film"))])


def items(warehouse: Warehouse) -> dict[tuple[str, str], Item]:
    """All published items by domain and id."""
    rows = published_or_empty(warehouse, SIM_ITEMS, [*_KEY, "title", "text"])
    return {(domain, item_id): Item(item_id, title, text) for domain, item_id, title, text in rows.iter_rows()}


def open_search(
    warehouse: Warehouse, encoder: Encoder | str, tell: Tell
) -> Callable[[Sequence[Search]], list[list[Item]]]:
    """A search over the published items: for each Search at most `k` items of its domain, the nearest first by cosine, equal ones by id.

    `encoder`: the name of its profile, or an encoder. The queries of one call are embedded together, equal ones once, and found items are remembered.
    Models, index and vectors are opened when they are first needed. The function raises EncoderError, StoreError, FileError and IndexFailure, and ValueError for
    a search for less than one item.
    """
    return _SimSearch(warehouse, encoder, tell)


class _SimSearch:
    def __init__(self, warehouse: Warehouse, encoder: Encoder | str, tell: Tell) -> None:
        self._warehouse, self._tell = warehouse, tell
        self._name = encoder if isinstance(encoder, str) else encoder.name
        self._encoder = None if isinstance(encoder, str) else encoder
        self._items: dict[tuple[str, str], Item] | None = None
        self._shelves: dict[str, Callable[[np.ndarray, int], list[list[str]]]] = {}
        self._found: dict[Search, list[Item]] = {}

    def __call__(self, searches: Sequence[Search]) -> list[list[Item]]:
        if wrong := [each for each in searches if each.k < 1]:
            raise ValueError(f"a search for {wrong[0].k} items: at least one must be asked for")
        new = [each for each in dict.fromkeys(searches) if each not in self._found]
        if new:
            if len(self._found) + len(new) > _REMEMBERED:
                # The ones of this call are needed below, whether they were remembered or not.
                self._found.clear()
                new = list(dict.fromkeys(searches))
            self._find(new)
        return [self._found[each] for each in searches]

    def _find(self, searches: Sequence[Search]) -> None:
        if self._items is None:
            self._items = items(self._warehouse)
        queries = list(dict.fromkeys(each.query for each in searches))
        vectors = dict(zip(queries, self._encoded().encode_queries(queries).vectors, strict=True))
        for domain in sorted({each.domain for each in searches}):
            own = [each for each in searches if each.domain == domain]
            shelf = self._shelf(domain)
            found = shelf(np.stack([vectors[each.query] for each in own]), max(each.k for each in own))
            for search, ids in zip(own, found, strict=True):
                here = [self._items[domain, item_id] for item_id in ids if (domain, item_id) in self._items]
                self._found[search] = here[: search.k]

    def _encoded(self) -> Encoder:
        if self._encoder is None:
            from models.encoders import Encoder, profile

            self._encoder = Encoder(profile(self._name))
            # One query a batch: in company, padding rounds a vector in another way, and near ties would come out in another order from run to run.
            self._encoder.batch_tokens = 1
        return self._encoder

    def _shelf(self, domain: str) -> Callable[[np.ndarray, int], list[list[str]]]:
        if domain not in self._shelves:
            self._shelves[domain] = self._films() if domain == "film" else self._others(domain)
        return self._shelves[domain]

    def _films(self) -> Callable[[np.ndarray, int], list[list[str]]]:
        index = open_item_index(self._warehouse, self._name)

        def nearest(queries: np.ndarray, k: int) -> list[list[str]]:
            # Films that left sim_items since the index was made would leave gaps.
            found = index.nearest(queries, k + _SPARE)
            return [
                [film for film, _ in sorted(each, key=lambda pair: (-round(pair[1], 6), pair[0]))] for each in found
            ]

        return nearest

    def _others(self, domain: str) -> Callable[[np.ndarray, int], list[list[str]]]:
        rows = published_or_empty(self._warehouse, ML_SIM_EMBEDDINGS)
        rows = rows.filter((pl.col("encoder") == self._name) & (pl.col("domain") == domain)).sort("item_id")
        if rows.is_empty():
            self._tell(f"{domain}: {self._name} has embedded no item, so nothing can be found")
            return lambda queries, k: [[] for _ in queries]
        ids = rows["item_id"].to_list()
        flat = rows["vector"].explode(empty_as_null=False).to_numpy()
        vectors = np.asarray(flat, dtype=np.float32).reshape(rows.height, -1)
        return lambda queries, k: [[ids[at] for at in places] for places in nearest(vectors, queries, k)]


_SPARE = 5


def nearest(vectors: np.ndarray, queries: np.ndarray, k: int) -> list[list[int]]:
    """Rows of `vectors` [N, D] by cosine to each of `queries` [Q, D], both of length one, the nearest first; equal cosines by row. At most `k` each."""
    # A product of two matrices rounds by the shape of both; of one row each, the same query gives the same result in whatever company.
    found = []
    for query in queries:
        cosines = np.round(vectors @ query, 6)
        found.append(np.argsort(-cosines, kind="stable")[:k].tolist())
    return found
