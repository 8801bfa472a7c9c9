from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medseg.domain.errors import UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelTable
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


def where(tile, colour):
    """Centre of the pixels of this colour as shares of the tile: (down, right)."""
    return np.argwhere((tile == colour).all(-1)).mean(0) / TILE


def test_a_volume_is_shown_with_the_patients_right_on_the_left_and_anterior_up():
    """A mark near the right, anterior end lands in the upper left corner, however the array is laid out."""
    mask = np.zeros((20, 20, 6), np.uint8)  # axes: right, anterior, superior
    mask[15:18, 14:17, 3] = 1
    image = np.random.default_rng(0).integers(0, 9, (20, 20, 6)).astype(np.int16)
    seen = []
    for axes in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        for flip in (False, True):
            linear = np.eye(3)[:, axes]
            turned = [a.transpose(axes)[:: -1 if flip else 1] for a in (image, mask)]
            linear = linear * [-1 if flip else 1, 1, 1]
            affine = np.eye(4)
            affine[:3, :3] = linear
            volume = Volume(turned[0][None], Geometry(turned[0].shape, affine), "a")
            seen.append(draw_tile(volume, turned[1], TABLE))
    down, right = where(seen[0], RED)
    assert down == pytest.approx((19 - 15 + 0.5) / 20, abs=0.02)
    assert right == pytest.approx((19 - 16 + 0.5) / 20, abs=0.02)
    assert all((tile == seen[0]).all() for tile in seen)


def test_the_slice_with_the_largest_mask_is_shown_and_of_equal_ones_the_middle():
    mask = np.zeros((8, 8, 9), np.uint8)
    mask[1:3, 1:3, 1] = 2  # a small one below, large ones in slices 4, 5 and 6
    mask[2:7, 2:7, 4:7] = 1
    image = np.zeros((1, 8, 8, 9), np.uint8)
    image[..., 5] = 200
    image[0, 0, 0, 5] = 0
    tile = draw_tile(Volume(image, Geometry((8, 8, 9), np.eye(4)), "a"), mask, TABLE)
    assert not (tile == BLUE).all(-1).any()
    assert tile[:8, :8].min() == 255  # the bright slice, number 5


def test_pixels_are_square_and_a_picture_is_not_turned():
    volume = Volume(np.zeros((1, 40, 20), np.uint8), Geometry((40, 20), np.diag([0.5, 2.0, 1, 1])), "a")
    mask = np.zeros((40, 20), np.uint8)  # columns, rows: 20 mm wide, 40 mm high
    mask[:4, :4] = 2
    rows, columns = np.nonzero((draw_tile(volume, mask, TABLE) == BLUE).all(-1))
    assert (rows.min(), columns.min()) == (0, TILE // 4)
    assert rows.max() + 1 == pytest.approx(TILE * 4 / 20, abs=1)
    assert columns.max() + 1 - TILE // 4 == pytest.approx(TILE / 2 * 4 / 40, abs=1)


def test_touching_instances_are_drawn_apart():
    table = LabelTable((Label(1, "nucleus", RED),), "instances")
    volume = Volume(np.zeros((3, 32, 32), np.uint8), Geometry((32, 32), np.eye(4)), "a")
    mask = np.zeros((32, 32), np.uint16)
    mask[4:16, 8:24], mask[16:28, 8:24] = 300, 301
    tile = (draw_tile(volume, mask, table) == RED).all(-1)
    assert tile[TILE // 2, [127, 128]].all()  # the line between them
    assert not tile[TILE // 2, TILE // 4]


@pytest.mark.parametrize(
    "voxels", [np.zeros((1, 5, 5)), np.full((1, 5, 5), 7, np.uint16), np.zeros((3, 5, 5), np.uint8)]
)
def test_an_empty_mask_on_a_constant_image_is_drawn(voxels):
    tile = draw_tile(Volume(voxels, Geometry((5, 5), np.eye(4)), "a"), np.zeros((5, 5), np.uint8), TABLE)
    assert (tile.shape, tile.dtype, tile.max()) == ((TILE, TILE, 3), np.uint8, 0)


def test_the_sample_is_the_same_each_time_and_shows_the_rare_kind_too():
    cases = [a_case(f"c{n}", "rare" if n == 70 else "common") for n in range(100)]
    chosen = sample(cases, 10)
    assert chosen == sample(cases, 10) == tuple(case for case in cases if case in chosen)
    assert len(chosen) == 10
    assert cases[70] in chosen
    assert set(sample(cases[::-1], 10)) == set(chosen)
    assert sample(cases, 1000) == tuple(cases)
    assert sample([], 3) == ()


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
    assert {RED, (70, 20, 20)} <= colours
    write_contact_sheet(a_manifest(), tmp_path, tmp_path / "none.png")
    with pytest.raises(UsageError, match="is a PNG"):
        write_contact_sheet(replace(manifest, cases=()), tmp_path, tmp_path / "sheet.jpg")
