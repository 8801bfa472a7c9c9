from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medseg.domain.errors import UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelMap, LabelTable
from medseg.domain.manifest import Case, Manifest
from medseg.domain.volume import Volume
from medseg.io.nifti import write_nifti_image
from medseg.reports.contact_sheet import TILE, draw_tile, sample, write_contact_sheet

RED, BLUE = (255, 0, 0), (0, 0, 255)
TABLE = LabelTable((Label(1, "one", RED), Label(2, "two", BLUE)))


def a_case(id, kind=""):
    return Case(id, f"images/{id}.nii", f"masks/{id}.nii", id, "train", ("0" * 64,) * 2, kind)


def a_manifest(*cases):
    return Manifest("set", "", "", "", ".", "MR", 3, 1, TABLE, cases)


def a_tile(voxels, labels, affine=None, table=TABLE):
    geometry = Geometry(labels.shape, np.eye(4) if affine is None else affine)
    return np.array(draw_tile(Volume(voxels, geometry, "a"), LabelMap(labels, geometry, table)))


def inked(tile, colour):
    """Where a pixel is about this colour: outlines are smoothed."""
    return (np.abs(tile.astype(int) - colour) < 60).all(-1)


def test_of_a_volume_the_slice_that_cuts_most_is_shown_right_on_the_left_and_anterior_up():
    mask = np.zeros((20, 20, 6), np.uint8)  # axes: right, anterior, superior
    mask[15:18, 14:17, 3] = 1
    mask[1:3, 1:3, 1] = 2  # a smaller one in a lower slice
    tile = a_tile(np.zeros((1, 20, 20, 6)), mask)
    down, right = np.argwhere(inked(tile, RED)).mean(0) / TILE
    assert down == pytest.approx((19 - 15 + 0.5) / 20, abs=0.02)
    assert right == pytest.approx((19 - 16 + 0.5) / 20, abs=0.02)
    assert not inked(tile, BLUE).any()


@pytest.mark.parametrize("table", [TABLE, LabelTable((Label(1, "nucleus", RED),), "instances")])
def test_pixels_keep_their_shape_and_a_picture_is_not_turned(table):
    mask = np.zeros((40, 20), np.uint8)  # columns, rows: 20 mm wide, 40 mm high
    mask[:8, :4] = 1
    tile = a_tile(np.zeros((1, 40, 20), np.uint8), mask, np.diag([0.5, 2.0, 1, 1]), table)
    rows, columns = np.nonzero(tile.any(-1))
    assert (rows.min(), columns.min()) == (0, TILE // 4)
    assert rows.max() + 1 == pytest.approx(TILE * 4 / 20, abs=4)
    assert columns.max() + 1 - TILE // 4 == pytest.approx(TILE / 2 * 8 / 40, abs=4)


@pytest.mark.parametrize(
    "voxels", [np.zeros((1, 5, 5)), np.full((1, 5, 5), 7, np.uint16), np.zeros((3, 5, 5), np.uint8)]
)
def test_an_empty_mask_on_a_constant_image_is_drawn(voxels):
    assert a_tile(voxels, np.zeros((5, 5), np.uint8)).max() == 0


def test_the_sample_is_the_same_each_time_and_shows_the_rare_kind_too():
    cases = [a_case(f"c{n}", "rare" if n == 70 else "common") for n in range(100)]
    chosen = sample(cases, 10)
    assert chosen == sample(cases, 10) == tuple(case for case in cases if case in chosen)
    assert len(chosen) == 10
    assert cases[70] in chosen
    assert set(sample(cases[::-1], 10)) == set(chosen)
    assert sample(cases, 1000) == tuple(cases)
    assert sample([], 3) == ()
    doubtful = [f"c{n}" for n in range(48, 40, -1)]
    led = sample(cases, 10, doubtful)
    assert [case.id for case in led[:5]] == doubtful[:5]
    assert cases[70] in led[5:]
    assert len(set(led)) == 10
    assert [case.id for case in sample(cases, 100, doubtful)[:8]] == doubtful


def test_a_sheet_holds_a_tile_for_each_case_and_tells_what_cannot_be_read(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        write_nifti_image(np.ones((4, 4, 3), np.uint8), Geometry((4, 4, 3), np.eye(4)), tmp_path / folder / "a.nii")
    manifest = a_manifest(a_case("a"), a_case("gone"))
    for name in ("one", "two"):
        write_contact_sheet(manifest, tmp_path, tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as page:
        colours = {colour for _, colour in page.getcolors(1 << 20)}
        assert page.width > 2 * TILE
    assert {RED, (70, 20, 20)} <= colours  # an outline, and the field of the case that is gone
    write_contact_sheet(a_manifest(), tmp_path, tmp_path / "none.png")
    with pytest.raises(UsageError, match="is a PNG"):
        write_contact_sheet(replace(manifest, cases=()), tmp_path, tmp_path / "sheet.jpg")


def test_a_tile_tells_an_image_with_nan_from_a_mask_of_unknown_values(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(
        "medseg.reports.contact_sheet._refusal", lambda reason: told.append(reason) or Image.new("RGB", (TILE, TILE))
    )
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    sound = np.ones((4, 4, 3), np.float32)
    cases = {
        "nan": (sound * np.nan, sound),
        "nine": (sound, sound * 9),
        "half": (sound, sound / 2),
        "minus": (sound, -sound),
    }
    for name, pair in cases.items():
        for folder, voxels in zip(("images", "masks"), pair, strict=True):
            write_nifti_image(voxels, Geometry(voxels.shape, np.eye(4)), tmp_path / folder / f"{name}.nii")
    write_contact_sheet(a_manifest(*map(a_case, cases)), tmp_path, tmp_path / "sheet.png")
    no_numbers = "the mask holds no whole numbers"
    assert told == ["NaN or other unusable values", "the mask holds unknown values", no_numbers, no_numbers]
