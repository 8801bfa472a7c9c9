"""Random images, windows and networks for the laws of sliding windows."""

import weakref

import torch
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference
from torch.utils._python_dispatch import TorchDispatchMode

from medseg.windows import WindowSpec

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
def specs(draw, placements=("monai",)):
    dims = draw(st.sampled_from([2, 3]))
    window = draw(st.tuples(*[st.integers(2, 6)] * dims))
    placement = draw(st.sampled_from(placements))
    return WindowSpec(window, draw(OVERLAPS), draw(WEIGHTINGS), draw(st.integers(1, 5)), placement)


@st.composite
def images(draw, spec):
    """Noise, in which a part is all of one value, so that some windows are constant."""
    shape = draw(st.tuples(*[st.integers(1, 13)] * len(spec.size)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    image = torch.randn(draw(st.integers(1, 3)), *shape, generator=generator)
    image[:, draw(st.integers(0, shape[0])) :] = draw(st.sampled_from([-1.0, 0.0]))
    return image


@st.composite
def cases(draw, placements=("monai",)):
    spec = draw(specs(placements))
    return draw(images(spec)), spec, draw(st.integers(1, 4))


def by_monai(network, image, spec):
    return sliding_window_inference(
        image[None], spec.size, spec.batch, network, spec.overlap, mode=spec.weighting, padding_mode="constant"
    )[0]


class LargestResult(TorchDispatchMode):
    """The most elements that any operation inside brought forth in memory of its own, and the sum of all of them."""

    def __init__(self, known):
        super().__init__()
        self.known, self.elements = {known.untyped_storage().data_ptr()}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in self.known:
                self.elements = max(self.elements, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


class LiveBytes(TorchDispatchMode):
    """The most bytes of tensors that were alive at once, beside those known before."""

    def __init__(self, *known):
        super().__init__()
        self.known = {tensor.untyped_storage()._cdata for tensor in known}
        self.alive, self.now, self.most = {}, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self._see(tensor.untyped_storage())
        return result

    def _see(self, storage):
        key = storage._cdata
        if key in self.known or key in self.alive:
            return
        self.alive[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, key)

    def _gone(self, key):
        self.now -= self.alive.pop(key, 0)
