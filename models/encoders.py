"""Sentence encoders: texts in, unit-length vectors out, as fast as the machine allows.

Profiles are data (`encoders.toml`). A model is loaded by sentence-transformers, so that pooling is the model's own business: mean for MiniLM,
last token for Qwen3-Embedding. Batches are this module's: texts of like length together, and so many tokens in each. Does not belong here: what the text
of a film is (`pipelines/retrieval/item_text.py`), storing vectors (`assets/build/embeddings.py`), the index (`item_index.py`).
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PROFILES_FILE = Path(__file__).with_name("encoders.toml")

Source = Literal["package", "hub", "folder"]
Tell = Callable[[str], None]

# Least cosine between a text's vector in reduced and in full precision that is taken for the same.
COSINE_MIN = 0.999

_CHUNK_BYTES = 1 << 20


class EncoderError(RuntimeError):
    """An encoder is unknown, not here, or cannot encode; the message names it."""


@dataclass(frozen=True)
class Profile:
    """An encoder's settings; `encoders.toml` says what each means."""

    name: str
    source: Source
    model: str
    version: str
    tokens: int
    query_prompt: str
    batch_tokens_cpu: int
    batch_tokens_gpu: int


@dataclass(frozen=True)
class Encoded:
    """What `Encoder.encode` gives, in the order of the texts.

    `vectors` [N, D] float32 of length one; `tokens` [N] int32, those that were read; `are_cut` [N] bool, whether there were more.
    """

    vectors: np.ndarray
    tokens: np.ndarray
    are_cut: np.ndarray


