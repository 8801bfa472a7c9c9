"""Masks with known places, and the series they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medseg.domain.algorithm import Algorithm
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Code, Label, LabelMap, LabelTable
from medseg.domain.volume import Volume
from medseg.io.dicom import read_dicom
from medseg.io.dicom_write import write_series

ORGANS = LabelTable(
    (
        Label(1, "spleen", (157, 108, 162), Code("123037004", "Anatomical Structure"), Code("78961009", "Spleen")),
        Label(
            3,
            "left kidney",
            (185, 102, 83),
            Code("123037004", "Anatomical Structure"),
            Code("64033007", "Kidney"),
            Code("7771000", "Left"),
        ),
        Label(7, "lesion", (144, 238, 144)),
    )
)
ALGORITHM = Algorithm("organs_mr_segmentation", "0.1.0", "ab" * 32)


def mask_on(geometry: Geometry, table: LabelTable = ORGANS) -> LabelMap:
    """A box for each label, on planes of its own and off centre on every axis; the outermost planes are empty."""
    voxels = np.zeros(geometry.shape_ijk, np.uint8 if table.values[-1] < 256 else np.uint16)
    columns, rows, planes = geometry.shape_ijk
    for n, value in enumerate(table.values):
        first = 1 + n * (planes - 2) // len(table)
        last = 1 + (n + 1) * (planes - 2) // len(table)
        voxels[1 + n : columns // 2, rows // 3 : rows - 1 - n, first:last] = value
    return LabelMap(voxels, geometry, table)


def series_volume(folder: Path, volume: Volume, modality: str = "MR", seed: str = "test") -> Volume:
    """The volume written as a series and read back."""
    write_series(volume, folder, modality=modality, seed=seed)
    return read_dicom(folder, "scan")
