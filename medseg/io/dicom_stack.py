"""Slices into a stack: the order and the affine, from the positions and from nothing else."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medseg.domain.errors import GridError, SeriesError, SpacingError
from medseg.domain.geometry import Float64Array
from medseg.io.dicom_header import PHASE_KEYWORDS, Header
from medseg.io.dicom_pixels import read_stored

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

_SAME_MM = 1e-3
_TILT_DEGREES = 0.1


def in_order(headers: Sequence[Header]) -> list[Header]:
    """By rising position along the slice normal of the first; as given where a position or orientation is missing."""
    if any(header.position_mm is None or header.orientation is None for header in headers):
        return list(headers)
    row, column = np.array(headers[0].orientation, dtype=np.float64).reshape(2, 3)
    with np.errstate(all="ignore"):  # nothing is checked yet
        distances = _positions(headers) @ np.cross(row, column)
    return [headers[n] for n in np.argsort(distances, kind="stable")]


def stack_affine(headers: Sequence[Header]) -> Float64Array:
    """Voxel (column, row, slice) to RAS mm, for at least two slices of one orientation, in order.

    The slice axis is the mean step from position to position. Cosines within rounding of perpendicular unit vectors
    are made so.
    Raises: SeriesError for several images at one position, GridError for a stack that leans (gantry tilt) or whose
    slices are shifted, SpacingError for a missing slice or uneven steps.
    """
    first, axes = headers[0], _axes(headers[0])
    assert first.spacing_mm is not None
    local = (_positions(headers) - _positions(headers)[0]) @ axes  # along columns, along rows, along the normal
    _check_repeated(headers, local[:, 2])
    _check_tilt(headers, local)
    _check_steps(headers, local)
    affine = np.eye(4)
    affine[:3, 0] = axes[:, 0] * first.spacing_mm[1]
    affine[:3, 1] = axes[:, 1] * first.spacing_mm[0]
    affine[:3, 2] = axes @ local[-1] / (len(headers) - 1)
    affine[:3, 3] = _positions(headers)[0]
    return LPS_TO_RAS @ affine


def _positions(headers: Sequence[Header]) -> Float64Array:
    return np.array([header.position_mm for header in headers], dtype=np.float64)


def _axes(header: Header) -> Float64Array:
    """The directions, LPS, in which columns, rows and slices rise, as columns of a rotation."""
    row, column = np.array(header.orientation, dtype=np.float64).reshape(2, 3)
    row = row / np.linalg.norm(row)
    column = column - row * (row @ column)
    column = column / np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)], axis=1)


def _folder(headers: Sequence[Header]) -> Path:
    return Path(os.path.commonpath([header.path.parent for header in headers]))


def _check_repeated(headers: Sequence[Header], along_mm: Float64Array) -> None:
    """Several images at one position: phases where there are as many everywhere and a tag tells them apart."""
    same = np.diff(along_mm) < _SAME_MM
    if not same.any():
        return
    place = np.concatenate([[0], np.cumsum(~same)])
    counts = set(Counter(place.tolist()).values())
    differing = [
        f"{keyword} ({n} values)"
        for keyword in PHASE_KEYWORDS
        if (n := len({header.phase.get(keyword) for header in headers[: int((place == 0).sum())]})) > 1
    ]
    if len(counts) == 1 and differing:
        raise SeriesError(
            f"{_folder(headers)}: {counts.pop()} images at each of {place[-1] + 1} positions, several phases or echoes "
            f"in one series; they differ in {', '.join(differing)}; export one of them to a folder of its own"
        )
    n = int(np.flatnonzero(same)[0])
    one, other = headers[n], headers[n + 1]
    identical = np.array_equal(read_stored(one), read_stored(other))
    raise SeriesError(
        f"{one.path}: duplicate position, the same as of {other.path.name} ({int(same.sum())} such among "
        f"{len(headers)} files); their pixels are {'identical' if identical else 'different'}; "
        f"{'remove one of the two' if identical else 'find out which belongs to the series and remove the other'}"
    )


def _check_tilt(headers: Sequence[Header], local_mm: Float64Array) -> None:
    aside, along = float(np.linalg.norm(local_mm[-1, :2])), float(local_mm[-1, 2])
    degrees = float(np.degrees(np.arctan2(aside, along)))
    if degrees > _TILT_DEGREES and aside > 0.05:  # less is rounding of the positions
        raise GridError(
            f"{_folder(headers)}: gantry tilt: the stack leans {degrees:.2f} degrees from the normal of its slices "
            f"({aside:.4g} mm over {len(headers)} slices), which is not read yet; resample it to an upright grid"
        )


def _check_steps(headers: Sequence[Header], local_mm: Float64Array) -> None:
    gaps = np.diff(local_mm[:, 2])
    step = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # the lower median: one gap of two may be the one that is wrong
    tolerance = min(max(0.02 * step, 0.05), step / 4)  # the quarter: 0.05 mm would hide a missing slice of 0.05 mm
    wrong = np.flatnonzero(np.abs(gaps - step) > tolerance)
    steps = np.round(gaps / step)
    if len(wrong) and (steps[wrong] >= 2).all() and (np.abs(gaps - steps * step) <= tolerance * steps).all():
        one, other = headers[wrong[0]], headers[wrong[0] + 1]
        missing = int((steps - 1).sum())
        raise SpacingError(
            f"{one.path}: {missing} missing slice{'s' * (missing > 1)} in the series, the first after this file: the "
            f"next, {other.path.name}, is {gaps[wrong[0]]:.4g} mm away, expected {step:.4g} mm; copy what is missing",
            gaps_mm=gaps.tolist(),
        )
    off = local_mm - np.arange(len(headers))[:, None] * local_mm[-1] / (len(headers) - 1)
    drift = float(np.abs(off[:, 2]).max())
    if len(wrong) or drift > tolerance:
        n = int(wrong[0]) if len(wrong) else int(np.abs(off[:-1, 2]).argmax())
        raise SpacingError(
            f"{headers[n].path}: uneven slice spacing here, before {headers[n + 1].path.name}: steps of "
            f"{gaps.min():.4g} to {gaps.max():.4g} mm, usually {step:.4g}, up to {drift:.4g} mm off an even grid "
            f"({tolerance:.3g} mm allowed); export the series with even spacing or resample it",
            gaps_mm=gaps.tolist(),
        )
    shift = float(np.linalg.norm(off[:, :2], axis=1).max())
    if shift > tolerance:
        raise GridError(
            f"{_folder(headers)}: its slices are shifted sideways by up to {shift:.4g} mm against each other, "
            f"{tolerance:.3g} mm allowed; export the series again or resample it"
        )