def profiles(file: Path = PROFILES_FILE) -> dict[str, Profile]:
    """All profiles by name. Raises EncoderError naming file, table and key of what is wrong."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise EncoderError(f"{file}: {error}") from error
    return {name: _profile(file, name, table) for name, table in tables.items()}


def profile(name: str) -> Profile:
    """The profile called `name`; a path (with a slash in it) of a folder with a model is a profile, too: MiniLM's limits, no prompt.

    Raises EncoderError.
    """
    known = profiles()
    if name in known:
        return known[name]
    if os.sep not in name:
        raise EncoderError(f"no encoder is called {name!r}: choose among {', '.join(known)}, or name a model's folder")
    folder = Path(name).expanduser().absolute()
    small = known["minilm"]
    return Profile(
        str(folder), "folder", str(folder), "1", small.tokens, "", small.batch_tokens_cpu, small.batch_tokens_gpu
    )


def _profile(file: Path, name: str, table: Any) -> Profile:
    if not isinstance(table, dict):
        raise EncoderError(f"{file}: {name} is no table")
    wanted = {field.name: int if str(field.type) == "int" else str for field in fields(Profile) if field.name != "name"}
    for key in [*wanted, *table]:
        if key not in wanted:
            raise EncoderError(f"{file}: [{name}] {key}: no such key")
        if key not in table:
            raise EncoderError(f"{file}: [{name}] {key} is missing")
        if type(table[key]) is not wanted[key] or (wanted[key] is int and table[key] < 1):
            raise EncoderError(f"{file}: [{name}] {key}: {table[key]!r} cannot be used")
    if table["source"] not in ("package", "hub", "folder"):
        raise EncoderError(f"{file}: [{name}] source: {table['source']!r} is not package, hub or folder")
    return Profile(name, **table)


def locate(profile: Profile) -> Path:
    """The folder of the model. A model of the hub is fetched when it is not here yet. Raises EncoderError."""
    if profile.source == "package":
        try:
            found = Path(import_module(profile.model).get_model_path())
        except ImportError as error:
            raise EncoderError(f"{profile.name}: package {profile.model} is not installed") from error
    elif profile.source == "hub":
        found = _fetched(profile)
    else:
        found = Path(profile.model)
    if not (found / "modules.json").is_file() and not (found / "config.json").is_file():
        raise EncoderError(f"{profile.name}: {found} holds no model: neither modules.json nor config.json is there")
    return found


def _fetched(profile: Profile) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(snapshot_download(profile.model, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(snapshot_download(profile.model))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise EncoderError(
            f"{profile.name}: {profile.model} is not in the Hugging Face cache and cannot be fetched: {str(error).splitlines()[0]}"
        ) from error


def fingerprint(profile: Profile, folder: Path) -> str:
    """64 hex digits: what decides the vectors of `profile`, the bytes of its model included.

    Weights from the hub lie under the hash of their commit, which stands for them. Precision and device are left out: they move vectors by
    less than COSINE_MIN allows.
    """
    digest = hashlib.sha256(
        "\0".join((profile.version, str(profile.tokens), profile.model if profile.source == "hub" else "")).encode()
    )
    if profile.source == "hub":
        digest.update(folder.name.encode())
        return digest.hexdigest()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in (".json", ".safetensors", ".txt", ".model"):
            digest.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
    return digest.hexdigest()


class Encoder:
    """A model, which is loaded once something is to be encoded. `device`: `cpu`, `cuda`, or None for the GPU where there is one."""

    def __init__(self, profile: Profile, device: str | None = None) -> None:
        """Raises EncoderError when the model is not here."""
        self.profile = profile
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._folder = locate(profile)
        self.fingerprint = fingerprint(profile, self._folder)
        self.is_reduced = self.device != "cpu" or _has_bf16()
        self.batch_tokens = profile.batch_tokens_cpu if self.device == "cpu" else profile.batch_tokens_gpu

    @cached_property
    def _model(self) -> SentenceTransformer:
        """Raises EncoderError when it cannot be loaded."""
        # On a GPU the weights are bfloat16; on a CPU they stay float32, and only products are rounded, where the CPU has instructions for it.
        dtype = torch.bfloat16 if self.device != "cpu" else torch.float32
        model = _loaded(self.profile, self._folder, self.device, dtype)
        if not getattr(model.tokenizer, "is_fast", False):
            raise EncoderError(f"{self.name}: {self._folder} has no tokenizer.json: its tokens cannot be counted")
        return model

    @property
    def tokens(self) -> int:
        """Tokens of a text that it reads at most."""
        own = self._model.max_seq_length
        return min(self.profile.tokens, own) if own else self.profile.tokens

    @property
    def name(self) -> str:
        """Name of its profile."""
        return self.profile.name

    @property
    def dims(self) -> int:
        """Dimensions of a vector."""
        found = self._model.get_embedding_dimension()
        assert found is not None
        return found

    @property
    def precision(self) -> str:
        """Where and how exactly it calculates, in words."""
        return f"{self.device}, {'bfloat16' if self.is_reduced else 'float32'}"

    def encode(self, texts: Sequence[str], tell: Tell | None = None) -> Encoded:
        """Vectors of `texts`, as they are. When memory runs out, batches are halved, and `tell` is told.

        A text's vector depends on the other texts by rounding alone. Raises EncoderError when not even one text fits into memory, or a vector is not finite.
        """
        say = tell or (lambda _: None)
        if not texts:
            none = np.zeros(0, dtype=np.int32)
            return Encoded(np.zeros((0, self.dims), dtype=np.float32), none, none.astype(bool))
        ids, are_cut = self._tokenized(texts)
        lengths = np.array([len(each) for each in ids], dtype=np.int32)
        vectors = np.empty((len(texts), self.dims), dtype=np.float32)
        waiting = list(_batches(lengths, self.batch_tokens))
        while waiting:
            waiting = self._encoded(waiting, ids, vectors)
            if waiting:
                largest = max(len(rows) for rows in waiting)
                if largest == 1:
                    raise EncoderError(f"{self.name}: out of memory with one text of {lengths[waiting[0][0]]} tokens")
                self.batch_tokens //= 2
                say(f"{self.name}: out of memory; batches are halved, to {self.batch_tokens:,} tokens")
                waiting = [part for rows in waiting for part in np.array_split(rows, min(2, len(rows)))]
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        wrong = np.flatnonzero(~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0))
        if len(wrong):
            raise EncoderError(
                f"{self.name}: gave no vector for a text of {lengths[wrong[0]]} tokens ({self.precision})"
            )
        return Encoded(vectors / norms, lengths, are_cut)

    def encode_queries(self, texts: Sequence[str]) -> Encoded:
        """Vectors of texts that are searched for: with the prompt that the model wants there."""
        return self.encode([self.profile.query_prompt + text for text in texts])

    def agreement(self, texts: Sequence[str]) -> float:
        """Least cosine over `texts` between the vectors of `encode` and those in float32; 1 where it calculates in float32 anyway.

        On a GPU the weights themselves are rounded, so there is nothing here to compare with: NaN.
        """
        if not self.is_reduced or not texts:
            return 1.0
        if self.device != "cpu":
            return float("nan")
        reduced = self.encode(texts).vectors
        self.is_reduced = False
        try:
            exact = self.encode(texts).vectors
        finally:
            self.is_reduced = True
        return float((reduced * exact).sum(axis=1).min())

    def _tokenized(self, texts: Sequence[str]) -> tuple[list[list[int]], np.ndarray]:
        found = self._model.tokenizer(
            list(texts), truncation=True, max_length=self.tokens, padding=False, return_attention_mask=False
        )
        return found["input_ids"], np.array([bool(each.overflowing) for each in found.encodings])

    def _encoded(self, batches: list[np.ndarray], ids: list[list[int]], vectors: np.ndarray) -> list[np.ndarray]:
        """Fill in `vectors`; returns the batches that memory did not suffice for.

        On a CPU each core takes whole batches: splitting every product among the cores has them wait for each other at each of some hundred
        steps a batch, which costs most where something else runs, too.
        """
        failed: list[np.ndarray] = []

        def run(rows: np.ndarray) -> np.ndarray | None:
            try:
                vectors[rows] = self._forward([ids[row] for row in rows])
            except (torch.OutOfMemoryError, MemoryError):
                return rows
            except RuntimeError as error:
                if "can't allocate memory" not in str(error):
                    raise
                return rows
            return None

        if self.device != "cpu":
            failed = [rows for batch in batches if (rows := run(batch)) is not None]
            torch.cuda.empty_cache()
            return failed
        cores = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(cores, initializer=lambda: torch.set_num_threads(1)) as pool:
                jobs = [pool.submit(run, batch) for batch in batches]
                try:
                    failed = [rows for job in as_completed(jobs) if (rows := job.result()) is not None]
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
        finally:
            torch.set_num_threads(cores)
        return failed

    def _forward(self, ids: list[list[int]]) -> np.ndarray:
        """Vectors [B, D] of texts as token ids."""
        padded = self._model.tokenizer.pad({"input_ids": ids}, padding=True, return_tensors="pt")
        features = {key: value.to(self.device) for key, value in padded.items()}
        casting = torch.autocast("cpu", torch.bfloat16) if self.is_reduced and self.device == "cpu" else nullcontext()
        with torch.inference_mode(), casting:
            found = self._model(features)["sentence_embedding"]
        return found.float().cpu().numpy()


def _batches(lengths: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Rows of texts in batches of like length, the longest first, of at most `tokens` tokens with padding (one text at least)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, tokens // int(lengths[order[start]] or 1))
        yield order[start : start + size]
        start += size


def _has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 natively; without that, rounding costs time and saves none."""
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def _loaded(profile: Profile, folder: Path, device: str, dtype: torch.dtype) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    try:
        has_bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            model = SentenceTransformer(
                str(folder), device=device, local_files_only=True, model_kwargs={"dtype": dtype}
            )
        finally:
            if has_bars:
                logging.enable_progress_bar()
    except Exception as error:  # whatever the library raises for a folder that it cannot make sense of
        lines = str(error).splitlines() or [type(error).__name__]
        raise EncoderError(f"{profile.name}: the model in {folder} cannot be loaded: {lines[0]}") from error
    return model.eval()
