"""Logits on the network's grid become labels on the source's: the same as interpolating every class and deciding."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates, zoom

from medseg.domain.geometry import Geometry
from medseg.inference.decisions import named_largest, thresholds
from medseg.inference.grids import find_parallel
from medseg.inference.resample import labels_on_source
from medseg.windows import Slab
from tests.phantoms import oblique
from tests.turning import TURNS, turned_array, turned_grid


def random_logits(*shape, classes=4, seed=0):
    return torch.randn(classes, *shape, generator=torch.Generator().manual_seed(seed))


def slabs(logits, axis=None, cuts=()):
    """The logits as slabs along the axis, cut before the given planes."""
    axis = int(np.argmax(logits.shape[1:])) if axis is None else axis
    ends = [0, *sorted(set(cuts)), logits.shape[1 + axis]]
    return [Slab(a, b, axis, logits.narrow(1 + axis, a, b - a)) for a, b in pairwise(ends) if a < b]


def by_scipy(logits, grid, source):
    """Labels and the margin by which they win, each class interpolated by scipy in float64."""
    dims = source.spatial_dims
    matrix = np.linalg.inv(grid.affine_ras) @ source.affine_ras
    ijk = np.indices(source.shape_ijk).reshape(dims, -1)
    places = np.round(matrix[:dims, :dims] @ ijk + matrix[:dims, 3:], 9)
    values = np.stack([map_coordinates(c, places, order=1, mode="nearest") for c in logits.double().numpy()])
    highest = np.sort(values, axis=0)
    return values.argmax(0).reshape(source.shape_ijk), (highest[-1] - highest[-2]).reshape(source.shape_ijk)


def assert_alike(labels, reference):
    wanted, margin = reference
    assert labels.dtype == np.uint8
    assert labels.shape == wanted.shape
    assert margin[labels != wanted].max(initial=0) < 1e-4  # a tie, but for rounding


@st.composite
def cut_logits(draw, dims):
    """Logits, and their slabs along some axis with cuts anywhere."""
    shape = draw(st.tuples(*[st.integers(1, 7)] * dims))
    logits = random_logits(*shape, seed=draw(st.integers(0, 99)))
    axis = draw(st.integers(0, dims - 1))
    return logits, slabs(logits, axis, draw(st.lists(st.integers(0, shape[axis]), max_size=4)))


@settings(max_examples=60)
@given(st.data(), st.sampled_from((2, 3)))
def test_on_the_networks_own_grid_it_is_the_argmax(data, dims):
    logits, parts = data.draw(cut_logits(dims))
    affine = oblique(np.diag([0.7, 1.3, 2.1, 1.0]), (10, 20, 30))
    grid = Geometry(tuple(logits.shape[1:]), affine)
    assert (labels_on_source(parts, grid, grid) == logits.argmax(0).numpy()).all()


@settings(max_examples=100)
@given(st.data(), st.sampled_from((2, 3)))
def test_the_order_and_direction_of_the_sources_axes_change_nothing(data, dims):
    logits, parts = data.draw(cut_logits(dims))
    axes = data.draw(st.permutations(range(dims)))
    flips = data.draw(st.tuples(*[st.sampled_from((-1, 1))] * dims))
    grid = Geometry(tuple(logits.shape[1:]), oblique(np.diag([0.7, 1.3, 2.1, 1.0]), (3, 2, 1)))
    source = turned_grid(grid, axes, flips)
    wanted = turned_array(logits.argmax(0).numpy(), axes, flips)
    assert (labels_on_source(parts, grid, source) == wanted).all()


@pytest.mark.parametrize("letters", TURNS)
def test_all_48_orientations_of_a_volume_place_the_labels_alike(letters):
    logits = random_logits(5, 6, 7)
    grid = Geometry((5, 6, 7), np.eye(4))
    labels = labels_on_source(slabs(logits, 2, (3, 4)), grid, turned_grid(grid, *TURNS[letters]))
    assert (labels == turned_array(logits.argmax(0).numpy(), *TURNS[letters])).all()


@settings(max_examples=80)
@given(st.data(), st.sampled_from((2, 3)))
def test_another_spacing_agrees_with_scipy(data, dims):
    """Finer, coarser, turned about, and reaching out of the network's grid, where its edge goes on."""
    logits, parts = data.draw(cut_logits(dims))
    grid = Geometry(tuple(logits.shape[1:]), oblique(np.diag([1.0, 1.25, 1.5, 1.0]), (5, -4, 3)))
    steps = np.ones(3)
    steps[:dims] = data.draw(st.tuples(*[st.floats(0.3, 3)] * dims))
    shift = np.eye(4)
    shift[:dims, 3] = data.draw(st.tuples(*[st.floats(-3, 3)] * dims))
    shape = data.draw(st.tuples(*[st.integers(1, 9)] * dims))
    axes = data.draw(st.permutations(range(dims)))
    flips = data.draw(st.tuples(*[st.sampled_from((-1, 1))] * dims))
    source = turned_grid(Geometry(shape, grid.affine_ras @ shift @ np.diag([*steps, 1.0])), axes, flips)
    assert find_parallel(grid, source) is not None
    assert_alike(labels_on_source(parts, grid, source), by_scipy(logits, grid, source))


