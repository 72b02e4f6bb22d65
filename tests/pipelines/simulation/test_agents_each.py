"""What sets each agent apart: its steps, its calls a turn, what it tells the model and what it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from pipelines.gateways.llm.conversations import Conversation, Unanswered
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.simulation.agents import actcrs, chatrec, macrs, react
from pipelines.simulation.agents.context import MOST_TURNS
from pipelines.simulation.agents.tools import QUERY_CHARACTERS, TOP
from pipelines.simulation.parts import AgentReply, Item, Said, Search, Unusable
from tests.simulated import OTHER, TARGET, played

SAID = (
    Said("user", "Hi, I want a book with a sea voyage."),
    Said("assistant", "Which mood do you like?"),
    Said("user", "Dry humour, and maps."),
)
FOUND = {"Salt Road": [TARGET], "bread": [OTHER], "both": [TARGET, OTHER]}
PROPOSAL = f'You might like "{TARGET.title}".'


def find(search: Search) -> list[Item]:
    return FOUND.get(search.query, [])


def script(*answers: Mapping[str, Any] | Unanswered) -> Callable[[LlmRequest], object]:
    """The answers one after the other, whatever is asked."""
    rest: Iterator[Mapping[str, Any] | Unanswered] = iter(answers)
    return lambda request: next(rest)


def turn(
    conversation: Conversation[AgentReply], *answers: Mapping[str, Any] | Unanswered
) -> tuple[AgentReply, list[LlmRequest]]:
    return played(conversation, script(*answers), find)


def thought(action: str, text: str, because: str = "hm") -> dict[str, str]:
    return {"thought": because, "action": action, "text": text}


def strategy(action: str, text: str, plan: str = "plan") -> dict[str, str]:
    return {"strategy": plan, "action": action, "text": text}


# ChatRec


def test_chatrec_searches_with_the_dialogue_and_asks_once() -> None:
    searches: list[Search] = []

    def look(search: Search) -> list[Item]:
        searches.append(search)
        return [TARGET, OTHER]

    answer = {"reasoning": "They want the sea.", "action": "recommend", "text": PROPOSAL}
    reply, requests = played(chatrec.reply("book", SAID, {}), script(answer), look)

    query = "Dry humour, and maps. Which mood do you like? Hi, I want a book with a sea voyage."
    assert searches == [Search("book", query, TOP)]
    assert reply.queries == (query,) and reply.retrieved == (TARGET, OTHER)
    assert (reply.action, reply.text, reply.reasoning) == ("recommend", PROPOSAL, "They want the sea.")
    (request,) = requests
    assert request.key == "reply/0" and request.prompt.name == "agent_chatrec"
    assert request.data["conversation"][-1] == {"role": "user", "text": "Dry humour, and maps."}
    assert [each["title"] for each in request.data["candidates"]] == [TARGET.title, OTHER.title]
    assert request.data["candidates"][1]["about"].startswith("Categories: Cooking")


def test_chatrec_takes_the_latest_of_a_long_dialogue() -> None:
    said = [Said("user", f"number {n} {'word ' * 30}") for n in range(40)]
    query = chatrec.dialogue(said)
    assert len(query) <= QUERY_CHARACTERS and query.startswith("number 39 word")


def test_chatrec_may_propose_what_an_earlier_turn_found() -> None:
    ask = {"reasoning": "", "action": "ask", "text": "Which mood?"}
    first, _ = played(chatrec.reply("book", SAID[:1], {}), script(ask), lambda search: [TARGET])
    answer = {"reasoning": "", "action": "recommend", "text": PROPOSAL}
    second, requests = played(chatrec.reply("book", SAID, first.memory), script(answer), lambda search: [OTHER])
    assert second.action == "recommend" and second.retrieved == (OTHER,)
    assert [each["title"] for each in requests[0].data["earlier"]] == [TARGET.title]
    assert [each["item_id"] for each in second.memory["known"]] == [OTHER.item_id, TARGET.item_id]


def test_chatrec_without_a_word_said_has_nothing_to_search_for() -> None:
    ask = {"reasoning": "", "action": "ask", "text": "How can I help?"}
    reply, _ = turn(chatrec.reply("book", [Said("user", " ")], {}), ask)
    assert reply.queries == () and reply.retrieved == ()


# ReAct and ActCRS


def test_react_thinks_acts_and_observes() -> None:
    reply, requests = turn(
        react.reply("book", SAID, {}),
        thought("search", "bread", "first\nbread"),
        thought("search", "Salt Road", "then roads"),
        thought("recommend", PROPOSAL, "that is it"),
    )
    assert reply.queries == ("bread", "Salt Road") and reply.retrieved == (OTHER, TARGET)
    assert reply.reasoning == "first bread\nthen roads\nthat is it"
    assert [request.key for request in requests] == ["step0/0", "step1/0", "step2/0"]
    assert [request.data["searches_left"] for request in requests] == [4, 3, 2]
    assert requests[0].data["scratchpad"] == []
    pad = requests[2].data["scratchpad"]
    assert [(each["thought"], each["action"]) for each in pad] == [
        ("first\nbread", "Search[bread]"),
        ("then roads", "Search[Salt Road]"),
    ]
    assert [item["title"] for item in pad[1]["observation"]] == [TARGET.title]


def test_actcrs_gives_strategy_and_response_together() -> None:
    reply, requests = turn(
        actcrs.reply("book", SAID, {}),
        strategy("search", "both", "look first"),
        strategy("recommend", PROPOSAL, "propose the voyage"),
    )
    assert reply.reasoning == "look first\npropose the voyage" and reply.retrieved == (TARGET, OTHER)
    (search,) = requests[1].data["searches"]
    assert search["query"] == "both" and [item["title"] for item in search["found"]] == [TARGET.title, OTHER.title]
    assert "scratchpad" not in requests[1].data


@pytest.mark.parametrize(("agent", "step"), [(react, thought), (actcrs, strategy)])
def test_an_agent_may_speak_without_searching(agent: Any, step: Any) -> None:
    reply, requests = turn(agent.reply("book", SAID, {}), step("ask", "Old maps or new ones?"))
    assert (reply.action, reply.queries, len(requests)) == ("ask", (), 1)


@pytest.mark.parametrize(("agent", "step"), [(react, thought), (actcrs, strategy)])
def test_after_the_fourth_search_it_must_speak(agent: Any, step: Any) -> None:
    searches = [step("search", query) for query in ("a", "b", "c", "d")]
    reply, requests = turn(agent.reply("book", SAID, {}), *searches, step("search", "e"), step("respond", "Nothing."))
    assert reply.queries == ("a", "b", "c", "d") and reply.action == "respond"
    assert [request.key for request in requests[-2:]] == ["step4/0", "step4/1"]
    assert requests[-1].data["searches_left"] == 0 and requests[-1].seed == 1
    assert "one of: ask, recommend, respond" in requests[-1].data["objection"]
    with pytest.raises(Unusable, match="step4"):
        turn(agent.reply("book", SAID, {}), *searches, *[step("search", query) for query in ("e", "f", "g")])


@pytest.mark.parametrize(("agent", "step"), [(react, thought), (actcrs, strategy)])
def test_the_same_search_again_counts_and_is_answered_from_what_is_known(agent: Any, step: Any) -> None:
    searches: list[Search] = []

    def look(search: Search) -> list[Item]:
        searches.append(search)
        return [TARGET]

    answers = [step("search", "maps"), step("search", " MAPS\n"), step("recommend", PROPOSAL)]
    reply, requests = played(agent.reply("book", SAID, {}), script(*answers), look)
    assert [search.query for search in searches] == ["maps"]
    assert reply.queries == ("maps", "MAPS") and reply.retrieved == (TARGET,)
    assert requests[-1].data["searches_left"] == 2


@pytest.mark.parametrize(("agent", "step"), [(react, thought), (actcrs, strategy)])
def test_a_step_that_cannot_be_used_is_asked_for_again(agent: Any, step: Any) -> None:
    reply, requests = turn(
        agent.reply("book", SAID, {}),
        step("search", " "),
        step("search", "both"),
        Unanswered("refused"),
        step("recommend", f"You might like {TARGET.title}."),
        step("recommend", PROPOSAL),
    )
    assert reply.text == PROPOSAL
    assert [(each.key, each.seed) for each in requests] == [
        ("step0/0", None), ("step0/1", 1), ("step1/0", None), ("step1/1", 1), ("step1/2", 2),
    ]  # fmt: skip
    objections = [each.data["objection"] for each in requests]
    assert objections[0] is None and "empty" in objections[1] and "schema" in objections[3]
    assert "double quotes" in objections[4] and TARGET.title not in objections[4]


# MACRS

SILENT = {"ask": "", "recommend": "", "respond": "", "plan": ""}
DRAFTS = ({"text": "Old or new maps?"}, {"text": PROPOSAL}, {"text": "Maps are fun."})


def reflection(demand: str = "both", is_refused: bool = False, **suggestions: str) -> dict[str, Any]:
    return {
        "reasoning": "They love maps.",
        "profile": {"demand": demand, "likes": ["maps", " "], "dislikes": []},
        "is_refused": is_refused,
        "suggestions": {**SILENT, **suggestions},
    }


def plan(action: str) -> dict[str, str]:
    return {"reasoning": "Enough is known.", "action": action}


def test_macrs_reflects_drafts_in_one_batch_and_plans() -> None:
    conversation = macrs.reply("book", SAID, {})
    reply, requests = turn(conversation, reflection(), *DRAFTS, plan("recommend"))
    assert [request.key for request in requests] == [
        "reflect/0", "draft_ask/0", "draft_recommend/0", "draft_respond/0", "plan/0",
    ]  # fmt: skip
    assert [request.prompt.name.removeprefix("agent_macrs_") for request in requests] == [
        "reflect", "ask", "recommend", "chat", "plan",
    ]  # fmt: skip
    assert (reply.text, reply.action, reply.queries) == (PROPOSAL, "recommend", ("both",))
    assert reply.reasoning == "They love maps.\nEnough is known." and reply.retrieved == (TARGET, OTHER)
    assert requests[-1].data["drafts"] == {"ask": "Old or new maps?", "recommend": PROPOSAL, "respond": "Maps are fun."}
    assert "candidates" in requests[2].data and "candidates" not in requests[1].data
    assert reply.memory["profile"] == {"demand": "both", "likes": ["maps"], "dislikes": []}
    assert reply.memory["acts"] == ["recommend"]


def test_the_three_drafts_are_one_batch() -> None:
    """The gateway can answer them at once."""
    conversation = macrs.reply("book", SAID, {})
    sizes: list[int] = []
    sent: Any = None
    answers = script(reflection(), *DRAFTS, plan("ask"))
    with pytest.raises(StopIteration):
        while True:
            wish: Any = conversation.send(sent)
            if isinstance(wish, list):
                sizes.append(len(wish))
                sent = [played_answer(answers(request)) for request in wish]
            else:
                sent = [TARGET]
    assert sizes == [1, 3, 1]


def played_answer(value: object) -> Any:
    from tests.simulated import answered

    return answered(value)


def test_macrs_keeps_its_strategies_until_a_recommendation_fails() -> None:
    advised = reflection(is_refused=False, plan="Ask more.")
    first, _ = turn(macrs.reply("book", SAID, {}), advised, *DRAFTS, plan("recommend"))
    assert first.memory["suggestions"] == SILENT, "nothing failed, so nothing changes"

    refused = reflection(is_refused=True, plan="Ask more.", recommend="Something shorter.")
    second, requests = turn(macrs.reply("book", SAID, first.memory), refused, *DRAFTS, plan("ask"))
    assert second.memory["suggestions"] == {**SILENT, "plan": "Ask more.", "recommend": "Something shorter."}
    assert requests[0].data["profile"] == first.memory["profile"] and requests[0].data["acts"] == ["recommend"]
    assert requests[2].data["suggestion"] == "Something shorter." and requests[-1].data["suggestion"] == "Ask more."
    assert second.memory["acts"] == ["recommend", "ask"]

    again = reflection(is_refused=True, plan="Chat.")
    third, _ = turn(macrs.reply("book", SAID, second.memory), again, *DRAFTS, plan("respond"))
    assert third.memory["suggestions"] == {**SILENT, "plan": "Chat.", "recommend": "Something shorter."}


def test_macrs_asks_nobody_to_recommend_out_of_nothing() -> None:
    drafts = [DRAFTS[0], DRAFTS[2]]
    reply, requests = turn(macrs.reply("book", SAID, {}), reflection("nothing like it"), *drafts, plan("ask"))
    assert reply.action == "ask" and "draft_recommend/0" not in {request.key for request in requests}


def test_macrs_asks_again_only_for_the_draft_that_cannot_be_used() -> None:
    reply, requests = turn(
        macrs.reply("book", SAID, {}),
        reflection(),
        DRAFTS[0], {"text": "Try the new one."}, DRAFTS[2],
        {"text": PROPOSAL},
        plan("recommend"),
    )  # fmt: skip
    assert reply.text == PROPOSAL
    assert [request.key for request in requests[4:]] == ["draft_recommend/1", "plan/0"]


def test_macrs_goes_on_with_the_drafts_that_there_are() -> None:
    vague = {"text": "Try the new one."}
    reply, requests = turn(
        macrs.reply("book", SAID, {}),
        reflection(),
        DRAFTS[0], vague, DRAFTS[2],
        vague,
        vague,
        plan("recommend"),
        plan("ask"),
    )  # fmt: skip
    assert reply.action == "ask" and set(requests[-1].data["drafts"]) == {"ask", "respond"}
    assert "there is a draft" in requests[-1].data["objection"]


def test_macrs_without_a_usable_draft_gives_up() -> None:
    nothing = {"text": " "}
    with pytest.raises(Unusable, match=r"draft_ask.*draft_recommend.*draft_respond"):
        turn(macrs.reply("book", SAID, {}), reflection(), *[nothing] * 9)


def test_macrs_needs_something_to_look_for() -> None:
    reply, requests = turn(macrs.reply("book", SAID, {}), reflection(" - "), reflection(), *DRAFTS, plan("ask"))
    assert reply.queries == ("both",) and requests[1].key == "reflect/1"
    with pytest.raises(Unusable, match="reflect"):
        turn(macrs.reply("book", SAID, {}), *[reflection("")] * 3)


def test_macrs_bounds_what_it_keeps() -> None:
    wordy = reflection("d" * 5_000, is_refused=True, plan="p" * 5_000)
    wordy["profile"]["likes"] = [f"{n} {'l' * 5_000}" for n in range(50)]
    memory = {"acts": ["ask"] * 50}
    drafts = [DRAFTS[0], DRAFTS[2]]
    reply, _ = turn(macrs.reply("book", SAID, memory), wordy, *drafts, plan("ask"))
    assert len(reply.memory["profile"]["likes"]) == macrs.MOST_TASTES
    assert all(len(each) <= macrs.TASTE_CHARACTERS for each in reply.memory["profile"]["likes"])
    assert len(reply.memory["profile"]["demand"]) <= QUERY_CHARACTERS
    assert len(reply.memory["suggestions"]["plan"]) <= macrs.SUGGESTION_CHARACTERS
    assert len(reply.memory["acts"]) == MOST_TURNS
