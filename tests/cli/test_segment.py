"""What `medseg segment` writes and prints."""

import json
import sys

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from medseg.io.dicom_write import write_series
from medseg.io.nifti import write_nifti_image
from tests.backends.test_same_answer import require
from tests.bundles import blob_volume
from tests.commands import medseg
from tests.phantoms import oblique, orientations

KEYS = {"case", "bundle", "bundle_version", "medseg_version", "shape_ijk", "spacing_mm", "device", "precision"}
KEYS |= {"windows", "seconds", "measures", "outputs", "notes", "settings", "source", "backend"}


def segment(*arguments, code=0):
    done = medseg("segment", *arguments, "--device", "cpu", "--precision", "fp32")
    assert done.code == code, done.err
    return done


def voxels_of(path):
    return np.asarray(nib.load(path).dataobj)


def test_a_mask_lies_where_its_image_lies(home, scan, tmp_path):
    header = nib.load(scan)
    header.set_sform(header.affine, code=4)
    header.set_qform(header.affine, code=2)
    nib.save(header, scan)
    done = segment(scan, "-b", "organs", "-o", tmp_path / "out")
    assert done.out == ""
    assert done.lines[-1] == f"scan: {tmp_path / 'out' / 'scan_seg.nii.gz'}"
    image, mask = nib.load(scan), nib.load(tmp_path / "out" / "scan_seg.nii.gz")
    assert mask.shape == image.shape
    assert (mask.affine == image.affine).all()
    assert (int(mask.header["sform_code"]), int(mask.header["qform_code"])) == (4, 2)
    assert mask.get_data_dtype() == np.uint8
    assert set(np.unique(voxels_of(tmp_path / "out" / "scan_seg.nii.gz"))) == {0, 1, 5}
    extension = mask.header.extensions[0]
    assert extension.get_code() == 0
    text = str(extension.get_content())
    assert "liver tumour" in text
    assert 'Key="5"' in text


def test_a_second_run_gives_the_same_bytes(home, scan, tmp_path):
    for name in "ab":
        segment(scan, "-b", "organs", "-o", tmp_path / name, "-q")
    assert (tmp_path / "a" / "scan_seg.nii.gz").read_bytes() == (tmp_path / "b" / "scan_seg.nii.gz").read_bytes()


@pytest.mark.parametrize("name", ["exactly.nii.gz", "exactly.nii", "EXACTLY.NII.GZ", "new/exactly.nii.gz", "x.tif"])
def test_an_output_file_is_called_as_it_is_asked_for(home, scan, tmp_path, name):
    """In capitals the ending of a NIfTI file was taken for a picture's, after all the work."""
    segment(scan, "-b", "organs", "-o", tmp_path / "out" / name, "-q")
    path = tmp_path / "out" / name
    assert [file for file in (tmp_path / "out").rglob("*") if file.is_file()] == [path]
    whole = tifffile.imread(path).T if name.endswith("tif") else voxels_of(path)
    assert whole.shape == nib.load(scan).shape


def test_json_and_nothing_else_stands_on_standard_output(home, scan, slide, tmp_path):
    (report,) = segment(scan, "-b", "organs", "-o", tmp_path / "a", "--json").json
    assert set(report) == KEYS
    assert (report["case"], report["bundle"]) == ("scan", "organs_mr_segmentation")
    assert report["shape_ijk"] == list(nib.load(scan).shape)
    assert report["outputs"] == [str(tmp_path / "a" / "scan_seg.nii.gz")]
    mask = nib.load(tmp_path / "a" / "scan_seg.nii.gz")
    voxel_ml = abs(np.linalg.det(mask.affine[:3, :3])) / 1000
    for measure in report["measures"]:
        count = int((np.asarray(mask.dataobj) == measure["value"]).sum())
        assert measure["voxels"] == count
        assert measure["volume_ml"] == pytest.approx(count * voxel_ml)
    (report,) = segment(slide, "-b", "cells", "-o", tmp_path / "b", "--json", "-q").json
    assert set(report) == KEYS - {"spacing_mm"}  # nothing says what a pixel measures
    assert "centroid_ras_mm" not in report["measures"][0]
    assert report["measures"][0]["instances"] == np.asarray(Image.open(tmp_path / "b" / "slide_seg.png")).max()
    assert "volume_ml" not in report["measures"][0]


