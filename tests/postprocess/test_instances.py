import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.measure import label

from medseg.domain.errors import GridError, ValueRangeError
from medseg.metrics.instances import average_precision
from medseg.postprocess.instances import boundary_classes, instances_from_boundary, renumber

SETTINGS = {"marker_threshold": 0.0, "foreground_threshold": 0.5, "min_voxels": 1}


def probabilities(classes):
    """(3, *S), certain of the classes (*S)."""
    return np.moveaxis(np.eye(3, dtype=np.float32)[classes], -1, 0)


def instances(classes, **changed):
    return instances_from_boundary(probabilities(classes), **(SETTINGS | changed))


def touching_discs(radius, across=6):
    """A square grid of discs, each of which touches its neighbours; some overlap, where the later gives way."""
    rng = np.random.default_rng(radius)
    size = 2 * radius * across + 4
    found = np.zeros((size, size), np.uint16)
    x, y = np.indices(found.shape)
    for number, place in enumerate(np.ndindex(across, across), start=1):
        cx, cy = 2 * radius * np.array(place) + radius + 2 + rng.integers(-1, 2, 2)
        found[(found == 0) & ((x - cx) ** 2 + (y - cy) ** 2 <= radius**2)] = number
    return found


@pytest.mark.parametrize(("radius", "threshold"), [(4, 0.7), (6, 0.9), (9, 0.9), (14, 0.9)])
def test_touching_discs_survive_the_round_trip(radius, threshold):
    """A pixel's breadth of doubt along a contact is a lot for a disc of nine."""
    truth = touching_discs(radius)
    assert label(truth > 0).max() < truth.max()  # some do touch
    assert average_precision(instances(boundary_classes(truth)), truth, threshold) == 1


@pytest.mark.parametrize("radius", [6, 9])
def test_touching_discs_survive_blur(radius):
    truth = touching_discs(radius)
    blurred = ndimage.gaussian_filter(probabilities(boundary_classes(truth)), (0, 1, 1))
    assert average_precision(instances_from_boundary(blurred, **SETTINGS), truth, 0.8) == 1


def test_touching_balls_survive_the_round_trip():
    truth = np.zeros((20, 40, 20), np.uint16)
    i, j, k = np.indices(truth.shape)
    truth[(i - 10) ** 2 + (j - 11) ** 2 + (k - 10) ** 2 <= 64] = 1
    truth[(truth == 0) & ((i - 10) ** 2 + (j - 26) ** 2 + (k - 10) ** 2 <= 64)] = 2
    assert average_precision(instances(boundary_classes(truth)), truth, 0.9) == 1


def test_the_boundary_is_two_wide_on_either_side_of_a_contact():
    truth = np.repeat([[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0, 0]], 3, axis=0)
    assert boundary_classes(truth)[1].tolist() == [1, 1, 1, 1, 2, 2, 2, 2, 1, 2, 2, 0, 0]


def test_the_edge_of_the_image_is_no_boundary():
    assert (boundary_classes(np.ones((5, 5), int)) == 1).all()


def test_a_small_thing_has_a_thin_boundary_and_a_tiny_one_keeps_its_middle():
    small, tiny = np.zeros((2, 7, 7), int)
    small[1:5, 1:5], tiny[2:4, 2:4] = 1, 1
    assert boundary_classes(small)[2].tolist() == [0, 2, 1, 1, 2, 0, 0]
    assert (boundary_classes(tiny) == 1).sum() == 1
    assert (boundary_classes(tiny) == 2).sum() == 3


def test_a_neck_does_not_tear_an_instance_in_two():
    truth = np.zeros((12, 30), int)
    truth[2:10, 2:12] = truth[2:10, 16:28] = truth[4:8, 12:16] = 1  # the neck is 4 wide
    classes = boundary_classes(truth)
    assert label(classes == 1, connectivity=1).max() == 1
    np.testing.assert_array_equal(instances(classes), truth)


def test_foreground_without_a_seed_is_an_instance():
    classes = np.zeros((9, 12), int)
    classes[1:8, 1:6], classes[3:6, 3:4], classes[3:5, 8:10] = 2, 1, 2
    found = instances(classes)
    assert np.unique(found).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found > 0, classes > 0)


def test_small_instances_are_dropped_and_the_rest_numbered_in_order():
    classes = np.zeros((10, 10), int)
    classes[0, 0], classes[2:4, 6:9], classes[6:9, 1:4] = 1, 1, 1
    assert [np.bincount(instances(classes, min_voxels=n).ravel())[1:].tolist() for n in (1, 2, 7, 10)] == [
        [1, 6, 9],
        [6, 9],
        [9],
        [],
    ]


def test_no_foreground_gives_no_instances():
    assert not instances(np.zeros((6, 5), int)).any()
    assert not boundary_classes(np.zeros((6, 5), np.uint16)).any()


@pytest.mark.parametrize("shape", [(2, 8, 8), (3, 8), (1, 3, 8, 8, 8)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(GridError, match="three classes"):
        instances_from_boundary(np.zeros(shape, np.float32), **SETTINGS)


def test_nan_is_refused():
    damaged = np.zeros((3, 8, 8), np.float32)
    damaged[1, 2, 3] = np.nan
    with pytest.raises(ValueRangeError, match="NaN"):
        instances_from_boundary(damaged, **SETTINGS)


def test_more_than_65535_instances_are_refused_and_65535_are_not():
    classes = np.zeros((512, 514), int)
    classes[::2, ::2] = 1  # 256 * 257 dots
    with pytest.raises(ValueRangeError, match="65792 instances"):
        instances(classes)
    classes.flat[np.flatnonzero(classes)[65535:]] = 0
    assert instances(classes).max() == 65535


maps = arrays(np.uint16, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 0, 3, 7]))


@settings(max_examples=80)
@given(maps)
def test_laws_of_the_three_classes(truth):
    classes = boundary_classes(truth)
    np.testing.assert_array_equal(classes > 0, truth > 0)
    pieces = label(truth, background=0, connectivity=2)
    for number in range(1, pieces.max() + 1):
        assert label((classes == 1) & (pieces == number), connectivity=1).max() == 1
    np.testing.assert_array_equal(boundary_classes(np.where(truth, 10 - truth, 0)), classes)
    np.testing.assert_array_equal(instances(classes) > 0, truth > 0)


@settings(max_examples=80)
@given(arrays(np.float32, (3, 9, 8), elements=st.floats(0, 1, width=32)), st.integers(0, 5))
def test_laws_of_instances(logits, min_voxels):
    shares = logits / np.maximum(logits.sum(0), 1e-6)
    found = instances_from_boundary(shares, **(SETTINGS | {"min_voxels": min_voxels}))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, renumber(found))
    sizes = np.bincount(found.ravel())[1:]
    assert (sizes >= max(min_voxels, 1)).all()
    for number in range(1, len(sizes) + 1):
        assert label(found == number, connectivity=2).max() == 1
    if min_voxels <= 1:
        np.testing.assert_array_equal(found > 0, shares[1] + shares[2] > 0.5)


@given(maps)
def test_renumbering_keeps_the_instances_apart(truth):
    numbered = renumber(truth)
    assert len({*zip(truth.ravel(), numbered.ravel(), strict=True)}) == len(np.unique(truth))
    assert list(dict.fromkeys(numbered[numbered > 0])) == list(range(1, numbered.max() + 1))
    np.testing.assert_array_equal(numbered == 0, truth == 0)
