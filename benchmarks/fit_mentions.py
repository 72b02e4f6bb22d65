"""Fits the weights of mention linking on a built warehouse, and writes them as pipelines/mentions/weights.toml.

    python benchmarks/fit_mentions.py WAREHOUSE pipelines/evaluation/gold/mentions.tsv VERSION > weights.toml

Items: a film is true when ReDial's id2info gives its IMDb id; films and names that only dialogue catalogues know are taken out first, and rows
whose film is of another year than the item's name states are left out. Fitted on the true films of even hash, judged on the odd ones.

Texts: ReDial's placeholders are replaced by the names they stand for, in varying case, without the year, sometimes mistyped: these are true mentions
in natural sentences; what else is found there counts as none, but for places that a first fit takes for films (people often type a title
without its placeholder). The weights are then fitted again on the hand-labelled dialogues of the gold file's part `dev`, drawn to the first ones by the
curvature of their loss. Its part `test` is not looked at.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.evaluation.mentions import contradicts_year, films_without, item_truth, span_truth
from pipelines.mentions.gazetteer import Gazetteer, build_gazetteer, names_of
from pipelines.mentions.items import choices, name_candidates
from pipelines.mentions.link import CERTAIN
from pipelines.mentions.lookup import prepare
from pipelines.mentions.model import Model, shares
from pipelines.mentions.reading import context_evidence, read_turns
from pipelines.sources.blocks import builtin_blocks
from warehouse.store import Warehouse

RIDGE = 2.0
GOLD_RIDGE = 1.0  # how far a label may move a weight that the woven texts say nothing of
HELD = 1e6  # for weights set by hand
GOLD_WEIGHT = 30.0  # a hand-labelled mention counts as so many woven ones
LIKELY_TITLE = 0.5  # unlabelled places that the fit before takes for films with this probability are left out
ROUNDS = 3
CONTEXT = ("film_known", "people_named", "genre_named", "year_named", "of_the_time", "before_the_time", "film_beside")
# Set by hand: the woven texts do not show it (placeholders stand for films, never for series), or hardly ever.
FIXED = {
    "behind_several": -8.0,
    "number_behind": -4.0,
    "series_name_of_several": -4.0,
    "around_role": -4.0,
    "possessive": -1.0,
    "film_known": 1.0,
    "quoted": 2.0,
    "before_called": 1.5,
    "new_and_newest": 2.5,
    "new_and_older": -2.5,
}
# The least probability of a link, chosen for about the best F1 (texts: in a cross-validation over the dialogues); hints are few and keep even odds.
THRESHOLDS = {"items": 0.3, "texts": 0.5, "hints": 0.5}
HINT_BIAS = 1.0  # what it adds that a dataset's authors state a film for a place, in nats


def fit(
    x: np.ndarray,
    group: np.ndarray,
    chosen: np.ndarray,
    weight: np.ndarray,
    groups: int,
    precision: np.ndarray,
    centre: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge multinomial logit by Newton's method; `no film` has score 0 and is chosen where no candidate of a group is.

    `x` [candidates, evidence], `group` [candidates] in 0..groups-1, sorted; `chosen` [candidates] 0 or 1; `weight` [candidates] of the group.
    The weights are drawn to `centre` [evidence] by `precision` [evidence, evidence]. Returns the weights, and the curvature of the data's loss there.
    """
    weights = centre.copy()
    starts = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))

    def loss_of(w: np.ndarray) -> tuple[float, np.ndarray]:
        scores = x @ w
        p, p_none = shares(scores, group, groups)
        none = 1 - np.add.reduceat(chosen, starts)
        terms = (weight * chosen * np.log(np.maximum(p, 1e-12))).sum()
        terms += (weight[starts] * none * np.log(np.maximum(p_none[group[starts]], 1e-12))).sum()
        return -terms + 0.5 * (w - centre) @ precision @ (w - centre), p

    loss, p = loss_of(weights)
    curvature = np.zeros_like(precision)
    for _ in range(40):
        gradient = x.T @ (weight * (chosen - p)) - precision @ (weights - centre)
        mean = np.add.reduceat(x * p[:, None], starts, axis=0)
        curvature = (x * (weight * p)[:, None]).T @ x - (mean * weight[starts][:, None]).T @ mean
        step = np.linalg.solve(curvature + precision + 1e-6 * np.eye(len(weights)), gradient)
        for _ in range(20):
            new_loss, new_p = loss_of(weights + step)
            if new_loss <= loss + 1e-9:
                break
            step /= 2
        weights, p = weights + step, new_p
        if abs(loss - new_loss) < 1e-6 * max(1.0, abs(loss)):
            break
        loss = new_loss
    return weights, curvature


