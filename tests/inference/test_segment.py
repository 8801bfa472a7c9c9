"""A volume becomes a mask on its own grid, or a refusal."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from medseg.bundle.bundle import FieldOfView
from medseg.domain.errors import BundleError, FieldOfViewError, InputError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelTable
from medseg.domain.volume import Volume
from medseg.inference.own import expected_windows
from medseg.inference.prepare import require_field_of_view
from medseg.inference.region import Box, crop_to_box
from medseg.inference.segment import NotFiniteError, segment
from medseg.postprocess.components import remove_islands
from medseg.windows import WindowSpec
from tests.bundles import blob_volume, blobs, cells_bundle, grey_bundle, random_model, volume_bundle
from tests.phantoms import oblique
from tests.turning import TURNS, turned_array, turned_volume

RAS_1MM = np.eye(4)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model(volume_bundle(), tmp_path_factory.mktemp("model") / "b", seed=2)


@pytest.fixture(scope="module")
def grey_model(tmp_path_factory):
    return random_model(grey_bundle(), tmp_path_factory.mktemp("model") / "b", seed=2)


@pytest.fixture(scope="module")
def cells_model(tmp_path_factory):
    return random_model(cells_bundle(), tmp_path_factory.mktemp("model") / "b", seed=2)


def picture(shape=(60, 45), channels=1, seed=0):
    return Volume(blobs(shape, seed, channels), Geometry(shape, np.diag([-1.0, -1.0, 1.0, 1.0]), False), "picture")


def mask_of(volume, model, *boxes):
    return segment(volume, model, boxes).label_map.voxels


# The mask


@pytest.mark.parametrize(
    "affine", [RAS_1MM, oblique(np.diag([0.8, 1.2, 2.0, 1.0]), (8, 5, -6))], ids=["1 mm", "oblique"]
)
def test_all_48_orientations_give_the_same_mask_in_the_world(model, affine):
    volume = blob_volume(affine, (14, 12, 9))
    wanted = mask_of(volume, model)
    assert set(np.unique(wanted)) >= {1, 5}
    for letters, turn in TURNS.items():
        mask = mask_of(turned_volume(volume, *turn), model)
        assert (mask == turned_array(wanted, *turn)).all(), letters


def test_the_values_are_those_of_the_label_table(model, tmp_path):
    volume = blob_volume(RAS_1MM)
    mask = mask_of(volume, model)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1, 5}
    table = LabelTable((Label(300, "a", (0, 0, 0)), Label(7, "b", (0, 0, 0))))
    wide = random_model(volume_bundle(labels=table), tmp_path / "b", seed=2)
    other = mask_of(volume, wide)
    assert other.dtype == np.uint16
    for value, twin in ((0, 0), (1, 7), (5, 300)):
        assert ((mask == value) == (other == twin)).all()


def test_islands_are_removed_on_the_images_own_grid(model):
    volume = blob_volume(np.diag([0.8, 1.2, 2.0, 1.0]))
    spec = replace(model.bundle.postprocess, min_voxels=30)
    kept = mask_of(volume, replace(model, bundle=replace(model.bundle, postprocess=spec)))
    whole = mask_of(volume, model)
    assert (kept == remove_islands(whole, 30)).all()
    assert (kept != whole).any()


def test_windows_and_batches_are_those_of_the_bundle(model):
    volume = blob_volume(RAS_1MM, (40, 18, 13))
    report = segment(volume, model).report
    assert report.windows == expected_windows(volume, model.bundle) == 8
    told = []
    segment(volume, model, on_window=told.append)
    assert told == [2] * 4  # four planes of windows, a batch each
    other = replace(model, bundle=replace(model.bundle, window=replace(model.bundle.window, batch=1)))
    assert (mask_of(volume, other) == mask_of(volume, model)).all()


def test_a_report_tells_what_was_run(model):
    volume = replace(blob_volume(np.diag([0.8, 1.2, 2.0, 1.0])), notes=("sizes were in metres",))
    report = segment(volume, model).report
    assert (report.case, report.bundle, report.bundle_version) == ("blobs", "organs_mr_segmentation", "0.1.0")
    assert (report.shape_ijk, report.spacing_mm) == ((22, 18, 13), (0.8, 1.2, 2.0))
    assert (report.device, report.precision, report.notes) == ("cpu", "fp32", ("sizes were in metres",))
    assert [measure.label for measure in report.measures] == ["liver", "liver tumour"]
    assert report.to_dict()["settings"] == {"roi": []}


def test_a_picture_is_segmented_on_its_own_pixels(grey_model):
    mask = mask_of(picture(), grey_model)
    assert mask.shape == (60, 45)
    assert set(np.unique(mask)) == {0, 1, 5}


def test_instances_are_numbered_from_one(cells_model):
    result = segment(picture(channels=3), cells_model)
    mask = result.label_map.voxels
    assert mask.dtype == np.uint16
    assert np.unique(mask).tolist() == list(range(mask.max() + 1))
    assert result.report.measures[0].instances == mask.max() > 1


def test_a_grey_picture_in_a_colour_model_is_its_own_three_channels(cells_model):
    grey = picture()
    colour = replace(grey, voxels=np.repeat(grey.voxels, 3, 0))
    assert (mask_of(grey, cells_model) == mask_of(colour, cells_model)).all()


# Regions

BIG = (40, 36, 30)
LEFT, RIGHT = Box((10.0, 18.0, 15.0), (15.0, 17.0, 19.0)), Box((30.0, 18.0, 15.0), (14.0, 14.0, 14.0))


def inside(box, shape=BIG):
    ijk = np.indices(shape).reshape(3, -1).T
    return (np.abs(ijk - np.array(box.centre_ras_mm)) <= np.array(box.size_mm) / 2).all(1).reshape(shape)


def test_a_region_is_segmented_as_the_image_cut_to_it_and_the_rest_is_background(model):
    volume = blob_volume(RAS_1MM, BIG)
    part, start = crop_to_box(volume, LEFT, "x")
    mask = mask_of(volume, model, LEFT)
    assert (mask[inside(LEFT)] == mask_of(part, model).ravel()).all()
    assert not mask[~inside(LEFT)].any()
    assert mask_of(volume, model)[~inside(LEFT)].any()
    assert start == (3, 10, 6)


def test_two_regions_are_the_union_of_each(model):
    volume = blob_volume(RAS_1MM, BIG)
    both = segment(volume, model, (LEFT, RIGHT))
    alone = [segment(volume, model, (box,)) for box in (LEFT, RIGHT)]
    assert (both.label_map.voxels == alone[0].label_map.voxels + alone[1].label_map.voxels).all()
    assert both.report.measures == alone[0].report.measures + alone[1].report.measures
    assert [m.region for m in both.report.measures] == [str(LEFT)] * 2 + [str(RIGHT)] * 2
    assert both.report.windows == sum(one.report.windows for one in alone)
    assert both.report.settings == {"roi": [str(LEFT), str(RIGHT)]}


def test_where_regions_overlap_the_first_one_that_finds_something_counts(model):
    volume = blob_volume(RAS_1MM, BIG)
    other = Box((14.0, 18.0, 15.0), (14.0, 14.0, 14.0))
    first, second = mask_of(volume, model, LEFT), mask_of(volume, model, other)
    assert (mask_of(volume, model, LEFT, other) == np.where(first > 0, first, second)).all()


def test_a_region_is_the_patients_whatever_the_order_of_the_axes(model):
    volume = blob_volume(RAS_1MM, BIG)
    wanted = mask_of(volume, model, LEFT)
    for letters in ("LPS", "PIR", "SAL"):
        mask = mask_of(turned_volume(volume, *TURNS[letters]), model, LEFT)
        assert (mask == turned_array(wanted, *TURNS[letters])).all()


def test_instances_of_two_regions_do_not_share_a_number(cells_model):
    """Every box counted its instances from 1, so one number meant two nuclei far apart."""
    whole = picture((90, 45), 3)
    boxes = [Box((x, -22.0, 0.0), (40.0, 44.0, 1.0)) for x in (-21.0, -67.0)]
    both = segment(whole, cells_model, boxes)
    alone = [segment(whole, cells_model, [box]) for box in boxes]
    counts = [one.report.measures[0].instances for one in alone]
    assert min(counts) > 0
    assert np.unique(both.label_map.voxels).tolist() == list(range(sum(counts) + 1))
    assert [measure.instances for measure in both.report.measures] == counts
    assert ((both.label_map.voxels > 0) == sum(one.label_map.voxels > 0 for one in alone)).all()


def test_a_region_out_of_the_image_is_refused(model):
    with pytest.raises(FieldOfViewError, match="reaches out of the image"):
        mask_of(blob_volume(RAS_1MM, BIG), model, LEFT, Box((40.0, 18.0, 15.0), (14.0, 14.0, 14.0)))


def with_view(model, smallest, largest):
    return replace(model, bundle=replace(model.bundle, field_of_view=FieldOfView(smallest, largest)))


def test_another_field_of_view_than_the_bundles_is_refused(model):
    """A network that only saw crops would find its organ anywhere."""
    volume = blob_volume(RAS_1MM, BIG)
    crops = with_view(model, (10.0, 10.0, 10.0), (20.0, 20.0, 20.0))
    with pytest.raises(FieldOfViewError, match=r"40 x 36 x 30 mm.*10-20 x 10-20 x 10-20 mm.*--roi") as refused:
        segment(volume, crops, name="head.nii.gz")
    assert "head.nii.gz" in str(refused.value)
    assert (mask_of(volume, crops, LEFT) == mask_of(volume, model, LEFT)).all()
    for size in ((9.0, 15.0, 15.0), (15.0, 15.0, 22.0)):
        with pytest.raises(FieldOfViewError, match="give a box of that size"):
            mask_of(volume, crops, Box((20.0, 18.0, 15.0), size))
    assert mask_of(volume, with_view(model, (40.0, 30.0, 30.0), (50.0, 36.0, 30.0))).any()


def test_the_field_of_view_is_the_patients_whatever_the_order_of_the_axes(model):
    narrow = with_view(model, (21.5, 17.5, 12.5), (22.5, 18.5, 13.5))
    volume = blob_volume(RAS_1MM, (22, 18, 13))
    swapped = with_view(model, (17.5, 21.5, 12.5), (18.5, 22.5, 13.5))
    for turn in TURNS.values():
        turned = turned_volume(volume, *turn)
        require_field_of_view(turned, narrow.bundle, "x", boxed=False)
        with pytest.raises(FieldOfViewError):
            require_field_of_view(turned, swapped.bundle, "x", boxed=False)


# Refusals


def test_a_constant_image_or_region_is_refused(model):
    volume = blob_volume(RAS_1MM, BIG)
    flat = replace(volume, voxels=volume.voxels * 0 + 7)
    with pytest.raises(InputError, match="every voxel is 7"):
        segment(flat, model)
    partly = volume.voxels.copy()
    partly[0][inside(LEFT)] = 0
    with pytest.raises(InputError, match="every voxel is 0"):
        mask_of(replace(volume, voxels=partly), model, LEFT)
    assert mask_of(replace(volume, voxels=partly), model).any()


def test_a_picture_for_a_bundle_of_volumes_is_refused(model):
    """A picture was a ValueError where a 3-D bundle counted its windows."""
    with pytest.raises(InputError, match=r"is a picture of .* takes a volume"):
        segment(picture(), model)
    assert expected_windows(picture(), model.bundle) == 1


def test_colour_in_a_grey_model_is_refused(grey_model):
    with pytest.raises(InputError, match="3 colour channels"):
        segment(picture(channels=3), grey_model)


def test_another_modality_is_refused_where_the_file_says_one(model):
    volume = blob_volume(RAS_1MM)
    with pytest.raises(InputError, match="its modality is CT, bundle organs_mr_segmentation takes MR"):
        segment(replace(volume, modality="CT"), model)
    assert (mask_of(replace(volume, modality="MR"), model) == mask_of(volume, model)).all()


# Numbers that are none


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_an_overflow_is_computed_again_in_fp32(model, bad):
    """In the last window only, so that slabs were handed on before it."""
    calls = []

    def overflowing(windows):
        calls.append(windows)
        logits = model.network(windows)
        if len(calls) == 4:
            logits[0, 0, 8, 8, 8] = bad
        return logits

    volume = blob_volume(RAS_1MM, (40, 18, 13))
    result = segment(volume, replace(model, network=overflowing, precision="fp16"))
    assert (result.label_map.voxels == mask_of(volume, model)).all()
    assert result.report.notes == ("fp16 overflowed; computed again in fp32",)
    assert len(calls) == 4


def test_nan_in_fp32_too_is_an_error_of_the_bundle(model):
    def broken(windows):
        return model.network(windows) * float("nan")

    with pytest.raises(NotFiniteError, match="blobs: bundle organs_mr_segmentation computes NaN") as refused:
        segment(blob_volume(RAS_1MM), replace(model, network=broken, exact=broken))
    assert refused.value.exit_code == BundleError.exit_code


def test_instances_of_nan_are_an_error_too(cells_model):
    def broken(windows):
        return torch.full((len(windows), 3, *windows.shape[2:]), float("nan"))

    with pytest.raises(NotFiniteError):
        segment(picture(channels=3), replace(cells_model, network=broken, exact=broken))


def test_an_image_smaller_than_a_window_is_segmented(model):
    volume = blob_volume(RAS_1MM, (5, 2, 4))
    assert mask_of(volume, model).shape == (5, 2, 4)
    thin = replace(model, bundle=replace(model.bundle, window=WindowSpec((32, 16, 16))))
    assert mask_of(volume, thin).shape == (5, 2, 4)
