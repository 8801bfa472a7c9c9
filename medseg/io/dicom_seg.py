"""Masks as DICOM segmentation objects: the form in which a PACS keeps them and viewers draw them on the slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from medseg.domain.algorithm import Algorithm
from medseg.domain.errors import UsageError
from medseg.domain.labels import Code, Label, LabelMap
from medseg.domain.series import Series
from medseg.io.dicom_derived import equipment, planes_of_frames, save_dicom, seed_of
from medseg.io.dicom_quiet import quiet_pydicom
from medseg.io.dicom_sources import source_headers
from medseg.io.dicom_uid import derived_uid

SegKind = Literal["BINARY", "LABELMAP"]

UNSPECIFIED = Code("85756007", "Tissue")  # what can honestly be said of a label without a code
_SYNTAX = {
    "BINARY": ExplicitVRLittleEndian,
    "LABELMAP": JPEGLSLossless,
}  # RLE: gdcm's encoder ends the process at times
SERIES_NUMBER = 300  # behind those of the scanner


def write_dicom_seg(
    label_map: LabelMap,
    series: Series,
    path: Path,
    algorithm: Algorithm,
    kind: SegKind = "BINARY",
    headers: Sequence[Dataset] | None = None,
) -> Any:
    """The mask as a segmentation of the series; gives the data set written, for reports that refer to it.

    BINARY has a frame for each label and slice where it is; its segments are numbered 1..N in the order of the table,
    whatever the labels' values, which stand in the segments' descriptions. LABELMAP has a frame for each slice and
    keeps the values; few PACS take it yet. Of both every frame lies on a slice of the series and refers to it.
    headers: what `source_headers` gave, where the series was read before.
    Raises: UsageError for instances and for pictures; GridError if the mask does not lie on the slices; InputError if
    the series cannot be read any more; OutputError, ResourceError as `whole_file`.
    """
    if label_map.table.kind == "instances" or label_map.geometry.spatial_dims != 3:
        what = "numbered instances" if label_map.table.kind == "instances" else "a picture"
        raise UsageError(f"{path}: a DICOM segmentation holds the labels of a volume, not {what}; write .png or .tif")
    headers = source_headers(series) if headers is None else headers
    segmentation = segmentation_of(
        label_map, headers, series.frames, algorithm, kind, seed_of(label_map, headers, algorithm, kind)
    )
    save_dicom(segmentation, path)
    return segmentation


def segmentation_of(
    label_map: LabelMap,
    headers: Sequence[Dataset],
    numbers: Sequence[int],
    algorithm: Algorithm,
    kind: SegKind,
    seed: str,
) -> Any:
    """Return the data set.

    numbers: of the source's frames in its file, see `Series.frames`.
    seed:    what identifiers follow from.
    """
    with quiet_pydicom():
        segmentation = _segmentation(label_map, headers, algorithm, kind, seed)
        if numbers:
            _refer_to_frames(segmentation, numbers)
        for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
            item.DimensionOrganizationUID = derived_uid(seed, "dimensions")  # highdicom's is new each time
        for segment in segmentation.SegmentSequence:
            if not algorithm.automatic and "SegmentationAlgorithmIdentificationSequence" in segment:
                del segment.SegmentationAlgorithmIdentificationSequence  # highdicom wants a family; nobody knows it
    return segmentation


def _segmentation(
    label_map: LabelMap, headers: Sequence[Dataset], algorithm: Algorithm, kind: SegKind, seed: str
) -> Any:
    import highdicom as hd

    frames = _pixels(label_map, headers, kind)
    step_mm = label_map.geometry.voxel_volume_mm3 / np.prod(label_map.geometry.spacing_mm[:2])
    first = headers[0]
    return hd.seg.Segmentation(
        source_images=headers,
        pixel_array=frames,
        segmentation_type=kind,
        segment_descriptions=[
            _description(label, number if kind == "BINARY" else label.value, algorithm, seed)
            for number, label in enumerate(label_map.table, start=1)
        ],
        series_instance_uid=derived_uid(seed, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=derived_uid(seed, "instance"),
        instance_number=1,
        transfer_syntax_uid=_SYNTAX[kind],
        pixel_measures=None
        if "SharedFunctionalGroupsSequence" in first
        else hd.PixelMeasuresSequence(
            pixel_spacing=first.PixelSpacing,
            slice_thickness=first.get("SliceThickness") or step_mm,
            spacing_between_slices=round(float(step_mm), 6),
        ),
        content_label="SEGMENTATION",
        content_description=f"Segmentation by {algorithm.name}"[:64],
        series_description=f"medseg {algorithm.name}"[:64],
        omit_empty_frames=bool(frames.any()),
        **equipment(algorithm),
    )


def _refer_to_frames(segmentation: Any, numbers: Sequence[int]) -> None:
    """The frames of the source by their numbers in its file; highdicom counted those of the series, see
    `source_headers`.
    """
    sources = {
        id(source): source  # segments of one slice share the item
        for group in segmentation.PerFrameFunctionalGroupsSequence
        for derivation in group.get("DerivationImageSequence") or ()
        for source in derivation.SourceImageSequence
    }
    for source in sources.values():
        source.ReferencedFrameNumber = numbers[int(source.ReferencedFrameNumber) - 1]


def _pixels(label_map: LabelMap, headers: Sequence[Dataset], kind: SegKind) -> NDArray[Any]:
    """(frames, rows, columns) in the order of the source's frames: segment numbers for BINARY, values for LABELMAP."""
    planes = planes_of_frames(label_map.geometry, headers)
    voxels: NDArray[Any] = label_map.voxels
    empty = np.zeros(voxels.shape[1::-1], voxels.dtype)
    stack = np.stack([empty if k is None else voxels[:, :, k].T for k in planes])
    if kind == "BINARY":
        lookup = np.zeros(65536, np.uint16)
        lookup[list(label_map.table.values)] = np.arange(1, len(label_map.table) + 1)
        stack = lookup[stack]
    return stack.astype(np.uint8) if stack.max(initial=0) < 256 else stack


def _description(label: Label, number: int, algorithm: Algorithm, seed: str) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    category = label.category or UNSPECIFIED
    kind = label.type or category
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label.name,
        segmented_property_category=coded(category),
        segmented_property_type=coded(kind),
        algorithm_type="AUTOMATIC" if algorithm.automatic else "SEMIAUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=algorithm.name[:64],
            family=codes.DCM.ArtificialIntelligence,
            version=algorithm.version,
            source="medseg",
        ),
        tracking_uid=derived_uid(seed, f"label {label.value}"),
        tracking_id=label.name,
        display_color=hd.color.CIELabColor.from_rgb(*label.colour),
    )
    description.SegmentDescription = f"label value {label.value}"
    if label.modifier is not None:
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            coded(label.modifier)
        ]
    return description


def coded(code: Code) -> Any:
    """The code as highdicom has it."""
    import highdicom as hd

    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning[:64])
