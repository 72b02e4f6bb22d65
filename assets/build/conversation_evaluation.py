"""Measuring what was made of conversations: mentions against their truths, annotations against people, pairs by themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import polars as pl

from assets.build.mentions import FILM_COLUMNS, gazetteer_of
from assets.build.tables import Built, Tell, published_or_empty
from pipelines.evaluation import annotation as of_annotation
from pipelines.evaluation import mentions as of_mentions
from pipelines.evaluation.preferences import evaluate_pairs
from pipelines.mentions.link import link_items
from pipelines.sources.blocks import SourceBlock
from warehouse.store import NoSuchTable, Warehouse
from warehouse.tables.annotation import (
    ANNO_STRATEGY,
    ANNO_TURNS,
    ANNO_VALIDATION,
    ANNO_VTO,
    EVAL_ANNOTATION,
    EVAL_ANNOTATION_DISAGREEMENTS,
)
from warehouse.tables.corpus import CORE_MOVIE_LINKS, CORE_MOVIES
from warehouse.tables.dialogues import CORE_DIALOGUE_ITEMS, CORE_DIALOGUES, CORE_MENTION_HINTS, CORE_TURN_LABELS
from warehouse.tables.mentions import (
    CORE_MENTIONS,
    EVAL_MENTION_DISAGREEMENTS,
    EVAL_MENTION_LINKING,
    MENTION_METHODS,
)
from warehouse.tables.preferences import EVAL_PREFERENCES, PREF_PAIRS
from warehouse.tables.titles import CORE_TITLE_RECORDS, raw_table_name

# The catalogue that states IMDb ids for ReDial's items.
ID2INFO = "redial_info"

_METHODS = ("all", *MENTION_METHODS)


def gold(name: str) -> str:
    """The text of a hand-labelled file of pipelines/evaluation/gold."""
    return (resources.files("pipelines.evaluation.gold") / name).read_text(encoding="utf-8")


def build_mention_evaluation(
    warehouse: Warehouse, sources: Path, blocks: Mapping[str, SourceBlock], tell: Tell
) -> Built:
    """Judge the links by every truth that there is: eval_mention_linking, eval_mention_disagreements.

    ReDial's items by id2info, with the catalogues hidden that are made of the dialogue datasets themselves; INSPIRED by the hand-labelled
    dialogues and by its authors' columns; a synthetic pack, whose truth lies under `sources`, by that truth.
    """
    films = published_or_empty(warehouse, CORE_MOVIES)
    mentions = published_or_empty(warehouse, CORE_MENTIONS)
    parts = [
        *_items(warehouse, films, blocks, tell),
        *_inspired(warehouse, films, mentions),
        *_synthetic(warehouse, films, mentions, sources),
    ]
    found = of_mentions.combined(parts)
    commits = (
        warehouse.write(EVAL_MENTION_LINKING, found.metrics),
        warehouse.write(EVAL_MENTION_DISAGREEMENTS, found.disagreements),
    )
    return Built(commits, {"figures": found.metrics.height, "disagreements": found.disagreements.height})


def _items(
    warehouse: Warehouse, films: pl.DataFrame, blocks: Mapping[str, SourceBlock], tell: Tell
) -> list[of_mentions.Evaluation]:
    """ReDial's items, linked anew without what the dialogue datasets say of films."""
    items = published_or_empty(warehouse, CORE_DIALOGUE_ITEMS).filter(pl.col("dataset") == "redial")
    try:
        stated = warehouse.read(raw_table_name(ID2INFO), ["source_id", "imdb_id", "year"])
    except NoSuchTable:
        return []
    if items.is_empty() or stated.is_empty():
        return []
    tell("linking ReDial's items without the dialogue datasets' own catalogues")
    records, links = warehouse.read(CORE_TITLE_RECORDS.name), warehouse.read(CORE_MOVIE_LINKS.name)
    known = of_mentions.films_without(
        films, records, links, {name: block.reliability for name, block in blocks.items()}
    )
    truth = of_mentions.item_truth(
        stated.select(
            item_id="source_id",
            imdb_id=pl.col("imdb_id").str.extract(r"(tt\d{7,9})"),
            year=pl.col("year").str.extract(r"(\d{4})").cast(pl.Int32),
        ),
        known,
        "redial",
    )
    linked = link_items(items, gazetteer_of(known.select(FILM_COLUMNS), tell), tell)
    doubtful = of_mentions.contradicts_year(truth, items)
    hidden = ", ".join(of_mentions.DIALOGUE_CATALOGUES)
    protocol = f"ReDial's items (movies_with_mentions) whose film, by the IMDb id of id2info, is in the corpus by another catalogue than {hidden}, which are hidden; clusters: films"
    return [of_mentions.evaluate_items(linked, truth, known, "id2info", protocol, doubtful)]


