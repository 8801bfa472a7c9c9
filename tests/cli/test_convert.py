"""`medseg convert` and the forms of `medseg segment`."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from medseg.io.dicom_write import write_series
from medseg.io.masks import read_label_map
from medseg.io.nifti import write_nifti
from medseg.io.seg_nrrd import write_seg_nrrd
from tests.bundles import blob_volume, grey_bundle, stored_bundle
from tests.commands import medseg
from tests.masks import ORGANS, mask_on, series_volume
from tests.phantoms import CANARIES, counted_volume, edit_all, orientations

SHAPE = (9, 7, 11)


@pytest.fixture
def series(tmp_path):
    """A series of SHAPE, its folder and a mask on it."""
    volume = series_volume(tmp_path / "series", counted_volume(SHAPE, orientations()["SPL"]))
    return tmp_path / "series", mask_on(volume.geometry)


def convert(*arguments, code=0):
    done = medseg("convert", *arguments)
    assert done.code == code, done.err
    return done


def test_a_mask_goes_round_all_forms_and_comes_back_the_same(series, tmp_path):
    folder, mask = series
    write_nifti(mask, tmp_path / "scan_seg.nii.gz")
    steps = [("seg-nrrd", "scan.seg.nrrd"), ("dicom-seg", "scan_seg.dcm"), ("dicom-labelmap", "scan_labelmap.dcm")]
    at = tmp_path / "scan_seg.nii.gz"
    for n, (form, name) in enumerate([*steps, ("tiff", "scan_seg.tif"), ("nifti", "scan_seg.nii.gz")]):
        if form == "tiff":  # holds no place in the patient; the chain goes on from the DICOM file
            convert(at, "-t", form, "-o", tmp_path / str(n), "--series", folder)
            assert (read_label_map(tmp_path / str(n) / name).voxels == mask.voxels).all()
            continue
        convert(at, "-t", form, "-o", tmp_path / str(n), "--series", folder)
        at = tmp_path / str(n) / name
        back = read_label_map(at, mask.geometry)
        assert (back.voxels == mask.voxels).all(), form
        assert back.table.names == ORGANS.names
        assert np.abs(np.array([x.colour for x in back.table]) - [x.colour for x in ORGANS]).max() <= 1


def test_slices_that_are_no_whole_bytes_are_noted_for_binary_frames_only(series, tmp_path):
    """The file is right; OHIF showed 197 x 233 pixels scattered."""
    folder, mask = series  # 9 x 7
    write_nifti(mask, tmp_path / "m.nii.gz")
    done = convert(tmp_path / "m.nii.gz", "-t", "dicom-seg", "-o", tmp_path / "a", "--series", folder)
    assert "m: note: slices of 9 x 7 pixels are no whole bytes" in done.err
    done = convert(tmp_path / "m.nii.gz", "-t", "dicom-labelmap", "-o", tmp_path / "b", "--series", folder)
    assert "note" not in done.err
    whole = series_volume(tmp_path / "whole", counted_volume((8, 7, 11)))
    write_nifti(mask_on(whole.geometry), tmp_path / "w.nii.gz")
    done = convert(tmp_path / "w.nii.gz", "-t", "dicom-seg", "-o", tmp_path / "c", "--series", tmp_path / "whole")
    assert "note" not in done.err


def test_what_is_written_says_that_nobody_knows_how_the_mask_was_made(series, tmp_path):
    folder, mask = series
    write_nifti(mask, tmp_path / "m.nii.gz")
    convert(tmp_path / "m.nii.gz", "-t", "dicom-sr", "-o", tmp_path / "out", "--series", folder)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["m_seg.dcm", "m_sr.dcm"]
    segment = dcmread(tmp_path / "out" / "m_seg.dcm").SegmentSequence[0]
    assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert "SegmentationAlgorithmIdentificationSequence" not in segment


def test_pictures_tables_and_single_labels(tmp_path):
    Image.fromarray(np.array([[0, 1], [2, 0], [1, 1]], np.uint8)).save(tmp_path / "slide_seg.png")
    done = convert(
        *(tmp_path / "slide_seg.png", "-t", "tiff,nifti", "-o", tmp_path / "out"),
        *("--labels", "itksnap,slicer", "--split"),
    )
    assert "1 label 1, 2 label 2" in done.err
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names == {
        *("slide_seg.tif", "slide_seg.nii.gz", "slide_seg_labels.txt", "slide_seg_labels.csv", "slide_seg.ctbl"),
        *("slide_seg/label 1.tif", "slide_seg/label 2.tif"),
    }
    assert (read_label_map(tmp_path / "out" / "slide_seg" / "label 2.tif").voxels == [[0, 1, 0], [0, 0, 0]]).all()


@pytest.mark.parametrize(
    ("form", "options", "code", "words"),
    [
        ("dicom-seg", [], 2, "give it with --series FOLDER"),
        ("dicom-sr", ["--series", "empty"], 3, "is empty"),
        ("jpeg", [], 2, "-t jpeg: give auto, nifti"),
        ("png", [], 2, "a PNG holds one plane"),
        ("nifti", ["--labels", "excel"], 2, "--labels excel: give itksnap or slicer"),
        ("nifti", ["--series", "other"], 3, "does not lie on the image's voxels"),
    ],
)
def test_refusals_leave_nothing_behind(series, tmp_path, form, options, code, words):
    write_seg_nrrd(series[1], tmp_path / "m.seg.nrrd")
    (tmp_path / "empty").mkdir()
    write_series(counted_volume((9, 7, 4)), tmp_path / "other")
    options = [tmp_path / option if option in ("empty", "other") else option for option in options]
    done = convert(tmp_path / "m.seg.nrrd", "-t", form, "-o", tmp_path / "out", *options, code=code)
    assert words in done.err
    assert len(done.lines) == 1
    assert not (tmp_path / "out").exists()
    convert(tmp_path / "m.seg.nrrd", "-t", "nifti", "-o", tmp_path / "out")


def test_a_dicom_mask_needs_its_series_to_be_read(series, tmp_path):
    folder, mask = series
    write_nifti(mask, tmp_path / "m.nii.gz")
    convert(tmp_path / "m.nii.gz", "-o", tmp_path / "m.dcm", "--series", folder)
    done = convert(tmp_path / "m.dcm", "-o", tmp_path / "back.nii.gz", code=2)
    assert "a DICOM segmentation lies on its series" in done.err
    convert(tmp_path / "m.dcm", "-o", tmp_path / "back.nii.gz", "--series", folder)
    assert (np.asarray(nib.load(tmp_path / "back.nii.gz").dataobj) == mask.voxels).all()
    done = convert(folder / "slice_0000.dcm", "-o", tmp_path / "x.nii.gz", code=3)
    assert "a DICOM file but no segmentation" in done.err


# medseg segment


def test_segment_writes_every_form_and_no_name_of_the_patient_outside_dicom(home, tmp_path):
    write_series(blob_volume(orientations()["LPS"]), tmp_path / "scan")
    edit_all(sorted((tmp_path / "scan").iterdir()), **CANARIES)
    done = medseg(
        *("segment", tmp_path / "scan", "-b", "organs", "-o", tmp_path / "out", "--device", "cpu"),
        *("-t", "nifti,seg-nrrd,dicom-seg,dicom-labelmap,dicom-sr,tiff", "--labels", "itksnap,slicer"),
        *("--split", "--statistics", "--json"),
    )
    assert done.code == 0, done.err
    (report,) = done.json
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        *("scan_seg.nii.gz", "scan.seg.nrrd", "scan_seg.dcm", "scan_labelmap.dcm", "scan_sr.dcm", "scan_seg.tif"),
        *("scan_seg_labels.txt", "scan_seg_labels.csv", "scan_seg.ctbl", "scan_statistics.json"),
        *("liver.nii.gz", "liver tumour.nii.gz"),
    }
    assert report["source"] == str(tmp_path / "scan")
    for path in files:
        content = path.read_bytes() + (nib.load(path).header.binaryblock if path.name.endswith(".gz") else b"")
        assert (b"Wilhelmina" in content) == (path.suffix == ".dcm"), path
    assert "Wilhelmina" not in done.err + done.out
    mask = read_label_map(tmp_path / "out" / "scan_seg.nii.gz")
    for name in ("scan.seg.nrrd", "scan_seg.dcm", "scan_labelmap.dcm"):
        assert (read_label_map(tmp_path / "out" / name, mask.geometry).voxels == mask.voxels).all()
    first = dcmread(tmp_path / "out" / "scan_seg.dcm").SegmentSequence[0]
    assert first.SegmentAlgorithmName == "organs_mr_segmentation"
    measured = {"seconds", "backend"}  # another time another
    kept = {name: value for name, value in report.items() if name not in measured}
    assert json.loads((tmp_path / "out" / "scan_statistics.json").read_text()) == kept


@pytest.mark.parametrize("form", ["dicom-seg", "dicom-labelmap", "nifti,dicom-sr"])
def test_what_is_no_series_is_refused_before_any_work(home, scan, slide, tmp_path, form):
    for source, bundle in ((scan, "organs"), (slide, "grey")):
        done = medseg("segment", source, "-b", bundle, "-o", tmp_path / "out", "-t", form)
        assert done.code == 2
        assert "refers to the slices of a DICOM series, and this is none; give the series' folder" in done.err
    done = medseg("segment", slide, "-b", "grey", "-o", tmp_path / "out", "-t", "seg-nrrd", "--device", "cpu")
    assert (done.code, "holds masks of volumes" in done.err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_one_file_has_one_form(home, scan, tmp_path):
    for options, words in (
        (["-o", "x.nii.gz", "-t", "nifti,seg-nrrd"], "one file for nifti and seg-nrrd; give a folder"),
        (["-o", "x.seg.nrrd", "-t", "nifti"], "its ending does not say nifti"),
    ):
        done = medseg("segment", scan, "-b", "organs", options[0], tmp_path / options[1], *options[2:])
        assert (done.code, words in done.err) == (2, True), done.err
    done = medseg("segment", scan, "-b", "organs", "-o", tmp_path / "x.seg.nrrd", "--device", "cpu", "-q")
    assert done.code == 0, done.err
    assert read_label_map(tmp_path / "x.seg.nrrd").table.names == ("liver", "liver tumour")


def test_a_2d_bundle_serves_a_series_and_its_segmentation(home, tmp_path):
    stored_bundle(replace(grey_bundle(), modality="MR"), tmp_path / "flat", seed=2)
    write_series(blob_volume(orientations()["LPS"], (22, 18, 5)), tmp_path / "scan")
    for name, code in (("grey", 3), (tmp_path / "flat", 0)):  # the first is of microscopy
        done = medseg(
            *("segment", tmp_path / "scan", "-b", name, "-o", tmp_path / "out", "-t", "dicom-seg,nifti"),
            *("--device", "cpu", "--precision", "fp32"),
        )
        assert done.code == code, done.err
    mask = read_label_map(tmp_path / "out" / "scan_seg.nii.gz")
    assert mask.voxels.any()
    assert (read_label_map(tmp_path / "out" / "scan_seg.dcm", mask.geometry).voxels == mask.voxels).all()
