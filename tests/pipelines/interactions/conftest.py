"""One rating file, written and found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.interactions.releases import RatingFile, rating_files


@pytest.fixture
def one_file(tmp_path: Path) -> Callable[[str, bytes], RatingFile]:
    """Writes a file of the given name below a folder of sources and finds it."""

    def write(name: str, content: bytes) -> RatingFile:
        path = tmp_path / "sources" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        (found,) = rating_files(tmp_path / "sources")
        return found

    return write
