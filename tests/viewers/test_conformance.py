"""Segmentations and reports before the judges: dicom3tools, dcmtk and dcm2niix."""

import subprocess

import nibabel as nib
import numpy as np
import pytest

from medseg.domain.labels import LabelMap
from medseg.inference.measure import measure
from medseg.io.dicom import read_dicom
from medseg.io.dicom_sc import write_dicom_sc
from medseg.io.dicom_seg import write_dicom_seg
from medseg.io.dicom_sr import write_dicom_sr
from medseg.io.nifti import write_nifti
from medseg.io.seg_nrrd import write_seg_nrrd
from medseg.reports.capture import capture
from tests.commands import medseg
from tests.masks import ALGORITHM, ORGANS, mask_on, series_volume
from tests.phantoms import counted_volume, dicom_folder, edit_all, oblique, orientations
from tests.projections import radiograph
from tests.series_kinds import KINDS, read_kind
from tests.viewers.conftest import require

pytestmark = pytest.mark.viewers


def complaints(path):
    """What dciodvfy calls an error; it warns of dates that the source does not have either."""
    require("dciodvfy")
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert any(name in lines for name in ("Segmentation", "Comprehensive3DSR", "SCImage")), (
        lines
    )  # recognised as what it is
    harmless = ("needed to build DICOMDIR", "Specific Character Set")
    return [line for line in lines if line.startswith(("Error", "Warning")) and not any(h in line for h in harmless)]


def volumes(folder):
    """Series of several kinds, by name."""
    yield "MR", series_volume(folder / "mr", counted_volume((9, 7, 11), orientations()["LPS"]))
    yield "oblique CT", series_volume(folder / "ct", counted_volume((9, 7, 11), oblique(np.eye(4), (8, 5, -6))), "CT")
    dicom_folder(folder / "anonymous", counted_volume((9, 7, 11)))
    gone = ["PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"]
    edit_all(sorted((folder / "anonymous").iterdir()), *gone, "AccessionNumber", "ReferringPhysicianName")
    yield "anonymous", read_dicom(folder / "anonymous", "s")
    for name in KINDS:
        (folder / name).mkdir()
        yield name, read_kind(name, folder / name)


def test_dciodvfy_finds_no_error_in_segmentations_and_reports(tmp_path):
    for name, volume in volumes(tmp_path):
        full = mask_on(volume.geometry)
        for mask in (full, LabelMap(full.voxels * 0, volume.geometry, ORGANS)):
            seg = write_dicom_seg(mask, volume.series, tmp_path / "seg.dcm", ALGORITHM)
            write_dicom_sr(measure(mask, volume), ORGANS, seg, volume.series, tmp_path / "sr.dcm", ALGORITHM)
            assert complaints(tmp_path / "seg.dcm") == [], name
            assert complaints(tmp_path / "sr.dcm") == [], name


@pytest.mark.parametrize("anonymous", [False, True])
def test_dciodvfy_finds_no_error_in_secondary_captures(tmp_path, anonymous):
    gone = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime")
    gone += ("AccessionNumber", "ReferringPhysicianName", "PatientOrientation", "ImageLaterality", "BurnedInAnnotation")
    radiograph(tmp_path / "chest.dcm", None, *(gone if anonymous else ()))
    volume = read_dicom(tmp_path / "chest.dcm", "chest")
    for mask in (np.zeros((35, 26), np.uint8), np.eye(35, 26, dtype=np.uint8) * 5):
        label_map = LabelMap(mask, volume.geometry, ORGANS)
        write_dicom_sc(capture(volume, label_map), label_map, volume.series, tmp_path / "sc.dcm", ALGORITHM)
        assert complaints(tmp_path / "sc.dcm") == []


