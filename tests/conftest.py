"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes is no matter of right or wrong, and on a busy machine anything takes long.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real catalogues: MARQUEE_REAL_DATA, or ../shared/data beside the checkout. Skips where there is none."""
    folder = Path(os.environ.get("MARQUEE_REAL_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real catalogues are not here ({folder.name}); set MARQUEE_REAL_DATA to test on them")
    return folder
