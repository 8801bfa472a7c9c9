"""DICOM objects made for trial before there is a mask: what would keep them from being written is found first."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from medseg.domain.algorithm import Algorithm
from medseg.domain.errors import InputError, MedsegError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import LabelMap, LabelTable
from medseg.domain.report import Measure
from medseg.domain.series import Series
from medseg.io.dicom_derived import planes_of_frames, stamp
from medseg.io.dicom_quiet import quiet_pydicom
from medseg.io.dicom_sc import capture_of
from medseg.io.dicom_seg import segmentation_of
from medseg.io.dicom_sources import keep_frames, source_headers
from medseg.io.dicom_sr import report_of

_KINDS = {"dicom-seg": "BINARY", "dicom-labelmap": "LABELMAP"}


def rehearse(
    forms: Sequence[str], series: Series, geometry: Geometry, table: LabelTable, algorithm: Algorithm, name: str
) -> list[Dataset]:
    """Make the objects of these forms from up to three of the images with a mask of one voxel, and write none.

    The time does not grow with the number of slices but for reading their headers, which are given back for use.
    name: how messages call the series.
    Raises: InputError and its kinds where an object of these forms could not be written of this series.
    """
    headers = source_headers(series, name)
    segmentation = None
    with quiet_pydicom():
        for form in sorted(forms, key=lambda form: form == "dicom-sr"):  # which refers to the segmentation
            try:
                if form == "dicom-sc":
                    made = capture_of(np.zeros((8, 8, 3), np.uint8), headers, "rehearsal", algorithm)
                elif form == "dicom-sr":
                    measures = [Measure(label.name, label.value, 1, volume_ml=1.0) for label in table]
                    made = report_of(measures, table, segmentation, headers[:1], algorithm)
                else:
                    made = segmentation = _segmentation(form, headers, geometry, table, algorithm)
                stamp(made)
                made.save_as(io.BytesIO())
            except MedsegError:
                raise
            except MemoryError:
                raise
            except Exception as error:  # as highdicom and pydicom happen to raise for what a header says
                raise InputError(
                    f"{name}: no {form} can be made of its headers ({in_short(error)}); mend them, or choose -t nifti"
                ) from error
    return headers


def in_short(error: Exception) -> str:
    """Return the kind of an error and the DICOM elements that it names, without any value: that may be a name.

    >>> in_short(AttributeError("'Dataset' object has no attribute 'StudyInstanceUID'"))
    'AttributeError, StudyInstanceUID'
    """
    words = dict.fromkeys(re.findall(r"[A-Z][A-Za-z]{4,}", str(error)))
    elements = [word for word in words if tag_for_keyword(word) is not None]
    return ", ".join([type(error).__name__, *elements[:3]])


def _segmentation(
    form: str, headers: Sequence[Dataset], geometry: Geometry, table: LabelTable, algorithm: Algorithm
) -> Any:
    planes = planes_of_frames(geometry, headers)
    kept = sorted({0, len(planes) // 2, len(planes) - 1})
    if "PerFrameFunctionalGroupsSequence" in headers[0]:
        short = Dataset()
        short.update(headers[0])
        short.file_meta = headers[0].file_meta
        keep_frames(short, [n + 1 for n in kept])
        few = [short]
    else:
        few = [headers[n] for n in kept]
    voxels: Any = np.zeros(geometry.shape_ijk, np.uint8 if max(table.values) < 256 else np.uint16)
    voxels[0, 0, next((planes[n] for n in kept if planes[n] is not None), 0)] = table.values[0]
    kind: Any = _KINDS[form]
    return segmentation_of(LabelMap(voxels, geometry, table), few, (), algorithm, kind, "rehearsal")
