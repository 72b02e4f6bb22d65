"""Where things lie and which services are asked: settings from the environment, with defaults inside the checkout.

No dagster here: the command line reads this before it decides whether dagster is needed at all.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from pipelines.gateways.llm.requests import THINKING, Thinking
from pipelines.gateways.llm.runs import STAND_IN_MODEL
from pipelines.gateways.llm.settings import OPENAI_URL, LlmSettings, Mode, Price
from pipelines.retrieval.scope import Scope, ScopeError, scope_of

Split = Literal["hash", "released"]
SPLITS_BY: tuple[str, ...] = get_args(Split)

PROJECT = Path(__file__).resolve().parent.parent


class SettingsError(ValueError):
    """A setting in the environment cannot be used; the message is one line and names it."""


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


def scale_name() -> str:
    """How much is trained and asked: a scale of assets/build/scales.toml (MARQUEE_SCALE), `cpu` where nothing is said.

    Raises SettingsError.
    """
    from assets.build.scales import scales

    name = _text("MARQUEE_SCALE") or "cpu"
    if name not in scales():
        raise SettingsError(f"MARQUEE_SCALE must be one of {', '.join(scales())}, not {name[:40]!r}")
    return name


def embed_scope(default: str | int) -> Scope:
    """Which films are embedded (MARQUEE_EMBED): `used` (rated or talked about), `all`, or those and more up to a number.

    Raises SettingsError.
    """
    try:
        return scope_of(_text("MARQUEE_EMBED") or str(default))
    except ScopeError as error:
        raise SettingsError(f"MARQUEE_EMBED: {error}") from None


def simulation_split() -> Split:
    """How tasks of simulated users are split (MARQUEE_SIMULATION_SPLIT): `hash`, by user, or `released`, as a release states it.

    Raises SettingsError.
    """
    text = _text("MARQUEE_SIMULATION_SPLIT") or "hash"
    if text not in SPLITS_BY:
        raise SettingsError(f"MARQUEE_SIMULATION_SPLIT must be one of {', '.join(SPLITS_BY)}, not {text[:40]!r}")
    return cast("Split", text)


def tmdb_api_key() -> str | None:
    """The TMDB key (TMDB_API_KEY), or None. Read where it is used, so that it never travels through run config."""
    return os.environ.get("TMDB_API_KEY") or None


def llm_settings() -> LlmSettings | None:
    """How the language model is asked; None when none is configured: neither OPENAI_BASE_URL nor OPENAI_API_KEY is set, and
    the mode is not replay, which needs neither.

    Raises SettingsError.
    """
    mode = _text("MARQUEE_LLM_MODE") or "cached"
    base_url = _text("OPENAI_BASE_URL")
    if not base_url and not llm_api_key() and mode != "replay":
        return None
    price = _text("MARQUEE_LLM_PRICE")
    budget_usd = _number("MARQUEE_LLM_BUDGET_USD")
    workers = _number("MARQUEE_LLM_WORKERS", 10)
    if workers != int(workers or 0):
        raise SettingsError(f"MARQUEE_LLM_WORKERS must be a whole number, not {workers:g}")
    try:
        return LlmSettings(
            base_url=base_url or OPENAI_URL,
            model=_text("MARQUEE_LLM_MODEL") or "gpt-4o-mini",
            mode=cast(Mode, mode),
            budget_usd=budget_usd,
            requests_per_minute=cast(float, _number("MARQUEE_LLM_REQUESTS_PER_MINUTE", 500)),
            workers=int(cast(float, workers)),
            price=_price(price) if price else None,
        )
    except SettingsError:
        raise
    except ValueError as error:
        raise SettingsError(f"language model: {error} (settings OPENAI_BASE_URL and MARQUEE_LLM_*)") from None


def llm_thinking() -> Thinking:
    """How much the language model thinks before it ranks (MARQUEE_LLM_THINKING): off, low or on. Raises SettingsError."""
    text = _text("MARQUEE_LLM_THINKING") or "off"
    if text not in THINKING:
        raise SettingsError(f"MARQUEE_LLM_THINKING must be one of {', '.join(THINKING)}, not {text[:40]!r}")
    return cast("Thinking", text)


def llm_api_key() -> str | None:
    """The endpoint's key (OPENAI_API_KEY), or None. Read where it is used, so that it never travels through run config."""
    return _text("OPENAI_API_KEY") or None


def stand_in_environment(base_url: str) -> dict[str, str]:
    """The environment in which the stand-in at `base_url` is the language model: free, as fast as it can, and without the key
    of the real one.
    """
    return {
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": "none",
        "MARQUEE_LLM_MODEL": STAND_IN_MODEL,
        "MARQUEE_LLM_PRICE": "0,0",
        "MARQUEE_LLM_REQUESTS_PER_MINUTE": "100000",
    }


def _text(name: str) -> str:
    return os.environ.get(name, "").strip()


def _number(name: str, default: float | None = None) -> float | None:
    text = _text(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SettingsError(f"{name} must be a number, not {text[:40]!r}")
    return number


def _price(text: str) -> Price:
    try:
        sent, received = map(float, text.split(","))
    except ValueError:
        raise SettingsError(
            f"MARQUEE_LLM_PRICE must be two numbers, USD per million tokens sent and received, as in 0.15,0.60, not {text[:40]!r}"
        ) from None
    return Price(sent, received)
