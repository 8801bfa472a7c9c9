"""DICOM segmentation objects back as masks on the grid of their series."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from medseg.domain.errors import GridError, InputError, MedsegError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import COLOURS, Code, Label, LabelMap, LabelTable, legal_name
from medseg.io.dicom_derived import planes_of_frames
from medseg.io.dicom_quiet import quiet_pydicom
from medseg.io.dicom_seg import UNSPECIFIED

_CLASSES = {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}


def is_dicom_seg(path: Path) -> bool:
    """By content: a DICOM file whose object class is segmentation."""
    try:
        with path.open("rb") as file:
            if file.read(132)[128:] != b"DICM":
                return False
        with quiet_pydicom():
            return str(dcmread(path, specific_tags=["SOPClassUID"]).get("SOPClassUID")) in _CLASSES
    except Exception:  # damaged in whatever way: then it is none
        return False


def read_dicom_seg(path: Path, geometry: Geometry) -> LabelMap:
    """The mask on the grid of the series that it was made from, which `read_series` gives.

    Values are those that medseg wrote down in the segments' descriptions, else the segments' numbers.
    Raises: InputError for fractional or overlapping segments and for damaged files; GridError if a frame does not lie
    on a plane of the grid.
    """
    try:
        with quiet_pydicom():
            return _read(path, dcmread(path), geometry)
    except MedsegError:
        raise
    except Exception as error:  # whatever a damaged stream makes a parser raise
        raise InputError(
            f"{path}: damaged, its segments cannot be read ({type(error).__name__}); export it again"
        ) from error


def _read(path: Path, dataset: Dataset, geometry: Geometry) -> LabelMap:
    if dataset.SegmentationType not in ("BINARY", "LABELMAP"):
        raise InputError(f"{path}: holds fractions, not labels; export it as a binary segmentation")
    table, values = _table(dataset)
    try:
        planes = planes_of_frames(geometry, [dataset])
    except GridError as error:
        raise GridError(f"{path}: {error}") from error
    pixels: NDArray[Any] = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    voxels = np.zeros(geometry.shape_ijk, np.uint16)
    for k, frame, own in zip(planes, pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        if not frame.any():
            continue
        if k is None:
            raise GridError(f"{path}: a frame lies outside the series; give the series that it was made from")
        labels = _labels(dataset, own, frame, values).T
        if (clash := (voxels[:, :, k] > 0) & (labels > 0)).any():
            raise InputError(
                f"{path}: two segments overlap in {int(clash.sum())} pixels of slice {k}; a mask has one label a voxel"
            )
        voxels[:, :, k] += labels
    narrow = voxels.astype(np.uint8) if table.values[-1] < 256 else voxels
    return LabelMap(narrow, geometry, table)


def _labels(dataset: Dataset, own: Dataset, frame: NDArray[Any], values: dict[int, int]) -> NDArray[np.uint16]:
    """A frame's label values (rows, columns)."""
    if dataset.SegmentationType == "BINARY":
        groups = own if "SegmentIdentificationSequence" in own else dataset.SharedFunctionalGroupsSequence[0]
        number = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        return (frame > 0).astype(np.uint16) * np.uint16(values[number])
    lookup = np.zeros(65536, np.uint16)
    lookup[list(values)] = list(values.values())
    values_of: NDArray[np.uint16] = lookup[frame]
    return values_of


def _table(dataset: Dataset) -> tuple[LabelTable, dict[int, int]]:
    """The labels, and for each segment number its label's value."""
    segments = [s for s in dataset.SegmentSequence if int(s.SegmentNumber) > 0]
    numbers = [int(segment.SegmentNumber) for segment in segments]
    noted = [re.fullmatch(r"label value (\d+)", str(s.get("SegmentDescription", ""))) for s in segments]
    values = [int(match[1]) if match else 0 for match in noted]
    if 0 in values or len(set(values)) < len(values):
        values = numbers
    labels, taken = [], set[str]()
    for value, segment in zip(values, segments, strict=True):
        name = legal_name(str(segment.SegmentLabel), value, taken)
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        modifier = kind.get("SegmentedPropertyTypeModifierCodeSequence")
        codes = (_code(segment.SegmentedPropertyCategoryCodeSequence[0]), _code(kind))
        category, type_ = codes if codes != (UNSPECIFIED, UNSPECIFIED) else (None, None)
        side = _code(modifier[0]) if modifier else None
        labels.append(Label(value, name, _colour(segment, value), category, type_, side))
    return LabelTable(tuple(labels)), dict(zip(numbers, values, strict=True))


def _colour(segment: Dataset, value: int) -> tuple[int, int, int]:
    import highdicom as hd

    stored = segment.get("RecommendedDisplayCIELabValue")
    if stored is None:
        return COLOURS[value % len(COLOURS)]
    red, green, blue = hd.color.CIELabColor.from_dicom_value(stored).to_rgb(clip=True)
    return red, green, blue


def _code(item: Dataset) -> Code:
    return Code(str(item.CodeValue), str(item.CodeMeaning), str(item.CodingSchemeDesignator))
