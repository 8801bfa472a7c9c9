"""The probabilities of all labels: they sum to one, and the largest is the mask's label."""

import numpy as np
import pytest

from medseg.domain.errors import UsageError
from medseg.inference.region import Box
from medseg.inference.segment import segment
from tests.bundles import blob_volume, cells_bundle, grey_bundle, random_model, volume_bundle
from tests.phantoms import oblique
from tests.turning import TURNS, turned_volume

BOXES = (Box((8.0, 8.0, 6.0), (10.0, 10.0, 9.0)), Box((12.0, 10.0, 8.0), (10.0, 8.0, 9.0)))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model(volume_bundle(), tmp_path_factory.mktemp("model") / "b", seed=2)


def told(volume, model, boxes=()):
    """The segmentation, and the maps (K, *S) that the blocks make."""
    maps = np.zeros((1 + len(model.bundle.labels), *volume.geometry.shape_ijk), np.float32)
    maps[0] = 1

    def put(place, values, inside):
        assert values.dtype == np.float32
        np.copyto(maps[(slice(None), *place)], values, where=True if inside is None else inside)

    return segment(volume, model, boxes, on_probabilities=put), maps


def assert_fit(result, maps, model):
    assert np.abs(maps.sum(0) - 1).max() < 1e-5
    classes = np.searchsorted([0, *model.bundle.labels.values], result.label_map.voxels)
    chosen = np.take_along_axis(maps, classes[None], 0)[0]
    assert (maps.max(0) - chosen).max() < 1e-6  # a tie, but for rounding
    assert result.report.settings["probabilities"] == model.bundle.probability_channels()


@pytest.mark.parametrize("letters", ["RAS", "LPS", "SAR", "PIL"])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (8, 5, -6)])
def test_they_sum_to_one_and_the_largest_is_the_masks(model, letters, degrees):
    volume = turned_volume(blob_volume(oblique(np.diag([0.8, 1.2, 2.0, 1.0]), degrees), (14, 12, 9)), *TURNS[letters])
    result, maps = told(volume, model)
    assert_fit(result, maps, model)
    assert (result.label_map.voxels == segment(volume, model).label_map.voxels).all()


def test_of_regions_that_overlap_they_are_the_masks_too(model):
    volume = blob_volume(np.eye(4), (20, 18, 14))
    result, maps = told(volume, model, BOXES)
    assert_fit(result, maps, model)
    assert maps[0, -1, -1, -1] == 1


def test_slice_by_slice_they_lie_where_the_mask_lies(tmp_path):
    model = random_model(grey_bundle(), tmp_path / "b", seed=2)
    for letters in ("RAS", "LPS", "ASR", "IRP"):
        volume = turned_volume(blob_volume(np.diag([1.0, 1.0, 2.0, 1.0]), (17, 13, 4)), *TURNS[letters])
        result, maps = told(volume, model)
        assert_fit(result, maps, model)
        assert (maps[0] < 1).any()


def test_where_things_are_numbered_there_are_none(tmp_path):
    model = random_model(cells_bundle(), tmp_path / "b", seed=2)
    with pytest.raises(UsageError, match=r"--probabilities: bundle .* numbers things"):
        told(blob_volume(np.eye(4), (9, 9, 9)), model)
