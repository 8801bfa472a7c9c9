"""Laws of reading and writing a regular DICOM series; what is refused stands in test_dicom_refusals."""

import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from medseg.domain.errors import GridError, OutputError, SeriesError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.io.dicom import read_dicom
from medseg.io.dicom_files import File
from medseg.io.dicom_header import Header, read_headers
from medseg.io.dicom_pixels import read_stored
from medseg.io.dicom_write import write_series
from tests.phantoms import (
    box_volume,
    counted_volume,
    dicom_folder,
    edit_all,
    edit_dicom,
    oblique,
    orientations,
)

DATA = Path(os.environ.get("MEDSEG_DATA") or Path(__file__).parents[3] / "shared" / "data")
needs_data = pytest.mark.skipif(not (DATA / "dicom").is_dir(), reason="no dicom folder at MEDSEG_DATA")


def read(path: Path) -> Volume:
    return read_dicom(path, "case")


def header_of(path: Path) -> Header:
    (header,) = read_headers(File(path, "a file", path.name))
    return header


def positions_by_value(volume: Volume) -> np.ndarray:
    """The RAS position of every voxel of a counted volume, sorted by the voxel's value, which no other has."""
    values = volume.voxels[0].ravel()
    assert len(np.unique(values)) == values.size
    indices = np.indices(volume.geometry.shape_ijk).reshape(3, -1).T
    return volume.geometry.ijk_to_ras_mm(indices.astype(float))[np.argsort(values)]


def worst_error_mm(one: Volume, other: Volume) -> float:
    assert np.array_equal(np.sort(one.voxels, axis=None), np.sort(other.voxels, axis=None))
    return float(np.linalg.norm(positions_by_value(one) - positions_by_value(other), axis=1).max())


# Where voxels lie


@pytest.mark.parametrize("letters", orientations())
def test_every_orientation_comes_back_at_the_same_place(tmp_path, letters):
    affine = orientations()[letters]
    assert "".join(nib.aff2axcodes(affine)) == letters
    volume = counted_volume((3, 4, 3), affine)
    write_series(volume, tmp_path)
    back = read(tmp_path)
    assert worst_error_mm(back, volume) <= 1e-6
    # Slices rise along the cross product of the other axes, so half of the grids come back with them reversed.
    assert np.linalg.det(back.geometry.affine_ras[:3, :3]) > 0
    reverse = slice(None, None, -1 if np.linalg.det(affine[:3, :3]) < 0 else 1)
    assert np.array_equal(back.voxels, volume.voxels[..., reverse])


@settings(max_examples=15)
@given(
    st.sampled_from(sorted(orientations())),
    st.tuples(*[st.floats(-180, 180)] * 3),
    st.tuples(*[st.floats(0.02, 20)] * 3),
    st.tuples(*[st.floats(-2000, 2000)] * 3),
)
def test_oblique_grids_come_back_at_the_same_place(tmp_path_factory, letters, degrees, spacing, origin):
    affine = oblique(orientations(spacing, origin)[letters], degrees)
    volume, folder = counted_volume((3, 4, 3), affine), tmp_path_factory.mktemp("oblique")
    series = write_series(volume, folder)
    back = read(folder)
    assert worst_error_mm(back, volume) <= 1e-3
    assert back.series == series  # rising positions, as they were written


@pytest.mark.parametrize("letters", ["LPS", "RAS", "LAS", "PIL", "SRP"])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (12, -33, 71)])
def test_simpleitk_sees_the_same_voxels_at_the_same_places(tmp_path, letters, degrees):
    affine = oblique(orientations()[letters], degrees)
    series = write_series(counted_volume(affine_ras=affine), tmp_path)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in series.paths])
    other, ours = reader.Execute(), read(tmp_path)
    assert np.array_equal(sitk.GetArrayFromImage(other).T, ours.voxels[0])
    for index in np.ndindex(ours.geometry.shape_ijk):
        lps = np.array(other.TransformIndexToPhysicalPoint(index))
        ras = ours.geometry.ijk_to_ras_mm(np.array(index, float))
        assert np.allclose(lps * (-1, -1, 1), ras, rtol=0, atol=1e-5)


