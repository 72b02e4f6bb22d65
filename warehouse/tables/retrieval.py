"""Contracts of the retrieval stage: item embeddings, their index, trained retrievers, and the rankings they gave.

Weights and index files are not in tables: they lie in the warehouse's folder `files/`, and tables name them by path and hash.
Does not belong here: figures (`ranking_evaluation.py`).
"""

from __future__ import annotations

import polars as pl

from warehouse.contracts import Column, Table
from warehouse.tables.dialogues import SPLITS
from warehouse.tables.titles import STRINGS

GROUP = "retrieval"
EMBEDDINGS_GROUP = "embeddings"

VECTOR = pl.List(pl.Float32)
NUMBERS = pl.List(pl.Int64)

ARCHITECTURES = ("gru4rec", "sasrec", "bert4rec", "fmlprec", "lrurec")
RL_METHODS = ("dpo", "simpo", "grpo")
INDEX_KINDS = ("flat", "ivf", "hnsw")

SHA256 = "[0-9a-f]{64}"

ML_ITEM_EMBEDDINGS = Table(
    name="ml_item_embeddings",
    meaning="Item text of films as a sentence encoder sees it: one unit-length vector a film and encoder.",
    group=EMBEDDINGS_GROUP,
    key=("encoder", "movie_id"),
    sort_by=("encoder", "movie_id"),
    columns=(
        Column("encoder", pl.String, "Profile of the encoder: `minilm`, `qwen3-embedding-8b`.", nullable=False),
        Column("movie_id", pl.String, "The film.", nullable=False),
        Column(
            "text_hash",
            pl.Int64,
            "Hash of item text, encoder and its version: what decides whether to embed again.",
            nullable=False,
        ),
        Column("tokens", pl.Int32, "Tokens the encoder read, after cutting.", nullable=False, minimum=1),
        Column("is_cut", pl.Boolean, "Whether the text was longer than the encoder reads.", nullable=False),
        Column("vector", VECTOR, "The embedding, of length one.", nullable=False),
    ),
)

ML_ITEM_INDEX = Table(
    name="ml_item_index",
    meaning="FAISS indexes over the embeddings: one row an encoder, with what they lose against exact search.",
    group=EMBEDDINGS_GROUP,
    key=("encoder",),
    columns=(
        Column("encoder", pl.String, "Profile of the encoder.", nullable=False),
        Column("kind", pl.String, "How it searches, chosen by size.", nullable=False, allowed=INDEX_KINDS),
        Column("items", pl.Int64, "Films in it.", nullable=False, minimum=1),
        Column("dims", pl.Int32, "Dimensions of a vector.", nullable=False, minimum=1),
        Column("parameters", pl.String, "Its parameters, as JSON.", nullable=False),
        Column("path", pl.String, "File, relative to the warehouse's folder.", nullable=False),
        Column("sha256", pl.String, "Hash of the file.", nullable=False, pattern=SHA256),
        Column(
            "ids_path",
            pl.String,
            "File of the film ids in the index's order, relative to the warehouse's folder.",
            nullable=False,
        ),
        Column("ids_sha256", pl.String, "Hash of that file.", nullable=False, pattern=SHA256),
        Column("bytes", pl.Int64, "Size of the index file.", unit="bytes", nullable=False, minimum=1),
        Column(
            "recall_25_share",
            pl.Float64,
            "Share of the 25 nearest films by exact search that the index finds, over sampled queries.",
            nullable=False,
            minimum=0,
            maximum=1,
        ),
        Column("recall_queries", pl.Int32, "Queries that this was measured with.", nullable=False, minimum=1),
        Column("latency_p50_ms", pl.Float64, "Median time of one query.", unit="ms", nullable=False, minimum=0),
        Column("latency_p95_ms", pl.Float64, "95th percentile of one query.", unit="ms", nullable=False, minimum=0),
        Column(
            "exact_p50_ms",
            pl.Float64,
            "Median time of one query by exact search.",
            unit="ms",
            nullable=False,
            minimum=0,
        ),
        Column("build_s", pl.Float64, "Time to build.", unit="s", nullable=False, minimum=0),
        Column("machine", pl.String, "Processor and cores that it was measured on.", nullable=False),
        Column("content_hash", pl.Int64, "Hash of the vectors, their films and the parameters.", nullable=False),
    ),
)


