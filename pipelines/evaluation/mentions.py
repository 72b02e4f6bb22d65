"""How well items and mentions are linked to films, against truths of different worth.

Belongs here: the truths as frames, the protocol that keeps an answer from being its own evidence, and the figures with their
intervals. The linker itself is called exactly as the warehouse calls it, by whoever hands the links in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import polars as pl

from pipelines.corpus.fuse import fuse
from pipelines.mentions.link import LINKER_VERSION
from pipelines.sources.titles import title_parts
from warehouse.tables.mentions import EVAL_MENTION_DISAGREEMENTS, EVAL_MENTION_LINKING

# Catalogues that are themselves lists of what the conversations mention: with them, every item finds itself.
DIALOGUE_CATALOGUES = ("redial", "redial_info", "reddit_movie", "opendialkg")

STAGES = ("before_lint", "after_lint")

_REPLICATES = 300
_YEAR_TOLERANCE = 1

# What a truth of spans looks like: `movie_id` is null where the film is not in the corpus or no film is meant. Of spans that are open it is not known
# which row of the corpus is right; they are not judged.
SPANS = pl.Schema(
    {
        "dataset": pl.String,
        "dialogue_id": pl.String,
        "turn": pl.Int32,
        "start": pl.Int32,
        "end": pl.Int32,
        "movie_id": pl.String,
        "is_open": pl.Boolean,
    }
)
# What a truth of items looks like; `year` is the year that the truth's own record states, where it does.
ITEMS = pl.Schema({"dataset": pl.String, "item_id": pl.String, "movie_id": pl.String, "year": pl.Int32})


@dataclass(frozen=True)
class Evaluation:
    """`metrics` conforms to eval_mention_linking, `disagreements` to eval_mention_disagreements."""

    metrics: pl.DataFrame
    disagreements: pl.DataFrame


def films_without(
    movies: pl.DataFrame,
    records: pl.DataFrame,
    links: pl.DataFrame,
    reliability: Mapping[str, float],
    hidden: Sequence[str] = DIALOGUE_CATALOGUES,
) -> pl.DataFrame:
    """The films as the corpus would know them without the catalogues `hidden`; films that only those know are gone.

    `movies`: core_movies, `records`: core_title_records, `links`: core_movie_links. Which record belongs to which film is left as it
    is. Returns columns of core_movies.
    """
    is_hidden = pl.col("source").is_in(hidden)
    touched = links.filter(is_hidden).select("movie_id").unique()
    left = links.filter(~is_hidden).join(touched, on="movie_id", how="semi")
    again = fuse(records.join(left, on="record_id", how="semi"), left, reliability).movies
    return pl.concat([movies.join(touched, on="movie_id", how="anti"), again.select(movies.columns)]).sort("movie_id")


def item_truth(stated: pl.DataFrame, films: pl.DataFrame, dataset: str) -> pl.DataFrame:
    """Truth of items through IMDb ids: see ITEMS.

    `stated`: item_id, imdb_id and year as the truth states them. Items whose film is not among `films` are not in it: there the
    honest answer is none, and the truth does not say which.
    """
    known = _by_imdb_id(films)
    truth = stated.join(known.select("imdb_id", "movie_id", film_year="year"), on="imdb_id").select(
        pl.lit(dataset).alias("dataset"), "item_id", "movie_id", year=pl.coalesce("film_year", "year")
    )
    return truth.cast(ITEMS).select(ITEMS.names()).unique(["dataset", "item_id"]).sort("dataset", "item_id")


def _by_imdb_id(films: pl.DataFrame) -> pl.DataFrame:
    """The film of each IMDb id: of several rows of the corpus that state one id, that which most catalogues know."""
    best = films.filter(pl.col("imdb_id").is_not_null())
    return best.sort("source_count", "movie_id", descending=[True, False]).unique(
        "imdb_id", keep="first", maintain_order=True
    )


def contradicts_year(truth: pl.DataFrame, items: pl.DataFrame) -> pl.Series:
    """Whether the film that the truth gives is of another year than the item's own name states, by more than one [truth]."""
    names = truth.join(
        items.select("dataset", "item_id", "item_name"), on=["dataset", "item_id"], how="left", maintain_order="left"
    )["item_name"].fill_null("")
    stated = title_parts(names.str.replace_all(r"\s+", " ").str.strip_chars())[0]["year"]
    return ((stated - truth["year"]).abs() > _YEAR_TOLERANCE).fill_null(False)


