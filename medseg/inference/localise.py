"""Where the organs are in an image that shows more than the network takes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.bundle.bundle import Localiser
from medseg.domain.box import Box
from medseg.domain.errors import FieldOfViewError
from medseg.domain.geometry import Float64Array, Geometry, nearest_rotation
from medseg.domain.volume import Volume
from medseg.inference.register import Fit, register

_BY_HAND = "say where to look with --roi x,y,z,dx,dy,dz"


@dataclass(frozen=True, eq=False)
class Located:
    """The regions in an image, by name, and how well the template fits.

    turn: (3, 3), the rotation from the template to the image; the boxes are turned by it about their centres.
    """

    boxes: dict[str, Box]
    turn: Float64Array
    fit: Fit

    def corners(self, region: str) -> Float64Array:
        """(8, 3) in mm."""
        box = self.boxes[region]
        signs = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
        return (signs * np.array(box.size_mm)) @ self.turn.T + np.array(box.centre_ras_mm)

    def to_plain(self) -> dict[str, Any]:
        """For the report: boxes as text, the turn in degrees, and how well the template fits."""
        degrees = np.degrees(np.arccos(np.clip((np.trace(self.turn) - 1) / 2, -1, 1)))
        return {
            "boxes": {region: str(box) for region, box in self.boxes.items()},
            "turned_degrees": round(float(degrees), 1),
            "correlation": round(self.fit.correlation, 3),
        }


def locate(volume: Volume, localiser: Localiser, template: Volume, name: str) -> Located:
    """The template is laid on the image, and with it the regions.

    A box moves with its centre and turns with the head, but keeps its size, which the network is used to. Centres are
    rounded to 0.1 mm. Names of regions hold in the patient: the affine tells left from right.
    Raises: FieldOfViewError where the fit is poor or a region reaches out of the image by more than half a voxel.
    """
    fit = register(volume, template)
    _require_fit(fit, localiser, name)
    boxes = {region.name: _moved(region.box, fit.matrix) for region in localiser.regions}
    located = Located(boxes, nearest_rotation(fit.matrix[:3, :3]), fit)
    lost = [region for region in boxes if not _is_inside(located.corners(region), volume.geometry)]
    if lost:
        x, y, z = located.boxes[lost[0]].centre_ras_mm
        ends = volume.geometry.corners_ras_mm()
        raise FieldOfViewError(
            f"{name}: the region {lost[0]} is cut off: it would be around {x:g}, {y:g}, {z:g} mm, the image spans "
            f"{np.round(ends.min(0), 1).tolist()} to {np.round(ends.max(0), 1).tolist()} mm; give an image of the "
            f"whole head, or {_BY_HAND}"
        )
    return located


def _require_fit(fit: Fit, localiser: Localiser, name: str) -> None:
    shortest, _, longest = sorted(np.linalg.svd(fit.matrix[:3, :3])[1])
    low, high = localiser.scale
    if fit.coverage < localiser.worst_coverage:
        reason = f"{fit.coverage:.0%} of it would lie in the image, at least {localiser.worst_coverage:.0%} must"
    elif fit.correlation < localiser.worst_correlation:
        reason = f"the correlation is {fit.correlation:.2f}, at least {localiser.worst_correlation:g} is needed"
    elif np.linalg.det(fit.matrix[:3, :3]) < 0:
        reason = "it would be mirrored"
    elif shortest < low or longest > high:
        reason = f"it would be stretched {shortest:.2f} to {longest:.2f} times, allowed are {low:g} to {high:g}"
    else:
        return
    raise FieldOfViewError(f"{name}: the bundle's template does not fit this image: {reason}; {_BY_HAND}")


def _moved(box: Box, matrix: Float64Array) -> Box:
    x, y, z = matrix[:3, :3] @ np.array(box.centre_ras_mm) + matrix[:3, 3]
    return Box((_tenth(x), _tenth(y), _tenth(z)), box.size_mm)


def _tenth(mm: float) -> float:
    return round(float(mm), 1) + 0.0  # no minus zero


def _is_inside(corners: Float64Array, geometry: Geometry) -> bool:
    ijk = geometry.ras_mm_to_ijk(corners)
    return bool((ijk >= -1.0).all() and (ijk <= np.array(geometry.shape_ijk)).all())
