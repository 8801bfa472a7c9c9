"""Which classes can be the largest inside a cell of the grid, from the values at its corners.

Linear interpolation is convex. Where all corners of a cell have one largest class, it is the largest in the whole cell.
Elsewhere, with any two classes a and b: what lies below (a + b) / 2 at every corner lies below it, and so below one of
the two, in the whole cell. A class that is the largest at no corner may well pass this test and win: second everywhere,
between two that are first here and last there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.inference.grids import IntArray

_VALUES = 1 << 18  # that are looked at together: a few MB, which the processor's cache holds
_ROW = 1 << 14


@dataclass(frozen=True, eq=False)
class Contest:
    """Cells in which the same number of classes can win.

    cells:   (n,) which of the cells that were asked about.
    classes: (k, n) in ascending order.
    values:  (k, corners, n) theirs.
    """

    cells: IntArray
    classes: NDArray[Any]
    values: NDArray[Any]


def largest_classes(values: NDArray[Any]) -> NDArray[Any]:
    """The first class of the largest value: (C, N) -> (N,) in the smallest type that holds the classes.

    Class by class on what the cache holds, several times faster than argmax over the outer axis.
    """
    classes, count = values.shape
    labels = np.zeros(count, np.uint8 if classes <= 256 else np.uint16)
    best, above = np.empty(_ROW, values.dtype), np.empty(_ROW, bool)
    number = np.empty(_ROW, labels.dtype)
    for a in range(0, count, _ROW):
        label = labels[a : a + _ROW]
        n = len(label)
        np.copyto(best[:n], values[0, a : a + n])
        for c in range(1, classes):
            row = values[c, a : a + n]
            np.greater(row, best[:n], out=above[:n])
            np.maximum(best[:n], row, out=best[:n])
            np.multiply(above[:n], labels.dtype.type(c), out=number[:n])
            np.maximum(label, number[:n], out=label)  # a later class has a larger number
    return labels


def extremes(labels: NDArray[Any], steps: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The lowest and the highest label at the corners of each cell; steps: 1 along axes that cells extend along."""
    low = high = labels
    for axis, step in enumerate(steps):
        if step:
            here = (*[slice(None)] * axis, slice(None, -1))
            there = (*[slice(None)] * axis, slice(1, None))
            low, high = np.minimum(low[here], low[there]), np.maximum(high[here], high[there])
    return low, high


def contests(
    values: NDArray[Any], corners: IntArray, low: NDArray[Any], high: NDArray[Any], span: tuple[int, int]
) -> Iterator[Contest]:
    """The classes that can win in each cell, and their values, for cells whose corners have several labels.

    values:  (C, N) of all voxels. corners: (corners, n) voxels, all in the span first..stop.
    low, high: (n,) the lowest and the highest of the labels at the corners.
    """
    count = values.shape[1]
    flat = values.reshape(-1)
    pair = np.stack([low, high]).astype(np.intp)
    both = flat.take(pair[:, None] * count + corners)
    least = (both[0] + both[1]) * values.dtype.type(0.5)
    floor = np.full(span[1] - span[0], np.inf, values.dtype)  # of each voxel, over the cells around it
    local = corners - span[0]
    for corner, value in zip(local, least, strict=True):
        floor[corner] = np.minimum(floor[corner], value)
    voxels = np.flatnonzero(floor < np.inf)
    floors = floor[voxels]
    number = np.zeros(len(voxels), np.uint16)
    at = voxels + span[0]
    for row in values:
        number += row.take(at) >= floors
    numbers = np.zeros(len(floor), np.uint16)
    numbers[voxels] = number
    alone = np.ones(corners.shape[1], bool)  # the two and nobody else
    for corner, one, other in zip(local, *both, strict=True):
        floors = floor[corner]
        alone &= numbers[corner] == (one >= floors).astype(np.uint8) + (other >= floors)
    yield from _in_parts(Contest(np.flatnonzero(alone), pair[:, alone], both[:, :, alone]))
    for cells in _parts(np.flatnonzero(~alone), max(_VALUES // (8 * len(corners)), 1)):
        yield from _several(values, corners[:, cells], least[:, cells], cells)


def _several(values: NDArray[Any], corners: IntArray, least: NDArray[Any], cells: IntArray) -> Iterator[Contest]:
    classes, count = values.shape
    possible = np.empty((classes, len(cells)), bool)
    for c, row in enumerate(values):
        np.any(row.take(corners) >= least, axis=0, out=possible[c])
    many = possible.sum(0)
    for k in np.unique(many):
        some = np.flatnonzero(many == k)
        for part in _parts(some, max(_VALUES // (int(k) * len(corners)), 1)):
            members = np.nonzero(possible[:, part].T)[1].reshape(len(part), k).T
            found = values.reshape(-1).take(members[:, None] * count + corners[:, part])
            yield Contest(cells[part], members, found)


def all_of(values: NDArray[Any], corners: IntArray) -> Iterator[Contest]:
    """Every class in every cell; arguments as of `contests`."""
    classes, count = values.shape
    for part in _parts(np.arange(corners.shape[1]), max(_VALUES // (classes * len(corners)), 1)):
        members = np.broadcast_to(np.arange(classes)[:, None], (classes, len(part)))
        yield Contest(part, members, values.reshape(-1).take(members[:, None] * count + corners[:, part]))


def _in_parts(contest: Contest) -> Iterator[Contest]:
    size = max(_VALUES // (len(contest.classes) * contest.values.shape[1]), 1)
    for a in range(0, len(contest.cells), size):
        part = slice(a, a + size)
        yield Contest(contest.cells[part], contest.classes[:, part], contest.values[:, :, part])


def _parts(indices: IntArray, size: int) -> Iterator[IntArray]:
    return (indices[a : a + size] for a in range(0, len(indices), size))


def winners(classes: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """(n,) the class of the largest value, the first of equals; both (k, n), classes ascending."""
    best, winner = values[0], classes[0]
    for value, name in zip(values[1:], classes[1:], strict=True):
        above = value > best
        winner = np.where(above, name, winner)
        best = np.maximum(best, value)
    return winner
