"""What cannot be done ends in one line and an exit code, and leaves nothing behind."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medseg.io.nifti import write_nifti_image
from tests.bundles import blob_volume, blobs, random_weights, stored_bundle, volume_bundle
from tests.commands import medseg
from tests.phantoms import dicom_folder, edit_all


def everything(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_refused(folder, code, *arguments):
    """The one line that is said; the folder is as it was."""
    before = everything(folder)
    done = medseg(*arguments)
    assert done.code == code, done.err
    assert done.out == ""
    assert len(done.lines) == 1, done.err
    assert done.lines[0].startswith("medseg: ")
    assert "Traceback" not in done.err
    assert everything(folder) == before
    return done.lines[0]


def text_file(folder):
    path = folder / "text.nii.gz"
    path.write_text("no image")
    return path


def with_nan(folder):
    volume = blob_volume(np.eye(4))
    voxels = volume.voxels[0].astype(np.float32)
    voxels[3, 4, 5] = np.nan
    write_nifti_image(voxels, volume.geometry, folder / "nan.nii.gz")
    return folder / "nan.nii.gz"


def constant(folder):
    volume = blob_volume(np.eye(4))
    write_nifti_image(volume.voxels[0] * 0 + 3, volume.geometry, folder / "constant.nii.gz")
    return folder / "constant.nii.gz"


def missing_slice(folder):
    dicom_folder(folder / "series", blob_volume(np.eye(4))).paths[5].unlink()
    return folder / "series"


def two_series(folder):
    for seed in ("one", "other"):
        dicom_folder(folder / seed, blob_volume(np.eye(4)), seed=seed)
    (folder / "other").rename(folder / "one" / "other")
    return folder / "one"


def another_modality(folder):
    edit_all(dicom_folder(folder / "series", blob_volume(np.eye(4)), modality="CT").paths, RescaleIntercept="-100")
    return folder / "series"


def cut_dicom(folder):
    path = dicom_folder(folder / "series", blob_volume(np.eye(4))).paths[3]
    path.write_bytes(path.read_bytes()[:-50])
    return folder / "series"


def no_orientation(folder):
    edit_all(dicom_folder(folder / "series", blob_volume(np.eye(4))).paths, "ImageOrientationPatient")
    return folder / "series"


def empty_folder(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


def colour(folder):
    Image.fromarray(blobs((60, 44), channels=3).T.copy()).save(folder / "colour.png")
    return folder / "colour.png"


def picture(folder):
    Image.fromarray(blobs((60, 44))[0].T.copy()).save(folder / "picture.png")
    return folder / "picture.png"


def volume(folder):
    scan = blob_volume(np.eye(4))
    write_nifti_image(scan.voxels[0], scan.geometry, folder / "volume.nii.gz")
    return folder / "volume.nii.gz"


@pytest.mark.parametrize(
    ("make", "bundle", "words"),
    [
        (text_file, "organs", "not a NIfTI file"),
        (with_nan, "organs", "1 of 5148 voxels are NaN"),
        (constant, "organs", "every voxel is 3"),
        (missing_slice, "organs", "mm"),
        (two_series, "organs", "holds 2 volumes"),
        (another_modality, "organs", "its modality is CT"),
        (cut_dicom, "organs", "cut off"),
        (no_orientation, "organs", "file 1 of 13"),
        (empty_folder, "organs", "is empty"),
        (colour, "grey", "3 colour channels"),
        (picture, "organs", "is a picture"),
        (volume, "cells", "is a volume"),
        (lambda folder: folder / "missing.nii.gz", "organs", "there is no such file"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_input_is_refused(home, tmp_path, make, bundle, words):
    path = make(tmp_path)
    for folder in (tmp_path / "out", tmp_path):
        line = assert_refused(tmp_path, 3, "segment", path, "-b", bundle, "-o", folder, "--statistics", "--preview")
        assert words in line
        assert str(path) in line
        assert "Canary" not in line


@pytest.mark.parametrize(
    ("code", "options", "words"),
    [
        (2, ["-b", "nothing"], "no bundle of this name, and no such file or folder; there are"),
        (2, ["--roi", "1,2,3"], "x,y,z,dx,dy,dz"),
        (2, ["--roi", "1,2,3,4,5,-6"], "x,y,z,dx,dy,dz"),
        (3, ["--roi", "1000,2,3,4,5,6"], "reaches out of the image"),
        (2, ["--precision", "fp8"], "give auto, fp32, bf16 or fp16"),
        (6, ["--precision", "fp16", "--device", "cpu"], "give bf16 or fp32"),
        (6, ["--device", "cuda:99"], "no such device"),
        (6, ["--device", "cpu:1"], "no such device"),
        (6, ["--device", "meta"], "no such device"),
        (2, ["--device", "gpu"], "not a device"),
        (2, ["--threads", "0"], "--threads"),
        (2, ["--threads", "many"], "--threads"),
        (2, ["-t", "jpeg"], "give auto, nifti, seg-nrrd"),
        (2, ["-t", "png"], "a PNG holds one plane"),
        (2, ["--colour"], "--colour"),
    ],
    ids=str,
)
def test_an_option_is_refused(home, scan, tmp_path, code, options, words):
    chosen = [] if "-b" in options else ["-b", "organs"]
    line = assert_refused(tmp_path, code, "segment", scan, "-o", tmp_path / "out", *chosen, *options)
    assert words in line


@pytest.mark.parametrize(
    "arguments",
    [["segment"], ["segment", "x.nii"], ["segment", "x.nii", "-o", "out"], ["sgement"], ["bundle", "lst"], ["--colour"],
     ["train", "x.json"], ["evaluate", "x"], ["segment", "x.nii", "-b", "organs", "-o"]],
    ids=" ".join,
)  # fmt: skip
def test_a_command_that_is_none_is_refused(home, tmp_path, arguments):
    assert "--help" in assert_refused(tmp_path, 2, *arguments)


@pytest.mark.parametrize("name", ["scan_seg.nii.gz", "scan_statistics.json", "scan_preview.png"])
def test_an_output_that_exists_is_kept(home, scan, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    arguments = ["segment", scan, "-b", "organs", "-o", tmp_path / "out", "--statistics", "--preview"]
    assert name in assert_refused(tmp_path, 7, *arguments)
    assert medseg(*arguments, "--overwrite").code == 0
    assert (tmp_path / "out" / name).read_bytes() != b"mine"


def test_an_output_file_that_exists_is_kept(home, scan, tmp_path):
    (tmp_path / "mine.nii.gz").write_text("mine")
    assert_refused(tmp_path, 7, "segment", scan, "-b", "organs", "-o", tmp_path / "mine.nii.gz")


@pytest.mark.parametrize("output", ["file/out", "file/mask.nii.gz", "file"])
def test_a_folder_that_cannot_be_written_is_refused(home, scan, tmp_path, output):
    (tmp_path / "file").touch()
    line = assert_refused(tmp_path, 7, "segment", scan, "-b", "organs", "-o", tmp_path / output)
    assert "cannot be written" in line


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that takes no files")
def test_a_file_system_that_takes_no_files_is_refused(home, scan, tmp_path):
    assert_refused(tmp_path, 7, "segment", scan, "-b", "organs", "-o", "/proc/out")


def test_a_name_too_long_is_refused(home, scan, tmp_path):
    """`Path.exists` raises an OSError of its own for it."""
    long = tmp_path / f"{'x' * 248}.nii.gz"
    assert "too long" in assert_refused(tmp_path, 7, "segment", long, "-b", "organs", "-o", tmp_path)
    longer = tmp_path / f"{'x' * 300}.nii.gz"
    arguments = ["segment", longer, "-b", "organs", "-o", tmp_path / "mask.nii.gz"]
    assert "too long" in assert_refused(tmp_path, 3, *arguments)


def test_two_outputs_of_one_name_are_refused(home, scan, slide, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(scan, other / "scan.nii.gz")
    common = ["-b", "organs", "-o", tmp_path / "out"]
    for second in (other / "scan.nii.gz", scan):
        line = assert_refused(tmp_path, 2, "segment", scan, second, *common)
        assert "would both become" in line
        assert str(second) in line
    assert "give a folder" in assert_refused(
        tmp_path, 2, "segment", scan, slide, "-b", "organs", "-o", tmp_path / "mask.nii.gz"
    )


def test_two_previews_of_one_name_are_refused(home, slide, tmp_path):
    """The masks of slide.png and slide.tif differ in their ending, their previews and statistics did not."""
    twin = tmp_path / "slide.tif"
    Image.fromarray(blobs((60, 44))[0].T.copy()).save(twin)
    common = ["segment", slide, twin, "-b", "grey", "-o", tmp_path / "out", "-q"]
    for option, name in (("--preview", "slide_preview.png"), ("--statistics", "slide_statistics.json")):
        assert name in assert_refused(tmp_path, 2, *common, option)
    assert medseg(*common).code == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*_seg.*")) == ["slide_seg.png", "slide_seg.tif"]


def test_an_input_is_never_written_over(home, scan, tmp_path):
    """`-o scan.nii.gz --overwrite` replaced the scan by its mask."""
    arguments = ["segment", scan, "-b", "organs", "--overwrite", "-o", scan]
    assert "is an input" in assert_refused(tmp_path, 2, *arguments)
    twin = tmp_path / "scan_seg.nii.gz"
    shutil.copy(scan, twin)
    assert "is an input" in assert_refused(
        tmp_path, 2, "segment", scan, twin, "-b", "organs", "--overwrite", "-o", tmp_path
    )


def test_a_type_that_the_output_denies_is_refused(home, scan, tmp_path):
    common = ["segment", scan, "-b", "organs", "-q"]
    for form, name in (("nifti", "mask.tif"), ("tiff", "mask.nii.gz"), ("png", "mask.nii")):
        assert "-t" in assert_refused(tmp_path, 2, *common, "-t", form, "-o", tmp_path / name)
    assert medseg(*common, "-t", "tiff", "-o", tmp_path / "mask.tiff").code == 0


def test_a_damaged_bundle_is_refused(home, scan, tmp_path):
    arguments = ["segment", scan, "-b", tmp_path / "b", "-o", tmp_path / "out"]
    folder = stored_bundle(volume_bundle(), tmp_path / "b").folder
    weights, config = folder / "models" / "model.pt", folder / "configs" / "inference.json"
    whole, text = weights.read_bytes(), config.read_text()
    weights.write_bytes(whole[:-1] + b"x")
    assert "sha256" in assert_refused(tmp_path, 5, *arguments)
    weights.write_bytes(whole)
    config.write_text(text.replace('"SlidingWindowInferer"', '"os.system"'))
    assert "inferer" in assert_refused(tmp_path, 5, *arguments)
    config.unlink()
    assert "missing" in assert_refused(tmp_path, 5, *arguments)
    config.write_text(text)
    assert medseg(*arguments, "-q").code == 0


def test_a_bundle_that_computes_nan_is_refused(home, scan, tmp_path, monkeypatch):
    weights = {name: value * float("nan") for name, value in random_weights(volume_bundle()).items()}
    monkeypatch.setattr("tests.bundles.random_weights", lambda bundle, seed: weights)
    stored_bundle(volume_bundle(), tmp_path / "b")
    line = assert_refused(tmp_path, 5, "segment", scan, "-b", tmp_path / "b", "-o", tmp_path / "out", "-q")
    assert "computes NaN" in line


def test_a_refusal_of_several_lines_becomes_one(home, tmp_path):
    name = tmp_path / "two\nlines.nii.gz"
    assert_refused(tmp_path, 3, "segment", name, "-b", "organs", "-o", tmp_path / "out")


# Several inputs


def test_of_several_inputs_the_good_ones_are_done(home, scan, tmp_path):
    bad, second = text_file(tmp_path), tmp_path / "second.nii.gz"
    shutil.copy(scan, second)
    done = medseg("segment", scan, bad, second, "-b", "organs", "-o", tmp_path / "out", "-q", "--json")
    assert done.code == 4
    assert len(done.lines) == 2
    assert all(line.startswith("medseg: ") for line in done.lines)
    assert str(bad) in done.lines[0]
    assert "1 of 3 inputs were refused" in done.lines[1]
    assert sorted(path.name for path in (tmp_path / "out").glob("*_seg*")) == ["scan_seg.nii.gz", "second_seg.nii.gz"]
    assert [report["case"] for report in done.json] == ["scan", "second"]


def test_a_volume_that_no_png_holds_is_one_of_the_inputs_refused(home, slide, scan, tmp_path):
    """It ended the run in its middle."""
    done = medseg("segment", scan, slide, "-b", "grey", "-o", tmp_path / "out", "-q", "-t", "png")
    assert done.code == 4
    assert "a PNG holds one plane" in done.lines[0]
    assert [path.name for path in (tmp_path / "out").glob("*_seg*")] == ["slide_seg.png"]


def test_where_every_input_is_refused_nothing_is_partly_done(home, scan, tmp_path):
    bad = [text_file(tmp_path), tmp_path / "missing\n.nii.gz"]
    done = medseg("segment", *bad, "-b", "organs", "-o", tmp_path / "out", "-q")
    assert done.code == 3
    assert len(done.lines) == 3
    assert "all 2 inputs were refused" in done.lines[2]
    assert not (tmp_path / "out").exists()
