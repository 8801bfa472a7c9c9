"""Which slices of a series do not resemble their neighbours, beyond what the rest of the series shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.domain.geometry import Float64Array

_SIDES = (4, 16)  # pixels of a block, least and most; about 32 fit along the shorter side of an image
_FEWEST_BLOCKS = 32
_CAP = 20.0  # times the usual difference, so that no single block decides
# A slice stands out above _LEAST + _FEW / slices + _TIMES x this percentile of the others; an end slice, which has one
# neighbour to be unlike and is often the first to show something, above _END x that. Found by trying: 3 of 301 series
# without damage are noted (the midline of a symmetric template, metal in single slices).
_LEAST, _FEW, _TIMES, _SHARE, _END = 0.4, 3.0, 3.0, 95, 3.0
_FEWEST = 6  # slices; fewer show no usual difference
_FLAT, _FLAT_TIMES = 0.03, 4.0  # of the blocks, and of what 95 % of the other slices show, from which on it is a gap
_NAMED = 5


@dataclass(frozen=True)
class Unlike:
    """A slice that stands out.

    place:  its index in the series.
    score:  the mean over blocks of their difference from both neighbours, in units of the usual one.
    usual:  the score that 95 % of the other slices stay below.
    flat:   the share of blocks that hold one value here and several in both neighbours, where that is the reason.
    """

    place: int
    score: float
    usual: float
    flat: float = 0.0


def unlike_slices(slices: Sequence[NDArray[np.generic]]) -> list[Unlike]:
    """Return the slices that are unlike both neighbours (at an end, the one) where those are like each other.

    The mean and the roughness of blocks of 4 x 4 to 16 x 16 pixels are compared. A step in the series, a change from
    slice to slice or noise is usual then, and so is a thing that one slice alone shows in few blocks. A slice of one
    value between others is named whatever the rest shows, and so is one that holds one value where both neighbours hold
    several, as pixels that were never written do.

    Args:
        slices: (rows, columns) each, in order along the normal. No result for less than three.
    """
    if len(slices) < 3:
        return []
    means, rough = (np.array(kind) for kind in zip(*map(_blocks, slices), strict=True))
    blank = ~rough.any(1) & (np.ptp(means, axis=1) == 0)
    enough = len(slices) >= _FEWEST and means.shape[1] >= _FEWEST_BLOCKS
    channels = (_scores(means), _scores(rough)) if enough else ()
    full = np.flatnonzero(~blank)
    flat = _flat_alone(rough == 0) if enough else np.zeros(len(slices))
    found = []
    for k in range(len(slices)):
        if blank[k] and full.size and full[0] < k < full[-1]:
            found.append(Unlike(k, float("inf"), 0.0))
        elif flat[k]:
            found.append(Unlike(k, float("inf"), 0.0, float(flat[k])))
        else:
            found += [max(out, key=lambda one: one.score)] if (out := _outstanding(k, channels)) else []
    # Damage takes its neighbours' likeness too: of slices side by side the one that stands out most is meant.
    at = {one.place: one.score for one in found}
    return [one for one in found if one.score >= max(at.get(one.place - 1, 0), at.get(one.place + 1, 0)) / 2]


def _outstanding(k: int, channels: Sequence[Float64Array]) -> list[Unlike]:
    """Slice k for each channel in which it stands out."""
    found = []
    for scores in channels:
        count = len(scores)
        inner = np.arange(1, count - 1)
        usual = float(np.percentile(scores[inner[np.abs(inner - k) > 1]], _SHARE))
        limit = _LEAST + _FEW / count + _TIMES * usual
        if scores[k] > limit * (_END if k in (0, count - 1) else 1):
            found.append(Unlike(k, float(scores[k]), usual))
    return found


def _flat_alone(flat: NDArray[np.bool_]) -> Float64Array:
    """For each slice, the share of blocks that are flat in it alone; 0 where that is usual. flat: (slices, blocks)."""
    share = np.zeros(len(flat))
    share[1:-1] = (flat[1:-1] & ~flat[:-2] & ~flat[2:]).mean(1)
    usual = np.array([np.percentile(np.delete(share, k), _SHARE) for k in range(len(share))])
    return np.where(share > np.maximum(_FLAT, _FLAT_TIMES * usual), share, 0.0)


def likeness_note(names: Sequence[str], slices: Sequence[NDArray[np.generic]]) -> str:
    """Return a note that names the slices which stand out; empty where none does. names: "file 7 of 150" each."""
    found = unlike_slices(slices)
    if not found:
        return ""
    each = [f"{one.place + 1} ({names[one.place]}; {_reason(one)})" for one in found[:_NAMED]]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    one = len(found) == 1
    return (
        f"slice{'' if one else 's'} {', '.join(each)}{more} of {len(slices)} "
        f"{'does not resemble its' if one else 'do not resemble their'} neighbours: check {'it' if one else 'them'}"
    )


def _reason(one: Unlike) -> str:
    if one.flat:
        return f"one value in {one.flat:.0%} of it, where its neighbours have several"
    if one.score == float("inf"):
        return "one value everywhere"
    return f"{one.score:.1f} times the usual difference, other slices {one.usual:.1f}"


def _blocks(pixels: NDArray[np.generic]) -> tuple[Float64Array, Float64Array]:
    """The mean of each block, and the mean difference along every second of its rows."""
    side = min(max(min(pixels.shape) // 32, _SIDES[0]), _SIDES[1])
    rows, columns = (max(size // side, 1) for size in pixels.shape)
    height, width = (min(size, side) for size in pixels.shape)
    values = pixels[: rows * height, : columns * width].astype(np.float32)
    blocks = values.reshape(rows, height, columns, width)
    steps = np.abs(np.diff(blocks[:, ::2], axis=3))
    return blocks.mean((1, 3)).ravel().astype(float), steps.mean((1, 3)).ravel().astype(float)


def _scores(blocks: Float64Array) -> Float64Array:
    """The score of each slice. blocks: (slices, blocks)."""
    near, far = np.abs(np.diff(blocks, axis=0)), np.abs(blocks[2:] - blocks[:-2])
    excess = np.zeros_like(blocks)
    excess[1:-1] = np.minimum(near[:-1], near[1:]) - far
    excess[0], excess[-1] = near[0] - 2 * near[1], near[-1] - 2 * near[-2]
    low, high = np.percentile(blocks, (1, 99))
    usual = np.median(near, axis=0) + np.median(near) + 1e-3 * (high - low)
    scaled = np.divide(excess, usual, out=np.zeros_like(excess), where=usual > 0)
    scores: Float64Array = scaled.clip(0, _CAP).mean(1)
    return scores
