"""Replies of simulated conversations that did not satisfy against their rewrites (ECPO, section 2.2): pairs that a second confirmation has borne out.

Belongs here: what of pref_ecpo_pairs becomes a pair of the store. Does not belong here: how the rewrites come about (`pipelines/simulation/rewriting.py`).
"""

from __future__ import annotations

import polars as pl

from pipelines.preferences.rows import ROWS, alike
from pipelines.simulation.naming import holds_title
from warehouse.tables.preferences import SIMULATION

# Raise it when the code here gives other pairs.
SIMULATED_VERSION = "1"

CONSTRUCTION = "ecpo_rewrite"

# What a construction hands over, and what `assemble` cannot look up: these pairs belong to no dialogue.
PLACED = pl.Schema({**ROWS, "split": pl.String(), "conversation_id": pl.String()})

_MOST = 5.0


def simulated_pairs(ecpo: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Accepted rewrites that score higher than what they replace, as pairs (PLACED), in the order of their ids.

    ecpo: pref_ecpo_pairs; items: sim_items, for the films that answers name. Ids are kept, so that a join leads back to episode and turn. A simulated user's conversations are one
    conversation here, whatever the domain: a user never stands in two splits, and intervals are clustered by user. The worse answer is worse in satisfaction, and in engagement where the
    rewrite gains in guidance.
    """
    kept = ecpo.filter((pl.col("status") == "kept") & pl.col("is_improved") & ~alike("original", "rewritten"))
    prompt = pl.col("prompt_version").str.split("@")
    rows = kept.sort("pair_id").select(
        "pair_id",
        "domain",
        "context",
        "model",
        "is_stand_in",
        "input_hash",
        "split",
        dataset=pl.lit(SIMULATION),
        dialogue_id=pl.lit(None, dtype=pl.String),
        turn=pl.lit(None, dtype=pl.Int32),
        conversation_id=pl.concat_str(pl.lit(f"{SIMULATION}-"), "user_id"),
        chosen=pl.col("rewritten"),
        rejected=pl.col("original"),
        dimensions=pl.when(pl.col("guidance_gain") > 0)
        .then(pl.lit(["satisfaction", "engagement"], dtype=ROWS["dimensions"]))
        .otherwise(pl.lit(["satisfaction"], dtype=ROWS["dimensions"])),
        construction=pl.lit(CONSTRUCTION),
        made_by=prompt.list.first(),
        version=pl.concat_str(pl.lit(f"{SIMULATED_VERSION}/"), prompt.list.last()),
        margin=((pl.col("score_after") - pl.col("score_before")) / _MOST).cast(pl.Float32),
        films=pl.when(pl.col("domain") == "film").then("retrieved").otherwise(pl.lit([], dtype=pl.List(pl.String))),
    )
    titles = _titles(rows["films"], items)
    named = [
        pl.Series(
            f"{answer}_movie_ids",
            [
                [film for film in films if film in titles and holds_title(text, titles[film])]
                for films, text in rows.select("films", answer).iter_rows()
            ],
            dtype=pl.List(pl.String),
        )
        for answer in ("chosen", "rejected")
    ]
    return rows.with_columns(named).select(pl.col(name).cast(dtype) for name, dtype in PLACED.items())


def _titles(films: pl.Series, items: pl.DataFrame) -> dict[str, str]:
    wanted = films.explode().drop_nulls().unique()
    listed = items.filter((pl.col("domain") == "film") & pl.col("item_id").is_in(wanted.implode()))
    return dict(listed.select("item_id", "title").iter_rows())
