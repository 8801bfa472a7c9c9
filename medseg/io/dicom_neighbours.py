"""Slices that do not resemble their neighbours, as damaged or foreign ones do not.

Anatomy changes steadily from slice to slice. A slice is compared with the mean of the two beside it, block by block. It
is named if it is far from both while these two are near to each other, and further than any other slice of the series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 16  # pixels along an edge
_FEWEST = 5  # slices from which on there is a rest to compare with
_TIMES = 4.0  # as far from its neighbours as they are from each other
_TIMES_USUAL = 2.0  # and as any other slice of the series is
_LEAST_SHARE = 0.01  # of the blocks


@dataclass(frozen=True)
class Stranger:
    """A slice that stands out. place: from 0; share: of its blocks that do; times: by how much they do, the median."""

    place: int
    share: float
    times: float


def strangers(stack: NDArray[Any]) -> list[Stranger]:
    """Return the slices of a stack (slices, rows, columns) that resemble neither neighbour.

    The first and the last slice have one neighbour only and are compared with what that one would lead to expect.
    Empty for fewer than five slices.
    """
    if len(stack) < _FEWEST or min(stack.shape[1:]) < _BLOCK:
        return []
    apart, beside = _distances(stack)
    usual = np.maximum(np.median(beside, axis=0), np.median(apart, axis=0))
    floor = max(float(np.median(usual)), 1e-3 * float(np.ptp(stack)), 1e-6)
    times = apart / np.maximum(np.maximum(beside, usual), floor)
    largest = np.sort(times.reshape(len(stack), -1), axis=1)
    several = max(int(_LEAST_SHARE * largest.shape[1]), 1)
    score = largest[:, -several]  # what at least that share of the blocks reaches
    found = []
    for k in np.flatnonzero(score > _TIMES):
        others = np.delete(score, [n for n in (k - 1, k, k + 1) if 0 <= n < len(score)])
        if len(others) == 0 or score[k] > _TIMES_USUAL * others.max():
            if any(score[n] > score[k] for n in (k - 1, k + 1) if 0 <= n < len(score)):
                continue  # it is beside the one that is meant
            blocks = largest[k] > _TIMES
            found.append(Stranger(int(k), float(blocks.mean()), float(np.median(largest[k][blocks]))))
    return found


def _distances(stack: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Per slice and block: the mean distance from the mean of both neighbours, and between the neighbours."""
    shape = (len(stack), stack.shape[1] // _BLOCK, stack.shape[2] // _BLOCK)
    apart, beside = np.empty(shape, np.float32), np.empty(shape, np.float32)
    kind = np.float32 if stack.dtype.kind == "f" else np.int32
    last = len(stack) - 1
    for k in range(len(stack)):
        low, high = (k - 1, k + 1) if 0 < k < last else ((1, 2) if k == 0 else (last - 1, last - 2))
        one, two, own = stack[low].astype(kind), stack[high].astype(kind), stack[k].astype(kind)
        expected = one + two if 0 < k < last else 4 * one - 2 * two  # twice; at an end, one step on
        apart[k] = _blocks(np.abs(2 * own - expected)) / (2 if 0 < k < last else 4)
        beside[k] = _blocks(np.abs(one - two)) / 2
    return apart, beside


def _blocks(values: NDArray[Any]) -> NDArray[np.float32]:
    rows, columns = (n // _BLOCK for n in values.shape)
    cut = values[: rows * _BLOCK, : columns * _BLOCK]
    sums = np.add.reduceat(cut, np.arange(0, rows * _BLOCK, _BLOCK), 0)
    sums = np.add.reduceat(sums, np.arange(0, columns * _BLOCK, _BLOCK), 1)
    means: NDArray[np.float32] = (sums / _BLOCK**2).astype(np.float32)
    return means
