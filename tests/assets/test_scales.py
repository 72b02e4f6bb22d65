"""The scales of training: complete, and within what the contracts know."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.build import scales as module
from assets.build.scales import scales
from assets.settings import SettingsError, embed_scope, scale_name
from warehouse.tables.dialogues import DATASETS
from warehouse.tables.retrieval import RETRIEVERS, RL_METHODS


@pytest.mark.parametrize("name", ["toy", "cpu", "gpu"])
def test_a_scale_names_what_there_is(name: str) -> None:
    scale = scales()[name]
    assert set(scale.dialogues) <= set(DATASETS)
    assert set(scale.rl.methods) == set(RL_METHODS)
    assert set(scale.reranking.systems) <= {*RETRIEVERS, *(f"rar_{method}" for method in RL_METHODS)}
    # Each aligned retriever starts from a tuned one.
    assert set(scale.rl.seeds) <= set(scale.tuning.seeds)


def test_the_papers_seeds_are_those_of_the_gpu_scale() -> None:
    assert scales()["gpu"].tuning.seeds == (42, 123, 456)


@pytest.mark.parametrize(
    ("text", "named"),
    [("[toy]\nencoder = 'minilm'\n", "releases"), ("[toy]\nencoders = 'minilm'\n", "encoders")],
)
def test_a_wrong_key_is_named(text: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "scales.toml"
    file.write_text(text)
    monkeypatch.setattr(module, "_FILE", file)
    with pytest.raises(ValueError, match=rf"scales\.toml: \[toy\].*{named}"):
        module.scales.__wrapped__()


def test_settings_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MARQUEE_SCALE", raising=False)
    monkeypatch.delenv("MARQUEE_EMBED", raising=False)
    assert scale_name() == "cpu"
    assert embed_scope("used") == "used"
    monkeypatch.setenv("MARQUEE_EMBED", "500")
    assert embed_scope("used") == 500
    for name, value, ask in (("MARQUEE_SCALE", "huge", scale_name), ("MARQUEE_EMBED", "-1", lambda: embed_scope(1))):
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError, match=f"{name}.* must be .*{value}"):
            ask()