def test_the_first_axis_is_along_a_row_and_spacings_keep_their_order(tmp_path):
    """PixelSpacing is rows apart, then columns apart: the other order is the classic mistake."""
    affine = np.diag([-0.5, -0.75, 2.0, 1.0])
    series = write_series(counted_volume((3, 4, 5), affine), tmp_path)
    header = dcmread(series.paths[0])
    assert (header.Columns, header.Rows, header.PixelSpacing) == (3, 4, [0.75, 0.5])
    back = read(tmp_path)
    assert back.geometry == Geometry((3, 4, 5), affine)
    assert np.array_equal(back.voxels[0, :, 0, 0], dcmread(series.paths[0]).pixel_array[0])


def test_a_box_keeps_its_millilitres_and_its_centre(tmp_path):
    phantom = box_volume(affine_ras=oblique(np.diag([1.0, 1.5, 2.0, 1.0]), (20, 30, 40)))
    write_series(phantom.volume, tmp_path)
    back = read(tmp_path)
    inside = np.argwhere(back.voxels[0] == 100)
    assert len(inside) * back.geometry.voxel_volume_mm3 / 1000 == pytest.approx(phantom.volume_ml) == 1.2
    centre = back.geometry.ijk_to_ras_mm(inside.mean(axis=0))
    assert centre == pytest.approx(np.array(phantom.centroid_ras_mm), abs=1e-6)


# Order


@pytest.mark.parametrize("numbers", [[5, 3, 1, 2, 4], [1] * 5, None])
def test_instance_numbers_play_no_part(tmp_path, numbers):
    """MONAI's reader stacks by InstanceNumber, so such a series comes out scrambled."""
    series = dicom_folder(tmp_path / "a")
    for n, path in enumerate(series.paths):
        if numbers is None:
            edit_dicom(path, "InstanceNumber")
        else:
            edit_dicom(path, InstanceNumber=numbers[n])
    assert np.array_equal(read(tmp_path / "a").voxels, counted_volume().voxels)


def test_names_of_files_play_no_part(tmp_path):
    names = ["é 9", "B.DCM", "a.txt", "0.nii", "IM-7.1"]
    series = dicom_folder(tmp_path / "a", seed="names")
    (tmp_path / "Ünïcode — 放射" / "deep").mkdir(parents=True)
    for n, path in enumerate(series.paths):
        shutil.move(path, tmp_path / "Ünïcode — 放射" / ("deep" if n % 2 else "") / names[n])
    volume = read(tmp_path)
    assert [path.name for path in volume.series.paths] == names
    assert np.array_equal(volume.voxels, counted_volume().voxels)


# What a folder may hold besides


def test_what_is_no_image_is_passed_over(tmp_path):
    series = dicom_folder(tmp_path)
    (tmp_path / "README").write_text("DICOM from the scanner\n" * 20)
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    (tmp_path / "counts.bin").write_bytes(b"\x08\x00\x00\x00\x04\x00\x00\x00" + bytes(300))
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "short.dcm").write_bytes(b"DICM")
    others = {
        "DICOMDIR": "1.2.840.10008.1.3.10",
        "seg": "1.2.840.10008.5.1.4.1.1.66.4",
        "labels": "1.2.840.10008.5.1.4.1.1.66.7",
        "report": "1.2.840.10008.5.1.4.1.1.88.33",
        "plan": "1.2.840.10008.5.1.4.1.1.481.3",
        "dose": "1.2.840.10008.5.1.4.1.1.481.2",
        "pdf": "1.2.840.10008.5.1.4.1.1.104.1",
        "presentation": "1.2.840.10008.5.1.4.1.1.11.1",
    }
    for name, sop_class in others.items():
        shutil.copy(series.paths[0], tmp_path / name)
        edit_dicom(tmp_path / name, SOPClassUID=sop_class, SeriesInstanceUID=f"1.2.{len(name)}", change=sync_meta)
    shutil.copy(series.paths[0], tmp_path / "private")
    private = "1.3.46.670589.11.0.0.12.2"  # a maker's own object beside its images, without pixels
    edit_dicom(tmp_path / "private", "PixelData", "Rows", "Columns", SOPClassUID=private, change=sync_meta)
    volume = read(tmp_path)
    assert volume.series == series
    assert np.array_equal(volume.voxels, counted_volume().voxels)
    assert volume.notes[0] == "5 of 19 files: no DICOM, passed over (2 .dcm among them)"
    assert volume.notes[1].startswith("9 of 19 files: DICOM but no image, passed over (1 Compreh")


