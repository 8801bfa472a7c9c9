from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import dense_patch_slices
from monai.inferers.utils import _get_scan_interval

from medseg.domain.errors import UsageError
from medseg.windows import WindowSpec, collect, stream, stream_bytes, stream_many, window_count, window_starts
from medseg.windows.placement import place
from medseg.windows.stitch import slab_planes
from tests.windows.cases import LargestResult, LiveBytes, a_network, by_monai, cases, images, specs

BOTH = ("monai", "nnunet")


# Against MONAI


@settings(max_examples=60)
@given(cases())
def test_the_logits_are_those_of_monais_sliding_windows(case):
    image, spec, classes = case
    network = a_network(classes, spec.size)
    ours = collect(stream(network, image, spec))
    theirs = by_monai(network, image, spec)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert_labels_equal(ours, theirs)


def assert_labels_equal(ours, theirs):
    """Where they differ, the two largest of theirs lie within 1e-5."""
    top = theirs.topk(min(2, len(theirs)), 0).values
    differ = ours.argmax(0) != theirs.argmax(0)
    assert (top[0] - top[-1])[differ].le(1e-5).all()


@settings(max_examples=300)
@given(st.integers(1, 200), st.integers(1, 60), st.floats(0, 0.99))
def test_the_windows_start_where_monais_do(length, window, overlap):
    length = max(length, window)
    step = _get_scan_interval((length,), (window,), 1, (overlap,))
    assert window_starts(length, window, overlap) == [
        s[0].start for s in dense_patch_slices((length,), (window,), step)
    ]


# The stream


@settings(max_examples=60)
@given(cases(BOTH))
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


@settings(max_examples=40)
@given(cases(BOTH), st.integers(1, 8))
def test_the_batch_changes_nothing(case, batch):
    image, spec, classes = case
    other = replace(spec, batch=batch)
    one, many = (collect(stream(a_network(classes, s.size), image, s)) for s in (spec, other))
    torch.testing.assert_close(one, many, rtol=0, atol=0)


@settings(max_examples=40)
@given(cases(BOTH))
def test_a_constant_network_gives_that_constant(case):
    image, spec, _ = case
    answers = torch.tensor([-2.5, 0.0, 7.0])

    def network(windows):
        return answers.view(1, 3, *[1] * (windows.ndim - 2)).expand(len(windows), 3, *windows.shape[2:])

    logits = collect(stream(network, image, spec))
    torch.testing.assert_close(logits, answers.view(3, *[1] * (image.ndim - 1)).expand(logits.shape), rtol=1e-5, atol=0)


@settings(max_examples=40)
@given(cases(BOTH))
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


# Many images


@st.composite
def several(draw):
    spec = draw(specs(BOTH))
    first = draw(images(spec))
    more = [draw(images(spec)) for _ in range(draw(st.integers(0, 4)))]
    return spec, [first, *(image.mean(0, keepdim=True).expand(len(first), *image.shape[1:]) for image in more)]


@settings(max_examples=40)
@given(several(), st.integers(1, 3))
def test_many_images_at_once_give_what_each_gives_alone(case, classes):
    spec, pictures = case
    network, told = a_network(classes, spec.size), []
    by_image = {}
    for number, slab in stream_many(network, iter(pictures), spec, told.append):
        by_image.setdefault(number, []).append(slab)
    assert list(by_image) == list(range(len(pictures)))  # in order
    for number, picture in enumerate(pictures):
        assert torch.equal(collect(iter(by_image[number])), collect(stream(network, picture, spec)))
    assert sum(told) == sum(window_count(picture.shape[1:], spec) for picture in pictures)


def test_batches_are_full_across_images_and_the_next_image_is_asked_for_late():
    passes, asked = [], []

    def pictures():
        for n in range(10):
            asked.append(n)
            yield torch.randn(1, 8, 8)

    slabs = stream_many(lambda w: passes.append(len(w)) or w, pictures(), WindowSpec((8, 8), batch=4))
    for number, _ in slabs:
        assert len(asked) <= number - number % 4 + 4
    assert passes == [4, 4, 2]


# Memory


@settings(max_examples=40)
@given(cases(BOTH), st.integers(1, 3))
def test_what_is_held_is_no_more_than_was_said_before(case, length):
    image, spec, classes = case
    image = image.repeat(1, length * 4, *[1] * (image.ndim - 2))

    def network(windows):
        return windows[:, :1].expand(len(windows), classes, *spec.size).contiguous()

    with LiveBytes(image) as live:
        for slab in stream(network, image, spec):
            del slab
    said = stream_bytes(image.shape[1:], spec, classes, in_channels=len(image))
    within = len(image) * spec.batch * np.prod(spec.size) * 4  # what this network makes of a batch within itself
    assert live.most <= said + 2 * classes * within + 4096


