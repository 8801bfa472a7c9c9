"""What a DICOM object needs of its series is looked for before the network runs, and its lack takes nothing else."""

import logging

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import SecondaryCaptureImageStorage

from medseg.io import dicom_seg
from medseg.io.dicom_sources import source_headers
from tests.bundles import blob_volume
from tests.commands import medseg
from tests.enhanced import enhanced_file
from tests.phantoms import dicom_folder, edit_all, edit_dicom, set_raw
from tests.projections import radiograph

AFFINE = np.diag([-0.9, -1.1, 2.0, 1.0])
ALL = "nifti,dicom-seg,dicom-labelmap,dicom-sr"


def scan_of(folder, change=None):
    series = dicom_folder(folder, blob_volume(AFFINE, (12, 11, 9)))
    if change is not None:
        change(list(series.paths))
    return folder


def every(*gone, **values):
    return lambda paths: edit_all(paths, *gone, **values)


def one(*gone, **values):
    return lambda paths: edit_all(paths[3:4], *gone, **values)


def raw(keyword, content, first=0, last=None):
    def change(paths):
        for path in paths[first:last]:
            if keyword not in dcmread(path):
                edit_dicom(path, change=lambda dataset: dataset.add_new(keyword, "LO", "x"))
            set_raw(path, keyword, content)

    return change


def segment(place, *sources, code=0):
    done = medseg("segment", *sources, "-b", "organs", "-o", place / "out", "-q", "-t", ALL)
    assert done.code == code, done.err
    assert "anary" not in done.err
    return done


def written(place):
    return sorted(path.name for path in (place / "out").glob("*") if path.suffix != ".jsonl")


def thickness(path):
    return dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness


THICKNESS = {
    "missing": every("SliceThickness"),
    "missing in one": one("SliceThickness"),
    "missing in the first": lambda paths: edit_all(paths[:1], "SliceThickness"),
    "empty": every(SliceThickness=None),
    "with its unit": raw("SliceThickness", b"5.0 mm"),
    "with its unit in one": raw("SliceThickness", b"5.0 mm", 3, 4),
    "zero": every(SliceThickness="0"),
    "negative": every(SliceThickness="-2"),
    "two": every(SliceThickness=["2", "3"]),
}


@pytest.mark.parametrize("name", THICKNESS)
def test_a_thickness_that_is_none_is_the_distance_of_the_slices(home, tmp_path, name):
    """Exit 70 at the end of the work, or an object without SliceThickness, which validators and highdicom refuse."""
    scan = scan_of(tmp_path / "scan", THICKNESS[name])
    segment(tmp_path, scan)
    assert len(written(tmp_path)) == 4
    first = dcmread(scan / "slice_0000.dcm").get_item("SliceThickness")
    stated = first is not None and name in ("missing in one", "with its unit in one")
    for kind in ("seg", "labelmap"):
        assert thickness(tmp_path / "out" / f"scan_{kind}.dcm") == (float(first.value) if stated else 2.0)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("value", [None, "", "0", "5.0 mm"])
def test_a_thickness_that_is_none_of_many_frames(home, tmp_path, shared, value):
    path = enhanced_file(tmp_path, [blob_volume(AFFINE, (12, 11, 9))], in_shared=shared)
    dataset = dcmread(path)
    for group in (*dataset.SharedFunctionalGroupsSequence, *dataset.PerFrameFunctionalGroupsSequence):
        for measures in group.get("PixelMeasuresSequence") or ():
            del measures.SliceThickness
            if value is not None:
                measures.add_new("SliceThickness", "LO" if value else "DS", value)
    dataset.save_as(path)
    segment(tmp_path, path)
    assert thickness(tmp_path / "out" / "enhanced_seg.dcm") == 2.0


