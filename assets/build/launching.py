"""Starting the programs of models/ as processes of their own, and passing on what they say.

Training runs beside and not inside: it can be killed, resumed and moved to another machine, and its memory comes back when it ends.
Does not belong here: dagster's side of it (assets/pipes.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from assets.build.tables import Tell

# Starts a module of models/ with a configuration file, tells how far it is, and returns when it has ended well.
Launch = Callable[[str, Path, Tell], None]

_LAST_LINES = 6


class ProcessFailed(RuntimeError):
    """A program of models/ has ended badly; the message holds the last lines it wrote."""


def launch(module: str, config: Path, tell: Tell, environment: Mapping[str, str] | None = None) -> None:
    """Run `python -m module --config config`; `tell` gets its progress. What it writes on stderr is kept in `config`.log.

    It ends when this process does, however that comes (models/launched.py). Raises ProcessFailed.
    """
    log = config.with_name(f"{config.name}.log")
    with open(log, "w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "models.launched", module, "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.PIPE,
            env=dict(environment) if environment is not None else None,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        assert process.stdin is not None and process.stdout is not None
        last: list[str] = []
        try:
            for line in process.stdout:
                event = _event(line)
                if text := told(event) if event else line.strip():
                    last = [*last[1 - _LAST_LINES :], text]
                    tell(text)
        except BaseException:
            # A step that is interrupted does not leave a training behind. It keeps a checkpoint when asked to end.
            process.terminate()
            raise
        finally:
            code = process.wait()
            process.stdout.close()
            process.stdin.close()
    if code:
        written = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LAST_LINES:]
        words = "\n".join(written or last) or "it wrote nothing"
        raise ProcessFailed(f"{module} ended with code {code}: {words} (all of it: {log})")


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def told(event: Mapping[str, Any]) -> str:
    """An event of models/reporting.py in words; empty for those that a person need not see as they come, such as the loss of a step."""
    words = str(event.get("text") or event.get("message") or "")
    if event["event"] == "progress" and not words and "share" in event:
        words = f"{event['share']:.0%}"
        if "of_steps" in event:
            words += f", step {event['step']:,} of at most {event['of_steps']:,}"
    elif event["event"] == "metric":
        watched = [f"{name} {value:.4f}" for name, value in event.items() if name.startswith("validation/")]
        words = ", ".join(watched)
    return words
