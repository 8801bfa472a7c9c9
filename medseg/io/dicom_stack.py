"""Slices into a stack: the order and the affine, from the positions and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medseg.domain.errors import GridError, SeriesError, SpacingError
from medseg.domain.geometry import Float64Array
from medseg.domain.words import counted
from medseg.io.dicom_header import Header

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME_MM = 1e-3

_TILT_DEGREES, _TILT_MM = 0.1, 0.05  # less is rounding of the positions
_MOST_TILT_DEGREES = 45.0
_MOST_FILLED = 10  # even slices for each one that is there


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the slices lie, or shall lie.

    affine_ras:   voxel (column, row, slice) to RAS mm; its third axis leans where the gantry was tilted.
    places:       None for even slices; else, for each slice of the even grid, its place among the given ones (n,).
    tilt_degrees: between the third axis and the normal of the slices; 0 where it is within rounding.
    note:         what was done to uneven slices.
    """

    affine_ras: Float64Array
    places: Float64Array | None
    tilt_degrees: float
    note: str = ""


def in_order(headers: Sequence[Header]) -> list[Header]:
    """By rising position along the slice normal of the first; as given where a position or orientation is missing."""
    if any(header.position_mm is None or header.orientation is None for header in headers):
        return list(headers)
    row, column = np.array(headers[0].orientation, dtype=np.float64).reshape(2, 3)
    with np.errstate(all="ignore"):  # nothing is checked yet
        distances = _positions(headers) @ np.cross(row, column)
    return [headers[n] for n in np.argsort(distances, kind="stable")]


def repeated(headers: Sequence[Header]) -> list[int]:
    """The slices, of those in order, that lie where the one before lies."""
    return np.flatnonzero(np.diff(_local(headers)[:, 2]) < SAME_MM).tolist()


def find_grid(name: str, headers: Sequence[Header], regrid: bool) -> Grid:
    """The grid of at least two slices of one orientation, in order, no two at one place.

    The slice axis is the mean step from position to position. Cosines are taken as they are stated: what is rounded
    to five decimals, made perpendicular, would move the far corner of a slice by 0.01 mm. With regrid, uneven slices
    get an even grid of their usual step, from the first on.
    Raises: SeriesError where all lie at one position; SpacingError for a missing slice or uneven steps unless regrid;
    GridError for slices shifted sideways.
    """
    first = headers[0]
    assert first.spacing_mm is not None
    axes, local = _axes(first), _local(headers)
    if not np.isfinite(local).all() or local[-1, 2] < SAME_MM:
        raise SeriesError(f"{name}: its {len(headers)} images all lie at one position; give the whole series")
    tilt = _tilt(name, local)
    even, note = local[-1] / (len(headers) - 1), ""
    places = None
    try:
        _check_steps(name, headers, local)
    except SpacingError:
        if not regrid:
            raise
        even, places, note = _regridded(name, headers, local)
    _check_sideways(name, local)
    affine = np.eye(4)
    row, column = np.array(first.orientation, dtype=np.float64).reshape(2, 3)
    affine[:3, 0] = row * first.spacing_mm[1]
    affine[:3, 1] = column * first.spacing_mm[0]
    affine[:3, 2] = axes @ even
    affine[:3, 3] = _positions(headers)[0]
    return Grid(LPS_TO_RAS @ affine, places, tilt, note)


def _positions(headers: Sequence[Header]) -> Float64Array:
    return np.array([header.position_mm for header in headers], dtype=np.float64)


def _axes(header: Header) -> Float64Array:
    """The directions, LPS, in which columns, rows and slices rise, as columns of a rotation."""
    row, column = np.array(header.orientation, dtype=np.float64).reshape(2, 3)
    row = row / np.linalg.norm(row)
    column = column - row * (row @ column)
    column = column / np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)], axis=1)


def _local(headers: Sequence[Header]) -> Float64Array:
    """Positions from the first slice: mm along columns, along rows, along the normal, (n, 3)."""
    positions = _positions(headers)
    local: Float64Array = (positions - positions[0]) @ _axes(headers[0])
    return local


