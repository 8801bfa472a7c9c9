"""Rows of DICOM inputs: which series, and where its slices lie."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from medseg.domain.doubts import Doubts
from medseg.inference.segment import segment
from medseg.io.images import read_image
from tests.bundles import grey_bundle, random_model
from tests.damage import (
    SAGITTAL,
    SCOUT,
    copied,
    copies,
    every,
    one,
    shift,
    unlink,
)
from tests.inputs.dicom_changes import (
    ALL,
    AS_IT_IS,
    GOOD,
    SCOUTS,
    echo,
    multiframe,
    part,
    resampled,
    sheared,
    turned,
    with_values,
    without_groups,
)
from tests.inputs.dicom_made import (
    CT,
    SCAN,
    each,
    leaning,
    reads,
    series,
    together,
)
from tests.inputs.row import Accepted, Row
from tests.projections import radiograph


def one_radiograph(folder: Path) -> Path:
    radiograph(folder / "scan" / "chest.dcm")
    return folder / "scan"


def as_its_picture(accepted: Accepted) -> None:
    """The mask is that of the same pixels as a picture."""
    volume = replace(read_image(accepted.source, Doubts(modality="microscopy")), series=None)
    assert volume.geometry.shape_ijk == (35, 26)
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(grey_bundle(), Path(folder) / "grey", seed=2)
    expected = segment(volume, model).label_map.voxels
    assert (accepted.mask.reshape(expected.shape) == expected).all()
    assert len(np.unique(accepted.mask)) == 3


PLACE_ROWS = [
    Row(
        1,
        "DICOM: one slice missing",
        series(unlink(5)),
        3,
        r"1 missing slice in the series, the first between slices 5 and 6 of 12 .*4 mm apart, expected 2 mm",
        GOOD,
        answer=("--regrid",),
        then="12 slices in steps of 2 to 4 mm were resampled linearly to 13 slices 2 mm apart",
        check=reads(resampled([*ALL[:5], *ALL[6:]], [0, 1, 2, 3, 4, 4.5, *range(5, 12)]), Doubts(regrid=True), 1e-3),
    ),
    Row(2, "a slice twice, alike", series(copies(slice(3, 4))), 0, "1 of 14 slices were there twice", check=AS_IT_IS),
    Row(
        2,
        "two different slices at one position",
        series(copies(slice(3, 4), PixelData=bytes(792))),
        3,
        "duplicate position: .* their pixels are different",
        series(copies(slice(3, 4))),
        check=AS_IT_IS,
    ),
    Row(
        3,
        "two series in one folder",
        together(GOOD, series(volume=CT, seed="b")),
        3,
        "holds 2 volumes",
        SCOUTS,
        answer=("--series", "a52baa35"),
        then="used of 2 in this place",
        check=reads(SCAN, Doubts(series="a52baa35")),
    ),
    Row(4, "a localizer in a folder of its own", SCOUTS, 0, "passed over: .*localizer", check=AS_IT_IS),
    Row(
        4,
        "a localizer under the same SeriesInstanceUID",
        series(lambda f: every(**SCOUT, **SAGITTAL)(copied(f[:2]))),
        0,
        "passed over: 2: MR, 2 slices of 22 x 18 pixels, localizer",
        check=AS_IT_IS,
    ),
    Row(
        4,
        "two directions under one SeriesInstanceUID",
        series(lambda files: every(**SAGITTAL)(copied(files))),
        3,
        "holds 2 volumes",
        GOOD,
        check=AS_IT_IS,
    ),
    Row(
        5,
        "two echoes at the same positions",
        series(echo),
        3,
        "EchoTime 20 .*EchoTime 80",
        GOOD,
        answer=("--series", "bbd05b2d"),
        check=reads(SCAN, Doubts(series="bbd05b2d")),
    ),
    Row(6, "tilted gantry", series(leaning(0.5)), 0, "tilted by 14.04 degrees", check=reads(sheared(0.5))),
    Row(
        7,
        "uneven slices",
        series(shift(0, 0, 0.5)),
        3,
        r"uneven slice spacing, first between slices 2 and 3 of 13 .*steps of 1.5 to 2.5 mm, usually 2",
        series(shift(0, 0, 0.01)),
        answer=("--regrid",),
        then="resampled linearly",
        check=reads(resampled(ALL, [0, 1, 1.8, *range(3, 13)]), Doubts(regrid=True), 1e-3),
    ),
    Row(
        8,
        "InstanceNumber against the order of position",
        series(each(InstanceNumber=lambda k: 20 - 3 * k % 13)),
        0,
        "^$",
        check=AS_IT_IS,
    ),
    Row(9, "InstanceNumber missing", series(every("InstanceNumber")), 0, "^$", check=AS_IT_IS),
    Row(9, "InstanceNumber all equal", series(every(InstanceNumber=1)), 0, "^$", check=AS_IT_IS),
    Row(
        12,
        "ImagePositionPatient missing everywhere",
        series(every("ImagePositionPatient")),
        3,
        "ImagePositionPatient is missing",
        GOOD,
        check=AS_IT_IS,
    ),
    Row(
        12,
        "a projection (DX) without a position",
        series(every("ImagePositionPatient", Modality="DX")),
        3,
        r"projection \(DX\).*PNG for a 2-D model",
        GOOD,
        check=AS_IT_IS,
    ),
    Row(
        12,
        "a single projection (DX) for a 3-D model",
        one_radiograph,
        3,
        r"is a picture of \(35, 26\) voxels",
        GOOD,
        options=("--force", "MR"),
        check=AS_IT_IS,
    ),
    Row(
        12,
        "a single projection (DX) for a 2-D model",
        one_radiograph,
        0,
        "a projection",
        options=("--force", "microscopy"),
        check=as_its_picture,
        bundle="grey",
    ),
    Row(
        13,
        "ImagePositionPatient missing in one file",
        series(one("ImagePositionPatient")),
        3,
        "scan: file 4 of 13: ImagePositionPatient is missing",
        GOOD,
        check=AS_IT_IS,
    ),
    Row(
        14,
        "ImageOrientationPatient missing",
        series(every("ImageOrientationPatient")),
        3,
        "ImageOrientationPatient is missing",
        GOOD,
        check=AS_IT_IS,
    ),
    Row(
        15,
        "PixelSpacing missing, ImagerPixelSpacing there",
        series(every("PixelSpacing", ImagerPixelSpacing=[1, 1])),
        3,
        "PixelSpacing is missing",
        series(every(ImagerPixelSpacing=[3, 3])),
        check=AS_IT_IS,
    ),
    Row(16, "PixelSpacing 0", series(every(PixelSpacing=[1.1, 0])), 3, "PixelSpacing is 1.1, 0 mm", GOOD),
    Row(
        17,
        "the last slice of another size",
        series(one(which=12, Rows=22, Columns=18)),
        3,
        "1 image of 2: MR, 1 slice of 18 x 22 .* would fill or continue the slices of .*the first is file 13 of 13",
        GOOD,
        answer=("--series", "9f0f67f7"),
        then="passed over: 2: MR, 1 slice of 18 x 22 pixels",
        check=reads(part(0, 12), Doubts(series="9f0f67f7")),
    ),
    Row(
        17,
        "a slice of another size in the middle",
        series(one(which=6, Rows=22, Columns=18)),
        3,
        "1 image of 2: MR, 1 slice .*would fill or continue the slices .*the first is file 7 of 13",
        GOOD,
        check=AS_IT_IS,
    ),
    Row(23, "anisotropic pixels", exit_code=0, says="^$", **turned("LPS", spacing_mm=(0.6, 1.5, 2))),
    Row(24, "sagittal slices", exit_code=0, says="^$", **turned("PIR")),
    Row(24, "coronal slices", exit_code=0, says="^$", **turned("LIP")),
    Row(24, "descending slices", exit_code=0, says="^$", **turned("LAI")),
    Row(24, "oblique slices", exit_code=0, says="^$", **turned("LPS", (20, -15, 8))),
    Row(29, "one slice only", series(unlink(*range(1, 13))), 3, "is one slice only", series(unlink(*range(2, 13)))),
    Row(30, "enhanced multi-frame", multiframe(), 0, "^$", check=AS_IT_IS),
    Row(
        30,
        "enhanced multi-frame, each frame with its own scale",
        multiframe(slopes=[1 + k / 4 for k in ALL]),
        0,
        "^$",
        check=reads(with_values(SCAN.voxels * (1 + np.arange(13) / 4))),
    ),
    Row(30, "enhanced multi-frame without functional groups", without_groups, 3, "functional groups", multiframe()),
]