def test_statistics_and_preview_are_written_beside_the_mask(home, scan, tmp_path):
    done = segment(scan, "-b", "organs", "-o", tmp_path / "out", "--statistics", "--preview", "--json", "-q")
    names = ["scan_seg.nii.gz", "scan_statistics.json", "scan_preview.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    (report,) = done.json
    assert report["outputs"] == [str(tmp_path / "out" / name) for name in names]
    statistics = json.loads((tmp_path / "out" / "scan_statistics.json").read_text())
    assert statistics["measures"] == report["measures"]
    assert statistics["case"] == "scan"
    Image.open(tmp_path / "out" / "scan_preview.png").verify()


def test_what_stands_beside_a_named_mask_is_called_after_it(home, scan, tmp_path):
    """With -o out.nii.gz they were called after the input, so a second mask of it was refused."""
    for name in ("a", "b"):
        (report,) = segment(
            scan, "-b", "organs", "-o", tmp_path / "out" / f"{name}.nii.gz", "--statistics", "--preview", "--json", "-q"
        ).json
        statistics = json.loads((tmp_path / "out" / f"{name}_statistics.json").read_text())
        assert statistics["outputs"] == report["outputs"]
        assert (tmp_path / "out" / f"{name}_preview.png").exists()


def test_what_was_found_is_told_in_words_unless_quiet(home, scan, tmp_path):
    told = segment(scan, "-b", "organs", "-o", tmp_path / "a").err
    assert "scan: liver " in told
    assert " ml" in told
    assert segment(scan, "-b", "organs", "-o", tmp_path / "b", "-q").err == ""


def test_a_png_becomes_a_png(home, slide, tmp_path):
    segment(slide, "-b", "grey", "-o", tmp_path, "-q")
    mask = Image.open(tmp_path / "slide_seg.png")
    assert (mask.mode, mask.size) == ("L", (60, 44))
    assert set(np.unique(np.asarray(mask))) == {0, 1, 5}


def test_all_formats_hold_the_same_mask(home, slide, tmp_path):
    Image.open(slide).save(tmp_path / "stored.tif")
    segment(slide, "-b", "grey", "-o", tmp_path, "-q")
    segment(tmp_path / "stored.tif", "-b", "grey", "-o", tmp_path, "-q")
    segment(slide, "-b", "grey", "-o", tmp_path, "-t", "nifti", "-q")
    segment(slide, "-b", "grey", "-o", tmp_path, "-t", "tiff", "-q", "--overwrite")
    png = np.asarray(Image.open(tmp_path / "slide_seg.png")).T
    assert (png == tifffile.imread(tmp_path / "stored_seg.tif").T).all()
    assert (png == tifffile.imread(tmp_path / "slide_seg.tif").T).all()
    assert (png == voxels_of(tmp_path / "slide_seg.nii.gz").squeeze()).all()


def test_several_inputs_go_into_one_folder(home, scan, tmp_path):
    (tmp_path / "second.nii.gz").write_bytes(scan.read_bytes())
    done = segment(scan, tmp_path / "second.nii.gz", "-b", "organs", "-o", tmp_path / "out", "--json", "-q")
    assert [report["case"] for report in done.json] == ["scan", "second"]
    masks = [voxels_of(tmp_path / "out" / f"{case}_seg.nii.gz") for case in ("scan", "second")]
    assert (masks[0] == masks[1]).all()


@pytest.mark.parametrize("letters", ["RAS", "LPS", "AIR"])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (10, -20, 5)])
def test_a_dicom_series_gives_the_mask_of_the_same_scan_as_nifti(home, tmp_path, letters, degrees):
    """AIR is left-handed, so its series holds the slices the other way round."""
    volume = blob_volume(oblique(orientations((0.9, 1.1, 2.0))[letters], degrees))
    write_series(volume, tmp_path / "series")
    write_nifti_image(volume.voxels[0], volume.geometry, tmp_path / "file.nii.gz")
    segment(tmp_path / "series", tmp_path / "file.nii.gz", "-b", "organs", "-o", tmp_path, "-q")
    series, file = (nib.load(tmp_path / f"{case}_seg.nii.gz") for case in ("series", "file"))
    ijk = np.argwhere(np.asarray(series.dataobj) >= 0)
    world = nib.affines.apply_affine(series.affine, ijk)
    there = nib.affines.apply_affine(np.linalg.inv(file.affine), world)
    assert np.abs(there - np.rint(there)).max() < 1e-3
    twin = np.asarray(file.dataobj)[tuple(np.rint(there).astype(int).T)]
    assert len(np.unique(twin)) == 3
    assert (np.asarray(series.dataobj).ravel() != twin).mean() < 1e-3  # decimal strings round a near-tie


def test_a_region_is_the_patients(home, scan, tmp_path):
    image = nib.load(scan)
    centre = nib.affines.apply_affine(image.affine, (np.array(image.shape) - 1) / 2)
    box = ",".join(f"{v:.3f}" for v in (*centre, 8, 9, 10))
    done = segment(scan, "-b", "organs", "-o", tmp_path / "out", f"--roi={box}", "--json", "-q")
    mask = voxels_of(tmp_path / "out" / "scan_seg.nii.gz")
    world = nib.affines.apply_affine(image.affine, np.argwhere(mask))
    assert len(world)
    assert (np.abs(world - centre) <= np.array([4, 4.5, 5]) + 1e-3).all()
    assert done.json[0]["settings"]["roi"]
    assert {measure["region"] for measure in done.json[0]["measures"]} == set(done.json[0]["settings"]["roi"])


