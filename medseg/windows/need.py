"""What streaming an image takes, known before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from medseg.windows.passes import kept_answers
from medseg.windows.placement import WindowSpec, place
from medseg.windows.stitch import slab_planes

_FLOAT = 4


def stream_bytes(
    shape: Sequence[int], spec: WindowSpec, classes: int, features: int | None = None, in_channels: int = 1
) -> int:
    """The most that `stream` holds at once beside the image and what the network needs within itself.

    features: the channels that are blended where a head makes the classes of them.

    The padded image, the ring with its weights, a batch of windows with its answers, the answers to constant windows,
    and a part of a slab with the one before it, which whoever takes it may still hold.
    """
    placement = place(shape, spec)
    blended = features or classes
    across = prod(n for axis, n in enumerate(placement.padded) if axis != placement.axis)
    depth, window = spec.size[placement.axis], prod(spec.size)
    padded = 0 if placement.padded == placement.shape else in_channels * prod(placement.padded)
    ring = blended * across * depth
    weights = 2 * across * depth + window
    windows = spec.batch * window * (in_channels + blended)
    constant = kept_answers(_FLOAT * blended * window) * blended * window
    apart = placement.apart and not features
    planes = min(slab_planes(max(blended, classes), across, apart), depth)
    slab = (2 * classes + (blended if features else 0)) * across * planes
    return _FLOAT * (padded + ring + weights + windows + constant + slab)
