from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from PIL import Image

from medseg.domain.errors import GridError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelMap, LabelTable
from medseg.domain.volume import Volume
from medseg.reports import triptych
from medseg.reports.lettering import FAINT, INK, MARGIN, entries_of
from medseg.reports.overlay import INSTANCE_COLOURS, colours_of, draw_labels
from medseg.reports.planes import VIEWS, box_around, busiest_voxel, orient
from medseg.reports.preview import preview, write_preview
from medseg.reports.shades import has_colour, to_rgb, window_of
from medseg.reports.triptych import scene_of
from tests.phantoms import oblique

RED, BLUE = (255, 0, 0), (0, 0, 255)
TABLE = LabelTable((Label(1, "one", RED), Label(2, "two", BLUE)))
CELLS = LabelTable((Label(1, "cell", RED),), "instances")
AXIAL, CORONAL, SAGITTAL = VIEWS
SHAPE = (24, 20, 14)
AFFINE_RAS = np.array([[1.5, 0, 0, -20], [0, 2, 0, -31], [0, 0, 3, 7], [0, 0, 0, 1.0]])


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(triptych, "PANEL", 72)


def pair(voxels, mask, affine=AFFINE_RAS, table=TABLE, calibrated=True, modality=None):
    geometry = Geometry(mask.shape, affine, calibrated)
    channels = voxels if voxels.ndim > mask.ndim else voxels[None]
    return Volume(channels, geometry, "case", modality), LabelMap(mask, geometry, table)


def world(*voxels_ijk, shape=SHAPE, affine=AFFINE_RAS):
    """A random image, and a mask of some voxels: label 1, 2, 1, 2 ..."""
    mask = np.zeros(shape, np.uint8)
    for n, voxel in enumerate(voxels_ijk):
        mask[voxel] = n % 2 + 1
    return pair(np.random.default_rng(0).integers(0, 90, shape).astype(np.int16), mask, affine)


def turned(volume, label_map, axes, flips):
    """The same world with its array laid another way."""
    affine = volume.geometry.affine_ras.copy()
    affine[:3, :3] = volume.geometry.affine_ras[:3, axes] * flips
    first = np.zeros(3)
    for axis, flip in zip(axes, flips, strict=True):
        first[axis] = volume.geometry.shape_ijk[axis] - 1 if flip < 0 else 0
    affine[:3, 3] = volume.geometry.ijk_to_ras_mm(first)
    steps = tuple(slice(None, None, flip) for flip in flips)
    voxels, mask = (a.transpose(axes)[steps].copy() for a in (volume.voxels[0], label_map.voxels))
    return pair(voxels, mask, affine)


ORIENTATIONS = [(axes, flips) for axes in permutations(range(3)) for flips in product((1, -1), repeat=3)]


def panel(volume, label_map, view, pixels_per_mm=4.0):
    scene = scene_of(volume, label_map, colours_of(label_map.voxels, label_map.table))
    return np.array(scene.panel(view, scene.oriented.whole, pixels_per_mm))


def centre(picture, colour):
    """Where pixels of just this colour stand: (from the left, from the top)."""
    rows, columns = np.nonzero((picture == colour).all(-1))
    assert rows.size
    return float(columns.mean() + 0.5), float(rows.mean() + 0.5)


def test_a_voxel_stands_at_its_patient_position_in_every_orientation():
    """Label 1 at R 10 A 5 S 13 mm, label 2 to its left, in one axial plane; 4 pixels a mm, the page runs R to L."""
    volume, label_map = world((20, 18, 2), (4, 18, 2))
    right_mm, front_mm = -20 + 23.5 * 1.5, -31 + 19.5 * 2  # outer edges of the grid
    for axes, flips in ORIENTATIONS:
        picture = panel(*turned(volume, label_map, axes, flips), AXIAL)
        assert picture.shape == (20 * 2 * 4, 24 * 1.5 * 4, 3)
        assert centre(picture, RED) == pytest.approx(((right_mm - 10) * 4, (front_mm - 5) * 4), abs=0.6)
        assert centre(picture, BLUE) == pytest.approx(((right_mm + 14) * 4, (front_mm - 5) * 4), abs=0.6)


def test_the_preview_is_the_same_picture_in_every_orientation(small):
    volume, label_map = world((20, 15, 2), (19, 15, 2), (20, 15, 3))
    expected = preview(volume, label_map).tobytes()
    for axes, flips in ORIENTATIONS:
        assert preview(*turned(volume, label_map, axes, flips)).tobytes() == expected


