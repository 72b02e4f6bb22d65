"""Embedding films and indexing them: documents a second against sentence-transformers' own loop, what a refresh costs, and what an index loses.

    python benchmarks/bench_embeddings.py [--films N] [--changed SHARE] [--items N,N,...]

Prints two lines: `embeddings` and `item_index`. Films are made up, with texts as long as the real ones (a hundred tokens in the middle, more than the encoder reads
in some). `SentenceTransformer.encode` gets the same texts in the same process, with its defaults. The refresh is `build_embeddings` on a
warehouse in which a share of the films has changed. Vectors of the index are made up as well: they lie in groups of uneven size, as films do; random ones without
groups would have no near neighbours worth finding.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from benchmarks.machine import GB, Target, machine, own_peak_bytes, print_line, tell
from pipelines.retrieval.item_text import item_text
from warehouse.store import Warehouse
from warehouse.tables.corpus import CORE_MOVIES

SEED = 42
FILMS = 2_000
CHANGED = 0.01
ITEMS = (20_000, 100_000, 337_731)
DIMS = 384
GROUPS_PER_ROOT = 2

_WORDS = [
    "a",
    "the",
    "of",
    "and",
    "young",
    "old",
    "woman",
    "man",
    "city",
    "village",
    "family",
    "brother",
    "sister",
    "detective",
    "robot",
    "secret",
    "journey",
    "war",
    "love",
    "night",
    "river",
    "mountain",
    "winter",
    "summer",
    "discovers",
    "returns",
    "follows",
    "loses",
    "finds",
    "betrays",
    "remembers",
    "escapes",
    "from",
    "into",
    "against",
    "with",
    "his",
    "her",
    "their",
    "past",
    "future",
    "friend",
    "enemy",
    "murder",
    "money",
    "music",
]
_NAMES = (
    "Ada",
    "Bruno",
    "Carla",
    "Dmitri",
    "Elena",
    "Farid",
    "Grace",
    "Hiro",
    "Wren",
    "Lund",
    "Okafor",
    "Petrov",
    "Quinn",
    "Rossi",
    "Silva",
    "Tanaka",
)


def films_of(n: int, seed: int) -> pl.DataFrame:
    """Made-up films: words of a plot by a log-normal law, a fifth of the films without plot."""
    random = np.random.default_rng(seed)

    def names(most: int) -> list[str]:
        return [" ".join(random.choice(_NAMES, 2)) for _ in range(random.integers(0, most + 1))]

    rows = []
    for k in range(n):
        plot = " ".join(random.choice(_WORDS, int(np.clip(random.lognormal(3.9, 0.7), 4, 300))))
        rows.append(
            {
                "movie_id": f"mv{k:016x}", "title": " ".join(random.choice(_WORDS, 3)).title(), "year": int(random.integers(1930, 2024)), "kind": "movie",
                "original_title": None, "aliases": [], "genres": ["Drama", "Comedy"][: random.integers(1, 3)], "directors": names(1), "cast_members": names(8),
                "plot": None if random.random() < 0.2 else plot, "languages": [], "countries": [], "votes": int(random.integers(1, 10_000)),
                "source_count": 1, "record_count": 1, "is_complete": False, "content_hash": k,
            }
        )  # fmt: skip
    return pl.DataFrame(rows, schema=CORE_MOVIES.schema)


def embeddings(films: int, changed: float) -> dict[str, object]:
    """Speed of both loops, and of a refresh."""
    from sentence_transformers import SentenceTransformer

    from assets.build.embeddings import build_embeddings
    from models.encoders import Encoder, locate, profile

    encoder = Encoder(profile("minilm"))
    plain = SentenceTransformer(str(locate(profile("minilm"))), device=encoder.device)
    movies = films_of(films, SEED)
    texts = item_text(movies)["text"].to_list()
    warm = texts[:32]
    encoder.encode(warm), plain.encode(warm)
    # In turns, so that what else runs on the machine strikes both.
    own_s = theirs_s = 0.0
    least = 1.0
    tokens = 0
    for part in (texts[k::4] for k in range(4)):
        started = time.perf_counter()
        found = encoder.encode(part)
        own_s += time.perf_counter() - started
        started = time.perf_counter()
        exact = plain.encode(part)
        theirs_s += time.perf_counter() - started
        exact = exact / np.linalg.norm(exact, axis=1, keepdims=True)
        least = min(least, float((found.vectors * exact).sum(axis=1).min()))
        tokens += int(found.tokens.sum())
    tell(f"{films / own_s:,.0f} films a second, sentence-transformers {films / theirs_s:,.0f}")
    with TemporaryDirectory(prefix="marquee-bench-") as temporary:
        warehouse = Warehouse(Path(temporary))

        def built(frame: pl.DataFrame) -> tuple[float, float]:
            warehouse.write(CORE_MOVIES, frame)
            warehouse.publish([CORE_MOVIES.name])
            started = time.perf_counter()
            done = build_embeddings(warehouse, encoder, False, tell, "all")
            warehouse.publish([commit.table for commit in done.commits])
            return time.perf_counter() - started, done.counts["embedded"]

        full_s, _ = built(movies)
        is_changed = pl.int_range(pl.len()) % round(1 / changed) == 0
        edited = movies.with_columns(title=pl.when(is_changed).then(pl.col("title") + " II").otherwise("title"))
        refresh_s, number = built(edited)
        nothing_s, _ = built(edited)
    return {
        "films": films,
        "mean_tokens": round(tokens / films, 1),
        "precision": encoder.precision,
        "documents_per_s": round(films / own_s, 1),
        "sentence_transformers_per_s": round(films / theirs_s, 1),
        "times_as_fast": round(theirs_s / own_s, 2),
        "least_cosine": round(least, 6),
        "full_s": round(full_s, 2),
        "refreshed_films": int(number),
        "refresh_s": round(refresh_s, 2),
        "refresh_share": round(refresh_s / full_s, 4),
        "refresh_of_nothing_s": round(nothing_s, 2),
        "hours_for_337731": round(337_731 / (films / own_s) / 3600, 2),
        "peak_memory_gb": round(own_peak_bytes() / GB, 2),
    }


def vectors_of(n: int) -> np.ndarray:
    """Unit vectors [n, DIMS] in groups of uneven size, with an intrinsic dimension well under DIMS."""
    random = np.random.default_rng(SEED)
    groups = int(GROUPS_PER_ROOT * n**0.5)
    basis = random.normal(size=(64, DIMS)).astype(np.float32)
    centres = random.normal(size=(groups, 64)).astype(np.float32)
    sizes = random.dirichlet(np.full(groups, 0.5))
    rows = centres[random.choice(groups, n, p=sizes)] + 0.6 * random.normal(size=(n, 64)).astype(np.float32)
    found = rows @ basis + 1.0 * random.normal(size=(n, DIMS)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def indexes(sizes: tuple[int, ...]) -> dict[str, object]:
    """Building and recall, of the kind that is chosen by size and of the others where they can tell something."""
    from models.item_index import build, kind_of, measured, plan, tuned

    found: dict[str, object] = {}
    for n in sizes:
        vectors = vectors_of(n)
        for kind in dict.fromkeys((kind_of(n), "ivf", "hnsw")):
            how = plan(n, kind)  # type: ignore[arg-type]
            started = time.perf_counter()
            index = build(vectors, how)
            build_s = time.perf_counter() - started
            settled = tuned(index, how, vectors)
            beside = measured(index, vectors)
            del index
            tell(
                f"{n:,} {kind}: built in {build_s:.1f} s, finds {beside.recall:.3f}, {beside.p50_ms:.2f} ms (exact {beside.exact_p50_ms:.2f})"
            )
            found[f"{n}_{kind}"] = {
                "is_chosen": kind == kind_of(n),
                "parameters": dict(settled.parameters),
                "build_s": round(build_s, 2),
                "recall_25": round(beside.recall, 4),
                "p50_ms": round(beside.p50_ms, 3),
                "p95_ms": round(beside.p95_ms, 3),
                "exact_p50_ms": round(beside.exact_p50_ms, 3),
            }
    return {**found, "peak_memory_gb": round(own_peak_bytes() / GB, 2)}


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=FILMS, help=f"films to embed ({FILMS:,})")
    parser.add_argument(
        "--changed", type=float, default=CHANGED, help=f"share that changes before the refresh ({CHANGED})"
    )
    parser.add_argument("--items", default=",".join(map(str, ITEMS)), help="sizes of indexes")
    options = parser.parse_args(arguments)
    where = machine()
    figures = embeddings(options.films, options.changed)
    targets = [
        Target("times_as_fast", figures["times_as_fast"], 1.5, is_upper=False),  # type: ignore[arg-type]
        Target("least_cosine", figures["least_cosine"], 0.999, is_upper=False),  # type: ignore[arg-type]
        Target("refresh_share", figures["refresh_share"], 0.1),  # type: ignore[arg-type]
    ]
    print_line(
        "embeddings", "embedding films on this machine, against SentenceTransformer.encode", figures, targets, where
    )
    where = machine()
    sizes = tuple(int(size) for size in options.items.split(","))
    found = indexes(sizes)
    chosen = [each for each in found.values() if isinstance(each, dict) and each["is_chosen"]]
    recall = min(each["recall_25"] for each in chosen)
    print_line(
        "item_index",
        "indexes over made-up vectors",
        found,
        [Target("recall_25 of the chosen", recall, 0.95, is_upper=False)],
        where,
    )


if __name__ == "__main__":
    main()
