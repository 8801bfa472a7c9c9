"""Both hippocampi of a whole head, by name; or the reason why not."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from medseg.bundle.store import find_bundle
from medseg.domain.errors import FieldOfViewError
from medseg.domain.volume import Volume
from medseg.inference import localise
from medseg.inference.localise import Located, locate
from medseg.inference.model import load_model
from medseg.inference.parts import cropped, upright
from medseg.inference.region import Box, crop_to_box
from medseg.inference.register import Fit, rotation
from medseg.inference.segment import segment
from medseg.metrics.overlap import dice
from tests.bundles import CPU, blob_volume
from tests.heads import CENTRES, brain, head
from tests.turning import TURNS, turned_volume

BOXES = {side: Box(centre, (35.0, 56.0, 44.0)) for side, centre in CENTRES.items()}


@pytest.fixture(scope="module")
def model():
    return load_model(find_bundle("hippocampus_mr_segmentation"), CPU, "fp32")


@pytest.fixture(scope="module")
def whole():
    """A head, and where its regions are found."""
    one = head(11, finest_mm=2.0, elastic_mm=5.0, cut_mm=0.0)
    return one, found(one.volume)


def found(volume):
    stored = find_bundle("hippocampus_mr_segmentation")
    return locate(volume, stored.localiser, load_model(stored, CPU, "fp32").template, "scan.nii.gz")


def centres(located):
    return {side: np.array(box.centre_ras_mm) for side, box in located.boxes.items()}


def test_a_whole_head_gives_both_sides_as_given_boxes_do(model):
    given = segment(brain(), model, list(BOXES.values()))
    alone = segment(brain(), model)
    assert [measure.region for measure in alone.report.measures] == ["left", "left", "right", "right"]
    for ours, theirs in zip(alone.report.measures, given.report.measures, strict=True):
        assert ours.volume_ml == pytest.approx(theirs.volume_ml, rel=0.05)
        assert ours.centroid_ras_mm == pytest.approx(theirs.centroid_ras_mm, abs=0.5)
        assert (ours.centroid_ras_mm[0] < 0) == (ours.region == "left")
        assert not ours.touches_border
    for value in model.bundle.labels.values:
        assert dice(alone.label_map.voxels == value, given.label_map.voxels == value) > 0.95
    assert set(alone.report.settings["located"]["boxes"]) == {"left", "right"}
    assert alone.label_map.geometry == brain().geometry


def test_the_regions_lie_where_they_are(whole):
    one, located = whole
    for side, centre in centres(located).items():
        assert np.linalg.norm(centre - one.centres[side]) < 4


def test_the_patient_tells_left_from_right(whole):
    """Mirrored voxels under the affine they had are a mirrored patient: what was right is left now."""
    one, located = whole
    geometry = one.volume.geometry
    axis = int(np.abs(geometry.affine_ras[0, :3] / geometry.spacing_mm).argmax())
    mirrored = centres(found(replace(one.volume, voxels=np.flip(one.volume.voxels, axis + 1))))
    for side, other in (("left", "right"), ("right", "left")):
        ijk = geometry.ras_mm_to_ijk(centres(located)[other])
        ijk[axis] = geometry.shape_ijk[axis] - 1 - ijk[axis]
        np.testing.assert_allclose(mirrored[side], geometry.ijk_to_ras_mm(ijk), atol=1.0)


def test_the_order_of_the_axes_moves_no_region(whole):
    one, located = whole
    turned = found(turned_volume(one.volume, *TURNS["PIR"]))
    for side, centre in centres(located).items():
        np.testing.assert_allclose(centres(turned)[side], centre, atol=0.11)  # a tenth, rounded


def test_a_region_that_is_cut_off_is_refused_by_name(whole):
    one, _ = whole
    geometry = one.volume.geometry
    axis = int(np.abs(geometry.affine_ras[0, :3] / geometry.spacing_mm).argmax())
    at = int(geometry.ras_mm_to_ijk(one.centres["right"])[axis])
    rightward = geometry.affine_ras[0, axis] > 0
    start, stop = (0, at) if rightward else (at, geometry.shape_ijk[axis])
    cut = [0, 0, 0]
    cut[axis] = start
    shape = [stop - start if a == axis else n for a, n in enumerate(geometry.shape_ijk)]
    part = tuple(slice(c, c + n) for c, n in zip(cut, shape, strict=True))
    half = Volume(one.volume.voxels[(slice(None), *part)], geometry.crop(cut, shape), "half", "MR")
    with pytest.raises(
        FieldOfViewError, match=r"scan.nii.gz: the region right is cut off: .* mm, the image spans .*--roi"
    ):
        found(half)


def test_another_thing_is_refused_with_numbers():
    affine = np.diag([4.0, 4, 4, 1])
    with pytest.raises(FieldOfViewError, match=r"scan.nii.gz: .*template does not fit.* [\d.]+.*at least 0.6 .*--roi"):
        found(blob_volume(affine, (50, 50, 50)))


@pytest.mark.parametrize("shape", [(200, 200, 1), (1, 200, 3), (2, 2, 90)])
def test_a_thin_image_is_refused_too(shape):
    with pytest.raises(FieldOfViewError, match=r"scan\.nii\.gz"):
        found(blob_volume(np.eye(4), shape))


def stretched(*factors):
    return np.diag([*factors, 1.0])


@pytest.mark.parametrize(
    ("poor", "good", "reason"),
    [
        (Fit(np.eye(4), 0.59, 1.0), Fit(np.eye(4), 0.61, 1.0), r"correlation is 0\.59, at least 0\.6"),
        (Fit(np.eye(4), 0.9, 0.59), Fit(np.eye(4), 0.9, 0.61), r"59% of it .* at least 60%"),
        (
            Fit(stretched(1, 1, 0.69), 0.9, 1),
            Fit(stretched(1, 1, 0.71), 0.9, 1),
            r"0\.69 to 1\.00 times.* 0\.7 to 1\.4",
        ),
        (Fit(stretched(1.41, 1, 1), 0.9, 1), Fit(stretched(1.39, 1, 1), 0.9, 1), r"1\.00 to 1\.41 times"),
        (Fit(stretched(-1, 1, 1), 0.9, 1), Fit(stretched(1, 1, 1), 0.9, 1), r"mirrored"),
    ],
)
def test_a_poor_fit_is_refused(monkeypatch, model, poor, good, reason):
    localiser = model.bundle.localiser
    monkeypatch.setattr(localise, "register", lambda volume, template: good)
    assert set(locate(brain(), localiser, model.template, "x").boxes) == {"left", "right"}
    monkeypatch.setattr(localise, "register", lambda volume, template: poor)
    with pytest.raises(FieldOfViewError, match=reason):
        locate(brain(), localiser, model.template, "x")


def test_given_boxes_and_small_images_need_no_template(monkeypatch, model):
    def never(*arguments):
        raise AssertionError("the template was asked")

    monkeypatch.setattr(localise, "locate", never)
    (left, _) = BOXES.values()
    by_box = segment(brain(), model, [left])
    crop, start = crop_to_box(brain(), left, "x")
    alone = segment(crop, model)
    assert {measure.region for measure in alone.report.measures} == {None}
    part = tuple(slice(s, s + n) for s, n in zip(start, crop.geometry.shape_ijk, strict=True))
    np.testing.assert_array_equal(by_box.label_map.voxels[part], alone.label_map.voxels)
    with pytest.raises(AssertionError, match="the template was asked"):
        segment(brain(), model)


def placed(turn, centre):
    return Located({"here": Box(tuple(centre), (12.0, 16.0, 10.0))}, turn, Fit(np.eye(4), 1.0, 1.0))


def test_an_upright_region_is_a_crop():
    """Where neither box nor voxels are turned, the network sees the voxels of the box as they are."""
    volume = blob_volume(np.eye(4), (30, 34, 28))
    part = upright(volume, placed(np.eye(3), (14.5, 16.5, 13.5)), "here", (1.0, 1.0, 1.0))
    crop = cropped(volume, Box((14.5, 16.5, 13.5), (12.0, 16.0, 10.0)), "x")
    assert part.seen.geometry == crop.seen.geometry
    np.testing.assert_allclose(part.seen.voxels, crop.seen.voxels, atol=1e-3)
    assert part.inside.sum() == crop.seen.voxels.size


def test_a_turned_region_holds_the_voxels_of_the_turned_box():
    """Counted one by one; and the labels outside of it are dropped, those on its rim called cut off."""
    volume = blob_volume(np.diag([1.0, 0.8, 1.3, 1.0]), (40, 50, 30))
    turn, centre, size = rotation(25, 10, -15), np.array([19.0, 20, 18]), np.array([12.0, 16, 10])
    part = upright(volume, placed(turn, centre), "here", (1.0, 1.0, 1.0))
    wanted = np.zeros(volume.geometry.shape_ijk, bool)
    for ijk in itertools.product(*map(range, volume.geometry.shape_ijk)):
        local = turn.T @ (volume.geometry.ijk_to_ras_mm(np.array(ijk)) - centre)
        wanted[ijk] = (np.abs(local) <= size / 2).all()
    ours = np.zeros_like(wanted)
    ours[tuple(slice(s, s + n) for s, n in zip(part.start, part.inside.shape, strict=True))] = part.inside
    np.testing.assert_array_equal(ours, wanted)
    assert (part.kept(np.ones(part.inside.shape, np.uint8)) == part.inside).all()
    np.testing.assert_allclose(part.seen.geometry.affine_ras[:3, :3], turn)