def evaluate_items(
    item_links: pl.DataFrame,
    truth: pl.DataFrame,
    films: pl.DataFrame,
    name: str,
    protocol: str,
    is_doubtful: pl.Series | None = None,
    seed: int = 42,
) -> Evaluation:
    """Judge core_item_links against a truth of items (see ITEMS); `is_doubtful` marks truth rows that contradict a stated year.

    Precision: share of the linked items whose film is the true one; recall: share of the items of the truth that are linked to
    it; accuracy_at_1: the same when the likeliest film counts whatever its probability; mean_score_prob: what the links say of themselves,
    to be compared with precision. Clusters of the bootstrap are the true films. With `is_doubtful` all figures come a second time, as truth
    `<name>_year_agrees`, with the doubtful rows left out.
    """
    judged = truth.with_columns(is_doubtful=is_doubtful if is_doubtful is not None else pl.lit(False)).join(
        item_links, on=["dataset", "item_id"], how="inner", suffix="_linked"
    )
    judged = judged.rename({"movie_id": "true_id", "movie_id_linked": "linked_id"}).with_columns(
        top_id=pl.coalesce("linked_id", pl.col("alternatives").list.first().struct.field("movie_id"))
    )
    metrics = []
    versions = [(name, protocol, judged)]
    if is_doubtful is not None:
        agreeing = judged.filter(~pl.col("is_doubtful"))
        left_out = judged.height - agreeing.height
        words = (
            f"{protocol}; left out: {left_out} items whose name states a year more than one from that of the true film"
        )
        versions.append((f"{name}_year_agrees", words, agreeing))
    for (version, words, rows), stage in product(versions, STAGES):
        is_linked = pl.col("linked_id").is_not_null()
        if stage == "after_lint":
            is_linked &= ~pl.col("is_quarantined")
        right = pl.col("linked_id") == pl.col("true_id")
        counts = rows.select(
            "dataset",
            cluster="true_id",
            linked=is_linked,
            prob=pl.when(is_linked).then("score_prob").otherwise(0.0).cast(pl.Float64),
            linked_right=is_linked & right.fill_null(False),
            true=pl.lit(True),
            true_found=is_linked & right.fill_null(False),
            placed=pl.lit(True),
            placed_right=(pl.col("top_id") == pl.col("true_id")).fill_null(False),
        )
        metrics.append(_figures(counts, version, "item", stage, words, seed))
    wrong = judged.filter(pl.col("linked_id").ne_missing(pl.col("true_id"))).select(
        "dataset",
        truth=pl.lit(name),
        dialogue_id=pl.lit(None, dtype=pl.String),
        turn=pl.lit(None, dtype=pl.Int32),
        surface="item_name",
        linked_id="linked_id",
        true_id="true_id",
        score_prob="score_prob",
        kind=pl.when("is_doubtful")
        .then(pl.lit("truth_year_differs"))
        .when(pl.col("linked_id").is_null())
        .then(pl.lit("missed"))
        .otherwise(pl.lit("wrong_film")),
    )
    return Evaluation(_conform(metrics), _in_words(wrong, films))


def span_truth(stated: pl.DataFrame, films: pl.DataFrame) -> pl.DataFrame:
    """Truth of spans through IMDb ids: see SPANS.

    `stated`: columns of pipelines/evaluation/gold/mentions.tsv: dataset, dialogue_id, turn, start, end, imdb_id, in_corpus, title_year_check. The id is
    null where no single film is meant. Such rows stay, as rows without a film do: a link there is wrong. Films that are in the
    corpus, but not under that id, are open.
    """
    known = _by_imdb_id(films)
    joined = stated.join(known.select("imdb_id", "movie_id"), on="imdb_id", how="left")
    in_corpus = (pl.col("in_corpus").cast(pl.String) == "1") & (pl.col("title_year_check") != "id")
    return joined.with_columns(is_open=in_corpus.fill_null(False)).select(SPANS.names()).cast(SPANS)


def column_truth(hints: pl.DataFrame, films: pl.DataFrame) -> pl.DataFrame:
    """Truth of spans from hints of kind `column` that state title and year: see SPANS. Noisy: matched by string by its authors.

    Only names that fit exactly one film of that title and year count as true films; the others are rows without a film.
    """
    columns = hints.filter((pl.col("kind") == "column") & pl.col("start").is_not_null())
    parts = title_parts(columns["item_name"].fill_null("").str.replace_all(r"\s+", " ").str.strip_chars())[0]
    stated = columns.with_columns(title=parts["title"].str.to_lowercase(), year=parts["year"])
    named = films.select("movie_id", "year", title=pl.col("title").str.to_lowercase()).drop_nulls("year")
    single = named.filter(pl.len().over("title", "year") == 1)
    joined = stated.join(single, on=["title", "year"], how="left").with_columns(is_open=pl.lit(False))
    return joined.select(SPANS.names()).cast(SPANS)


