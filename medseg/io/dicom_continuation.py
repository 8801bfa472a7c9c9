"""Images outside a chosen volume that lie where its next slices would: passed over, they would be slices lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.domain.geometry import Float64Array
from medseg.io.dicom_header import Header
from medseg.io.dicom_series import Stack, is_colour, is_localizer
from medseg.io.dicom_stack import SAME_MM

_PARALLEL = 0.98  # cosine of the normals: 11 degrees
_ON_GRID = 0.05  # of a step
_MOST_STEPS = 1e6


def continuing(chosen: Stack, others: Sequence[Stack]) -> list[Header]:
    """Images of other stacks that fill gaps of the chosen one or continue it.

    Of the same series: a parallel image beyond its ends, or on its grid in a gap, whatever its size or acquisition, and
    an image without a position. Localizers, colour images and images of another series: only where they are on the
    grid, next to its slices and of their size, in the same study and frame of reference. Volumes that cover the chosen
    one are phases of it, not its continuation.
    """
    grid = _grid(chosen.headers)
    if grid is None:
        return []
    normal, first_mm, step, taken = grid
    low, high = min(taken) - _ON_GRID, max(taken) + _ON_GRID
    found: list[Header] = []
    near: list[tuple[int, Header]] = []
    for stack in others:
        own = stack.group == chosen.group
        if not own and stack.kind == "images at one position":  # monitoring of contrast, planned on the scan's own grid
            continue
        for header in stack.headers:
            strict = not own or is_localizer(header) or is_colour(header)
            if header.position_mm is None or header.orientation is None:
                found += [] if strict else [header]
                continue
            if not _is_parallel(header, normal) or (strict and not _is_alike(header, chosen.headers[0], own)):
                continue
            with np.errstate(all="ignore"):
                place = (float(np.asarray(header.position_mm) @ normal) - first_mm) / step
            if not abs(place) < _MOST_STEPS:
                found += [] if strict else [header]
                continue
            is_on_grid = abs(place - round(place)) <= _ON_GRID
            if strict:
                near += [(round(place), header)] if is_on_grid else []
            elif not low <= place <= high or (is_on_grid and round(place) not in taken):
                found.append(header)
    while grown := [(place, header) for place, header in near if place not in taken and {place - 1, place + 1} & taken]:
        taken |= {place for place, _ in grown}
        found += [header for _, header in grown]
    return found


def _grid(headers: Sequence[Header]) -> tuple[Float64Array, float, float, set[int]] | None:
    """The normal, where the first slice lies along it, the usual step, and the places of all slices in steps."""
    if len(headers) < 2 or any(header.position_mm is None or header.orientation is None for header in headers):
        return None
    row, column = np.array(headers[0].orientation, dtype=np.float64).reshape(2, 3)
    with np.errstate(all="ignore"):  # nothing is checked yet
        normal = np.cross(row, column)
        along = np.array([header.position_mm for header in headers], dtype=np.float64) @ normal
        gaps = np.diff(along)
        gaps = gaps[gaps >= SAME_MM]
        step = float(np.median(gaps)) if len(gaps) else 0.0
        places = (along - along[0]) / step if step else np.zeros(1)
    if not step or not np.isfinite(places).all() or np.abs(places).max() > _MOST_STEPS:
        return None
    return normal, float(along[0]), step, {round(float(place)) for place in places}


def _is_parallel(header: Header, normal: Float64Array) -> bool:
    row, column = np.array(header.orientation, dtype=np.float64).reshape(2, 3)
    with np.errstate(all="ignore"):
        return bool(abs(float(np.cross(row, column) @ normal)) > _PARALLEL)


def _is_alike(header: Header, first: Header, own: bool) -> bool:
    """Whether an image has the size of a slice, and lies within its field of view in the same space."""
    same = (header.rows, header.columns) == (first.rows, first.columns)
    if own or not same:
        return same
    return (
        (header.study_uid, header.frame_of_reference, header.spacing_mm, header.modality)
        == (first.study_uid, first.frame_of_reference, first.spacing_mm, first.modality)
        and not is_localizer(header)
        and not is_colour(header)
        and _overlap(header, first)
    )


def _overlap(header: Header, first: Header) -> bool:
    """Whether two images of one size, seen along the normal, overlap."""
    assert header.position_mm is not None
    assert first.position_mm is not None
    assert first.orientation is not None
    if first.spacing_mm is None:
        return True
    row, column = np.array(first.orientation, dtype=np.float64).reshape(2, 3)
    apart = np.array(header.position_mm, dtype=np.float64) - np.array(first.position_mm, dtype=np.float64)
    aside = float(np.hypot(apart @ row, apart @ column))
    return aside <= max(first.rows * first.spacing_mm[0], first.columns * first.spacing_mm[1]) / 2
