"""Re-ranked candidates as rankings: the language model's order, and beside it the retriever's own order of the same candidates.

Belongs here: llm_rankings to rows of `examples.SCHEMA`. Does not belong here: what the model answered (pipelines/reranking).
"""

from __future__ import annotations

import hashlib

import polars as pl

from pipelines.evaluation.ranking.examples import SCHEMA


def of_reranked(reranked: pl.DataFrame, turns: pl.DataFrame, matcher: str) -> pl.DataFrame:
    """Rows of SCHEMA with `ranks_candidates`: two systems for each that was re-ranked, `<system>` and `<system>+<model>`.

    `reranked`: llm_rankings; `turns`: dialogue_id, turn, conversation_id and history of core_rec_turns; `matcher`: how lines were matched to
    candidates. A label has the place that it has in the list; one that the model left out, or that is not among the candidates, has none and is a
    miss, and so are all labels of a turn for which there is no answer. Systems that were asked about the same turns have the same data_hash.
    """
    rows = reranked.filter(pl.col("labels").list.len() > 0).join(turns, on=["dialogue_id", "turn"], how="inner")
    if rows.is_empty():
        return pl.DataFrame(schema=SCHEMA)
    parts = []
    for own in rows.partition_by(["system", "seed", "model"], maintain_order=True):
        common = own.sort("dialogue_id", "turn").with_columns(
            data_hash=pl.lit(_hash_of(own)),
            setting=pl.lit("dialogues"),
            example_id=pl.concat_str("dialogue_id", "turn", separator=":"),
            cluster_id="conversation_id",
            position="turn",
            model_id="retriever_id",
            history_items=pl.col("history").list.n_unique(),
            pool_items=pl.max_horizontal(1, pl.col("candidates").list.len()),
        )
        parts.append(
            common.with_columns(
                order="candidates", matcher=pl.lit("movie_id"), model=pl.lit(None), is_stand_in=pl.lit(False)
            )
        )
        parts.append(
            common.with_columns(
                order="ranked",
                matcher=pl.lit(matcher),
                system=pl.concat_str("system", "model", separator="+"),
            )
        )
    return pl.concat([_with_places(part) for part in parts])


def _hash_of(rows: pl.DataFrame) -> str:
    """Hash of turns and labels."""
    digest = hashlib.sha256()
    for dialogue, turn, labels in rows.sort("dialogue_id", "turn").select("dialogue_id", "turn", "labels").iter_rows():
        digest.update("\x1f".join([dialogue, str(turn), *labels, "\n"]).encode())
    return digest.hexdigest()


def _with_places(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` as SCHEMA, places taken from the column `order`."""
    places: dict[str, list[list[int | None]] | list[list[bool]] | list[list[int]]] = {}
    named = [
        (
            labels,
            {film: place for place, film in reversed(list(enumerate(order, start=1)))},
            set(candidates),
            set(history),
        )
        for labels, order, candidates, history in rows.select("labels", "order", "candidates", "history").iter_rows()
    ]
    places["ranks_candidates"] = [[at.get(label) for label in labels] for labels, at, _, _ in named]
    places["are_in_pool"] = [[label in there for label in labels] for labels, _, there, _ in named]
    places["are_repeats"] = [[label in before for label in labels] for labels, _, _, before in named]
    places["train_counts"] = [[0] * len(labels) for labels, _, _, _ in named]
    places["are_tail"] = [[False] * len(labels) for labels, _, _, _ in named]
    none = {name: pl.lit(None) for name in ("ranks_all", "ranks_masked", "ranks_uniform", "ranks_popularity")}
    made = [pl.Series(name, values, dtype=SCHEMA[name]) for name, values in places.items()]
    return rows.with_columns(*made, llm_model="model", **none).select(
        pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()
    )
