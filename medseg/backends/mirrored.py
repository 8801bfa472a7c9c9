"""Test-time augmentation: the image is also shown mirrored, and the answers are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]


def turned(network: Network, axes: Sequence[int]) -> Network:
    """The network's answer to the mirror image, mirrored back; axes: spatial ones, 0 the first."""
    dims = [2 + axis for axis in axes]

    def run(windows: Tensor) -> Tensor:
        return torch.flip(network(torch.flip(windows, dims)).float(), dims)

    return run


def mirrored(network: Network, axes: Sequence[int]) -> Network:
    """The mean logits over all mirror images: 2 ** len(axes) passes instead of one.

    axes: those along which the network was trained with mirror images.
    Source: Simonyan and Zisserman 2015, arXiv:1409.1556, there of horizontal flips.
    """
    views = [turned(network, chosen) for n in range(1, len(axes) + 1) for chosen in combinations(axes, n)]

    def run(windows: Tensor) -> Tensor:
        total = network(windows).float()
        for view in views:
            total = total + view(windows)
        return total / (1 + len(views))

    return run