@pytest.mark.parametrize("shape", [(9, 8, 11), (16, 6, 7)])
def test_twice_as_fine_agrees_with_torch(shape):
    logits = random_logits(*shape)
    fine = [2 * n - 1 for n in shape]
    wanted = F.interpolate(logits[None], fine, mode="trilinear", align_corners=True)[0].argmax(0).numpy()
    grid = Geometry(shape, np.eye(4))
    source = Geometry(tuple(fine), np.diag([0.5, 0.5, 0.5, 1.0]))
    labels = labels_on_source(slabs(logits, cuts=(2, 3, 7)), grid, source)
    assert_alike(labels, by_scipy(logits, grid, source))
    assert (labels != wanted).mean() < 1e-3


@settings(max_examples=60)
@given(st.data())
def test_the_cuts_change_nothing(data):
    """Not even a near-tie: streamed and collected are the same arithmetic."""
    logits, parts = data.draw(cut_logits(3))
    whole = slabs(logits, parts[0].axis)
    grid = Geometry(tuple(logits.shape[1:]), np.eye(4))
    factor, shift = data.draw(st.floats(0.2, 3)), data.draw(st.floats(-2, 2))
    affine = np.diag([factor, 0.9, -1.3, 1.0])
    affine[:3, 3] = shift
    source = Geometry((9, 7, 8), affine)
    assert (labels_on_source(parts, grid, source) == labels_on_source(whole, grid, source)).all()


@settings(max_examples=30)
@given(st.tuples(*[st.floats(-90, 90)] * 3), st.tuples(*[st.floats(0.5, 2)] * 3), st.integers(0, 99))
def test_an_oblique_source_agrees_with_scipy(degrees, spacing, seed):
    logits = random_logits(6, 7, 5, seed=seed)
    grid = Geometry((6, 7, 5), np.diag([1.2, 0.8, 1.5, 1.0]))
    source = Geometry((8, 6, 9), oblique(np.diag([*spacing, 1.0]), degrees))
    assert_alike(labels_on_source(slabs(logits, cuts=(2, 4)), grid, source), by_scipy(logits, grid, source))


def test_a_sheared_source_agrees_with_scipy():
    logits = random_logits(6, 7, 5)
    grid = Geometry((6, 7, 5), np.eye(4))
    shear = np.array([[1, 0.3, 0, 0.2], [0, 0.9, 0.2, 0], [0, 0, 1.1, 0], [0, 0, 0, 1.0]])
    source = Geometry((7, 6, 5), shear)
    assert find_parallel(grid, source) is None
    assert_alike(labels_on_source(slabs(logits), grid, source), by_scipy(logits, grid, source))


def test_the_way_for_oblique_grids_ends_where_the_one_for_parallel_grids_begins():
    """A turn by a ten-thousandth of a voxel is none; one by a hundredth is, and moves the labels as little."""
    logits = random_logits(12, 10, 14)
    grid = Geometry((12, 10, 14), np.eye(4))
    base = np.diag([0.9, 1.1, 0.8, 1.0])
    for degrees, parallel in ((0.0, True), (4e-4, True), (4e-2, False)):
        source = Geometry((12, 9, 16), oblique(base, (0, 0, degrees)))
        assert (find_parallel(grid, source) is not None) is parallel
        labels = labels_on_source(slabs(logits, cuts=(5, 6)), grid, source)
        wanted, margin = by_scipy(logits, grid, source)
        assert margin[labels != wanted].max(initial=0) < (1e-2 if parallel else 1e-4)


