"""Who follows a training while it runs: the clock, TensorBoard and, if asked for, MLflow."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medseg.engines.mlflow_log import MlflowRun
    from medseg.engines.plan import TrainSpec
    from medseg.engines.trainer import Progress


class Stopwatch:
    """How long steps took, validations left out."""

    def __init__(self, now: Callable[[], float] = time.perf_counter):
        self._now = now
        self._last: float | None = None
        self.seconds: list[float] = []

    def __call__(self, progress: Progress) -> None:
        """After a step take the time since the last call; after a validation only start anew."""
        moment = self._now()
        if progress.scores is None and self._last is not None:
            self.seconds.append(moment - self._last)
        self._last = moment


@dataclass(frozen=True, eq=False)
class Followers:
    """All that follow one training."""

    watch: Stopwatch
    board: Callable[[Progress], None]
    run: MlflowRun | None

    def __call__(self, progress: Progress) -> None:
        """Tell each of them. A tracking server that is lost on the way costs its points, not the training."""
        self.watch(progress)
        self.board(progress)
        if self.run is not None:
            with _forgiven():
                self.run(progress)

    def finish(self, work: Path, metrics: dict[str, float]) -> None:
        """Hand what the training left in its folder to MLflow, if it follows."""
        if self.run is None:
            return
        names = ("plan.json", "fingerprint.json", "history.json", "curve.png", "report.html", "scores_validation.json")
        with _forgiven():
            self.run.finish(metrics, [work / name for name in names], [work / "report_pictures"])


@contextmanager
def follow(work: Path, names: tuple[str, ...], experiment: str, spec: TrainSpec, mlflow: str) -> Iterator[Followers]:
    """TensorBoard's files below work/tensorboard always; MLflow where a folder or URI is given.

    Raises: as `start_run`, before the training begins.
    """
    from medseg.domain.spec import to_plain
    from medseg.engines.tensorboard_log import tensorboard_log
    from medseg.reports.training import flat

    run = None
    if mlflow:
        from medseg.engines.mlflow_log import start_run

        run = start_run(mlflow, work, experiment, names, flat(to_plain(spec)))
    with tensorboard_log(work / "tensorboard", names) as board:
        yield Followers(Stopwatch(), board, run)


@contextmanager
def _forgiven() -> Iterator[None]:
    from medseg.domain.errors import ResourceError

    try:
        yield
    except ResourceError as error:
        print(f"medseg: {error}; the training goes on without", file=sys.stderr, flush=True)
