"""Paths into nested JSON records, as blocks write them: `credits.crew[job=Director].name`.

Belongs here: their grammar. Does not belong here: walking records along them (jsonfiles.py).
"""

from __future__ import annotations

import re

# Key, and the key and value that items of a list must have to be taken.
Step = tuple[str, str | None, str | None]

_STEP = re.compile(r"(?P<key>[^.\[\]]+)(?:\[(?P<filter>[^=\[\]]+)=(?P<value>[^\[\]]*)\])?")


def parse_path(path: str) -> list[Step]:
    """Steps of `path`. Raises ValueError when it is malformed."""
    steps: list[Step] = []
    at = 0
    while at <= len(path):
        match = _STEP.match(path, at)
        if match is None or path[match.end() : match.end() + 1] not in ("", "."):
            raise ValueError(f"{path!r} is no path: keys joined by dots, key[other=value] to choose from a list")
        steps.append((match["key"], match["filter"], match["value"]))
        at = match.end() + 1
    return steps
