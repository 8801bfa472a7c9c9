"""Masks for 3D Slicer, read back by its author's library and by ITK."""

import numpy as np
import pytest
import SimpleITK as sitk
import slicerio

from medseg.domain.errors import InputError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelMap, LabelTable
from medseg.io.seg_nrrd import read_seg_nrrd, write_seg_nrrd
from tests.masks import ORGANS, mask_on
from tests.phantoms import oblique, orientations

SHAPE = (9, 7, 11)
OBLIQUE = oblique(np.diag([0.7, 0.9, 2.5, 1.0]), (8, 5, -6))


@pytest.fixture
def mask():
    return mask_on(Geometry(SHAPE, OBLIQUE))


def test_slicers_library_finds_each_segment_with_its_colour_and_term(mask, tmp_path):
    write_seg_nrrd(mask, tmp_path / "m.seg.nrrd")
    read = slicerio.read_segmentation(str(tmp_path / "m.seg.nrrd"))
    assert slicerio.segment_names(read) == list(ORGANS.names)
    for label in ORGANS:
        assert (slicerio.segment_mask(read, label.name) == (mask.voxels == label.value)).all()
        colour = slicerio.segment_from_name(read, label.name)["color"]
        assert np.abs(np.array(colour) * 255 - label.colour).max() < 0.01
    kidney = slicerio.segment_from_name(read, "left kidney")["terminology"]
    assert kidney["type"] == ["SCT", "64033007", "Kidney"]
    assert kidney["typeModifier"] == ["SCT", "7771000", "Left"]
    assert np.abs(read["ijkToLPS"] - np.diag([-1, -1, 1, 1]) @ OBLIQUE).max() < 1e-12


@pytest.mark.parametrize("letters", ["LPS", "RAS", "SPL", "PIR"])
def test_itk_puts_the_labels_where_they_are(tmp_path, letters):
    mask = mask_on(Geometry(SHAPE, orientations()[letters]))
    write_seg_nrrd(mask, tmp_path / "m.seg.nrrd")
    image = sitk.ReadImage(str(tmp_path / "m.seg.nrrd"))
    assert (mask.voxels == sitk.GetArrayFromImage(image).T).all()
    for voxel in ((0, 0, 0), (8, 6, 10), (3, 1, 7)):
        lps = image.TransformIndexToPhysicalPoint(voxel)
        assert np.array(lps) * [-1, -1, 1] == pytest.approx(mask.geometry.ijk_to_ras_mm(np.array(voxel)), abs=1e-6)


def test_what_is_written_is_read(mask, tmp_path):
    write_seg_nrrd(mask, tmp_path / "m.seg.nrrd")
    back = read_seg_nrrd(tmp_path / "m.seg.nrrd")
    assert (back.voxels == mask.voxels).all()
    assert back.voxels.dtype == np.uint8
    assert back.table == ORGANS
    assert back.geometry.is_same_grid(mask.geometry, 1e-9)


def test_the_same_mask_gives_the_same_bytes_without_a_date(mask, tmp_path):
    for name in "ab":
        write_seg_nrrd(mask, tmp_path / f"{name}.seg.nrrd")
    content = (tmp_path / "a.seg.nrrd").read_bytes()
    assert content == (tmp_path / "b.seg.nrrd").read_bytes()
    assert b"#" not in content.partition(b"\n\n")[0]


def test_accents_are_taken_off_the_names(tmp_path):
    table = LabelTable((Label(1, "Läsion é 骨", (1, 2, 3)),))
    write_seg_nrrd(mask_on(Geometry(SHAPE, OBLIQUE), table), tmp_path / "m.seg.nrrd")
    assert read_seg_nrrd(tmp_path / "m.seg.nrrd").table.names == ("Lasion e",)


def test_pictures_and_instances_are_refused(tmp_path):
    cells = LabelTable((Label(1, "cell", (1, 2, 3)),), "instances")
    for shape, table in (((4, 5), ORGANS), (SHAPE, cells)):
        with pytest.raises(UsageError, match=r"holds the labels of a volume"):
            write_seg_nrrd(
                LabelMap(np.zeros(shape, np.uint8), Geometry(shape, OBLIQUE), table), tmp_path / "m.seg.nrrd"
            )
    assert not list(tmp_path.iterdir())


def test_overlapping_segments_cut_files_and_plain_nrrd_are_refused(mask, tmp_path):
    path = tmp_path / "m.seg.nrrd"
    layers = slicerio.create_segmentation(SHAPE, np.eye(4))
    for name in ("one", "two"):
        slicerio.add_segment(layers, mask.voxels > 0, {"id": name, "name": name})
    slicerio.write_segmentation(str(path), layers)
    with pytest.raises(InputError, match="segments overlap"):
        read_seg_nrrd(path)
    sitk.WriteImage(sitk.GetImageFromArray(mask.voxels), str(path))
    with pytest.raises(InputError, match="names no segments"):
        read_seg_nrrd(path)
    write_seg_nrrd(mask, path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="not a whole"):
        read_seg_nrrd(path)