def _tilt(name: str, local_mm: Float64Array) -> float:
    aside, along = float(np.linalg.norm(local_mm[-1, :2])), float(local_mm[-1, 2])
    degrees = float(np.degrees(np.arctan2(aside, along)))
    if degrees > _MOST_TILT_DEGREES:
        raise GridError(
            f"{name}: its slices are shifted sideways: the stack leans {degrees:.1f} degrees from their normal, up to "
            f"{_MOST_TILT_DEGREES:g} is taken for a tilted gantry; check the positions"
        )
    return degrees if degrees > _TILT_DEGREES and aside > _TILT_MM else 0.0


def _usual(gaps: Float64Array) -> tuple[float, float]:
    """The usual step, and by how much another may differ from it, in mm."""
    step = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # the lower median: one gap of two may be the one that is wrong
    return step, min(max(0.02 * step, 0.05), step / 4)  # the quarter: 0.05 mm would hide a missing slice of 0.05 mm


def _check_steps(name: str, headers: Sequence[Header], local_mm: Float64Array) -> None:
    gaps = np.diff(local_mm[:, 2])
    step, tolerance = _usual(gaps)
    wrong = np.flatnonzero(np.abs(gaps - step) > tolerance)
    steps = np.round(gaps / step)
    if len(wrong) and (steps[wrong] >= 2).all() and (np.abs(gaps - steps * step) <= tolerance * steps).all():
        n, missing = int(wrong[0]), int((steps - 1).sum())
        raise SpacingError(
            f"{name}: {counted(missing, 'missing slice')} in the series, the first between "
            f"{_two(headers, local_mm, n)}, {gaps[n]:.4g} mm apart, expected {step:.4g} mm; copy what is missing, or "
            "give --regrid to fill in between",
            gaps_mm=gaps.tolist(),
        )
    off = local_mm[:, 2] - np.linspace(0, local_mm[-1, 2], len(headers))
    drift = float(np.abs(off).max())
    if len(wrong) or drift > tolerance:
        n = int(wrong[0]) if len(wrong) else int(np.abs(off[:-1]).argmax())
        raise SpacingError(
            f"{name}: uneven slice spacing, first between {_two(headers, local_mm, n)}: steps of {gaps.min():.4g} to "
            f"{gaps.max():.4g} mm, usually {step:.4g}, up to {drift:.4g} mm off an even grid ({tolerance:.3g} mm "
            "allowed); export the series with even spacing, or give --regrid to resample it",
            gaps_mm=gaps.tolist(),
        )


def _two(headers: Sequence[Header], local_mm: Float64Array, n: int) -> str:
    """Two neighbours by place in the stack, position along it and file."""
    names = [header.name.split(": ")[-1] for header in headers[n : n + 2]]
    return f"slices {n + 1} and {n + 2} of {len(headers)} ({names[0]} and {names[1]})"


def _check_sideways(name: str, local_mm: Float64Array) -> None:
    """Slices lie on one straight line, in steps along the normal as long as they are."""
    line = local_mm[:, 2:] * local_mm[-1, :2] / local_mm[-1, 2]
    shift = float(np.linalg.norm(local_mm[:, :2] - line, axis=1).max())
    _, tolerance = _usual(np.diff(local_mm[:, 2]))
    if shift > tolerance:
        raise GridError(
            f"{name}: its slices are shifted sideways by up to {shift:.4g} mm against each other, {tolerance:.3g} mm "
            "allowed; export the series again"
        )


def _regridded(name: str, headers: Sequence[Header], local_mm: Float64Array) -> tuple[Float64Array, Float64Array, str]:
    """The even step as a vector, the place of each even slice among the given ones, and a note."""
    along = local_mm[:, 2]
    step, _ = _usual(np.diff(along))
    count = int(np.floor(along[-1] / step + 1e-6)) + 1
    if count > _MOST_FILLED * len(headers):
        raise SeriesError(
            f"{name}: {len(headers)} slices would become {count} of {step:.4g} mm, with gaps of up to "
            f"{np.diff(along).max():.4g} mm; export the parts of the series apart"
        )
    places = np.interp(np.arange(count) * step, along, np.arange(len(headers)))
    note = (
        f"{len(headers)} slices in steps of {np.diff(along).min():.4g} to {np.diff(along).max():.4g} mm were resampled "
        f"linearly to {count} slices {step:.4g} mm apart (--regrid)"
    )
    return local_mm[-1] * (step / along[-1]), places, note