DOUBTFUL = {
    "no SOPInstanceUID": (every("SOPInstanceUID"), "SOPInstanceUID is missing in 9 of 9 images"),
    "one without": (one("SOPInstanceUID"), "SOPInstanceUID is missing in 1 of 9 images"),
    "all of one": (every(SOPInstanceUID="1.2.3"), "SOPInstanceUID is that of another image in 8 of 9 images"),
    "letters": (raw("SOPInstanceUID", b"1.2.ab3", 4, 5), "SOPInstanceUID is no identifier in 1 of 9 images"),
    "long": (raw("StudyInstanceUID", b"1." + b"2" * 70), "StudyInstanceUID is no identifier in 9 of 9 images"),
    "empty study": (every(StudyInstanceUID=""), "StudyInstanceUID is missing in 9 of 9 images"),
    "no study": (every("StudyInstanceUID"), "StudyInstanceUID is missing in 9 of 9 images"),
    "no class": (every("SOPClassUID"), "SOPClassUID is missing in 9 of 9 images"),
    "another class": (
        one(SOPClassUID=SecondaryCaptureImageStorage),
        "SOPClassUID is another than the first one's",
    ),
    "private class": (every(SOPClassUID="1.3.12.2.1107.5.9.1"), "SOPClassUID is none of the standard's in 9 of 9"),
    "frame of words": (raw("FrameOfReferenceUID", b"frame"), "FrameOfReferenceUID is no identifier in 9 of 9"),
    "two names": (every(PatientName=["a", "b"]), "PatientName has 2 values"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_cannot_be_referred_to_is_refused_before_the_work(home, tmp_path, name, monkeypatch):
    """Exit 70 after the network, or an object that refers to the wrong image; in a batch the rest was not done."""
    change, words = DOUBTFUL[name]
    scan = scan_of(tmp_path / "scan", change)
    with monkeypatch.context() as patched:
        patched.setattr("medseg.inference.segment.segment_prepared", None)  # the network is not asked
        line = segment(tmp_path, scan, code=3).err
    assert words in line
    assert "choose -t nifti" in line
    assert line.count("\n") == 1
    assert not (tmp_path / "out").exists()
    other = scan_of(tmp_path / "other")
    assert words in segment(tmp_path, scan, other, code=4).err
    assert written(tmp_path) == ["other_labelmap.dcm", "other_seg.dcm", "other_seg.nii.gz", "other_sr.dcm"]
    done = medseg("segment", scan, "-b", "organs", "-o", tmp_path / "n", "-q")
    assert done.code == 0, done.err


ODD = {
    "charset": lambda paths: (edit_all(paths, SpecificCharacterSet="bogus"), raw("PatientName", b"M\xfcller")(paths)),
    "name in another": raw("PatientName", b"M\xfcller^\xe4 "),
    "age": raw("PatientAge", b"forty "),
    "weight": raw("PatientWeight", b"70,5"),
    "birth": raw("PatientBirthDate", b"19991399"),
    "date": raw("StudyDate", b"20231345"),
    "time": raw("StudyTime", b"25:61 "),
    "sex": raw("PatientSex", b"unknown "),
    "accession": raw("AccessionNumber", b"1" * 40),
    "study id": raw("StudyID", b"x" * 40),
    "numbers": raw("SeriesNumber", b"three "),
    "laterality": every(Laterality="Q"),
    "no frame": every("FrameOfReferenceUID"),
    "one without frame": one("FrameOfReferenceUID"),
    "no maker": lambda paths: [edit_dicom(path, change=lambda d: d.pop("Manufacturer", None)) for path in paths],
    "reference": lambda paths: [
        edit_dicom(path, change=lambda d: setattr(d, "ReferencedStudySequence", [Dataset()])) for path in paths
    ],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ODD)
def test_an_odd_header_is_no_reason_against_a_mask(home, tmp_path, name):
    segment(tmp_path, scan_of(tmp_path / "scan", ODD[name]))
    assert len(written(tmp_path)) == 4
    frames = {str(header.FrameOfReferenceUID) for header in map(dcmread, (tmp_path / "out").glob("*[gp].dcm"))}
    assert len(frames) == 1


@pytest.mark.parametrize("gone", ["StudyInstanceUID", "SOPInstanceUID", "SOPClassUID"])
def test_a_projection_without_identifiers_gets_no_capture(home, tmp_path, gone):
    radiograph(tmp_path / "chest.dcm", None, gone)
    arguments = ["segment", tmp_path / "chest.dcm", "-b", "grey", "--force", "microscopy", "-q", "-o", tmp_path / "out"]
    done = medseg(*arguments, "-t", "png,dicom-sc")
    assert (done.code, f"{gone} is missing in 1 of 1 images" in done.err) == (3, True)
    assert not (tmp_path / "out").exists()
    assert medseg(*arguments, "-t", "png").code == 0


def test_convert_looks_at_the_series_first(home, tmp_path):
    scan = scan_of(tmp_path / "scan")
    assert medseg("segment", scan, "-b", "organs", "-o", tmp_path / "m", "-q").code == 0
    edit_all(sorted(scan.iterdir()), "SOPInstanceUID")
    arguments = ["convert", tmp_path / "m" / "scan_seg.nii.gz", "--series", scan, "-q", "-o", tmp_path / "out", "-t"]
    done = medseg(*arguments, "nifti,dicom-seg")
    assert (done.code, "SOPInstanceUID is missing in 9 of 9 images" in done.err) == (3, True)
    assert not (tmp_path / "out").exists()
    assert medseg(*arguments, "nifti").code == 0


def test_a_failure_nobody_foresaw_takes_no_other_output(home, tmp_path, monkeypatch):
    """One object that a library fails on ended the batch with exit 70, and the NIfTI was lost."""
    write = dicom_seg.write_dicom_seg
    monkeypatch.setattr(
        dicom_seg, "write_dicom_seg", lambda *given: 1 / 0 if "scan" in given[2].name else write(*given)
    )
    scan, other = scan_of(tmp_path / "scan"), scan_of(tmp_path / "other")
    done = segment(tmp_path, scan, other, code=4)
    assert "scan_seg.dcm: it could not be made (ZeroDivisionError); 1 of 4 outputs are written" in done.err
    assert written(tmp_path) == [
        "other_labelmap.dcm",
        "other_seg.dcm",
        "other_seg.nii.gz",
        "other_sr.dcm",
        "scan_seg.nii.gz",
    ]
    alone = medseg("segment", scan, "-b", "organs", "-o", tmp_path / "alone", "-q", "-t", "dicom-seg,nifti")
    assert (alone.code, len(alone.lines)) == (3, 1)
    assert "1 of 2 outputs are written" in alone.err
    assert (tmp_path / "alone" / "scan_seg.nii.gz").exists()


def test_libraries_keep_what_they_log_to_themselves(home, tmp_path, capfd):
    """highdicom logs names that it finds odd."""
    scan = scan_of(tmp_path / "scan", every(PatientName="Canary"))
    seen = []
    handler = logging.Handler()
    handler.emit = seen.append
    logging.getLogger("highdicom").addHandler(handler)
    try:
        segment(tmp_path, scan)
    finally:
        logging.getLogger("highdicom").removeHandler(handler)
    assert [record for record in seen if record.levelno >= logging.WARNING] == []
    assert "anary" not in capfd.readouterr().err


def test_headers_are_read_once_for_all_objects(home, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("medseg.io.dicom_rehearsal.source_headers", lambda *a: calls.append(1) or source_headers(*a))
    monkeypatch.setattr("medseg.io.dicom_seg.source_headers", None)
    monkeypatch.setattr("medseg.io.dicom_sr.source_headers", None)
    segment(tmp_path, scan_of(tmp_path / "scan"))
    assert calls == [1]
