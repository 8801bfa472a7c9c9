"""A prediction against its reference: both outlines on the image, and where they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import find_objects
from skimage.measure import find_contours

from medseg.domain.errors import GridError
from medseg.domain.labels import LabelMap
from medseg.domain.volume import Volume
from medseg.reports.lettering import INK, MARGIN, PAPER, draw_scale, font, write_letters
from medseg.reports.overlay import Colour
from medseg.reports.planes import VIEWS, box_around, busiest_voxel, cut, orient
from medseg.reports.shades import to_rgb, window_of

REFERENCE: Colour = (70, 205, 255)  # solid
PREDICTION: Colour = (255, 165, 0)  # dashed
_TINT = 0.3
_PANEL, _SMALLEST, _LARGEST = 300, 480, 900  # pixels: of a plane; of a picture
_FINER, _WIDE, _DASH = 2, 1.8, (7.0, 5.0)  # drawn so much finer; pixels

Points = NDArray[np.float64]
Labels = NDArray[np.uint8] | NDArray[np.uint16]


def draw_versus(volume: Volume, prediction: LabelMap, reference: LabelMap) -> Image.Image:
    """An RGB picture: the reference's outlines solid, the prediction's dashed, a legend below.

    Of a volume three planes through the voxel around which they differ most, cut to the neighbourhood of both masks;
    a picture is shown whole. Tinted is what was missed and what is wrong. Every label and instance has an outline of
    its own.
    Raises: GridError if the three do not lie on one grid.
    """
    if not all(volume.geometry.is_same_grid(mask.geometry) for mask in (prediction, reference)):
        raise GridError(f"{volume.case}: image and masks lie on different grids; give the masks of this very image")
    draw = _picture if volume.geometry.spatial_dims == 2 else _planes
    return _with_legend(draw(volume, prediction, reference, _differences(prediction, reference)))


def _differences(prediction: LabelMap, reference: LabelMap) -> LabelMap:
    """1 where labels differ; of instances where only one of both maps has any."""
    a, b = (m.voxels > 0 if m.table.kind == "instances" else m.voxels for m in (prediction, reference))
    return replace(reference, voxels=(a != b).astype(np.uint8))


def _picture(volume: Volume, prediction: LabelMap, reference: LabelMap, differ: LabelMap) -> Image.Image:
    across_mm, down_mm = volume.geometry.extent_mm
    longest = min(max((*volume.geometry.shape_ijk, _SMALLEST)), _LARGEST)
    wide, high = (max(1, round(longest * edge / max(across_mm, down_mm))) for edge in (across_mm, down_mm))
    rgb = to_rgb(volume.voxels.swapaxes(-1, -2), window_of(volume.voxels, volume.modality))
    return _panel(rgb, prediction.voxels.T, reference.voxels.T, differ.voxels.T, (wide, high))


def _planes(volume: Volume, prediction: LabelMap, reference: LabelMap, differ: LabelMap) -> Image.Image:
    turned = [orient(volume, mask) for mask in (prediction, reference, differ)]
    both = replace(turned[0], labels=(turned[0].labels > 0) | (turned[1].labels > 0))
    box = box_around(both) or both.whole
    at = busiest_voxel(turned[2].labels if differ.voxels.any() else both.labels)
    edges_mm = sorted((stop - start) * s for (start, stop), s in zip(box, both.spacing_mm, strict=True))
    pixels_per_mm = min(_PANEL / edges_mm[1], 1.5 * _PANEL / edges_mm[2])
    window, panels = window_of(both.image, volume.modality), []
    for view in VIEWS:
        wide, high = (
            max(1, round((box[axis][1] - box[axis][0]) * both.spacing_mm[axis] * pixels_per_mm))
            for axis in (view.across, view.down)
        )
        predicted, true, where = (cut(part.labels, view, at, box) for part in turned)
        panel = _panel(to_rgb(cut(both.image, view, at, box), window), predicted, true, where, (wide, high))
        write_letters(panel, view.edges)
        panels.append(panel)
    if volume.geometry.calibrated:
        draw_scale(panels[0], pixels_per_mm)
    page = Image.new("RGB", (sum(p.width for p in panels) + 2 * MARGIN, max(p.height for p in panels)), PAPER)
    left = 0
    for panel in panels:
        page.paste(panel, (left, (page.height - panel.height) // 2))
        left += panel.width + MARGIN
    return page


def _panel(
    rgb: NDArray[np.uint8], predicted: Labels, true: Labels, differ: NDArray[Any], size: tuple[int, int]
) -> Image.Image:
    """One plane: grey or colour, tints, outlines; all planes (rows, columns) cover the whole panel."""
    fine = (size[0] * _FINER, size[1] * _FINER)
    picture = Image.fromarray(rgb).resize(fine, Image.Resampling.BICUBIC)
    for only, colour in (
        ((differ > 0) & (true > 0) & (predicted == 0), REFERENCE),
        ((differ > 0) & (predicted > 0), PREDICTION),
    ):
        held = Image.fromarray((only * round(255 * _TINT)).astype(np.uint8)).resize(fine, Image.Resampling.NEAREST)
        picture.paste(Image.new("RGB", picture.size, colour), mask=held)
    draw = ImageDraw.Draw(picture)
    solid, whole = (list(_outlines(labels, picture.size)) for labels in (true, predicted))
    dashed = [dash for points in whole for dash in dashes(points, *(n * _FINER for n in _DASH))]
    for lines, colour in ((solid, REFERENCE), (dashed, PREDICTION)):
        for halo, ink in ((2, (0, 0, 0)), (0, colour)):  # dark beside the line, for bright grounds
            for points in lines:
                draw.line([(float(x), float(y)) for x, y in points], ink, round(_WIDE * _FINER) + halo, "curve")
    return picture.resize(size, Image.Resampling.BOX)


def _outlines(labels: Labels, size: tuple[int, int]) -> Iterator[Points]:
    """Closed outlines of each value as points (n, 2) of x and y in pixels; the image's edge closes those it cuts."""
    scale = np.array(size) / labels.shape[::-1]
    for value, found in enumerate(find_objects(labels), 1):
        if found is not None:
            mask = np.pad(labels[found] == value, 1)
            for rows_columns in find_contours(mask.astype(np.float32), 0.5):
                yield (rows_columns[:, ::-1] + (found[1].start - 0.5, found[0].start - 0.5)) * scale


