"""Presets are complete, true to their sources, and fit every architecture."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
import torch

from models.presets import PRESETS_FILE, UnknownPreset, preset, preset_names
from models.retriever import ARCHITECTURES, RetrieverConfig, build

# Known from the data, not from a preset.
OF_THE_DATA = {"arch", "items", "text_dims"}


def test_names() -> None:
    assert preset_names() == ["lrurec", "fmlrec", "rar", "tiny"]
    with pytest.raises(UnknownPreset, match="no preset 'large'; presets are lrurec"):
        preset("large")


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_says_everything_that_the_data_does_not(name: str) -> None:
    assert set(preset(name)["model"]) == {field.name for field in fields(RetrieverConfig)} - OF_THE_DATA
    assert {"loss", "lr", "batch_size", "validation_metric", "validation_masked"} <= set(preset(name)["training"])


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
@pytest.mark.parametrize("name", preset_names())
def test_every_preset_goes_with_every_architecture(name: str, arch: str) -> None:
    keys = preset(name, arch)["model"]
    has_text = keys["features"] != "id"
    config = RetrieverConfig.of({**keys, "arch": arch, "items": 20, "text_dims": 6 if has_text else 0})
    model = build(config, torch.randn(20, 6) if has_text else None).eval()
    query = model.query(torch.tensor([[1, 2, 3]]), torch.tensor([3]))
    assert model.score(query).isfinite().all()


def test_every_value_of_a_preset_from_a_paper_has_its_source() -> None:
    text = PRESETS_FILE.read_text(encoding="utf-8").split("[tiny.model]")[0]
    values = [line for line in text.splitlines() if re.match(r"\w+ = ", line)]
    assert values and [line for line in values if not re.search(r"# \[(code|paper|ours)\]", line)] == []


def test_a_preset_is_a_copy() -> None:
    preset("tiny")["model"]["width"] = 999
    assert preset("tiny")["model"]["width"] == 16
