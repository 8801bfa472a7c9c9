"""Touching things told apart: a network's three classes to instances, and instances to the three classes it learns.

The classes are 0 background, 1 interior and 2 boundary, the inner rim of every instance (Caicedo et al. 2019,
doi:10.1002/cyto.a.23863). Two nuclei that touch share no interior, so each interior is the seed of one instance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label as connected_pieces
from skimage.segmentation import watershed

from medseg.domain.errors import GridError, ValueRangeError

BACKGROUND, INTERIOR, BOUNDARY = 0, 1, 2
_MOST = int(np.iinfo(np.uint16).max)


def instances_from_boundary(
    probabilities: NDArray[np.floating[Any]],
    *,
    marker_threshold: float,
    foreground_threshold: float,
    min_voxels: int,
) -> NDArray[np.uint16]:
    """The instances that probabilities of background, interior and boundary tell of.

    A seed is a face-connected region of interior - boundary > marker_threshold; the seeds grow within
    interior + boundary > foreground_threshold, over the ridge of the boundary last (watershed). A piece of foreground
    without a seed is an instance of its own; instances of fewer than min_voxels are background.

    Shapes: (3, *S), 2-D or 3-D, to (*S); instances are numbered 1..n in the order of their first voxels.
    Empty:  no foreground gives zeros.
    Raises: GridError for other shapes; ValueRangeError for NaN, or for more than 65535 instances.
    Source: watershed from seeds, Meyer 1991, as scikit-image has it.
    """
    if probabilities.ndim not in (3, 4) or probabilities.shape[0] != 3:
        raise GridError(f"three classes on a picture or volume are (3, *S), not {probabilities.shape}")
    if np.isnan(probabilities).any():
        raise ValueRangeError("the network's probabilities hold NaN; run it in a higher precision (--precision fp32)")
    _, interior, boundary = probabilities.astype(np.float32)
    foreground = interior + boundary > foreground_threshold
    seeds = connected_pieces(foreground & (interior - boundary > marker_threshold), connectivity=1)
    seeds = _with_seedless_pieces(seeds, foreground)
    corners = ndimage.generate_binary_structure(foreground.ndim, foreground.ndim)  # as for the pieces of foreground
    grown = watershed(boundary - interior, seeds, connectivity=corners, mask=foreground)
    sizes = np.bincount(grown.ravel())
    return renumber(np.where(sizes[grown] >= min_voxels, grown, 0))


def boundary_classes(instances: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """What a network learns of an instance map: 0 background, 1 interior, 2 boundary.

    The boundary is the inner rim, two voxels wide, or one where two would leave no interior or tear it apart; a thing
    too small for either keeps its innermost voxel, and a thing that even the thin rim tears keeps its largest interior.
    The edge of the image is no boundary. The pieces of a torn instance are treated each for itself.

    Shapes: (*S), 2-D or 3-D, 0 background, to (*S).
    Empty:  zeros.
    """
    pieces = connected_pieces(instances, background=0, connectivity=instances.ndim)
    thin, wide = (ndimage.generate_binary_structure(instances.ndim, n) for n in (1, instances.ndim))
    inside_1 = _shrink(pieces, thin)
    inside_2 = _shrink(inside_1, wide)
    interior = inside_2 > 0
    boxes = ndimage.find_objects(pieces)
    for number in np.flatnonzero(_count_pieces(inside_2, len(boxes)) != 1) + 1:
        box = boxes[number - 1]
        piece = pieces[box] == number
        interior[box] = np.where(piece, _core(piece, inside_1[box] == number), interior[box])
    return np.where(pieces == 0, BACKGROUND, np.where(interior, INTERIOR, BOUNDARY)).astype(np.uint8)


def renumber(instances: NDArray[np.integer[Any]]) -> NDArray[np.uint16]:
    """The same instances, numbered 1..n in the order of their first voxels.

    Raises: ValueRangeError for more than 65535 of them.

    >>> renumber(np.array([[0, 70], [9, 70]]))
    array([[0, 1],
           [2, 1]], dtype=uint16)
    """
    numbers, first, places = np.unique(instances, return_index=True, return_inverse=True)
    things = numbers != 0
    if things.sum() > _MOST:
        raise ValueRangeError(
            f"{things.sum()} instances are more than the {_MOST} a mask can number; cut the image into tiles or raise"
            " the smallest size"
        )
    renumbered = np.zeros(len(numbers), np.uint16)
    renumbered[things] = 1 + np.argsort(np.argsort(first[things]))
    return renumbered[places].reshape(instances.shape)


def _with_seedless_pieces(seeds: NDArray[Any], foreground: NDArray[np.bool_]) -> NDArray[Any]:
    """The seeds, and each connected piece of foreground that holds none as a seed of its own."""
    pieces = connected_pieces(foreground, connectivity=foreground.ndim)
    seedless = np.ones(int(pieces.max()) + 1, bool)
    seedless[0] = False
    seedless[pieces[seeds > 0]] = False
    return np.where(seedless[pieces], pieces + seeds.max(), seeds)


def _shrink(numbers: NDArray[Any], footprint: NDArray[np.bool_]) -> NDArray[Any]:
    """Each region without the voxels that see another number through the footprint."""
    least = ndimage.minimum_filter(numbers, footprint=footprint, mode="nearest")
    most = ndimage.maximum_filter(numbers, footprint=footprint, mode="nearest")
    return np.where(least == most, numbers, 0)


def _count_pieces(numbers: NDArray[Any], how_many: int) -> NDArray[np.intp]:
    """In how many face-connected pieces each of the numbers 1..how_many lies: (how_many,)."""
    pieces = connected_pieces(numbers, background=0, connectivity=1)
    _, first = np.unique(pieces, return_index=True)
    return np.bincount(numbers.ravel()[first], minlength=how_many + 1)[1:]


def _core(piece: NDArray[np.bool_], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest face-connected part of the inside of a piece, or its innermost voxel where it has no inside."""
    if inside.any():
        parts: NDArray[Any] = connected_pieces(inside, connectivity=1)
        largest: NDArray[np.bool_] = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
        return largest
    depth = ndimage.distance_transform_edt(np.pad(piece, 1))[(slice(1, -1),) * piece.ndim]
    core = np.zeros_like(piece)
    core.flat[np.argmax(depth)] = True
    return core