def dashes(points: Points, long: float, gap: float) -> list[Points]:
    """The pieces of a line (n, 2) that are drawn: `long` pixels, then a gap, along the line."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    pieces = []
    for start in np.arange(0.0, along[-1], long + gap):
        stop = min(start + long, along[-1])
        inner = along[(along > start) & (along < stop)]
        at = np.concatenate([[start], inner, [stop]])
        pieces.append(np.stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)], axis=1))
    return pieces


def _with_legend(picture: Image.Image) -> Image.Image:
    page = Image.new("RGB", (max(picture.width, 430) + 2 * MARGIN, picture.height + 2 * MARGIN + 26), PAPER)
    page.paste(picture, (MARGIN, MARGIN))
    draw, middle, x = ImageDraw.Draw(page), picture.height + 2 * MARGIN + 8, MARGIN
    for colour, text, strokes in (
        (REFERENCE, "reference", ((0, 27),)),
        (PREDICTION, "prediction", ((0, 7), (10, 17), (20, 27))),
    ):
        for start, stop in strokes:
            draw.line((x + start, middle, x + stop, middle), colour, 3)
        draw.text((x + 34, middle), text, INK, font(13), "lm")
        x += 34 + round(font(13).getlength(text)) + 22
    for colour, text in ((REFERENCE, "missed"), (PREDICTION, "wrong")):
        tint = tuple(round(_TINT * c + (1 - _TINT) * 70) for c in colour)
        draw.rectangle((x, middle - 7, x + 16, middle + 6), tint)
        draw.text((x + 23, middle), text, INK, font(13), "lm")
        x += 23 + round(font(13).getlength(text)) + 22
    return page
