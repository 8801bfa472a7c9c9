"""Where voxels lie: a shape and an affine to RAS millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import GridError

Float64Array = NDArray[np.float64]


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
        with np.errstate(all="ignore"):  # numbers near the end of float64 give NaN, which is refused too
            lengths = np.linalg.norm(affine[:3, :3], axis=0)
            volume = abs(np.linalg.det(affine[:3, :3] / lengths))  # of the parallelepiped of unit edges
        if not volume >= 1e-6:
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
        directions = np.abs(self.affine_ras[:3, :3]) / np.array(self.spacing_mm)
        extent_mm: Float64Array = directions @ np.array(self.extent_mm)
        return extent_mm

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
        left, _, right = np.linalg.svd(axes)
        affine = self.affine_ras.copy()
        affine[:3, :3] = left @ right * spacing_mm  # the nearest rotation
        return Geometry(self.shape_ijk, affine, self.calibrated)

    def is_same_grid(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Same shape, and no corner voxel further than the tolerance from its twin."""
        if self.shape_ijk != other.shape_ijk:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape_ijk])).reshape(self.spatial_dims, -1).T
        distance_mm = np.linalg.norm(self.ijk_to_ras_mm(corners) - other.ijk_to_ras_mm(corners), axis=-1)
        return bool(distance_mm.max() <= tolerance_mm)