def _inspired(warehouse: Warehouse, films: pl.DataFrame, mentions: pl.DataFrame) -> list[of_mentions.Evaluation]:
    """INSPIRED, by the hand-labelled dialogues that are there and by the columns of its authors."""
    dialogues = published_or_empty(warehouse, CORE_DIALOGUES, ["dialogue_id", "dataset"])
    there = dialogues.filter(pl.col("dataset") == "inspired")["dialogue_id"]
    labels = pl.read_csv(gold("mentions.tsv").encode(), separator="\t", infer_schema_length=None, quote_char=None)
    read = pl.Series("dialogue_id", gold("mentions_dialogues.txt").split())
    parts = []
    truth = of_mentions.span_truth(labels, films)
    for part in ("dev", "test"):
        own = read.filter(read.is_in(there.implode()) & (gold_part(read) == part))
        if own.len():
            words = "the links were tuned on them" if part == "dev" else "nothing was tuned on them"
            protocol = f"INSPIRED's dev dialogues, hand-labelled by one annotator (pipelines/evaluation/gold), half {part} of them by hash: {words}"
            parts.append(of_mentions.evaluate_spans(mentions, truth, own, films, f"gold_{part}", protocol, _METHODS))
    hints = published_or_empty(warehouse, CORE_MENTION_HINTS).filter(pl.col("dataset") == "inspired")
    columns = of_mentions.column_truth(hints, films)
    if columns.height:
        protocol = "INSPIRED's column `movies`, matched by string by its authors: noisy, and itself evidence that the links use"
        stated = columns["dialogue_id"].unique().sort()
        parts.append(
            of_mentions.evaluate_spans(mentions, columns, stated, films, "inspired_columns", protocol, _METHODS)
        )
    return parts


def gold_part(dialogue_ids: pl.Series) -> pl.Series:
    """`dev` or `test`: the half of the hand-labelled dialogues that each belongs to, by its hash."""
    first = [hashlib.sha256(name.encode()).digest()[0] for name in dialogue_ids]
    return pl.Series("part", ["dev" if byte % 2 == 0 else "test" for byte in first], dtype=pl.String)


def _synthetic(
    warehouse: Warehouse, films: pl.DataFrame, mentions: pl.DataFrame, sources: Path
) -> list[of_mentions.Evaluation]:
    """Every dataset of a synthetic pack, by the truth that lies beside it."""
    path = sources / "truth" / "mentions.parquet"
    if not path.is_file():
        return []
    stated = pl.read_parquet(path).with_columns(
        dialogue_id=pl.concat_str("dataset", "source_id", separator="-"),
        imdb_id=pl.concat_str(pl.lit("tt"), pl.col("imdb_number").cast(pl.String).str.zfill(7)),
        in_corpus=pl.lit("1"),
        title_year_check=pl.lit("id"),
    )
    truth = of_mentions.span_truth(stated, films)
    there = published_or_empty(warehouse, CORE_DIALOGUES, ["dialogue_id", "domain"])
    read = there.filter(pl.col("domain").is_in(["film", "mixed"]))["dialogue_id"]
    protocol = "a synthetic pack's conversations, by the truth that was written with them"
    parts = []
    for dataset in truth["dataset"].unique().sort():
        own, some = truth.filter(pl.col("dataset") == dataset), read.filter(read.str.starts_with(f"{dataset}-"))
        if own.height and some.len():
            linked = mentions.filter(pl.col("dataset") == dataset)
            parts.append(of_mentions.evaluate_spans(linked, own, some, films, "synthetic", protocol, _METHODS))
    return parts


def build_annotation_evaluation(warehouse: Warehouse, tell: Tell) -> Built:
    """Who annotated what, how far people agree, how right rules are: eval_annotation, eval_annotation_disagreements."""
    turns, rows = published_or_empty(warehouse, ANNO_TURNS), published_or_empty(warehouse, ANNO_VTO)
    strategies = published_or_empty(warehouse, ANNO_STRATEGY)
    people = published_or_empty(warehouse, ANNO_VALIDATION)
    labelled = of_annotation.read_gold(gold("vto.tsv"))
    tell(f"measuring the annotation of {turns.height:,} turns")
    figures = [
        of_annotation.coverage(turns, rows, people),
        of_annotation.against_gold(labelled, turns, rows),
        of_annotation.against_iard(published_or_empty(warehouse, CORE_TURN_LABELS), turns, rows),
        of_annotation.strategies(strategies, labelled),
        *(of_annotation.agreement(people, kind) for kind in ("vto", "strategy", "pair")),
    ]
    commits = (
        warehouse.write(EVAL_ANNOTATION, pl.concat([EVAL_ANNOTATION.conform(each) for each in figures])),
        warehouse.write(EVAL_ANNOTATION_DISAGREEMENTS, of_annotation.disagreements(people)),
    )
    return Built(commits, {"figures": commits[0].rows, "rules judged": commits[1].rows})


def build_pair_evaluation(warehouse: Warehouse, tell: Tell) -> Built:
    """Measure the preference pairs: eval_preferences."""
    pairs = published_or_empty(warehouse, PREF_PAIRS)
    tell(f"measuring {pairs.height:,} pairs")
    metrics = evaluate_pairs(pairs)
    return Built((warehouse.write(EVAL_PREFERENCES, metrics),), {"figures": metrics.height})
