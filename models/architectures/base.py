"""What all retrievers are: configuration, items as vectors, states and scores.

Belongs here: what does not depend on the architecture. Does not belong here: how a history becomes a state (the other modules of this folder), losses, data, training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.architectures.layers import initialise
from models.architectures.packing import Packing
from models.data import PAD

FEATURES = ("id", "text", "text+id")
SCORINGS = ("tied", "projected")
NORMS = ("post", "pre")
FEED_FORWARDS = ("gelu", "silu_gated")
# Parameters with a row for each item; a model for another list of items cannot take them over as they are.
ITEM_PARAMETERS = ("item_embedding.weight", "bias")

# What serving keeps of a history between two steps: its first dimension is the batch.
State = tuple[Tensor, ...]


class ConfigError(ValueError):
    """A configuration that no retriever can have; the message names the key."""


class MissingVector(ValueError):
    """Items have no vector; `items` are their numbers."""

    def __init__(self, items: list[int], why: str) -> None:
        shown = ", ".join(map(str, items[:10])) + (", ..." if len(items) > 10 else "")
        super().__init__(f"{len(items)} items have no vector ({why}): item {shown}")
        self.items = items


@dataclass(frozen=True)
class RetrieverConfig:
    """Everything that fixes the shape and the computation of a retriever.

    `items`: how many items there are (N). `width`: size of states and item vectors (H). `max_history`: the most items that a history may have. `features`: what an item's vector is made of:
    "id" (a learned row), "text" (its frozen text vector of `text_dims` numbers through a learned projection), "text+id" (their sum; the learned rows start at zero, so that an item
    which training never met is scored by its text alone). `scoring`: "tied" scores with the vectors that histories are read with; "projected" with the projected text alone, leaving out
    the learned rows. `has_item_bias`: a learned number is added to each item's score. `has_start`: the state of an empty history is learned; otherwise it is zero.

    Of single architectures: `state_factor`, `ring_min`, `ring_max`, `norm`, `feed_forward` (lrurec); `heads` (sasrec, bert4rec); `mask_share` (bert4rec).
    """

    arch: str
    items: int
    width: int = 64
    blocks: int = 2
    dropout: float = 0.2
    max_history: int = 200
    features: str = "id"
    text_dims: int = 0
    scoring: str = "tied"
    has_item_bias: bool = True
    has_start: bool = True
    initial_std: float = 0.02
    state_factor: int = 2
    ring_min: float = 0.8
    ring_max: float = 0.99
    norm: str = "post"
    feed_forward: str = "gelu"
    heads: int = 2
    mask_share: float = 0.2

    def __post_init__(self) -> None:
        for key in ("items", "width", "blocks", "max_history", "state_factor", "heads"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{key} must be a whole number of at least 1, not {value!r}")
        for key in ("dropout", "ring_min", "ring_max", "mask_share", "initial_std"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
                raise ConfigError(f"{key} must be at least 0 and less than 1, not {value!r}")
        for key in ("has_item_bias", "has_start"):
            if not isinstance(getattr(self, key), bool):
                raise ConfigError(f"{key} must be true or false, not {getattr(self, key)!r}")
        for key, allowed in (("features", FEATURES), ("scoring", SCORINGS), ("norm", NORMS), ("feed_forward", FEED_FORWARDS)):  # fmt: skip
            if getattr(self, key) not in allowed:
                raise ConfigError(f"{key} must be one of {', '.join(allowed)}, not {getattr(self, key)!r}")
        if self.ring_min > self.ring_max:
            raise ConfigError(f"ring_min {self.ring_min} is greater than ring_max {self.ring_max}")
        if isinstance(self.text_dims, bool) or not isinstance(self.text_dims, int) or (self.text_dims > 0) != self.has_text:  # fmt: skip
            raise ConfigError(f"features {self.features!r} do not go with text_dims {self.text_dims!r}")
        if self.scoring == "projected" and not self.has_text:
            raise ConfigError("scoring 'projected' needs features with text")
        if self.mask_share == 0:
            raise ConfigError("mask_share must be greater than 0")

    @property
    def has_text(self) -> bool:
        """Whether items have text vectors."""
        return self.features != "id"

    @property
    def has_ids(self) -> bool:
        """Whether items have learned rows."""
        return self.features != "text"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """From a parsed configuration file. Raises ConfigError for a key that does not exist or is missing."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"unknown key {unknown[0]!r} of a model; keys are {', '.join(sorted(known))}")
        if missing := sorted({"arch", "items"} - set(values)):
            raise ConfigError(f"key {missing[0]!r} of a model is missing")
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """What `of` takes."""
        return asdict(self)


