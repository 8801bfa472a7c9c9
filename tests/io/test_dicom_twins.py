"""What values mean does not depend on how DICOM stores them: classic, enhanced, compressed, by any VR."""

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom import Sequence as Items
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medseg.domain.doubts import Doubts
from medseg.domain.errors import InputError, ValueRangeError
from medseg.io.images import read_image
from tests.enhanced import enhanced_file
from tests.inputs.dicom_changes import encoded
from tests.inputs.dicom_made import CT, SCAN
from tests.phantoms import dicom_folder, edit_dicom

JPEG_LS, JPEG_LOSSLESS, JPEG_2000, RLE = (
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.5",
)
SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "RLE": RLE,
    "JPEG-LS": JPEG_LS,
    "JPEG Lossless": JPEG_LOSSLESS,
    "JPEG 2000": JPEG_2000,
}
_TRANSFORM = ("RescaleSlope", "RescaleIntercept", "RescaleType")


def stored(folder, form, volume=CT, change=lambda dataset, k: None):
    """A CT in one of the forms; `change` edits each classic slice, or in the enhanced file the file (k is None)."""
    if form.startswith("enhanced"):
        path = enhanced_file(folder, [volume], modality=volume.modality)
        dataset = dcmread(path)
        _enhance(dataset, change, form == "enhanced, shared")
        dataset.save_as(path)
        return path
    files = list(dicom_folder(folder / "scan", volume, modality=volume.modality).paths)
    if form in SYNTAXES and form != "explicit":
        encoded(SYNTAXES[form])(files)  # first, for the encoder adds a scale of its own
    for k, path in enumerate(files):
        edit_dicom(path, change=lambda dataset, k=k: change(dataset, k))
        if form == "UN":
            path.write_bytes(_unknown(path.read_bytes()))
    return folder / "scan"


def _unknown(content):
    """The scale and the padding with the value representation UN, which has a longer length."""
    for element, vr in ((0x1052, "DS"), (0x1053, "DS"), (0x1054, "LO"), (0x0120, "SS"), (0x0120, "US")):
        tag = b"\x28\x00" + element.to_bytes(2, "little")
        at = content.find(tag + vr.encode())
        if at >= 0:
            length = content[at + 6 : at + 8]
            content = content[:at] + tag + b"UN\0\0" + length + b"\0\0" + content[at + 8 :]
    return content


def _enhance(dataset, change, shared):
    """The values that a change gives to a classic slice, in the functional groups of all frames or of each."""
    probe = Dataset()
    probe.RescaleSlope, probe.RescaleIntercept, probe.RescaleType = "1", "0", "HU"
    before = {keyword: probe[keyword].value for keyword in _TRANSFORM}
    change(probe, 0)
    transform = Dataset()
    for keyword in before:
        if keyword in probe:
            setattr(transform, keyword, probe[keyword].value)
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.PixelValueTransformationSequence
        if len(transform) and not shared:
            frame.PixelValueTransformationSequence = Items([transform])
    if len(transform) and shared:
        dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = Items([transform])
    for element in probe:
        if element.keyword == "ImageType":
            kind = Dataset()
            kind.FrameType = element.value
            dataset.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence = Items([kind])
        elif element.keyword not in _TRANSFORM:
            dataset[element.tag] = element


FORMS = [*SYNTAXES, "UN", "enhanced", "enhanced, shared"]


@pytest.mark.parametrize("form", FORMS)
def test_a_plain_ct_reads_the_same(tmp_path, form):
    np.testing.assert_array_equal(read_image(stored(tmp_path, form)).voxels, CT.voxels)


@pytest.mark.parametrize("form", FORMS)
def test_other_units_are_refused(tmp_path, form):
    """The rescale type of enhanced files was never looked at: iodine in mg/ml was taken for Hounsfield units."""

    def change(dataset, k):
        dataset.RescaleType = "MGML"

    path = stored(tmp_path, form, change=change)
    with pytest.raises(ValueRangeError, match="is CT with values in MGML"):
        read_image(path)
    assert read_image(path, Doubts(assume_hu=True)).modality == "CT"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["EFF_ATOMIC_NUM", "MAT_SPECIFIC", "Z_EFF", "IODINE_NO_WATER", "ELECTRON_DENSITY"])
def test_maps_of_materials_are_refused(tmp_path, form, kind):
    def change(dataset, k):
        dataset.ImageType = ["DERIVED", "PRIMARY", "AXIAL", kind]

    with pytest.raises(ValueRangeError, match=f"a map of another quantity .ImageType {kind}"):
        read_image(stored(tmp_path, form, change=change))


@pytest.mark.parametrize("form", ["explicit", "enhanced"])
@pytest.mark.parametrize("kind", ["VMI", "MONO_70KEV", "MAT_REMOVED", "CT_SOM5 SPI", "HELIX", "NORMAL"])
def test_images_in_hounsfield_units_are_read(tmp_path, form, kind):
    def change(dataset, k):
        dataset.ImageType = ["DERIVED", "PRIMARY", "AXIAL", kind]

    np.testing.assert_array_equal(read_image(stored(tmp_path, form, change=change)).voxels, CT.voxels)


@pytest.mark.parametrize("form", FORMS)
def test_a_ct_without_a_scale_is_refused(tmp_path, form):
    def change(dataset, k):
        del dataset.RescaleSlope
        del dataset.RescaleIntercept

    with pytest.raises(ValueRangeError, match="CT without RescaleSlope and RescaleIntercept"):
        read_image(stored(tmp_path, form, change=change))


@pytest.mark.parametrize("form", FORMS)
def test_values_that_are_no_hounsfield_units_are_refused(tmp_path, form):
    volume = SCAN.__class__(SCAN.voxels, SCAN.geometry, "ct", "CT")
    with pytest.raises(ValueRangeError, match="no Hounsfield units"):
        read_image(stored(tmp_path, form, volume))


@pytest.mark.parametrize("form", FORMS)
def test_inverted_ct_is_refused(tmp_path, form):
    def change(dataset, k):
        dataset.PhotometricInterpretation = "MONOCHROME1"

    with pytest.raises(InputError, match="stored inverted"):
        read_image(stored(tmp_path, form, change=change))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("vr", "value"), [("SS", -2000), ("US", 63536)])
def test_padding_becomes_air_however_its_sign_is_written(tmp_path, form, vr, value):
    """Some scanners write the padding of signed pixels as an unsigned number; it stayed at -3024 HU."""
    voxels = CT.voxels.copy()
    voxels[:, :, 0, 3] = -2000
    volume = CT.__class__(voxels, CT.geometry, "ct", "CT")

    def change(dataset, k):
        dataset.add_new("PixelPaddingValue", vr, value)

    read = read_image(stored(tmp_path, form, volume, change))
    expected = voxels.copy()
    expected[voxels == -2000] = -1000
    np.testing.assert_array_equal(read.voxels, expected)
    assert any("voxels of padding (-2000) were set to -1000, air" in note for note in read.notes)
