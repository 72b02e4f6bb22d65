"""From scored pairs to films: which records end up together.

Precision comes first. A pair is only followed when it is the best that both records have in each other's source, by a
clear margin; and no film may hold two entries of one source unless that source lists the film twice.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Int = NDArray[np.int64]
Bits = NDArray[np.float32]

# A pair that is the clear best of both its records is likelier than its own score says: being unrivalled is worth a bit.
UNRIVALLED_BITS = 1.0
ACCEPT_BITS = -UNRIVALLED_BITS  # with that bit, an accepted pair is more likely the same film than not
MARGIN_BITS = 1.0  # how much a pair must lead its runner-up in the same source


def components(records: int, a: Int, b: Int) -> Int:
    """Label the connected components of an undirected graph; shape [records]."""
    # Here, because SciPy takes longer to import than the rest of the definitions together.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(a), dtype=np.int8)
    graph = coo_array((ones, (a, b)), shape=(records, records))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def unrivalled(a: Int, b: Int, bits: Bits, entry: Int, source: Int) -> NDArray[np.bool_]:
    """Tell which pairs are the clear best of both their records; shape [pairs].

    `entry` [records] labels the records that one source lists several times for one film: they are no rivals of each
    other. A record's rivals are its pairs with other entries of the same source.
    """
    sides = pl.DataFrame(
        {
            "pair": np.concatenate([np.arange(len(a)), np.arange(len(a))]),
            "from": np.concatenate([entry[a], entry[b]]),
            "to": np.concatenate([entry[b], entry[a]]),
            "source": np.concatenate([source[b], source[a]]),
            "bits": np.concatenate([bits, bits]),
        }
    )
    best = sides.group_by("from", "source", "to").agg(pl.col("bits").max())
    top = (
        best.sort("bits", descending=True)
        .group_by("from", "source", maintain_order=True)
        .agg(first=pl.col("bits").first(), second=pl.col("bits").slice(1, 1).first())
    )
    clear = sides.join(top, on=["from", "source"]).select(
        "pair",
        # Measured from the best pair of the entry: a duplicate's weaker copy of that pair may follow it.
        ok=(pl.col("second").is_null() | (pl.col("bits") - pl.col("second") >= MARGIN_BITS)),
    )
    return clear.group_by("pair").agg(pl.col("ok").all()).sort("pair")["ok"].to_numpy()


def cluster(a: Int, b: Int, bits: Bits, source: Int) -> Int:
    """Group records into films.

    `a`, `b` are rows of records, `bits` their scores, shape [pairs]; `source` [records] numbers each record's source.
    Returns a label for each record, shape [records]. The result does not depend on the order of the pairs, and
    depends on the order of the records only where scores tie exactly.
    """
    records = len(source)
    good = bits >= ACCEPT_BITS
    a, b, bits = a[good], b[good], bits[good]
    within = source[a] == source[b]
    entry = components(records, a[within], b[within])
    across = ~within
    a, b, bits = a[across], b[across], bits[across]
    keep = unrivalled(a, b, bits, entry, source)
    a, b, bits = a[keep], b[keep], bits[keep]
    label = components(records, np.concatenate([a, np.arange(records)]), np.concatenate([b, _leader(entry)]))
    crowded = _crowded(label, entry, source)
    if not crowded.any():
        return label
    loose = crowded[label[a]]
    return _merge_best_first(a[loose], b[loose], bits[loose], entry, source, label, crowded)


def _leader(entry: Int) -> Int:
    """First record of each record's entry: joins an entry's records in the graph."""
    first = np.full(entry.max(initial=-1) + 1, len(entry), dtype=np.int64)
    np.minimum.at(first, entry, np.arange(len(entry)))
    return first[entry]


def _crowded(label: Int, entry: Int, source: Int) -> NDArray[np.bool_]:
    """Tell which labels hold two entries of one source; shape [labels]."""
    seen = pl.DataFrame({"label": label, "source": source, "entry": entry}).unique()
    twice = seen.group_by("label", "source").len().filter(pl.col("len") > 1)["label"].unique()
    out = np.zeros(label.max(initial=-1) + 1, dtype=bool)
    out[twice.to_numpy()] = True
    return out


def _merge_best_first(
    a: Int, b: Int, bits: Bits, entry: Int, source: Int, label: Int, crowded: NDArray[np.bool_]
) -> Int:
    """Take the crowded films apart and join their entries again, best pair first, one entry of a source each."""
    out = label.copy()
    apart = crowded[label]
    out[apart] = label.max() + 1 + entry[apart]
    rows = np.flatnonzero(apart)
    members: dict[int, set[int]] = {}
    parent: dict[int, int] = {}
    for name, each in zip(out[rows].tolist(), source[rows].tolist(), strict=True):
        members.setdefault(name, set()).add(each)
        parent[name] = name

    def root(name: int) -> int:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    order = np.lexsort((b, a, -bits))
    for left, right in zip(out[a[order]].tolist(), out[b[order]].tolist(), strict=True):
        x, y = root(left), root(right)
        if x != y and members[x].isdisjoint(members[y]):
            parent[y] = x
            members[x] |= members.pop(y)
    out[rows] = [root(name) for name in out[rows].tolist()]
    return np.unique(out, return_inverse=True)[1].astype(np.int64)
