"""Windows become slabs: a ring as deep as one window holds the sums, and finished planes leave it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medseg.windows.placement import Row, WindowSpec, place
from medseg.windows.weights import WeightSums, window_weight

Head = Callable[[Tensor], Tensor]
SLAB_BYTES = 2**25  # a slab is cut into such parts, of a plane at least: what is made at once stays small


@dataclass(frozen=True)
class Slab:
    """Finished logits (C, *S) of the planes start..stop along the streaming axis of the image."""

    start: int
    stop: int
    axis: int
    logits: Tensor


class Stitch:
    """The windows of one image (C, *S) on their way to slabs.

    head: turns blended features (1, F, *S) into logits (1, K, *S), voxel by voxel; None: the windows are logits.

    The ring (F or K, *across, depth of a window) is all that lives between two rows of windows; plane p of the padded
    image lies at p modulo the depth, so nothing is ever moved.
    """

    def __init__(self, image: Tensor, spec: WindowSpec, head: Head | None = None):
        self.placement, self.spec, self.head = place(image.shape[1:], spec), spec, head
        self.axis, self.depth = self.placement.axis, spec.size[self.placement.axis]
        self._image = _padded(image, self.placement.before, self.placement.padded)
        self._ring: Tensor | None = None

    def window(self, corner: Sequence[int]) -> Tensor:
        """(C, *size), a view."""
        return self._image[_box(corner, self.spec.size)]

    def add(self, corner: Sequence[int], values: Tensor) -> None:
        """Put what the network says of the window (K, *size) into the ring."""
        if self._ring is None:
            shape = list(self.placement.padded)
            shape[self.axis] = self.depth
            self._ring = torch.zeros(len(values), *shape, device=values.device)
            self._weight = window_weight(self.spec).to(values.device)
            self._sums = WeightSums(self.placement, self.spec, self._weight)
        at = corner[self.axis] % self.depth
        for start, skip, planes in ((at, 0, self.depth - at), (0, self.depth - at, at)):
            if planes:
                self._put(corner, start, values.narrow(1 + self.axis, skip, planes), skip, planes)

    def _put(self, corner: Sequence[int], start: int, values: Tensor, skip: int, planes: int) -> None:
        assert self._ring is not None
        place, size = list(corner), list(self.spec.size)
        place[self.axis], size[self.axis] = start, planes
        target = self._ring[_box(place, size)]
        if self.spec.weighting == "constant":
            target.add_(values)
        else:
            target.addcmul_(values, self._weight.narrow(self.axis, skip, planes))

    def finish(self, row: Row) -> Iterator[Slab]:
        """The planes that no window after this row touches; the ring is free for those to come."""
        assert self._ring is not None
        before = self.placement.before[self.axis]
        lo, hi = max(row.first, before), min(row.stop, before + self.placement.shape[self.axis])
        sums = self._sums.of(row.first, row.stop)[self.placement.across]
        step = self._planes()
        for start in range(lo, hi, step):
            stop = min(start + step, hi)
            blended = self._blended(start, stop, sums.narrow(self.axis, start - row.first, stop - start))
            yield Slab(start - before, stop - before, self.axis, self._logits(blended))
        if row.stop < self.placement.padded[self.axis]:
            for at, _, planes in self._parts(row.first, row.stop):
                self._ring.narrow(1 + self.axis, at, planes).zero_()
        else:
            self._ring = None

    def _planes(self) -> int:
        assert self._ring is not None
        plane = self._ring.narrow(1 + self.axis, 0, 1)[(slice(None), *self.placement.across)]
        channels = len(plane)
        if self.head is not None:
            probe = plane.new_zeros(1, channels, *[1] * len(self.spec.size))
            channels = max(channels, self._logits(probe[0]).shape[0])
        return slab_planes(channels, plane[0].numel(), self.placement.apart and self.head is None)

    def _blended(self, start: int, stop: int, sums: Tensor) -> Tensor:
        assert self._ring is not None
        ring = self._ring[(slice(None), *self.placement.across)]
        shape = list(ring.shape)
        shape[1 + self.axis] = stop - start
        blended = ring.new_empty(shape)
        for at, skip, planes in self._parts(start, stop):
            torch.div(
                ring.narrow(1 + self.axis, at, planes),
                sums.narrow(self.axis, skip, planes),
                out=blended.narrow(1 + self.axis, skip, planes),
            )
        return blended

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Where the planes lie: place in the ring, planes before them, their number; two parts where the ring ends."""
        at = start % self.depth
        first = min(stop - start, self.depth - at)
        yield at, 0, first
        if first < stop - start:
            yield 0, first, stop - start - first

    def _logits(self, blended: Tensor) -> Tensor:
        if self.head is None:
            return blended
        with torch.no_grad():
            return self.head(blended[None])[0].float()


def slab_planes(channels: int, plane: int, apart: bool = False) -> int:
    """How many planes of so many voxels a part of a slab has at most.

    apart: logits leave the ring along the last axis. A line of the cache holds a voxel of each of 16 planes,
           and would be fetched again and again by fewer.
    """
    planes = SLAB_BYTES // (4 * channels * plane)
    return max(2 * planes, 8) if apart else max(planes, 1)


def _padded(image: Tensor, before: Sequence[int], padded: Sequence[int]) -> Tensor:
    amounts: list[int] = []
    for n, p, b in reversed(list(zip(image.shape[1:], padded, before, strict=True))):
        amounts += [b, p - n - b]
    return F.pad(image, amounts) if any(amounts) else image


def _box(corner: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    return (slice(None), *(slice(c, c + n) for c, n in zip(corner, size, strict=True)))
