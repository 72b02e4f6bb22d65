"""Weights in files: the safetensors format, read and written with nothing but the standard library and torch.

The format (github.com/huggingface/safetensors): 8 bytes, little-endian, the length of a JSON header; the header, `{name: {"dtype", "shape", "data_offsets"}}` with
`__metadata__` for strings; then the bytes of the tensors, without gaps. No pickle, so a file can be read whoever wrote it. Files are written beside, synced and renamed.

Does not belong here: what is in them (`checkpoint.py`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
# What the reference implementation refuses, too: a length beyond it is no header but damage.
HEADER_MAX_BYTES = 100_000_000
METADATA = "__metadata__"


class WeightsError(ValueError):
    """A file that is not, or not wholly, a file of weights. Names the file."""


def save(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write `tensors` (any device, any strides) and `metadata` to `path`, which appears whole or not at all. The same content gives the same bytes.

    Raises ValueError for names and types that the format does not have.
    """
    header: dict[str, object] = {}
    if metadata:
        header[METADATA] = dict(sorted(metadata.items()))
    # Wide types first, so that every tensor starts at a multiple of its size.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    offset = 0
    for name in order:
        tensor = tensors[name]
        if name == METADATA or tensor.dtype not in NAMES:
            raise ValueError(f"{path}: tensor {name!r} of {tensor.dtype} cannot be stored")
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(struct.pack("<Q", len(text)))
            file.write(text)
            for name in order:
                file.write(_bytes(tensors[name]))
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (on the CPU, in memory of their own) and metadata of `path`.

    Raises WeightsError for a file that is cut short, has bytes to spare, or whose header lies; OSError where it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise WeightsError(f"{path}: cut short, {len(start)} bytes")
        (length,) = struct.unpack("<Q", start)
        if length > HEADER_MAX_BYTES:
            raise WeightsError(f"{path}: not a file of weights: its header would be {length} bytes long")
        text = file.read(length)
        if len(text) < length:
            raise WeightsError(f"{path}: cut short in its header")
        header, metadata = _header(path, text)
        data_bytes = os.fstat(file.fileno()).st_size - 8 - length
        stated = max((spec["data_offsets"][1] for spec in header.values()), default=0)
        if data_bytes != stated:
            word = "cut short" if data_bytes < stated else "longer than it says"
            raise WeightsError(f"{path}: {word}: {data_bytes} bytes of data, {stated} stated")
        data = bytearray(data_bytes)
        if file.readinto(data) != data_bytes:
            raise WeightsError(f"{path}: cut short while it was read")
    tensors = {}
    for name, spec in header.items():
        first, last = spec["data_offsets"]
        dtype = DTYPES[spec["dtype"]]
        if first == last:
            tensors[name] = torch.empty(spec["shape"], dtype=dtype)
            continue
        # Copied out of the buffer: aligned, and no tensor keeps all others alive.
        raw = torch.from_numpy(np.frombuffer(data, dtype=np.uint8, count=last - first, offset=first).copy())
        tensors[name] = raw.view(dtype).reshape(spec["shape"])
    return tensors, metadata


def sha256(path: Path) -> str:
    """Hash of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(tensors: dict[str, Tensor]) -> str:
    """sha256 over names, types, shapes and bytes: equal for equal tensors, whatever file they are in."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        total.update(_bytes(tensor))
    return total.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a small text file beside, sync it and rename it into place."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` last through a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _bytes(tensor: Tensor) -> Any:
    """The bytes of a tensor as a buffer, without a copy where it is on the CPU and contiguous."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy() if flat.numel() else b""


def _header(path: Path, text: bytes) -> tuple[dict[str, dict], dict[str, str]]:
    """The header's tensors and metadata, checked: types known, sizes as shapes say, no gap and no overlap."""
    try:
        header = json.loads(text)
    except ValueError as error:
        raise WeightsError(f"{path}: its header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise WeightsError(f"{path}: its header is not an object")
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsError(f"{path}: its metadata is not an object of strings")
    for name, spec in header.items():
        if not isinstance(spec, dict) or spec.get("dtype") not in DTYPES:
            raise WeightsError(f"{path}: tensor {name!r} is of no known type")
        shape, offsets = spec.get("shape"), spec.get("data_offsets")
        if not _is_naturals(shape) or not _is_naturals(offsets) or len(offsets) != 2:
            raise WeightsError(f"{path}: tensor {name!r} lacks a shape or offsets")
        size = math.prod(shape) * DTYPES[spec["dtype"]].itemsize
        if offsets[1] - offsets[0] != size:
            raise WeightsError(f"{path}: tensor {name!r} takes {size} bytes, but its offsets are {offsets}")
    end = 0
    for name, spec in sorted(header.items(), key=lambda pair: pair[1]["data_offsets"]):
        if spec["data_offsets"][0] != end:
            raise WeightsError(f"{path}: tensor {name!r} does not start where the one before it ends")
        end = spec["data_offsets"][1]
    return header, metadata


def _is_naturals(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)
