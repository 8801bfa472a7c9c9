"""Slabs of values on the network's grid become labels on a source grid parallel to it.

Values between two voxels are below * (1 - share) + above * share, each axis in turn, the streaming axis first: exact at
both ends, and never out of order where its ends are in order. Both ways below compute just this, so that they agree to
the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.inference.decisions import Decision
from medseg.inference.grids import Axis, IntArray, decided
from medseg.inference.winners import extremes
from medseg.windows import Slab

_PLANES = 4  # of a slab: of thinner ones the plane that two share would be looked at twice too often
_BLOCK_VOXELS = 1 << 18  # of the grid, whose mixed cells are looked at together
_BLOCK_VALUES = 1 << 24  # that are interpolated together: 64 MB


def interpolated(
    slabs: Iterable[Slab], axes: Sequence[Axis], shape: Sequence[int]
) -> Iterator[tuple[tuple[slice, ...], Tensor]]:
    """All values (C, *block) of block after block of the source, whose place is in the order of the grid's axes.

    shape: of the grid.
    """
    for values, along, first, lo, hi in decided(slabs, shape, [axis.step for axis in axes], _PLANES):
        local = [axis.within(lo, hi, first) if a == along else axis for a, axis in enumerate(axes)]
        order = streaming_order(along, len(axes))
        plane = values.shape[0] * math.prod(len(axis) for a, axis in enumerate(local) if a != along)
        second = order[1]
        for part in local[along].pieces(max(_BLOCK_VALUES // plane, 1)):
            rows = values.shape[0] * len(part) * math.prod(len(local[a]) for a in order[2:])
            for other in local[second].pieces(max(_BLOCK_VALUES // rows, 1)):
                local_block = [part if a == along else other if a == second else local[a] for a in range(len(axes))]
                yield tuple(axis.stretch for axis in local_block), _at(values, local_block, order)
        del values  # before the next slab is made


def decide_parallel(
    slabs: Iterable[Slab],
    axes: Sequence[Axis],
    shape: Sequence[int],
    decision: Decision,
    labels: NDArray[Any],
    source_axis: Sequence[int],
) -> None:
    """What is decided of the interpolated values into `labels` (contiguous, axes in the source's order)."""
    view = labels.transpose(source_axis)
    for values, along, first, lo, hi in decided(slabs, shape, [axis.step for axis in axes], _PLANES):
        local = [axis.within(lo, hi, first) if a == along else axis for a, axis in enumerate(axes)]
        if all(map(len, local)):
            _Piece(values.contiguous().numpy(), along, tuple(local), decision).decide(view, labels.reshape(-1))
        del values  # before the next slab is made


@dataclass(frozen=True, eq=False)
class _Piece:
    """Values (C, *S) whose cells decide a stretch of source voxels."""

    values: NDArray[Any]
    along: int
    axes: tuple[Axis, ...]
    decision: Decision

    def decide(self, view: NDArray[Any], flat: NDArray[Any]) -> None:
        shape = self.values.shape[1:]
        answers = self.decision.answers(self.values.reshape(len(self.values), -1)).reshape(shape)
        rows = max(_BLOCK_VOXELS // math.prod(shape[1:]), 1)
        begin, end = int(self.axes[0].below.min()), int(self.axes[0].below.max()) + 1
        for lo in range(begin, end, rows):
            hi = min(lo + rows, end)
            part = self.axes[0].within(lo, hi)
            if len(part):
                self._decide_rows(answers, lo, hi, (part, *self.axes[1:]), view, flat)

    def _decide_rows(
        self, answers: NDArray[Any], lo: int, hi: int, axes: tuple[Axis, ...], view: NDArray[Any], flat: NDArray[Any]
    ) -> None:
        steps = tuple(axis.step for axis in axes)
        stop = hi + steps[0]
        low, high = extremes(answers[lo:stop], steps)
        axes = (replace(axes[0], below=axes[0].below - lo), *axes[1:])
        spread = self.decision.named(low)
        for a in reversed(range(len(axes))):
            spread = spread.take(axes[a].below, a)
        view[tuple(axis.stretch for axis in axes)] = spread
        if not any(steps):
            return
        runs = [_Runs.of(axis) for axis in axes]
        mixed = low != high
        for a, run in enumerate(runs):
            mixed = mixed.take(run.cell, a)
        found = np.unravel_index(np.flatnonzero(mixed), mixed.shape)
        if not len(found[0]):
            return
        cells = tuple(run.cell[which] for run, which in zip(runs, found, strict=True))
        size, order = math.prod(answers.shape[1:]), streaming_order(self.along, len(steps))
        base = np.ravel_multi_index((cells[0] + lo, *cells[1:]), answers.shape)
        corners = base + corner_offsets(steps, answers.shape, order)[:, None]
        values = self.values.reshape(len(self.values), -1)
        strides = [s // view.itemsize for s in view.strides]
        for contest in self.decision.contests(values, corners, low[cells], high[cells], (lo * size, stop * size)):
            places = [which[contest.cells] for which in found]
            _spread(self.decision, contest.classes, contest.values, order, runs, places, strides, 0, flat)


@dataclass(frozen=True, eq=False)
class _Runs:
    """Runs of source voxels in one cell: cell, first voxel on the source's axis, number; share of each voxel."""

    cell: IntArray
    first: IntArray
    count: IntArray
    most: int
    axis: Axis

    @classmethod
    def of(cls, axis: Axis) -> _Runs:
        sizes = axis.runs(len(axis))[2]
        inner = sizes[1:-1] if len(sizes) > 2 else sizes  # the outer cells also hold what lies beyond the edge
        cell, first, count = axis.runs(int(inner.max()))
        return cls(cell, first, count, int(count.max()), axis)


def _spread(
    decision: Decision,
    classes: NDArray[Any],
    values: NDArray[Any],
    order: Sequence[int],
    runs: Sequence[_Runs],
    places: Sequence[IntArray],
    strides: Sequence[int],
    at: IntArray | int,
    flat: NDArray[Any],
) -> None:
    """The labels of all voxels of the cells: one axis in turn, of each cell the first voxel, the second, ..."""
    if not order:
        flat[at] = decision.named(decision.decided(classes, values[:, 0]))
        return
    a, *rest = order
    run, which = runs[a], places[a]
    half = values.shape[1] // 2
    for n in range(run.most):
        voxel = (run.first + np.minimum(n, run.count - 1))[which]  # a short run's last voxel again
        here = values
        if run.axis.step:
            share = run.axis.share[voxel]
            here = values[:, :half] * (1 - share).astype(values.dtype)
            here += values[:, half:] * share.astype(values.dtype)
        _spread(decision, classes, here, rest, runs, places, strides, at + (voxel + run.axis.start) * strides[a], flat)


def corner_offsets(steps: Sequence[int], shape: Sequence[int], order: Sequence[int]) -> IntArray:
    """From a cell's first voxel to its corners in a flat array; those of the first axis of the order in halves."""
    offsets = np.zeros(1, np.intp)
    for a in reversed(order):
        if steps[a]:
            offsets = np.concatenate([offsets, offsets + math.prod(shape[a + 1 :])])
    return offsets


def streaming_order(along: int, dims: int) -> list[int]:
    """In which order the axes are interpolated."""
    return [along, *(a for a in range(dims) if a != along)]


def _at(values: Tensor, places: Sequence[Axis], order: Sequence[int]) -> Tensor:
    for a in order:
        values = _between(values, 1 + a, places[a])
    return values


def _between(values: Tensor, axis: int, places: Axis) -> Tensor:
    """The values at the places on one axis."""
    below = torch.from_numpy(places.below).to(values.device)
    low = values.index_select(axis, below)
    if not places.step:
        return low
    shape = [-1 if a == axis else 1 for a in range(values.ndim)]
    share, rest = (torch.from_numpy(s).to(values).view(shape) for s in (places.share, 1 - places.share))
    return low.mul_(rest).add_(values.index_select(axis, below + 1).mul_(share))
