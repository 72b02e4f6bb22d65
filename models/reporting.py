"""What a run tells: JSON lines on stdout, `metrics.jsonl`, TensorBoard, and Dagster Pipes where Dagster launched it.

Belongs here: where messages go. Does not belong here: what is measured. TensorBoard and dagster_pipes are used where they are installed, and not needed.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from models.checkpoint import METRICS

# Set by Dagster for processes that it launches through Pipes.
PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"


class Reporter:
    """Tells of a run. Where `is_main` is false (all processes but the first), it says nothing and writes nothing."""

    def __init__(self, out: Path, is_main: bool = True, stream: TextIO | None = None) -> None:
        self.out, self.is_main, self.stream = out, is_main, stream or sys.stdout
        self._metrics: Any = None
        self._board: Any = None
        self._pipes: Any = None
        if is_main and os.environ.get(PIPES_VARIABLE):
            import dagster_pipes

            self._pipes = dagster_pipes.open_dagster_pipes().__enter__()

    def open_logs(self, kept_bytes: int, step: int) -> None:
        """Open `metrics.jsonl` and TensorBoard. What was logged after the checkpoint that is resumed from (`kept_bytes`, `step`) is taken out: it will be logged again."""
        if not self.is_main:
            return
        path = self.out / METRICS
        self._metrics = path.open("ab")
        self._metrics.truncate(kept_bytes)
        self._metrics.seek(0, os.SEEK_END)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            self.event("progress", message=f"no TensorBoard log: {error}")
        else:
            self._board = SummaryWriter(str(self.out / "tensorboard"), purge_step=step if step else None)

    @property
    def metrics_bytes(self) -> int:
        """Length of `metrics.jsonl`, all of it on disk when this returns."""
        if self._metrics is None:
            return 0
        self._metrics.flush()
        os.fsync(self._metrics.fileno())
        return int(self._metrics.tell())

    def event(self, event: str, **values: Any) -> None:
        """One line on stdout, {"event": event, ...}; under Pipes a line of the run's log as well."""
        if not self.is_main:
            return
        line = json.dumps({"event": event, **values}, default=str)
        print(line, file=self.stream, flush=True)
        if self._pipes is not None:
            (self._pipes.log.warning if event in ("warning", "error") else self._pipes.log.info)(line)

    def warn(self, message: str) -> None:
        """A warning."""
        self.event("warning", message=message)

    def metrics(self, step: int, epoch: float, values: dict[str, float]) -> None:
        """Figures of a step. Raises ValueError for one that is no number."""
        if not self.is_main:
            return
        for name, value in values.items():
            if not math.isfinite(value):
                raise ValueError(f"step {step}: {name} is {value}")
        for name, value in values.items():
            self._metrics.write(
                (json.dumps({"step": step, "epoch": epoch, "name": name, "value": value}) + "\n").encode()
            )
            if self._board is not None:
                self._board.add_scalar(name, value, step)
        self._metrics.flush()
        self.event("metric", step=step, epoch=round(epoch, 4), **values)

    def done(self, summary: dict[str, Any]) -> None:
        """The run has ended well; under Pipes, `summary` becomes metadata of the asset, where it is for one."""
        self.event("done", **summary)
        if self._pipes is not None and self._pipes.is_asset_step and len(self._pipes.asset_keys) == 1:
            plain = {key: value for key, value in summary.items() if isinstance(value, str | int | float | list)}
            self._pipes.report_asset_materialization(metadata=plain)

    def close(self) -> None:
        """Close files and tell Dagster that no more will come."""
        for each in (self._metrics, self._board, self._pipes):
            if each is not None:
                each.close()
        self._metrics = self._board = self._pipes = None
