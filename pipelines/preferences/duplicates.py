"""Pairs that say nearly the same as another one.

Belongs here: what counts as near, and which copy stays. Two pairs are near-duplicates when the last thing the seeker said, the better answer
and the worse answer are each equal but for case and marks, or when each shares nine tenths of its word pairs (Jaccard) and both name the same
films: a long answer with another film in it is another preference. Of all that hang together so, one stays.
"""

from __future__ import annotations

import polars as pl

SIMILAR = 0.9
# Held-out copies stay, so that nothing that is tested on was trained on.
SPLIT_ORDER = ("test", "valid", "train")
# Pairs that share a rare word pair are compared with each other; where more do, with their neighbours in the order of their texts.
_BLOCK_MAX = 400
_COMPARED_AT_ONCE = 500_000

_FIELDS = ("asked", "better", "worse")


def mark_duplicates(pairs: pl.DataFrame) -> pl.DataFrame:
    """`pairs` with `duplicate_of`: the pair_id that stays for it; null for those that stay.

    pairs: pair_id, context, chosen, rejected, chosen_movie_ids, rejected_movie_ids, construction, split, dialogue_id, turn. Of near-duplicates the copy in test stays, then the
    one in valid, then the one in train; then what a person judged, which also stands for the pair that was judged; then the smallest
    pair_id. The order of the rows does not matter.
    """
    texts = _texts(pairs)
    edges = pl.concat([_equal(texts), _similar(texts), _judged(pairs)])
    labels = pairs.select("pair_id", "split", "construction").sort("pair_id")
    labels = labels.with_columns(group=_groups(labels["pair_id"], edges))
    order = pl.col("split").replace_strict({name: at for at, name in enumerate(SPLIT_ORDER)}, return_dtype=pl.Int8)
    stays = (
        labels.with_columns(order=order)
        .sort("group", "order", pl.col("construction") != "human", "pair_id")
        .select("pair_id", first=pl.col("pair_id").first().over("group"))
        .select("pair_id", duplicate_of=pl.when(pl.col("first") != pl.col("pair_id")).then("first"))
    )
    rest = pairs.drop("duplicate_of", strict=False)
    return rest.join(stays, on="pair_id", how="left", maintain_order="left")


def normalised(text: pl.Expr) -> pl.Expr:
    """Letters and digits in lower case, one blank between words."""
    return text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars(" ")


def _texts(pairs: pl.DataFrame) -> pl.DataFrame:
    """pair_id, the three texts that are compared, and the films as one text."""
    films = (pl.col(f"{which}_movie_ids").list.unique().list.sort().list.join(" ") for which in ("chosen", "rejected"))
    return pairs.select(
        "pair_id",
        films=pl.concat_str(films, separator="|"),
        asked=normalised(pl.col("context").list.last().struct.field("content").fill_null("")),
        better=normalised(pl.col("chosen")),
        worse=normalised(pl.col("rejected")),
    ).sort(*_FIELDS, "pair_id")


def _equal(texts: pl.DataFrame) -> pl.DataFrame:
    """Pairs whose three texts are the same: each with the first of its kind (a, b)."""
    first = texts.select("pair_id", first=pl.col("pair_id").first().over(_FIELDS))
    return first.filter(pl.col("pair_id") != pl.col("first")).select(a="first", b="pair_id")


