"""From evidence to probability: a logit over the films that a name may be, with `no film` as one of the answers.

Belongs here: the form of the model and the reading of its weights. The evidence is computed in features, the weights are
data (`weights.toml`) and are fitted by `benchmarks/fit_mentions.py`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import polars as pl
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_LIMIT = 40.0  # scores beyond this are certainty either way


@dataclass(frozen=True)
class Model:
    """Weights of one model in nats: `bias` speaks for a film and against `no film`, `weights` by name of the evidence."""

    name: str
    bias: float
    weights: Mapping[str, float]

    def part(self, evidence: pl.DataFrame) -> Float:
        """What the columns of `evidence` that have a weight add to the score, shape [rows]; without the bias."""
        total = np.zeros(evidence.height)
        for name in evidence.columns:
            if name in self.weights:
                total += self.weights[name] * evidence[name].cast(pl.Float64).to_numpy()
        return total

    def scores(self, *parts: Float) -> Float:
        """Score of each candidate film from the parts of its evidence, shape [candidates]; `no film` has 0."""
        return np.clip(self.bias + sum(parts), -_LIMIT, _LIMIT)


@dataclass(frozen=True)
class Weights:
    """The models by name, the probability from which each links, and the version that marks their output."""

    version: str
    models: Mapping[str, Model]
    thresholds: Mapping[str, float]


def read_weights(text: str) -> Weights:
    """Read `weights.toml`. Raises ValueError naming what is wrong with it."""
    data = tomllib.loads(text)
    try:
        models = {
            name: Model(name, float(part["bias"]), {key: float(value) for key, value in part["weights"].items()})
            for name, part in data["models"].items()
        }
        thresholds = {name: float(part["threshold"]) for name, part in data["models"].items()}
        return Weights(str(data["version"]), models, thresholds)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"weights: not as expected near {error}") from error


@cache
def weights() -> Weights:
    """The weights that linking uses."""
    return read_weights((files("pipelines.mentions") / "weights.toml").read_text(encoding="utf-8"))


def shares(scores: Float, group: Int, groups: int) -> tuple[Float, Float]:
    """Probability of each candidate and of `no film`.

    `scores` [candidates] in nats, `group` [candidates] the name that each is a candidate for, in 0..groups-1. Returns
    p [candidates] and p_none [groups]; within a group they add up to one (multinomial logit, `no film` scores 0).
    """
    top = np.zeros(groups)
    np.maximum.at(top, group, scores)
    weight = np.exp(scores - top[group])
    nothing = np.exp(-top)
    total = nothing + np.bincount(group, weights=weight, minlength=groups)
    return weight / total[group], nothing / total
