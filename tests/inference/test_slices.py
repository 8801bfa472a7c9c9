"""A 2-D bundle on a volume: each slice as its picture, on the volume's own grid, whichever way its axes run."""

from dataclasses import replace

import numpy as np
import pytest

from medseg.bundle.bundle import FieldOfView
from medseg.bundle.reader import read_bundle
from medseg.domain.errors import FieldOfViewError, InputError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.series import Series
from medseg.domain.volume import Volume
from medseg.inference.fit import require_size
from medseg.inference.own import expected_windows
from medseg.inference.prepare import require_field_of_view
from medseg.inference.region import Box
from medseg.inference.segment import segment
from medseg.inference.slices import slicing_of
from tests.bundles import blob_volume, cells_bundle, grey_bundle, random_model, stored_bundle, volume_bundle
from tests.phantoms import oblique, orientations
from tests.turning import TURNS, turned_array, turned_volume

LPS = np.diag([-0.8, -1.2, 2.0, 1.0])  # an axial DICOM series: columns to the left, rows to the back


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model(grey_bundle(), tmp_path_factory.mktemp("model") / "b", seed=2)


def of_slices(model, kind):
    return replace(model, bundle=replace(model.bundle, slices=kind))


def alone(model, plane, spacing_mm):
    """The mask of one slice, given as the picture that it is."""
    geometry = Geometry(plane.shape, np.diag([-spacing_mm[0], -spacing_mm[1], 1, 1]))
    return segment(Volume(plane[None], geometry, "slice"), model).label_map.voxels


def test_each_slice_of_a_series_has_the_mask_that_it_has_as_a_picture(model):
    volume = blob_volume(LPS)
    mask = segment(volume, model).label_map
    assert mask.geometry == volume.geometry
    assert set(np.unique(mask.voxels)) == {0, 1, 5}
    for k in range(volume.geometry.shape_ijk[2]):
        assert (mask.voxels[:, :, k] == alone(model, volume.voxels[0, :, :, k], (0.8, 1.2))).all()


@pytest.mark.parametrize(("kind", "axis", "flips"), [("coronal", 1, (0, 1)), ("sagittal", 0, (0, 1)), ("axial", 2, ())])
def test_slices_are_shown_as_radiologists_see_them(model, kind, axis, flips):
    """Coronal and sagittal rows run downwards, and LPS index k upwards; sagittal columns run to the back."""
    volume = blob_volume(LPS)
    mask = segment(volume, of_slices(model, kind)).label_map.voxels
    for k in (0, 5):
        plane = volume.voxels[0].take(k, axis)
        shown = np.flip(plane, 1) if flips else plane
        sizes = [volume.geometry.spacing_mm[a] for a in range(3) if a != axis]
        wanted = alone(model, np.ascontiguousarray(shown), sizes)
        assert (mask.take(k, axis) == (np.flip(wanted, 1) if flips else wanted)).all()


@pytest.mark.parametrize("kind", [None, "coronal"])
def test_all_48_orientations_give_the_same_mask_in_the_world(model, kind):
    model = of_slices(model, kind)
    volume = blob_volume(oblique(LPS, (8, 5, -6)), (7, 6, 3) if kind is None else (7, 3, 6))
    wanted = segment(volume, model).label_map.voxels
    assert set(np.unique(wanted)) == {0, 1, 5}
    for letters, turn in TURNS.items():
        mask = segment(turned_volume(volume, *turn), model).label_map.voxels
        assert (mask == turned_array(wanted, *turn)).all(), letters


@pytest.mark.parametrize("letters", list(orientations()))
def test_a_series_is_taken_as_it_was_made_and_other_files_axially(model, letters):
    volume = blob_volume(orientations()[letters], (6, 7, 8))
    assert letters[slicing_of(volume, model.bundle).axis] in "IS"
    series = replace(volume, series=Series("1.2.3", "MR", ()))
    assert slicing_of(series, model.bundle).axis == 2
    slicing = slicing_of(volume, replace(model.bundle, slices="coronal"))
    assert [letters[axis] in pair for axis, pair in ((slicing.axis, "AP"), (slicing.across, "LR"))] == [True, True]


def test_no_axis_is_taken_twice_at_45_degrees(model):
    slicing = slicing_of(blob_volume(oblique(np.eye(4), (45, 45, 45))), model.bundle)
    assert {slicing.axis, slicing.across, slicing.down} == {0, 1, 2}


