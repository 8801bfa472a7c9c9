"""A 2-D bundle on a volume: slice by slice, each as the picture that people look at and that training showed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.bundle.bundle import Bundle
from medseg.data.spacing import Spaced
from medseg.domain.errors import InputError
from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume

# Patient axes (0 right, 1 anterior, 2 superior) across and down a picture, and the one it looks along; the signs say
# where the picture's columns and rows go: to the left, to the back, downwards, as in radiology.
_AXES = {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}


@dataclass(frozen=True)
class Slicing:
    """How the slices lie in an array of three axes.

    axis:   the array axis that is walked.
    across: the array axis of a picture's columns; `down` that of its rows.
    flips:  which of the two run against the picture and are turned round.
    patient_axis: that which is walked: 0 right, 1 anterior, 2 superior.
    """

    axis: int
    across: int
    down: int
    flips: tuple[bool, bool]
    patient_axis: int


def slicing_of(volume: Volume, bundle: Bundle) -> Slicing:
    """Along the axis that the bundle names; else that of the slices of a DICOM series, and axial for other files.

    Each array axis is taken for the patient axis that it runs nearest to.
    """
    axes = volume.geometry.nearest_axes
    nearest = [axes.order.index(axis) for axis in range(3)]
    if bundle.slices is not None:
        across, down, along = _AXES[bundle.slices]
    else:
        along = nearest[2] if volume.series is not None else 2
        across, down, along = next(axes for axes in _AXES.values() if axes[2] == along)
    i, j, k = (axes.order[axis] for axis in (across, down, along))
    return Slicing(k, i, j, (not axes.flipped[across], not axes.flipped[down]), along)


def pictures(volume: Volume, slicing: Slicing, bundle: Bundle) -> Iterator[tuple[int, Volume]]:
    """Each slice that has contrast to be normalised by, with its place, as a picture of known pixel size."""
    spacing_mm = volume.geometry.spacing_mm
    sizes = (spacing_mm[slicing.across], spacing_mm[slicing.down])
    for k in range(volume.geometry.shape_ijk[slicing.axis]):
        pixels = np.ascontiguousarray(_turned(volume.voxels.take(k, 1 + slicing.axis), slicing, 1))
        low, high = (1, 99) if bundle.preprocess.normalise == "percentile" else (0, 100)
        if np.ptp(np.percentile(pixels, (low, high))) == 0:
            continue
        geometry = Geometry(pixels.shape[1:], np.diag([-sizes[0], -sizes[1], 1.0, 1.0]))
        yield k, replace(volume, voxels=pixels, geometry=geometry, nifti_header=None, series=None)


def at_pixel_size(picture: Volume, pixel_mm: float | None) -> Volume:
    """The picture on pixels of that size, interpolated linearly from its first pixel on; None: as it is."""
    if pixel_mm is None:
        return picture
    sizes = picture.geometry.spacing_mm
    plate = Geometry((*picture.geometry.shape_ijk, 1), np.diag([*sizes, 1.0, 1.0]))
    spaced = Spaced.of(plate, (pixel_mm, pixel_mm, 1.0))
    assert spaced is not None  # its axes are at right angles
    pixels = spaced.linear(picture.voxels[..., None]).numpy()[..., 0]
    made = spaced.affine_ras.diagonal()
    return replace(picture, voxels=pixels, geometry=Geometry(pixels.shape[1:], np.diag([-made[0], -made[1], 1.0, 1.0])))


def slice_shape(volume: Volume, slicing: Slicing, bundle: Bundle) -> list[int]:
    """About the pixels across and down each picture that the network sees."""
    geometry = volume.geometry
    sizes = [(geometry.shape_ijk[axis], geometry.spacing_mm[axis]) for axis in (slicing.across, slicing.down)]
    return [n if bundle.pixel_mm is None else max(round(n * mm / bundle.pixel_mm), 1) for n, mm in sizes]


def put_back(labels: NDArray[Any], volume_labels: NDArray[Any], k: int, slicing: Slicing) -> None:
    """The labels (X, Y) of one picture into the slice that it was made of."""
    place: list[Any] = [slice(None)] * 3
    place[slicing.axis] = k
    volume_labels[tuple(place)] = _turned_back(labels, slicing)


def block_back(
    place: tuple[slice, ...], values: NDArray[Any], k: int, slicing: Slicing, shape_ijk: tuple[int, ...]
) -> tuple[tuple[slice, ...], NDArray[Any]]:
    """Values (C, *block) of a place in one picture as a block (C, *block) of the volume, and its place there."""
    places = [slice(k, k + 1)] * 3
    for n, axis in enumerate((slicing.across, slicing.down)):
        length, part = shape_ijk[axis], place[n]
        places[axis] = slice(length - part.stop, length - part.start) if slicing.flips[n] else part
    values = np.flip(values, tuple(1 + n for n in range(2) if slicing.flips[n]))
    if slicing.across > slicing.down:
        values = values.swapaxes(1, 2)
    return tuple(places), np.expand_dims(values, 1 + slicing.axis)


def require_sliceable(bundle: Bundle, name: str) -> None:
    """Raises: InputError for bundles that number things: one thing in two slices would count twice."""
    if bundle.labels.kind == "instances":
        raise InputError(
            f"{name}: is a volume, and bundle {bundle.name} numbers the things of a picture: what lies in several "
            "slices would be counted several times; give single pictures"
        )


def _turned(plane: NDArray[Any], slicing: Slicing, first: int) -> NDArray[Any]:
    """A plane whose axes from `first` on are in the array's order, as a picture: across, then down."""
    if slicing.across > slicing.down:
        plane = plane.swapaxes(first, first + 1)
    return np.flip(plane, tuple(first + n for n in range(2) if slicing.flips[n]))


def _turned_back(picture: NDArray[Any], slicing: Slicing) -> NDArray[Any]:
    plane = np.flip(picture, tuple(n for n in range(2) if slicing.flips[n]))
    return plane.T if slicing.across > slicing.down else plane
