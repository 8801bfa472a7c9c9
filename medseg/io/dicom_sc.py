"""A mask as a secondary capture, the image with the mask drawn into it, where a segmentation has no place to lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian

from medseg.domain.algorithm import Algorithm
from medseg.domain.labels import Code, LabelMap
from medseg.domain.series import Series
from medseg.io.dicom_derived import equipment, moment, save_dicom, seed_of
from medseg.io.dicom_quiet import quiet_pydicom
from medseg.io.dicom_seg import SERIES_NUMBER, coded
from medseg.io.dicom_sources import source_headers
from medseg.io.dicom_uid import derived_uid

_SOURCE = Code("121322", "Source image for image processing operation", "DCM")
_SEGMENTED = Code("113076", "Segmentation", "DCM")
_TAKEN_OVER = ("Laterality", "ImageLaterality", "BodyPartExamined", "BurnedInAnnotation")


def write_dicom_sc(
    picture: NDArray[np.uint8],
    label_map: LabelMap,
    series: Series,
    path: Path,
    by: Algorithm,
    headers: Sequence[Dataset] | None = None,
) -> None:
    """The picture (rows, columns, 3) as a secondary capture of the study, which refers to the image it was made of.

    Patient and study are those of the source, and so are the side and part of the body. Names of the patient in the
    pixels are as likely as they were in the source. No pixel size is told: that of projections is the detector's.
    label_map: what was drawn; identifiers follow from it, the source and the bundle, so a second run gives the same.
    headers: what `source_headers` gave, where the series was read before.
    Raises: InputError if the source cannot be read any more; OutputError, ResourceError as `whole_file`.
    """
    headers = source_headers(series) if headers is None else headers
    save_dicom(capture_of(picture, headers, seed_of(label_map, headers, by, "SC"), by), path)


def capture_of(picture: NDArray[np.uint8], headers: Sequence[Dataset], seed: str, by: Algorithm) -> Any:
    """Return the data set; identifiers follow from the seed."""
    with quiet_pydicom():
        return _capture(picture, headers, seed, by)


def _capture(picture: NDArray[np.uint8], headers: Sequence[Dataset], seed: str, by: Algorithm) -> Any:
    import highdicom as hd

    first = headers[0]
    capture: Any = hd.sc.SCImage.from_ref_dataset(
        first,
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # highdicom wants one; set right below
        series_instance_uid=derived_uid(seed, "series"),
        series_number=SERIES_NUMBER + 2,
        sop_instance_uid=derived_uid(seed, "instance"),
        instance_number=1,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=f"medseg {by.name}"[:64],
        **equipment(by),
    )
    capture.PatientOrientation = first.get("PatientOrientation")  # may be empty, as for unknown
    capture.ConversionType = "WSD"
    now = moment()
    capture.DateOfSecondaryCapture, capture.TimeOfSecondaryCapture = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    for keyword in _TAKEN_OVER:
        if first.get(keyword):
            setattr(capture, keyword, first.get(keyword))
    capture.DerivationDescription = (
        f"Outlines of the segmentation by {by.name}, drawn into the image; grey by percentiles"
    )
    capture.DerivationCodeSequence = Items([coded(_SEGMENTED)])
    capture.SourceImageSequence = Items([_reference(header) for header in headers])
    return capture


def _reference(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = Items([coded(_SOURCE)])
    return item
