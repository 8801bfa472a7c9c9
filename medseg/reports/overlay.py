"""Labels drawn into a picture: outlines in their colours and a light fill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt, find_objects

from medseg.domain.labels import LabelTable

Colour = tuple[int, int, int]
Float32Array = NDArray[np.float32]

# Bright enough for a dark field and strong enough for a white one; values side by side are far apart in hue.
INSTANCE_COLOURS: tuple[Colour, ...] = (
    (255, 170, 0), (0, 190, 255), (255, 60, 120), (60, 220, 60), (170, 110, 255), (240, 230, 30),
    (0, 220, 180), (255, 100, 40), (90, 130, 255), (235, 80, 230), (160, 220, 30), (220, 150, 110),
)  # fmt: skip
_UNKNOWN: Colour = (255, 0, 255)
_FINER = 2  # outlines are drawn on a grid this much finer than the picture and then averaged


def colours_of(labels: NDArray[Any], table: LabelTable) -> dict[int, Colour]:
    """The colour of each value that occurs: of the table, or for instances twelve in turn."""
    values = [int(value) for value in np.unique(labels) if value]
    if table.kind == "instances":
        return {value: INSTANCE_COLOURS[(value - 1) % len(INSTANCE_COLOURS)] for value in values}
    known = {label.value: label.colour for label in table}
    return {value: known.get(value, _UNKNOWN) for value in values}


def draw_labels(
    picture: Image.Image,
    labels: NDArray[Any],
    colours: Mapping[int, Colour],
    width: float = 1.8,
    fill: float = 0.15,
    nested: bool = False,
) -> Image.Image:
    """The picture with outlines `width` pixels wide, half of that outside, and an inside tinted by the share `fill`.

    labels (rows, columns) cover the whole picture, at any resolution; edges are smoothed between their centres. Where
    there are more than two voxels to a pixel the highest value stands for its neighbours, so that each leaves a dot.
    nested: where two labels touch the higher alone is outlined, for two thin lines run into one of neither colour.
    """
    if not labels.any():
        return picture.copy()
    size = (_FINER * picture.width, _FINER * picture.height)
    shown = _enlarge(_thin_out(labels, size), size)
    near, distance = _nearest_edge(shown, nested)
    reach = width * _FINER / 2
    outlined = shown[tuple(near)]
    edge = (distance <= reach) & ((shown == 0) | (distance < reach) & ~(nested & (shown < outlined)))
    owner = np.where(shown > 0, shown, np.where(edge, outlined, 0))
    ink = np.zeros((*shown.shape, 4), np.uint8)
    lookup = np.zeros((int(owner.max()) + 1, 3), np.uint8)
    for value in np.unique(owner).tolist():
        lookup[value] = colours.get(value, _UNKNOWN)
    ink[..., :3] = lookup[owner]
    ink[..., 3] = np.where(owner > 0, np.where(edge, 255, round(255 * fill)), 0)
    layer = Image.fromarray(ink).resize(picture.size, Image.Resampling.BOX)
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


def _thin_out(labels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """At most width x height, by the highest value of neighbours."""
    for axis, most in enumerate(reversed(size)):
        n = labels.shape[axis]
        if n > most:
            labels = np.maximum.reduceat(labels, np.arange(most) * n // most, axis=axis)
    return labels


def _enlarge(labels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """For each pixel the value that weighs most there when each is interpolated on its own; size: width, height."""
    heaviest = _weights(labels == 0, size, (0.0, 0.0, *labels.shape[::-1])) - 1e-4  # on a tie there is something
    shown = np.zeros(size[::-1], labels.dtype)
    for value, found in enumerate(find_objects(labels), 1):
        if found is None:
            continue
        rows, columns = (
            slice(max(s.start - 2, 0), min(s.stop + 2, n)) for s, n in zip(found, labels.shape, strict=True)
        )
        # The pixels wholly within these rows and columns, and what they are in units of the cut-out.
        (top, bottom), (left, right) = (
            (-(-s.start * big // n), s.stop * big // n)
            for s, n, big in zip((rows, columns), labels.shape, size[::-1], strict=True)
        )
        box = (
            left * labels.shape[1] / size[0] - columns.start,
            top * labels.shape[0] / size[1] - rows.start,
            right * labels.shape[1] / size[0] - columns.start,
            bottom * labels.shape[0] / size[1] - rows.start,
        )
        weights = _weights(labels[rows, columns] == value, (right - left, bottom - top), box)
        here = np.s_[top:bottom, left:right]
        heavier = weights > heaviest[here]
        shown[here][heavier], heaviest[here][heavier] = value, weights[heavier]
    return shown


def _weights(held: NDArray[np.bool_], size: tuple[int, int], box: tuple[float, float, float, float]) -> Float32Array:
    field = Image.fromarray(held.astype(np.float32))
    return np.array(field.resize(size, Image.Resampling.BILINEAR, _within(box, held.shape)))


def _within(box: tuple[float, float, float, float], shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """The same box, where rounding put an edge a hair outside."""
    return max(box[0], 0), max(box[1], 0), min(box[2], shape[1]), min(box[3], shape[0])


def _nearest_edge(shown: NDArray[Any], nested: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """For each pixel the nearest one of a label beside another value (nested: a lower one), and how far that is."""
    framed = np.pad(shown, 1, mode="edge")
    differs = np.zeros(shown.shape, bool)
    for beside in (framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:]):
        differs |= (beside < shown) if nested else (beside != shown)
    edge = differs & (shown > 0)
    if not edge.any():
        return np.zeros((2, *shown.shape), int), np.full(shown.shape, np.inf)
    distance, near = distance_transform_edt(~edge, return_indices=True)
    return near, distance
