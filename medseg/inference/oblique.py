"""Slabs of values on the network's grid become labels on a source grid that lies at an angle to it.

As in `parallel`: the source voxels whose cell a slab holds are decided with it. Places outside the grid lie on its
edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.domain.geometry import Float64Array, Geometry
from medseg.inference.decisions import Decision
from medseg.inference.grids import IntArray, decided, source_to_grid
from medseg.inference.parallel import corner_offsets, streaming_order
from medseg.inference.winners import extremes
from medseg.windows import Slab

_PLANES = 16  # of a slab: for each, the source is searched as far as its planes drift across the grid's
_BLOCK = 1 << 15  # source voxels that are placed together
_BLOCK_VALUES = 1 << 22  # that are interpolated together


@dataclass(frozen=True, eq=False)
class _Placed:
    """Source voxels of one block whose cells a slab holds.

    place: the block. inside: (*block) which of its voxels they are.
    below, share: (dims, n) their cells, the slab's first plane being 0, and the way to the next voxel on each axis.
    """

    place: tuple[slice, ...]
    inside: NDArray[np.bool_]
    below: IntArray
    share: Float64Array


def decide_at_an_angle(
    slabs: Iterable[Slab], grid: Geometry, source: Geometry, decision: Decision, labels: NDArray[Any]
) -> None:
    """What is decided of the interpolated values into `labels`."""
    steps = _steps(grid)
    for tensor, along, first, lo, hi in decided(slabs, grid.shape_ijk, steps, _PLANES):
        values = tensor.cpu().contiguous().numpy()
        shape, order = values.shape[1:], streaming_order(along, len(steps))
        values = values.reshape(len(values), -1)
        low, high = extremes(decision.answers(values).reshape(shape), steps)
        for placed in _placed(grid, source, along, first, lo, hi):
            cells = tuple(placed.below)
            found = low[cells]
            mixed = np.flatnonzero(found != high[cells])
            if len(mixed):
                base = np.ravel_multi_index(tuple(placed.below[:, mixed]), shape)
                found[mixed] = _answers(decision, values, base, placed.share[:, mixed], low, high, steps, shape, order)
            labels[placed.place][placed.inside] = decision.named(found)
        del tensor, values  # before the next slab is made


def interpolated_at_an_angle(
    slabs: Iterable[Slab], grid: Geometry, source: Geometry
) -> Iterator[tuple[tuple[slice, ...], Tensor, NDArray[np.bool_]]]:
    """All values (C, *block) of block after block of the source, and the voxels that they are good for."""
    steps = _steps(grid)
    for tensor, along, first, lo, hi in decided(slabs, grid.shape_ijk, steps, _PLANES):
        values = tensor.cpu().contiguous().numpy()
        shape, order = values.shape[1:], streaming_order(along, len(steps))
        offsets = corner_offsets(steps, shape, order)[:, None]
        values = values.reshape(len(values), -1)
        for placed in _placed(grid, source, along, first, lo, hi, max(_BLOCK_VALUES // len(values), 1)):
            at = np.ravel_multi_index(tuple(placed.below), shape) + offsets
            block = np.zeros((len(values), *placed.inside.shape), values.dtype)
            for channel, row in zip(block, values, strict=True):
                channel[placed.inside] = _between(row.take(at)[None], placed.share, steps, order)[0]
            yield placed.place, torch.from_numpy(block), placed.inside
        del tensor, values


def _answers(
    decision: Decision,
    values: NDArray[Any],
    base: IntArray,
    share: Float64Array,
    low: NDArray[Any],
    high: NDArray[Any],
    steps: tuple[int, ...],
    shape: tuple[int, ...],
    order: list[int],
) -> NDArray[Any]:
    """(n,) of voxels in mixed cells; base: (n,) the first corner."""
    sort = np.argsort(base, kind="stable")
    cells, start, count = np.unique(base[sort], return_index=True, return_counts=True)
    corners = cells + corner_offsets(steps, shape, order)[:, None]
    at = np.unravel_index(cells, shape)
    span = (int(corners.min()), int(corners.max()) + 1)
    found = np.empty(len(base), np.intp)
    for contest in decision.contests(values, corners, low[at], high[at], span):
        many = count[contest.cells]
        which = np.repeat(np.arange(len(many)), many)
        inner = np.arange(len(which)) - np.repeat(np.cumsum(many) - many, many)
        voxels = sort[np.repeat(start[contest.cells], many) + inner]
        here = _between(contest.values.take(which, 2), share[:, voxels], steps, order)
        found[voxels] = decision.decided(contest.classes.take(which, 1), here)
    return found


def _between(values: NDArray[Any], share: Float64Array, steps: tuple[int, ...], order: list[int]) -> NDArray[Any]:
    """(K, corners, n) at the corners -> (K, n) at the places."""
    for a in order:
        if steps[a]:
            half = values.shape[1] // 2
            below = values[:, :half] * (1 - share[a]).astype(values.dtype)
            below += values[:, half:] * share[a].astype(values.dtype)
            values = below
    return values[:, 0]


def _steps(grid: Geometry) -> tuple[int, ...]:
    return tuple(int(n > 1) for n in grid.shape_ijk)


def _placed(
    grid: Geometry, source: Geometry, along: int, first: int, lo: int, hi: int, size: int = _BLOCK
) -> Iterator[_Placed]:
    """The source voxels whose cells are lo..hi along an axis, block by block of at most about `size` voxels.

    Their place on the axis is linear in the source's indices, so the blocks are laid only where some may be.
    """
    matrix, dims = source_to_grid(grid, source), source.spatial_dims
    linear, shift = matrix[:dims, :dims], matrix[:dims, 3]
    last = grid.shape_ijk[along] - 1
    low = -np.inf if lo == 0 else lo - 1e-6
    high = np.inf if hi >= last else hi + 1e-6
    main = int(np.abs(linear[along]).argmax())
    lengths = np.array(source.shape_ijk)
    reach = linear[along] * (lengths - 1)
    rest = [reach[a] for a in range(dims) if a != main]
    least = shift[along] + sum(min(r, 0.0) for r in rest)
    most = shift[along] + sum(max(r, 0.0) for r in rest)
    ends = sorted(((low - most) / linear[along, main], (high - least) / linear[along, main]))
    begin = int(np.clip(np.floor(ends[0]), 0, lengths[main]))
    end = int(np.clip(np.ceil(ends[1]) + 1, 0, lengths[main]))
    corner = np.zeros(dims, int)
    stop = lengths.copy()
    corner[main], stop[main] = begin, end
    for place in _blocks(corner.tolist(), stop.tolist(), size):
        numbers = [np.arange(part.start, part.stop, dtype=np.float64) for part in place]
        ijk = np.meshgrid(*numbers, indexing="ij", sparse=True)
        on = sum(factor * steps for factor, steps in zip(linear[along], ijk, strict=True)) + shift[along]
        below = np.floor(on.clip(0, last)).clip(max=max(last - 1, 0))
        inside = (below >= lo) & (below < hi)
        if not inside.any():
            continue
        at = np.nonzero(inside)
        voxels = np.stack([a + part.start for a, part in zip(at, place, strict=True)]).astype(np.float64)
        limits = np.array(grid.shape_ijk)[:, None] - 1
        places = (linear @ voxels + shift[:, None]).clip(0, limits)
        places[along] = on[inside].clip(0, last)  # the very numbers that `inside` was told by
        floor = np.floor(places).clip(max=(limits - 1).clip(0))
        cells = floor.astype(np.intp)
        cells[along] -= first
        yield _Placed(place, inside, cells, places - floor)


def _blocks(start: list[int], stop: list[int], size: int) -> Iterator[tuple[slice, ...]]:
    """Boxes of at most about so many voxels that fill the box start..stop."""
    lengths = [b - a for a, b in zip(start, stop, strict=True)]
    if min(lengths) <= 0:
        return
    pieces = []
    for a, length in enumerate(lengths):
        step = max(min(size // math.prod(lengths[a + 1 :]), length), 1)
        pieces.append([slice(b, min(b + step, stop[a])) for b in range(start[a], stop[a], step)])
    for index in np.ndindex(*map(len, pieces)):
        yield tuple(piece[n] for piece, n in zip(pieces, index, strict=True))
