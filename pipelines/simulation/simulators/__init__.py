"""Simulated users by name: AILO's (ECPO) and the seeker (RSO), behind one interface (docs/simulated-users.md).

Does not belong here: the agents that they talk to, and the loop that lets them talk.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.simulation.brief import version_of
from pipelines.simulation.parts import Simulator
from pipelines.simulation.simulators import ailo, seeker

# Raised when a simulator's code would do otherwise with the same answers; a prompt's text has a version of its own.
SIMULATOR_VERSION = "1"

SIMULATORS: Mapping[str, Simulator] = {each.name: each for each in (ailo.AILO, seeker.SEEKER)}
_PROMPTS: Mapping[str, tuple[str, ...]] = {"ailo": ailo.PROMPTS, "seeker": seeker.PROMPTS}


def prompts_of(simulator: str) -> tuple[str, ...]:
    """Names and versions of a simulator's prompts, sorted: `ailo_policy@1`. Raises ValueError for a simulator that there is not."""
    if simulator not in _PROMPTS:
        raise ValueError(f"there is no simulator {simulator!r}; there are: {', '.join(_PROMPTS)}")
    return tuple(sorted(map(version_of, _PROMPTS[simulator])))
