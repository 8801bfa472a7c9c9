"""Bits above HighBit are no part of a value, however the pixels are stored."""

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import UID

from medseg.io.images import read_image
from tests.inputs.dicom_changes import encoded
from tests.inputs.dicom_made import SCAN, series
from tests.phantoms import edit_dicom

SYNTAXES = {
    "explicit": "1.2.840.10008.1.2.1",
    "implicit": "1.2.840.10008.1.2",
    "big endian": "1.2.840.10008.1.2.2",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG Lossless": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}


def with_overlay(folder, syntax, signed):
    """Twelve bits are stored; the four above hold an overlay in a corner of slice 3, and in signed files the sign."""
    path = series()(folder)
    files = sorted(path.iterdir())
    for k, file in enumerate(files):
        pixels = dcmread(file).pixel_array.astype(np.int32) - (100 if signed else 0)
        words = (pixels & 0xFFF).astype(np.uint16)
        if k == 3:
            words[:4, :5] |= 0x5000
        edit_dicom(
            file,
            PixelData=words.tobytes(),
            BitsStored=16,
            HighBit=15,
            PixelRepresentation=0,
            RescaleIntercept="100" if signed else "0",
            RescaleSlope="1",
        )
    if syntax != "explicit":
        encoded(SYNTAXES[syntax])(files)
    for file in files:
        edit_dicom(file, BitsStored=12, HighBit=11, PixelRepresentation=int(signed))
    return path


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_overlays_in_the_high_bits_are_masked(tmp_path, syntax, signed):
    read = read_image(with_overlay(tmp_path, syntax, signed))
    np.testing.assert_array_equal(read.voxels, SCAN.voxels)
    if UID(SYNTAXES[syntax]).is_compressed:  # pydicom masks what is not
        assert any("bits set above the 12 stored ones" in note for note in read.notes)


def test_values_within_their_bits_carry_no_note(tmp_path):
    path = series(lambda files: [edit_dicom(file, BitsStored=12, HighBit=11) for file in files])(tmp_path)
    read = read_image(path)
    np.testing.assert_array_equal(read.voxels, SCAN.voxels)
    assert read.notes == ()