def test_dciodvfy_does_find_errors(scan, tmp_path):
    seg = write_dicom_seg(mask_on(scan.geometry), scan.series, tmp_path / "seg.dcm", ALGORITHM)
    del seg.SegmentSequence[0].SegmentLabel
    seg.save_as(tmp_path / "seg.dcm")
    assert any("SegmentLabel" in line for line in complaints(tmp_path / "seg.dcm"))


def test_dsrdump_shows_the_volumes(scan, tmp_path):
    require("dsrdump")
    mask = mask_on(scan.geometry)
    seg = write_dicom_seg(mask, scan.series, tmp_path / "seg.dcm", ALGORITHM)
    measures = measure(mask, scan)
    write_dicom_sr(measures, ORGANS, seg, scan.series, tmp_path / "sr.dcm", ALGORITHM)
    text = subprocess.run(["dsrdump", tmp_path / "sr.dcm"], capture_output=True, text=True, check=True).stdout
    for label, found in zip(ORGANS, measures, strict=True):
        assert f'"Tracking Identifier")="{label.name}"' in text
        assert f'(,,"Volume")="{round(found.volume_ml * 1000, 3)}" (mm3,UCUM,' in text


@pytest.mark.parametrize("letters", ["LPS", "RAS", "SPL", "PIR"])
def test_a_mask_made_on_dcm2niix_files_converts_to_the_slices_of_the_series(tmp_path, letters):
    """dcm2niix turns the axes round; the mask of its file comes to lie on the same places in patient space."""
    require("dcm2niix")
    volume = series_volume(tmp_path / "s", counted_volume((9, 7, 11), orientations()[letters]), "CT")
    subprocess.run(["dcm2niix", "-f", "x", "-o", tmp_path, tmp_path / "s"], capture_output=True, check=True)
    image = nib.load(tmp_path / "x.nii")
    theirs = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image((theirs > 4000).astype(np.uint8), image.affine), tmp_path / "bright.nii.gz")
    done = medseg(
        "convert", tmp_path / "bright.nii.gz", "-t", "dicom-seg", "--series", tmp_path / "s", "-o", tmp_path / "o"
    )
    assert done.code == 0, done.err
    back = medseg(
        "convert", tmp_path / "o" / "bright_seg.dcm", "-t", "nifti", "--series", tmp_path / "s", "-o", tmp_path / "n"
    )
    assert back.code == 0, back.err
    mask = nib.load(tmp_path / "n" / "bright_seg.nii.gz")
    assert (np.asarray(mask.dataobj) == (volume.voxels[0] > 4000)).all()
    assert np.abs(mask.affine - volume.geometry.affine_ras).max() < 1e-4


def test_our_nifti_and_nrrd_lie_where_dcm2niix_puts_the_series(tmp_path):
    require("dcm2niix")
    volume = series_volume(tmp_path / "s", counted_volume((9, 7, 11), oblique(orientations()["LPS"], (8, 5, -6))), "CT")
    subprocess.run(["dcm2niix", "-f", "x", "-o", tmp_path, tmp_path / "s"], capture_output=True, check=True)
    theirs = nib.as_closest_canonical(nib.load(tmp_path / "x.nii"))
    ours = LabelMap((volume.voxels[0] > 4000).astype(np.uint8), volume.geometry, ORGANS)
    write_nifti(ours, tmp_path / "m.nii.gz", volume)
    mask = nib.as_closest_canonical(nib.load(tmp_path / "m.nii.gz"))
    assert np.abs(mask.affine - theirs.affine).max() < 1e-3
    assert (np.asarray(mask.dataobj) == (np.asarray(theirs.dataobj) > 4000)).all()
    write_seg_nrrd(ours, tmp_path / "m.seg.nrrd")
    done = medseg("convert", tmp_path / "m.seg.nrrd", "-t", "nifti", "-o", tmp_path / "n")
    assert done.code == 0, done.err
    assert (
        np.abs(nib.load(tmp_path / "n" / "m_seg.nii.gz").affine - nib.load(tmp_path / "m.nii.gz").affine).max() < 1e-5
    )
