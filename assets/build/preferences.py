"""Making preference pairs: those that follow from the data for datasets whose inputs changed, a sample by the language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from assets.build.annotation import usable_mentions
from assets.build.tables import Built, Tell, published_metadata, published_or_empty
from pipelines.preferences import quality
from pipelines.preferences.assemble import PAIRS_VERSION, assemble
from pipelines.preferences.degraded import degraded
from pipelines.preferences.human import human_pairs
from pipelines.preferences.questionnaire import questionnaire
from pipelines.preferences.rows import ROWS
from pipelines.preferences.simulated import simulated_pairs
from warehouse.store import Warehouse
from warehouse.tables.annotation import ANNO_VALIDATION
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.dialogues import CORE_DIALOGUES, CORE_FEEDBACK, CORE_MENTION_HINTS, CORE_TURNS
from warehouse.tables.mentions import CORE_FILM_MENTIONS, CORE_ITEM_LINKS, CORE_MENTIONS
from warehouse.tables.preferences import PREF_PAIRS, SIMULATION
from warehouse.tables.simulation import PREF_ECPO_PAIRS, SIM_ITEMS

if TYPE_CHECKING:
    from pipelines.gateways.llm.gateway import LlmGateway
    from pipelines.gateways.llm.requests import LlmRequest

# Tables whose versions say whether the pairs of a dataset can have changed.
_INPUTS = (CORE_MOVIES, CORE_TURNS, CORE_MENTIONS, CORE_MENTION_HINTS, CORE_FEEDBACK, CORE_ITEM_LINKS)
_MOVIE_COLUMNS = ["movie_id", "title", "year", "kind", "genres", "directors", "cast_members", "votes"]


def film_mentions(warehouse: Warehouse) -> pl.DataFrame:
    """Rows of the view core_film_mentions: usable mentions, one for each place."""
    best = usable_mentions(warehouse).sort(
        ["dialogue_id", "turn", "start", "score_prob", "end", "method"],
        descending=[False, False, False, True, True, False],
    )
    return best.unique(["dialogue_id", "turn", "start"], keep="first", maintain_order=True).select(
        CORE_FILM_MENTIONS.schema.names()
    )


def _inputs(warehouse: Warehouse, dataset: str, movies: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """What the constructions are made from, for one dataset."""
    is_own = pl.col("dataset") == dataset
    return {
        "turns": published_or_empty(warehouse, CORE_TURNS).filter(is_own),
        "mentions": film_mentions(warehouse).filter(is_own),
        "hints": published_or_empty(warehouse, CORE_MENTION_HINTS).filter(is_own),
        "feedback": published_or_empty(warehouse, CORE_FEEDBACK).filter(is_own),
        "item_links": published_or_empty(warehouse, CORE_ITEM_LINKS).filter(is_own),
        "movies": movies,
    }


def _sample(inputs: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return quality.sampled(inputs["turns"], inputs["mentions"], inputs["hints"], inputs["movies"])


def build_pairs(
    warehouse: Warehouse, datasets: Sequence[str], gateway: LlmGateway | None, full: bool, tell: Tell
) -> Built:
    """Make the pairs of some `datasets`, and those of simulated conversations in any case: pref_pairs.

    Pairs that follow from the data are made again where a table that they are made from has another version than noted with the pairs. Without
    a `gateway`, pairs of which a model wrote the answers stay while their turns are as they were.
    """
    movies = published_or_empty(warehouse, CORE_MOVIES, _MOVIE_COLUMNS)
    dialogues = published_or_empty(warehouse, CORE_DIALOGUES)
    people = published_or_empty(warehouse, ANNO_VALIDATION)
    stored = published_or_empty(warehouse, PREF_PAIRS)
    notes = (published_metadata(warehouse, PREF_PAIRS.name) or {}).get("made_from", {})
    state: dict[str, Any] = {table.name: warehouse.published(table.name) for table in _INPUTS}
    state["version"] = PAIRS_VERSION
    counts: dict[str, float] = {"datasets paired": 0}
    parts = [stored.filter(~pl.col("dataset").is_in([*datasets, SIMULATION])).select(ROWS.names())]
    own: dict[str, pl.DataFrame] = {}
    samples: dict[str, pl.DataFrame] = {}
    for dataset in datasets:
        old = stored.filter(pl.col("dataset") == dataset).select(ROWS.names())
        by_model = old.filter(pl.col("construction") == "llm_quality")
        inputs = _inputs(warehouse, dataset, movies)
        if not full and notes.get(dataset) == state:
            own[dataset] = old.filter(~pl.col("construction").is_in(["llm_quality", "human"]))
        else:
            tell(f"pairs of {dataset}")
            made = degraded(inputs["turns"], inputs["mentions"], inputs["hints"], movies)
            asked = questionnaire(inputs["turns"], inputs["feedback"], inputs["hints"], inputs["item_links"], movies)
            own[dataset] = pl.concat([made.rows, asked.rows])
            counts["datasets paired"] += 1
            for reason, number in {**made.dropped, **asked.dropped}.items():
                counts[f"left out: {reason}"] = counts.get(f"left out: {reason}", 0) + number
        if gateway is not None:
            samples[dataset] = _sample(inputs)
        elif by_model.height:
            own[dataset] = pl.concat([own[dataset], _still_asked(by_model, _sample(inputs))])
    if gateway is not None and samples:
        # All at once: an endpoint that gives no answers is found out once, and not for every dataset again.
        tell(f"answers of high and low quality to {sum(sample.height for sample in samples.values()):,} turns")
        run = gateway.answer([each for sample in samples.values() for each in quality.requests(sample)], tell)
        if run.stopped:
            tell(f"not all were asked: {run.stopped}")
        counts |= {f"answers: {label}": figure for label, figure in run.counts.items()}
        for dataset, sample in samples.items():
            own[dataset] = pl.concat([own[dataset], quality.quality_pairs(run, sample).rows])
    for dataset, drawn in own.items():
        parts += [drawn, human_pairs(people.filter(pl.col("dataset") == dataset), drawn).rows]
    simulated = simulated_pairs(
        published_or_empty(warehouse, PREF_ECPO_PAIRS),
        published_or_empty(warehouse, SIM_ITEMS, ["domain", "item_id", "title"]),
    )
    counts["pairs of simulated conversations"] = simulated.height
    tell("looking for near-duplicates")
    pairs = assemble(parts, dialogues, simulated)
    counts |= {"pairs": pairs.height, "near-duplicates": pairs["duplicate_of"].count()}
    noted = {"made_from": {**notes, **dict.fromkeys(datasets, state)}}
    return Built((warehouse.write(PREF_PAIRS, pairs, noted),), counts)


def _still_asked(pairs: pl.DataFrame, sample: pl.DataFrame) -> pl.DataFrame:
    """Pairs that a model wrote for turns that would be asked about today with the same conversation before them."""
    today = {(row["dialogue_id"], row["turn"]): row["context"] for row in sample.iter_rows(named=True)}
    is_same = [
        today.get((dialogue, turn)) == context
        for dialogue, turn, context in pairs.select("dialogue_id", "turn", "context").iter_rows()
    ]
    return pairs.filter(pl.Series(is_same, dtype=pl.Boolean))


def quality_requests(warehouse: Warehouse, datasets: Sequence[str]) -> list[LlmRequest]:
    """What a run would ask the model for pairs."""
    movies = published_or_empty(warehouse, CORE_MOVIES, _MOVIE_COLUMNS)
    return [
        request for dataset in datasets for request in quality.requests(_sample(_inputs(warehouse, dataset, movies)))
    ]
