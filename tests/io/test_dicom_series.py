"""Which images make a volume, and which volume is meant."""

import pytest

from medseg.domain.errors import SeriesError
from medseg.io.dicom import read_dicom
from medseg.io.dicom_pick import pick
from medseg.io.dicom_scan import scan
from tests.damage import SAGITTAL, SCOUT, copied, every, unlink
from tests.phantoms import counted_volume, dicom_folder, edit_all, edit_dicom


def stacks(folder):
    return [(stack.kind, len(stack.headers), stack.split) for stack in scan(folder).stacks]


def test_what_cannot_be_one_volume_is_told_apart(tmp_path):
    """One series: five slices, as many from the side, a scout, and one slice of another size."""
    files = list(dicom_folder(tmp_path).paths)
    every(**SAGITTAL)(copied(files))
    side = sorted(tmp_path.glob("again_*"))
    edit_dicom(side[0], **SCOUT)
    edit_dicom(side[1], Rows=3, Columns=4)
    assert stacks(tmp_path) == [("volume", 5, ""), ("volume", 3, ""), ("localizer", 1, ""), ("single slice", 1, "")]


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"EchoTime": ["20", "80"]}, ["EchoTime 20", "EchoTime 80"]),
        ({"AcquisitionNumber": [2, 10]}, ["AcquisitionNumber 2", "AcquisitionNumber 10"]),
        ({"AcquisitionTime": ["101500", "093000"]}, ["AcquisitionTime 1 of 2", "AcquisitionTime 2 of 2"]),
        ({"ImageType": [["ORIGINAL", "M"], ["ORIGINAL", "P"]]}, ["ImageType 1 of 2", "ImageType 2 of 2"]),
    ],
)
def test_phases_are_told_apart_and_times_are_not_told(tmp_path, tags, words):
    files = list(dicom_folder(tmp_path).paths)
    for part, n in ((copied(files), 1), (files, 0)):
        edit_all(part, PixelData=bytes([n]) * 24, **{keyword: values[n] for keyword, values in tags.items()})
    assert stacks(tmp_path) == [("volume", 5, word) for word in words]


def test_two_tags_tell_apart_what_one_does_not(tmp_path):
    for seed, (echo, flip) in enumerate(((20, 5), (20, 30), (80, 5), (80, 30))):
        paths = dicom_folder(tmp_path / str(seed)).paths
        edit_all(paths, EchoTime=str(echo), FlipAngle=str(flip))
    words = [f"EchoTime {echo}, FlipAngle {flip}" for echo in (20, 80) for flip in (5, 30)]
    assert [stack.split for stack in scan(tmp_path).stacks] == words


def test_a_phase_with_a_slice_less_stays_one_volume(tmp_path):
    files = list(dicom_folder(tmp_path).paths)
    edit_all(copied(files), EchoTime="80")
    edit_all(files, EchoTime="20")
    files[4].unlink()
    assert stacks(tmp_path) == [("volume", 4, "EchoTime 20"), ("volume", 5, "EchoTime 80")]


def test_a_time_for_each_slice_makes_no_phases(tmp_path):
    files = list(dicom_folder(tmp_path).paths)
    for n, path in enumerate([*files, *copied(files[:1])]):
        edit_dicom(path, AcquisitionTime=f"1000{n:02d}")
    assert stacks(tmp_path) == [("volume", 6, "")]


@pytest.fixture
def three(tmp_path):
    """MR with SeriesNumber 7, CT with 2, MR of three slices with 5."""
    made = {}
    for name, modality, number, count in (("a", "MR", 7, 5), ("b", "CT", 2, 6), ("c", "MR", 5, 3)):
        volume = counted_volume((3, 4, count))
        made[name] = dicom_folder(tmp_path / name, volume, modality=modality, seed=name)
        edit_all(made[name].paths, SeriesNumber=number)
    return tmp_path, made


def test_series_are_listed_by_their_number(three):
    found = scan(three[0])
    assert [stack.headers[0].series_number for stack in found.stacks] == [2, 5, 7]


def test_the_only_volume_for_the_model_is_used_and_the_others_are_noted(three):
    volume = read_dicom(three[0], "case", modality="CT")
    assert volume.modality == "CT"
    assert volume.notes[0].startswith("used of 3 in this place: 1: CT, 6 slices")
    assert "2: MR, 3 slices" in volume.notes[0].split("passed over: ")[1]
    volume = read_dicom(three[0], "case", modality="MR")  # the one of three slices is hardly meant
    assert volume.series.uid == three[1]["a"].uid


def test_more_than_one_that_may_be_meant_is_asked(three):
    with pytest.raises(SeriesError, match=r"holds 2 volumes that may be meant: 1: CT, 6 slices .*; 3: MR, 5 slices"):
        read_dicom(three[0], "case")


@pytest.mark.parametrize("way", ["uid", "key", "number", "place"])
def test_a_series_is_named_in_four_ways(three, way):
    found = scan(three[0])
    stack = found.stacks[2]
    word = {"uid": stack.headers[0].series_uid, "key": stack.key, "number": "7", "place": "3"}[way]
    assert pick(found, word, None)[0] is stack


def test_a_number_that_means_two_things_and_one_that_means_nothing_are_refused(three):
    found = scan(three[0])
    with pytest.raises(SeriesError, match="--series 2 fits them all, give the key"):
        pick(found, "2", None)  # SeriesNumber of the first, place of the second
    with pytest.raises(SeriesError, match="no series 9 among 3"):
        pick(found, "9", None)


def test_a_key_tells_nothing_and_stays(three):
    keys = [stack.key for stack in scan(three[0]).stacks]
    assert len(set(keys)) == 3
    assert keys == [stack.key for stack in scan(three[0]).stacks]
    for series in three[1].values():
        assert not any(key in series.uid for key in keys)


def test_two_slices_alone_are_a_volume(tmp_path):
    unlink(2, 3, 4)(list(dicom_folder(tmp_path).paths))
    assert read_dicom(tmp_path, "case").geometry.shape_ijk == (3, 4, 2)