def test_a_grid_of_one_plane_goes_on_in_both_directions():
    logits = random_logits(4, 1, 3)
    grid = Geometry((4, 1, 3), np.eye(4))
    for degrees in (0, 30):  # a parallel and an oblique source
        source = Geometry((4, 6, 3), oblique(np.diag([1.0, 0.5, 1.0, 1.0]), (0, degrees, 0)))
        assert_alike(labels_on_source(slabs(logits), grid, source), by_scipy(logits, grid, source))


# Only what must be interpolated is


def everything(parts, grid, source, dtype=torch.float32):
    """The labels by interpolating every class: of both ways that of a decision which has no shortcut."""
    return labels_on_source(parts, grid, source, lambda values: values.to(dtype).argmax(0))


def body(shape, classes, seed):
    """Logits as networks give them: confident inside, uncertain where labels meet."""
    random = np.random.default_rng(seed)
    coarse = random.normal(size=(classes, 4, 4, 4)[: 1 + len(shape)])
    smooth = [zoom(c, [n / 4 for n in shape], order=1, mode="nearest", grid_mode=True) for c in coarse]
    return torch.from_numpy(np.stack(smooth).astype(np.float32)) * 8


@st.composite
def parallel_case(draw, dims):
    """Slabs cut anywhere, their grid, and a source turned, finer or coarser, reaching out of it."""
    shape = draw(st.tuples(*[st.integers(1, 9)] * dims))
    classes, seed = draw(st.integers(2, 9)), draw(st.integers(0, 99))
    logits = draw(st.sampled_from((body(shape, classes, seed), random_logits(*shape, classes=classes, seed=seed))))
    axis = draw(st.integers(0, dims - 1))
    parts = slabs(logits, axis, draw(st.lists(st.integers(0, shape[axis]), max_size=4)))
    grid = Geometry(shape, oblique(np.diag([1.0, 1.25, 1.5, 1.0]), (5, -4, 3)))
    steps = np.ones(3)
    steps[:dims] = draw(st.tuples(*[st.sampled_from((0.3, 0.5, 2 / 3, 0.9, 1.0, 1.7, 3.0))] * dims))
    shift = np.eye(4)
    shift[:dims, 3] = draw(st.tuples(*[st.sampled_from((-3.0, -0.25, 0.0, 0.5, 2.4))] * dims))
    size = draw(st.tuples(*[st.integers(1, 12)] * dims))
    axes, flips = draw(st.permutations(range(dims))), draw(st.tuples(*[st.sampled_from((-1, 1))] * dims))
    source = turned_grid(Geometry(size, grid.affine_ras @ shift @ np.diag([*steps, 1.0])), axes, flips)
    return logits, parts, grid, source


@settings(max_examples=150)
@given(st.data(), st.sampled_from((2, 3)))
def test_the_labels_are_those_of_interpolating_every_class(data, dims):
    """To the last bit: both ways interpolate with the same arithmetic."""
    _, parts, grid, source = data.draw(parallel_case(dims))
    assert (labels_on_source(parts, grid, source) == everything(parts, grid, source)).all()


@settings(max_examples=40)
@given(st.data())
def test_in_float64_too(data):
    logits, parts, grid, source = data.draw(parallel_case(3))
    parts = slabs(logits.double(), parts[0].axis)
    assert_alike(labels_on_source(parts, grid, source), by_scipy(logits, grid, source))


@settings(max_examples=40)
@given(st.data(), st.tuples(*[st.floats(-20, 20)] * 3), st.sampled_from((0.4, 0.9, 1.6)))
def test_at_an_angle_too_and_wherever_it_is_cut(data, degrees, spacing):
    logits, parts = data.draw(cut_logits(3))
    grid = Geometry(tuple(logits.shape[1:]), np.diag([1.2, 0.8, 1.5, 1.0]))
    affine = oblique(np.diag([spacing, 1.0, -1.1, 1.0]), degrees)
    affine[:3, 3] = data.draw(st.tuples(*[st.sampled_from((-2.0, 0.0, 3.3))] * 3))
    source = Geometry((8, 6, 9), affine)
    labels = labels_on_source(parts, grid, source)
    assert (labels == everything(parts, grid, source)).all()
    assert (labels == labels_on_source(slabs(logits, parts[0].axis), grid, source)).all()
    assert_alike(labels, by_scipy(logits, grid, source))