def test_blank_slices_are_background_and_say_nothing(model):
    volume = blob_volume(LPS)
    voxels = volume.voxels.copy()
    voxels[..., 0] = 7
    voxels[..., 1] = 0
    voxels[0, 3, 4, 1] = 900  # one bright pixel: the 1st and the 99th percentile are equal
    mask = segment(replace(volume, voxels=voxels), model).label_map.voxels
    assert not mask[..., :2].any()
    assert (mask[..., 2:] == segment(volume, model).label_map.voxels[..., 2:]).all()


def test_volumes_in_ml_boxes_and_windows(model):
    volume = blob_volume(LPS)
    seen = []
    done = segment(volume, model, on_window=seen.append)
    assert sum(seen) == done.report.windows == expected_windows(volume, model.bundle)
    for measure in done.report.measures:
        wanted = (done.label_map.voxels == measure.value).sum() * 0.8 * 1.2 * 2 / 1000
        assert measure.volume_ml == pytest.approx(wanted)
    box = Box((-8.0, -9.6, 12.0), (9.6, 12.0, 12.0))
    boxed = segment(volume, model, [box]).label_map.voxels
    assert boxed.any()
    assert not boxed[0].any()


def test_bundles_that_number_things_refuse_volumes_and_take_pictures(tmp_path):
    model = random_model(cells_bundle(), tmp_path / "b")
    with pytest.raises(InputError, match="would be counted several times; give single pictures"):
        segment(blob_volume(LPS), model)
    picture = Volume(blob_volume(LPS).voxels[..., 3], Geometry((22, 18), np.diag([-1.0, -1, 1, 1])), "picture")
    assert segment(picture, model).label_map.table.kind == "instances"


def test_the_slices_stand_in_the_bundles_metadata(tmp_path):
    bundle = replace(grey_bundle(), slices="sagittal", pixel_mm=0.98)
    stored_bundle(bundle, tmp_path / "b")
    read = read_bundle(tmp_path / "b")
    assert (read.slices, read.pixel_mm) == ("sagittal", 0.98)
    stored_bundle(grey_bundle(), tmp_path / "c")
    assert read_bundle(tmp_path / "c").slices is None
    with pytest.raises(UsageError, match="takes volumes, so it has no axial slices"):
        replace(volume_bundle(), slices="axial")


@pytest.mark.parametrize("kind", ["axial", "coronal"])
def test_slices_of_other_pixels_are_seen_at_the_size_of_the_training(model, kind):
    """A head of 0.49 mm pixels was shown to the network twice as large as every head it had learned from."""
    coarse = blob_volume(np.diag([-1.0, -1.0, 1.0, 1.0]), (24, 26, 22))
    wanted = segment(coarse, of_slices(model, kind)).label_map.voxels
    axes = [a for a in range(3) if a != (2 if kind == "axial" else 1)]
    voxels = coarse.voxels
    for a in axes:
        voxels = voxels.repeat(2, 1 + a)
    sizes = np.array([1.0, 1.0, 1.0])
    sizes[axes] = 0.5
    affine = np.diag([*(sizes * (-1, -1, 1)), 1.0])
    affine[:3, 3] = (sizes - 1) / 2 * (-1, -1, 1)  # pairs of voxels fill those they were made of
    fine = Volume(voxels, Geometry(voxels.shape[1:], affine), "fine")
    brought = replace(model, bundle=replace(model.bundle, slices=kind, pixel_mm=1.0))
    mask = segment(fine, brought)
    assert mask.label_map.geometry == fine.geometry
    assert mask.report.windows == expected_windows(fine, brought.bundle)
    slicing = slicing_of(fine, brought.bundle)
    first = {slicing.across: int(slicing.flips[0]), slicing.down: int(slicing.flips[1])}  # where the pictures begin
    each_pair = tuple(slice(first[a], None, 2) if a in axes else slice(None) for a in range(3))
    as_it_is = segment(fine, of_slices(model, kind)).label_map.voxels
    shares = [(voxels[each_pair] == wanted).mean() for voxels in (mask.label_map.voxels, as_it_is)]
    assert shares[0] == 1.0
    assert shares[1] < 0.9
    same = segment(coarse, brought).label_map.voxels
    assert (same == wanted).all()


