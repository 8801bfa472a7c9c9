"""What objects made from a DICOM series have in common: places of frames, identifiers, equipment, and saving."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from medseg import __version__
from medseg.domain.algorithm import Algorithm
from medseg.domain.errors import GridError
from medseg.domain.geometry import Float64Array, Geometry
from medseg.domain.labels import LabelMap
from medseg.io.dicom_quiet import quiet_pydicom
from medseg.io.dicom_sources import group_of
from medseg.io.dicom_stack import LPS_TO_RAS
from medseg.io.files import whole_file

_IN_PLANE_MM = 0.1


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
            position = group_of(own, shared, "PlanePositionSequence", header).ImagePositionPatient
            cosines = group_of(own, shared, "PlaneOrientationSequence", header).ImageOrientationPatient
            spacing = group_of(own, shared, "PixelMeasuresSequence", header).PixelSpacing
            axes = np.array(cosines, dtype=np.float64).reshape(2, 3)
            steps = np.array([spacing[1], spacing[0]], dtype=np.float64)
            frames.append((np.array(position, dtype=np.float64), axes, steps, (int(header.Columns), int(header.Rows))))
    return frames


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
    with suppress(KeyError, ValueError, OverflowError, OSError):  # none, no number, or beyond what clocks tell
        return datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC).replace(tzinfo=None)
    return datetime.now()


def stamp(dataset: Any) -> None:
    """Set the same moment in all dates of an object."""
    now = moment()
    for name in ("InstanceCreation", "Content"):
        setattr(dataset, f"{name}Date", now.strftime("%Y%m%d"))
        setattr(dataset, f"{name}Time", now.strftime("%H%M%S"))
    for item in dataset.get("ContributingEquipmentSequence") or ():  # highdicom names itself there
        item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")


def save_dicom(dataset: Any, path: Path) -> None:
    """The object as a file, whole or not at all, with the same moment in all its dates."""
    with whole_file(path) as temporary, quiet_pydicom():
        stamp(dataset)
        dataset.save_as(temporary)
