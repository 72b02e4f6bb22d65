"""The language model's settings in the environment: what they mean, and one clear line for what they cannot."""

from __future__ import annotations

import pytest

from assets.settings import SettingsError, llm_api_key, llm_settings, stand_in_environment
from pipelines.gateways.llm.settings import OPENAI_URL, LlmSettings, Price

NAMES = [
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    *(f"MARQUEE_LLM_{name}" for name in ("MODEL", "MODE", "BUDGET_USD", "PRICE", "REQUESTS_PER_MINUTE", "WORKERS")),
]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_without_settings_there_is_no_language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert llm_settings() is None and llm_api_key() is None
    monkeypatch.setenv("OPENAI_API_KEY", "  ")
    monkeypatch.setenv("MARQUEE_LLM_MODEL", "gpt-4o")
    assert llm_settings() is None


@pytest.mark.parametrize(
    ("name", "value"), [("OPENAI_API_KEY", "sk-1"), ("OPENAI_BASE_URL", OPENAI_URL), ("MARQUEE_LLM_MODE", "replay")]
)
def test_each_of_these_makes_one(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    settings = llm_settings()
    assert settings is not None
    assert (settings.base_url, settings.model, settings.workers) == (OPENAI_URL, "gpt-4o-mini", 10)
    assert settings.requests_per_minute == 500 and settings.budget_usd is None


def test_all_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ["http://127.0.0.1:1/v1", " sk-1 ", "m-1", "live", "2.5", "0.1,0.2", "60", "3"]
    for name, value in zip(NAMES, values, strict=True):
        monkeypatch.setenv(name, value)
    assert llm_api_key() == "sk-1"
    assert llm_settings() == LlmSettings(
        base_url="http://127.0.0.1:1/v1",
        model="m-1",
        mode="live",
        budget_usd=2.5,
        requests_per_minute=60,
        workers=3,
        price=Price(0.1, 0.2),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MARQUEE_LLM_BUDGET_USD", "five"),
        ("MARQUEE_LLM_BUDGET_USD", "nan"),
        ("MARQUEE_LLM_BUDGET_USD", "-1"),
        ("MARQUEE_LLM_REQUESTS_PER_MINUTE", "0"),
        ("MARQUEE_LLM_WORKERS", "2.5"),
        ("MARQUEE_LLM_WORKERS", "0"),
        ("MARQUEE_LLM_MODE", "offline"),
        ("MARQUEE_LLM_MODEL", "two words"),
        ("MARQUEE_LLM_PRICE", "cheap"),
        ("MARQUEE_LLM_PRICE", "1"),
        ("MARQUEE_LLM_PRICE", "-1,2"),
        ("OPENAI_BASE_URL", "localhost:8901"),
    ],
)
def test_wrong_settings_are_one_clear_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-shown")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        llm_settings()
    assert "\n" not in str(caught.value) and "sk-not" not in str(caught.value)
    assert "MARQUEE_LLM" in str(caught.value) or "OPENAI" in str(caught.value)


def test_with_the_stand_in_no_real_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    monkeypatch.setenv("MARQUEE_LLM_BUDGET_USD", "0")
    for name, value in stand_in_environment("http://127.0.0.1:1/v1").items():
        monkeypatch.setenv(name, value)
    settings = llm_settings()
    assert settings is not None and settings.model == "marquee-stand-in" and settings.price == Price(0, 0)
    assert llm_api_key() != "sk-real"