def _retriever_columns() -> tuple[Column, ...]:
    return (
        Column(
            "model_id",
            pl.String,
            "The training run: hash of configuration, data, what it started from and code version; what decides whether to train again.",
            nullable=False,
            pattern="[0-9a-f]{16}",
        ),
        Column("system", pl.String, "Name in rankings and figures: architecture or method, and stage.", nullable=False),
        Column("arch", pl.String, "Architecture.", nullable=False, allowed=ARCHITECTURES),
        Column("preset", pl.String, "Preset it started from.", nullable=False),
        Column(
            "stage",
            pl.String,
            "sessions: trained on ratings; dialogues: fine-tuned on dialogues; rl: by reinforcement.",
            nullable=False,
            allowed=("sessions", "dialogues", "rl"),
        ),
        Column(
            "trained_on", pl.String, "MovieLens release or dialogue dataset(s) it was trained on last.", nullable=False
        ),
        Column("seed", pl.Int32, "Seed.", nullable=False),
        Column("started_from", pl.String, "model_id of the weights it started from; null for random ones."),
        Column(
            "path",
            pl.String,
            "Folder of weights, configuration, log and model card, relative to the warehouse's folder.",
            nullable=False,
        ),
        Column("sha256", pl.String, "Hash of the weights.", nullable=False, pattern=SHA256),
        Column("parameters", pl.Int64, "Trainable parameters.", nullable=False, minimum=1),
        Column("items", pl.Int64, "Films it can recommend.", nullable=False, minimum=1),
        Column("config", pl.String, "Whole configuration, as JSON.", nullable=False),
        Column("data_hash", pl.String, "Hash of the training files.", nullable=False),
        Column("steps", pl.Int64, "Optimizer steps taken.", nullable=False, minimum=0),
        Column("epochs", pl.Float64, "Passes over the training data.", nullable=False, minimum=0),
        Column("ended_by", pl.String, "early_stopping, steps, epochs, interactions or nan.", nullable=False),
        Column("best_step", pl.Int64, "Step whose weights were kept.", nullable=False, minimum=0),
        Column("validation_metric", pl.String, "What was watched: `recall@10`.", nullable=False),
        Column("validation_value", pl.Float64, "Its value at the step that was kept.", nullable=False),
        Column("train_loss", pl.Float64, "Mean loss of the last epoch.", nullable=True),
        Column("interactions", pl.Int64, "Targets trained on, all epochs together.", nullable=False, minimum=0),
        Column("train_s", pl.Float64, "Time of training, validation apart.", unit="s", nullable=False, minimum=0),
        Column("interactions_per_s", pl.Float64, "Targets a second of it.", nullable=True, minimum=0),
        Column("device", pl.String, "cpu or the GPU's name, and precision.", nullable=False),
        Column(
            "warnings", STRINGS, "What a reader should know: batches halved, runs that learned nothing.", nullable=False
        ),
    )


def _retriever(name: str, meaning: str) -> Table:
    return Table(
        name=name,
        meaning=meaning,
        group=GROUP,
        key=("model_id", "stage", "trained_on", "seed"),
        sort_by=("stage", "trained_on", "seed"),
        columns=_retriever_columns(),
    )


RETRIEVERS = {
    arch: _retriever(f"ml_retriever_{arch}", f"Trained {arch} retrievers: one row a training run.")
    for arch in ARCHITECTURES
}
RL_RETRIEVERS = {
    method: _retriever(
        f"ml_retriever_rar_{method}",
        f"LRURec retrievers aligned with the language model by {method.upper()}: one row a run.",
    )
    for method in RL_METHODS
}

