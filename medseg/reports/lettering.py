"""Small text on pictures: letters at the edges, a scale bar, captions, and a legend below."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medseg.domain.labels import LabelTable
from medseg.reports.overlay import INSTANCE_COLOURS, Colour

MARGIN = 12  # pixels
PAPER: Colour = (24, 24, 24)
INK: Colour = (225, 225, 225)
FAINT: Colour = (130, 130, 130)
_LETTER: Colour = (255, 221, 128)
_LINE, _SWATCH, _MOST_LISTED = 24, 14, 12


@dataclass(frozen=True)
class Entry:
    """One line of a legend: squares of colour, words, and the words' own colour."""

    swatches: tuple[Colour, ...]
    text: str
    ink: Colour

    @property
    def width(self) -> int:
        """In pixels, the gap to the next one included."""
        return len(self.swatches) * _SWATCH + 6 + round(font(14).getlength(self.text)) + 26


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: label names may be Greek or Cyrillic."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)


def write_letters(picture: Image.Image, edges: str) -> None:
    """Letters in the middle of the left, right, top and bottom edge; none where they would hide a thin picture."""
    wide, high = picture.size
    if min(wide, high) < 60:
        return
    places = ((5, high // 2, "lm"), (wide - 5, high // 2, "rm"), (wide // 2, 4, "mt"), (wide // 2, high - 5, "mb"))
    draw = ImageDraw.Draw(picture)
    for letter, (x, y, anchor) in zip(edges, places, strict=True):
        draw.text((x, y), letter, _LETTER, font(15), anchor, stroke_width=2, stroke_fill=(0, 0, 0))


def draw_scale(picture: Image.Image, pixels_per_mm: float) -> None:
    """A bar of a round length (1, 2 or 5 times a power of ten), at most a quarter of the width, in the lower left."""
    most_mm = picture.width / 4 / pixels_per_mm
    power = 10.0 ** np.floor(np.log10(most_mm))
    length_mm = float(power * max(n for n in (1, 2, 5) if n * power <= most_mm))
    left, bottom, long = 10, picture.height - 10, round(length_mm * pixels_per_mm)
    text = f"{length_mm:g} mm" if length_mm >= 1 else f"{length_mm * 1000:g} µm"
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left - 1, bottom - 4, left + long + 1, bottom), (0, 0, 0))
    draw.rectangle((left, bottom - 3, left + long, bottom - 1), INK)
    draw.text((left, bottom - 7), text, INK, font(12), "lb", stroke_width=2, stroke_fill=(0, 0, 0))


def under_legend(picture: Image.Image, values: Collection[int], table: LabelTable) -> Image.Image:
    """The picture on a dark page, and below it what each colour means; `values` are those that occur, without 0."""
    lines: list[list[Entry]] = [[]]
    for entry in entries_of(values, table):
        if lines[-1] and sum(one.width for one in (*lines[-1], entry)) > picture.width:
            lines.append([])
        lines[-1].append(entry)
    wide = max([picture.width, *(sum(entry.width for entry in line) for line in lines)])
    page = Image.new("RGB", (wide + 2 * MARGIN, picture.height + 2 * MARGIN + len(lines) * _LINE + 4), PAPER)
    page.paste(picture, (MARGIN, MARGIN))
    draw = ImageDraw.Draw(page)
    for n, line in enumerate(lines):
        x, middle = MARGIN, MARGIN + picture.height + 6 + n * _LINE + _LINE // 2
        for entry in line:
            _draw_entry(draw, entry, x, middle)
            x += entry.width
    return page


def entries_of(values: Collection[int], table: LabelTable) -> tuple[Entry, ...]:
    """The lines of the legend. A label that does not occur is faint; of more than twelve such are left out.

    Instances are counted in one line.
    """
    if table.kind == "instances":
        swatches = tuple(INSTANCE_COLOURS[: max(1, min(len(values), 6))])
        return (Entry(swatches, f"{table.names[0]}: {len(values)}", INK),)
    entries = [
        Entry((label.colour,), label.name if label.value in values else f"{label.name} (none)", ink)
        for label in table
        for ink in [INK if label.value in values else FAINT]
        if label.value in values or len(table) <= _MOST_LISTED
    ]
    return tuple(entries) or (Entry((), "no label occurs", FAINT),)


def _draw_entry(draw: ImageDraw.ImageDraw, entry: Entry, x: int, middle: int) -> None:
    for colour in entry.swatches:
        draw.rectangle((x, middle - _SWATCH // 2, x + _SWATCH - 3, middle + _SWATCH // 2 - 3), colour)
        x += _SWATCH
    draw.text((x + 6, middle - 1), entry.text, entry.ink, font(14), "lm")