@pytest.mark.parametrize(
    ("voxel", "left", "top"),
    [((20, 16, 11), {AXIAL: 1, CORONAL: 1, SAGITTAL: 1}, {AXIAL: 1, CORONAL: 1, SAGITTAL: 1}),
     ((3, 3, 2), {AXIAL: 0, CORONAL: 0, SAGITTAL: 0}, {AXIAL: 0, CORONAL: 0, SAGITTAL: 0})],
)  # fmt: skip
def test_right_is_left_the_face_looks_left_and_heads_are_up(voxel, left, top):
    for view in VIEWS:
        picture = panel(*world(voxel), view)
        x, y = centre(picture, RED)
        assert (x < picture.shape[1] / 2) == left[view]
        assert (y < picture.shape[0] / 2) == top[view]
    assert [view.edges for view in VIEWS] == ["RLAP", "RLSI", "APSI"]


def test_pixels_are_square_in_millimetres():
    """A cube of 12 mm on voxels of 1.5 x 2 x 3 mm is a square in all planes."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[8:16, 6:12, 5:9] = 1
    for view in VIEWS:
        picture = panel(*pair(np.zeros(SHAPE, np.uint8), mask), view)
        rows, columns = np.nonzero((picture == RED).all(-1))
        assert abs(np.ptp(rows) - 48) <= 1
        assert np.ptp(rows) == np.ptp(columns)


def test_a_tilted_volume_is_shown_on_its_own_grid():
    volume, label_map = world((20, 15, 2), (4, 15, 2))
    tilted = world((20, 15, 2), (4, 15, 2), affine=oblique(AFFINE_RAS, (12, -9, 20)))
    for view in VIEWS:
        assert (panel(*tilted, view) == panel(volume, label_map, view)).all()


def test_planes_go_where_most_of_the_mask_is_not_between_two_parts():
    mask = np.zeros((40, 10, 10), bool)
    mask[3:6, 4:7, 4:7] = mask[30:37, 4:7, 4:7] = True
    assert busiest_voxel(mask)[0] in range(30, 37)
    assert busiest_voxel(np.zeros((40, 10, 11), bool)) == (20, 5, 5)


def test_the_second_row_holds_the_whole_mask_and_only_comes_where_it_helps(small):
    volume, label_map = world((20, 15, 2), (18, 13, 3), shape=(60, 60, 40))
    oriented = orient(volume, label_map)
    box = box_around(oriented)
    assert all(start <= v < stop for v, (start, stop) in zip(busiest_voxel(oriented.labels), box, strict=True))
    assert np.count_nonzero(oriented.labels[tuple(slice(*edge) for edge in box)]) == 2
    one_row = preview(volume, LabelMap(np.ones_like(label_map.voxels), label_map.geometry, TABLE))
    assert preview(volume, label_map).height >= one_row.height + 72 + triptych.GAP


def test_an_empty_mask_shows_the_middle_and_no_colour(small):
    volume, label_map = world()
    picture = np.array(preview(volume, label_map))
    panels = picture[: -MARGIN - 28]
    assert box_around(orient(volume, label_map)) is None
    assert not ((panels == RED).all(-1) | (panels == BLUE).all(-1)).any()
    assert [(entry.text, entry.ink) for entry in entries_of((), TABLE)] == [
        ("one (none)", FAINT), ("two (none)", FAINT)]  # fmt: skip


@pytest.mark.parametrize("shape", [(20, 24, 1), (1, 20, 24), (20, 1, 1), (1, 1, 1)])
def test_thin_volumes_are_shown(small, shape):
    mask = np.ones(shape, np.uint8)
    assert preview(*pair(np.zeros(shape), mask)).mode == "RGB"


def test_millimetres_are_told_only_where_the_size_is_known():
    volume, label_map = world((20, 15, 2))
    scene = scene_of(volume, label_map, {1: RED})
    assert [scene.caption(view) for view in VIEWS] == ["axial  S 13 mm", "coronal  P 1 mm", "sagittal  R 10 mm"]
    assert [replace(scene, calibrated=False).caption(view) for view in VIEWS] == ["axial", "coronal", "sagittal"]


def test_ct_is_shown_in_the_soft_tissue_window_and_mr_by_percentiles():
    hounsfield = np.array([[[-1000, -160, 40, 240, 3000]]])
    assert to_rgb(hounsfield, window_of(hounsfield, "CT"))[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    ramp = np.arange(1001.0).reshape(1, 7, 11, 13)
    assert window_of(ramp, "MR") == pytest.approx((10, 995))
    assert to_rgb(np.full((1, 4, 4), 7.0), (7.0, 7.0)).max() == 0


def test_a_picture_keeps_its_colours_and_is_enlarged_by_whole_pixels():
    colours = np.random.default_rng(1).integers(0, 256, (3, 90, 60), np.uint8)
    mask = np.zeros((90, 60), np.uint8)
    mask[70:80, 5:9] = 1
    picture = np.array(preview(*pair(colours, mask, np.diag([-1, -1, 1, 1.0]), calibrated=False)))
    shown = picture[MARGIN : MARGIN + 60 * 5, MARGIN : MARGIN + 90 * 5]
    expected = colours.transpose(2, 1, 0).repeat(5, 0).repeat(5, 1)
    assert (shown[:, : 65 * 5] == expected[:, : 65 * 5]).all()
    x, y = centre(shown, RED)
    assert (x, y) == pytest.approx((75 * 5, 7 * 5), abs=1)


def test_grey_stored_as_colour_is_stretched_like_grey():
    grey = np.random.default_rng(2).integers(10, 40, (1, 30, 30), np.uint8)
    alike = np.repeat(grey, 3, axis=0)
    assert not has_colour(alike)
    assert (to_rgb(alike, window_of(alike, None)) == to_rgb(grey, window_of(grey, None))).all()


def test_touching_instances_have_different_colours_and_are_counted():
    mask = np.zeros((400, 400), np.uint16)
    mask[100:200, 100:200], mask[200:300, 100:200], mask[350:360, 350:360] = 1, 2, 300
    picture = preview(*pair(np.zeros((400, 400), np.uint8), mask, table=CELLS))
    shown = np.array(picture)[MARGIN : MARGIN + 400, MARGIN : MARGIN + 400]
    x1, x2 = (centre(shown, INSTANCE_COLOURS[n])[0] for n in (0, 1))
    assert (x1, x2) == pytest.approx((150, 250), abs=1)
    assert entries_of((1, 2, 300), CELLS)[0].text == "cell: 3"


def test_a_value_that_no_label_has_is_seen():
    volume, label_map = world((12, 10, 7))
    strange = LabelMap(label_map.voxels * 9, label_map.geometry, TABLE)
    assert centre(panel(volume, strange, AXIAL), (255, 0, 255))


def test_one_voxel_of_a_large_slice_leaves_a_dot():
    labels = np.zeros((2000, 1700), np.uint8)
    labels[1501, 333] = 1
    drawn = np.array(draw_labels(Image.new("RGB", (170, 200)), labels, {1: RED}))
    assert drawn.max() > 60
    assert np.argwhere(drawn[..., 0] == drawn.max()).mean(0) == pytest.approx((150, 33), abs=1)


def test_outlines_of_many_labels_are_those_of_each_alone():
    """Drawing label by label, each within its own extent, is the same as drawing over the whole picture."""
    labels = np.zeros((40, 50), np.uint8)
    labels[0:9, 0:12], labels[20:33, 30:50], labels[38:40, 5:7] = 1, 2, 200
    picture = Image.new("RGB", (333, 271), (40, 40, 40))
    together = np.array(draw_labels(picture, labels, {1: RED, 2: BLUE, 200: (0, 255, 0)})).astype(int)
    alone = sum(
        np.array(draw_labels(picture, np.where(labels == value, labels, 0), {value: colour})).astype(int) - 40
        for value, colour in ((1, RED), (2, BLUE), (200, (0, 255, 0)))
    )
    assert (together == alone + 40).all()


def test_a_label_in_another_is_outlined_in_its_own_colour():
    labels = np.zeros((40, 40), np.uint8)
    labels[5:35, 5:35], labels[12:28, 12:28] = 1, 2
    picture = Image.new("RGB", (40, 40))
    for nested, inks in ((True, {BLUE}), (False, {BLUE, RED})):
        drawn = np.array(draw_labels(picture, labels, {1: RED, 2: BLUE}, width=2.0, fill=0.0, nested=nested))
        assert {tuple(pixel) for pixel in drawn[20, 9:16].tolist() if any(pixel)} == inks
        assert (drawn[20, 4:6] == RED).all(1).any()


def test_a_long_table_lists_what_occurs():
    table = LabelTable(tuple(Label(n, f"organ {n}", (n, n, 255)) for n in range(1, 41)))
    assert [entry.text for entry in entries_of((7, 33), table)] == ["organ 7", "organ 33"]
    assert entries_of((7,), table)[0].ink == INK
    assert [entry.text for entry in entries_of((), table)] == ["no label occurs"]


def test_a_mask_of_another_grid_is_refused():
    volume, label_map = world((12, 10, 7))
    shifted = LabelMap(label_map.voxels, volume.geometry.crop((1, 0, 0), SHAPE), TABLE)
    with pytest.raises(GridError, match="case"):
        preview(volume, shifted)


def test_previews_are_png_files(small, tmp_path):
    volume, label_map = world((12, 10, 7))
    write_preview(volume, label_map, tmp_path / "a" / "p.png")
    with Image.open(tmp_path / "a" / "p.png") as written:
        assert written.format == "PNG"
        assert written.tobytes() == preview(volume, label_map).tobytes()
    with pytest.raises(UsageError, match=r"\.png"):
        write_preview(volume, label_map, tmp_path / "p.jpg")
