"""What a training reports, written down: `metrics.jsonl`, `evaluations.jsonl`, TensorBoard's events."""

from __future__ import annotations

import contextlib
import math
import secrets
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from fathom.errors import FathomError
from fathom.evaluation import Result
from fathom.runs.checkpoint import Progress
from fathom.runs.folder import RunFolder

writing = False
"""Whether the writer is at work, whose thread would wait for ever for a lock that an exception raised by a
signal handler leaves behind. A handler raises none then."""


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    global writing
    writing = True
    try:
        yield
    finally:
        writing = False


class Curves:
    """Writes reports and evaluations of a run; a context manager.

    Args:
        from_step: the first step that is written; TensorBoard drops what an interrupted segment wrote
            from there on.
    """

    def __init__(self, run: RunFolder, from_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._run = run
        with _writing():
            # A name that nothing in the folder can be waiting at as a link.
            suffix = f".{secrets.token_hex(4)}"
            self._writer = SummaryWriter(
                str(run.folder), purge_step=from_step, filename_suffix=suffix
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with _writing(), contextlib.suppress(OSError):
            self._writer.close()

    def metrics(self, segment: int, steps: int, seconds: float, metrics: dict[str, float]) -> None:
        """Write a report of the learner.

        Raises:
            FathomError: one of its values is not finite.
        """
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise FathomError(
                    f"{name} became {float(value)} at step {steps:,}, so training stopped: try a"
                    " smaller learning rate"
                )
        values = {name: float(value) for name, value in metrics.items() if name != "steps"}
        line = {"segment": segment, "steps": steps, "seconds": round(seconds, 3), **values}
        self._run.log_metrics(line)
        self._add(
            steps,
            {name if "/" in name else f"train/{name}": value for name, value in values.items()},
        )

    def evaluation(self, segment: int, progress: Progress, result: Result) -> None:
        """Write the evaluation at the end of a segment."""
        line: dict[str, Any] = {"segment": segment, "steps": progress.steps}
        self._run.log_evaluation({**line, "seconds": progress.seconds, **result.to_json()})
        low, high = result.interval
        curve = {"mean": result.mean, "low": low, "high": high, **result.measures}
        self._add(progress.steps, {f"evaluation/{name}": value for name, value in curve.items()})

    def flush(self) -> None:
        """Bring TensorBoard's events to the file."""
        with _writing():
            self._writer.flush()

    def _add(self, step: int, values: dict[str, float]) -> None:
        with _writing():
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
