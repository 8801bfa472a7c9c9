"""No command replaces what it reads, whatever path its output is reached by; each refusal has an accepted twin."""

import json
import shutil

import numpy as np
import pytest

from medseg.io.nifti import write_nifti_image
from tests.bundle.hostile import write_harmless
from tests.bundles import blob_volume
from tests.cli.test_refusals import assert_refused
from tests.commands import medseg
from tests.phantoms import dicom_folder

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])


@pytest.fixture
def place(home, slide, tmp_path):
    """x/slide.png and its folder by another name."""
    (tmp_path / "x").mkdir()
    shutil.move(slide, tmp_path / "x" / "slide.png")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    (tmp_path / "hard.png").hardlink_to(tmp_path / "x" / "slide.png")
    (tmp_path / "linked.png").symlink_to(tmp_path / "x" / "slide.png")
    return tmp_path


@pytest.mark.parametrize("output", ["x/slide.png", "link/slide.png", "x/../x/slide.png", "hard.png", "linked.png"])
def test_segment_keeps_its_input(place, output):
    """`-o link/slide.png --overwrite` replaced the picture by its mask: paths were compared as they were written."""
    arguments = ["segment", place / "x" / "slide.png", "-b", "grey", "--overwrite", "-o", place / output, "-q"]
    assert "is an input" in assert_refused(place, 2, *arguments)


def test_segment_keeps_the_input_of_another_case(place):
    shutil.copy(place / "x" / "slide.png", place / "other.png")
    (place / "x" / "other_seg.png").symlink_to("slide.png")
    arguments = ["segment", place / "x" / "slide.png", place / "other.png", "-b", "grey", "--overwrite", "-q"]
    assert "other_seg.png: is an input" in assert_refused(place, 2, *arguments, "-o", place / "link")
    assert medseg(*arguments, "-o", place / "out").code == 0


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--statistics", "slide_statistics.json"),
        ("--preview", "slide_preview.png"),
        ("--probabilities", "slide_prob.nii.gz"),
        ("--labels=itksnap", "slide_seg_labels.txt"),
        ("--split", "slide_seg/liver.png"),
        ("--resume", "medseg-journal.jsonl"),
    ],
)
def test_segment_keeps_its_input_whatever_else_is_written(place, option, name):
    out = place / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).symlink_to(place / "x" / "slide.png")
    arguments = ["segment", place / "x" / "slide.png", "-b", "grey", "--overwrite", "-q", option, "-o", out]
    assert "is an input" in assert_refused(place, 2, *arguments)


def test_segment_keeps_the_slices_of_a_series(home, tmp_path):
    series = dicom_folder(tmp_path / "scan" / "deep", blob_volume(AFFINE))
    (tmp_path / "out").mkdir()
    mask = tmp_path / "out" / "scan_seg.nii.gz"
    mask.hardlink_to(series.paths[3])
    arguments = ["segment", tmp_path / "scan", "-b", "organs", "--overwrite", "-q", "-o"]
    assert "is an input" in assert_refused(tmp_path, 2, *arguments, tmp_path / "out")
    mask.unlink()
    seg = ["-t", "dicom-seg", "-o", tmp_path / "scan"]
    assert medseg(*arguments, tmp_path / "out").code == medseg(*arguments[:-1], *seg).code == 0
    assert medseg(*arguments[:-1], *seg).code == 0  # its own segmentation beside the slices is no input


def test_segment_keeps_the_second_image_of_a_case(home, tmp_path):
    for name in ("t1", "t2"):
        volume = blob_volume(AFFINE)
        write_nifti_image(volume.voxels[0], volume.geometry, tmp_path / f"{name}.nii.gz")
    (tmp_path / "link").symlink_to(tmp_path)
    images = ["--image", f"a={tmp_path / 't1.nii.gz'}", "--image", f"b={tmp_path / 't2.nii.gz'}"]
    output = ["--overwrite", "-o", tmp_path / "link" / "t2.nii.gz"]
    assert "is an input" in assert_refused(tmp_path, 2, "segment", *images, "-b", "organs", *output)


def test_masks_are_not_put_among_the_images_by_another_path(place):
    refused = assert_refused(place, 2, "segment", place / "x", "-b", "grey", "-o", place / "link", "--overwrite")
    assert "masks and images would mix" in refused


def test_convert_keeps_masks_and_series(home, tmp_path):
    series = dicom_folder(tmp_path / "scan", blob_volume(AFFINE))
    assert medseg("segment", tmp_path / "scan", "-b", "organs", "-o", tmp_path / "m", "-q").code == 0
    mask = tmp_path / "m" / "scan_seg.nii.gz"
    (tmp_path / "link").symlink_to(tmp_path / "m")
    onto = ["convert", mask, "--overwrite", "-q", "-t"]
    assert "is an input" in assert_refused(tmp_path, 2, *onto, "nifti", "-o", tmp_path / "link" / "scan_seg.nii.gz")
    (tmp_path / "m" / "scan_seg.dcm").symlink_to(series.paths[0])
    given = ["--series", tmp_path / "scan"]
    assert "is an input" in assert_refused(tmp_path, 2, *onto, "dicom-seg", *given, "-o", tmp_path / "m")
    assert "is an input" in assert_refused(tmp_path, 2, *onto, "dicom-seg", *given, "-o", series.paths[1])
    assert medseg(*onto, "dicom-seg", *given, "-o", tmp_path / "seg.dcm").code == 0


def test_view_keeps_mask_and_image(home, scan, tmp_path):
    assert medseg("segment", scan, "-b", "organs", "-o", tmp_path / "m", "-q").code == 0
    (tmp_path / "page.html").symlink_to(scan)
    (tmp_path / "link").symlink_to(tmp_path / "m")
    mask = tmp_path / "m" / "scan_seg.nii.gz"
    arguments = ["view", mask, "--image", scan, "--overwrite", "-q", "--export"]
    for output in (tmp_path / "page.html", tmp_path / "link" / "scan_seg.nii.gz", scan):
        assert "is an input" in assert_refused(tmp_path, 2, *arguments, output)
    assert medseg(*arguments, tmp_path / "new.html").code == 0


def test_manifest_build_keeps_the_data(home, slide, tmp_path):
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
        shutil.copy(slide, tmp_path / "data" / name / "slide.png")
    (tmp_path / "link.json").symlink_to(tmp_path / "data" / "masks" / "slide.png")
    arguments = ["manifest", "build", tmp_path / "data", "--label", "1=liver", "--overwrite", "-o"]
    assert "is an input" in assert_refused(tmp_path, 2, *arguments, tmp_path / "link.json")


def test_compare_keeps_the_scores(home, tmp_path):
    scores = tmp_path / "comparison.json"
    scores.write_text(json.dumps({}))
    arguments = ["compare", scores, "organs", scores, "-o", tmp_path]
    assert "is an input" in assert_refused(tmp_path, 2, *arguments)


def test_an_export_keeps_the_bundles_weights(tmp_path):
    bundle = write_harmless(tmp_path / "given")
    (tmp_path / "link").symlink_to(bundle / "models")
    (bundle / "models" / "network.ts").symlink_to("model.pt")
    arguments = ["bundle", "export", bundle, "-t", "torchscript", "--overwrite", "-o"]
    assert "is an input" in assert_refused(tmp_path, 2, *arguments, tmp_path / "link" / "network.ts")