def mistyped(name: str, draw: int) -> str:
    """A typing error: a letter twice, left out, changed with its neighbour, or another vowel."""
    place, kind = 1 + draw % (len(name) - 2), draw // len(name) % 4
    if kind == 0:
        return name[:place] + name[place] + name[place:]
    if kind == 1:
        return name[:place] + name[place + 1 :]
    if kind == 2:
        return name[:place] + name[place + 1] + name[place] + name[place + 2 :]
    vowels = [i for i, c in enumerate(name) if c in "aeiou"] or [place]
    where = vowels[draw % len(vowels)]
    return name[:where] + "aeiou"[draw % 5] + name[where + 1 :]


def woven(turns: pl.DataFrame, placed: pl.DataFrame, seed: int = 7) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put names in the place of placeholders, in varying case.

    `turns`: dialogue, turn, role, text; `placed`: dialogue, turn, start, end, name, year, movie_id. Returns the turns with new texts, and the truth:
    dialogue, turn, start, end, movie_id.
    """
    rng = np.random.default_rng(seed)
    by_turn: dict[tuple[int, int], list] = {}
    for row in placed.sort("dialogue", "turn", "start").iter_rows(named=True):
        by_turn.setdefault((row["dialogue"], row["turn"]), []).append(row)
    texts, truth = [], []
    for dialogue, turn, text in turns.select("dialogue", "turn", "text").iter_rows():
        pieces, done, length = [], 0, 0
        for row in by_turn.get((dialogue, turn), []):
            name, draw = row["name"], rng.random(5)
            if draw[0] < 0.15:
                name = name.removeprefix("The ").removeprefix("A ")
            if draw[1] < 0.45:
                name = name.lower()
            elif draw[1] < 0.47:
                name = name.upper()
            if draw[3] < 0.06 and len(name) > 6:
                name = mistyped(name, int(draw[4] * 1e6))
            before = text[done : row["start"]]
            pieces += [before, name]
            start = length + len(before)
            length = start + len(name)
            done = row["end"]
            truth.append((dialogue, turn, start, length, row["movie_id"]))
            if draw[2] < 0.08 and row["year"] is not None:
                pieces.append(f" ({row['year']})")
                length += len(pieces[-1])
        pieces.append(text[done:])
        texts.append("".join(pieces))
    schema = {"dialogue": pl.Int64, "turn": pl.Int32, "start": pl.Int64, "end": pl.Int64, "movie_id": pl.String}
    return turns.with_columns(text=pl.Series(texts, dtype=pl.String)), pl.DataFrame(truth, schema=schema, orient="row")


def labelled(hits: pl.DataFrame, candidates: pl.DataFrame, truth: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """Which candidates are true, and which hits can be used.

    `hits`: hit, row, dialogue, start, end; `candidates`: group, movie_id; `truth`: row, dialogue, start, end, movie_id, is_open. A hit is true where it covers
    a true span but for a leading article. Hits that touch an open span, or name a film of the dialogue elsewhere, say nothing.
    """
    hits = hits.select("hit", "row", "dialogue", "start", "end")
    met = hits.join(truth.select("row", a="start", b="end", true_id="movie_id", is_open="is_open"), on="row").filter(
        (pl.col("start") < pl.col("b")) & (pl.col("a") < pl.col("end"))
    )
    exact = met.filter((pl.col("b") == pl.col("end")) & ((pl.col("start") - pl.col("a")).is_between(0, 4)))
    chosen = candidates.join(
        exact.select(group="hit", movie_id="true_id").unique().drop_nulls().with_columns(chosen=pl.lit(1.0)),
        on=["group", "movie_id"], how="left", maintain_order="left",
    ).select("group", "movie_id", pl.col("chosen").fill_null(0.0))  # fmt: skip
    known = truth.select("dialogue", "movie_id").drop_nulls().unique()
    elsewhere = (
        candidates.join(hits.select(group="hit", dialogue="dialogue"), on="group")
        .join(known, on=["dialogue", "movie_id"], how="semi")
        .join(met.select(group="hit"), on="group", how="anti")["group"]
    )
    useless = pl.concat([elsewhere, met.filter("is_open")["hit"]]).unique()
    return chosen, ~hits["hit"].is_in(useless.implode())


def fit_items(items: pl.DataFrame, truth: pl.DataFrame, gazetteer: Gazetteer) -> tuple[Model, str]:
    """Weights of the model of items, and how it does on the half it has not seen.

    `items`: item_id, item_name; `truth`: item_id, movie_id of the true film.
    """
    judged = items.join(truth, on="item_id").sort("item_id").rename({"movie_id": "true_id"})
    _, found = name_candidates(judged["item_name"], gazetteer)
    named = judged.with_row_index("group").select(pl.col("group").cast(pl.Int64), "true_id")
    found = found.join(named, on="group", how="left", maintain_order="left").sort("group", maintain_order=True)
    names = [c for c in found.columns if found[c].dtype == pl.Float64 and c != "score"]
    names = [c for c in names if found[c].n_unique() > 1]
    x = np.column_stack([found.select(names).to_numpy(), np.ones(found.height)])
    chosen = (found["movie_id"] == found["true_id"]).to_numpy().astype(float)
    half = (found["true_id"].str.slice(2, 8).str.to_integer(base=16) % 2 == 0).to_numpy()
    precision = np.diag(np.append(np.ones(len(names)), 1e-3))

    def part(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        ids, group = np.unique(found["group"].to_numpy()[rows], return_inverse=True)
        return x[rows], group, chosen[rows], len(ids)

    seen, group, y, n = part(half)
    weights, _ = fit(seen, group, y, np.ones(len(y)), n, precision, np.zeros(len(names) + 1))
    unseen, group, y, n = part(~half)
    p, _ = shares(unseen @ weights, group, n)
    best = (
        pl.DataFrame({"group": group, "p": p, "y": y})
        .sort("group", "p", descending=[False, True])
        .group_by("group", maintain_order=True)
        .first()
    )
    total = judged.filter(pl.col("true_id").str.slice(2, 8).str.to_integer(base=16) % 2 == 1).height
    linked = best.filter(pl.col("p") >= THRESHOLDS["items"])
    note = f"items, half not fitted on: n {total}, linked right {linked['y'].sum() / total:.4f}, precision {linked['y'].mean():.4f}"
    return Model("items", float(weights[-1]), dict(zip(names, weights[:-1].tolist(), strict=True))), note


class TextSet:
    """A set of turns with their truth, as the fit takes it."""

    def __init__(self, turns: pl.DataFrame, truth: pl.DataFrame, gazetteer: Gazetteer) -> None:
        nothing = pl.DataFrame(schema={"row": pl.Int64, "start": pl.Int64, "end": pl.Int64})
        self.reading = read_turns(turns, nothing, gazetteer, lambda _: None)
        rows = self.reading.texts.rows.select("dialogue", "turn", "row")
        hits = self.reading.hits.join(rows.select("row", "dialogue"), on="row", how="left", maintain_order="left")
        chosen, useful = labelled(hits, self.reading.candidates, truth.join(rows, on=["dialogue", "turn"]))
        self.chosen, self.useful = chosen["chosen"].to_numpy(), useful.to_numpy().copy()
        self.group = self.reading.candidates["group"].to_numpy()
        self.gazetteer = gazetteer
        self.hit_names = [c for c in self.reading.hits.columns if self.reading.hits[c].dtype == pl.Float64]
        self.film_names = [c for c in self.reading.candidates.columns if self.reading.candidates[c].dtype == pl.Float64]
        self.context = np.zeros((len(self.group), len(CONTEXT)))

    @property
    def names(self) -> list[str]:
        return [*self.hit_names, *self.film_names, *CONTEXT]

    def evidence(self, rows: np.ndarray) -> np.ndarray:
        hits, films = self.reading.hits.select(self.hit_names), self.reading.candidates.select(self.film_names)
        return np.column_stack(
            [hits.to_numpy()[self.group[rows]], films.to_numpy()[rows], self.context[rows], np.ones(int(rows.sum()))]
        )

    def probabilities(self, model: Model) -> np.ndarray:
        own = model.part(self.reading.hits)[self.group] + model.part(self.reading.candidates)
        context = pl.DataFrame(self.context, schema=list(CONTEXT))
        return shares(model.scores(own, model.part(context)), self.group, self.reading.hits.height)[0]

    def fitted(self, precision: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights by this set alone, and the curvature of its loss."""
        rows = self.useful[self.group]
        ids, group = np.unique(self.group[rows], return_inverse=True)
        x, chosen = self.evidence(rows), self.chosen[rows]
        return fit(x, group, chosen, np.ones(len(chosen)), len(ids), precision, centre)

    def see_context(self, model: Model) -> None:
        """Compute the context anew from what `model` is certain of."""
        p = self.probabilities(model)
        place = self.reading.hits["core"].gather(self.group)
        candidates = self.reading.candidates.select("dialogue", "movie_id", place=place)
        certain = candidates.filter(pl.Series(p >= CERTAIN))
        found = context_evidence(candidates, self.reading, certain, self.gazetteer)
        self.context = found.select(CONTEXT).to_numpy()

    def drop_likely_titles(self, model: Model) -> None:
        """Leave out unlabelled places that are taken for films: mostly they are."""
        number = self.reading.hits.height
        total = np.bincount(self.group, weights=self.probabilities(model), minlength=number)
        labelled_ = np.bincount(self.group, weights=self.chosen, minlength=number) > 0
        self.useful &= labelled_ | (total < LIKELY_TITLE)


