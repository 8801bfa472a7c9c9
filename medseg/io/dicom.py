"""DICOM series in: found by content, checked as a whole, then stacked by position."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from medseg.domain.errors import InputError, SeriesError
from medseg.domain.geometry import Geometry
from medseg.domain.series import Series
from medseg.domain.volume import Volume
from medseg.io.dicom_checks import check_image, check_no_localizer, check_together
from medseg.io.dicom_header import Header, read_header
from medseg.io.dicom_pixels import read_voxels
from medseg.io.dicom_stack import in_order, stack_affine


def scan_series(folder: Path) -> list[Series]:
    """The image series in a folder and those below it, at least one; no pixels are read, nothing is checked yet.

    What is no DICOM image is passed over: other files, empty ones, directories of media, reports, masks, plans.
    Paths are sorted by position where every file of the series has one.
    Raises: SeriesError if there is no image; InputError if the folder cannot be listed or a DICOM file is damaged.
    """
    files = list(_files(folder))
    by_uid: dict[str, list[Header]] = {}
    for header in filter(None, map(read_header, files)):
        by_uid.setdefault(header.series_uid, []).append(header)
    if not by_uid:
        raise SeriesError(
            f"{folder}: no DICOM image among {len(files)} files; give the folder that holds the slices of a scan"
        )
    return [Series(uid, group[0].modality, tuple(h.path for h in in_order(group))) for uid, group in by_uid.items()]


def only_series(folder: Path) -> Series:
    """The one series of a folder.

    Raises: SeriesError if there are more, with modality and number of slices of each; as `scan_series` otherwise.
    """
    found = scan_series(folder)
    if len(found) > 1:
        listing = ", ".join(f"{s.modality or 'unknown'} of {len(s.paths)} slices" for s in found)
        raise SeriesError(f"{folder}: holds {len(found)} DICOM series ({listing}); give a folder with exactly one")
    return found[0]


def read_series(series: Series, case: str) -> Volume:
    """A classic single-frame series as a volume on the grid of its slices.

    Voxels are (1, columns, rows, slices): slices in rising position along the normal, the cross product of the two
    in-plane axes; int16 or float32, see `read_voxels`. InstanceNumber plays no part. `Volume.series` has the paths
    in the order of the slices.
    Raises: SeriesError, SpacingError, GridError, ValueRangeError or InputError for anything irregular: see
    `dicom_checks`, `dicom_stack` and `dicom_pixels`.
    """
    headers = [_image_header(path) for path in series.paths]
    if not headers:
        raise SeriesError("a series without files cannot be read; scan the folder again")
    check_no_localizer(headers)
    for header in headers:
        check_image(header)
    check_together(headers)
    headers = in_order(headers)
    affine = stack_affine(headers)
    shape = (headers[0].columns, headers[0].rows, len(headers))
    bare = sum(not header.has_preamble for header in headers)
    return Volume(
        read_voxels(headers)[None],
        Geometry(shape, affine),
        case,
        modality=headers[0].modality or None,
        series=Series(headers[0].series_uid, headers[0].modality, tuple(header.path for header in headers)),
        notes=(f"{bare} of {len(headers)} DICOM files have no preamble",) if bare else (),
    )


def _files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:  # a folder passed over would be slices lost
        raise InputError(f"{error.filename}: cannot be listed ({error.strerror}); check the path and its rights")

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders.sort()
        yield from (path for name in sorted(names) if (path := Path(root, name)).is_file())


def _image_header(path: Path) -> Header:
    header = read_header(path)
    if header is None:
        raise InputError(f"{path}: is no DICOM image any more; scan the folder again")
    return header
