"""Rule files: each rule fires where it should, and a wrong file is refused with the rule and the key."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.annotation.context import read_context
from pipelines.annotation.matching import match
from pipelines.annotation.rulebook import RuleError, check_patterns, parse_rulebook, rulebook
from pipelines.annotation.strategy import inspired_strategies
from warehouse.tables.annotation import OPERATIONS, STRATEGIES

EXAMPLES: dict[str, dict[str, Any]] = tomllib.loads((Path(__file__).parent / "rule_examples.toml").read_text("utf-8"))
LEAST = """
[decision]
confidence_min = 0.5
words_left_max = 0
[words]
always = ""
recommender = ""
beside_rules = ""
"""
RULE = """
[[rule]]
name = "greets"
label = "select_best"
role = "any"
patterns = ["hi"]
confidence = 0.9
why = "A greeting."
"""


@pytest.mark.parametrize(("book", "name"), [(book, name) for book, rules in EXAMPLES.items() for name in rules])
def test_a_rule_fires_on_its_example(talk: Callable[..., Any], book: str, name: str) -> None:
    example = EXAMPLES[book][name]
    context = read_context(*talk(*example["before"], example["turn"]))
    fired = match(rulebook(book), context).fired
    assert name in fired.filter(fired["row"] == len(example["before"]))["rule"].to_list()


@pytest.mark.parametrize(("book", "labels"), [("vto", OPERATIONS), ("strategy", STRATEGIES)])
def test_every_rule_has_an_example_and_a_known_label(book: str, labels: tuple[str, ...]) -> None:
    rules = rulebook(book).rules
    assert {rule.name for rule in rules} == set(EXAMPLES[book])
    assert {rule.label for rule in rules} == set(labels)


def test_every_label_of_inspired_is_mapped() -> None:
    assert len(inspired_strategies()) == 14
    assert set(inspired_strategies().values()) == set(STRATEGIES)
    assert inspired_strategies()["preference_confirmation"] == "transparency"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("patterns", "paterns"), "unknown keys: paterns"),
        (('role = "any"', 'role = "critic"'), "role is any, seeker, recommender"),
        (('["hi"]', '["(hi"]'), "unterminated subpattern"),
        (('["hi"]', '["{nothing}"]'), "unknown macro {nothing}"),
        (("confidence = 0.9", "confidence = 1.9"), "confidence is above 0 and at most 1"),
        (('["hi"]', '["hi"]\nneeds = ["has_met"]'), "unknown flags: has_met"),
        (('["hi"]', '["hi"]\nat_least = { films = 1 }'), "at_least knows titles"),
        (('why = "A greeting."', ""), "states no why"),
        (('patterns = ["hi"]', ""), "neither patterns nor a condition"),
    ],
)
def test_a_wrong_rule_is_refused_by_name_and_key(change: tuple[str, str], says: str) -> None:
    assert change[0] in RULE
    with pytest.raises(RuleError, match="rule 'greets'") as refused:
        check_patterns(parse_rulebook(LEAST + RULE.replace(*change), "own"))
    assert says in str(refused.value)


@pytest.mark.parametrize("content", ["[decision", LEAST + RULE + RULE, RULE, LEAST + "[what]\n"])
def test_a_wrong_file_is_refused(content: str) -> None:
    with pytest.raises(RuleError, match=r"^own: "):
        parse_rulebook(content, "own")


def test_a_rule_has_a_new_version_when_and_only_when_it_states_something_else() -> None:
    before = parse_rulebook(LEAST + RULE, "own")
    same = parse_rulebook(LEAST + RULE.replace("A greeting.", "People greet."), "own")
    other = parse_rulebook(LEAST + RULE.replace('["hi"]', '["hi", "hello"]'), "own")
    assert before.versions == same.versions
    assert before.versions != other.versions
    assert before.version == other.version
    assert before.digest != other.digest
    looser = parse_rulebook(LEAST.replace("0.5", "0.4") + RULE, "own")
    assert looser.version != before.version
