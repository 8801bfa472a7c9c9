"""Where the organs are in an image that shows more than the network takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medseg.bundle.bundle import Localiser
from medseg.domain.box import Box
from medseg.domain.errors import FieldOfViewError
from medseg.domain.geometry import Float64Array
from medseg.domain.volume import Volume
from medseg.inference.region import box_fits
from medseg.inference.register import Fit, register

_BY_HAND = "say where to look with --roi x,y,z,dx,dy,dz"


@dataclass(frozen=True)
class Located:
    """The boxes of the regions, by name, and how well the template fits."""

    boxes: dict[str, Box]
    fit: Fit


def locate(volume: Volume, localiser: Localiser, template: Volume, name: str) -> Located:
    """The template is laid on the image, and with it the regions.

    A box moves with its centre, rounded to 0.1 mm, and keeps its size and its edges along R, A and S: the network is
    used to that size, and larger boxes were measured to be worse, also for tilted heads. Names of regions hold in the
    patient: the affine tells left from right.
    Raises: FieldOfViewError where the fit is poor or a box reaches out of the image.
    """
    fit = register(volume, template)
    _require_fit(fit, localiser, name)
    boxes = {region.name: _moved(region.box, fit.matrix) for region in localiser.regions}
    lost = [region for region, box in boxes.items() if not box_fits(box, volume.geometry)]
    if lost:
        found = "".join(f"; {region}: --roi={box}" for region, box in boxes.items() if region not in lost)
        raise FieldOfViewError(
            f"{name}: the {' and the '.join(lost)} region would be at {boxes[lost[0]]} (centre and size in mm), which "
            f"reaches out of the image; give an image of the whole region or a box that lies in it{found}"
        )
    return Located(boxes, fit)


def _require_fit(fit: Fit, localiser: Localiser, name: str) -> None:
    shortest, _, longest = sorted(np.linalg.svd(fit.matrix[:3, :3])[1])
    low, high = localiser.scale
    if fit.coverage < localiser.worst_coverage:
        reason = f"{fit.coverage:.0%} of it would lie in the image, at least {localiser.worst_coverage:.0%} must"
    elif fit.correlation < localiser.worst_correlation:
        reason = f"the correlation is {fit.correlation:.2f}, at least {localiser.worst_correlation:g} is needed"
    elif shortest < low or longest > high or np.linalg.det(fit.matrix[:3, :3]) < 0:
        reason = f"it would be stretched {shortest:.2f} to {longest:.2f} times, allowed are {low:g} to {high:g}"
    else:
        return
    raise FieldOfViewError(f"{name}: the bundle's template does not fit this image: {reason}; {_BY_HAND}")


def _moved(box: Box, matrix: Float64Array) -> Box:
    x, y, z = matrix[:3, :3] @ np.array(box.centre_ras_mm) + matrix[:3, 3]
    return Box((_tenth(x), _tenth(y), _tenth(z)), box.size_mm)


def _tenth(mm: float) -> float:
    return round(float(mm), 1) + 0.0  # no minus zero
