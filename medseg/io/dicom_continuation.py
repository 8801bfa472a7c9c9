"""Images outside a chosen volume that lie where its next slices would: passed over, they would be slices lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.domain.geometry import Float64Array
from medseg.io.dicom_header import Header
from medseg.io.dicom_series import Stack, is_colour, is_localizer
from medseg.io.dicom_stack import SAME_MM

_PARALLEL = 0.02  # of direction cosines
_ON_GRID = 0.2  # of a step
_ON_GRID_OF_OTHERS = 0.05


def continuing(chosen: Stack, others: Sequence[Stack]) -> list[Header]:
    """Images of other stacks at free places of the chosen one's grid: in its gaps, or one after another at its ends.

    Of the same series any parallel image counts, whatever its size or acquisition; of another series only one of the
    same study, frame of reference, size and pixel spacing, exactly on the grid. Whole volumes that cover the chosen one
    are phases of it, not its continuation.
    """
    first = chosen.headers[0]
    if len(chosen.headers) < 2 or any(h.position_mm is None or h.orientation is None for h in chosen.headers):
        return []
    row, column = np.array(first.orientation, dtype=np.float64).reshape(2, 3)
    with np.errstate(all="ignore"):  # directions are not checked yet
        normal = np.cross(row, column)
        along = np.array([header.position_mm for header in chosen.headers], dtype=np.float64) @ normal
    if not np.isfinite(along).all() or along[-1] - along[0] < SAME_MM:
        return []
    gaps = np.diff(along)
    step = float(np.median(gaps[gaps >= SAME_MM]))
    taken = {round(float(place)) for place in (along - along[0]) / step}
    free: list[tuple[int, Header]] = []
    for stack in others:
        own = stack.group == chosen.group
        if not own and stack.kind == "images at one position":  # monitoring of contrast, planned on the scan's own grid
            continue
        for header in stack.headers:
            if not _belongs(header, first, own):
                continue
            place = (float(np.asarray(header.position_mm) @ normal) - float(along[0])) / step
            if abs(place - round(place)) <= (_ON_GRID if own else _ON_GRID_OF_OTHERS) and _overlaps(
                header, first, normal
            ):
                free.append((round(place), header))
    found: list[Header] = []
    while grown := [(place, header) for place, header in free if place not in taken and {place - 1, place + 1} & taken]:
        taken |= {place for place, _ in grown}
        found += [header for _, header in grown]
    return found


def _belongs(header: Header, first: Header, own: bool) -> bool:
    if header.position_mm is None or header.orientation is None or is_localizer(header) or is_colour(header):
        return False
    assert first.orientation is not None
    if max(abs(a - b) for a, b in zip(header.orientation, first.orientation, strict=True)) > _PARALLEL:
        return False
    if own:
        return True
    return (
        (header.study_uid, header.frame_of_reference, header.rows, header.columns, header.spacing_mm, header.modality)
        == (first.study_uid, first.frame_of_reference, first.rows, first.columns, first.spacing_mm, first.modality)
        and header.frame_of_reference != ""
        and header.image_type == first.image_type
    )


def _overlaps(header: Header, first: Header, normal: Float64Array) -> bool:
    """Whether the two images, seen along the normal, overlap."""
    if header.spacing_mm is None or first.spacing_mm is None:
        return True
    apart = _centre(header) - _centre(first)
    aside = float(np.linalg.norm(apart - normal * (apart @ normal)))
    return aside <= max(first.rows * first.spacing_mm[0], first.columns * first.spacing_mm[1]) / 2


def _centre(header: Header) -> Float64Array:
    assert header.position_mm is not None
    assert header.orientation is not None
    assert header.spacing_mm is not None
    row, column = np.array(header.orientation, dtype=np.float64).reshape(2, 3)
    middle: Float64Array = (
        np.array(header.position_mm, dtype=np.float64)
        + row * header.spacing_mm[1] * (header.columns - 1) / 2
        + column * header.spacing_mm[0] * (header.rows - 1) / 2
    )
    return middle
