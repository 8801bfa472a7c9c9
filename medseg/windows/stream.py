"""An image's windows, or many images', as a stream of finished slabs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from medseg.windows.passes import Network, Passes
from medseg.windows.placement import Row, WindowSpec
from medseg.windows.stitch import Head, Slab, Stitch


def stream(
    network: Network,
    image: Tensor,
    spec: WindowSpec,
    on_window: Callable[[int], None] | None = None,
    head: Head | None = None,
    device: torch.device | None = None,
) -> Iterator[Slab]:
    """The blended logits of an image (C, *S), as slabs along its longest axis, in order and without gaps.

    Planes are handed on as soon as no later window touches them; `stream_bytes` says what is held meanwhile. The same
    windows, in whatever batches, are added up in the same order.
    network:   (B, C, *size) -> (B, K, *size), without gradients.
    on_window: told the number of windows that each pass finished.
    head:      a linear map of each voxel's features (1, F, *S) -> (1, K, *S); the network then gives features, which
               are blended in place of the logits: the same up to rounding, for the weights of a voxel add up to 1.
    device:    of the network, if the image is to stay where it is and only windows are to travel.
    Raises: ResourceError where memory does not suffice for one window; larger batches are halved and go on.
    """
    stitch = Stitch(image, spec, head)
    passes = Passes(network, spec.batch, on_window, device)
    for row in stitch.placement.rows:
        for corner, values in passes.run((corner, stitch.window(corner)) for corner in row.corners):
            stitch.add(corner, values)
        yield from stitch.finish(row)


def stream_many(
    network: Network,
    images: Iterable[Tensor],
    spec: WindowSpec,
    on_window: Callable[[int], None] | None = None,
    head: Head | None = None,
    device: torch.device | None = None,
) -> Iterator[tuple[int, Slab]]:
    """As `stream`, of image after image (C, *S), each slab beside its image's number; batches reach across images.

    At most as many images are held as have windows in a batch; the next is asked for when its turn comes.
    """
    passes = Passes(network, spec.batch, on_window, device)
    for (number, stitch, row, corner), values in passes.run(_windows(images, spec, head)):
        stitch.add(corner, values)
        if corner == row.corners[-1]:
            for slab in stitch.finish(row):
                yield number, slab


def _windows(
    images: Iterable[Tensor], spec: WindowSpec, head: Head | None
) -> Iterator[tuple[tuple[int, Stitch, Row, tuple[int, ...]], Tensor]]:
    for number, image in enumerate(images):
        stitch = Stitch(image, spec, head)
        for row in stitch.placement.rows:
            for corner in row.corners:
                yield (number, stitch, row, corner), stitch.window(corner)


def collect(slabs: Iterator[Slab]) -> Tensor:
    """All slabs as one tensor (C, *S); for validation, where images are small."""
    parts = list(slabs)
    return torch.cat([slab.logits for slab in parts], dim=1 + parts[0].axis)
