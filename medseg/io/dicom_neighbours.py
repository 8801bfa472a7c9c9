"""Slices that do not resemble their neighbours, as damaged or foreign ones do not.

Anatomy changes steadily from slice to slice. A slice is compared with the mean of the two beside it, block by block. It
is named if it is far from both while these two are near to each other, and further than any other slice of the series;
or if it is brighter or darker than both, as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 16  # pixels along an edge
_FEWEST, _LEAST_EDGE = 5, 48  # slices, and pixels, from which on there is a rest to compare with
_MANY_ROWS = 256
_TIMES = 4.0  # as far from its neighbours as they are from each other
_TIMES_USUAL = 2.0  # and as any other slice of the series is
_LEAST_SHARE = 0.01  # of the blocks
_FLOOR = 0.005  # of the range of values: what is nearer than that is the same
_SHIFT, _SHIFT_TIMES = 0.01, 8.0  # of the range, and of what is usual, that the mean of a slice stands out


@dataclass(frozen=True)
class Stranger:
    """A slice that stands out. place: from 0; share: of its blocks that do; times: by how much they do, the median."""

    place: int
    share: float
    times: float


def strangers(stack: NDArray[Any]) -> list[Stranger]:
    """Return the slices of a stack (slices, rows, columns) that resemble neither neighbour.

    The first and the last slice have one neighbour only and are compared with what that one would lead to expect.
    Empty for fewer than five slices, and for slices of less than 48 pixels along an edge.
    """
    if len(stack) < _FEWEST or min(stack.shape[1:]) < _LEAST_EDGE:
        return []
    if stack.shape[1] >= _MANY_ROWS:
        stack = stack[:, ::2]  # every second row shows the same
    apart, beside, shifts = _distances(stack)
    extent = float(np.ptp(np.percentile(stack[:: max(len(stack) // 32, 1), ::4, ::4], (0.5, 99.5))))
    usual = np.maximum(np.median(beside, axis=0), np.median(apart, axis=0))
    floor = max(float(np.median(usual)), _FLOOR * extent, 1e-6)
    times = apart / np.maximum(np.maximum(beside, usual), floor)
    largest = np.sort(times.reshape(len(stack), -1), axis=1)
    several = max(int(_LEAST_SHARE * largest.shape[1]), 1)
    score = largest[:, -several]  # what at least that share of the blocks reaches
    found = {}
    for k in map(int, np.flatnonzero(score > _TIMES)):
        near = [n for n in (k - 1, k + 1) if 0 <= n < len(score)]
        others = np.delete(score, [k, *near])
        if score[k] > _TIMES_USUAL * others.max(initial=0) and not any(score[n] > score[k] for n in near):
            blocks = largest[k] > _TIMES
            found[k] = Stranger(k, float(blocks.mean()), float(np.median(largest[k][blocks])))
    for k, shift_times in _shifted(shifts, _SHIFT * extent):
        found.setdefault(k, Stranger(k, 1.0, shift_times))
    return [found[k] for k in sorted(found)]


def _shifted(shifts: NDArray[np.float32], least: float) -> list[tuple[int, float]]:
    """Inner slices whose mean stands out from both neighbours: theirs then stand out half as much, the other way."""
    scale = max(1.4826 * float(np.median(np.abs(shifts))), least / _SHIFT_TIMES)
    found = []
    for k in range(1, len(shifts) - 1):
        own, sides = float(shifts[k]), [-float(shifts[n]) for n in (k - 1, k + 1) if 0 < n < len(shifts) - 1]
        if abs(own) > max(least, _SHIFT_TIMES * scale) and all(0.25 < side / own < 0.75 for side in sides):
            found.append((k, abs(own) / scale))
    return found


def _distances(stack: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Per slice and block: distances from the mean of both neighbours, and between these; per slice: the mean shift."""
    shape = (len(stack), stack.shape[1] // _BLOCK, stack.shape[2] // _BLOCK)
    apart, beside, shifts = np.empty(shape, np.float32), np.empty(shape, np.float32), np.zeros(len(stack), np.float32)
    kind = np.float32 if stack.dtype.kind == "f" else np.int32
    last = len(stack) - 1
    for k in range(len(stack)):
        low, high = (k - 1, k + 1) if 0 < k < last else ((1, 2) if k == 0 else (last - 1, last - 2))
        one, two, own = stack[low].astype(kind), stack[high].astype(kind), stack[k].astype(kind)
        inner = 0 < k < last
        difference = 2 * own - (one + two if inner else 4 * one - 2 * two)  # twice; at an end, one step on
        shifts[k] = difference.mean() / 2 if inner else 0
        apart[k] = _blocks(np.abs(difference)) / (2 if inner else 4)
        beside[k] = _blocks(np.abs(one - two)) / 2
    return apart, beside, shifts


def _blocks(values: NDArray[Any]) -> NDArray[np.float32]:
    rows, columns = (n // _BLOCK for n in values.shape)
    cut = values[: rows * _BLOCK, : columns * _BLOCK]
    sums = np.add.reduceat(cut, np.arange(0, rows * _BLOCK, _BLOCK), 0)
    sums = np.add.reduceat(sums, np.arange(0, columns * _BLOCK, _BLOCK), 1)
    means: NDArray[np.float32] = (sums / _BLOCK**2).astype(np.float32)
    return means
