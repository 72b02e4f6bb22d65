"""The retrievers by name: what training, serving, ranking and reinforcement learning use.

Belongs here: building a retriever from its configuration. Does not belong here: how it computes (`models/architectures/`), how it is trained.
"""

from __future__ import annotations

from torch import Tensor

from models.architectures.base import (
    ITEM_PARAMETERS,
    PAD,
    ConfigError,
    MissingVector,
    Retriever,
    RetrieverConfig,
    State,
)
from models.architectures.bert4rec import BERT4Rec
from models.architectures.fmlprec import FMLPRec
from models.architectures.gru4rec import GRU4Rec
from models.architectures.lrurec import LRURec
from models.architectures.sasrec import SASRec

__all__ = ["ARCHITECTURES", "ITEM_PARAMETERS", "PAD", "ConfigError", "MissingVector", "Retriever", "RetrieverConfig", "State", "build"]  # fmt: skip

ARCHITECTURES: dict[str, type[Retriever]] = {
    "gru4rec": GRU4Rec,
    "sasrec": SASRec,
    "bert4rec": BERT4Rec,
    "fmlprec": FMLPRec,
    "lrurec": LRURec,
}


def build(config: RetrieverConfig, vectors: Tensor | None = None) -> Retriever:
    """A retriever with fresh weights, drawn from torch's global generator (seed it before).

    `vectors` [N, text_dims]: text vectors of all items, in their order; None for features "id". Raises ConfigError, and MissingVector naming the items that have none.
    """
    if config.arch not in ARCHITECTURES:
        raise ConfigError(f"arch must be one of {', '.join(ARCHITECTURES)}, not {config.arch!r}")
    model = ARCHITECTURES[config.arch](config, vectors)
    model.initialise()
    return model
