"""The course of a training as a picture: the loss above, the validation score of each class below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from medseg.domain.errors import UsageError
from medseg.io.files import whole_file

# The colours of Okabe and Ito, told apart in every kind of colour vision; then the same with other strokes.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
_STROKES = ("-", "--", ":", "-.")
_MOST_LISTED = 12


def write_curve(history: Sequence[Mapping[str, Any]], class_names: Sequence[str], path: Path) -> None:
    """Loss and validation scores against the training step, as a PNG of 1200 x 900 pixels.

    history: rows {"step": int, "loss": float, "scores": one float a class, None or NaN where a class did not occur}.
             Without rows the axes stay empty. Marked is the step of the highest mean over all classes.
    Raises: UsageError if the name does not end in .png; OutputError or ResourceError as `whole_file`.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: a training curve is a PNG; let its name end in .png")
    with whole_file(path) as temporary:
        draw_curve(history, class_names).savefig(temporary, format="png", metadata={"Software": None})


def draw_curve(history: Sequence[Mapping[str, Any]], class_names: Sequence[str]) -> Figure:
    """The same as a figure that belongs to no window and no global state."""
    steps = [int(row["step"]) for row in history]
    scores = np.array([row["scores"] for row in history], np.float64).reshape(len(history), len(class_names))
    figure = Figure(figsize=(8, 6), dpi=150, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    dots = "o" if len(steps) < 40 else ""
    above.plot(steps, [float(row["loss"]) for row in history], color="#444444", marker=dots, markersize=3)
    above.set_ylabel("loss")
    for n, name in enumerate(class_names):
        colour, stroke = _COLOURS[n % len(_COLOURS)], _STROKES[n // len(_COLOURS) % len(_STROKES)]
        below.plot(steps, scores[:, n], stroke, color=colour, marker=dots, markersize=3, label=name)
    below.set(xlabel="step", ylabel="validation score", ylim=(0, 1))
    if steps:
        below.set_xlim(0, max(steps) * 1.02)
    means = scores.mean(1) if scores.size else np.array([])
    if np.isfinite(means).any():
        best = int(np.where(np.isfinite(means), means, -np.inf).argmax())
        for axes in (above, below):
            axes.axvline(steps[best], color="#999999", linewidth=0.8, zorder=0)
        below.set_title(f"best: {means[best]:.3f} at step {steps[best]}", loc="right", fontsize=9)
    if 1 <= len(class_names) <= _MOST_LISTED:
        below.legend(loc="best", fontsize=8, framealpha=0.9)
    for axes in (above, below):
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
