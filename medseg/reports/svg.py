"""Drawings as part of a page: lines, dots and words that take the page's colours, by day and by night."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

SERIES = 6  # colours that `pages` defines as --s0 ... --s5; then they come again, with another stroke
_DASHES = ("", "7 4", "2 3")


@dataclass(frozen=True)
class Drawing:
    """Markup that this package drew, a caption, and what it shows for those who cannot see it.

    svg: one <svg> element; words in it were escaped by those who drew it. Nobody else makes one.
    """

    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` on pixels from `start` to `stop`."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """The place of a value in pixels, one decimal."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 1)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Round values within the range."""
        step = _round_step((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        return tuple(round(n * step, 12) for n in range(first, math.floor(self.high / step + 1e-9) + 1))


def scale_of(values: Sequence[float], start: float, stop: float, share: bool = False) -> Scale:
    """A scale with round ends around the finite values; of shares (0 to 1) it ends at 1.

    Empty: 0 to 1.
    """
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if share:
        high = max(high, 1.0)
    if high - low < 1e-9:
        low, high = low - 0.05 * max(abs(low), 1), high + (0 if share else 0.05 * max(abs(high), 1))
    step = _round_step((high - low) / 5)
    low = math.floor(low / step + 1e-9) * step
    high = high if share else math.ceil(high / step - 1e-9) * step
    return Scale(low, high, start, stop)


def word(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    """Text at a place; anchor: start, middle or end."""
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{style}>{escape(text)}</text>'


def attributes(kind: str, number: int | None = None) -> str:
    """How something of a kind looks; `number` counts series, whose colours come again with another stroke.

    >>> attributes("curve", 7)
    'class="curve s1" stroke-dasharray="7 4"'
    """
    if number is None:
        return f'class="{kind}"'
    dash = _DASHES[number // SERIES % len(_DASHES)]
    return f'class="{kind} s{number % SERIES}"' + (f' stroke-dasharray="{dash}"' if dash else "")


def line(x1: float, y1: float, x2: float, y2: float, kind: str, number: int | None = None) -> str:
    """A straight line."""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" {attributes(kind, number)}/>'


def svg(width: float, height: float, alternative: str, parts: Sequence[str]) -> str:
    """The whole drawing, as wide as given and never wider than the page."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-label="{escape(alternative)}">{"".join(parts)}</svg>'
    )


def told(value: float) -> str:
    """A tick with every digit that it has, no zeros behind them; the minus is a minus.

    >>> told(0.5), told(-2.0), told(1500.0), told(0.0015), told(0.00002)
    ('0.5', '−2', '1500', '0.0015', '2e−05')
    """
    return f"{value:.12g}".replace("-", "−")


def shortened(text: str, most: int) -> str:
    """At most so many letters; what is cut off leaves a mark."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _round_step(about: float) -> float:
    power = 10.0 ** math.floor(math.log10(about))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= about * (1 - 1e-9))