def evaluate_spans(
    mentions: pl.DataFrame,
    truth: pl.DataFrame,
    read: pl.Series,
    films: pl.DataFrame,
    name: str,
    protocol: str,
    methods: Sequence[str] = ("all",),
    seed: int = 42,
) -> Evaluation:
    """Judge core_mentions against a truth of spans (see SPANS) in the dialogues `read` [str], which hold no other mention.

    A link is right when it overlaps a true span and names its film. Precision: share of the links that are right; recall: share
    of the true spans whose film is in the corpus that a right link covers; accuracy_at_1: share of right films among these spans
    where anything was linked; mean_score_prob: what the links say of themselves. The method `all` counts each place once, with its most probable link.
    """
    truth = truth.filter(pl.col("dialogue_id").is_in(read.implode())).with_row_index("span")
    linked = mentions.filter(
        pl.col("dialogue_id").is_in(read.implode())
        & pl.col("movie_id").is_not_null()
        & pl.col("dataset").is_in(truth["dataset"].unique().implode())
    )
    metrics, wrong = [], []
    for method in methods:
        for stage in STAGES:
            links = linked if method == "all" else linked.filter(pl.col("method") == method)
            if stage == "after_lint":
                links = links.filter(~pl.col("is_quarantined"))
            if method == "all":
                links = links.sort(
                    "dialogue_id", "turn", "start", "score_prob", "end", "method",
                    descending=[False, False, False, True, True, False],
                ).unique(["dialogue_id", "turn", "start"], keep="first", maintain_order=True)  # fmt: skip
            links = links.with_row_index("link")
            met = truth.join(
                links.select("link", "dialogue_id", "turn", linked_id="movie_id", link_start="start", link_end="end"),
                on=["dialogue_id", "turn"],
            ).filter((pl.col("start") < pl.col("link_end")) & (pl.col("link_start") < pl.col("end")))
            open_links = met.filter("is_open")["link"].unique().implode()
            links, met = links.filter(~pl.col("link").is_in(open_links)), met.filter(~pl.col("link").is_in(open_links))
            right = met.filter(pl.col("linked_id") == pl.col("movie_id"))
            of_links = links.select(
                "dataset",
                cluster="dialogue_id",
                linked=pl.lit(True),
                prob=pl.col("score_prob").cast(pl.Float64),
                linked_right=pl.col("link").is_in(right["link"].implode()),
                true=pl.lit(False),
                true_found=pl.lit(False),
                placed=pl.lit(False),
                placed_right=pl.lit(False),
            )
            in_corpus = truth.filter(pl.col("movie_id").is_not_null() & ~pl.col("is_open"))
            found = pl.col("span").is_in(right["span"].implode())
            placed = pl.col("span").is_in(met["span"].implode())
            of_truth = in_corpus.select(
                "dataset",
                cluster="dialogue_id",
                linked=pl.lit(False),
                prob=pl.lit(0.0),
                linked_right=pl.lit(False),
                true=pl.lit(True),
                true_found=found,
                placed=placed,
                placed_right=found,
            )
            metrics.append(_figures(pl.concat([of_links, of_truth]), name, method, stage, protocol, seed))
            if method == methods[0] and stage == STAGES[-1]:
                wrong.append(_span_disagreements(links, truth, met, right, name))
    return Evaluation(_conform(metrics), _in_words(pl.concat(wrong), films))


def combined(parts: Sequence[Evaluation]) -> Evaluation:
    """Put several evaluations into one."""
    return Evaluation(
        pl.concat([part.metrics for part in parts]) if parts else EVAL_MENTION_LINKING.empty(),
        pl.concat([part.disagreements for part in parts]) if parts else EVAL_MENTION_DISAGREEMENTS.empty(),
    )


