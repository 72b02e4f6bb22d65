"""Which dialogues of a dataset are one conversation.

Belongs here: the comparison. Which of them is kept follows from the order of the layouts; splits are decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.dialogues.dialogue import Dialogue, plain

# Fewer turns than this are no beginning that could tell one conversation from another.
_BEGINNING = 2


def same_words(dialogues: Sequence[Dialogue]) -> dict[int, int]:
    """Position of each repeated dialogue among `dialogues` -> position of the one that it repeats, for those that are `known_by_words`.

    Two are one conversation when they say the same, or, in different files, when one says what the other begins with. The longest is
    the one that is repeated, of equally long ones the first.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    words: dict[int, tuple[str, ...]] = {}
    for position, dialogue in enumerate(dialogues):
        if dialogue.known_by_words:
            words[position] = tuple(plain(turn.text).lower() for turn in dialogue.turns)
            groups.setdefault(words[position][:_BEGINNING], []).append(position)
    repeated: dict[int, int] = {}
    for positions in groups.values():
        kept: list[int] = []
        for position in sorted(positions, key=lambda each: (-len(words[each]), each)):
            mine = words[position]
            for other in kept:
                elsewhere = dialogues[position].places[0].file != dialogues[other].places[0].file
                begins = elsewhere and len(mine) >= _BEGINNING and words[other][: len(mine)] == mine
                if begins or words[other] == mine:
                    repeated[position] = other
                    break
            else:
                kept.append(position)
    return repeated


def share_words(one: Dialogue, other: Dialogue) -> bool:
    """Whether two dialogues have any text in common: those of one id that have none are different conversations."""
    return not {turn.text for turn in one.turns}.isdisjoint(turn.text for turn in other.turns)
