"""Progress on a terminal as bars, elsewhere as plain lines; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medseg.domain.report import BackendChoice, Measure, Quality
    from medseg.engines.trainer import Progress

Advance = Callable[[int], None]
_QUIET_S = 60.0  # after which a log is told that the work goes on


@contextmanager
def bar(title: str, total: int, quiet: bool) -> Iterator[Advance]:
    """A bar that the yielded function moves on by so many; shown only on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=total)
        yield lambda count: bars.update(task, advance=count)


@contextmanager
def training(steps: int, names: tuple[str, ...], quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """A bar for the steps, or a line a minute without a terminal; and a line with the scores of each validation."""
    started, first = time.monotonic(), [0]
    told = [started]
    shows_bar = sys.stderr.isatty()
    with bar("training", steps, quiet) as advance:
        at = [0]

        def report(progress: Progress) -> None:
            if not first[0]:
                first[0] = progress.step
                if progress.step > 1 and not quiet:
                    print(f"going on from step {progress.step - 1}", file=sys.stderr, flush=True)
            advance(progress.step - at[0])
            at[0] = progress.step
            now = time.monotonic()
            if quiet or (progress.scores is None and (shows_bar or now - told[0] < _QUIET_S)):
                return
            told[0] = now
            seconds = (now - started) / max(progress.step - first[0], 1)
            scores = [f"{name} {value:.4f}" for name, value in zip(names, progress.scores or (), strict=False)]
            left = f"{seconds * (progress.steps - progress.step) / 60:.0f} min left"
            line = "  ".join((f"step {progress.step}/{progress.steps}", f"loss {progress.loss:.4f}", *scores, left))
            print(line, file=sys.stderr, flush=True)

        yield report


def say_backend(choice: BackendChoice) -> None:
    """What runs the network and why, as one line; nothing of eager for a few windows, which was no question."""
    if choice.window_s:
        print(f"medseg: {choice.in_words()}", file=sys.stderr, flush=True)


def tell_nobody(choice: BackendChoice) -> None:
    """For --quiet."""


def in_words(measure: Measure) -> str:
    """A measure as one line.

    >>> from medseg.domain.report import Measure, Quality
    >>> in_words(Measure("spleen", 1, 1000, volume_ml=182.5))
    'spleen 182.500 ml'
    >>> in_words(Measure("anterior hippocampus", 1, 2188, volume_ml=2.188, region="left"))
    'left anterior hippocampus 2.188 ml'
    """
    amounts = []
    if measure.instances is not None:
        amounts.append(f"{measure.instances} found")
    if measure.volume_ml is not None:
        amounts.append(f"{measure.volume_ml:.3f} ml")
    elif measure.area_mm2 is not None:
        amounts.append(f"{measure.area_mm2:.4g} mm2")
    else:
        amounts.append(f"{measure.voxels} pixels")
    is_box = "," in (measure.region or "")
    before = f"{measure.region} " if measure.region and not is_box else ""
    where = f" in box {measure.region}" if is_box else ""
    cut = ", touches the edge" if measure.touches_border and measure.instances is None else ""
    return f"{before}{measure.label}{where} {', '.join(amounts)}{cut}"


def quality_in_words(quality: Quality) -> str:
    """What the agreement of several answers says, as one line.

    >>> from medseg.domain.report import Quality
    >>> quality_in_words(Quality(0.912, 0.884, False))
    'answers agree by 0.912; expected Dice 0.884'
    """
    told = f"answers agree by {quality.agreement:.3f}"
    if quality.expected_dice is None:
        return f"{told}; what that foretells was not measured (medseg bundle quality)"
    return f"{told}; expected Dice {quality.expected_dice:.3f}{'; look at this mask' if quality.review else ''}"
