from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import dense_patch_slices
from monai.inferers import sliding_window_inference
from monai.inferers.utils import _get_scan_interval
from torch.utils._python_dispatch import TorchDispatchMode

from medseg.domain.errors import UsageError
from medseg.windows import WindowSpec, collect, stream, window_count, window_starts, window_weight

WEIGHTINGS = st.sampled_from(["constant", "gaussian"])
OVERLAPS = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.625, 0.75])


def a_network(classes, size, seed=0):
    """Logits that depend on a voxel's neighbours, all channels and its place in the window."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randn(classes, *size, generator=generator)

    def network(windows):
        mixed = windows.mean(1, keepdim=True) + windows[:, :1].roll(1, -1)
        return mixed * places[None] + windows[:, -1:].flip(-1)

    return network


@st.composite
def cases(draw):
    dims = draw(st.sampled_from([2, 3]))
    window = draw(st.tuples(*[st.integers(2, 6)] * dims))
    shape = draw(st.tuples(*[st.integers(1, 13)] * dims))
    spec = WindowSpec(window, draw(OVERLAPS), draw(WEIGHTINGS), draw(st.integers(1, 5)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    return torch.randn(draw(st.integers(1, 3)), *shape, generator=generator), spec, draw(st.integers(1, 4))


# Against MONAI


@settings(max_examples=60, deadline=None)
@given(cases())
def test_the_logits_are_those_of_monais_sliding_windows(case):
    image, spec, classes = case
    network = a_network(classes, spec.size)
    ours = collect(stream(network, image, spec))
    theirs = sliding_window_inference(
        image[None], spec.size, spec.batch, network, spec.overlap, mode=spec.weighting, padding_mode="constant"
    )[0]
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    top = theirs.topk(min(2, classes), 0).values
    clear = (top[0] - top[-1] > 1e-3) if classes > 1 else torch.ones(top.shape[1:], dtype=torch.bool)
    assert torch.equal(ours.argmax(0)[clear], theirs.argmax(0)[clear])


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 200), st.integers(1, 60), st.floats(0, 0.99))
def test_the_windows_start_where_monais_do(length, window, overlap):
    length = max(length, window)
    step = _get_scan_interval((length,), (window,), 1, (overlap,))
    assert window_starts(length, window, overlap) == [
        s[0].start for s in dense_patch_slices((length,), (window,), step)
    ]


# The stream


@settings(max_examples=60, deadline=None)
@given(cases())
def test_slabs_come_in_order_without_gaps_and_cover_the_image(case):
    image, spec, classes = case
    slabs = list(stream(a_network(classes, spec.size), image, spec))
    shape = image.shape[1:]
    assert len({slab.axis for slab in slabs}) == 1
    axis = slabs[0].axis
    assert slabs[0].start == 0
    assert slabs[-1].stop == shape[axis]
    assert all(before.stop == after.start for before, after in pairwise(slabs))
    for slab in slabs:
        assert 0 < slab.stop - slab.start <= spec.size[axis]
        expected = list(shape)
        expected[axis] = slab.stop - slab.start
        assert slab.logits.shape == (classes, *expected)


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(1, 8))
def test_the_batch_changes_nothing(case, batch):
    image, spec, classes = case
    other = WindowSpec(spec.size, spec.overlap, spec.weighting, batch)
    one, many = (collect(stream(a_network(classes, s.size), image, s)) for s in (spec, other))
    torch.testing.assert_close(one, many, rtol=0, atol=0)


@settings(max_examples=40, deadline=None)
@given(cases())
def test_a_constant_network_gives_that_constant(case):
    image, spec, _ = case
    answers = torch.tensor([-2.5, 0.0, 7.0])

    def network(windows):
        return answers.view(1, 3, *[1] * (windows.ndim - 2)).expand(len(windows), 3, *windows.shape[2:])

    logits = collect(stream(network, image, spec))
    torch.testing.assert_close(logits, answers.view(3, *[1] * (image.ndim - 1)).expand(logits.shape), rtol=1e-5, atol=0)


@settings(max_examples=40, deadline=None)
@given(cases())
def test_every_window_is_counted_once(case):
    image, spec, classes = case
    told = []
    collect(stream(a_network(classes, spec.size), image, spec, told.append))
    assert sum(told) == window_count(image.shape[1:], spec)
    assert all(1 <= n <= spec.batch for n in told)


def test_a_slab_is_handed_on_before_the_next_windows_are_computed():
    """Ten planes of windows of 8 at half overlap start at 0, 4, ..., 36: after the n-th, n * 4 voxels are final."""
    passes = []
    slabs = stream(
        lambda windows: passes.append(len(windows)) or windows, torch.randn(1, 44, 8), WindowSpec((8, 8), 0.5)
    )
    finished = [(sum(passes), slab.stop) for slab in slabs]
    assert finished == [(n, 4 * n) for n in range(1, 10)] + [(10, 44)]


class LargestResult(TorchDispatchMode):
    """The most elements that any operation inside brought forth in memory of its own."""

    def __init__(self, known):
        super().__init__()
        self.known, self.elements = {known.untyped_storage().data_ptr()}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in self.known:
                self.elements = max(self.elements, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


@pytest.mark.parametrize("length", [64, 1024])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_memory_grows_with_the_window_not_with_the_scan(length, axis):
    size, classes = [6, 6, 6], 5
    shape = [9, 9, 9]
    shape[axis] = length
    image = torch.randn(1, *shape)
    network = a_network(classes, size)
    carry = classes * 6 * 9 * 9  # a window's depth along the streaming axis, the whole image across it
    with LargestResult(image) as largest:
        for slab in stream(network, image, WindowSpec(tuple(size), 0.5)):
            del slab
    assert largest.elements <= carry


def test_a_window_as_large_as_the_image_is_one_pass():
    network = a_network(2, (5, 7))
    image = torch.randn(1, 5, 7)
    torch.testing.assert_close(collect(stream(network, image, WindowSpec((5, 7)))), network(image[None])[0])


def test_the_image_is_left_alone_and_the_network_runs_without_gradients():
    image = torch.randn(1, 9, 9)
    before, layer = image.clone(), torch.nn.Conv2d(1, 2, 3, padding=1)
    logits = collect(stream(layer, image, WindowSpec((4, 4))))
    assert torch.equal(image, before)
    assert not logits.requires_grad
    assert not logits.is_inference()  # whoever takes it may compute on, also in place


def test_weights_of_a_gaussian_window_by_hand():
    """Four voxels lie 1.5 and 0.5 from the middle; the deviation is half a voxel: exp(-4.5) and exp(-0.5)."""
    outer, inner = torch.tensor(-4.5).exp().item(), torch.tensor(-0.5).exp().item()
    assert window_weight(WindowSpec((4,))).tolist() == pytest.approx([outer, inner, inner, outer])
    assert window_weight(WindowSpec((40, 40, 40))).min().item() == pytest.approx(1e-3)
    assert window_weight(WindowSpec((4, 3), weighting="constant")).tolist() == [[1.0] * 3] * 4


# Refusals


@pytest.mark.parametrize("overlap", [-0.1, 1.0, 1.5, float("nan")])
def test_an_overlap_that_is_none_is_refused(overlap):
    with pytest.raises(UsageError, match="at least 0 and below 1"):
        WindowSpec((8, 8), overlap)
    assert WindowSpec((8, 8), 0.99).overlap == 0.99


@pytest.mark.parametrize(("size", "batch"), [((8, 0), 1), ((-1, 8), 1), ((8, 8), 0)])
def test_windows_of_no_size_or_batch_are_refused(size, batch):
    with pytest.raises(UsageError, match="positive"):
        WindowSpec(size, batch=batch)
    assert WindowSpec((1, 1), batch=1).batch == 1


@pytest.mark.parametrize(("size", "shape"), [((8, 8), (1, 9, 9, 9)), ((8, 8, 8), (1, 9, 9))])
def test_windows_of_other_axes_than_the_image_are_refused(size, shape):
    with pytest.raises(UsageError, match=f"windows of {len(size)} axes on an image of {len(shape) - 1}"):
        next(stream(lambda windows: windows, torch.zeros(shape), WindowSpec(size)))
