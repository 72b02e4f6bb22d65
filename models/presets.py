"""Reading the named settings of `presets.toml`. Does not belong here: what the keys mean (`RetrieverConfig`, `TrainingConfig`)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

PRESETS_FILE = Path(__file__).with_name("presets.toml")
SECTIONS = ("model", "training", "rl")


class UnknownPreset(ValueError):
    """No preset of that name; the message lists those that exist."""


@cache
def _read() -> dict[str, dict[str, Any]]:
    return tomllib.loads(PRESETS_FILE.read_text(encoding="utf-8"))


def preset_names() -> list[str]:
    """Names of all presets, in the order of the file."""
    return list(_read())


def preset(name: str, arch: str | None = None) -> dict[str, dict[str, Any]]:
    """The settings of a preset: {"model": {...}, "training": {...}}, a fresh copy, the same for every architecture but for what a table `[<preset>.<arch>.<section>]` says.

    Raises UnknownPreset.
    """
    if name not in _read():
        raise UnknownPreset(f"no preset {name!r}; presets are {', '.join(preset_names())}")
    of_preset = deepcopy(_read()[name])
    of_arch: Mapping[str, Any] = of_preset.get(arch, {}) if arch else {}
    return {section: {**of_preset.get(section, {}), **of_arch.get(section, {})} for section in SECTIONS}
