"""What lies in a DICOM folder, in words and numbers; names of patients and files only where they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom import dcmread

from medseg.domain.doubts import NO_DOUBTS
from medseg.domain.errors import InputError
from medseg.domain.geometry import Geometry
from medseg.domain.words import counted
from medseg.io.dicom_checks import check_image, check_no_localizer, check_projection, check_together
from medseg.io.dicom_continuation import continuing
from medseg.io.dicom_elements import text
from medseg.io.dicom_header import Header
from medseg.io.dicom_projection import is_single_projection, picture_grid
from medseg.io.dicom_quiet import quiet_pydicom
from medseg.io.dicom_scan import Scan
from medseg.io.dicom_series import Stack
from medseg.io.dicom_stack import find_grid, in_order, repeated

_NAMES = (
    *("PatientName", "PatientID", "StudyDate", "StudyDescription", "SeriesDescription", "SeriesNumber"),
    *("SeriesInstanceUID",),
)
_OBLIQUE_DEGREES = 1.0


@dataclass(frozen=True)
class Entry:
    """One candidate volume.

    geometry:  None where the places of its slices are in doubt.
    direction: "axial", "coronal", "sagittal", or "oblique" with the nearest of them; of a projection "unknown".
    faults:    why it would be refused, as `medseg segment` says it; empty where only its pixels are unread.
    """

    number: int
    stack: Stack
    geometry: Geometry | None
    direction: str
    faults: tuple[str, ...]


def entries(found: Scan) -> list[Entry]:
    """All candidates of a place, diagnosed without their pixels."""
    return [
        replace(entry, faults=(*_of_series(stack, found.stacks), *entry.faults))
        for number, stack in enumerate(found.stacks, 1)
        for entry in [_entry(number, stack)]
    ]


def _of_series(stack: Stack, stacks: Sequence[Stack]) -> Iterator[str]:
    """What is wrong with the series that a candidate is a part of."""
    parts = _apart([other for other in stacks if other.group == stack.group and other is not stack])
    if stack.owner:
        what = "studies" if stack.owner.startswith("study") else "patients"
        yield f"images of several {what} have its SeriesInstanceUID"
    if stack.kind == "volume" and (lost := continuing(stack, parts)):
        yield f"{counted(len(lost), 'image')} of another part of the series would fill or follow its slices"


def names_of(stack: Stack) -> dict[str, str]:
    """Who and what the first file says it is; empty where it cannot be read."""
    with suppress(Exception), quiet_pydicom():
        dataset = dcmread(stack.headers[0].path, force=True, stop_before_pixels=True, specific_tags=list(_NAMES))
        return {word: value for word in _NAMES if (value := text(dataset, word))}
    return {}


def _apart(stacks: Sequence[Stack]) -> list[Stack]:
    """One of those stacks that lie at the same positions: phases of one place tell nothing new."""
    places = {tuple(header.position_mm for header in stack.headers): stack for stack in stacks}
    return list(places.values())


def _entry(number: int, stack: Stack) -> Entry:
    geometry, faults = None, list(_faults(stack))
    headers = in_order(stack.headers)
    if is_single_projection(headers):
        return Entry(number, stack, None if faults else picture_grid(headers[0]), "unknown", tuple(faults))
    if not faults:
        copies = set(repeated(headers))
        if copies:
            faults.append(f"{len(copies)} of {len(headers)} slices lie where another does; read only if they are alike")
        kept = [header for n, header in enumerate(headers) if n - 1 not in copies]
        try:
            grid = find_grid("", kept, regrid=False)
            geometry = Geometry((kept[0].columns, kept[0].rows, len(kept)), grid.affine_ras)
            if grid.tilt_degrees:
                faults.append(f"tilted by {grid.tilt_degrees:.2f} degrees (is read)")
        except InputError as error:
            faults.append(str(error).removeprefix(": "))
    return Entry(number, stack, geometry, _direction(headers[0]), tuple(faults))


def _faults(stack: Stack) -> Iterator[str]:
    """The first of each kind, and for how many images the second kind goes."""
    try:
        check_no_localizer(stack.headers)
    except InputError as error:
        yield _reason(error, stack.headers[0])
        return
    refused = []
    single = is_single_projection(stack.headers)
    for header in stack.headers:
        try:
            (check_projection if single else check_image)(header, NO_DOUBTS)
        except InputError as error:
            refused.append(f"{header.name.split(': ')[-1]}: {_reason(error, header)}")
    if refused:
        yield refused[0] + (f" ({len(refused)} of {len(stack.headers)} images)" if len(refused) > 1 else "")
    if single:
        return
    try:
        check_together(stack.headers)
    except InputError as error:
        yield _reason(error, stack.headers[0])


def _reason(error: InputError, header: Header) -> str:
    return str(error).removeprefix(f"{header.name}: ")


def _direction(header: Header) -> str:
    if header.orientation is None:
        return "unknown"
    with np.errstate(all="ignore"):
        normal = np.cross(header.orientation[:3], header.orientation[3:])
        share = np.abs(normal) / np.linalg.norm(normal)
    if not np.isfinite(share).all():
        return "unknown"
    name = ("sagittal", "coronal", "axial")[int(share.argmax())]
    degrees = float(np.degrees(np.arccos(share.max().clip(max=1))))
    return name if degrees <= _OBLIQUE_DEGREES else f"oblique, {degrees:.0f} degrees from {name}"


def file_names(found: Scan) -> dict[str, Path]:
    """The files by the names that messages give them."""
    return {file.name.split(": ")[-1]: Path(file.title) for file in found.files}
