"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes is no matter of right or wrong, and on a busy machine anything takes long.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# With so little to compute, threads of torch wait for each other most of the time, and there is a worker on every core. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parent.parent

# Files that take longest, which workers are to begin with: one that is begun last would be waited for by all. All others follow as they were found.
LONGEST = (
    "assets/test_conversations.py",
    "assets/test_retrieval.py",
    "assets/test_simulation.py",
    "assets/test_faults.py",
    "benchmarks/test_benchmarks.py",
    "assets/test_command_line.py",
    "assets/test_refresh.py",
    "assets/test_enrichment.py",
    "models/test_train.py",
    "benchmarks/test_retrieval_benchmarks.py",
    "docs/test_recipes.py",
    "warehouse/quality/test_run.py",
    "warehouse/test_store_crashes.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first (`--no-loadscope-reorder` keeps them there)."""
    places = {REPOSITORY / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real catalogues: MARQUEE_REAL_DATA, or ../shared/data beside the checkout. Skips where there is none."""
    folder = Path(os.environ.get("MARQUEE_REAL_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real catalogues are not here ({folder.name}); set MARQUEE_REAL_DATA to test on them")
    return folder