def _checked(config: RetrieverConfig, vectors: Tensor | None) -> Tensor | None:
    """The vectors [N, D] in float32; None where the features have no text. Raises ConfigError, MissingVector."""
    if not config.has_text:
        if vectors is not None:
            raise ConfigError(f"features {config.features!r} take no text vectors, but some were given")
        return None
    if vectors is None:
        raise MissingVector(list(range(config.items)), f"features {config.features!r} need them and none were given")
    if vectors.dim() != 2 or vectors.shape[1] != config.text_dims:
        raise ConfigError(f"text vectors must be [{config.items}, {config.text_dims}], not {list(vectors.shape)}")
    if len(vectors) > config.items:
        raise ConfigError(f"{len(vectors)} text vectors for {config.items} items")
    if len(vectors) < config.items:
        raise MissingVector(list(range(len(vectors), config.items)), f"there are only {len(vectors)} rows")
    vectors = vectors.detach().to(torch.float32)
    largest = vectors.abs().amax(1)
    if absent := (~largest.isfinite() | (largest == 0)).nonzero().squeeze(1).tolist():
        raise MissingVector(absent, "their rows are zero or not finite")
    return vectors


class Retriever(nn.Module):
    """Histories of items to states, states to scores of all items.

    An architecture defines `encode`; one that looks at later items as well defines `states`, `query` and `training_states` itself.
    """

    # Whether `states` gives all positions in one pass, none of them seeing what comes after it.
    is_causal: ClassVar[bool] = True

    def __init__(self, config: RetrieverConfig, vectors: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        # Frozen and kept beside the weights, in the folder they were trained from.
        self.register_buffer("vectors", _checked(config, vectors), persistent=False)
        self.item_embedding = nn.Embedding(config.items, config.width) if config.has_ids else None
        self.text_projection = nn.Linear(config.text_dims, config.width) if config.has_text else None
        self.bias = nn.Parameter(torch.zeros(config.items)) if config.has_item_bias else None
        self.start = nn.Parameter(torch.zeros(config.width)) if config.has_start else None

    def initialise(self) -> None:
        """Initial values: truncated normal; learned rows beside text, item biases and the start state are zero. Draws from torch's global generator."""
        initialise(self.modules(), self.config.initial_std)
        with torch.no_grad():
            if self.item_embedding is not None and self.text_projection is not None:
                self.item_embedding.weight.zero_()

    # Items

    def _texts(self, items: Tensor | None = None) -> Tensor:
        """Projected text vectors of some items [..., H], or of all [N, H]."""
        assert self.text_projection is not None and isinstance(self.vectors, Tensor)
        if items is None:
            return self.text_projection(self.vectors)
        if items.numel() >= len(self.vectors):
            return functional.embedding(items, self.text_projection(self.vectors))
        return self.text_projection(functional.embedding(items, self.vectors))

    def item_rows(self, items: Tensor) -> Tensor:
        """Vectors that histories are read with: items [...] -> [..., H]. Raises IndexError for an item that does not exist."""
        if self.text_projection is None:
            assert self.item_embedding is not None
            return self.item_embedding(items)
        texts = self._texts(items)
        return texts if self.item_embedding is None else texts + self.item_embedding(items)

    def item_matrix(self) -> Tensor:
        """Vectors that items are scored with [N, H]."""
        if self.text_projection is None:
            assert self.item_embedding is not None
            return self.item_embedding.weight
        if self.item_embedding is None or self.config.scoring == "projected":
            return self._texts()
        return self._texts() + self.item_embedding.weight

    def scoring_rows(self, items: Tensor) -> Tensor:
        """Rows of `item_matrix`: items [...] -> [..., H], without computing the other rows (for sampled losses over a large corpus)."""
        return self._texts(items) if self.config.scoring == "projected" else self.item_rows(items)

    def item_bias(self) -> Tensor | None:
        """What is added to the scores of items [N]; None when there is no such thing."""
        return self.bias

    def score(self, states: Tensor) -> Tensor:
        """Scores of all items: states [..., H] -> logits [..., N], the dot product with each item's vector plus its bias."""
        return functional.linear(states, self.item_matrix(), self.bias)

    # States

    def encode(self, items: Tensor, packing: Packing) -> Tensor:
        """Packed items [M] -> hidden [M, H]: after each item, given all up to it. Architectures define it."""
        raise NotImplementedError

    def starts(self, count: int) -> Tensor:
        """States of empty histories [count, H]."""
        if self.start is None:
            return torch.zeros(count, self.config.width, device=self.device)
        return self.start.expand(count, -1)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def states(self, items: Tensor, lengths: Tensor) -> Tensor:
        """All states of histories: items [B, L], lengths [B] -> [B, L+1, H]; state t is that after the first t items, state 0 that of an empty history. States with t > length are zeros.

        Raises ValueError for histories longer than `max_history` where an architecture has no positions beyond it.
        """
        batch, width = items.shape
        packing = Packing.of(lengths)
        start = self.starts(batch)
        if not len(packing.times):
            return functional.pad(start[:, None], (0, 0, 0, width))
        hidden = self.encode(packing.pack(items), packing)
        padded = packing.pad(hidden)
        padded = functional.pad(padded, (0, 0, 0, width - padded.shape[1]))
        return torch.cat([start.to(padded.dtype)[:, None], padded], 1)

    def query(self, items: Tensor, lengths: Tensor) -> Tensor:
        """States after whole histories: items [B, L], lengths [B] -> [B, H]."""
        packing = Packing.of(lengths)
        answers = self.starts(len(items))
        if not len(packing.times):
            return answers
        hidden = self.encode(packing.pack(items), packing)
        is_last = packing.times == lengths[packing.sequences] - 1
        return answers.to(hidden.dtype).index_put((packing.sequences[is_last],), hidden[is_last])

    def training_states(
        self, items: Tensor, lengths: Tensor, first_target: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What to predict from what: items [B, L], lengths [B], first_target [B] -> states [M, H], targets [M], rows [M] (which sequence each comes from).

        Positions from `first_target` on are targets, each predicted from the state after all items before it. All of them come from one pass, as no state sees what follows it.
        The last item of a sequence is read by nobody. `generator` is for architectures that draw their targets.
        """
        packing = Packing.of((lengths - 1).clamp(min=0))
        at_start = ((first_target == 0) & (lengths > 0)).nonzero().squeeze(1)
        if not len(packing.times):
            return self.starts(len(at_start)), items[at_start, 0], at_start
        states = self.encode(packing.pack(items), packing)
        rows, positions = packing.sequences, packing.times + 1
        is_target = positions >= first_target[rows]
        if not is_target.all():
            states, rows, positions = states[is_target], rows[is_target], positions[is_target]
        targets = items[rows, positions]
        if not len(at_start):
            return states, targets, rows
        return (
            torch.cat([states, self.starts(len(at_start)).to(states.dtype)]),
            torch.cat([targets, items[at_start, 0]]),
            torch.cat([rows, at_start]),
        )

    def forward(
        self, items: Tensor, lengths: Tensor, first_target: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`training_states`."""
        return self.training_states(items, lengths, first_target, generator)

    def parameter_count(self) -> int:
        """How many numbers are learned."""
        return sum(values.numel() for values in self.parameters() if values.requires_grad)

    # Serving. Architectures with a state of constant size define both anew.

    def start_state(self, batch: int) -> State:
        """State of serving before the first item: the window of latest items [batch, max_history], right-padded, and how many there are [batch]."""
        window = torch.full((batch, self.config.max_history), PAD, device=self.device)
        return window, torch.zeros(batch, dtype=torch.int64, device=self.device)

    def step(self, state: State, items: Tensor) -> tuple[State, Tensor]:
        """The next item of each history: items [B] -> the new state, hidden [B, H] = the state after it. This one reads the whole window of latest items again."""
        window, lengths = state
        is_full = lengths == window.shape[1]
        window = torch.where(is_full[:, None], window.roll(-1, 1), window)
        lengths = torch.where(is_full, lengths, lengths + 1)
        window = window.scatter(1, lengths[:, None] - 1, items[:, None])
        return (window, lengths), self.query(window[:, : int(lengths.max())], lengths)


def check_length(packing: Packing, limit: int) -> None:
    """Raises ValueError when a history is longer than positions were learned for."""
    if len(packing.sizes) > limit:
        raise ValueError(f"a history of {len(packing.sizes)} items is longer than max_history {limit}; keep its latest items")  # fmt: skip