ML_TRAINING_LOG = Table(
    name="ml_training_log",
    meaning="What training runs logged: one row a figure. Learning curves, and the health of reinforcement learning.",
    group=GROUP,
    key=("model_id", "step", "name"),
    sort_by=("model_id", "name", "step"),
    columns=(
        Column("model_id", pl.String, "The retriever.", nullable=False, pattern="[0-9a-f]{16}"),
        Column("system", pl.String, "Name of the system.", nullable=False),
        Column("seed", pl.Int32, "Seed.", nullable=False),
        Column("step", pl.Int64, "Optimizer step.", nullable=False, minimum=0),
        Column("epoch", pl.Float64, "Passes over the data until then.", nullable=False, minimum=0),
        Column("name", pl.String, "`train/loss`, `validation/recall@10`, `health/kl`.", nullable=False),
        Column("value", pl.Float64, "The figure.", nullable=False),
    ),
)

ML_RANKINGS = Table(
    name="ml_rankings",
    meaning="What each system ranked for each example: places of the labels under several pools, and the top of the list.",
    group=GROUP,
    key=("system", "seed", "dataset", "example_id"),
    sort_by=("dataset", "system", "seed", "example_id"),
    columns=(
        Column("system", pl.String, "Retriever or baseline.", nullable=False),
        Column("model_id", pl.String, "Its weights; null for baselines.", pattern="[0-9a-f]{16}"),
        Column("seed", pl.Int32, "Its seed; 0 for systems without chance.", nullable=False),
        Column("dataset", pl.String, "MovieLens release or dialogue dataset.", nullable=False),
        Column(
            "setting",
            pl.String,
            "leave_one_out, sessions or dialogues.",
            nullable=False,
            allowed=("leave_one_out", "sessions", "dialogues"),
        ),
        Column("split", pl.String, "Part of the data.", nullable=False, allowed=SPLITS),
        Column(
            "example_id",
            pl.String,
            "The example: dialogue and turn, or user (and session) and position.",
            nullable=False,
        ),
        Column("cluster_id", pl.String, "Dialogue or user: what intervals are clustered by.", nullable=False),
        Column("position", pl.Int32, "Turn in the dialogue, or position in the sequence.", nullable=False, minimum=0),
        Column("history", STRINGS, "Films before, the latest last.", nullable=False),
        Column("labels", STRINGS, "Films to be found.", nullable=False),
        Column("are_repeats", pl.List(pl.Boolean), "For each label: whether it is in the history.", nullable=False),
        Column(
            "train_counts",
            NUMBERS,
            "For each label: how often it is a target in the data that the system was trained on last.",
            nullable=False,
        ),
        Column(
            "are_tail",
            pl.List(pl.Boolean),
            "For each label: whether it is not among the most frequent films that make up four fifths of the targets in training.",
            nullable=False,
        ),
        Column(
            "ranks_all",
            NUMBERS,
            "For each label: its place from 1 among all films of the pool, nothing masked; null where the system cannot rank it.",
            nullable=False,
        ),
        Column(
            "ranks_masked",
            NUMBERS,
            "The same with films of the history taken out of the list; null for repeats too.",
            nullable=False,
        ),
        Column(
            "ranks_uniform",
            NUMBERS,
            "Its place among itself and 99 films drawn uniformly for the example, none of them in history or labels (all there are, if fewer).",
            nullable=False,
        ),
        Column(
            "ranks_popularity",
            NUMBERS,
            "Its place among itself and 99 films drawn by popularity in training, none of them in history or labels.",
            nullable=False,
        ),
        Column("top", STRINGS, "The first 100 films of the list, nothing masked.", nullable=False),
        Column("top_scores", VECTOR, "Their scores.", nullable=False),
        Column("pool_items", pl.Int64, "Films in the pool.", nullable=False, minimum=1),
        Column("data_hash", pl.String, "Hash of the evaluation files.", nullable=False),
    ),
)

TABLES = (
    ML_ITEM_EMBEDDINGS,
    ML_ITEM_INDEX,
    *RETRIEVERS.values(),
    *RL_RETRIEVERS.values(),
    ML_TRAINING_LOG,
    ML_RANKINGS,
)
