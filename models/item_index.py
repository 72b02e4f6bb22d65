"""An index of vectors: the nearest films of a vector, exactly or nearly, and what nearly costs.

FAISS (Douze et al. 2024). How an index searches is chosen by how many vectors it holds (`kind_of`); how hard it searches is measured: as little as finds
RECALL_AIMED of what exact search finds. Vectors have length one, so that the inner product is the cosine. Does not belong here: which vectors
and films (`assets/build/item_index.py`), making vectors (`encoders.py`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

Kind = Literal["flat", "ivf", "hnsw"]

# From how many vectors on each kind is used. Exact search reads all vectors for each query: 77 MB of 50,000 x 384, some milliseconds, which nothing
# that follows notices; beyond that inverted lists are read in part. They are built in a minute or so where a graph of 337,731 takes
# several; the graph pays where a list of a good length no longer fits that part, in the millions.
KINDS: tuple[tuple[int, Kind], ...] = ((0, "flat"), (50_000, "ivf"), (2_000_000, "hnsw"))

NEAREST = 25
RECALL_AIMED = 0.98
# Queries that recall is measured with, and as many others that settle how hard to search.
QUERIES = 500
TIMED_QUERIES = 200
SEED = 42

# Inverted lists for n vectors: 4 sqrt(n), as FAISS's guide has it for up to a million; training on 64 vectors a list.
_LISTS_PER_ROOT = 4
_TRAINED_PER_LIST = 64
_GRAPH_LINKS = 32
_GRAPH_BREADTH = 200

# How hard a kind can search: lists that are read, or breadth of the walk through the graph.
_EFFORTS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "ivf": ("nprobe", (4, 8, 16, 32, 64, 128, 256, 512, 1024)),
    "hnsw": ("efSearch", (32, 64, 128, 256, 512, 1024)),
}


class IndexFailure(RuntimeError):
    """An index cannot be built, read or searched; the message says which and why."""


@dataclass(frozen=True)
class Plan:
    """How an index is made: everything that, with the vectors, decides it."""

    kind: Kind
    parameters: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> str:
        """The parameters, as stored."""
        return json.dumps(dict(sorted(self.parameters.items())))


@dataclass(frozen=True)
class Measured:
    """An index beside exact search over the same queries: share of the NEAREST that it finds, and milliseconds of single queries."""

    recall: float
    queries: int
    p50_ms: float
    p95_ms: float
    exact_p50_ms: float


def kind_of(items: int) -> Kind:
    """The kind for so many vectors."""
    return [kind for least, kind in KINDS if items >= least][-1]


def plan(items: int, kind: Kind | None = None) -> Plan:
    """How to index so many vectors; `kind` overrules the choice by size. Raises IndexFailure for none."""
    if items < 1:
        raise IndexFailure("there are no vectors to index")
    chosen = kind or kind_of(items)
    if chosen == "ivf":
        lists = max(1, min(int(_LISTS_PER_ROOT * items**0.5), items // 4))
        return Plan("ivf", {"lists": lists, "trained_on": min(items, lists * _TRAINED_PER_LIST), "seed": SEED})
    if chosen == "hnsw":
        return Plan("hnsw", {"links": _GRAPH_LINKS, "breadth": _GRAPH_BREADTH})
    return Plan("flat")


def content_hash(vectors: np.ndarray, ids: bytes, how: Plan) -> int:
    """63 bits of the SHA-256 of vectors [N, D], their films in order, and the plan."""
    digest = hashlib.sha256(f"{how.kind} {how.as_json()} {vectors.shape}\n".encode())
    digest.update(ids)
    digest.update(np.ascontiguousarray(vectors, dtype=np.float32).data)
    return int.from_bytes(digest.digest()[:8]) >> 1


def build(vectors: np.ndarray, how: Plan) -> Any:
    """A FAISS index over `vectors` [N, D] float32 of length one, in their order; on the GPU where FAISS sees one. Raises IndexFailure."""
    import faiss

    checked = _checked(vectors)
    index: Any
    dims = checked.shape[1]
    try:
        if how.kind == "flat":
            index = faiss.IndexFlatIP(dims)
        elif how.kind == "ivf":
            index = faiss.IndexIVFFlat(
                faiss.IndexFlatIP(dims), dims, how.parameters["lists"], faiss.METRIC_INNER_PRODUCT
            )
            index.cp.seed = how.parameters["seed"]
            index.cp.max_points_per_centroid = _TRAINED_PER_LIST
            # Fewer than FAISS wishes for is no reason to warn on a terminal: small indexes are for trying things out.
            index.cp.min_points_per_centroid = 1
        else:
            index = faiss.IndexHNSWFlat(dims, how.parameters["links"], faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = how.parameters["breadth"]
        if not index.is_trained:
            rows = np.random.default_rng(how.parameters["seed"]).permutation(len(checked))[
                : how.parameters["trained_on"]
            ]
            index = _on_gpu(index)
            index.train(checked[np.sort(rows)])
            index = _on_cpu(index)
        index.add(checked)
    except (RuntimeError, MemoryError) as error:
        raise IndexFailure(f"{how.kind} index of {checked.shape[0]:,} vectors: {_first_line(error)}") from error
    return index


def search(index: Any, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` nearest of each of `queries` [Q, D]: cosines [Q, k] and positions [Q, k], -1 where there are fewer. Raises IndexFailure."""
    checked = _checked(queries)
    if checked.shape[1] != index.d:
        raise IndexFailure(f"the index holds vectors of {index.d} dimensions, not {checked.shape[1]}")
    with _threads(1 if len(checked) == 1 else None):
        return index.search(checked, k)


