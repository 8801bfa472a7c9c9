"""Whether an image suits a bundle and the machine, asked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from medseg.bundle.bundle import Bundle, SpacingRange
from medseg.data.spacing import Spaced
from medseg.domain.errors import GridError, InputError
from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.inference.slices import slice_shape, slicing_of
from medseg.io.memory import require_memory
from medseg.networks.head import blended_width
from medseg.windows import stream_bytes

# Where a bundle declares nothing: from the finest micro-CT of an organ to beyond the thickest slice.
_ANY_SPACING = SpacingRange(0.01, 20.0)
_ROUNDING = 1.001  # of sizes in float32 headers

# Bytes for a voxel, measured as the growth of the process.
_GRID, _SHEARED = 10, 60  # of the image while it is brought to the network's grid and normalised; and by MONAI
_LABELS = 4  # of the labels while they are made


def require_spacing(volume: Volume, bundle: Bundle, name: str) -> None:
    """See `require_plausible_spacing`, with what the bundle declares."""
    require_plausible_spacing(volume, bundle.name, bundle.spacing_range, name)


def require_plausible_spacing(volume: Volume, bundle_name: str, taken: SpacingRange | None, name: str) -> None:
    """Raises: GridError for voxels of a size that a bundle does not take, mostly a mistake of units.

    taken: what the bundle declares; where it declares nothing, any size from micro-CT to the thickest slice.
    Pictures and images of unknown pixel size are not checked.
    """
    if volume.geometry.spatial_dims != 3 or not volume.geometry.calibrated:
        return
    taken = taken or _ANY_SPACING
    spacing_mm = volume.geometry.spacing_mm
    if min(spacing_mm) < taken.smallest_mm / _ROUNDING or max(spacing_mm) > taken.largest_mm * _ROUNDING:
        raise GridError(
            f"{name}: voxels of {' x '.join(f'{s:.4g}' for s in spacing_mm)} mm, bundle {bundle_name} takes "
            f"{taken.smallest_mm:g} to {taken.largest_mm:g} mm; set the true size and its unit in the file"
        )


def require_size(volume: Volume, bundle: Bundle, name: str) -> None:
    """Raises: InputError where the network's coarsest level would not have one voxel of the image along some axis.

    Whatever is larger but smaller than a window is padded. Of a volume for a 2-D bundle the slices are asked; one of
    them is enough.
    """
    least = 2 ** (len(bundle.network.widths) - 1)
    if volume.geometry.spatial_dims > bundle.network.spatial_dims:
        slicing = slicing_of(volume, bundle)
        given = tuple(volume.geometry.shape_ijk[axis] for axis in (slicing.across, slicing.down))
        shape: Sequence[int] = slice_shape(volume, slicing, bundle)
        seen, kind = "slices of ", "slices"
    else:
        given, shape = volume.geometry.shape_ijk, grid_shape(volume.geometry, bundle)
        seen, kind = "", {2: "a picture", 3: "a volume"}[volume.geometry.spatial_dims]
    if 1 in given or min(shape) < least:
        raise InputError(
            f"{name}: {seen}{' x '.join(map(str, given))} voxels are too few; bundle {bundle.name} takes "
            f"{kind} of two or more along every axis that make {least} or more of its own; give the whole image"
        )


def require_enough_memory(volume: Volume, bundle: Bundle, name: str, beside_bytes: int = 0) -> None:
    """Raises: ResourceError, with the need in GiB, where the image on the network's grid would not fit.

    beside_bytes: what others will take.
    """
    shape = " x ".join(map(str, volume.geometry.shape_ijk))
    require_memory(
        name, need_bytes(volume, bundle) + beside_bytes, f"segmenting {shape} voxels", "segment a part (--roi)"
    )


def need_bytes(volume: Volume, bundle: Bundle) -> int:
    """About what segmenting takes beside the image as read and the network; within a third of what was measured."""
    source, classes = prod(volume.geometry.shape_ijk), bundle.network.out_channels
    channels, shape = bundle.preprocess.channels, grid_shape(volume.geometry, bundle)
    if bundle.labels.kind == "instances":  # the logits of the whole image are kept
        return source * (12 * channels + 8 * classes)
    # slice by slice the image is walked in two axes; which of them does not matter here
    walked = sorted(shape)[-bundle.network.spatial_dims :]
    streamed = stream_bytes(walked, bundle.window, classes, blended_width(bundle.network), channels)
    if bundle.preprocess.spacing_mm is None:
        return source * 12 * channels + streamed
    grid = prod(shape)
    spaced = Spaced.of(volume.geometry.perpendicular(), bundle.preprocess.spacing_mm)
    return max(
        grid * (_SHEARED if spaced is None else _GRID) * channels, source * _LABELS + grid * 4 * channels + streamed
    )


def grid_shape(geometry: Geometry, bundle: Bundle) -> tuple[int, ...]:
    """About the image's shape on the network's grid, in the order of the image's axes."""
    spacing_mm = bundle.preprocess.spacing_mm
    if spacing_mm is None or len(spacing_mm) != geometry.spatial_dims:
        return geometry.shape_ijk
    order = (0, 1) if geometry.spatial_dims == 2 else geometry.nearest_axes.order
    sizes = [spacing_mm[order.index(axis)] for axis in range(geometry.spatial_dims)]
    return tuple(max(round(e / s), 1) for e, s in zip(geometry.extent_mm, sizes, strict=True))
