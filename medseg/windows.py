"""Sliding windows as a stream of finished slabs: memory for one window's depth, not for the scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from medseg.domain.errors import UsageError

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class WindowSpec:
    """Where windows lie and how they blend; placement, padding and weights are those of MONAI's sliding windows.

    size:      voxels of a window along each axis; a smaller image is zero-padded on both sides.
    overlap:   share of a window that the next one covers again, 0 <= overlap < 1.
    weighting: "constant", or "gaussian" with a standard deviation of an eighth of the window.
    batch:     windows to a pass of the network.
    """

    size: tuple[int, ...]
    overlap: float = 0.5
    weighting: Literal["constant", "gaussian"] = "gaussian"
    batch: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise UsageError(f"window overlap is {self.overlap}; it must be at least 0 and below 1")
        if min(self.size) < 1 or self.batch < 1:
            raise UsageError(f"windows have positive sizes and batches, not {self.size} and {self.batch}")


@dataclass(frozen=True)
class Slab:
    """Finished logits (C, *S) of the planes start..stop along the streaming axis of the image."""

    start: int
    stop: int
    axis: int
    logits: Tensor


def stream(
    network: Network, image: Tensor, spec: WindowSpec, on_window: Callable[[int], None] | None = None
) -> Iterator[Slab]:
    """The blended logits of an image (C, *S), as slabs along its longest axis, in order and without gaps.

    Planes are handed on as soon as no later window touches them; only the overlap is carried on.
    network:   (B, C, *size) -> (B, K, *size), without gradients.
    on_window: told the number of windows that each pass finished.
    """
    dims = image.ndim - 1
    if len(spec.size) != dims:
        raise UsageError(f"windows of {len(spec.size)} axes on an image of {dims}")
    before = [max(w - n, 0) // 2 for w, n in zip(spec.size, image.shape[1:], strict=True)]
    padded = _pad(image, before, spec.size)
    axis = max(range(dims), key=lambda a: padded.shape[1 + a])
    starts = [window_starts(n, w, spec.overlap) for n, w in zip(padded.shape[1:], spec.size, strict=True)]
    across = list(product(*(starts[a] for a in range(dims) if a != axis)))
    weight = window_weight(spec).to(image.device)
    inside = [slice(b, b + n) for b, n in zip(before, image.shape[1:], strict=True)]

    depth = list(padded.shape[1:])
    depth[axis] = spec.size[axis]
    weights = torch.zeros(1, *depth, device=image.device)
    carry: Tensor | None = None
    for first, then in pairwise([*starts[axis], padded.shape[1 + axis]]):
        for chunk in _chunks([(*c[:axis], first, *c[axis:]) for c in across], spec.batch):
            windows = torch.stack([padded[_box(corner, spec.size)] for corner in chunk])
            with torch.inference_mode():
                logits = network(windows).float()
            if carry is None:
                carry = torch.zeros(logits.shape[1], *depth, device=image.device)
            for corner, window in zip(chunk, logits, strict=True):
                place = _box((*corner[:axis], 0, *corner[axis + 1 :]), spec.size)
                carry[place] += window * weight
                weights[place] += weight
            if on_window is not None:
                on_window(len(chunk))
        assert carry is not None
        lo, hi = max(first, before[axis]), min(then, before[axis] + image.shape[1 + axis])
        if lo < hi:
            inside[axis] = slice(lo - first, hi - first)
            box = (slice(None), *inside)
            yield Slab(lo - before[axis], hi - before[axis], axis, carry[box] / weights[box])
        carry, weights = _shift(carry, axis, then - first), _shift(weights, axis, then - first)


def collect(slabs: Iterator[Slab]) -> Tensor:
    """All slabs as one tensor (C, *S); for validation, where images are small."""
    parts = list(slabs)
    return torch.cat([slab.logits for slab in parts], dim=1 + parts[0].axis)


def window_count(shape: Sequence[int], spec: WindowSpec) -> int:
    """How many windows an image of this shape takes."""
    count = 1
    for n, w in zip(shape, spec.size, strict=True):
        count *= len(window_starts(max(n, w), w, spec.overlap))
    return count


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """First voxels of the windows along one axis; the last one is moved back to end with the image.

    >>> window_starts(100, 32, 0.25)
    [0, 24, 48, 68]
    """
    step = window if length == window else max(int(window * (1 - overlap)), 1)
    starts = [min(s, length - window) for s in range(0, max(length - window, 0) + step, step)]
    return sorted(set(starts))


def window_weight(spec: WindowSpec) -> Tensor:
    """(*size) weights of a window's voxels, at least a thousandth."""
    weight = torch.ones(1)
    for n in spec.size:
        x = torch.arange(n, dtype=torch.float32) - (n - 1) / 2
        profile = torch.exp(-(x**2) / (2 * (n / 8) ** 2)) if spec.weighting == "gaussian" else torch.ones(n)
        weight = weight[..., None] * profile
    weight = weight[0]
    return weight.clamp(min=max(float(weight.min()), 1e-3))


def _shift(carry: Tensor, axis: int, by: int) -> Tensor:
    """Planes move down along the axis by `by`; zeros follow."""
    kept = carry.shape[1 + axis] - by
    moved = torch.zeros_like(carry)
    moved.narrow(1 + axis, 0, kept).copy_(carry.narrow(1 + axis, by, kept))
    return moved


def _pad(image: Tensor, before: Sequence[int], size: Sequence[int]) -> Tensor:
    amounts: list[int] = []
    for n, w, b in reversed(list(zip(image.shape[1:], size, before, strict=True))):
        amounts += [b, max(w - n, 0) - b]
    return F.pad(image, amounts) if any(amounts) else image


def _box(corner: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    return (slice(None), *(slice(c, c + n) for c, n in zip(corner, size, strict=True)))


def _chunks(items: list[tuple[int, ...]], n: int) -> Iterator[list[tuple[int, ...]]]:
    return (items[i : i + n] for i in range(0, len(items), n))
