"""What a labelled data set looks like: the facts from which the defaults of a training follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medseg.domain.errors import InputError
from medseg.domain.manifest import Case
from medseg.domain.volume import Volume

_LEAST_VOXELS = 10  # a smaller piece is more often a slip of the pen than a structure
_MOST_CASES = 64


@dataclass(frozen=True)
class Fingerprint:
    """Sizes are of the sampled cases; axes are right, anterior, superior for volumes, columns and rows for pictures.

    cases:            training cases in all; `sampled` of them were looked at.
    shape:            median voxels along each axis; `shape_low` and `shape_high` are the 10th and 90th percentile.
    spacing_mm:       median voxel size, None for pictures.
    piece_voxels:     equivalent diameter, in voxels of the median spacing, of the connected pieces (or instances) of
                      the labels: 10th percentile and median.
    least_piece:      voxels, as they are in the images, that 99 of 100 of those pieces have at least.
    labelled_share:   share of voxels that bear a label; `label_shares` by label value.
    intensity:        0.5th and 99.5th percentile, mean and deviation inside the labels.
    intensity_spread: largest over smallest 99th percentile of the images: far above 1 where scanners do not calibrate.
    """

    spatial_dims: int
    channels: int
    cases: int
    sampled: int
    shape: tuple[int, ...]
    shape_low: tuple[int, ...]
    shape_high: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None
    piece_voxels: tuple[float, float]
    least_piece: int
    labelled_share: float
    label_shares: tuple[float, ...]
    intensity: tuple[float, float, float, float]
    intensity_spread: float


def sample_cases(cases: Sequence[Case], most: int = _MOST_CASES) -> tuple[Case, ...]:
    """At most so many cases, spread evenly over their order: what a fingerprint looks at."""
    if len(cases) <= most:
        return tuple(cases)
    return tuple(cases[n * len(cases) // most] for n in range(most))


def fingerprint(
    pairs: Iterable[tuple[Volume, NDArray[Any]]], cases: int, values: Sequence[int], instances: bool
) -> Fingerprint:
    """The fingerprint of sampled images and their masks (*shape_ijk) in label values.

    cases:  how many there are in all.
    values: those of the label table.
    Raises: InputError if no case, or no voxel of any, is labelled.
    """
    shapes, spacings, diameters, sizes, inside, tops = [], [], [], [], [], []
    counts = np.zeros(len(values))
    voxels = 0
    volume = None
    for volume, mask in pairs:
        order = _ras_order(volume)
        shapes.append([volume.geometry.shape_ijk[a] for a in order])
        spacings.append([volume.geometry.spacing_mm[a] for a in order])
        counts += [np.count_nonzero(mask if instances else mask == value) for value in values]
        voxels += mask.size
        pieces = _piece_sizes(mask, instances)
        sizes += pieces.tolist()
        diameters += _diameters(pieces[pieces >= _LEAST_VOXELS], volume.geometry.spacing_mm)
        if mask.any():
            inside.append(volume.voxels[0][mask > 0][:: max(np.count_nonzero(mask) // 10_000, 1)])
        tops.append(float(np.percentile(volume.voxels, 99)))
    if volume is None or not inside:
        raise InputError("no labelled voxel in the sampled training cases; look at the masks with `manifest check`")
    dims = volume.geometry.spatial_dims
    spacing_mm = np.median(spacings, axis=0)
    mm_a_voxel = float(np.prod(spacing_mm) ** (1 / dims)) if dims == 3 else 1.0
    low, middle, high = (np.percentile(shapes, q, axis=0) for q in (10, 50, 90))
    labelled = np.concatenate(inside).astype(np.float64)
    tops = [top for top in tops if top > 0] or [1.0]
    return Fingerprint(
        spatial_dims=dims,
        channels=volume.channels,
        cases=cases,
        sampled=len(shapes),
        shape=_whole(middle),
        shape_low=_whole(low),
        shape_high=_whole(high),
        spacing_mm=tuple(round(float(mm), 4) for mm in spacing_mm) if dims == 3 else None,
        piece_voxels=_rounded(np.percentile(diameters, (10, 50)) / mm_a_voxel, 2) if diameters else (0.0, 0.0),
        least_piece=int(np.percentile(sizes, 1)),
        labelled_share=round(float(counts.sum() / voxels), 6),
        label_shares=_rounded(counts / voxels, 6),
        intensity=_rounded([*np.percentile(labelled, (0.5, 99.5)), labelled.mean(), labelled.std()], 4),
        intensity_spread=round(max(tops) / min(tops), 2),
    )


def _ras_order(volume: Volume) -> list[int]:
    """The array axis that runs along right, anterior, superior; a picture's axes as they are."""
    return [0, 1] if volume.geometry.spatial_dims == 2 else list(volume.geometry.nearest_axes.order)


def _piece_sizes(mask: NDArray[Any], instances: bool) -> NDArray[np.intp]:
    """Voxels of each instance, or of each connected piece of each label."""
    if instances:
        return np.unique(mask[mask > 0], return_counts=True)[1]
    values = np.unique(mask[mask > 0])
    sizes = [np.bincount(ndimage.label(mask == value)[0].ravel())[1:] for value in values]
    return np.concatenate(sizes) if sizes else np.zeros(0, np.intp)


def _diameters(counts: NDArray[np.intp], spacing_mm: Sequence[float]) -> list[float]:
    """Of circles or balls of so many voxels: in mm for volumes, in pixels for pictures."""
    if len(spacing_mm) == 2:
        return [float(d) for d in 2 * np.sqrt(counts / np.pi)]
    return [float(d) for d in 2 * np.cbrt(counts * float(np.prod(spacing_mm)) * 3 / (4 * np.pi))]


def _whole(values: Iterable[float]) -> tuple[int, ...]:
    return tuple(round(float(v)) for v in values)


def _rounded(values: Iterable[float], digits: int) -> Any:
    return tuple(round(float(v), digits) for v in values)
