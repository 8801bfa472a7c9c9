"""OHIF showed 197 x 233 pixels with a scattered hippocampus: it tells the packing of BINARY frames by the length."""

import highdicom as hd
import numpy as np
import pytest

from medseg.domain.labels import LabelMap
from medseg.io.dicom_seg import write_dicom_seg
from medseg.io.dicom_seg_length import is_told_right, mark_spare_frames
from medseg.io.dicom_seg_read import read_dicom_seg
from tests.masks import ALGORITHM, ORGANS, mask_on, series_volume
from tests.phantoms import counted_volume


def test_by_hand():
    assert is_told_right(16, 3)
    assert not is_told_right(24, 3)  # 9 bytes and one of padding
    assert is_told_right(24, 4)
    assert not is_told_right(15, 2)  # 30 bits in 4 bytes, as two frames of 2 bytes each would have
    assert not is_told_right(9, 4)  # 36 bits in 5 bytes
    assert is_told_right(9, 7)  # 63 bits in 8 bytes; frame by frame it were 14


@pytest.mark.parametrize("shape", [(9, 7, 11), (5, 3, 8), (8, 3, 9), (13, 11, 6), (16, 8, 6)])
def test_the_mask_stays_and_the_length_tells_the_packing(tmp_path, shape):
    scan = series_volume(tmp_path / "s", counted_volume(shape))
    for labels in (1, 2, 3):
        mask = mask_on(scan.geometry)
        voxels = np.where(np.isin(mask.voxels, ORGANS.values[:labels]), mask.voxels, 0).astype(np.uint8)
        write_dicom_seg(LabelMap(voxels, scan.geometry, ORGANS), scan.series, tmp_path / "seg.dcm", ALGORITHM)
        seg = hd.seg.segread(tmp_path / "seg.dcm")
        assert is_told_right(shape[0] * shape[1], int(seg.NumberOfFrames))
        assert (read_dicom_seg(tmp_path / "seg.dcm", scan.geometry).voxels == voxels).all()
        assert int(seg.pixel_array.sum()) == np.count_nonzero(voxels)


def test_no_frame_is_added_where_none_is_needed_or_none_has_room():
    stack = np.ones((2, 4, 4), np.uint8)
    assert mark_spare_frames(stack, 1) == []
    stack = np.ones((2, 3, 5), np.uint8)  # 30 bits, which need a frame more, and no room
    assert mark_spare_frames(stack, 1) == []
    assert (stack == 1).all()
