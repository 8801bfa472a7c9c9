"""Slabs of logits become labels on the source grid: linear interpolation, then the largest wins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medseg.domain.geometry import Geometry
from medseg.inference.decisions import Decision, Largest
from medseg.inference.grids import axes_of, find_parallel
from medseg.inference.oblique import decide_at_an_angle, interpolated_at_an_angle
from medseg.inference.parallel import decide_parallel, interpolated
from medseg.windows import Slab

Place = tuple[slice, ...]
OnValues = Callable[[Place, Tensor, NDArray[np.bool_] | None], None]


LARGEST = Largest()


def labels_on_source(
    slabs: Iterable[Slab],
    grid: Geometry,
    source: Geometry,
    decide: Callable[[Tensor], Tensor] = LARGEST,
    dtype: type[np.uint8] | type[np.uint16] = np.uint8,
    on_values: OnValues | None = None,
) -> NDArray[Any]:
    """Labels (*source.shape_ijk), by default class indices, from the values (K, *grid.shape_ijk) that come as slabs.

    decide: (K, *S) interpolated values -> (*S) labels, voxel by voxel; dtype holds them. A `Decision` is the fast one.
    on_values: told the interpolated values (K, *block) of every block of the source, and which of its voxels they are
    good for where that is not all.
    Each slab is done with when the next one comes. Where a `Decision` decides and nobody asks for the values, only the
    cells of the grid whose corners disagree are interpolated, and there the classes that can win; the labels are those
    of interpolating everything (as is done on a graphics card). Source voxels outside the network's grid take its
    nearest edge.
    """
    labels: NDArray[Any] = np.zeros(source.shape_ijk, dtype)
    parallel = find_parallel(grid, source)
    on_cpu, slabs = _is_on_cpu(iter(slabs))
    if isinstance(decide, Decision) and on_values is None and (parallel is None or on_cpu):
        if parallel is None:
            decide_at_an_angle(slabs, grid, source, decide, labels)
        else:
            axes = axes_of(parallel, grid, source)
            decide_parallel(slabs, axes, grid.shape_ijk, decide, labels, parallel.source_axis)
        return labels
    if parallel is None:
        for place, values, inside in interpolated_at_an_angle(slabs, grid, source):
            np.copyto(labels[place], decide(values).cpu().numpy(), where=inside, casting="unsafe")
            if on_values is not None:
                on_values(place, values, inside)
        return labels
    back = np.argsort(parallel.source_axis).tolist()
    for place, values in interpolated(slabs, axes_of(parallel, grid, source), grid.shape_ijk):
        place = tuple(place[a] for a in back)
        labels[place] = decide(values).cpu().numpy().transpose(back)
        if on_values is not None:
            on_values(place, values.permute(0, *(1 + a for a in back)), None)
    return labels


def _is_on_cpu(slabs: Iterator[Slab]) -> tuple[bool, Iterator[Slab]]:
    """Where the first slab lies, and all slabs."""
    first = next(slabs)
    return first.logits.device.type == "cpu", chain([first], slabs)
