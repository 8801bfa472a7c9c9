"""The course of a training for TensorBoard; the only place that knows its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.engines.trainer import Progress

EVERY = 10  # steps between two points of the loss


@contextmanager
def tensorboard_log(folder: Path, names: Sequence[str]) -> Iterator[Callable[[Progress], None]]:
    """Takes Progress values: the loss of every tenth step, the mean loss and each class's score of each validation.

    A training that goes on from a checkpoint voids the points behind it that an earlier run had left, so that every
    step stands once. Nothing is written by a training that had nothing left to do.
    """
    writers: list[Any] = []

    def report(progress: Progress) -> None:
        if not writers:
            from torch.utils.tensorboard.writer import SummaryWriter

            writers.append(SummaryWriter(str(folder), purge_step=progress.step))
        (writer,) = writers
        if progress.scores is None:
            if progress.step % EVERY == 0 or progress.step == 1:
                writer.add_scalar("loss/step", progress.loss, progress.step)
            return
        writer.add_scalar("loss/mean since the last validation", progress.loss, progress.step)
        for name, score in zip(names, progress.scores, strict=True):
            writer.add_scalar(f"score/{name}", score, progress.step)
        writer.flush()

    try:
        yield report
    finally:
        for writer in writers:
            writer.close()