def sync_meta(dataset):
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID


# How files may be written


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEGLSLossless])
def test_the_transfer_syntax_changes_nothing(tmp_path, syntax):
    volume = counted_volume((16, 12, 3))  # JPEG-LS gives up on fewer pixels
    for path in dicom_folder(tmp_path, volume).paths:
        dataset = dcmread(path)
        if syntax.is_encapsulated:
            dataset.compress(syntax, generate_instance_uid=False)
        else:
            if not syntax.is_little_endian:
                dataset.PixelData = dataset.pixel_array.astype(">i2").tobytes()
            dataset.file_meta.TransferSyntaxUID = syntax
        dataset = rebuilt(dataset)
        dataset.save_as(path, enforce_file_format=True)
    back = read(tmp_path)
    assert {header_of(path).transfer_syntax for path in back.series.paths} == {syntax}
    assert np.array_equal(back.voxels, volume.voxels)
    assert back.geometry.is_same_grid(volume.geometry, 1e-6)


def rebuilt(dataset):
    """Without the encoding it was read in, so that it can be written in another."""
    fresh = Dataset({element.tag: element for element in dataset})
    fresh.file_meta = dataset.file_meta
    return fresh


@pytest.mark.parametrize("name", ["MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless"])
def test_codecs_agree_with_the_uncompressed_file(name):
    paths = [get_testdata_file(f"{n}.dcm", download=False) for n in (name, "MR_small")]
    if None in paths:
        pytest.skip("pydicom came without its sample files")
    packed, plain = (read_stored([header_of(Path(path))])[0] for path in paths)
    assert np.array_equal(packed, plain)


@pytest.mark.parametrize("keep", ["meta", "nothing", "implicit"])
def test_a_missing_preamble_is_fine_and_noted(tmp_path, keep):
    series = dicom_folder(tmp_path)
    for path in series.paths:
        if keep == "meta":
            path.write_bytes(path.read_bytes()[132:])
        else:
            dataset = rebuilt(dcmread(path))
            if keep == "implicit":
                dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            dataset.save_as(path, enforce_file_format=True)
            head = 132 + 12 + dcmread(path).file_meta.FileMetaInformationGroupLength
            path.write_bytes(path.read_bytes()[head:])
    volume = read(tmp_path)
    assert np.array_equal(volume.voxels, counted_volume().voxels)
    assert volume.notes == ("5 of 5 DICOM files have no preamble",)


def test_an_odd_number_of_bytes_is_padded_and_read(tmp_path):
    series = dicom_folder(tmp_path, counted_volume((3, 3, 3)))
    for path in series.paths:
        pixels = np.arange(9, dtype=np.uint8).tobytes() + b"\0"
        edit_dicom(path, BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0, PixelData=pixels)
    assert np.array_equal(read(tmp_path).voxels[0, :, :, 1], np.arange(9).reshape(3, 3).T)


# Values


def test_whole_values_that_fit_are_int16(tmp_path):
    series = dicom_folder(tmp_path, modality="CT")
    edit_all(series.paths, RescaleIntercept="-1024")
    voxels = read(tmp_path).voxels
    assert voxels.dtype == np.int16
    assert np.array_equal(voxels, counted_volume().voxels - 1024)


