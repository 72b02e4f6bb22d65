"""Recorded simulations: what their files mean, and rubbish named by file, line and key."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evaluation.recorded_files import RecordingError, text_of
from pipelines.evaluation.simulation.grading import Graded, grade
from pipelines.evaluation.simulation.replay import (
    LARGEST_BYTES,
    Recording,
    read_exports,
    read_log,
    read_recordings,
    read_tasks,
)
from pipelines.simulation.naming import holds_title

TASKS = "\n".join(
    json.dumps({"UserID": f"u{n // 2}", "Items": [{"ItemID": f"i{n}", "ItemName": name}]})
    for n, name in enumerate(["Salt Road", "Glass Harbour", "Nine Winters"])
)


def block(user: int, *texts: str, rewards: str = "[0, 5]", flag: str = "True", extra: str = "", item: int = 0) -> str:
    said = "\n".join(f"{'assistant' if at % 2 else 'user'}: {text}" for at, text in enumerate(texts))
    return (
        f"User {user}  Item {item}:\n{said}\nrec_rewards: {rewards}\navg_rec_reward: 5.0\n{extra}"
        f"Correct recommendation: {flag}\nTotal rounds: 3\n\n{'=' * 20}\n\n\n"
    )


def log(*blocks: str, end: str = "") -> Recording:
    return read_log("a.log", "".join(blocks) + end, read_tasks("tasks", TASKS))


def graded(*blocks: str, end: str = "") -> Graded:
    return grade(log(*blocks, end=end), holds_title)


def figures(of: Graded) -> dict[str, tuple[float | None, int, int]]:
    return {each.measure: (each.estimate.value, each.estimate.n, each.invalid) for each in of.figures}


def test_a_log_is_scored_by_hand() -> None:
    got = graded(
        block(0, "Hi.", "Which?", "This.", "Try “SALT  ROAD”, a calm one.", "Thanks."),
        block(1, "Hi.", "Try Glass.", "No.", "Then\n\nGlass\nHarbour.", "Yes.", extra="action_rewards: [4, 2]\n"),
        block(2, "Hi.", "Which?", "This.", "Forty-Nine Wintersport.", "No.", rewards="[3, 1]", flag="False"),
        end="Average round num across users: 3.00\nTotal correct recommendations: 2/3\n",
    )
    found = figures(got)
    assert (got.successes, got.stated_successes, got.targets, got.users, got.disagreements) == (2, 2, 3, 2, ())
    assert found["success"] == (pytest.approx(2 / 3), 3, 0)
    assert found["turns_to_success"] == (2, 2, 1)
    assert found["agreement"] == (1, 3, 0)
    # Zeros of rec_rewards are turns without a recommendation: 5, 5, 3, 1 are left.
    assert found["rec_reward"] == (3.5, 4, 2)
    assert found["rec_reward_by_conversation"] == (pytest.approx((5 + 5 + 2) / 3), 3, 0)
    assert found["action_reward"] == (3, 2, 0)
    assert found["action_reward_by_conversation"] == (3, 1, 2)


def test_disagreements_are_listed() -> None:
    got = graded(
        block(0, "Hi.", "Which?", "No.", "None.", flag="True"),
        block(1, "Hi.", "Glass Harbour!", flag="False", rewards="[5]"),
    )
    listed = [(each.conversation, each.where, each.title, each.stated, each.scored) for each in got.disagreements]
    assert listed == [
        ("User 0 Item 0", "line 1", "Salt Road", True, False),
        ("User 1 Item 0", "line 14", "Glass Harbour", False, True),
    ]
    assert figures(got)["agreement"] == (0, 2, 0)


def test_only_the_agent_can_name_the_target() -> None:
    assert graded(block(0, "Salt Road!", "Which?", "Salt Road.", "None.", flag="False")).successes == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no conversation"),
        ("hello\n" + block(0, "Hi.", "What?"), "line 1: 'hello' stands before the first"),
        ("User 0  Item 0:\nuser: Hi.\nassistant: No.\nCorrect recommendation: True\n", "line 1: User 0 Item 0: key 'rec_rewards' is missing"),
        (block(0, "Hi.", "What?", rewards="[1]", flag="Maybe"), "line 6: key 'Correct recommendation' must be"),
        (block(0, "Hi.", "What?", rewards="[1]").replace("Correct recommendation: True\nTotal rounds: 3\n", ""), "key 'Correct recommendation' is missing"),
        (block(0, "Hi.", "What?", rewards="[1, 2]"), "key 'rec_rewards': 2 rewards for 1 replies"),
        (block(0, "Hi.", "What?", rewards="[1"), "line 4: key 'rec_rewards' is not readable"),
        (block(0, "Hi.", "What?", rewards="[NaN]"), "line 4: key 'rec_rewards' must be a list of numbers"),
        (block(0, "Hi.", "What?", rewards=f"[{'9' * 400}]"), "line 4: key 'rec_rewards' must be a list of numbers"),
        (block(0, "Hi.", "What?", rewards=f"[{'9' * 5000}]"), "line 4: key 'rec_rewards' is not readable"),
        (block(0, "Hi.", "What?", rewards="[1e999, -1]"), "line 4: key 'rec_rewards' must be a list of numbers"),
        (block(0, "Hi.", "What?", rewards="[6]"), "line 4: key 'rec_rewards' must be a list of numbers"),
        (block(0, "Hi.", "What?", rewards='["5"]'), "line 4: key 'rec_rewards' must be"),
        (block(0, "Hi.", "What?", rewards="[true]"), "line 4: key 'rec_rewards' must be"),
        (block(0, "Hi.", "What?", rewards="[1]\nrec_rewards: [1]"), "line 5: key 'rec_rewards' stands twice"),
        (block(0, "Hi.", "What?", rewards="[1]", extra="surprise\n"), "line 6: 'surprise' is not expected"),
        (block(0, rewards="[]").replace("user: \n", ""), "there are no turns"),
        ("User 0  Item 0:\nassistant: Hi.\n", "line 2: 'user' should speak here, not 'assistant'"),
        ("User 0  Item 0:\nuser: Hi.\nuser: Hi.\n", "line 3: 'assistant' should speak here"),
        ("User 0  Item 0:\nstray\nuser: Hi.\n", "line 2: 'stray' is neither a turn"),
        (block(3, "Hi.", "What?", rewards="[1]"), "line 1: User 3 has no task: the task file has rows 0 to 2"),
        (block(0, "Hi.", "What?", rewards="[1]", item=1), "line 1: Item 1: row 0 of the task file has no such item"),
        (block(0, "Hi.", "What?", rewards="[1]") * 2, "line 12: User 0 Item 0 stands there twice, first at line 1"),
        (block(0, "Hi.", "What?", rewards="[1]").split("rec_rewards")[0] + block(1, "Hi.", "W", rewards="[1]"), "key 'rec_rewards' is missing"),
        ("User 99999999999  Item 0:\nuser: Hi.\n", "stands before the first"),
    ],
)  # fmt: skip
def test_rubbish_is_named(text: str, message: str) -> None:
    with pytest.raises(RecordingError) as caught:
        read_log("a.log", text, read_tasks("tasks", TASKS))
    assert str(caught.value).startswith("a.log") and message in str(caught.value)


@given(st.text(alphabet=st.sampled_from("usera:itn0 []12\nrec_wdCoTF=,"), max_size=300))
def test_whatever_a_log_holds_it_is_read_or_refused_in_words(text: str) -> None:
    try:
        read_log("a.log", block(0, "Hi.", "What?", rewards="[1]") + text, read_tasks("tasks", TASKS))
    except RecordingError as error:
        assert str(error).startswith("a.log")


def test_files_may_be_packed_and_packed_rubbish_is_named() -> None:
    content = block(0, "Hi.", "Salt Road", rewards="[5]").encode()
    packed = gzip.compress(content)
    assert text_of("a", packed, LARGEST_BYTES) == content.decode()
    read = read_recordings({"x/a.log.gz": packed}, ("tasks.jsonl.gz", gzip.compress(TASKS.encode())))
    assert [(each.name, len(each.conversations)) for each in read] == [("a", 1)]
    for wrong, message in (
        (packed[:-20], "cut short"),
        (packed[:30] + b"\x00" * 40, r"cut short|cannot be unpacked"),
        (packed + b"junk", "not packed"),
        (b"\xff\xfeabc", "line 1: not UTF-8"),
    ):
        with pytest.raises(RecordingError, match=message):
            text_of("a", wrong, LARGEST_BYTES)
    with pytest.raises(RecordingError, match="--tasks"):
        read_recordings({"a.log": content})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no task"),
        ("{", "line 1: not readable as JSON"),
        ("[]", "line 1: must be a JSON object"),
        ('{"UserID": "u", "Items": []}', "key 'Items' must be a list"),
        ('{"Items": [{"ItemName": "x"}]}', "key 'UserID' is missing"),
        ('{"UserID": "u", "Items": [{"ItemID": "x", "ItemName": " "}]}', "key 'ItemName' is missing"),
        ('{"UserID": "u", "Items": [{"ItemID": 7, "ItemName": "x"}]}', "key 'ItemID' is missing or no text"),
        ("[" * 100_000, "line 1: not readable as JSON"),
    ],
)
def test_task_files_are_checked(text: str, message: str) -> None:
    with pytest.raises(RecordingError, match="tasks") as caught:
        read_tasks("tasks", text)
    assert message in str(caught.value)


def test_items_without_an_id_are_known_by_name() -> None:
    assert read_tasks("t", '{"UserID": "u", "Items": [{"ItemName": "Cafe Ada"}]}')[0][0].item == "Cafe Ada"


EPISODE = {
    "episode_id": "e1", "domain": "book", "agent": "react", "simulator": "ailo", "user_id": "u1", "target_item": "i1", "target_title": "Salt Road",
    "outcome": "completed", "is_success": True, "agent_turns": 1,
}  # fmt: skip
TURN = {"episode_id": "e1", "turn": 1, "role": "assistant", "text": "Salt Road?", "flexibility": 2, "satisfaction": 4.5}


def lines(*rows: dict[str, Any]) -> str:
    return "\n".join(map(json.dumps, rows))


def exported(episodes: list[dict[str, Any]], turns: list[dict[str, Any]]) -> list[Graded]:
    read = read_exports([("episodes", lines(*episodes)), ("turns", lines(*turns))])
    return [grade(each, holds_title) for each in read]


def test_our_own_exports_are_graded_by_agent() -> None:
    leaked = {**EPISODE, "episode_id": "e2", "outcome": "leaked", "agent_turns": 0, "is_success": False}
    failed = {**EPISODE, "episode_id": "e3", "outcome": "failed"}
    other = {**EPISODE, "episode_id": "e4", "agent": "actcrs", "is_success": False}
    got = exported(
        [EPISODE, leaked, failed, other],
        [TURN, {**TURN, "episode_id": "e3"}, {**TURN, "episode_id": "e4"}, {**TURN, "turn": 0, "role": "user"}],
    )
    assert [each.name for each in got] == ["book actcrs ailo", "book react ailo"]
    assert [(each.conversation, each.stated, each.scored) for each in got[0].disagreements] == [("e4", False, True)]
    found = figures(got[1])
    # Of three, one leaked and counts nowhere, one failed and is no success.
    assert found["success"] == (0.5, 2, 1)
    assert found["agreement"] == (1, 1, 1)
    assert found["satisfaction"] == (4.5, 2, 0)
    assert found["coherence"] == (None, 0, 2)


@pytest.mark.parametrize(
    ("episodes", "turns", "message"),
    [
        ([EPISODE, EPISODE], [TURN], "episodes: line 2: episode 'e1' stands there twice"),
        ([EPISODE], [TURN, TURN], "turns: line 2: turn 1 of episode 'e1' stands there twice"),
        ([EPISODE], [TURN, {**TURN, "episode_id": "e9"}], "turns: line 2: episode 'e9' is in no export"),
        ([EPISODE], [], "key 'agent_turns' says 1, and there are 0 replies"),
        ([{**EPISODE, "is_success": "yes"}], [TURN], "key 'is_success' must be true or false"),
        ([{**EPISODE, "target_title": ""}], [TURN], "key 'target_title' is missing"),
        ([EPISODE], [{**TURN, "flexibility": 3}], "key 'flexibility' must be a number from 0 to 2"),
        ([EPISODE], [{**TURN, "turn": "1"}], "key 'turn' must be a whole number"),
        ([EPISODE], [{"episode_id": "e1"}], "neither an episode"),
        ([{"domain": "book"}], [], "key 'episode_id' is missing"),
    ],
)
def test_rubbish_in_exports_is_named(episodes: list[dict[str, Any]], turns: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(RecordingError) as caught:
        exported(episodes, turns)
    assert message in str(caught.value)
