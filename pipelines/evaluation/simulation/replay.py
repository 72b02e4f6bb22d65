"""Recorded simulations as their files state them: texts in, conversations out.

| file | holds | needs |
| --- | --- | --- |
| a log as ECPO ships them (`test_log/<domain>/*.log`) | blocks that begin with `User N  Item M:` | `--tasks`: user N is row N of the task file, from 0, and item M its M-th item |
| `sim_episodes` exported as JSON lines | an episode a line | the turns, in another file |
| `sim_turns` exported as JSON lines | a turn a line | the episodes, in another file |

A block of a log:

    User N  Item M:
    user: ...                        turns, the user's first, in turn; a turn may run over several lines
    assistant: ...
    rec_rewards: [0, 5]              rewards of the agent's turns that the user answered (the last one of a conversation that ran out of turns has none)
    avg_rec_reward: 5.0              of those above 0: 0 stands for a turn without a recommendation
    ...                              action_rewards, expression_rewards
    Correct recommendation: True     the log's own verdict

Does not belong here: opening files, scoring (`grading.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.evaluation.recorded_files import RecordingError, objects, text_of

# Rewards are scores from 0 to 5 (ECPO, section 2.2: flexibility 2, coherence 2, guidance 1, and their sum).
HIGHEST_REWARD = 5.0
REC_REWARDS = "rec"

_HEADER = re.compile(r"User (\d{1,9})\s+Item (\d{1,9}):\s*")
_SPOKEN = re.compile(r"(user|assistant):(?: (.*))?", re.DOTALL)
_REWARDS = re.compile(r"([a-z][a-z_]{0,30})_rewards:(.*)")
_MEAN = re.compile(r"avg_[a-z_]+:.*")
_FLAG = re.compile(r"Correct recommendation:(.*)")
_SEPARATOR = re.compile(r"=+\s*")
_TOTAL = re.compile(r"Total correct recommendations: (\d{1,9})/(\d{1,9})\s*")
# Scores of our own turns, with the highest that each can be.
_SCORES = {"flexibility": 2.0, "coherence": 2.0, "guidance": 1.0, "satisfaction": 5.0}

# What a packed file may come to.
LARGEST_BYTES = 1024**3


@dataclass(frozen=True)
class Target:
    """What a task is to find, and for whom."""

    user: str
    item: str
    title: str


@dataclass(frozen=True)
class Recorded:
    """One recorded conversation.

    `replies`: the agent's turns in order; `rewards`: scores by name, None where a turn has none; `stated`: whether the recording itself calls it a success, None where it says nothing.
    `left_out`: why it counts nowhere; `failed`: why it cannot be a success.
    """

    name: str
    where: str
    target: Target
    replies: tuple[str, ...]
    rewards: Mapping[str, tuple[float | None, ...]]
    stated: bool | None
    left_out: str | None = None
    failed: str | None = None


@dataclass(frozen=True)
class Recording:
    """Conversations of one agent. `stated_successes`: the total that the recording states, None where it states none."""

    name: str
    source: str
    conversations: tuple[Recorded, ...]
    stated_successes: int | None = None


def read_recordings(files: Mapping[str, bytes], tasks: tuple[str, bytes] | None = None) -> list[Recording]:
    """Every recording in `files` (name and content): one for each log, one for each domain, agent and simulator of exported tables.

    `tasks`: the task file of logs. Raises RecordingError.
    """
    made: list[Recording] = []
    exported: list[tuple[str, str]] = []
    listed: list[list[Target]] | None = None
    for file, content in files.items():
        text = text_of(file, content, LARGEST_BYTES)
        if text.lstrip()[:1] == "{":
            exported.append((file, text))
            continue
        if tasks is None:
            raise RecordingError(f"{file}: a log does not name its targets: hand its task file over by --tasks")
        if listed is None:
            listed = read_tasks(tasks[0], text_of(*tasks, LARGEST_BYTES))
        made.append(read_log(file, text, listed))
    return [*made, *(read_exports(exported) if exported else ())]


def read_tasks(file: str, text: str) -> list[list[Target]]:
    """Targets of each row of a task file, a list a row. Raises RecordingError."""
    rows = []
    for line, row in objects(file, text):
        where = f"{file}: line {line}"
        user, items = _text(where, row, "UserID"), row.get("Items")
        if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
            raise RecordingError(f"{where}: key 'Items' must be a list of items that is not empty")
        # Items of Yelp have no id: their name stands for it.
        targets = [
            Target(
                user, _text(where, item, "ItemID" if "ItemID" in item else "ItemName"), _text(where, item, "ItemName")
            )
            for item in items
        ]
        rows.append(targets)
    if not rows:
        raise RecordingError(f"{file}: there is no task in it")
    return rows


# ------------------------------------------------------------------------------------------------------------------ logs


@dataclass
class _Block:
    user: int
    item: int
    line: int
    turns: list[tuple[str, list[str]]] = field(default_factory=list)
    rewards: dict[str, tuple[float | None, ...]] = field(default_factory=dict)
    flag: bool | None = None
    is_spoken: bool = True


def read_log(file: str, text: str, tasks: Sequence[Sequence[Target]]) -> Recording:
    """The conversations of a log. Raises RecordingError for a block that lacks turns, rewards or verdict, for a task that is not there, and for one that stands there twice."""
    conversations: dict[tuple[int, int], Recorded] = {}
    total: int | None = None
    for block in _blocks(file, text):
        if isinstance(block, int):
            total = block
            continue
        known = conversations.get((block.user, block.item))
        if known is not None:
            raise RecordingError(
                f"{file}: line {block.line}: User {block.user} Item {block.item} stands there twice, first at {known.where}"
            )
        conversations[block.user, block.item] = _conversation(file, block, tasks)
    if not conversations:
        raise RecordingError(f"{file}: there is no conversation in it: no line says 'User N  Item M:'")
    return Recording(_stem(file), "log", tuple(conversations.values()), total)


def _blocks(file: str, text: str) -> Iterator[_Block | int]:
    """Blocks of a log in order; the total that its end states as a number."""
    block: _Block | None = None
    for number, raw in enumerate(text.split("\n"), start=1):
        line, where = raw.removesuffix("\r"), f"{file}: line {number}"
        if header := _HEADER.fullmatch(line):
            if block is not None:
                _complete(file, block)
                yield block
            block = _Block(int(header[1]), int(header[2]), number)
        elif block is None:
            if line.strip() and not _SEPARATOR.fullmatch(line):
                raise RecordingError(f"{where}: {line[:40]!r} stands before the first 'User N  Item M:'")
        elif found := _REWARDS.fullmatch(line):
            block.is_spoken = False
            if found[1] in block.rewards:
                raise RecordingError(f"{where}: key '{found[1]}_rewards' stands twice in one block")
            block.rewards[found[1]] = _rewards(where, found[1], found[2])
        elif block.rewards and (found := _FLAG.fullmatch(line)):
            if block.flag is not None or found[1].strip() not in ("True", "False"):
                raise RecordingError(f"{where}: key 'Correct recommendation' must be True or False, once in a block")
            block.flag = found[1].strip() == "True"
        elif block.is_spoken:
            _hear(where, block, line)
        elif block.flag is None and _SEPARATOR.fullmatch(line):
            # The block has ended, and cannot be complete.
            _complete(file, block)
        elif block.flag is None and not _MEAN.fullmatch(line) and line.strip():
            raise RecordingError(f"{where}: {line[:40]!r} is not expected among the rewards")
        elif found := _TOTAL.fullmatch(line):
            yield int(found[1])
    if block is not None:
        _complete(file, block)
        yield block


def _hear(where: str, block: _Block, line: str) -> None:
    """A line of what was said: a turn's first, or one that a turn goes on with."""
    if spoken := _SPOKEN.fullmatch(line):
        expected = "assistant" if block.turns and block.turns[-1][0] == "user" else "user"
        if spoken[1] != expected:
            raise RecordingError(f"{where}: {expected!r} should speak here, not {spoken[1]!r}: turns are taken in turn")
        block.turns.append((spoken[1], [spoken[2] or ""]))
    elif block.turns:
        block.turns[-1][1].append(line)
    elif line.strip():
        raise RecordingError(f"{where}: {line[:40]!r} is neither a turn nor a part of one")