@pytest.mark.parametrize(("slope", "intercept"), [("1", "-32500"), ("0.5", "0"), ("1", "0.25")])
def test_all_other_values_are_float32(tmp_path, slope, intercept):
    series = dicom_folder(tmp_path)
    edit_all(series.paths, RescaleSlope=slope, RescaleIntercept=intercept)
    voxels = read(tmp_path).voxels
    assert voxels.dtype == np.float32
    assert np.array_equal(voxels, counted_volume().voxels * float(slope) + float(intercept))


def test_unsigned_values_are_not_wrapped(tmp_path):
    series = dicom_folder(tmp_path)
    edit_all(series.paths, PixelRepresentation=0, PixelData=np.full(12, 65535, "<u2").tobytes())
    assert (read(tmp_path).voxels == 65535).all()
    edit_all(series.paths, RescaleSlope="1", RescaleIntercept="-65000")
    voxels = read(tmp_path).voxels
    assert voxels.dtype == np.int16
    assert (voxels == 535).all()


def test_each_slice_has_its_own_scale(tmp_path):
    series = dicom_folder(tmp_path)
    for k, path in enumerate(series.paths):
        edit_dicom(path, Modality="NM", RescaleSlope=str(k + 0.5), RescaleIntercept=str(10 * k))
    k = np.arange(5)
    assert np.allclose(read(tmp_path).voxels, counted_volume().voxels * (k + 0.5) + 10 * k)


def test_windows_for_display_change_no_value(tmp_path):
    series = dicom_folder(tmp_path)
    edit_all(series.paths, WindowCenter="40", WindowWidth="10", PresentationLUTShape="IDENTITY")
    assert np.array_equal(read(tmp_path).voxels, counted_volume().voxels)


# Writing


def test_the_same_seed_writes_the_same_bytes_and_another_seed_other_uids(tmp_path):
    one, same, other = (write_series(counted_volume(), tmp_path / str(n), seed=s) for n, s in enumerate("aab"))
    assert [p.read_bytes() for p in one.paths] == [p.read_bytes() for p in same.paths]
    assert one.uid == same.uid != other.uid
    header = dcmread(one.paths[0])
    assert header.PatientName == "GENERATED^DEMO"
    assert len({dcmread(p).SOPInstanceUID for p in one.paths}) == 5


def test_what_cannot_be_written_is_refused(tmp_path):
    sheared = np.diag([1.0, 1.0, 2.0, 1.0])
    sheared[0, 1] = 0.01
    volume = counted_volume()
    as_float = Volume(volume.voxels.astype(np.float32), volume.geometry, "case")
    with pytest.raises(GridError, match="not perpendicular"):
        write_series(counted_volume(affine_ras=sheared), tmp_path / "a")
    with pytest.raises(UsageError, match="int16"):
        write_series(as_float, tmp_path / "a")
    with pytest.raises(UsageError, match="MR"):
        write_series(volume, tmp_path / "a", modality="DX")
    write_series(volume, tmp_path / "a")
    with pytest.raises(OutputError, match="not empty"):
        write_series(volume, tmp_path / "a")


# Files from scanners


@pytest.mark.data
@needs_data
def test_a_real_ct_reads_as_28_slices_5_mm_apart():
    volume = read(DATA / "dicom" / "ct_thick_28")
    assert volume.geometry.shape_ijk == (512, 512, 28)
    assert volume.geometry.spacing_mm == pytest.approx((0.451171875, 0.451171875, 5), abs=1e-9)
    assert (volume.modality, volume.voxels.dtype) == ("CT", np.int16)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in volume.series.paths])
    other = reader.Execute()
    assert np.array_equal(sitk.GetArrayViewFromImage(other).T, volume.voxels[0])
    for index in ((0, 0, 0), (511, 0, 27), (511, 511, 27)):
        lps = np.array(other.TransformIndexToPhysicalPoint(index))
        assert np.abs(lps * (-1, -1, 1) - volume.geometry.ijk_to_ras_mm(np.array(index, float))).max() <= 0.01


@pytest.mark.data
@needs_data
def test_a_real_scout_is_refused_as_such():
    with pytest.raises(SeriesError, match="is a localizer \\(scout\\)"):
        read(DATA / "dicom" / "ct_scout")