@pytest.mark.parametrize("degrees", [0, 20])
def test_a_class_that_wins_at_no_corner_may_win_inside(degrees):
    """Between two that are first on one side and last on the other: in the middle it has 3 where they have 0."""
    logits = torch.tensor([[5.0, -5.0], [-5.0, 5.0], [3.0, 3.0]])[:, :, None, None].expand(3, 2, 2, 2).contiguous()
    grid = Geometry((2, 2, 2), np.eye(4))
    source = Geometry((5, 2, 2), oblique(np.diag([0.25, 1.0, 1.0, 1.0]), (degrees, 0, 0)))
    assert set(logits.argmax(0).unique().tolist()) == {0, 1}
    assert labels_on_source(slabs(logits), grid, source)[:, 0, 0].tolist() == [0, 2, 2, 2, 1]


def test_of_equals_the_first_wins_inside_a_cell_as_at_its_corners():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])[:, :, None].expand(3, 2, 2).contiguous()
    grid, source = Geometry((2, 2), np.eye(4)), Geometry((3, 2), np.diag([0.5, 1.0, 1.0, 1.0]))
    assert labels_on_source(slabs(logits), grid, source)[:, 0].tolist() == [0, 0, 1]


@settings(max_examples=60)
@given(st.data(), st.integers(1, 3), st.sampled_from((0, 15)))
def test_thresholds_of_channels_are_decided_alike(data, channels, degrees):
    shape = data.draw(st.tuples(*[st.integers(1, 7)] * 3))
    values = torch.sigmoid(3 * random_logits(*shape, classes=channels, seed=data.draw(st.integers(0, 99))))
    weights = torch.arange(1, channels + 1).view(-1, 1, 1, 1)

    def regions(values):
        return ((values >= 0.5) * weights).amax(0)

    grid, affine = Geometry(shape, np.eye(4)), oblique(np.diag([0.6, -1.3, 0.5, 1.0]), (0, degrees, 0))
    source = Geometry((9, 5, 8), affine)
    parts = slabs(values, cuts={n for n in (2, 3) if n < max(shape)})
    assert (labels_on_source(parts, grid, source, thresholds(0.5, channels, regions))
            == labels_on_source(parts, grid, source, regions)).all()  # fmt: skip


def test_renamed_classes_are_decided_alike():
    logits = body((7, 6, 8), 5, 3)
    grid, source = Geometry((7, 6, 8), np.eye(4)), Geometry((12, 11, 13), np.diag([0.55, 0.5, 0.6, 1.0]))

    def renamed(values):
        return torch.tensor([0, 300, 2, 2, 4])[values.argmax(0)]

    one, other = (labels_on_source(slabs(logits), grid, source, decide, np.uint16) for decide in
                  (named_largest(5, renamed), renamed))  # fmt: skip
    assert (one == other).all()
    assert one.max() == 300


@pytest.mark.parametrize("degrees", [0, 3])
def test_memory_is_for_a_slab_whatever_the_length_of_the_scan(degrees):
    """Beside the labels: a stream of slabs that nobody keeps, 3 and 9 of them."""
    peaks = []
    for count in (3, 9):
        logits = body((8, 32, 32), 60, 0)
        grid = Geometry((8 * count, 32, 32), np.eye(4))
        source = Geometry((12 * count, 48, 48), oblique(np.diag([2 / 3, 2 / 3, 2 / 3, 1.0]), (0, 0, degrees)))
        stream = (Slab(8 * n, 8 * n + 8, 0, torch.from_numpy(logits.numpy().copy())) for n in range(count))
        tracemalloc.start()
        labels = labels_on_source(stream, grid, source)
        peaks.append(tracemalloc.get_traced_memory()[1] - labels.nbytes)
        tracemalloc.stop()
    every_class = len(logits) * labels.size * 4
    assert peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < every_class / 3
