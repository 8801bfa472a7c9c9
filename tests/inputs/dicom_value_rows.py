"""Rows of DICOM inputs: values and modalities."""

from __future__ import annotations

import numpy as np

from medseg.domain.doubts import Doubts
from tests.damage import (
    every,
)
from tests.inputs.dicom_changes import (
    AS_IT_IS,
    BORDER,
    GOOD,
    SUV,
    padded,
    with_values,
)
from tests.inputs.dicom_made import (
    CT,
    PET,
    SCAN,
    ct,
    drug,
    each,
    reads,
    series,
)
from tests.inputs.row import Row

VALUE_ROWS = [
    Row(
        25,
        "MR stored inverted (MONOCHROME1)",
        series(every(PhotometricInterpretation="MONOCHROME1")),
        3,
        "is MR stored inverted",
        GOOD,
        check=AS_IT_IS,
    ),
    Row(
        25,
        "another modality stored inverted",
        series(every(PhotometricInterpretation="MONOCHROME1", Modality="OT")),
        0,
        "13 of 13 slices were stored inverted",
        options=("--force", "MR"),
        check=reads(with_values(-1 - SCAN.voxels), Doubts(modality="MR")),
    ),
    Row(
        26,
        "PET in Bq/ml, a slope for each slice",
        series(every(**PET), each(RescaleSlope=lambda k: str(k + 1)), drug()),
        0,
        "converted to SUVbw",
        bundle="pet",
        check=reads(with_values(SCAN.voxels * np.arange(1, 14) * SUV, "PT")),
    ),
    Row(
        26,
        "PET without the patient's weight",
        series(every(**{**PET, "PatientWeight": ""}), drug()),
        3,
        "cannot be made SUV: PatientWeight is missing",
        series(every(**PET), drug()),
        bundle="pet",
    ),
    Row(
        26,
        "PET, injected later in the day than scanned",
        series(every(**PET), drug(RadiopharmaceuticalStartTime="233000")),
        3,
        "midnight",
        series(every(**PET), drug(RadiopharmaceuticalStartDateTime="20200309233000")),
        bundle="pet",
    ),
    Row(
        27,
        "CT without rescale tags",
        ct(every("RescaleSlope", "RescaleIntercept")),
        3,
        "CT without RescaleSlope and RescaleIntercept",
        ct(),
        answer=("--assume-hu",),
        then="taken for Hounsfield",
        bundle="ct",
        check=reads(CT, Doubts(assume_hu=True)),
    ),
    Row(
        28,
        "CT with padding of -2000",
        ct(padded),
        0,
        r"22 voxels of padding \(-2000\) were set to -1000, air",
        bundle="ct",
        check=reads(with_values(np.where(BORDER, -1000, CT.voxels), "CT")),
    ),
    Row(
        35,
        "a CT for an MR model",
        ct(),
        3,
        "its modality is CT",
        GOOD,
        answer=("--force", "MR"),
        then="taken for MR .--force.; the files say CT",
        check=reads(CT, Doubts(modality="MR")),
    ),
    Row(
        35,
        "an MR for a CT model",
        GOOD,
        3,
        "its modality is MR",
        ct(),
        answer=("--force", "CT", "--assume-hu"),
        then="taken for CT .--force.; the files say MR; values were taken for Hounsfield units",
        check=reads(SCAN, Doubts(modality="CT", assume_hu=True)),
        bundle="ct",
    ),
    Row(
        35,
        "values that are no Hounsfield units",
        series(modality="CT"),
        3,
        "run from 0 to 255, which are no Hounsfield",
        ct(),
        answer=("--force", "CT"),
        bundle="ct",
        check=reads(SCAN, Doubts(modality="CT")),
    ),
]
