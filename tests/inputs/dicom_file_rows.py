"""Rows of DICOM inputs: files and their streams."""

from __future__ import annotations

import random

from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.damage import (
    COLOUR,
    bomb,
    cut,
    declare,
    deflate,
    every,
    in_syntax,
    nest,
    nest_a_little,
    one,
)
from tests.inputs.dicom_changes import (
    AS_IT_IS,
    GOOD,
    bare,
    encoded,
    litter,
    objects,
    only_objects,
    renamed,
)
from tests.inputs.dicom_made import (
    disc,
    series,
    zipped,
)
from tests.inputs.row import Row

FILE_ROWS = [
    Row(
        10,
        "pixels cut off in one file",
        series(cut(-10)),
        3,
        "file 4 of 13: cut off: PixelData declares 792 bytes, the file has 782 left",
        GOOD,
        check=AS_IT_IS,
    ),
    Row(11, "no pixels in one file", series(one("PixelData")), 3, "file 4 of 13: is an image without PixelData", GOOD),
    Row(
        18,
        "colour",
        series(every(**{**COLOUR, "PixelData": bytes(1188)}, BitsAllocated=8, BitsStored=8, HighBit=7)),
        3,
        "is a colour image .3 samples a pixel, RGB",
        GOOD,
    ),
    *(
        Row(19, f"compressed: {syntax.name}", series(encoded(syntax)), 0, "^$", check=AS_IT_IS)
        for syntax in (RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)
    ),
    Row(
        19,
        "a broken compressed stream",
        series(in_syntax(JPEG2000Lossless, random.Random(1).randbytes(200) + b"\xff\xd9")),
        3,
        "JPEG 2000 Image Compression .Lossless Only. pixels are a broken stream",
        series(encoded(JPEG2000Lossless)),
    ),
    Row(
        19,
        "a transfer syntax that nothing decodes",
        series(in_syntax("1.2.3.4", b"1234")),
        3,
        "pixels in the unknown transfer syntax 1.2.3.4",
        GOOD,
    ),
    Row(20, "big endian", series(encoded(ExplicitVRBigEndian)), 0, "^$", check=AS_IT_IS),
    Row(20, "implicit value representations", series(encoded(ImplicitVRLittleEndian)), 0, "^$", check=AS_IT_IS),
    Row(21, "no preamble", series(bare), 0, "13 of 13 DICOM files have no preamble", check=AS_IT_IS),
    Row(
        22,
        "no .dcm ending, README, Thumbs.db, an empty file",
        series(litter),
        0,
        "3 of 16 files: no DICOM, passed over",
        check=AS_IT_IS,
    ),
    Row(22, "a zip", zipped(GOOD), 0, "1 of 14 files: no DICOM, passed over", check=AS_IT_IS),
    Row(22, "a DICOMDIR", disc(GOOD), 0, "^$", check=AS_IT_IS),
    Row(
        31,
        "a mask, contours, a report, a PDF beside",
        series(objects),
        0,
        "4 of 17 files: DICOM but no image",
        check=AS_IT_IS,
    ),
    Row(
        31,
        "a mask, contours, a report, a PDF and no image",
        series(only_objects),
        3,
        "no DICOM image among 4 files",
        GOOD,
    ),
    Row(
        32,
        "a file cut inside an element",
        series(declare("PatientName", 65534)),
        3,
        r"file 4 of 13: cut off: element \(0010,0010\) declares 65534 bytes",
        GOOD,
        check=AS_IT_IS,
    ),
    Row(
        33, "sequences nested 400 deep", series(nest), 3, "file 4 of 13: damaged", series(nest_a_little), check=AS_IT_IS
    ),
    Row(
        34,
        "a deflated bomb",
        series(bomb),
        3,
        "file 4 of 13: .* deflated bytes swell to more than",
        series(deflate),
        check=AS_IT_IS,
    ),
    Row(36, "names in other scripts", series(renamed, name="患者 Ünïcode"), 0, "^$", check=AS_IT_IS),
]
