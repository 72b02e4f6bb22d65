"""What the stand-in answers to the agents' prompts: plausible, imperfect, and always within the schema."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import pipelines.prompts
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.gateways.stand_in.agents import ANSWERERS
from pipelines.simulation.agents import AGENTS
from pipelines.simulation.brief import prompt
from pipelines.simulation.parts import AgentReply, Item, Said, Search, Unusable
from tests.simulated import by_stand_in, played

GENRES = ("adventure", "comedy", "drama", "mystery", "fantasy", "horror", "western", "musical")
PLACES = ("harbour", "desert", "school", "castle", "station", "island", "village", "orchard")
CATALOGUE = [
    Item(
        f"{genre}-{place}",
        f"The {genre.title()} of the {place.title()}",
        f"Title: x\nGenres: {genre}\nPlot: In a {place}.",
    )
    for genre in GENRES
    for place in PLACES
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("domain", "conversation", "candidates", "earlier", "scratchpad", "searches", "searches_left", "profile", "suggestions", "acts", "drafts", "objection")  # fmt: skip


def find(search: Search) -> list[Item]:
    words = set(search.query.lower().replace(".", " ").split())
    return sorted(CATALOGUE, key=lambda item: -len(words & set(item.item_id.split("-"))))[: search.k]


def test_every_prompt_of_agents_is_answered() -> None:
    folder = Path(pipelines.prompts.__path__[0])
    assert set(ANSWERERS) == {path.stem for path in folder.glob("agent_*.toml")}


@pytest.mark.parametrize("name", ANSWERERS)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON)))
def test_answers_fit_whatever_the_data_are(name: str, data: dict[str, Any]) -> None:
    assert Draft202012Validator(prompt(name).schema).is_valid(ANSWERERS[name](data, 0.0))


def conversations(name: str, number: int = 60) -> list[tuple[list[AgentReply], list[LlmRequest]]]:
    """Conversations of three turns with users who say what they want bit by bit."""
    made = []
    for at in range(number):
        genre, place = GENRES[at % 8], PLACES[at // 8 % 8]
        said, replies, requests = (
            [Said("user", f"Hello, case {at}: I am in the mood for something of the kind {genre}.")],
            [],
            [],
        )
        memory: Any = {}
        for hint in (f"It should be about a {place}.", "No, I have seen that one. Something else please.", "Thanks"):
            try:
                reply, asked = played(AGENTS[name]("film", said, memory), by_stand_in, find)
            except Unusable:
                break
            replies.append(reply)
            requests.extend(
                LlmRequest(f"{len(replies)}/{each.key}", each.prompt, each.data, seed=each.seed) for each in asked
            )
            memory = reply.memory
            said += [Said("assistant", reply.text), Said("user", hint)]
        made.append((replies, requests))
    return made


@pytest.mark.parametrize("name", AGENTS)
def test_conversations_are_plausible_and_imperfect(name: str) -> None:
    made = conversations(name)
    replies = [reply for each, _ in made for reply in each]
    assert len(replies) == 3 * 60, "no turn is lost to an answer that stays unusable"
    first = Counter(each[0].action for each, _ in made)
    later = Counter(reply.action for each, _ in made for reply in each[1:])
    assert first["ask"] >= 15 and first["recommend"] >= 5, first
    assert later["recommend"] > later["ask"] > 0 and later["respond"] > 0, later

    requests = [request for _, asked in made for request in asked]
    retries = sum(request.seed is not None for request in requests)
    assert 0 < retries < 0.1 * len(requests), "retries happen, rarely"

    # Half of what was asked for is named in the user's words: the right item comes up often.
    targets = [f"The {GENRES[at % 8].title()} of the {PLACES[at // 8 % 8].title()}" for at in range(60)]
    hits = sum(
        any(f'"{target}"' in reply.text for reply in each) for target, (each, _) in zip(targets, made, strict=True)
    )
    assert hits >= 15, hits


@pytest.mark.parametrize("name", ["react", "actcrs"])
def test_some_turns_search_several_times_and_some_repeat_a_search(name: str) -> None:
    replies = [reply for each, _ in conversations(name) for reply in each]
    searches = Counter(len(reply.queries) for reply in replies)
    assert searches[0] and searches[1] and searches[2] and searches[3], searches
    assert any(len(set(reply.queries)) < len(reply.queries) for reply in replies)


def test_what_was_turned_down_is_rarely_proposed_again() -> None:
    again = total = 0
    for name in AGENTS:
        for replies, _ in conversations(name):
            named = [{item.title for item in CATALOGUE if f'"{item.title}"' in reply.text} for reply in replies]
            total += bool(named[1] and named[2])
            again += bool(named[1] & named[2])
    assert 0 < again < total / 3, (again, total)
