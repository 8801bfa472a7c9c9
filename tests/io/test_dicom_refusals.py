"""Each irregular series is refused by the name of its fault; its twin, within tolerance, is read in its place."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from pydicom.uid import (
    MPEG2MPML,
    EnhancedMRImageStorage,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from medseg.domain.errors import GridError, InputError, MedsegError, SeriesError, SpacingError, ValueRangeError
from medseg.io import dicom_pixels
from medseg.io.dicom import read_dicom, read_stack
from medseg.io.dicom_scan import scan
from medseg.io.dicom_write import write_series
from tests.damage import (
    COLOUR,
    SAGITTAL,
    SCOUT,
    Damage,
    Files,
    bomb,
    compressed_and_cut,
    compressed_file_cut,
    copied,
    copies,
    cut,
    cut_before,
    declare,
    deflate,
    every,
    garble_syntax,
    in_syntax,
    lean,
    modality_table,
    nest,
    nest_a_little,
    one,
    raw,
    shift,
    sync_class,
    unlink,
)
from tests.phantoms import CANARIES, counted_volume, dicom_folder, edit_dicom, move_slice


class Fault(NamedTuple):
    """A damage to five slices, 2 mm apart along z, the refusal and its words; and a harmless lookalike."""

    damage: Damage
    error: type[MedsegError]
    words: tuple[str, ...]
    twin: Damage | None = None
    modality: str = "MR"


FAULTS = {
    # Positions
    "missing slice": Fault(
        unlink(2),
        SpacingError,
        ("1 missing slice in", "slices 2 and 3 of 4", "file 2 of 4 and file 3 of 4", "4 mm apart", "expected 2 mm"),
        twin=unlink(4),
    ),
    "two missing slices": Fault(unlink(1, 2), SpacingError, ("2 missing slices", "6 mm apart", "expected 2 mm")),
    "uneven spacing": Fault(
        shift(0, 0, 0.3), SpacingError, ("uneven", "file 2 of 5", "1.7 to 2.3 mm"), twin=shift(0, 0, 0.03)
    ),
    "different duplicate": Fault(
        copies(slice(1, 2), PixelData=bytes(24)),
        SeriesError,
        ("duplicate position", "pixels are different", "1 such", "file 1 of 6 and file 3 of 6"),
        twin=copies(slice(1, 2)),
    ),
    "one of many duplicates different": Fault(
        copies(slice(None), RescaleIntercept="1"), SeriesError, ("different", "5 such"), twin=copies(slice(None))
    ),
    "duplicates without another slice": Fault(
        lambda files: (unlink(1, 2, 3, 4)(files), copies(slice(0, 1))(files)),
        SeriesError,
        ("2 images at one position",),
    ),
    "phases": Fault(
        copies(slice(None), EchoTime="80"),
        SeriesError,
        ("holds 2 volumes", "1: MR, 5 slices", "EchoTime 80 [", "2: MR, 5 slices", "without EchoTime [", "--series"),
        twin=every(EchoTime="80"),
    ),
    "lean beyond any gantry": Fault(lean(2.1), GridError, ("leans 46.4 degrees", "up to 45"), twin=lean(0.0034)),
    "shifted sideways": Fault(shift(1, 0, 0), GridError, ("sideways", "1 mm"), twin=shift(0.02, 0, 0)),
    "one slice only": Fault(unlink(1, 2, 3, 4), SeriesError, ("one slice only",), twin=unlink(2, 3, 4)),
    # Mixtures
    "two directions": Fault(
        lambda files: [edit_dicom(path, **SAGITTAL) for path in copied(files)],
        SeriesError,
        ("holds 2 volumes", "1: MR, 5 slices of 3 x 4 pixels [", "2: MR, 5 slices of 3 x 4 pixels ["),
        twin=lambda files: [edit_dicom(path, **SCOUT, **SAGITTAL) for path in copied(files)],
    ),
    "localizer alone": Fault(every("ImagePositionPatient", **SCOUT), SeriesError, ("localizer", "5 in this series")),
    "other orientation": Fault(
        one(**SAGITTAL),
        SpacingError,
        ("series 1 of 2", "1 missing slice"),
        twin=one(ImageOrientationPatient=[-1, 0, 0.00001, 0, -1, 0]),
    ),
    "other size": Fault(
        one(Rows=3, Columns=4), SeriesError, ("1 image of 2: MR, 1 slice of 4 x 3", "would fill or continue")
    ),
    "other pixel spacing": Fault(
        one(PixelSpacing=[0.75, 0.6]),
        SeriesError,
        ("1 image of 2: MR", "would fill or continue", "the first is file 4 of 5"),
        twin=one(PixelSpacing=[0.750001, 0.5]),
    ),
    "no modality": Fault(every("Modality"), SeriesError, ("does not say its Modality", "--force")),
    "other frame of reference": Fault(
        one(FrameOfReferenceUID="1.2.3"),
        SeriesError,
        ("another frame of reference",),
        twin=every("FrameOfReferenceUID"),
    ),
    # Tags of geometry
    "no position": Fault(one("ImagePositionPatient"), GridError, ("file 4 of 5", "ImagePositionPatient")),
    "no position anywhere": Fault(every("ImagePositionPatient"), GridError, ("ImagePositionPatient is missing",)),
    "position of two numbers": Fault(raw("ImagePositionPatient", b"1\\2 "), GridError, ("not 3 finite numbers",)),
    "position not a number": Fault(raw("ImagePositionPatient", b"1\\2\\nan"), GridError, ("not 3 finite numbers",)),
    "position garbled": Fault(raw("ImagePositionPatient", b"1\\2\\Canary"), GridError, ("not 3 finite numbers",)),
    "position far away": Fault(
        one(ImagePositionPatient=["0", "1e300", "0"]), GridError, ("1e+300 mm from the origin", "file 4 of 5")
    ),
    "orientation too large": Fault(every(ImageOrientationPatient=["1e300"] * 6), GridError, ("unit vectors",)),
    "no orientation": Fault(every("ImageOrientationPatient"), GridError, ("ImageOrientationPatient is missing",)),
    "orientation zero": Fault(
        every(ImageOrientationPatient=[0] * 6), GridError, ("perpendicular unit vectors", "lengths 0, 0")
    ),
    "orientation not perpendicular": Fault(
        every(ImageOrientationPatient=[-1, 0, 0, -0.6, -0.8, 0]),
        GridError,
        ("perpendicular unit vectors", "product 0.6"),
        twin=every(ImageOrientationPatient=[-1, 0.0002, 0, 0.0001, -0.9999, 0]),
    ),
    "no pixel spacing": Fault(
        every("PixelSpacing", ImagerPixelSpacing=[0.75, 0.5]), GridError, ("PixelSpacing is missing",)
    ),
    "pixel spacing zero": Fault(every(PixelSpacing=[0.75, 0]), GridError, ("PixelSpacing is 0.75, 0 mm",)),
    "pixel spacing negative": Fault(every(PixelSpacing=[-0.75, 0.5]), GridError, ("it must be 0.0001 to 1000 mm",)),
    "pixel spacing infinite": Fault(raw("PixelSpacing", b"inf\\0.5 "), GridError, ("not 2 finite numbers",)),
    "projection": Fault(
        every("ImagePositionPatient", Modality="DX"),
        InputError,
        ("projection (DX)", "position"),
        twin=every(Modality="OT"),
    ),
    # Kinds of image
    "colour": Fault(every(**COLOUR), InputError, ("colour", "3 samples", "RGB")),
    "palette": Fault(every(PhotometricInterpretation="PALETTE COLOR"), InputError, ("colour", "PALETTE COLOR")),
    "inverted": Fault(every(PhotometricInterpretation="MONOCHROME1"), InputError, ("is MR stored inverted",)),
    "multi-frame": Fault(
        one(NumberOfFrames=2, PixelData=bytes(48)),
        SeriesError,
        ("a multi-frame image of 2 frames", "functional groups"),
        twin=one(NumberOfFrames=1),
    ),
    "enhanced": Fault(
        every(NumberOfFrames=1, SOPClassUID=EnhancedMRImageStorage),
        SeriesError,
        ("an enhanced multi-frame image of 1 frames",),
    ),
    # Values
    "CT without rescale": Fault(
        every("RescaleSlope", "RescaleIntercept"),
        ValueRangeError,
        ("CT without RescaleSlope", "Hounsfield"),
        twin=every("RescaleSlope", "RescaleIntercept", Modality="MR"),
        modality="CT",
    ),
    "CT with an empty slope": Fault(every(RescaleSlope=None), ValueRangeError, ("CT without",), modality="CT"),
    "slope zero": Fault(one(RescaleSlope="0"), ValueRangeError, ("rescales by 0",), modality="CT"),
    "slope not a number": Fault(raw("RescaleSlope", b"Canary"), ValueRangeError, ("rescales by nan",), modality="CT"),
    "slope too large": Fault(one(RescaleSlope="1e300"), ValueRangeError, ("overflows",), modality="CT"),
    "modality table": Fault(modality_table, ValueRangeError, ("Modality LUT",)),
    "values in the high bits": Fault(
        every(BitsStored=12, HighBit=15), InputError, ("HighBit",), twin=every(BitsStored=14, HighBit=13)
    ),
    # Pixels
    "no pixels": Fault(one("PixelData"), InputError, ("without PixelData", "file 4 of 5")),
    "cut off in the pixels": Fault(cut(-10), InputError, ("declares 24 bytes", "has 14 left", "file 4 of 5")),
    "too few pixels": Fault(one(PixelData=bytes(20)), InputError, ("has 20 bytes", "need 24")),
    "two frames unannounced": Fault(
        one(PixelData=bytes(48)),
        InputError,
        ("has 48 bytes", "need 24"),
        twin=one(PixelData=counted_volume().voxels[0, :, :, 3].T.tobytes() + bytes(8)),
    ),
    "floating-point pixels": Fault(one("PixelData", FloatPixelData=bytes(48)), InputError, ("floating-point",)),
    "bits": Fault(every(BitsAllocated=1, BitsStored=1, HighBit=0), InputError, ("1-bit",)),
    "no rows": Fault(one(Rows=0), InputError, ("3 columns and 0 rows", "file 4 of 5")),
    # Streams
    "cut off in the header": Fault(cut(420), InputError, ("file 4 of 5", "cut off", "declares 44 bytes")),
    "cut off between elements": Fault(
        cut_before("SeriesInstanceUID"), InputError, ("file 4 of 5", "without PixelData")
    ),
    "transfer syntax garbled": Fault(garble_syntax, InputError, ("file 4 of 5", "no UID")),
    "cut off in group 2": Fault(cut(160), InputError, ("file 4 of 5", "cut off")),
    "declared longer than the file": Fault(
        declare("PatientName", 65534), InputError, ("cut off", "(0010,0010) declares 65534 bytes")
    ),
    "nested without end": Fault(nest, InputError, ("damaged",), twin=nest_a_little),
    "deflated bomb": Fault(bomb, InputError, ("deflated bytes swell to more than", "file 4 of 5"), twin=deflate),
    "deflated and cut": Fault(
        lambda files: (deflate(files), cut(-20)(files)), InputError, ("deflated data set has no end", "file 4 of 5")
    ),
    "codec unknown": Fault(in_syntax(MPEG2MPML, b"1234"), InputError, ("MPEG2 Main Profile",)),
    "syntax unknown": Fault(in_syntax("1.2.3.4", b"1234"), InputError, ("unknown transfer syntax 1.2.3.4",)),
    "compressed file cut": Fault(compressed_file_cut, InputError, ("no end", "file 4 of 5")),
    "RLE stream cut": Fault(
        compressed_and_cut(RLELossless, 0.5), InputError, ("RLE Lossless", "broken"), twin=in_syntax(RLELossless)
    ),
    "broken stream": Fault(
        in_syntax(JPEG2000Lossless, random.Random(1).randbytes(200) + b"\xff\xd9"),
        InputError,
        ("JPEG 2000 Image Compression (Lossless Only)", "broken stream"),
    ),
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, Path]:
    folders = {modality: tmp_path_factory.mktemp("original") / modality for modality in ("MR", "CT")}
    for modality, folder in folders.items():
        dicom_folder(folder, modality=modality)
    return folders


@pytest.fixture
def files(originals, tmp_path) -> Callable[[str], Files]:
    def copy(modality: str) -> Files:
        return sorted(Path(shutil.copytree(originals[modality], tmp_path / "series")).iterdir())

    return copy


def refusal_of(files: Files) -> MedsegError:
    with pytest.raises(MedsegError) as refusal:
        read_dicom(files[0].parent, "case")
    return refusal.value


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_refused_by_name_and_no_patient_is_named(files, name):
    fault = FAULTS[name]
    paths = files(fault.modality)
    fault.damage(paths)
    error = refusal_of(paths)
    message = str(error)
    assert type(error) is fault.error, message
    assert [word for word in fault.words if word not in message] == [], message
    assert message.startswith(str(paths[0].parent))
    assert "\n" not in message
    assert "; " in message  # what to do about it
    for canary in CANARIES.values():
        assert canary not in message
    assert "anary" not in message


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.twin])
def test_its_twin_is_read_where_it_was(files, name):
    fault = FAULTS[name]
    paths = files(fault.modality)
    fault.twin(paths)
    volume, truth = read_dicom(paths[0].parent, "case"), counted_volume()
    count = len(volume.series.paths)
    kept = truth.voxels[..., :count]
    assert np.array_equal(volume.voxels, kept)
    corners = np.array([[0, 0, 0], [2, 3, 0], [2, 3, count - 1]], float)
    off = volume.geometry.ijk_to_ras_mm(corners) - truth.geometry.ijk_to_ras_mm(corners)
    assert np.abs(off).max() <= 0.02


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_the_series_without_fault_is_read(files, modality):
    volume = read_dicom(files(modality)[0].parent, "case")
    assert volume.geometry.is_same_grid(counted_volume().geometry, 1e-9)
    assert np.array_equal(volume.voxels, counted_volume().voxels)
    assert not volume.notes


def test_a_file_cut_at_any_byte_is_never_read(files):
    paths = files("MR")
    whole = paths[2].read_bytes()
    for keep in [*range(0, len(whole), 41), len(whole) - 1]:
        paths[2].write_bytes(whole[:keep])
        assert isinstance(refusal_of(paths), InputError if keep >= 132 else SpacingError)  # below: no DICOM, a gap


def test_an_error_carries_the_gaps(files):
    paths = files("MR")
    unlink(2)(paths)
    error = refusal_of(paths)
    assert isinstance(error, SpacingError)
    assert error.gaps_mm == pytest.approx((2, 4, 2))
    assert error.exit_code == 3


def test_steps_that_drift_are_uneven_though_each_is_near_the_usual(tmp_path):
    """Ten steps of 1.97 mm, then ten of 2.03 mm: each within 0.05 mm, the middle slice 0.3 mm off."""
    series = write_series(counted_volume((2, 2, 21)), tmp_path / "drift")
    for k, path in enumerate(series.paths):
        move_slice(path, (0, 0, -0.03 * min(k, 20 - k)))
    with pytest.raises(SpacingError, match=r"0\.3 mm off an even grid"):
        read_dicom(series.paths[0].parent, "case")


def test_a_missing_slice_of_a_microscopic_series_is_not_within_tolerance(tmp_path):
    """0.05 mm is allowed elsewhere; here it is a whole slice."""
    series = dicom_folder(tmp_path, counted_volume((2, 2, 6), np.diag([0.01, 0.01, 0.04, 1])))
    assert read_dicom(series.paths[0].parent, "case").geometry.shape_ijk == (2, 2, 6)
    series.paths[3].unlink()
    with pytest.raises(SpacingError, match="1 missing slice"):
        read_dicom(tmp_path, "case")


def test_a_small_lean_stays_in_the_affine(files):
    paths = files("MR")
    lean(0.0034)(paths)
    affine = read_dicom(paths[0].parent, "case").geometry.affine_ras
    assert affine[:3, 2] == pytest.approx([-0.0034, 0, 2], abs=1e-9)


def test_a_codec_that_is_not_installed_is_named_with_what_to_install(files, monkeypatch):
    class Absent:
        is_available = False
        missing_dependencies = ("somecodec - requires numpy, somecodec>=2.0",)

    paths = files("MR")
    in_syntax(RLELossless)(paths)
    there = dicom_pixels.get_decoder
    monkeypatch.setattr(dicom_pixels, "get_decoder", lambda syntax: Absent if syntax == RLELossless else there(syntax))
    assert "no codec for" in str(refusal_of(paths))
    assert "RLE Lossless is installed; pip install numpy" in str(refusal_of(paths))
    monkeypatch.setattr(dicom_pixels, "cure", lambda syntax: None)
    assert "install one (requires numpy, somecodec>=2.0)" in str(refusal_of(paths))


@pytest.mark.parametrize("keep", [0.99, 0.7, 0.1])
def test_a_jpeg_stream_without_its_end_is_refused_before_a_codec_fills_it_up(tmp_path, keep):
    series = dicom_folder(tmp_path, counted_volume((16, 12, 4)))
    compressed_and_cut(JPEGLSLossless, keep)(list(series.paths))
    with pytest.raises(InputError, match=r"file 4 of 4: its JPEG-LS Lossless .* bytes is cut off"):
        read_dicom(series.paths[0].parent, "case")


def test_a_folder_without_images_is_refused(tmp_path):
    for folder, words in ((tmp_path / "none", "cannot be read"), (tmp_path, "no DICOM image among 1 file;")):
        (tmp_path / "notes.txt").write_text("nothing here")
        with pytest.raises(InputError, match=words):
            scan(folder)


def test_a_report_alone_is_no_image(files):
    paths = files("MR")
    for path in paths:
        edit_dicom(path, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", change=sync_class)
    with pytest.raises(SeriesError, match=r"no DICOM image among 5 files \(5 of 5 files: DICOM but no image.*5 Basic"):
        scan(paths[0].parent)


def test_a_file_that_changes_between_header_and_pixels_is_named(files, monkeypatch):
    paths = files("MR")
    found = scan(paths[0].parent)
    edit_dicom(paths[2], InstanceNumber=9999)
    with pytest.raises(InputError, match=r"file 3 of 5: changed while it was read"):
        read_stack(found, found.stacks[0], "case")
    paths[2].unlink()
    with pytest.raises(InputError, match=r"file 3 of 5: cannot be read \(No such file"):
        read_stack(found, found.stacks[0], "case")