def test_few_windows_are_eagers_and_only_the_report_says_so(home, scan, tmp_path):
    done = segment(scan, "-b", "organs", "-o", tmp_path / "a", "--json")
    (report,) = done.json
    assert (report["backend"]["name"], report["backend"]["precision"]) == ("eager", "fp32")
    assert report["backend"]["windows"] == report["windows"]
    assert not [line for line in done.lines if line.startswith("medseg: backend")]
    done = segment(scan, "-b", "organs", "-o", tmp_path / "b", "--backend", "eager", "-q")
    assert done.err == ""
    assert (tmp_path / "a" / "scan_seg.nii.gz").read_bytes() == (tmp_path / "b" / "scan_seg.nii.gz").read_bytes()


def test_a_backend_that_is_none_or_not_installed_is_refused(home, scan, tmp_path, monkeypatch):
    done = segment(scan, "-b", "organs", "-o", tmp_path, "--backend", "magic", code=2)
    assert "--backend magic: give auto, eager, compile, openvino or onnxruntime" in done.err
    monkeypatch.setitem(sys.modules, "openvino", None)
    done = segment(scan, "-b", "organs", "-o", tmp_path, "--backend", "openvino", code=2)
    assert done.lines[-1].endswith("--backend openvino: not installed; pip install 'medseg[openvino]'")
    assert not (tmp_path / "scan_seg.nii.gz").exists()


def test_another_backend_gives_the_mask_of_eager(home, scan, tmp_path):
    require("openvino")
    done = segment(scan, "-b", "organs", "-o", tmp_path / "a", "--backend", "openvino", "--json")
    (report,) = done.json
    (line,) = [line for line in done.lines if line.startswith("medseg: backend")]
    assert line.startswith(f"medseg: backend openvino, fp32, {report['windows']} windows: asked for (")
    assert report["backend"]["name"] == "openvino"
    assert report["backend"]["agreement"]["openvino"] == 1.0
    segment(scan, "-b", "organs", "-o", tmp_path / "b", "--backend", "eager")
    a, b = (voxels_of(tmp_path / name / "scan_seg.nii.gz") for name in "ab")
    assert (a != b).mean() <= 1e-6
    segment(scan, "-b", "organs", "-o", tmp_path / "c", "--backend", "openvino", "-q")
    assert (tmp_path / "a" / "scan_seg.nii.gz").read_bytes() == (tmp_path / "c" / "scan_seg.nii.gz").read_bytes()


def test_probabilities_are_written_beside_the_mask_and_named_in_the_report(home, scan, tmp_path):
    done = segment(scan, "-b", "organs", "-o", tmp_path / "out", "--probabilities", "--json", "-q")
    (report,) = json.loads(done.out)
    path = tmp_path / "out" / "scan_prob.nii.gz"
    assert report["outputs"][-1] == str(path)
    assert report["settings"]["probabilities"] == ["background", "liver", "liver tumour"]
    image, maps = nib.load(scan), voxels_of(path)
    assert (nib.load(path).affine == image.affine).all()
    assert maps.shape == (*image.shape, 3)
    assert np.abs(maps.sum(-1) - 1).max() < 1e-5
    mask = voxels_of(tmp_path / "out" / "scan_seg.nii.gz")
    assert (np.array([0, 1, 5])[maps.argmax(-1)] == mask).mean() > 0.999
    assert (
        segment(scan, "-b", "organs", "-o", tmp_path / "out", "--probabilities", code=7).err.count("exists already")
        == 1
    )


def test_probabilities_of_a_dicom_series_lie_on_it(home, tmp_path):
    volume = blob_volume(oblique(np.diag([0.9, 0.9, 2.0, 1.0]), (0, 0, 0)), (14, 12, 9))
    write_series(volume, tmp_path / "series")
    segment(tmp_path / "series", "-b", "organs", "-o", tmp_path / "out", "--probabilities")
    mask, maps = (nib.load(next((tmp_path / "out").glob(f"*_{name}.nii.gz"))) for name in ("seg", "prob"))
    assert np.allclose(mask.affine, maps.affine)
    assert maps.shape[:3] == mask.shape


def test_a_bundle_that_numbers_things_has_no_probabilities(home, slide, tmp_path):
    done = segment(slide, "-b", "cells", "-o", tmp_path / "out", "--probabilities", code=2)
    assert "numbers things" in done.lines[-1]
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_written_is_no_folder(home, scan, tmp_path):
    done = segment(scan, "-b", "organs", "-o", tmp_path / "x.jpg", code=2)
    assert "no mask is written as .jpg; give a folder, or a name that ends in .nii" in done.err
    assert not (tmp_path / "x.jpg").exists()


def test_a_box_all_of_one_value_is_named(home, tmp_path):
    volume = blob_volume(np.diag([-1.0, -1.0, 1.0, 1.0]), (40, 40, 40))
    volume.voxels[:, :20] = 0
    write_nifti_image(volume.voxels[0], volume.geometry, tmp_path / "scan.nii.gz")
    done = segment(tmp_path / "scan.nii.gz", "-b", "organs", "-o", tmp_path / "o", "--roi=-9,-20,20,12,30,30", code=3)
    assert "the --roi box is constant; place it elsewhere" in done.err
