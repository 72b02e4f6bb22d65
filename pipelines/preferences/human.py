"""What people preferred among the two answers of sampled pairs (HARPO, appendix B: "human annotations for validation")."""

from __future__ import annotations

import polars as pl

from pipelines.preferences.rows import ROWS, Made, finished

# Raise it when the code here gives other pairs.
HUMAN_VERSION = "1"

_SETTLED = "adjudicated"


def human_pairs(validation: pl.DataFrame, pairs: pl.DataFrame) -> Made:
    """A pair `human` for every sampled pair on which people agree.

    validation: rows of anno_validation, of which those of kind `pair` and label `chosen` count: present means that the person
    prefers the answer that the pair calls chosen. pairs: what they were drawn from (pref_pairs or ROWS). Whoever adjudicated has the
    last word; without them all must agree. Where people prefer the other answer, the new pair has them the other way round.
    """
    judged = validation.filter((pl.col("kind") == "pair") & (pl.col("label") == "chosen"))
    is_settled = pl.col("annotator") == _SETTLED
    counted = judged.filter(is_settled | ~is_settled.any().over("item_id"))
    said = counted.group_by(pair_id="item_id").agg(
        prefers_chosen=pl.col("is_present").first(),
        opinions=pl.col("is_present").n_unique(),
        people=pl.col("annotator").unique().sort().str.join(", "),
        sample=pl.col("sample").max(),
    )
    originals = pairs.filter(pl.col("construction") != "human")
    known = said.join(originals.select("pair_id"), on="pair_id", how="semi")
    agreed = known.filter(pl.col("opinions") == 1)
    swap = {"chosen": "rejected", "rejected": "chosen"}
    swap |= {f"{ours}_movie_ids": f"{theirs}_movie_ids" for ours, theirs in swap.items()}
    rows = originals.join(agreed, on="pair_id").with_columns(
        *(pl.when("prefers_chosen").then(ours).otherwise(theirs).alias(ours) for ours, theirs in swap.items()),
        construction=pl.lit("human"),
        made_by=pl.col("people"),
        version=pl.concat_str(pl.lit(f"{HUMAN_VERSION}:"), "sample"),
        margin=pl.lit(None, dtype=pl.Float32),
    )
    dropped = {
        "human: pair not there any more": said.height - known.height,
        "human: people disagree": known.height - agreed.height,
    }
    ready = rows.select(name for name in ROWS if name not in ("pair_id", "input_hash")).sort(
        "dialogue_id", "turn", "chosen"
    )
    return Made(finished(ready), {reason: number for reason, number in dropped.items() if number})
