"""Answering one wish: films by a trained retriever from titles, or by the index from text. What answered is always said.

Does not belong here: reading arguments and showing the answer (`assets/commands/recommend.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from assets.build.embeddings import embedded
from assets.build.files import FileError, checked
from assets.build.item_index import open_item_index
from assets.build.training import retriever_rows
from pipelines.retrieval.titles import FILM_COLUMNS, FoundTitle, find_titles, labelled
from warehouse.store import Warehouse
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.retrieval import ML_ITEM_EMBEDDINGS

# What --retriever calls the index.
BY_TEXT = "text"
DEFAULT_ARCH = "lrurec"
DEFAULT_ENCODER = "minilm"

# Later stages start from the weights of earlier ones.
_STAGES = ("sessions", "dialogues", "rl")


class CannotRecommend(ValueError):
    """The wish cannot be answered; the message says why, and what would help."""


@dataclass(frozen=True)
class Recommended:
    """An answer: `films` (rank, title, year, genres, score, movie_id), the best first, and how it came about, a line each."""

    films: pl.DataFrame
    notes: tuple[str, ...]


def recommend(
    warehouse: Warehouse,
    wish: str,
    k: int,
    retriever: str | None = None,
    dataset: str | None = None,
    encoder: str = DEFAULT_ENCODER,
) -> Recommended:
    """At most `k` films for `wish`: titles separated by `;`, one title, or free text.

    Titles are a history for a retriever: the one called `retriever` (system or model_id), trained on `dataset`, else the LRURec of the latest stage with the best
    validation. Where none is trained, and nobody asked for one, films are taken whose text is like that of the titles. Free text is answered by
    the index, as everything is when `retriever` is `text`. Films of the history are not recommended.
    Raises CannotRecommend, StoreError, EncoderError, IndexFailure and what reading a model raises.
    """
    if not wish.strip():
        raise CannotRecommend("say what you like: titles separated by ';', or a description")
    films = warehouse.read(CORE_MOVIES.name, [*FILM_COLUMNS, "genres"])
    found = _titles(wish, films)
    if not found:
        if retriever not in (None, BY_TEXT) or dataset is not None:
            raise CannotRecommend(
                f"{wish!r} is no title, and a retriever reads titles: name some, or leave the retriever out"
            )
        return _by_text(warehouse, wish, k, films, encoder)
    notes = [_history_note(found, films)]
    history = list(dict.fromkeys(each.movie_id for each in found if each.movie_id is not None))
    if retriever == BY_TEXT:
        return _by_likeness(warehouse, history, k, films, encoder, notes)
    row = _chosen(warehouse, retriever, dataset)
    if row is None:
        notes.append("no retriever is trained")
        return _by_likeness(warehouse, history, k, films, encoder, notes)
    return _by_retriever(warehouse, row, history, k, films, notes)


def _titles(wish: str, films: pl.DataFrame) -> list[FoundTitle]:
    """The titles that `wish` is made of; none where it is free text. Raises CannotRecommend for an unknown title in a list."""
    parts = [part.strip() for part in wish.split(";") if part.strip()]
    found = find_titles(parts, films)
    if ";" not in wish:
        return found if found and found[0].movie_id is not None else []
    unknown = [each for each in found if each.movie_id is None]
    if unknown:
        lines = [
            f"{each.typed!r}{': did you mean ' + ', '.join(each.suggestions) + '?' if each.suggestions else ''}"
            for each in unknown
        ]
        raise CannotRecommend("no film is called " + "; nor ".join(lines))
    return found


def _history_note(found: list[FoundTitle], films: pl.DataFrame) -> str:
    names = _names(films, [each.movie_id for each in found if each.movie_id])
    parts = [
        names[each.movie_id or ""] + (f" (best known of {each.others + 1} films so called)" if each.others else "")
        for each in found
    ]
    return f"history: {'; '.join(parts)}"


def _names(films: pl.DataFrame, ids: list[str]) -> dict[str, str]:
    chosen = films.filter(pl.col("movie_id").is_in(ids)).select("movie_id", "title", "year")
    return {movie_id: labelled(title, year) for movie_id, title, year in chosen.iter_rows()}


def _answer(ranked: list[tuple[str, float]], films: pl.DataFrame, notes: list[str]) -> Recommended:
    scored = pl.DataFrame(ranked, schema={"movie_id": pl.String, "score": pl.Float64}, orient="row")
    shown = (
        scored.with_columns(rank=pl.int_range(1, pl.len() + 1))
        .join(films.select("movie_id", "title", "year", "genres"), on="movie_id", how="left", maintain_order="left")
        .select("rank", "title", "year", "genres", "score", "movie_id")
    )
    return Recommended(shown, tuple(notes))


# -- by text -----------------------------------------------------------------------------------------------


def _by_text(warehouse: Warehouse, wish: str, k: int, films: pl.DataFrame, encoder: str) -> Recommended:
    from models.encoders import Encoder, profile

    index = open_item_index(warehouse, encoder)
    vectors = (
        Encoder(profile(encoder), device="cpu" if encoder == DEFAULT_ENCODER else None).encode_queries([wish]).vectors
    )
    ranked = index.nearest(vectors, k)[0]
    notes = [f"answered from the index of {len(index.movie_ids):,} films by {encoder}: their text is like yours"]
    return _answer(ranked, films, notes)


def _by_likeness(
    warehouse: Warehouse, history: list[str], k: int, films: pl.DataFrame, encoder: str, notes: list[str]
) -> Recommended:
    index = open_item_index(warehouse, encoder)
    movie_ids, vectors = embedded(warehouse, encoder)
    place = {movie_id: at for at, movie_id in enumerate(movie_ids)}
    lacking = [movie_id for movie_id in history if movie_id not in place]
    if lacking:
        raise CannotRecommend(
            f"{encoder} has not embedded {'; '.join(_names(films, lacking).values())} (MARQUEE_EMBED)"
        )
    mean = vectors[[place[movie_id] for movie_id in history]].mean(axis=0, keepdims=True)
    near = index.nearest(mean / np.linalg.norm(mean), k + len(history))[0]
    ranked = [pair for pair in near if pair[0] not in history][:k]
    notes.append(
        f"answered from the index of {len(movie_ids):,} films by {encoder}: their text is like that of the titles"
    )
    return _answer(ranked, films, notes)


# -- by a retriever ----------------------------------------------------------------------------------------


def _chosen(warehouse: Warehouse, retriever: str | None, dataset: str | None) -> dict[str, Any] | None:
    """The row of the retriever to ask; None when none is trained and nobody asked for one."""
    rows = retriever_rows(warehouse)
    is_wanted = pl.col("arch") == DEFAULT_ARCH
    if retriever is None:
        is_wanted &= pl.col("stage") != "rl"
    else:
        is_wanted = (pl.col("system") == retriever) | (pl.col("model_id") == retriever)
    if dataset is not None:
        is_wanted &= pl.col("trained_on") == dataset
    stage = pl.col("stage").replace_strict(_STAGES, range(len(_STAGES)), return_dtype=pl.Int32)
    wanted = rows.filter(is_wanted).sort(stage, "validation_value", "model_id", descending=[True, True, False])
    if wanted.height:
        return wanted.row(0, named=True)
    if retriever is None and dataset is None:
        return None
    there = sorted({f"{system} on {data}" for system, data in rows.select("system", "trained_on").iter_rows()})
    asked = (retriever or DEFAULT_ARCH) + (f" on {dataset}" if dataset else "")
    raise CannotRecommend(
        f"there is no retriever {asked}: trained are {', '.join(there) or 'none'}, and {BY_TEXT} is the index"
    )


def _by_retriever(
    warehouse: Warehouse, row: dict[str, Any], history: list[str], k: int, films: pl.DataFrame, notes: list[str]
) -> Recommended:
    import torch

    from models.checkpoint import ITEMS, WEIGHTS, load_model, read_config
    from models.data import read_movie_ids
    from models.retriever import RetrieverConfig

    # Only what was stored is loaded.
    folder = checked(warehouse.root, f"{row['path']}/{WEIGHTS}", row["sha256"]).parent
    config = read_config(folder)
    movie_ids = read_movie_ids(folder / ITEMS)
    place = {movie_id: at for at, movie_id in enumerate(movie_ids)}
    known = [movie_id for movie_id in history if movie_id in place]
    lacking = [movie_id for movie_id in history if movie_id not in place]
    if lacking:
        notes.append(f"{row['system']} does not know {'; '.join(_names(films, lacking).values())}, and passes over it")
    if not known:
        raise CannotRecommend(f"{row['system']} knows none of these films; --retriever {BY_TEXT} goes by their text")
    settings = RetrieverConfig.of(config["model"])
    vectors = _vectors(warehouse, config, settings, movie_ids) if settings.has_text else None
    model = load_model(folder, vectors)
    items = torch.tensor([[place[movie_id] for movie_id in known][-settings.max_history :]])
    with torch.no_grad():
        scores = model.score(model.query(items, torch.tensor([items.shape[1]])))[0].float()
    scores[[place[movie_id] for movie_id in known]] = -torch.inf
    best = torch.topk(scores, min(k, len(movie_ids) - len(known)))
    ranked = [(movie_ids[at], score) for at, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
    notes.append(
        f"answered by {row['system']} (model {row['model_id']}, {row['stage']}, trained on {row['trained_on']}, seed {row['seed']}) among {len(movie_ids):,} films"
    )
    return _answer(ranked, films, notes)


def _vectors(warehouse: Warehouse, config: dict[str, Any], settings: Any, movie_ids: list[str]) -> np.ndarray:
    """Text vectors [N, D] of a model's films in their order."""
    stated = config.get("encoder")
    names = [stated] if stated else _encoders_of(warehouse, settings.text_dims)
    if len(names) != 1:
        raise CannotRecommend(
            f"the model reads text vectors of {settings.text_dims} dimensions, and {' and '.join(names) or 'no encoder'} has made such"
        )
    ids, vectors = embedded(warehouse, names[0])
    place = {movie_id: at for at, movie_id in enumerate(ids)}
    lacking = [movie_id for movie_id in movie_ids if movie_id not in place]
    if lacking:
        raise FileError(
            f"{ML_ITEM_EMBEDDINGS.name}: {len(lacking):,} films of the model have no vector of {names[0]}, {lacking[0]} first: train again"
        )
    return vectors[[place[movie_id] for movie_id in movie_ids]]


def _encoders_of(warehouse: Warehouse, dims: int) -> list[str]:
    rows = warehouse.scan(ML_ITEM_EMBEDDINGS.name).filter(pl.col("vector").list.len() == dims)
    return rows.select(pl.col("encoder").unique()).collect()["encoder"].sort().to_list()
