"""DICOM in: found by content, told apart, checked as a whole, then stacked by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.doubts import NO_DOUBTS, Doubts
from medseg.domain.errors import SeriesError
from medseg.domain.geometry import Float64Array, Geometry
from medseg.domain.series import Series
from medseg.domain.volume import Volume
from medseg.io.dicom_checks import check_image, check_no_localizer, check_projection, check_together
from medseg.io.dicom_header import Header
from medseg.io.dicom_pick import pick
from medseg.io.dicom_pixels import read_noted, read_stored
from medseg.io.dicom_projection import UNSIZED, is_single_projection, picture_grid
from medseg.io.dicom_scan import Scan, scan
from medseg.io.dicom_series import Stack
from medseg.io.dicom_stack import Grid, find_grid, in_order, repeated
from medseg.io.dicom_values import require_hounsfield, scale
from medseg.io.memory import require_memory
from medseg.io.slice_likeness import likeness_note

_LOSSY = {
    "1.2.840.10008.1.2.4.50": "JPEG",
    "1.2.840.10008.1.2.4.51": "JPEG",
    "1.2.840.10008.1.2.4.81": "near-lossless JPEG-LS",
    "1.2.840.10008.1.2.4.91": "JPEG 2000, which may be lossy",
    "1.2.840.10008.1.2.4.203": "high-throughput JPEG 2000, which may be lossy",
}


def read_dicom(path: Path, case: str, doubts: Doubts = NO_DOUBTS, modality: str | None = None) -> Volume:
    """The one volume of a folder, zip, DICOMDIR or multi-frame file that is meant, see `dicom_pick`.

    modality: what the model takes, where that decides between several.
    Raises: SeriesError where it is in doubt which; InputError if any DICOM file there is damaged, since it may be one
    of its slices; else as `read_stack`.
    """
    found = scan(path)
    try:
        if found.damaged:
            raise found.damaged[0]
        stack, notes = pick(found, doubts.series, None if doubts.modality else modality)
        volume = read_stack(found, stack, case, doubts)
    except BaseException:
        if found.keeps is not None:
            found.keeps.remove()
        raise
    return replace(volume, notes=(*found.notes, *notes, *volume.notes))


def read_stack(found: Scan, stack: Stack, case: str, doubts: Doubts = NO_DOUBTS) -> Volume:
    """A stack as a volume on the grid of its slices; on an even grid where `doubts.regrid` and they are uneven.

    A single projection image becomes a picture, (1, columns, rows).
    Voxels are (1, columns, rows, slices): slices in rising position along the normal, the cross product of the two
    in-plane axes; int16 or float32, see `dicom_values`. InstanceNumber plays no part. The affine is sheared where the
    gantry was tilted. `Volume.series` has the sources in their own order, also where
    the volume was resampled between them.
    Raises: SeriesError, SpacingError, GridError, ValueRangeError or InputError for anything irregular: see
    `dicom_checks`, `dicom_stack`, `dicom_pixels` and `dicom_values`.
    """
    name = _name(found, stack)
    if is_single_projection(stack.headers):
        return _read_projection(name, stack.headers[0], found.keeps, case, doubts)
    check_stack(stack, doubts)
    headers = in_order(stack.headers)
    _require_memory(name, headers)
    stored, coding = read_noted(headers)
    headers, stored, dropped = _without_copies(name, headers, stored)
    grid = find_grid(name, headers, doubts.regrid)
    modality = doubts.modality or headers[0].modality
    values = scale(name, modality, headers, stored)
    if modality == "CT" and not (doubts.assume_hu or doubts.modality):
        require_hounsfield(name, values.voxels)
    names = [header.name.split(": ")[-1] for header in headers]
    unlike = likeness_note(names, list(values.voxels.T))
    voxels: NDArray[Any] = values.voxels if grid.places is None else _at(values.voxels, grid.places)
    geometry = Geometry(voxels.shape, grid.affine_ras)
    notes = (*_notes(headers, doubts), dropped, coding, *values.notes, unlike, grid.note, _tilt_note(grid))
    series = _series(headers, found.keeps)
    return Volume(voxels[None], geometry, case, modality, series=series, notes=tuple(filter(None, notes)))


def check_stack(stack: Stack, doubts: Doubts) -> None:
    """All that can be said without pixels of each image and of their belonging together; see `dicom_checks`."""
    check_no_localizer(stack.headers)
    for header in stack.headers:
        check_image(header, doubts)
    check_together(stack.headers)


def _read_projection(name: str, header: Header, keeps: object, case: str, doubts: Doubts) -> Volume:
    check_no_localizer([header])
    check_projection(header, doubts)
    _require_memory(name, [header])
    values = scale(name, header.modality, [header], read_stored([header]))
    notes = (*_notes([header], doubts), *values.notes, UNSIZED)
    modality = doubts.modality or header.modality
    series = _series([header], keeps)
    return Volume(values.voxels[None, :, :, 0], picture_grid(header), case, modality, series=series, notes=notes)


def _name(found: Scan, stack: Stack) -> str:
    """How messages call a stack: as what the user named, with its number where there are others."""
    n = next(n for n, other in enumerate(found.stacks, 1) if other is stack)
    return f"{found.root}, series {n} of {len(found.stacks)}" if len(found.stacks) > 1 else str(found.root)


def _require_memory(name: str, headers: Sequence[Header]) -> None:
    """For the pixels as stored, of many frames also their file, and for the values made of them."""
    first = headers[0]
    stored = first.bits // 8 * (2 if first.frames > 1 else 1)
    require_memory(name, first.rows * first.columns * len(headers) * (stored + 4), "the series")


def _without_copies(
    name: str, headers: list[Header], stored: list[NDArray[Any]]
) -> tuple[list[Header], list[NDArray[Any]], str]:
    """One of several images at one position where they are the same; and a note.

    Raises: SeriesError where they differ.
    """
    copies = set(repeated(headers))
    for n in copies:
        one, other = headers[n], headers[n + 1]
        if (one.slope, one.intercept) != (other.slope, other.intercept) or not np.array_equal(stored[n], stored[n + 1]):
            two = " and ".join(header.name.split(": ")[-1] for header in (one, other))
            raise SeriesError(
                f"{name}: duplicate position: {two} lie at one place ({len(copies)} such among {len(headers)}) and "
                "their pixels are different; find out which belongs to the series and remove the other"
            )
    kept = [n for n in range(len(headers)) if n - 1 not in copies]
    note = f"{len(copies)} of {len(headers)} slices were there twice, pixel for pixel, and used once" if copies else ""
    return [headers[n] for n in kept], [stored[n] for n in kept], note


def _at(voxels: NDArray[Any], places: Float64Array) -> NDArray[np.float32]:
    """Linear interpolation between slices, (columns, rows, len(places))."""
    below = np.floor(places).astype(int).clip(0, voxels.shape[2] - 1)
    above = (below + 1).clip(max=voxels.shape[2] - 1)
    share = (places - below).astype(np.float32)
    low, high = voxels[..., below].astype(np.float32), voxels[..., above].astype(np.float32)
    even: NDArray[np.float32] = low * (1 - share) + high * share
    return even


def _series(headers: Sequence[Header], keeps: object) -> Series:
    first = headers[0]
    if first.frames > 1:
        return Series(
            first.series_uid, first.modality, (first.path,), tuple(header.frame + 1 for header in headers), keeps
        )
    return Series(first.series_uid, first.modality, tuple(header.path for header in headers), keeps=keeps)


def _notes(headers: Sequence[Header], doubts: Doubts) -> list[str]:
    notes = []
    bare = sum(not header.has_preamble for header in headers)
    if bare:
        notes.append(f"{bare} of {len(headers)} DICOM files have no preamble")
    if doubts.modality and doubts.modality != headers[0].modality:
        notes.append(f"taken for {doubts.modality} (--force); the files say {headers[0].modality or 'nothing'}")
    syntaxes = {header.transfer_syntax for header in headers} & _LOSSY.keys()
    notes += [f"stored with loss ({_LOSSY[syntax]}); few changed bits in it cannot be noticed" for syntax in syntaxes]
    if doubts.assume_hu and (doubts.modality or headers[0].modality) == "CT":
        notes.append("values were taken for Hounsfield units (--assume-hu)")
    return notes


def _tilt_note(grid: Grid) -> str:
    if not grid.tilt_degrees:
        return ""
    return (
        f"the gantry was tilted by {grid.tilt_degrees:.2f} degrees; the mask lies on the tilted slices, and as NIfTI "
        "on an upright grid around them"
    )