def _complete(file: str, block: _Block) -> None:
    where = f"{file}: line {block.line}: User {block.user} Item {block.item}"
    if not block.turns:
        raise RecordingError(f"{where}: there are no turns")
    if REC_REWARDS not in block.rewards:
        raise RecordingError(f"{where}: key '{REC_REWARDS}_rewards' is missing")
    if block.flag is None:
        raise RecordingError(f"{where}: key 'Correct recommendation' is missing")
    replies = sum(role == "assistant" for role, _ in block.turns)
    for name, values in block.rewards.items():
        if len(values) > replies:
            raise RecordingError(f"{where}: key '{name}_rewards': {len(values)} rewards for {replies} replies")


def _rewards(where: str, name: str, text: str) -> tuple[float | None, ...]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise RecordingError(f"{where}: key '{name}_rewards' is not readable as a list") from None
    if not isinstance(values, list) or not all(_is_reward(value) for value in values):
        raise RecordingError(f"{where}: key '{name}_rewards' must be a list of numbers from 0 to {HIGHEST_REWARD:g}")
    # A turn without a recommendation is given 0, which is no score.
    return tuple(None if name == REC_REWARDS and not value else float(value) for value in values)


def _is_reward(value: object) -> bool:
    # Comparing settles what is not finite, and whole numbers too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= HIGHEST_REWARD