def _similar(texts: pl.DataFrame) -> pl.DataFrame:
    """Pairs whose three texts each share SIMILAR of their word pairs (a, b).

    Sets that are so alike share one of their rarest members (prefix filtering: Bayardo et al. 2007), so only those that do are compared.
    """
    different = texts.unique([*_FIELDS, "films"], keep="first", maintain_order=True).with_row_index("row")
    words = different.select(
        "row", "films", *(pl.concat_str(pl.lit("\x02 "), name).str.split(" ").alias(name) for name in _FIELDS)
    )
    sets = words.select(
        "row",
        "films",
        *(
            pl.col(name)
            .list.eval(pl.concat_str(pl.element(), pl.element().shift(-1), separator=" ").drop_nulls().hash())
            .list.unique()
            .alias(name)
            for name in _FIELDS
        ),
    )
    members = pl.concat(
        [
            sets.select("row", field=pl.lit(at, dtype=pl.Int8), member=name).explode("member")
            for at, name in enumerate(_FIELDS)
        ]
    ).drop_nulls()
    members = members.with_columns(size=pl.len().over("row").cast(pl.Int64), often=pl.len().over("field", "member"))
    # At least one member of the first `size - ceil(SIMILAR * size) + 1`, rarest first, is shared.
    rarest = members.sort("row", "often", "field", "member").filter(
        pl.int_range(pl.len()).over("row") <= pl.col("size") - (pl.col("size") * SIMILAR).ceil()
    )
    blocked = rarest.filter(pl.col("often") > 1).sort("field", "member", "row")
    blocked = blocked.with_columns(part=pl.int_range(pl.len()).over("field", "member") // _BLOCK_MAX)
    block = ["field", "member", "part"]
    found = [pl.DataFrame(schema={"a": pl.String, "b": pl.String})]
    ids = different.select("row", "pair_id")
    for some in _slices(blocked, block):
        met = (
            some.select(*block, "row", "size")
            .join(some.select(*block, "row", "size"), on=block, suffix="_b")
            .filter(
                (pl.col("row") < pl.col("row_b"))
                & (pl.min_horizontal("size", "size_b") >= SIMILAR * pl.max_horizontal("size", "size_b"))
            )
            .select("row", "row_b")
            .unique()
        )
        both = met.join(sets, on="row").join(sets, left_on="row_b", right_on="row", suffix="_b")
        alike = both.filter(
            pl.col("films") == pl.col("films_b"), pl.all_horizontal(_jaccard(name) >= SIMILAR for name in _FIELDS)
        )
        found.append(
            alike.select("row", "row_b")
            .join(ids.rename({"pair_id": "a"}), on="row")
            .join(ids.rename({"row": "row_b", "pair_id": "b"}), on="row_b")
            .select("a", "b")
        )
    return pl.concat(found)


def _slices(blocked: pl.DataFrame, block: list[str]) -> list[pl.DataFrame]:
    """`blocked` in parts of whole blocks, so that no part is compared more than about _COMPARED_AT_ONCE times."""
    sizes = (
        blocked.group_by(block, maintain_order=True).agg(pairs=pl.len().cast(pl.Int64) ** 2).filter(pl.col("pairs") > 1)
    )
    sizes = sizes.with_columns(slice=pl.col("pairs").cum_sum() // _COMPARED_AT_ONCE).drop("pairs")
    return blocked.join(sizes, on=block).partition_by("slice", include_key=False)


def _jaccard(name: str) -> pl.Expr:
    shared = pl.col(name).list.set_intersection(f"{name}_b").list.len()
    total = pl.col(name).list.len() + pl.col(f"{name}_b").list.len() - shared
    return pl.when(total == 0).then(1.0).otherwise(shared / total)


def _judged(pairs: pl.DataFrame) -> pl.DataFrame:
    """What a person judged, with the pair that was drawn for it (a, b): the same answers, in either order."""
    answers = pairs.select(
        "pair_id",
        "construction",
        "dialogue_id",
        "turn",
        low=pl.min_horizontal("chosen", "rejected"),
        high=pl.max_horizontal("chosen", "rejected"),
    )
    is_human = pl.col("construction") == "human"
    both = answers.filter(is_human).join(
        answers.filter(~is_human), on=["dialogue_id", "turn", "low", "high"], suffix="_drawn"
    )
    return both.select(a="pair_id", b="pair_id_drawn")


def _groups(ids: pl.Series, edges: pl.DataFrame) -> pl.Series:
    """Number of the connected component of each id."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    place = pl.DataFrame({"id": ids}).with_row_index("at")
    ends = edges.join(place.rename({"id": "a", "at": "from"}), on="a").join(
        place.rename({"id": "b", "at": "to"}), on="b"
    )
    ones = np.ones(ends.height, dtype=np.int8)
    graph = coo_array((ones, (ends["from"].to_numpy(), ends["to"].to_numpy())), shape=(len(ids), len(ids)))
    return pl.Series("group", connected_components(graph, directed=False)[1])
