"""DICOM segmentations: the mask comes back, on the right slices, with names, colours, terms and references."""

import re

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread

from medseg.domain.errors import GridError, InputError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelMap, LabelTable
from medseg.domain.volume import Volume
from medseg.io.dicom import read_dicom
from medseg.io.dicom_derived import planes_of_frames
from medseg.io.dicom_seg import write_dicom_seg
from medseg.io.dicom_seg_read import is_dicom_seg, read_dicom_seg
from medseg.io.dicom_sources import source_headers
from tests.masks import ALGORITHM, ORGANS, mask_on, series_volume
from tests.phantoms import CANARIES, counted_volume, dicom_folder, edit_all, edit_dicom, oblique, orientations

SHAPE = (9, 7, 11)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A small oblique series."""
    affine = oblique(np.diag([0.7, 0.9, 2.5, 1.0]), (8, 5, -6))
    return series_volume(tmp_path_factory.mktemp("scan") / "s", counted_volume(SHAPE, affine))


def uids(volume):
    return [str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID) for path in volume.series.paths]


def written(volume, label_map, path, kind="BINARY"):
    write_dicom_seg(label_map, volume.series, path, ALGORITHM, kind)
    return hd.seg.segread(path)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_highdicom_and_we_read_the_same_mask_back(scan, tmp_path, kind):
    mask = mask_on(scan.geometry)
    seg = written(scan, mask, tmp_path / "seg.dcm", kind)
    frames = seg.get_pixels_by_source_instance(uids(scan), combine_segments=True, assert_missing_frames_are_empty=True)
    numbers = dict(zip([0, *ORGANS.values], [0, 1, 2, 3] if kind == "BINARY" else [0, *ORGANS.values], strict=True))
    assert (np.vectorize(numbers.get)(mask.voxels) == frames.T).all()
    assert is_dicom_seg(tmp_path / "seg.dcm")
    back = read_dicom_seg(tmp_path / "seg.dcm", scan.geometry)
    assert back.voxels.dtype == np.uint8
    assert (back.voxels == mask.voxels).all()
    assert [(x.value, x.name, x.type, x.modifier) for x in back.table] == [
        (x.value, x.name, x.type, x.modifier) for x in ORGANS
    ]
    assert np.abs(np.array([x.colour for x in back.table]) - [x.colour for x in ORGANS]).max() <= 1


def test_the_segments_say_what_they_are_and_who_found_them(scan, tmp_path):
    seg = written(scan, mask_on(scan.geometry), tmp_path / "seg.dcm")
    assert [seg.get_segment_description(n).segment_label for n in (1, 2, 3)] == list(ORGANS.names)
    kidney, lesion = seg.get_segment_description(2), seg.get_segment_description(3)
    assert (kidney.segmented_property_type.value, kidney.segmented_property_type.meaning) == ("64033007", "Kidney")
    modifier = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert modifier.CodeValue == "7771000"
    assert lesion.segmented_property_category.meaning == "Tissue"  # no code was given, and none is made up
    assert kidney.algorithm_type.value == "AUTOMATIC"
    assert kidney.SegmentAlgorithmName == ALGORITHM.name
    assert kidney.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "0.1.0"
    assert len({seg.get_segment_description(n).tracking_uid for n in (1, 2, 3)}) == 3
    assert seg.SeriesNumber >= 100
    assert seg.DeviceSerialNumber == ALGORITHM.digest[:16]
    first = dcmread(scan.series.paths[0], stop_before_pixels=True)
    assert (seg.StudyInstanceUID, seg.FrameOfReferenceUID) == (first.StudyInstanceUID, first.FrameOfReferenceUID)
    assert seg.SeriesInstanceUID != first.SeriesInstanceUID


def test_every_frame_lies_on_its_slice_and_refers_to_it(scan, tmp_path):
    mask = mask_on(scan.geometry)
    seg = written(scan, mask, tmp_path / "seg.dcm")
    by_uid = {uid: dcmread(p, stop_before_pixels=True) for uid, p in zip(uids(scan), scan.series.paths, strict=True)}
    slices = set()
    for frame in seg.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        assert position == by_uid[source].ImagePositionPatient
        slices.add(source)
    filled = np.flatnonzero(mask.voxels.any((0, 1)))
    assert slices == {uids(scan)[k] for k in filled}  # no frame for an empty slice


@pytest.mark.parametrize("letters", ["LPS", "RAS", "SPL", "ASR", "PIR", "ILA", "LSA"])
def test_any_orientation_of_the_slices(tmp_path, letters):
    volume = series_volume(tmp_path / "s", counted_volume(SHAPE, orientations()[letters]))
    mask = mask_on(volume.geometry)
    write_dicom_seg(mask, volume.series, tmp_path / "seg.dcm", ALGORITHM)
    assert (read_dicom_seg(tmp_path / "seg.dcm", volume.geometry).voxels == mask.voxels).all()
    seg = hd.seg.segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
    lps = seg.get_affine("LPS") @ np.array([0, 0, 0, 1.0])
    k = int(np.flatnonzero(mask.voxels.any((0, 1)))[0])
    corners = [volume.geometry.ijk_to_ras_mm(np.array([0.0, 0.0, n])) * [-1, -1, 1] for n in (k, k + 8)]
    assert min(np.linalg.norm(lps[:3] - c) for c in corners) < 0.01


def test_the_same_mask_gives_the_same_identifiers_and_another_mask_others(scan, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    mask = mask_on(scan.geometry)
    for name in "ab":
        write_dicom_seg(mask, scan.series, tmp_path / name, ALGORITHM)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert dcmread(tmp_path / "a").ContentDate == "20231114"
    other = mask.voxels.copy()
    other[0, 0, 1] = 1
    write_dicom_seg(LabelMap(other, scan.geometry, ORGANS), scan.series, tmp_path / "c", ALGORITHM)
    assert dcmread(tmp_path / "c").SOPInstanceUID != dcmread(tmp_path / "a").SOPInstanceUID


def test_an_empty_mask_is_a_valid_object_that_reads_back_empty(scan, tmp_path):
    empty = LabelMap(np.zeros(scan.geometry.shape_ijk, np.uint8), scan.geometry, ORGANS)
    assert written(scan, empty, tmp_path / "seg.dcm").number_of_segments == 3
    assert not read_dicom_seg(tmp_path / "seg.dcm", scan.geometry).voxels.any()


def test_values_above_255(scan, tmp_path):
    table = LabelTable((Label(2, "two", (1, 2, 3)), Label(1000, "thousand", (4, 5, 6))))
    mask = mask_on(scan.geometry, table)
    for kind in ("BINARY", "LABELMAP"):
        write_dicom_seg(mask, scan.series, tmp_path / kind, ALGORITHM, kind)
        back = read_dicom_seg(tmp_path / kind, scan.geometry)
        assert back.voxels.dtype == np.uint16
        assert (back.voxels == mask.voxels).all()


def test_an_anonymised_series_gets_empty_elements_and_its_names_go_nowhere_else(tmp_path):
    """Anonymisers drop elements that must be there: without empty ones on a copy nothing could be written."""
    dicom_folder(tmp_path / "s", counted_volume(SHAPE))
    paths = sorted((tmp_path / "s").iterdir())
    before = [path.read_bytes() for path in paths]
    gone = ["PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"]
    edit_all(paths, *gone, "AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID")
    volume = read_dicom(tmp_path / "s", "s")
    seg = written(volume, mask_on(volume.geometry), tmp_path / "seg.dcm")
    assert [seg[name].value or "" for name in gone] == [""] * 7
    assert seg.FrameOfReferenceUID
    assert before != [path.read_bytes() for path in paths]  # the test's own edit; no other follows
    after = [path.read_bytes() for path in paths]
    read_dicom_seg(tmp_path / "seg.dcm", volume.geometry)
    assert after == [path.read_bytes() for path in paths]


def test_the_patient_of_the_series_is_the_patient_of_the_segmentation(tmp_path):
    dicom_folder(tmp_path / "s", counted_volume(SHAPE))
    edit_all(
        sorted((tmp_path / "s").iterdir()), PatientName="Müller^Žofie=山田^太郎", SpecificCharacterSet="ISO_IR 192"
    )
    volume = read_dicom(tmp_path / "s", "s")
    seg = written(volume, mask_on(volume.geometry), tmp_path / "seg.dcm")
    assert str(seg.PatientName) == "Müller^Žofie=山田^太郎"
    assert seg.PatientID == CANARIES["PatientID"]
    assert CANARIES["SeriesDescription"] not in str(seg.SeriesDescription)


@pytest.mark.parametrize(
    ("keyword", "value"), [("PatientSex", "unknown"), ("StudyDate", "last week"), ("StudyTime", "x")]
)
def test_values_that_are_none_become_empty(tmp_path, keyword, value):
    dicom_folder(tmp_path / "s", counted_volume(SHAPE))
    for path in sorted((tmp_path / "s").iterdir()):
        content = path.read_bytes()
        dataset = dcmread(path)
        dataset[keyword]._value = value
        dataset.save_as(path)
        assert path.read_bytes() != content
    volume = read_dicom(tmp_path / "s", "s")
    assert not written(volume, mask_on(volume.geometry), tmp_path / "seg.dcm")[keyword].value


# Planes


def test_a_grid_finer_or_coarser_than_the_slices_gives_each_slice_its_nearest_plane(scan):
    """As after --regrid: the frames stay on the slices, whatever planes the mask was computed on."""
    headers = source_headers(scan.series)
    affine = scan.geometry.affine_ras.copy()
    affine[:3, 2] /= 2
    fine = Geometry((*SHAPE[:2], 2 * SHAPE[2] - 1), affine)
    assert planes_of_frames(fine, headers) == [2 * k for k in range(SHAPE[2])]
    assert planes_of_frames(scan.geometry.crop((0, 0, 2), (*SHAPE[:2], 4)), headers)[:7] == [
        None,
        None,
        0,
        1,
        2,
        3,
        None,
    ]


def test_a_mask_beside_the_slices_is_refused(scan, tmp_path):
    affine = scan.geometry.affine_ras.copy()
    affine[:3, 3] += 0.4 * affine[:3, 0]
    for geometry in (Geometry(SHAPE, affine), Geometry((SHAPE[1], SHAPE[0], SHAPE[2]), scan.geometry.affine_ras)):
        with pytest.raises(GridError, match="does not lie on the slices"):
            write_dicom_seg(mask_on(geometry), scan.series, tmp_path / "seg.dcm", ALGORITHM)
    assert not list(tmp_path.iterdir())


def test_pictures_and_instances_are_refused(scan, tmp_path):
    cells = LabelTable((Label(1, "cell", (1, 2, 3)),), "instances")
    flat = Geometry((4, 5), np.eye(4))
    for mask in (
        LabelMap(np.zeros(SHAPE, np.uint8), scan.geometry, cells),
        LabelMap(np.zeros((4, 5), np.uint8), flat, ORGANS),
    ):
        with pytest.raises(UsageError, match="DICOM segmentation holds the labels of a volume"):
            write_dicom_seg(mask, scan.series, tmp_path / "seg.dcm", ALGORITHM)


# Reading what others wrote


@pytest.fixture
def seg(scan, tmp_path):
    write_dicom_seg(mask_on(scan.geometry), scan.series, tmp_path / "seg.dcm", ALGORITHM)
    return tmp_path / "seg.dcm"


def test_without_our_descriptions_the_segment_numbers_are_the_values(scan, seg):
    edit_dicom(seg, change=lambda d: [s.__delattr__("SegmentDescription") for s in d.SegmentSequence])
    back = read_dicom_seg(seg, scan.geometry)
    assert back.table.values == (1, 2, 3)
    assert set(np.unique(back.voxels)) == {0, 1, 2, 3}


def test_overlapping_segments_are_refused(scan, seg):
    def overlap(dataset):
        pixels = dataset.pixel_array
        ones = np.ones_like(pixels)
        groups = dataset.PerFrameFunctionalGroupsSequence
        groups[-1].PlanePositionSequence = groups[0].PlanePositionSequence
        dataset.PixelData = np.packbits(ones.ravel(), bitorder="little").tobytes() + b"\0" * (
            len(dataset.PixelData) - -(-ones.size // 8)
        )

    edit_dicom(seg, change=overlap)
    with pytest.raises(InputError, match=r"two segments overlap in 63 pixels"):
        read_dicom_seg(seg, scan.geometry)


def test_fractions_and_foreign_series_are_refused(scan, seg, tmp_path):
    other = series_volume(tmp_path / "other", counted_volume((9, 7, 4), orientations()["SPL"]))
    with pytest.raises(GridError, match=re.escape("seg.dcm")):
        read_dicom_seg(seg, other.geometry)
    edit_dicom(seg, SegmentationType="FRACTIONAL")
    with pytest.raises(InputError, match="fractions"):
        read_dicom_seg(seg, scan.geometry)


def test_a_cut_segmentation_is_refused(scan, seg):
    seg.write_bytes(seg.read_bytes()[:2000])
    with pytest.raises(InputError, match="damaged"):
        read_dicom_seg(seg, scan.geometry)


def test_a_slice_is_no_segmentation(scan, tmp_path):
    assert not is_dicom_seg(scan.series.paths[0])
    (tmp_path / "x").write_bytes(b"x")
    assert not is_dicom_seg(tmp_path / "x")


def test_a_series_that_went_away_is_named(scan, tmp_path):
    gone = Volume(scan.voxels, scan.geometry, "s", series=type(scan.series)("1.2", "MR", (tmp_path / "gone.dcm",)))
    with pytest.raises(InputError, match="file 1 of 1 of the series cannot be read any more"):
        write_dicom_seg(mask_on(scan.geometry), gone.series, tmp_path / "seg.dcm", ALGORITHM)