def fit_texts(woven_set: TextSet, gold_set: TextSet) -> Model:
    """Weights of the model of texts: fitted on woven texts, then drawn to what people wrote by hand-labelled dialogues."""
    model, curvature = fit_woven(woven_set)
    return fit_gold(gold_set, model, curvature)


def fit_woven(part: TextSet) -> tuple[Model, np.ndarray]:
    """Weights by the woven texts alone, and how sure each is of them: the curvature of the loss."""
    names = [*part.names, "bias"]
    centre = np.array([FIXED.get(name, 0.0) for name in names])
    precision = np.diag([HELD if name in FIXED else 1e-3 if name == "bias" else RIDGE for name in names])
    values, curvature = part.fitted(precision, centre)
    model = _text_model(names, values)
    for _ in range(ROUNDS - 1):
        part.see_context(model)
        part.drop_likely_titles(model)
        values, curvature = part.fitted(precision, centre)
        model = _text_model(names, values)
    return model, curvature


def fit_gold(part: TextSet, model: Model, curvature: np.ndarray) -> Model:
    """Weights by hand-labelled dialogues, drawn to those of the woven texts by how sure these are, divided by the weight of a label."""
    names = [*part.names, "bias"]
    centre = np.array([model.weights[name] for name in names[:-1]] + [model.bias])
    precision = curvature / GOLD_WEIGHT + np.diag(
        [HELD if name in FIXED else 1e-3 if name == "bias" else GOLD_RIDGE for name in names]
    )
    for _ in range(ROUNDS):
        part.see_context(model)
        values, _ = part.fitted(precision, centre)
        model = _text_model(names, values)
    return model


