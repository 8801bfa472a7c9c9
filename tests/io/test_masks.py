"""Masks of every kind come back with their names, on their own voxels or on those of the image."""

import csv
import io
import re

import nibabel as nib
import numpy as np
import pytest

from medseg.domain.errors import GridError, InputError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelMap, LabelTable
from medseg.io.label_tables import itksnap, slicer_csv, slicer_ctbl
from medseg.io.masks import read_label_map, turned_to
from medseg.io.nifti import write_nifti
from medseg.io.picture import write_picture_mask
from tests.masks import ORGANS, mask_on
from tests.phantoms import oblique
from tests.turning import TURNS, turned_array, turned_volume

SHAPE = (9, 7, 11)
OBLIQUE = oblique(np.diag([0.7, 0.9, 2.5, 1.0]), (8, 5, -6))


@pytest.fixture
def mask():
    return mask_on(Geometry(SHAPE, OBLIQUE))


def bare(table):
    return [(label.value, label.name, label.colour) for label in table]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_nifti_mask_brings_its_names_and_colours(mask, tmp_path, ending):
    write_nifti(mask, tmp_path / f"m{ending}")
    back = read_label_map(tmp_path / f"m{ending}")
    assert (back.voxels == mask.voxels).all()
    assert bare(back.table) == bare(ORGANS)
    assert back.geometry.is_same_grid(mask.geometry)


def test_a_mask_of_another_program_gets_numbered_labels(mask, tmp_path):
    nib.save(nib.Nifti1Image(mask.voxels, OBLIQUE), tmp_path / "m.nii.gz")
    assert read_label_map(tmp_path / "m.nii.gz").table.names == ("label 1", "label 3", "label 7")
    nib.save(nib.Nifti1Image(mask.voxels * 0, OBLIQUE), tmp_path / "m.nii.gz")
    assert read_label_map(tmp_path / "m.nii.gz").table.names == ("label 1",)


@pytest.mark.parametrize("content", [b"<LabelTable", b"<!DOCTYPE x [<!ENTITY a 'b'>]><LabelTable/>", b"\0" * 40])
def test_an_extension_that_is_no_table_is_passed_over(mask, tmp_path, content):
    image = nib.Nifti1Image(mask.voxels, OBLIQUE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, content))
    nib.save(image, tmp_path / "m.nii.gz")
    assert read_label_map(tmp_path / "m.nii.gz").table.names == ("label 1", "label 3", "label 7")


def test_numbered_things_stay_numbered(tmp_path):
    cells = LabelTable((Label(1, "cell", (1, 2, 3)),), "instances")
    voxels = np.arange(20, dtype=np.uint16).reshape(4, 5)
    write_nifti(LabelMap(voxels, Geometry((4, 5), np.eye(4)), cells), tmp_path / "m.nii.gz")
    back = read_label_map(tmp_path / "m.nii.gz")
    assert (back.table.kind, back.table.names) == ("instances", ("cell",))
    assert (back.voxels == voxels).all()


def test_a_picture_mask_lies_where_its_picture_lies(tmp_path):
    voxels = np.array([[0, 2], [1, 0], [2, 2]], np.uint8)
    write_picture_mask(LabelMap(voxels, Geometry((3, 2), np.eye(4)), ORGANS), tmp_path / "m.png")
    back = read_label_map(tmp_path / "m.png")
    assert (back.voxels == voxels).all()
    assert not back.geometry.calibrated


def test_a_mask_is_turned_onto_the_voxels_of_its_image_from_any_of_48_orders(mask):
    from medseg.domain.volume import Volume

    image = Volume(mask.voxels[None], mask.geometry, "m")
    for letters, turn in TURNS.items():
        other = turned_volume(image, *turn)
        assert (other.voxels[0] == turned_array(mask.voxels, *turn)).all()
        back = turned_to(LabelMap(other.voxels[0], other.geometry, ORGANS), mask.geometry)
        assert (back.voxels == mask.voxels).all(), letters
        assert back.geometry == mask.geometry


def test_a_mask_of_other_voxels_is_refused(mask, tmp_path):
    write_nifti(mask, tmp_path / "m.nii.gz")
    for affine in (
        OBLIQUE @ np.diag([1, 1, 1.01, 1]),
        oblique(OBLIQUE, (0, 0, 1)),
        OBLIQUE + np.eye(4)[:, 3:] * [0, 0, 0, 0.1],
    ):
        affine = np.array(affine)
        affine[3] = (0, 0, 0, 1)
        affine[0, 3] += 0.2
        with pytest.raises(GridError, match=r"m\.nii\.gz.*does not lie on"):
            read_label_map(tmp_path / "m.nii.gz", Geometry(SHAPE, affine))
    with pytest.raises(GridError):
        read_label_map(tmp_path / "m.nii.gz", Geometry((9, 7), OBLIQUE))
    assert read_label_map(tmp_path / "m.nii.gz", Geometry(SHAPE, OBLIQUE)).voxels.any()


def test_what_is_no_mask_is_refused(tmp_path):
    (tmp_path / "m.txt").write_text("no mask")
    for name, words in (("m.txt", "no mask that is read"), ("gone.nii", "no such file")):
        with pytest.raises(InputError, match=words):
            read_label_map(tmp_path / name)


# Tables


def test_itksnap_reads_each_row():
    rows = [line for line in itksnap(ORGANS).splitlines() if not line.startswith("#")]
    pattern = r"\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([01])\s+([01])\s+([01])\s+\"(.*)\""
    read = [re.fullmatch(pattern, row).groups() for row in rows]
    assert read[0] == ("0", "0", "0", "0", "0", "0", "0", "Clear Label")
    assert [(int(r[0]), r[7], tuple(map(int, r[1:4]))) for r in read[1:]] == bare(ORGANS)


def test_slicer_reads_each_row():
    rows = [line.split(" ") for line in slicer_ctbl(ORGANS).splitlines() if not line.startswith("#")]
    assert [len(row) for row in rows] == [6] * 4
    assert rows[2] == ["3", "left_kidney", "185", "102", "83", "255"]
    table = list(csv.DictReader(io.StringIO(slicer_csv(ORGANS))))
    assert [
        (int(r["LabelValue"]), r["Name"], (int(r["Color_R"]), int(r["Color_G"]), int(r["Color_B"]))) for r in table
    ] == (bare(ORGANS))
    assert (table[1]["Type_CodingScheme"], table[1]["Type_CodeValue"]) == ("SCT", "64033007")
    assert (table[1]["TypeModifier_CodeMeaning"], table[2]["Category_CodeValue"]) == ("Left", "")
