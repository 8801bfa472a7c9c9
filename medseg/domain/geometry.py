"""Where voxels lie: a shape and an affine to RAS millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import GridError

Float64Array = NDArray[np.float64]


def unit_volume(affine: Float64Array) -> float:
    """Return the volume of the parallelepiped that the axes of an affine span when each has length 1.

    1 for axes at right angles, 0 where two point the same way, NaN where an axis has no length or is not finite.
    """
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        return float(abs(np.linalg.det(affine[:3, :3] / lengths)))


def nearest_rotation(matrix: Float64Array) -> Float64Array:
    """Return the rotation, or reflection, nearest to a matrix (3, 3) in the sum of squares (orthogonal Procrustes)."""
    left, _, right = np.linalg.svd(matrix)
    rotation: Float64Array = left @ right
    return rotation


@dataclass(frozen=True)
class PatientAxes:
    """Which array axis runs most nearly along right, anterior and superior.

    order:   the array axis of each patient axis; every array axis once.
    flipped: whether it falls along that patient axis.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]


@dataclass(frozen=True, eq=False)
class Geometry:
    """A grid of voxels in patient space.

    shape_ijk:  voxels along each array axis, two (a picture: columns, rows) or three.
    affine_ras: (4, 4) float64, voxel index to the millimetre position of the voxel's centre; right, anterior
                and superior are positive. A picture lies in the plane k = 0.
    calibrated: False where the file says no physical size; one pixel is then called 1 mm and no volume or area
                in millimetres may be told of it.

    Raises GridError if the affine is singular, not finite or not of that form.

    >>> Geometry((10, 10), np.diag([-0.5, -0.5, 1, 1])).spacing_mm
    (0.5, 0.5)
    """

    shape_ijk: tuple[int, ...]
    affine_ras: Float64Array
    calibrated: bool = True

    def __post_init__(self) -> None:
        affine = np.array(self.affine_ras, dtype=np.float64)
        affine.setflags(write=False)
        object.__setattr__(self, "affine_ras", affine)
        object.__setattr__(self, "shape_ijk", tuple(int(n) for n in self.shape_ijk))
        if len(self.shape_ijk) not in (2, 3) or min(self.shape_ijk) < 1:
            raise GridError(f"a grid has two or three axes of at least one voxel, not {self.shape_ijk}")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or (affine[3] != (0, 0, 0, 1)).any():
            raise GridError("the affine is not a finite 4 x 4 matrix with last row 0 0 0 1")
        if not unit_volume(affine) >= 1e-6:  # numbers near the end of float64 give NaN, which is refused too
            raise GridError("the affine is singular: some axis has no length; set the voxel sizes in the file")

    def __eq__(self, other: object) -> bool:
        """The same shape and, bit for bit, the same affine."""
        if not isinstance(other, Geometry):
            return NotImplemented
        return self.shape_ijk == other.shape_ijk and bool((self.affine_ras == other.affine_ras).all())

    def __hash__(self) -> int:
        return hash((self.shape_ijk, self.affine_ras.tobytes()))

    @property
    def spatial_dims(self) -> int:
        """2 for a picture, 3 for a volume."""
        return len(self.shape_ijk)

    @property
    def told_spacing_mm(self) -> tuple[float, ...] | None:
        """As reports tell it, to a millionth of a mm; None where nothing says what a pixel measures."""
        return tuple(round(mm, 6) for mm in self.spacing_mm) if self.calibrated else None

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Distance between neighbouring voxel centres along each array axis."""
        return tuple(float(s) for s in np.linalg.norm(self.affine_ras[:3, : self.spatial_dims], axis=0))

    @property
    def extent_ras_mm(self) -> Float64Array:
        """Edge lengths (3,), along R, A and S, of the box around the volume."""
        extent_mm: Float64Array = np.abs(self.directions) @ np.array(self.extent_mm)
        return extent_mm

    @property
    def directions(self) -> Float64Array:
        """Unit vectors along the array axes in RAS, as columns (3, spatial_dims)."""
        directions: Float64Array = self.affine_ras[:3, : self.spatial_dims] / np.array(self.spacing_mm)
        return directions

    @property
    def nearest_axes(self) -> PatientAxes:
        """The array axes of a volume nearest to right, anterior and superior.

        The array axis that points most clearly along some patient axis is taken first, as MONAI and nibabel
        (`io_orientation`) do, so that all of medseg and stock bundles agree on oblique volumes too.
        """
        left = np.abs(self.directions)
        order = [0, 0, 0]
        for axis in np.argsort(-left.max(0), kind="stable"):
            patient_axis = int(left[:, axis].argmax())
            order[patient_axis] = int(axis)
            left[patient_axis] = 0
        first, second, third = (bool(self.affine_ras[patient, axis] < 0) for patient, axis in enumerate(order))
        return PatientAxes((order[0], order[1], order[2]), (first, second, third))

    def reordered(self, order: Sequence[int], flipped: Sequence[bool]) -> Geometry:
        """Return the grid of the array transposed by `order` and then reversed along the axes that are flipped."""
        shape = tuple(self.shape_ijk[axis] for axis in order)
        first = np.zeros(self.spatial_dims)
        affine = self.affine_ras.copy()
        for place, (axis, backwards) in enumerate(zip(order, flipped, strict=True)):
            affine[:3, place] = self.affine_ras[:3, axis] * (-1 if backwards else 1)
            first[axis] = self.shape_ijk[axis] - 1 if backwards else 0
        affine[:3, 3] = self.ijk_to_ras_mm(first)
        return Geometry(shape, affine, self.calibrated)

    def corners_ras_mm(self, outer: bool = False) -> Float64Array:
        """Return the positions of the corner voxels' centres (2 ** spatial_dims, 3), or of the grid's outer corners."""
        margin = 0.5 if outer else 0.0
        ends = [(-margin, n - 1 + margin) for n in self.shape_ijk]
        return self.ijk_to_ras_mm(np.array(list(product(*ends)), dtype=np.float64))

    def corner_distance_mm(self, other: Geometry) -> float:
        """Return by how far a corner voxel lies from its twin in a grid of the same shape, at most."""
        return float(np.linalg.norm(self.corners_ras_mm() - other.corners_ras_mm(), axis=-1).max())

    def is_perpendicular(self, tolerance: float = 1e-9) -> bool:
        """Return whether the axes stand at right angles: no cosine between two of them above the tolerance."""
        axes = self.directions
        return bool(np.abs(axes.T @ axes - np.eye(self.spatial_dims)).max() <= tolerance)

    @property
    def extent_mm(self) -> tuple[float, ...]:
        """Edge lengths of the whole grid, voxel edges included."""
        return tuple(n * s for n, s in zip(self.shape_ijk, self.spacing_mm, strict=True))

    @property
    def voxel_volume_mm3(self) -> float:
        """From the determinant, so that a shear is counted right; of a picture the area in mm2."""
        if self.spatial_dims == 2:
            return float(np.linalg.norm(np.cross(self.affine_ras[:3, 0], self.affine_ras[:3, 1])))
        return abs(float(np.linalg.det(self.affine_ras[:3, :3])))

    def ijk_to_ras_mm(self, ijk: Float64Array) -> Float64Array:
        """Voxel indices (..., spatial_dims) to positions (..., 3)."""
        ijk = np.asarray(ijk, dtype=np.float64)
        return ijk @ self.affine_ras[:3, : ijk.shape[-1]].T + self.affine_ras[:3, 3]

    def ras_mm_to_ijk(self, ras_mm: Float64Array) -> Float64Array:
        """Positions (..., 3) to fractional voxel indices (..., 3)."""
        return (np.asarray(ras_mm, dtype=np.float64) - self.affine_ras[:3, 3]) @ np.linalg.inv(
            self.affine_ras[:3, :3]
        ).T

    def crop(self, start_ijk: Sequence[int], shape_ijk: Sequence[int]) -> Geometry:
        """The part of the grid that begins at voxel start_ijk; the rest of the world stays where it is."""
        affine = self.affine_ras.copy()
        affine[:3, 3] = self.ijk_to_ras_mm(np.array(start_ijk, dtype=np.float64))
        return Geometry(tuple(shape_ijk), affine, self.calibrated)

    def perpendicular(self, tolerance: float = 1e-4) -> Geometry:
        """The grid with its axes at right angles, where only rounding keeps them from it; else this very grid.

        The cosines of the float32 affine of an oblique NIfTI file are off by 1e-8. Whoever asks whether a grid is
        sheared, as MONAI's Spacing does, would treat that file otherwise than the same scan from DICOM.
        tolerance: the largest cosine between two axes that counts as rounding.
        """
        spacing_mm = np.linalg.norm(self.affine_ras[:3, :3], axis=0)
        axes = self.affine_ras[:3, :3] / spacing_mm
        cosines = np.abs(axes.T @ axes)[np.triu_indices(3, 1)]
        if not 0 < cosines.max() <= tolerance:
            return self
        affine = self.affine_ras.copy()
        affine[:3, :3] = nearest_rotation(axes) * spacing_mm
        return Geometry(self.shape_ijk, affine, self.calibrated)

    def is_same_grid(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Same shape, and no corner voxel further than the tolerance from its twin."""
        if self.shape_ijk != other.shape_ijk:
            return False
        return self.corner_distance_mm(other) <= tolerance_mm