def _text_model(names: list[str], values: np.ndarray) -> Model:
    return Model("texts", float(values[-1]), dict(zip(names[:-1], values[:-1].tolist(), strict=True)))


def woven_set(turns: pl.DataFrame, hints: pl.DataFrame, links: pl.DataFrame, gazetteer: Gazetteer) -> TextSet:
    """ReDial's turns with names for placeholders; dialogues with a placeholder whose film is not certain are left out."""
    turns = turns.filter(pl.col("dataset") == "redial").sort("dialogue_id", "turn")
    turns = turns.with_columns(dialogue=pl.col("dialogue_id").rle_id().cast(pl.Int64))
    sure = links.filter((pl.col("dataset") == "redial") & (pl.col("score_prob") >= CERTAIN) & ~pl.col("is_quarantined"))
    sure = sure.drop_nulls("movie_id").sort("item_id")
    sure = pl.concat(
        [sure.select("item_id", "movie_id"), prepare(sure["item_name"]).rename({"title": "name"})], how="horizontal"
    )
    placed = (
        hints.filter((pl.col("dataset") == "redial") & (pl.col("kind") == "id"))
        .join(turns.select("dialogue_id", "turn", "dialogue"), on=["dialogue_id", "turn"])
        .join(sure, on="item_id", how="left")
    )
    unsure = placed.filter(pl.col("movie_id").is_null())["dialogue"].unique().implode()
    kept = turns.filter(~pl.col("dialogue").is_in(unsure)).select("dataset", "dialogue", "turn", "role", "text")
    texts, truth = woven(kept, placed.filter(~pl.col("dialogue").is_in(unsure)))
    return TextSet(texts, truth.with_columns(is_open=pl.lit(False)), gazetteer)


