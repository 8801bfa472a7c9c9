"""Curves against the training step, on one pair of axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medseg.reports.svg import Drawing, Scale, attributes, line, scale_of, shortened, svg, told, word

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM, _LEGEND = 560, 250, 52, 24, 30, 36, 20
_MOST_POINTS = 600


@dataclass(frozen=True)
class Curve:
    """A name and points (step, value) by rising step; where a value is not finite the curve is broken."""

    name: str
    points: tuple[tuple[float, float], ...]


def draw_curves(title: str, curves: Sequence[Curve], mark: float | None = None, share: bool = False) -> Drawing:
    """One drawing; `mark` is a step that is set off by a line (the best one); share: the axis ends at 1."""
    finite = [value for curve in curves for _, value in curve.points if math.isfinite(value)]
    steps = [step for curve in curves for step, _ in curve.points]
    across = Scale(0, max([*steps, 1]), _LEFT, _WIDTH - _RIGHT)
    up = scale_of(finite, _HEIGHT - _BOTTOM, _TOP, share)
    parts = [word(0, 16, title, kind="title")]
    for tick in up.ticks:
        parts.append(line(_LEFT, up(tick), _WIDTH - _RIGHT, up(tick), "grid"))
        parts.append(word(_LEFT - 8, up(tick) + 4, told(tick), "end", "faint"))
    for tick in across.ticks:
        parts.append(word(across(tick), _HEIGHT - _BOTTOM + 18, told(tick), "middle", "faint"))
    if mark is not None:
        parts.append(line(across(mark), _TOP, across(mark), _HEIGHT - _BOTTOM, "mark"))
    for n, curve in enumerate(curves):
        parts += _curve(curve, n, across, up)
    legend = _legend([curve.name for curve in curves]) if len(curves) > 1 else []
    height = _HEIGHT + _LEGEND * (1 + max((row for row, _ in _places(curves)), default=0)) if legend else _HEIGHT
    return Drawing(svg(_WIDTH, height, _in_words(title, curves), [*parts, *legend]))


def _curve(curve: Curve, n: int, across: Scale, up: Scale) -> list[str]:
    kept = curve.points[:: len(curve.points) // _MOST_POINTS + 1]
    path, pen = [], "M"
    for step, value in kept:
        if not math.isfinite(value):
            pen = "M"
            continue
        path.append(f"{pen}{across(step):g} {up(value):g}")
        pen = "L"
    drawn = [f'<path d="{"".join(path)}" {attributes("curve", n)}/>'] if path else []
    if len(kept) <= 40:
        drawn += [
            f'<circle cx="{across(step):g}" cy="{up(value):g}" r="2.4" {attributes("point", n)}/>'
            for step, value in kept
            if math.isfinite(value)
        ]
    return drawn


def _places(curves: Sequence[Curve]) -> list[tuple[int, float]]:
    """Row and left edge of each name in the legend; letters are about seven pixels wide."""
    places, row, x = [], 0, float(_LEFT)
    for curve in curves:
        wide = 34 + 7.2 * len(shortened(curve.name, 40))
        if x > _LEFT and x + wide > _WIDTH:
            row, x = row + 1, float(_LEFT)
        places.append((row, x))
        x += wide
    return places


def _legend(names: Sequence[str]) -> list[str]:
    parts = []
    for n, (name, (row, x)) in enumerate(zip(names, _places([Curve(name, ()) for name in names]), strict=True)):
        y = _HEIGHT + 4 + _LEGEND * row
        parts.append(line(x, y - 4, x + 18, y - 4, "curve", n))
        parts.append(word(x + 24, y, shortened(name, 40)))
    return parts


def _in_words(title: str, curves: Sequence[Curve]) -> str:
    ends = []
    for curve in curves:
        finite = [(step, value) for step, value in curve.points if math.isfinite(value)]
        if finite:
            ends.append(f"{curve.name} from {finite[0][1]:.4g} to {finite[-1][1]:.4g} at step {finite[-1][0]:g}")
    return f"Curves of {title}: " + ("; ".join(ends) or "no values")