def test_twice_the_length_takes_the_same_memory():
    spec, most = WindowSpec((8, 8, 8), 0.5, batch=2), {}
    for length in (256, 512, 4096):
        image = torch.randn(1, 12, 12, length)
        with LiveBytes(image) as live:
            for slab in stream(a_network(5, spec.size), image, spec):
                del slab
        most[length] = live.most
    assert most[256] == most[512] == most[4096] < 5 * 12 * 12 * 256 * 4
    assert stream_bytes((12, 12, 256), spec, 5) == stream_bytes((12, 12, 4096), spec, 5) >= most[256]


def test_a_plane_of_many_classes_is_cut_into_parts(monkeypatch):
    monkeypatch.setattr("medseg.windows.stitch.SLAB_BYTES", 3 * 4 * 6 * 6 * 2)
    network, image, spec = a_network(3, (4, 4, 4)), torch.randn(1, 17, 6, 6), WindowSpec((4, 4, 4))
    slabs = list(stream(network, image, spec))
    assert max(slab.stop - slab.start for slab in slabs) == 2
    monkeypatch.undo()
    assert torch.equal(collect(iter(slabs)), collect(stream(network, image, spec)))


def test_planes_that_lie_apart_in_memory_are_cut_into_thicker_parts():
    """Two planes along the last axis at a time took five times as long to be divided."""
    assert [slab_planes(105, 192 * 192, apart) for apart in (False, True)] == [2, 8]
    assert [slab_planes(25, 192 * 192, apart) for apart in (False, True)] == [9, 18]
    assert [place(shape, WindowSpec((4, 4, 4))).apart for shape in ((9, 6, 6), (6, 6, 9))] == [False, True]


# Real layers


def layers(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv3d(1, 8, 3, padding=1), torch.nn.LeakyReLU(), torch.nn.Conv3d(8, 4, 3, padding=1)
    ).eval()


def test_batches_and_threads_leave_the_labels_and_one_setting_gives_the_same_bytes():
    network, image = layers(), torch.randn(1, 24, 20, 40, generator=torch.Generator().manual_seed(1))
    image[..., 25:] = -1
    threads = torch.get_num_threads()
    first = collect(stream(network, image, WindowSpec((12, 12, 12))))
    try:
        for n in (1, 2, 3, 4):
            torch.set_num_threads(n)
            for batch in range(1, 9):
                spec = WindowSpec((12, 12, 12), batch=batch)
                logits = collect(stream(network, image, spec))
                assert_labels_equal(logits, first)
                if batch % 4 == 1:
                    assert torch.equal(logits, collect(stream(network, image, spec)))
    finally:
        torch.set_num_threads(threads)
    assert_labels_equal(first, by_monai(network, image, WindowSpec((12, 12, 12))).detach())


def test_a_head_of_blended_features_gives_the_blended_logits():
    body, head = layers(), torch.nn.Conv3d(4, 40, 1).eval()
    image = torch.randn(1, 9, 14, 21, generator=torch.Generator().manual_seed(2))
    for spec in (WindowSpec((8, 8, 8)), WindowSpec((8, 16, 8), 0.25, "constant", 3, "nnunet")):
        logits = collect(stream(lambda windows: head(body(windows)), image, spec))
        features = collect(stream(body, image, spec, head=head))
        torch.testing.assert_close(features, logits, rtol=1e-4, atol=1e-5)
        assert_labels_equal(features, logits)
        features += 1  # whoever takes it may compute on, also in place


def test_windows_travel_to_the_device_of_the_network_and_the_image_stays():
    seen = []
    image = torch.randn(1, 9, 9)
    slabs = stream(lambda w: seen.append(w.device) or w.clone(), image, WindowSpec((4, 4)), device=torch.device("cpu"))
    torch.testing.assert_close(collect(slabs), image)
    assert set(map(str, seen)) == {"cpu"}


# nnU-Net's placement


@settings(max_examples=300)
@given(st.integers(1, 200), st.integers(1, 60), st.floats(0, 0.99))
def test_the_windows_of_nnunet_are_spread_evenly(length, window, overlap):
    """As published: at most (1 - overlap) windows apart, as few as that allows, rounded to voxels, half to even."""
    length = max(length, window)
    most = window * (1 - overlap)
    count = int(np.ceil((length - window) / most)) + 1
    places = np.linspace(0, length - window, count) if count > 1 else np.zeros(1)
    near_half = np.abs(places - np.floor(places) - 0.5) < 1e-6
    starts = window_starts(length, window, overlap, "nnunet")
    assert starts[0] == 0
    assert starts[-1] == length - window
    if not near_half.any():
        assert starts == sorted(set(np.round(places).astype(int).tolist()))


def test_the_starts_that_nnunets_documentation_works_out():
    assert window_starts(110, 64, 0.5, "nnunet") == [0, 23, 46]


# Refusals


@pytest.mark.parametrize(("word", "value"), [("placement", "centred"), ("weighting", "linear")])
def test_unknown_words_are_refused(word, value):
    with pytest.raises(UsageError, match=f"window {word} '{value}' is not one of"):
        WindowSpec((8, 8), **{word: value})


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
