"""Box plots: how the scores of many cases lie, one row a label, a kind or a bundle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from medseg.reports.svg import Drawing, Scale, attributes, line, scale_of, shortened, svg, told, word

_WIDTH, _NAMES, _ROW, _TOP, _BOTTOM = 560, 170, 40, 34, 30
_MOST_DOTS = 400


@dataclass(frozen=True)
class BoxRow:
    """A name and one value a case; what is not finite is counted below the name.

    series: its colour, 0 ...
    detail: small print before the count, as the name of a bundle.
    """

    name: str
    values: tuple[float, ...]
    series: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Box:
    """Five numbers: quartiles, median, and the whiskers at the last values within 1.5 quartile ranges.

    >>> box_of([1, 2, 3, 4, 100])
    Box(low=1.0, first=2.0, median=3.0, third=4.0, high=4.0)
    """

    low: float
    first: float
    median: float
    third: float
    high: float


def box_of(values: Sequence[float]) -> Box:
    """The box of at least one finite value.

    Source: Tukey 1977, Exploratory Data Analysis.
    """
    given = np.asarray(values, np.float64)
    first, median, third = (float(q) for q in np.percentile(given, (25, 50, 75)))
    reach = 1.5 * (third - first)
    inside = given[(given >= first - reach) & (given <= third + reach)]
    return Box(float(inside.min()), first, median, third, float(inside.max()))


def draw_boxes(title: str, rows: Sequence[BoxRow], unit: str = "", share: bool = True) -> Drawing:
    """One drawing for one metric; each case is a dot, the diamond is the mean.

    share: the values are parts of 1, so the axis ends there.
    """
    values = [value for row in rows for value in row.values]
    scale = scale_of(values, _NAMES, _WIDTH - 16, share)
    height = _TOP + _ROW * len(rows) + _BOTTOM
    parts = [word(0, 16, f"{title}{f' in {unit}' if unit else ''}", kind="title")]
    for tick in scale.ticks:
        parts.append(line(scale(tick), _TOP, scale(tick), height - _BOTTOM, "grid"))
        parts.append(word(scale(tick), height - 10, told(tick), "middle", "faint"))
    if scale.low < 0 <= scale.high:
        parts.append(line(scale(0), _TOP, scale(0), height - _BOTTOM, "mark"))
    for n, row in enumerate(rows):
        parts += _row(row, scale, _TOP + _ROW * n + _ROW / 2)
    return Drawing(svg(_WIDTH, height, _in_words(title, rows), parts))


def _row(row: BoxRow, scale: Scale, y: float) -> list[str]:
    finite = [value for value in row.values if math.isfinite(value)]
    undefined = len(row.values) - len(finite)
    count = f"{len(finite)} cases" + (f", {undefined} undefined" if undefined else "")
    small = f"{shortened(row.detail, 15)}, {count}" if row.detail else count
    parts = ["<g>", f"<title>{escape(f'{row.name} {row.detail}: {count}')}</title>"]
    parts += [word(0, y - 1, shortened(row.name, 24)), word(0, y + 13, small, kind="small")]
    if finite:
        box, high = box_of(finite), _ROW * 0.28
        for n, value in enumerate(finite if len(finite) <= _MOST_DOTS else finite[:: len(finite) // _MOST_DOTS + 1]):
            aside = (n * 0.618034 % 1 - 0.5) * _ROW * 0.62  # spread evenly, the same each time
            parts.append(
                f'<circle cx="{scale(value):g}" cy="{y + aside:.1f}" r="2.1" {attributes("dot", row.series)}/>'
            )
        parts.append(line(scale(box.low), y, scale(box.high), y, "whisker", row.series))
        parts.append(
            f'<rect x="{scale(box.first):g}" y="{y - high:.1f}" width="{max(scale(box.third) - scale(box.first), 1):g}"'
            f' height="{2 * high:.1f}" rx="2" {attributes("box", row.series)}/>'
        )
        parts.append(line(scale(box.median), y - high, scale(box.median), y + high, "median", row.series))
        x = scale(float(np.mean(finite)))
        parts.append(f'<path d="M{x - 4:g} {y:g}l4 -4l4 4l-4 4z" class="mean"/>')
    return [*parts, "</g>"]


def _in_words(title: str, rows: Sequence[BoxRow]) -> str:
    told_rows = []
    for row in rows:
        finite = [value for value in row.values if math.isfinite(value)]
        where = "no value"
        if finite:
            box = box_of(finite)
            where = f"median {box.median:.3f}, half of the cases from {box.first:.3f} to {box.third:.3f}"
        told_rows.append(f"{row.name}{f' {row.detail}' if row.detail else ''} {where}")
    return f"Box plot of {title}: " + "; ".join(told_rows)