def _conversation(file: str, block: _Block, tasks: Sequence[Sequence[Target]]) -> Recorded:
    where = f"line {block.line}"
    if block.user >= len(tasks):
        raise RecordingError(
            f"{file}: {where}: User {block.user} has no task: the task file has rows 0 to {len(tasks) - 1}"
        )
    if block.item >= len(tasks[block.user]):
        raise RecordingError(f"{file}: {where}: Item {block.item}: row {block.user} of the task file has no such item")
    replies = ["\n".join(lines).strip() for role, lines in block.turns if role == "assistant"]
    target = tasks[block.user][block.item]
    rewards = {f"{name}_reward": values for name, values in block.rewards.items()}
    return Recorded(f"User {block.user} Item {block.item}", where, target, tuple(replies), rewards, block.flag)


# --------------------------------------------------------------------------------------------------------------- exports


def read_exports(files: Sequence[tuple[str, str]]) -> list[Recording]:
    """Recordings in exports of sim_episodes and sim_turns (file and text), of any number of files. Raises RecordingError."""
    episodes: dict[str, tuple[str, dict[str, Any]]] = {}
    turns: dict[str, dict[int, tuple[str, dict[str, Any]]]] = {}
    for file, text in files:
        for line, row in objects(file, text):
            where = f"{file}: line {line}"
            key = _text(where, row, "episode_id")
            if "target_title" in row:
                if key in episodes:
                    raise RecordingError(f"{where}: episode {key!r} stands there twice, first at {episodes[key][0]}")
                episodes[key] = (where, row)
            elif "role" in row:
                turn = row.get("turn")
                if isinstance(turn, bool) or not isinstance(turn, int):
                    raise RecordingError(f"{where}: key 'turn' must be a whole number")
                if turn in turns.setdefault(key, {}):
                    raise RecordingError(f"{where}: turn {turn} of episode {key!r} stands there twice")
                turns[key][turn] = (where, row)
            else:
                raise RecordingError(f"{where}: neither an episode (key 'target_title') nor a turn (key 'role')")
    for key in turns:
        if key not in episodes:
            where = next(iter(turns[key].values()))[0]
            raise RecordingError(f"{where}: episode {key!r} is in no export of sim_episodes that was handed over")
    grouped: dict[str, list[Recorded]] = {}
    for key, (where, row) in episodes.items():
        said = [turns[key][turn] for turn in sorted(turns[key])] if key in turns else []
        name = " ".join(_text(where, row, column) for column in ("domain", "agent", "simulator"))
        grouped.setdefault(name, []).append(_episode(where, key, row, said))
    return [Recording(name, "export", tuple(grouped[name])) for name in sorted(grouped)]


def _episode(where: str, key: str, row: Mapping[str, Any], said: Sequence[tuple[str, dict[str, Any]]]) -> Recorded:
    target = Target(_text(where, row, "user_id"), _text(where, row, "target_item"), _text(where, row, "target_title"))
    outcome, stated = _text(where, row, "outcome"), row.get("is_success")
    if not isinstance(stated, bool):
        raise RecordingError(f"{where}: key 'is_success' must be true or false")
    replies = [(at, turn) for at, turn in said if _text(at, turn, "role") == "assistant"]
    if len(replies) != row.get("agent_turns"):
        raise RecordingError(
            f"{where}: key 'agent_turns' says {row.get('agent_turns')!r}, and there are {len(replies)} replies in the turns"
        )
    rewards = {name: tuple(_score(at, turn, name) for at, turn in replies) for name in _SCORES}
    return Recorded(
        key,
        where,
        target,
        tuple(_text(at, turn, "text", is_empty_fine=True) for at, turn in replies),
        rewards,
        stated,
        left_out="leaked" if outcome == "leaked" else None,
        failed="failed" if outcome == "failed" else None,
    )


def _score(where: str, row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if value is not None and not (_is_reward(value) and value <= _SCORES[name]):
        raise RecordingError(f"{where}: key {name!r} must be a number from 0 to {_SCORES[name]:g}, or null")
    return None if value is None else float(value)


def _text(where: str, row: Mapping[str, Any], key: str, is_empty_fine: bool = False) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not (value.strip() or is_empty_fine):
        raise RecordingError(f"{where}: key {key!r} is missing or no text")
    return value


def _stem(file: str) -> str:
    return file.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".gz").removesuffix(".log")
