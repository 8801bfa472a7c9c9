"""Volumes, counts and places of the labels of a mask."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from medseg.domain.labels import LabelMap
from medseg.domain.report import Measure
from medseg.domain.volume import Volume


def measure(label_map: LabelMap, volume: Volume, region: str | None = None) -> tuple[Measure, ...]:
    """One measure for each label of the table, also for labels that are absent.

    The volume is that of the voxels, by the determinant of the affine. The intensity is the mean of the first channel.
    """
    instances = label_map.table.kind == "instances"
    voxels = (label_map.voxels > 0).astype(np.uint16) if instances else label_map.voxels
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(sitk.GetImageFromArray(np.ascontiguousarray(voxels.T)))  # SimpleITK's axes then are ours
    found = set(shapes.GetLabels())
    geometry = label_map.geometry
    measures = []
    for label in label_map.table:
        here = voxels == label.value
        count = int(np.count_nonzero(here))
        size = count * geometry.voxel_volume_mm3
        centroid = None
        if label.value in found:
            centre = np.array(shapes.GetCentroid(label.value))
            centroid = tuple(round(float(x), 3) for x in geometry.ijk_to_ras_mm(centre))
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
                mean_intensity=float(volume.voxels[0][here].mean(dtype=np.float64)) if count else None,
                touches_border=_touches_border(here),
                region=region,
            )
        )
    return tuple(measures)


def _touches_border(mask: np.ndarray) -> bool:
    return any(bool(mask.take(edge, axis).any()) for axis in range(mask.ndim) for edge in (0, -1))