def test_the_slices_must_show_what_the_training_showed_and_their_number_is_free(model):
    view = FieldOfView((20.0, 20.0, 20.0), (40.0, 40.0, 40.0))
    bundle = replace(model.bundle, field_of_view=view, slices="axial")
    require_field_of_view(blob_volume(np.diag([-1.0, -1.0, 1.0, 1.0]), (24, 30, 5)), bundle, "v", boxed=False)
    for shape in ((24, 19, 25), (41, 30, 25)):
        with pytest.raises(FieldOfViewError, match="was trained on images of 20-40 x 20-40 x 20-40 mm"):
            require_field_of_view(blob_volume(np.diag([-1.0, -1.0, 1.0, 1.0]), shape), bundle, "v", boxed=False)
    coronal = replace(bundle, slices="coronal")
    require_field_of_view(blob_volume(np.diag([-1.0, -1.0, 1.0, 1.0]), (24, 5, 30)), coronal, "v", boxed=False)
    picture = Volume(blob_volume(LPS).voxels[..., 3], Geometry((22, 18), np.diag([-0.1, -0.1, 1, 1])), "picture")
    require_field_of_view(picture, bundle, "p", boxed=False)


@pytest.mark.parametrize("pixel_mm", [0.0, -1.0, float("nan"), float("inf")])
def test_pixels_of_no_size_are_refused(pixel_mm):
    with pytest.raises(UsageError, match="are for slices of volumes, and positive"):
        replace(grey_bundle(), pixel_mm=pixel_mm)
    with pytest.raises(UsageError, match="are for slices"):
        replace(volume_bundle(), pixel_mm=1.0)


def test_a_volume_for_a_bundle_that_never_saw_a_slice_without_labels_is_told(model):
    """The tumour bundle marked 21 ml in a healthy head without a word."""
    volume = blob_volume(LPS)
    assert segment(volume, model).report.notes == ()
    bundle = replace(model.bundle, always_labelled=True)
    (note,) = segment(volume, replace(model, bundle=bundle)).report.notes
    assert "learned from slices that hold liver or liver tumour only" in note
    picture = Volume(volume.voxels[..., 3], Geometry((22, 18), np.diag([-1.0, -1, 1, 1])), "picture")
    assert segment(picture, replace(model, bundle=bundle)).report.notes == ()


@pytest.mark.parametrize("kind", ["axial", "coronal", "sagittal", None])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_volume_of_few_slices_is_taken_slice_by_slice(model, kind, count):
    """A volume of fewer slices than the coarsest level of the network needs pixels was refused; one slice, always."""
    model = of_slices(model, kind)
    whole = blob_volume(LPS, (24, 22, 20))
    axis = slicing_of(whole, model.bundle).axis
    voxels = np.ascontiguousarray(whole.voxels.take(range(count), 1 + axis))
    few = Volume(voxels, Geometry(voxels.shape[1:], LPS), "few")
    mask = segment(few, model).label_map
    assert mask.geometry == few.geometry
    assert (mask.voxels == segment(whole, model).label_map.voxels.take(range(count), axis)).all()


@pytest.mark.parametrize("kind", ["axial", "coronal", "sagittal"])
def test_slices_smaller_than_the_window_are_padded_and_those_too_small_for_the_network_refused(model, kind):
    axis = {"axial": 2, "coronal": 1, "sagittal": 0}[kind]
    bundle = replace(model.bundle, slices=kind, network=replace(model.bundle.network, widths=(4, 8, 16, 32)))
    for size, taken in ((8, True), (7, False), (1, False)):
        shape = [9, 9, 9]
        shape[axis], shape[(axis + 1) % 3] = 1, size
        volume = blob_volume(LPS, shape)
        if taken:
            require_size(volume, bundle, "scan")
        else:
            with pytest.raises(InputError, match=r"scan: slices of .* voxels are too few; .* 8 or more of its own"):
                require_size(volume, bundle, "scan")
    shape = [9, 9, 9]
    shape[axis] = 2
    assert segment(blob_volume(LPS, shape), of_slices(model, kind)).label_map.voxels.shape == tuple(shape)


def test_slices_are_counted_in_the_pixels_that_the_network_sees(model):
    bundle = replace(model.bundle, slices="axial", pixel_mm=4.0)
    bundle = replace(bundle, network=replace(bundle.network, widths=(4, 8, 16, 32)))
    require_size(blob_volume(np.diag([-1.0, -1.0, 5.0, 1.0]), (32, 32, 1)), bundle, "scan")
    with pytest.raises(InputError, match="slices of 32 x 24 voxels are too few"):
        require_size(blob_volume(np.diag([-1.0, -1.0, 5.0, 1.0]), (32, 24, 40)), bundle, "scan")
