"""Where things lie: folders from the environment, with defaults inside the checkout.

No dagster here: the command line reads this before it decides whether dagster is needed at all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """Folders and addresses of one installation.

    `sources`: catalogue files (MARQUEE_SOURCES). `warehouse`: tables and DuckDB catalogue (MARQUEE_WAREHOUSE).
    `tmdb_base_url`: where TMDB's API answers (TMDB_BASE_URL).
    """

    sources: Path
    warehouse: Path
    tmdb_base_url: str

    @classmethod
    def from_environment(cls, sources: str | None = None, warehouse: str | None = None) -> Settings:
        """Read the environment; explicit arguments win."""
        data = PROJECT / "data"
        return cls(
            sources=Path(sources or os.environ.get("MARQUEE_SOURCES") or data / "sources").expanduser().absolute(),
            warehouse=Path(warehouse or os.environ.get("MARQUEE_WAREHOUSE") or data / "warehouse")
            .expanduser()
            .absolute(),
            tmdb_base_url=os.environ.get("TMDB_BASE_URL") or "https://api.themoviedb.org/3",
        )


def tmdb_api_key() -> str | None:
    """The TMDB key (TMDB_API_KEY), or None. Read where it is used, so that it never travels through run config."""
    return os.environ.get("TMDB_API_KEY") or None
