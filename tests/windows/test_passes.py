import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.domain.errors import ResourceError
from medseg.windows import WindowSpec, collect, stream, window_count
from medseg.windows.passes import constant_value
from tests.windows.cases import a_network, cases

ERRORS = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    MemoryError(),
]


class Small:
    """A network that runs out of memory at more windows than `fits`, or at its nth pass."""

    def __init__(self, network, fits=99, nth=-1, error=ERRORS[0]):
        self.network, self.fits, self.nth, self.error, self.sizes = network, fits, nth, error, []

    def __call__(self, windows):
        self.sizes.append(len(windows))
        if len(windows) > self.fits or len(self.sizes) == self.nth:
            raise self.error
        return self.network(windows)


# Out of memory


@settings(max_examples=60)
@given(cases(), st.integers(1, 4), st.sampled_from(ERRORS))
def test_where_memory_ends_smaller_batches_give_the_same_and_nothing_is_counted_twice(case, fits, error):
    image, spec, classes = case
    network, told = a_network(classes, spec.size), []
    logits = collect(stream(Small(network, fits, error=error), image, spec, told.append))
    assert torch.equal(logits, collect(stream(network, image, spec)))
    assert sum(told) == window_count(image.shape[1:], spec)


@pytest.mark.parametrize("nth", [1, 2, 3, 5])
def test_the_failed_windows_are_tried_again_and_no_others(nth):
    """Two rows of eight windows, four at a time; from the failure on two at a time."""
    image, spec = torch.randn(1, 20, 12, 12), WindowSpec((8, 8, 8), batch=4)
    rows, across = 4, 4
    small = Small(a_network(2, spec.size), nth=nth)
    logits = collect(stream(small, image, spec))
    assert torch.equal(logits, collect(stream(a_network(2, spec.size), image, spec)))
    before = min(nth - 1, rows)
    after = (rows - before) * across // 2
    assert small.sizes == ([4] * before + [4] + [2] * after if nth <= rows else [4] * rows)


def test_where_one_window_does_not_fit_the_refusal_has_the_numbers():
    small = Small(a_network(2, (8, 8)), fits=0, error=ERRORS[1])
    words = r"one window of 8 x 8 voxels and 3 channels.*GiB free.*larger machine"
    with pytest.raises(ResourceError, match=words) as refusal:
        list(stream(small, torch.randn(3, 20, 20), WindowSpec((8, 8), batch=8)))
    assert refusal.value.exit_code == 6
    assert small.sizes == [4, 2, 1]


def test_other_errors_pass_and_are_not_tried_again():
    small = Small(a_network(2, (8, 8)), fits=0, error=RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        list(stream(small, torch.randn(1, 20, 20), WindowSpec((8, 8), batch=8)))
    assert small.sizes == [4]


# Constant windows


def test_windows_of_one_value_are_computed_once_for_each_value_and_give_the_same_bytes():
    torch.manual_seed(0)
    layer, batches = torch.nn.Conv2d(2, 3, 3, padding=1), []

    def network(windows):
        batches.append(windows.clone())
        return layer(windows)

    image = torch.randn(2, 8, 64)
    image[0, :, 16:], image[1, :, 16:40], image[1, :, 40:] = -1.0, 0.5, 2.0
    spec = WindowSpec((8, 8), 0.0, "constant", batch=4)
    logits = collect(stream(network, image, spec))
    alone = [batch for batch in batches if constant_value(batch[0]) is not None]
    assert [len(batch) for batch in alone] == [1, 1]  # of six
    assert sum(map(len, batches)) == 4
    for start in range(16, 64, 8):
        window = image[None, :, :, start : start + 8]
        with torch.inference_mode():
            assert torch.equal(logits[:, :, start : start + 8], layer(window)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int16, torch.uint8, torch.float64])
def test_a_window_is_constant_if_every_bit_of_a_channel_is(dtype):
    window = torch.ones(2, 5, 6, 7, dtype=dtype)
    window[1] = 3
    value = constant_value(window[:, 1:, :, 1:])
    assert value is not None
    assert value != constant_value(torch.ones_like(window))
    for place in ((0, 0, 0, 0), (1, 4, 5, 6), (1, 2, 3, 3), (0, 3, 1, 2)):
        other = window.clone()
        other[place] = 7
        assert constant_value(other) is None


def test_two_zeros_are_two_values():
    window = torch.zeros(1, 4, 4)
    assert constant_value(window) != constant_value(-window)
    window[0, 1, 2] = -0.0
    assert constant_value(window) is None


def test_answers_to_constant_windows_are_kept_within_bounds(monkeypatch):
    monkeypatch.setattr("medseg.windows.passes.KEPT_BYTES", 3 * 64 * 4 - 1)  # two answers and a bit
    seen = []
    image = torch.arange(5.0).repeat_interleave(8).repeat(8, 1)[None]
    image = torch.cat([image, image], 2)  # values 0..4, then again
    logits = collect(stream(lambda w: seen.append(len(w)) or w.clone(), image, WindowSpec((8, 8), 0.0)))
    torch.testing.assert_close(logits, image)
    assert len(seen) == 10
    again = image[:, :, :16].repeat(1, 1, 3)  # 0, 1, 0, 1, ...
    collect(stream(lambda w: seen.append(len(w)) or w.clone(), again, WindowSpec((8, 8), 0.0)))
    assert len(seen) == 12
