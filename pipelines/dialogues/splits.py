"""Which part of the data a conversation belongs to.

A conversation belongs to one split wherever it stands: that of its official files where they state one, else one by hash of its
id, which does not change when dialogues are added.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

# A conversation that files of several splits hold is held out: nothing that is tested on may be trained on.
_HELD_OUT_FIRST = ("test", "valid", "train")
_WORD = re.compile(r"(?:^|/)(train|valid|dev|test)[^/]*$")

# ReDial's test set is its conversations from this number on: true of all of IARD's 336 conversations, of which 38 are in it as
# IARD's documentation says, and of the 1,550 others that were at hand.
REDIAL_TEST_FROM = 20_000


def stated_split(file: str) -> str | None:
    """The split that a file's name states: train, valid (or dev), test; None when it says nothing."""
    found = _WORD.search(file)
    return None if found is None else {"dev": "valid"}.get(found[1], found[1])


def split_by_hash(conversation_id: str) -> str:
    """Eight tenths train, one valid, one test, by hash of the id alone: fixed for ever."""
    digest = hashlib.blake2b(conversation_id.encode(), digest_size=8).digest()
    tenth = int.from_bytes(digest, "big") % 10
    return "train" if tenth < 8 else "valid" if tenth == 8 else "test"


def strictest(splits: Iterable[str]) -> str | None:
    """test before valid before train; None of none."""
    found = set(splits)
    return next((split for split in _HELD_OUT_FIRST if split in found), None)


def redial_split(source_id: str, official: Iterable[str]) -> str:
    """Split of a ReDial conversation: test by its number, else what official files state, else train.

    Ids that are no numbers are not ReDial's own; without a statement their split comes from the hash.
    """
    if re.fullmatch(r"[0-9]+", source_id):
        by_number = "test" if len(source_id) > 18 or int(source_id) >= REDIAL_TEST_FROM else "train"
        return strictest((by_number, *official)) or by_number
    return strictest(official) or split_by_hash(f"redial-{source_id}")


def decide_split(
    dataset: str, source_id: str, conversation_id: str, official: Iterable[str], held_out: Mapping[str, str]
) -> str:
    """Split of a conversation of `dataset`.

    `official`: splits that official files state for it. `held_out`: ReDial conversations that its files hold out, by source id, for
    IARD, whose conversations are ReDial's.
    """
    official = tuple(official)
    if dataset in ("redial", "iard"):
        return redial_split(source_id, (*official, *([held_out[source_id]] if source_id in held_out else [])))
    if dataset == "opendialkg" and len(set(official)) != 1:
        # iEvaLM split OpenDialKG's turns, not its dialogues.
        return split_by_hash(conversation_id)
    return strictest(official) or split_by_hash(conversation_id)
