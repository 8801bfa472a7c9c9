"""Values: SUV by hand, padding, and what are no Hounsfield units."""

from dataclasses import replace

import numpy as np
import pytest

from medseg.domain.doubts import Doubts
from medseg.domain.errors import ValueRangeError
from medseg.io.dicom import read_dicom
from medseg.io.dicom_pet import Pet, suv_factor
from medseg.io.dicom_values import require_hounsfield
from tests.phantoms import counted_volume, dicom_folder, edit_dicom

# 70 kg and 350 MBq of fluorine 18 (110 minutes), one half-life before the scan.
FDG = Pet("BQML", "START", 70.0, 350e6, 6600.0, ("", "090000"), ("20200310", "105000"), ("20200310", "105000"), "")


def test_suv_by_hand():
    """Half of 350 MBq is left: 175 MBq in 70 kg are 2500 Bq/g, which is SUV 1."""
    factor, note = suv_factor("scan", [FDG] * 3)
    assert 2500 * factor == pytest.approx(1)
    assert note == "PET activity (Bq/ml) was converted to SUVbw: times 0.0004 g/Bq, decay to the start of the series"
    assert 5000 * suv_factor("scan", [replace(FDG, decay_correction="ADMIN")])[0] == pytest.approx(1)
    assert suv_factor("scan", [replace(FDG, units="GML")])[0] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"injection": ("20200310", "090000.000")},
        {"injection": ("20200309", "225000"), "series": ("20200310", "004000"), "acquisition": ("20200310", "004000")},
        {"injection": ("20200310", "090000+0100"), "zone": "+0100"},
        {"series": ("20200311", "120000")},  # processed a day later: the first acquisition counts
        {"series": ("", "")},
    ],
)
def test_the_same_moments_said_otherwise_give_the_same_suv(change):
    assert 2500 * suv_factor("scan", [replace(FDG, **change)])[0] == pytest.approx(1)


def test_the_beds_of_a_scan_are_corrected_to_the_first():
    beds = [replace(FDG, acquisition=("20200310", f"1{n}5000"), series=("", "")) for n in range(3)]
    assert 2500 * suv_factor("scan", beds[::-1])[0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"units": "CNTS"}, "Units are CNTS"),
        ({"units": ""}, "Units are missing"),
        ({"decay_correction": "NONE"}, "DecayCorrection is NONE"),
        ({"weight_kg": None}, "PatientWeight is missing"),
        ({"weight_kg": 0.0}, "PatientWeight is missing or not above 0"),
        ({"weight_kg": float("nan")}, "PatientWeight"),
        ({"dose_bq": None}, "RadionuclideTotalDose is missing"),
        ({"dose_bq": 350.0}, "350 Bq, which may be meant in MBq"),
        ({"half_life_s": None}, "RadionuclideHalfLife is missing"),
        ({"injection": ("", "")}, "RadiopharmaceuticalStartTime are missing"),
        ({"injection": ("", "233000")}, "midnight lies between"),
        ({"injection": ("20200310", "120000")}, "later than the scan"),
        ({"injection": ("20200309", "000000")}, "half-lives after the injection"),
        ({"injection": ("20200310", "090000+0100")}, "time zone"),
        ({"acquisition": ("", "")}, "AcquisitionDate or AcquisitionTime is missing"),
        ({"acquisition": ("20201399", "105000")}, "AcquisitionDate or AcquisitionTime is missing"),
    ],
)
def test_what_is_missing_or_in_doubt_is_refused(change, words):
    with pytest.raises(ValueRangeError, match=words) as refusal:
        suv_factor("scan", [replace(FDG, **change)] * 2)
    assert "2020" not in str(refusal.value)


def test_what_is_only_said_to_be_pet_has_no_suv(tmp_path):
    dicom_folder(tmp_path)
    with pytest.raises(ValueRangeError, match="Units are missing"):
        read_dicom(tmp_path, "case", Doubts(modality="PT"))


def test_slices_that_differ_are_refused():
    for change in ({"units": "GML"}, {"weight_kg": 71.0}, {"injection": ("", "091000")}):
        with pytest.raises(ValueRangeError, match="differs from slice to slice"):
            suv_factor("scan", [FDG, replace(FDG, **change)])


@pytest.mark.parametrize(
    ("modality", "intercept", "pad", "value", "words"),
    [
        ("CT", -24, -2000, -1000, "3 voxels of padding (-2024) were set to -1000, air"),
        ("CT", -1024, 0, -1024, ""),  # as good as air
        ("CT", 0, 40, 40, "the padding value stands at 40 HU, among tissue, and was left as it is"),
        ("MR", 0, -500, -500, ""),  # within the image
        ("MR", 0, -30000, -499, "3 voxels of padding (-30000) were set to -499"),
        ("MR", 0, 30000, -499, "3 voxels of padding (30000) were set to -499"),
    ],
)
def test_padding_becomes_air_or_the_darkest_value(tmp_path, modality, intercept, pad, value, words):
    """The first row of slice 0, whose lowest values in the image are -500 and, beside the padding, -400."""
    series = dicom_folder(tmp_path, counted_volume(), modality=modality)
    pixels = counted_volume().voxels[0, :, :, 0].T.copy()
    pixels[0] = pad
    pixels[1, 0] = -499
    for n, path in enumerate(series.paths):

        def tell(dataset):
            dataset.add_new("PixelPaddingValue", "SS", pad)

        edit_dicom(path, RescaleSlope="1", RescaleIntercept=str(intercept), change=tell)
        if n == 0:
            edit_dicom(path, PixelData=pixels.tobytes())
    volume = read_dicom(tmp_path, "case")
    assert (volume.voxels[0, :, 0, 0] == value).all()
    assert volume.voxels[0, 1, 1, 0] == pixels[1, 1] + intercept
    assert list(volume.notes) == ([words] if words else [])


def test_hounsfield_units_have_values_below_water_and_contrast():
    require_hounsfield("scan", np.array([-1024, 40, 300]))
    require_hounsfield("scan", np.array([-12, 40, 110]))  # a crop of soft tissue, with its noise
    for voxels in ([0, 40, 1000], [24, 1064, 2000], [-1.0, 0.2, 1.0], [-40, 0, 40]):
        with pytest.raises(ValueRangeError, match="no Hounsfield units"):
            require_hounsfield("scan", np.array(voxels))
