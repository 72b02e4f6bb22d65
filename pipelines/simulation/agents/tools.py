"""What an agent can do in a turn besides speaking: search, and remember what it found.

Does not belong here: deciding what to look for, and the index (an Errand carries the search out).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.gateways.llm.conversations import Conversation, Errand
from pipelines.simulation.agents.context import one_line
from pipelines.simulation.parts import Action, AgentReply, Item, Search

# ECPO's released code: at most 4 searches a turn; paper, B.3: the 5 nearest items of each.
MOST_SEARCHES = 4
TOP = 5

# About what sentence encoders read of a text.
QUERY_CHARACTERS = 1_000
REASONING_CHARACTERS = 1_000
# What is remembered from turn to turn: all that one turn can find, and no more of each item than helps to recommend it later.
MOST_KNOWN = MOST_SEARCHES * TOP
KNOWN_CHARACTERS = 300


class Tools:
    """The tools of one turn. `known`: items of earlier turns, the latest first, as `memory` keeps them."""

    def __init__(self, domain: str, memory: Mapping[str, Any]) -> None:
        self.domain = domain
        self.known = tuple(Item(each["item_id"], each["title"], each["text"]) for each in memory.get("known", ()))
        self.queries: list[str] = []
        self._results: dict[str, list[Item]] = {}

    @property
    def searches_left(self) -> int:
        """How many searches the turn still has."""
        return MOST_SEARCHES - len(self.queries)

    @property
    def found(self) -> tuple[Item, ...]:
        """Items that this turn's searches found, in order, each once."""
        found: dict[str, Item] = {}
        for items in self._results.values():
            for item in items:
                found.setdefault(item.item_id, item)
        return tuple(found.values())

    @property
    def candidates(self) -> tuple[Item, ...]:
        """Items that may be recommended: found in this turn, then those known from earlier ones."""
        found = self.found
        ids = {item.item_id for item in found}
        return (*found, *(item for item in self.known if item.item_id not in ids))

    def search(self, query: str) -> Conversation[list[Item]]:
        """Search the index. A query that was made in this turn already counts again, but is answered from what it gave.

        Raises ValueError for a search too many or an empty query: whoever calls has to look first.
        """
        query = one_line(query, QUERY_CHARACTERS)
        if not query or not self.searches_left:
            raise ValueError("the query is empty" if not query else f"more than {MOST_SEARCHES} searches in a turn")
        self.queries.append(query)
        same = query.casefold()
        if same not in self._results:
            items: list[Item] = yield Errand(Search(self.domain, query, TOP))
            self._results[same] = list(items[:TOP])
        return self._results[same]

    def reply(self, action: Action, text: str, thoughts: list[str], **memory: Any) -> AgentReply:
        """The turn's reply. `thoughts`: a line of reasoning each; `memory`: what the agent keeps besides the items."""
        return AgentReply(
            text=text,
            action=action,
            reasoning="\n".join(one_line(thought, REASONING_CHARACTERS) for thought in thoughts),
            queries=tuple(self.queries),
            retrieved=self.found,
            memory={"known": [_remembered(item) for item in self.candidates[:MOST_KNOWN]], **memory},
        )


def _remembered(item: Item) -> dict[str, str]:
    return {"item_id": item.item_id, "title": item.title, "text": item.text[:KNOWN_CHARACTERS]}
