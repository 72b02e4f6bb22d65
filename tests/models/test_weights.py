"""Files of weights: read by others, and told apart from damaged ones."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.weights import DTYPES, WeightsError, digest, load, save, sha256

TENSORS = {
    "b.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,  # not contiguous
    "a": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "mask": torch.tensor([True, False, True]),
    "step": torch.tensor(7),
    "none": torch.empty(0, 4),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save(path, TENSORS, {"who": "test", "größe": "1"})
    return path


def test_what_was_saved_is_loaded(file: Path) -> None:
    tensors, metadata = load(file)
    assert metadata == {"who": "test", "größe": "1"}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        torch.testing.assert_close(tensors[name], tensor, rtol=0, atol=0)
    assert digest(tensors) == digest(TENSORS)


def test_the_safetensors_package_reads_ours_and_we_read_its(file: Path, tmp_path: Path) -> None:
    theirs = pytest.importorskip("safetensors.torch")
    for name, tensor in theirs.load_file(file).items():
        torch.testing.assert_close(tensor, TENSORS[name], rtol=0, atol=0)
    other = tmp_path / "other.safetensors"
    theirs.save_file({name: tensor.contiguous() for name, tensor in TENSORS.items()}, other, {"x": "y"})
    tensors, metadata = load(other)
    assert metadata == {"x": "y"}
    assert digest(tensors) == digest(TENSORS)


def test_same_content_same_bytes(file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    save(again, dict(reversed(TENSORS.items())), {"größe": "1", "who": "test"})
    assert sha256(again) == sha256(file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.safetensors", "weights.safetensors"]


def test_every_type_comes_back(tmp_path: Path) -> None:
    tensors = {name: torch.ones(3).to(dtype) for name, dtype in DTYPES.items()}
    save(tmp_path / "w", tensors)
    loaded, _ = load(tmp_path / "w")
    assert {name: tensor.dtype for name, tensor in loaded.items()} == DTYPES
    assert digest(loaded) == digest(tensors)


@given(share=st.floats(0, 0.999))
def test_a_file_cut_short_is_an_error_that_names_it(tmp_path_factory, share: float) -> None:
    path = tmp_path_factory.mktemp("cut") / "weights.safetensors"
    save(path, TENSORS, {"who": "test"})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match=r"weights\.safetensors"):
        load(path)


def _with_header(path: Path, header: object, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "header, reason",
    [
        (b"{", "not JSON"),
        ([1], "not an object"),
        ({"a": {**ONE, "dtype": "F8"}}, "no known type"),
        ({"a": {**ONE, "shape": [2]}}, "takes 8 bytes"),
        ({"a": {**ONE, "shape": [-1]}}, "lacks a shape"),
        ({"a": {**ONE, "data_offsets": [0, 4, 8]}}, "offsets"),
        ({"a": {**ONE, "data_offsets": [4, 8]}}, "does not start"),
        ({"a": ONE, "b": ONE}, "does not start"),
        ({"a": {**ONE, "shape": [2], "data_offsets": [0, 8]}}, "cut short"),
        ({}, "longer than it says"),
        ({"__metadata__": {"a": 1}, "a": ONE}, "metadata"),
    ],
)
def test_a_header_that_lies_is_an_error(tmp_path: Path, header: object, reason: str) -> None:
    path = tmp_path / "lying.safetensors"
    _with_header(path, header, b"\0\0\0\0")
    with pytest.raises(WeightsError, match=f"lying.*{reason}"):
        load(path)


def test_a_header_of_absurd_length_is_not_allocated(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(WeightsError, match="would be"):
        load(path)


def test_what_cannot_be_stored_leaves_what_was_there(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(ValueError, match="cannot be stored"):
        save(file, {"x": torch.ones(1, dtype=torch.complex128)})
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]
