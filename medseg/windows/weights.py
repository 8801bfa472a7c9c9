"""How windows are weighed, and the sums of their weights, known without adding up every window."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod

import torch
from torch import Tensor

from medseg.windows.placement import Placement, WindowSpec

_LEAST = 1e-3  # of MONAI's Gaussian


def window_weight(spec: WindowSpec) -> Tensor:
    """(*size) weights of a window's voxels, at most 1; MONAI's are at least a thousandth."""
    weight = _outer([_profile(n, spec) for n in spec.size])
    return weight.clamp(min=_LEAST) if _is_clamped(spec) else weight


def _profile(n: int, spec: WindowSpec) -> Tensor:
    if spec.weighting == "constant":
        return torch.ones(n)
    middle = n // 2 if spec.placement == "nnunet" else (n - 1) / 2
    x = torch.arange(n, dtype=torch.float32) - middle
    return torch.exp(-(x**2) / (2 * (n / 8) ** 2))


def _is_clamped(spec: WindowSpec) -> bool:
    return spec.placement == "monai" and prod(float(_profile(n, spec).min()) for n in spec.size) < _LEAST


class WeightSums:
    """The sum of the weights of all windows over each voxel, slab by slab.

    A sum of products is a product of sums: three sums along single axes are all there is, unless small weights are
    clamped. Then the windows of one row are added up once (a map as large as one channel of the carry), and every slab
    adds the parts of that map that its rows put over it. Slabs in the midst of an image are covered alike, so the last
    map is kept.
    """

    def __init__(self, placement: Placement, spec: WindowSpec, weight: Tensor):
        self.placement = placement
        self.depth = spec.size[placement.axis]
        self._last: tuple[tuple[int, ...], Tensor] | None = None
        self._row = None
        if _is_clamped(spec):
            self._row = _sum_of_row(placement, spec, weight)
        else:
            self._sums = [
                _sum_along(p, s, _profile(w, spec)).to(weight.device)
                for p, s, w in zip(placement.padded, placement.starts, spec.size, strict=True)
            ]

    def of(self, first: int, stop: int) -> Tensor:
        """The sums over the planes first..stop, which no window after `first` begins in: (*S), padded across."""
        axis = self.placement.axis
        if self._row is None:
            return _outer([s[first:stop] if a == axis else s for a, s in enumerate(self._sums)])
        covering = tuple(first - s for s in self.placement.starts[axis] if s <= first < s + self.depth)
        key = (stop - first, *covering)
        if self._last is None or self._last[0] != key:
            total = torch.zeros_like(self._row.narrow(axis, 0, stop - first))
            for offset in covering:
                planes = min(stop - first, self.depth - offset)
                total.narrow(axis, 0, planes).add_(self._row.narrow(axis, offset, planes))
            self._last = key, total
        return self._last[1]


def _sum_of_row(placement: Placement, spec: WindowSpec, weight: Tensor) -> Tensor:
    shape = list(placement.padded)
    shape[placement.axis] = spec.size[placement.axis]
    row = torch.zeros(shape, device=weight.device)
    for corner in placement.rows[0].corners:
        row[tuple(slice(c, c + n) for c, n in zip(corner, spec.size, strict=True))] += weight
    return row


def _sum_along(length: int, starts: Sequence[int], profile: Tensor) -> Tensor:
    total = torch.zeros(length)
    for start in starts:
        total[start : start + len(profile)] += profile
    return total


def _outer(vectors: Sequence[Tensor]) -> Tensor:
    return reduce(lambda whole, vector: whole[..., None] * vector, vectors)
