"""The file of answers and the ledger: what is in it stays in it."""

from __future__ import annotations

import sqlite3
import threading
from datetime import datetime
from pathlib import Path

import pytest

from pipelines.gateways.llm.cache import NEVER_ENDED, Call, Ending, LlmCache, LlmCacheError, Stored
from warehouse.tables.llm import LLM_CALLS

AT = datetime(2026, 1, 2, 3, 4, 5, 678_901)


def call(name: str, held_usd: float = 1.0, model: str = "m") -> Call:
    return Call(name, f"hash of {name}", 1, "words", "1", model, held_usd, AT)


def test_an_answer_comes_back(cache: LlmCache) -> None:
    cache.begin(call("a"), None)
    cache.settle(
        call("a"), Ending("answered", "m", 0.5, 10, 2, 0.25, 200), Stored("answered", {"é": ["\ud800"]}, "m", 0.25)
    )
    assert cache.answers(["hash of a", "other"]) == {"hash of a": Stored("answered", {"é": ["\ud800"]}, "m", 0.25)}
    assert cache.spent_usd() == pytest.approx(0.25)


def test_the_ledger_keeps_its_contract(cache: LlmCache) -> None:
    assert LLM_CALLS.check(cache.calls()).is_empty()
    for name, model in (("a", "m"), ("b", "marquee-stand-in"), ("c", "m")):
        cache.begin(call(name, model=model), None)
    cache.settle(call("a"), Ending("failed", "m", 0.5, http_status=500, error="server error"))
    cache.settle(
        call("b"), Ending("answered", "marquee-stand-in", 0.5, 10, 2, 0.0, 200), Stored("answered", {}, "m", 0.0)
    )
    rows = LLM_CALLS.check(cache.calls()).to_dicts()
    assert [(row["outcome"], row["is_stand_in"], row["error"]) for row in rows] == [
        ("failed", False, "server error"),
        ("answered", True, None),
        ("cancelled", False, NEVER_ENDED),
    ]
    assert rows[0]["started_at"] == AT


def test_calls_of_unknown_charge_stay_held_against_the_budget(cache: LlmCache) -> None:
    cache.begin(call("lost"), None)
    cache.begin(call("broke off"), None)
    cache.settle(call("broke off"), Ending("failed", "m", 0.5, is_charge_known=False))
    cache.begin(call("refused"), None)
    cache.settle(call("refused"), Ending("failed", "m", 0.5, http_status=429))
    assert cache.spent_usd() == pytest.approx(2.0)
    assert cache.calls()["cost_usd"].sum() == 0


def test_a_call_beyond_the_budget_is_not_entered(cache: LlmCache) -> None:
    assert cache.begin(call("a", 0.1), 0.3) and cache.begin(call("b", 0.2), 0.3)
    assert not cache.begin(call("c", 0.01), 0.3)
    assert cache.calls().height == 2


def test_failures_are_settled_until_they_are_forgotten(cache: LlmCache) -> None:
    for name, outcome, value in (("a", "refused", None), ("b", "answered", {})):
        cache.begin(call(name), None)
        cache.settle(
            call(name), Ending(outcome, "m", 0.1), Stored(outcome, value, "m", 0.0, None if value == {} else "no")
        )
    assert cache.answers(["hash of a"])["hash of a"].error == "no"
    assert cache.forget_failures() == 1
    assert list(cache.answers(["hash of a", "hash of b"])) == ["hash of b"]
    assert cache.calls().height == 2


def test_many_hashes_are_looked_up_at_once(cache: LlmCache) -> None:
    for number in range(3):
        cache.begin(call(str(number)), None)
        cache.settle(call(str(number)), Ending("answered", "m", 0.1), Stored("answered", number, "m", 0.0))
    found = cache.answers([f"hash of {number}" for number in range(2_000)])
    assert {key: stored.value for key, stored in found.items()} == {f"hash of {n}": n for n in range(3)}


def test_two_may_share_the_file(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    problems: list[BaseException] = []

    def work(name: str) -> None:
        try:
            with LlmCache(path) as cache:
                for number in range(40):
                    one = call(f"{name} {number}", 0.5)
                    cache.begin(one, None)
                    cache.settle(
                        one, Ending("answered", "m", 0.1, cost_usd=0.25), Stored("answered", number, "m", 0.25)
                    )
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with LlmCache(path) as cache:
        assert cache.calls().height == 120
        assert cache.spent_usd() == pytest.approx(30.0)


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be looked at" * 30, b"\x00" * 4096])
def test_a_damaged_file_is_named_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_bytes(content)
    with pytest.raises(LlmCacheError, match=r"answers\.sqlite is damaged .* nothing was deleted"):
        LlmCache(path)
    assert path.read_bytes() == content


def test_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with LlmCache(path) as cache:
        for number in range(200):
            cache.begin(call(str(number)), None)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(LlmCacheError, match=r"answers\.sqlite"), LlmCache(path) as cache:
        cache.calls()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (a)")
    other.close()
    with pytest.raises(LlmCacheError, match="no file of answers"):
        LlmCache(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "llm").write_text("in the way")
    with pytest.raises(LlmCacheError, match="llm"):
        LlmCache(tmp_path / "llm" / "answers.sqlite")
