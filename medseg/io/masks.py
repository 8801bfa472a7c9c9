"""Masks in any format that is read, told by content, with the names and colours that the file carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.doubts import NO_DOUBTS, Doubts
from medseg.domain.errors import GridError, InputError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import COLOURS, Label, LabelMap, LabelTable
from medseg.io.endings import PICTURE_ENDINGS
from medseg.io.nifti import read_nifti_mask
from medseg.io.nifti_file import is_nifti
from medseg.io.nifti_labels import read_label_table

_ALIGNED_MM = 0.05  # what the float32 affines of NIfTI files and decimal strings of DICOM leave


def read_label_map(path: Path, series_geometry: Geometry | None = None, doubts: Doubts = NO_DOUBTS) -> LabelMap:
    """A mask from NIfTI, .seg.nrrd, a DICOM segmentation, PNG or TIFF.

    series_geometry: the grid of the series that a DICOM segmentation was made from; other masks are turned onto it
    where they lie on the same voxels in another order.
    doubts: of a NIfTI, which affine counts.
    Values without a name are called "label N". Raises: InputError and its kinds; UsageError for a DICOM segmentation
    without its series.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give a mask")
    label_map = _read(path, series_geometry, doubts)
    if series_geometry is None:
        return label_map
    try:
        return turned_to(label_map, series_geometry)
    except GridError as error:
        raise GridError(f"{path}: {error}") from error


def _read(path: Path, series_geometry: Geometry | None, doubts: Doubts) -> LabelMap:
    name = path.name.lower()
    if is_nifti(path):
        voxels, geometry = read_nifti_mask(path, doubts)
        return LabelMap(voxels, geometry, _completed(read_label_table(path), voxels))
    with path.open("rb") as file:
        start = file.read(132)
    if start.startswith(b"NRRD"):
        from medseg.io.seg_nrrd import read_seg_nrrd

        return read_seg_nrrd(path)
    if start[128:] == b"DICM":
        from medseg.io.dicom_seg_read import is_dicom_seg, read_dicom_seg

        if not is_dicom_seg(path):
            raise InputError(f"{path}: is a DICOM file but no segmentation; give the mask")
        if series_geometry is None:
            raise UsageError(f"{path}: a DICOM segmentation lies on its series; give that with --series FOLDER")
        return read_dicom_seg(path, series_geometry)
    if name.endswith(PICTURE_ENDINGS):
        from medseg.io.picture import read_picture_geometry, read_picture_mask

        voxels = read_picture_mask(path)
        return LabelMap(voxels, read_picture_geometry(path), _completed(None, voxels))
    raise InputError(f"{path}: no mask that is read; give NIfTI, .seg.nrrd, a DICOM segmentation, PNG or TIFF")


def _completed(table: LabelTable | None, voxels: NDArray[Any]) -> LabelTable:
    """The table with a label for every value of the mask; one label "1" in a mask of more values counts instances."""
    present = [int(value) for value in np.unique(voxels) if value > 0]
    named = {} if table is None else {label.value: label for label in table}
    if list(named) == [1] and max(present, default=1) > 1:
        return LabelTable((named[1],), "instances")
    labels = [
        named.get(value, Label(value, f"label {value}", COLOURS[value % len(COLOURS)]))
        for value in sorted({*named, *present} or {1})
    ]
    return LabelTable(tuple(labels))


def turned_to(label_map: LabelMap, geometry: Geometry) -> LabelMap:
    """The mask with its axes in the order and direction of another grid of the same voxels.

    Raises: GridError where the two grids do not have the same voxels.
    """
    dims = geometry.spatial_dims
    steps = (np.linalg.inv(geometry.affine_ras) @ label_map.geometry.affine_ras)[:dims, :dims]
    if label_map.geometry.spatial_dims == dims:
        order = np.abs(steps).argmax(0)  # of each axis of the mask the axis of the grid
        signs = np.sign(steps[order, np.arange(dims)])
        if len(set(order.tolist())) == dims:
            voxels: NDArray[Any] = label_map.voxels.transpose(np.argsort(order))
            backwards = tuple(int(order[axis]) for axis in range(dims) if signs[axis] < 0)
            turned = np.ascontiguousarray(np.flip(voxels, backwards))
            if _same_voxels(label_map.geometry, geometry, order, signs):
                return LabelMap(turned, geometry, label_map.table)
    raise GridError(
        f"a mask of {label_map.geometry.shape_ijk} voxels of {_sizes(label_map.geometry)} mm does not lie on the "
        f"image's voxels ({geometry.shape_ijk} of {_sizes(geometry)} mm); give the image that it was made from"
    )


def _same_voxels(own: Geometry, other: Geometry, order: NDArray[Any], signs: NDArray[Any]) -> bool:
    """Whether the other grid, its axes turned as the own one's, is the own grid."""
    return own.is_same_grid(other.reordered(order.tolist(), (signs < 0).tolist()), _ALIGNED_MM)


def _sizes(geometry: Geometry) -> str:
    return " x ".join(f"{s:.4g}" for s in geometry.spacing_mm)