def gold_set(turns: pl.DataFrame, gold: pl.DataFrame, films: pl.DataFrame, gazetteer: Gazetteer) -> TextSet:
    """The hand-labelled dialogues of the part `dev`."""
    dev = gold.filter(pl.col("part") == "dev")
    turns = turns.join(dev.select("dialogue_id").unique(), on="dialogue_id", how="semi").sort("dialogue_id", "turn")
    turns = turns.with_columns(dialogue=pl.col("dialogue_id").rle_id().cast(pl.Int64))
    truth = span_truth(dev, films).join(turns.select("dialogue_id", "turn", "dialogue"), on=["dialogue_id", "turn"])
    truth = truth.select("dialogue", "turn", pl.col("start", "end").cast(pl.Int64), "movie_id", "is_open")
    return TextSet(turns.select("dataset", "dialogue", "turn", "role", "text"), truth, gazetteer)


def as_toml(version: str, models: list[Model], note: str) -> str:
    """The weights as text."""
    lines = [
        "# Weights of mention linking, in nats: what each piece of evidence (pipelines/mentions/features.py) adds to the score of a film",
        "# over `no film`. Written by benchmarks/fit_mentions.py, which says how; do not edit by hand.",
        f"# {note}",
        f'version = "{version}"',
    ]
    for model in models:
        lines += ["", f"[models.{model.name}]", f"threshold = {THRESHOLDS[model.name]}", f"bias = {model.bias:.3f}"]
        lines += ["", f"[models.{model.name}.weights]"]
        lines += [f"{name} = {value:.3f}" for name, value in model.weights.items()]
    return "\n".join(lines) + "\n"


def main(root: Path, gold_file: Path, version: str) -> None:
    warehouse = Warehouse(root)
    movies = warehouse.read("core_movies")
    reliability = {name: block.reliability for name, block in builtin_blocks().items()}
    films = films_without(movies, warehouse.read("core_title_records"), warehouse.read("core_movie_links"), reliability)
    items = warehouse.read("core_dialogue_items").filter(pl.col("dataset") == "redial")
    stated = warehouse.read("raw_redial_info__titles").select(
        item_id="source_id",
        imdb_id=pl.col("imdb_id").str.extract(r"(tt\d{7,9})"),
        year=pl.col("year").str.extract(r"(\d{4})").cast(pl.Int32),
    )
    turns, hints = warehouse.read("core_turns"), warehouse.read("core_mention_hints")
    sys.stdout.write(
        fitted(
            movies,
            films,
            items,
            stated,
            turns,
            hints,
            pl.read_csv(gold_file, separator="\t", infer_schema_length=None, quote_char=None),
            version,
        )
    )


def fitted(
    movies: pl.DataFrame, films: pl.DataFrame, items: pl.DataFrame, stated: pl.DataFrame, turns: pl.DataFrame, hints: pl.DataFrame,
    gold: pl.DataFrame, version: str,
) -> str:  # fmt: skip
    """Fit all models. `films`: `movies` without what only dialogue catalogues know; `stated`: item_id, imdb_id and year of id2info."""
    truth = item_truth(stated, films, "redial")
    truth = truth.filter(~contradicts_year(truth, items))
    item_model, note = fit_items(items, truth, build_gazetteer(films, names_of(films)))
    print(note, file=sys.stderr)
    gazetteer = build_gazetteer(movies, names_of(movies))
    _, found = name_candidates(items["item_name"], gazetteer)
    scores = item_model.scores(item_model.part(found))
    links = pl.concat(
        [items.select("dataset", "item_id", "item_name"), choices(found, scores, items.height, CERTAIN)],
        how="horizontal",
    ).with_columns(is_quarantined=pl.lit(False))
    text_model = fit_texts(woven_set(turns, hints, links, gazetteer), gold_set(turns, gold, movies, gazetteer))
    return as_toml(version, [item_model, text_model, Model("hints", HINT_BIAS, {})], note)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
