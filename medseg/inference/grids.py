"""How the voxels of two grids correspond, axis by axis, and which slab decides which of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.domain.geometry import Float64Array, Geometry
from medseg.windows import Slab

IntArray = NDArray[np.intp]


@dataclass(frozen=True)
class Parallel:
    """How two parallel grids correspond: network axis n runs along source axis source_axis[n], and the place of
    source voxel o on it is factor[n] * o + offset[n].
    """

    source_axis: tuple[int, ...]
    factor: tuple[float, ...]
    offset: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Axis:
    """The source voxels along one axis of the network's grid, in the source's order.

    below: (m,) the grid voxel at or before each; it and the next are the ends of the voxel's cell.
    share: (m,) of the way to the next grid voxel, 0..1.
    step:  0 where all voxels lie on grid voxels, so that a cell is one grid voxel; else 1.
    start: the number of the first source voxel, where these are a stretch of the axis.
    """

    below: IntArray
    share: Float64Array
    step: int
    start: int = 0

    def __len__(self) -> int:
        return len(self.below)

    @property
    def stretch(self) -> slice:
        """Where the voxels are on the source's axis."""
        return slice(self.start, self.start + len(self))

    def within(self, lo: int, hi: int, origin: int = 0) -> Axis:
        """The voxels of the cells lo..hi, which follow one another; cells are counted from `origin` on."""
        found = np.flatnonzero((self.below >= lo) & (self.below < hi))
        a, b = (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)
        return Axis(self.below[a:b] - origin, self.share[a:b], self.step, self.start + a)

    def pieces(self, size: int) -> Iterator[Axis]:
        """Stretches of at most so many voxels."""
        for a in range(0, len(self), size):
            part = slice(a, a + size)
            yield Axis(self.below[part], self.share[part], self.step, self.start + a)

    def runs(self, most: int) -> tuple[IntArray, IntArray, IntArray]:
        """Cell, first voxel and number of voxels of each run of at most `most` voxels in one cell."""
        new = np.flatnonzero(np.diff(self.below, prepend=-1))
        sizes = np.diff(new, append=len(self))
        at = np.arange(len(self)) - np.repeat(new, sizes)
        first = np.flatnonzero(at % most == 0)
        return self.below[first], first, np.diff(first, append=len(self))


def find_parallel(grid: Geometry, source: Geometry) -> Parallel | None:
    """The correspondence of the axes, or None where the grids lie at an angle."""
    matrix = source_to_grid(grid, source)
    dims = source.spatial_dims
    linear, shift = matrix[:dims, :dims], matrix[:dims, 3]
    extent = np.abs(linear) * np.array(source.shape_ijk)  # voxels of drift over the whole image
    main = np.abs(linear).argmax(1)
    drift = extent.copy()
    drift[np.arange(dims), main] = 0
    if drift.max() > 1e-3 or len(set(main.tolist())) < dims:
        return None
    return Parallel(
        tuple(int(axis) for axis in main),
        tuple(float(linear[n, axis]) for n, axis in enumerate(main)),
        tuple(float(s) for s in shift),
    )


def source_to_grid(grid: Geometry, source: Geometry) -> Float64Array:
    """(4, 4): voxel indices of the source to those of the grid."""
    return np.linalg.inv(grid.affine_ras) @ source.affine_ras


def axes_of(parallel: Parallel, grid: Geometry, source: Geometry) -> tuple[Axis, ...]:
    """One for each of the grid's; voxels outside lie on the edge, and a millionth of a voxel is rounding."""
    axes = []
    for n, length in enumerate(grid.shape_ijk):
        steps = np.arange(source.shape_ijk[parallel.source_axis[n]])
        places = np.round(parallel.factor[n] * steps + parallel.offset[n], 6).clip(0, length - 1)
        step = int((places != np.floor(places)).any())
        below = np.floor(places).astype(np.intp).clip(max=length - 1 - step)
        axes.append(Axis(below, places - below, step))
    return tuple(axes)


def decided(
    slabs: Iterable[Slab], shape: Sequence[int], steps: Sequence[int], planes: int
) -> Iterator[tuple[Tensor, int, int, int, int]]:
    """Logits (C, *S), the slabs' axis, the first plane's number, and the cells lo..hi between planes that they decide.

    A slab of more planes is not copied: the cells before it come with its first plane. Thinner ones are put together.
    shape: of the whole grid; steps: of each axis, 1 where a cell lies between two planes, 0 where it is a plane.
    """
    held: list[Tensor] = []  # planes first.., whose last cell waits for the next plane
    first = 0
    for slab in slabs:
        axis, logits, start, stop = slab.axis, slab.logits, slab.start, slab.stop
        del slab  # before the next one is made
        if not steps[axis]:
            yield logits, axis, start, start, stop
        elif stop - start > planes:
            if held:
                yield torch.cat([*held, logits.narrow(1 + axis, 0, 1)], 1 + axis), axis, first, first, start
            yield logits, axis, start, start, stop - 1
            held, first = [logits.narrow(1 + axis, stop - start - 1, 1).clone()], stop - 1
        else:
            held.append(logits)
            if stop - first > planes or stop == shape[axis]:
                logits = torch.cat(held, 1 + axis)
                held.clear()
                yield logits, axis, first, first, stop - 1
                held, first = [logits.narrow(1 + axis, stop - 1 - first, 1).clone()], stop - 1
        del logits
