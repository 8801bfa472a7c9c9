"""What an object made from a DICOM series takes over from it: headers, places of its frames, identifiers, equipment."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom import Sequence as Items

from medseg import __version__
from medseg.domain.algorithm import Algorithm
from medseg.domain.errors import GridError, InputError
from medseg.domain.geometry import Float64Array, Geometry
from medseg.domain.labels import LabelMap
from medseg.domain.series import Series
from medseg.io.dicom_quiet import quiet_pydicom
from medseg.io.dicom_stack import LPS_TO_RAS
from medseg.io.dicom_uid import derived_uid
from medseg.io.files import whole_file

# Type 2 of the patient and study modules: they must be there and may be empty; anonymisers take them away.
_MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
_IN_PLANE_MM = 0.1


def source_headers(series: Series) -> list[Dataset]:
    """The headers of the series' files without their pixels, in order, with empty elements where type 2 ones lack.

    Values that are none (a sex of "unknown", a date of words) become empty, and a file of many frames is left with
    those of the series in its order, in these copies only.
    Raises: InputError if a file changed or went away since the series was read.
    """
    headers = []
    for number, path in enumerate(series.paths, start=1):
        try:
            with quiet_pydicom():
                header = dcmread(path, stop_before_pixels=True, force=True)
                _complete(header, series)
                if series.frames:
                    _keep_frames(header, series.frames)
        except Exception as error:  # whatever a file cut off since makes a parser raise
            reason = getattr(error, "strerror", None) or type(error).__name__
            what = f"file {number} of {len(series.paths)} of the series"  # names inside it may be a patient's
            raise InputError(f"{what} cannot be read any more ({reason}); segment the series again") from error
        headers.append(header)
    return headers


def _complete(header: Dataset, series: Series) -> None:
    for keyword in _MAY_BE_EMPTY:
        if header.get(keyword) is None:
            setattr(header, keyword, "")
    for keyword, pattern in (("StudyDate", r"\d{8}"), ("StudyTime", r"[0-2]\d([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")):
        if not re.fullmatch(pattern, str(header.get(keyword))):
            setattr(header, keyword, None)
    if not re.fullmatch(r"\d{8}", str(header.PatientBirthDate)):
        header.PatientBirthDate = None
    if header.PatientSex not in ("M", "F", "O"):
        header.PatientSex = ""
    if not header.get("FrameOfReferenceUID"):
        header.FrameOfReferenceUID = derived_uid(series.uid, "frame of reference")


def _keep_frames(header: Dataset, frames: Sequence[int]) -> None:
    """The groups of these frames (numbers from 1), as if there were no others; what all share is said once.

    highdicom looks for direction and pixel size among what is shared, and takes no two frames at one place, as other
    times and echoes have them.
    """
    groups = header.PerFrameFunctionalGroupsSequence
    header.PerFrameFunctionalGroupsSequence = Items([groups[n - 1] for n in frames])
    header.NumberOfFrames = len(frames)
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if not shared.get(name):
            setattr(shared, name, Items([_group(groups[frames[0] - 1], shared, name, header)]))
    header.SharedFunctionalGroupsSequence = Items([shared])


def planes_of_frames(geometry: Geometry, headers: Sequence[Dataset]) -> list[int | None]:
    """For each frame of the series, in order, the plane k of the grid that lies there; None outside the grid.

    A grid made of the slices gives each its own plane. A series that was resampled to an even grid gives the nearest.
    Raises: GridError if a frame is not parallel to the planes or beside them by more than a tenth of a millimetre, or
    3 % of their distance: `read_series` lets slices be off by 2 %.
    """
    planes: list[int | None] = []
    columns, rows, count = geometry.shape_ijk
    limit_mm = max(_IN_PLANE_MM, 0.03 * geometry.spacing_mm[2])
    for position, axes, spacing_mm, shape in _frames(headers):
        corners = np.array([[0, 0], [shape[0] - 1, 0], [0, shape[1] - 1]])
        wanted = position + corners @ (axes * spacing_mm[:, None])
        place = geometry.ras_mm_to_ijk(wanted @ LPS_TO_RAS[:3, :3])
        aside_mm = float((np.abs(place[:, :2] - corners) * np.array(geometry.spacing_mm[:2])).max())
        bent_mm = float(np.ptp(place[:, 2]) * geometry.spacing_mm[2])
        if shape != (columns, rows) or max(aside_mm, bent_mm) > limit_mm:
            raise GridError(
                f"a mask of {columns} x {rows} voxels does not lie on the slices of the series "
                f"({shape[0]} x {shape[1]} pixels, up to {max(aside_mm, bent_mm):.4g} mm apart); "
                "give the series that it was made from"
            )
        k = round(float(place[0, 2]))
        planes.append(k if 0 <= k < count else None)
    return planes


def _frames(headers: Sequence[Dataset]) -> list[tuple[Float64Array, Float64Array, Float64Array, tuple[int, int]]]:
    """Position, directions of columns and rows, the steps along them (all LPS, mm), and the numbers of both."""
    frames = []
    for header in headers:
        shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        for own in header.get("PerFrameFunctionalGroupsSequence") or [header]:
            position = _group(own, shared, "PlanePositionSequence", header).ImagePositionPatient
            cosines = _group(own, shared, "PlaneOrientationSequence", header).ImageOrientationPatient
            spacing = _group(own, shared, "PixelMeasuresSequence", header).PixelSpacing
            axes = np.array(cosines, dtype=np.float64).reshape(2, 3)
            steps = np.array([spacing[1], spacing[0]], dtype=np.float64)
            frames.append((np.array(position, dtype=np.float64), axes, steps, (int(header.Columns), int(header.Rows))))
    return frames


def _group(own: Dataset, shared: Dataset, name: str, header: Dataset) -> Any:
    """The functional group of a frame: its own, or that of all frames; of a classic slice the header itself."""
    for place in (own, shared):
        if place.get(name):
            return place[name][0]
    return header


def seed_of(label_map: LabelMap, headers: Sequence[Dataset], algorithm: Algorithm, kind: str) -> str:
    """A digest of all that an object is made of; its identifiers follow from it, so a second run makes the same."""
    digest = hashlib.sha256()
    for header in headers:
        digest.update(f"{header.SOPInstanceUID}\n".encode())
    digest.update(f"{label_map.table}\n{label_map.voxels.shape}\n{algorithm}\n{kind}\n{__version__}\n".encode())
    digest.update(np.ascontiguousarray(label_map.voxels.astype("<u2")).tobytes())
    return digest.hexdigest()


def equipment(algorithm: Algorithm) -> dict[str, Any]:
    """The elements of the enhanced equipment module, as highdicom's arguments."""
    return {
        "manufacturer": "medseg",
        "manufacturer_model_name": algorithm.name[:64],
        "software_versions": (f"medseg {__version__}", f"{algorithm.name} {algorithm.version}"[:64]),
        "device_serial_number": algorithm.digest[:16] or "0",
        "specific_character_set": "ISO_IR 192",
    }


def moment() -> datetime:
    """Now, or the time of SOURCE_DATE_EPOCH, which makes two runs give the same bytes."""
    with suppress(KeyError, ValueError):
        return datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC).replace(tzinfo=None)
    return datetime.now()


def save_dicom(dataset: Any, path: Path) -> None:
    """The object as a file, whole or not at all, with the same moment in all its dates."""
    now = moment()
    for name in ("InstanceCreation", "Content"):
        setattr(dataset, f"{name}Date", now.strftime("%Y%m%d"))
        setattr(dataset, f"{name}Time", now.strftime("%H%M%S"))
    for item in dataset.get("ContributingEquipmentSequence") or ():  # highdicom names itself there
        item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")
    with whole_file(path) as temporary, quiet_pydicom():
        dataset.save_as(temporary)
