import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from medseg.domain.errors import GridError
from medseg.postprocess.components import keep_largest, remove_islands

label_maps = st.sampled_from([np.uint8, np.uint16]).flatmap(
    lambda dtype: arrays(
        dtype,
        array_shapes(min_dims=2, max_dims=3, max_side=7),
        elements=st.sampled_from([0, 0, 1, 2, np.iinfo(dtype).max]),
    )
)


def component_sizes(labels, value):
    """By SciPy, as the other opinion: sizes of the components of one label, corners connecting."""
    numbers, _ = ndimage.label(labels == value, np.ones((3,) * labels.ndim))
    return np.bincount(numbers.ravel())[1:], numbers


def test_a_case_worked_by_hand():
    labels = np.array([[1, 0, 0, 2, 2], [0, 1, 0, 0, 2], [0, 0, 0, 0, 0], [2, 0, 1, 0, 0]], np.uint8)
    expected = np.array([[0, 0, 0, 2, 2], [0, 0, 0, 0, 2], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], np.uint8)
    np.testing.assert_array_equal(remove_islands(labels, 3), expected)
    expected[0, 0] = expected[1, 1] = 1  # connected by a corner
    np.testing.assert_array_equal(remove_islands(labels, 2), expected)
    np.testing.assert_array_equal(keep_largest(labels), expected)


def test_touching_labels_are_counted_each_by_itself():
    labels = np.array([[1, 2, 2, 2]], np.uint8)
    assert remove_islands(labels, 2).tolist() == [[0, 2, 2, 2]]


def test_of_equals_the_first_is_kept():
    assert keep_largest(np.array([[5, 0, 5, 0, 5]], np.uint8)).tolist() == [[5, 0, 0, 0, 0]]


@pytest.mark.parametrize("wrong", [np.zeros(4, np.uint8), np.zeros((2, 2), np.int64), np.zeros((2, 2), bool)])
def test_other_axes_and_types_are_refused(wrong):
    with pytest.raises(GridError, match="uint8 or uint16"):
        remove_islands(wrong, 2)


@settings(max_examples=40)
@given(label_maps, st.integers(0, 6))
def test_islands_agree_with_scipy(labels, min_voxels):
    before = labels.copy()
    kept = remove_islands(labels, min_voxels)
    np.testing.assert_array_equal(labels, before)
    assert kept.dtype == labels.dtype
    for value in np.unique(labels[labels > 0]):
        sizes, numbers = component_sizes(labels, value)
        large = np.isin(numbers, 1 + np.flatnonzero(sizes >= min_voxels))
        np.testing.assert_array_equal(kept == value, large)
    np.testing.assert_array_equal(remove_islands(kept, min_voxels), kept)


@settings(max_examples=40)
@given(label_maps)
def test_the_largest_agrees_with_scipy(labels):
    kept = keep_largest(labels)
    for value in np.unique(labels[labels > 0]):
        sizes, numbers = component_sizes(labels, value)
        np.testing.assert_array_equal(kept == value, numbers == 1 + np.argmax(sizes))


def test_the_result_owns_its_memory():
    """Once it was read from an image that SimpleITK had already freed: some voxels were noise."""
    labels = (np.random.default_rng(0).random((60, 50, 40)) < 0.05).astype(np.uint8)
    sizes, _ = component_sizes(labels, 1)
    assert np.count_nonzero(remove_islands(labels, 5)) == sizes[sizes >= 5].sum()
