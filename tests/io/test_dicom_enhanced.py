"""Enhanced multi-frame files: each frame says where it lies, and the frames come in any order."""

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread

from medseg.domain.errors import GridError, InputError, SeriesError
from medseg.io.dicom import read_dicom
from medseg.io.dicom_scan import scan
from tests.enhanced import enhanced_file
from tests.phantoms import counted_volume, dicom_folder, edit_dicom, oblique, orientations

ORDER = (3, 0, 4, 2, 1)


def volume_of(letters="LPS", degrees=(10, -20, 30)):
    return counted_volume(affine_ras=oblique(orientations()[letters], degrees))


@pytest.mark.parametrize("in_shared", [True, False])
@pytest.mark.parametrize("letters", ["LPS", "PIR"])
def test_the_volume_is_that_of_the_classic_files(tmp_path, letters, in_shared):
    truth = volume_of(letters)
    path = enhanced_file(tmp_path, [truth], order=ORDER, in_shared=in_shared)
    volume = read_dicom(path, "case")
    assert np.array_equal(volume.voxels, truth.voxels)
    assert volume.geometry.is_same_grid(truth.geometry, 1e-6)
    assert volume.series.paths == (path,)
    assert volume.series.frames == tuple(ORDER.index(k) + 1 for k in range(5))
    assert read_dicom(tmp_path, "case").geometry == volume.geometry


def test_highdicom_agrees(tmp_path):
    truth = volume_of()
    path = enhanced_file(tmp_path, [truth], order=ORDER, modality="CT", slopes=[1, 1.5, 2, 2.5, 3])
    ours = read_dicom(path, "case")
    theirs = hd.imread(path).get_volume(apply_real_world_transform=False, apply_voi_transform=False)
    for index in np.ndindex(ours.geometry.shape_ijk):
        value = ours.voxels[(0, *index)]
        (other,) = np.argwhere(np.isclose(theirs.array, value))
        lps = theirs.map_indices_to_reference(other[None])[0]
        assert np.linalg.norm(lps * (-1, -1, 1) - ours.geometry.ijk_to_ras_mm(np.array(index, float))) <= 1e-5


def test_a_legacy_converted_series_reads_as_its_source(tmp_path):
    series = dicom_folder(tmp_path / "classic", volume_of(), modality="CT")
    datasets = [dcmread(path) for path in series.paths]
    for dataset in datasets:
        dataset.PatientBirthDate, dataset.StudyDate = "19010203", "20200310"
    converted = hd.legacy.LegacyConvertedEnhancedCTImage(datasets, "1.2.3", 1, "1.2.3.4", 1)
    converted.save_as(tmp_path / "one.dcm")
    one, many = read_dicom(tmp_path / "one.dcm", "case"), read_dicom(tmp_path / "classic", "case")
    assert np.array_equal(one.voxels, many.voxels)
    assert one.geometry.is_same_grid(many.geometry, 1e-6)


def test_temporal_positions_are_asked_for(tmp_path):
    path = enhanced_file(tmp_path, [volume_of(), volume_of()])
    found = scan(path)
    assert [stack.split for stack in found.stacks] == ["TemporalPositionIndex 1", "TemporalPositionIndex 2"]
    with pytest.raises(SeriesError, match="holds 2 volumes"):
        read_dicom(path, "case")


def change(path, function):
    edit_dicom(path, change=lambda dataset: function(dataset.PerFrameFunctionalGroupsSequence))
    return path


def test_what_a_frame_does_not_say_is_refused(tmp_path):
    path = enhanced_file(tmp_path, [volume_of()])

    def without_position(frames):
        del frames[2].PlanePositionSequence

    with pytest.raises(GridError, match=r"enhanced\.dcm, frame 3 of 5: ImagePositionPatient is missing"):
        read_dicom(change(path, without_position), "case")


def test_frames_that_are_not_described_are_refused(tmp_path):
    path = change(enhanced_file(tmp_path, [volume_of()]), lambda frames: frames.pop())
    with pytest.raises(InputError, match="says 5 frames and describes 4"):
        read_dicom(path, "case")


def test_pixels_for_fewer_frames_are_refused(tmp_path):
    path = enhanced_file(tmp_path, [volume_of()])
    edit_dicom(path, PixelData=bytes(24 * 4))
    with pytest.raises(InputError, match="has 96 bytes, 3 x 4 pixels of 16 bits in 5 frames need 120"):
        read_dicom(path, "case")


def test_parts_of_one_stack_in_two_files_are_not_joined(tmp_path):
    truth = volume_of()
    for name, order in (("a", (0, 1)), ("b", (2, 3, 4))):
        (tmp_path / name).mkdir()
        enhanced_file(tmp_path / name, [truth], order=order)
    with pytest.raises(SeriesError, match="one of 2 multi-frame files that make one stack"):
        read_dicom(tmp_path, "case")