def write(index: Any, path: Path) -> None:
    """Write an index to `path`. Raises IndexFailure."""
    import faiss

    try:
        faiss.write_index(_on_cpu(index), str(path))
    except RuntimeError as error:
        raise IndexFailure(f"{path}: cannot be written: {_first_line(error)}") from error


def read(path: Path, items: int, dims: int) -> Any:
    """Read an index that is known to be whole: FAISS trusts what it reads, so compare the file's hash first.

    Raises IndexFailure naming the file when it is no index, or not one of `items` vectors of `dims` dimensions.
    """
    import faiss

    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise IndexFailure(f"{path}: is no index: {_first_line(error)}") from error
    if (index.ntotal, index.d) != (items, dims):
        raise IndexFailure(f"{path}: holds {index.ntotal:,} vectors of {index.d} dimensions, not {items:,} of {dims}")
    return index


def tuned(index: Any, how: Plan, vectors: np.ndarray) -> Plan:
    """Have `index` search as little as finds RECALL_AIMED of what exact search finds, for some of its own vectors; returns the plan with that.

    Where nothing suffices it searches as hard as it can. A flat index has nothing to set.
    """
    if how.kind == "flat":
        return how
    name, efforts = _EFFORTS[how.kind]
    rows = _sampled(len(vectors), QUERIES, 0)
    exact = _exact(vectors, rows)
    for effort in efforts:
        set_effort(index, how.kind, effort)
        if _share_found(_others(index, vectors, rows), exact) >= RECALL_AIMED:
            break
    return Plan(how.kind, {**how.parameters, name: effort})


def set_effort(index: Any, kind: Kind, effort: int) -> None:
    """How many lists to read, or how broad to walk."""
    if kind == "ivf":
        index.nprobe = effort
    elif kind == "hnsw":
        index.hnsw.efSearch = effort


def measured(index: Any, vectors: np.ndarray) -> Measured:
    """Compare `index` with exact search: recall over other vectors than `tuned` looked at, and the time of queries one by one.

    A query is a vector of the index, and it does not count as its own neighbour.
    """
    import faiss

    rows = _sampled(len(vectors), QUERIES, 1)
    recall = _share_found(_others(index, vectors, rows), _exact(vectors, rows))
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    timed = rows[:TIMED_QUERIES]
    own, exact = _times_ms(index, vectors[timed]), _times_ms(flat, vectors[timed])
    p50, p95 = np.percentile(own, [50, 95])
    return Measured(recall, len(rows), float(p50), float(p95), float(np.percentile(exact, 50)))


def _checked(vectors: np.ndarray) -> np.ndarray:
    if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():
        raise IndexFailure(f"vectors of shape {vectors.shape} cannot be indexed: they must be finite, and some")
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _sampled(items: int, most: int, stream: int) -> np.ndarray:
    """Rows for one purpose; those of streams 0 and 1 have none in common where there are enough."""
    order = np.random.default_rng(SEED).permutation(items)
    if items < 2 * most:
        return np.sort(order[:most])
    return np.sort(order[stream * most : (stream + 1) * most])


def _others(index: Any, vectors: np.ndarray, rows: np.ndarray) -> list[set[int]]:
    """The NEAREST of each row's vector, itself left out."""
    _, found = index.search(vectors[rows], NEAREST + 1)
    return [
        set([at for at in near.tolist() if at not in (row, -1)][:NEAREST])
        for row, near in zip(rows, found, strict=True)
    ]


def _exact(vectors: np.ndarray, rows: np.ndarray) -> list[set[int]]:
    import faiss

    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    return _others(flat, vectors, rows)


def _share_found(found: list[set[int]], exact: list[set[int]]) -> float:
    wanted = sum(map(len, exact))
    # One vector has no neighbours, and none of them is missed.
    return sum(len(own & near) for own, near in zip(found, exact, strict=True)) / wanted if wanted else 1.0


def _times_ms(index: Any, queries: np.ndarray) -> np.ndarray:
    search(index, queries[:1], NEAREST)
    times = []
    for k in range(len(queries)):
        started = time.perf_counter()
        search(index, queries[k : k + 1], NEAREST)
        times.append((time.perf_counter() - started) * 1e3)
    return np.array(times)


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Have FAISS use so many threads; None: as many as it has. A single query is too little work for two threads to wait for each other."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(number or before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _on_gpu(index: Any) -> Any:
    """The index on all GPUs that FAISS sees; itself where the library is the one for CPUs or there is none."""
    import faiss

    if getattr(faiss, "get_num_gpus", lambda: 0)() > 0 and hasattr(faiss, "index_cpu_to_all_gpus"):
        return faiss.index_cpu_to_all_gpus(index)
    return index


def _on_cpu(index: Any) -> Any:
    import faiss

    return faiss.index_gpu_to_cpu(index) if type(index).__name__.startswith(("GpuIndex", "IndexReplicas")) else index


def _first_line(error: BaseException) -> str:
    """What FAISS says, without the place in its sources."""
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
