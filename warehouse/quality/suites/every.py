"""All suites, by table."""

from __future__ import annotations

from warehouse.quality.suite import Suite
from warehouse.quality.suites import annotation, corpus, dialogues, llm, mentions, preferences

SUITES: dict[str, Suite] = {
    suite.table.name: suite
    for area in (corpus, dialogues, mentions, llm, annotation, preferences)
    for suite in area.SUITES
}
