"""Volumes, counts and places of the labels of a mask."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.geometry import Float64Array
from medseg.domain.labels import LabelMap
from medseg.domain.report import Measure
from medseg.domain.volume import Volume

_BLOCK_VOXELS = 2**20


def measure(label_map: LabelMap, volume: Volume, region: str | None = None) -> tuple[Measure, ...]:
    """One measure for each label of the table, also for labels that are absent.

    The volume is that of the voxels, by the determinant of the affine. The intensity is the mean of the first channel.
    """
    instances = label_map.table.kind == "instances"
    voxels = (label_map.voxels > 0).astype(np.uint8) if instances else label_map.voxels
    sums = _sums(voxels, volume.voxels[0], 1 + max(label_map.table.values))
    at_border = {int(value) for face in _faces(voxels) for value in np.unique(face)}
    geometry = label_map.geometry
    measures = []
    for label in label_map.table:
        count = int(sums.counts[label.value])
        size = count * geometry.voxel_volume_mm3
        centroid = None
        if count and geometry.calibrated:
            centre = geometry.ijk_to_ras_mm(sums.places[label.value] / count)
            centroid = tuple(round(float(x), 3) for x in centre)
        measures.append(
            Measure(
                label=label.name,
                value=label.value,
                voxels=count,
                volume_ml=size / 1000 if geometry.calibrated and geometry.spatial_dims == 3 else None,
                area_mm2=size if geometry.calibrated and geometry.spatial_dims == 2 else None,
                instances=len(np.unique(label_map.voxels)) - (1 if (label_map.voxels == 0).any() else 0)
                if instances
                else None,
                centroid_ras_mm=centroid,
                mean_intensity=float(sums.intensities[label.value]) / count if count else None,
                touches_border=label.value in at_border,
                region=region,
            )
        )
    return tuple(measures)


@dataclass(frozen=True)
class _Sums:
    """By label value, up to the largest: voxels; their indices added up, (values, axes); their intensities added up."""

    counts: NDArray[np.int64]
    places: Float64Array
    intensities: Float64Array


def _sums(voxels: NDArray[Any], intensities: NDArray[Any], values: int) -> _Sums:
    """In one pass over what is no background, some planes of the first axis at a time, however many labels there are.

    Of label 0 nothing is told.
    """
    values = max(values, int(voxels.max(initial=0)) + 1)
    counts = np.zeros(values, np.int64)
    places, sums = np.zeros((values, voxels.ndim)), np.zeros(values)
    step = max(_BLOCK_VOXELS // prod(voxels.shape[1:]), 1)
    indices = [index.ravel().astype(np.float64) for index in np.indices((step, *voxels.shape[1:]))]
    for start in range(0, len(voxels), step):
        labels = voxels[start : start + step].ravel()
        found = np.flatnonzero(labels)
        labels = labels[found]
        here = np.bincount(labels, minlength=values)
        counts += here
        places[:, 0] += start * here
        for axis, index in enumerate(indices):
            places[:, axis] += np.bincount(labels, index[found], values)
        sums += np.bincount(labels, intensities[start : start + step].ravel()[found], values)
    return _Sums(counts, places, sums)


def _faces(voxels: NDArray[Any]) -> list[NDArray[Any]]:
    return [voxels.take(edge, axis) for axis in range(voxels.ndim) for edge in (0, -1)]