def _span_disagreements(
    links: pl.DataFrame, truth: pl.DataFrame, met: pl.DataFrame, right: pl.DataFrame, name: str
) -> pl.DataFrame:
    """Links that are not right, and spans of known films where nothing was linked."""
    first = met.join(right.select("span").unique(), on="span", how="anti").unique(
        "link", keep="first", maintain_order=True
    )
    wrong = links.join(right.select("link").unique(), on="link", how="anti").join(
        first.select("link", true_id="movie_id"), on="link", how="left"
    )
    missed = truth.filter(pl.col("movie_id").is_not_null() & ~pl.col("is_open")).join(
        met.select("span").unique(), on="span", how="anti"
    )
    shape = ["dataset", "truth", "dialogue_id", "turn", "surface", "linked_id", "true_id", "score_prob", "kind"]
    return pl.concat(
        [
            wrong.with_columns(
                truth=pl.lit(name),
                linked_id="movie_id",
                kind=pl.when(pl.col("true_id").is_not_null()).then(pl.lit("wrong_film")).otherwise(pl.lit("spurious")),
            ).select(shape),
            missed.with_columns(
                truth=pl.lit(name),
                surface=pl.concat_str("start", pl.lit(".."), "end"),
                linked_id=pl.lit(None, dtype=pl.String),
                true_id="movie_id",
                score_prob=pl.lit(None, dtype=pl.Float32),
                kind=pl.lit("missed"),
            ).select(shape),
        ]
    )


def _figures(counts: pl.DataFrame, truth: str, method: str, stage: str, protocol: str, seed: int) -> pl.DataFrame:
    """Shares and their 95 % intervals (Poisson bootstrap of the clusters) for each dataset of `counts`.

    `counts`: dataset, cluster, flags linked, linked_right, true, true_found, placed, placed_right, and prob, the probability of what is linked.
    """
    flags = ["linked", "linked_right", "true", "true_found", "placed", "placed_right", "prob"]
    rows = []
    for dataset in counts["dataset"].unique().sort():
        by_cluster = (
            counts.filter(pl.col("dataset") == dataset).group_by("cluster").agg(pl.col(flags).sum()).sort("cluster")
        )
        totals = by_cluster.select(flags).to_numpy().astype(float)
        weight = np.random.default_rng(seed).poisson(1.0, (_REPLICATES, len(totals)))
        point, spread = _ratios(totals.sum(axis=0)[None, :]), _ratios(weight @ totals)
        n = dict(zip(flags, totals.sum(axis=0).astype(int).tolist(), strict=True))
        sizes = {"recall": n["true"], "f1": n["true"], "accuracy_at_1": n["placed"]}
        for metric, value in point.items():
            if not np.isfinite(value[0]):
                continue
            known = spread[metric][np.isfinite(spread[metric])]
            low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (None, None)
            rows.append(
                {
                    "dataset": dataset,
                    "metric": metric,
                    "value": float(value[0]),
                    "ci_low": low,
                    "ci_high": high,
                    "n": sizes.get(metric, n["linked"]),
                    "clusters": by_cluster.height,
                }
            )
    schema = {
        c: EVAL_MENTION_LINKING.schema[c] for c in ("dataset", "metric", "value", "ci_low", "ci_high", "n", "clusters")
    }
    return pl.DataFrame(rows, schema=schema).with_columns(
        truth=pl.lit(truth),
        method=pl.lit(method),
        stage=pl.lit(stage),
        protocol=pl.lit(protocol),
        linker_version=pl.lit(LINKER_VERSION),
    )


def _ratios(totals: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics from sums of the flags, shape [samples, 7] -> [samples] each; not a number where nothing was judged."""
    linked, linked_right, true, true_found, placed, placed_right, prob = totals.T
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = linked_right / linked, true_found / true
        return {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / (precision + recall),
            "accuracy_at_1": placed_right / placed,
            "mean_score_prob": prob / linked,
        }


def _conform(metrics: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return EVAL_MENTION_LINKING.conform(pl.concat(metrics)).sort("dataset", "truth", "method", "stage", "metric")


def _in_words(rows: pl.DataFrame, films: pl.DataFrame) -> pl.DataFrame:
    """Add the films in words, and conform to eval_mention_disagreements."""
    words = films.select(
        "movie_id",
        film=pl.concat_str(
            "title", pl.lit(" ("), pl.col("year").cast(pl.String).fill_null("year unknown"), pl.lit(")")
        ),
    )
    rows = rows.join(words, left_on="linked_id", right_on="movie_id", how="left").rename({"film": "linked_film"})
    rows = rows.join(words, left_on="true_id", right_on="movie_id", how="left").rename({"film": "true_film"})
    return EVAL_MENTION_DISAGREEMENTS.conform(rows).sort("dataset", "truth", "kind", "dialogue_id", "turn", "surface")
