"""A network on patches: p voxels along each axis become channels, so that its finest level is p times coarser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class Patched(nn.Module):
    """A network of in * p**d channels on an image of `in`, and its logits of out * p**d channels as `out`.

    The finest level costs p**d times less, and every voxel keeps logits of its own. Sizes that p does not divide are
    filled up with zeros at their end, and the logits there dropped.
    Source: space to depth, Shi et al. 2016, arXiv:1609.05158.
    """

    def __init__(self, network: nn.Module, patch: int):
        super().__init__()
        self.network = network
        self.patch = patch

    def forward(self, x: Tensor, *arguments: int | None) -> Tensor:
        """(B, in, *S) -> (B, out, *S); further arguments are the network's."""
        return self._unfold(self.network(self._fold(x), *arguments), x)

    def _fold(self, x: Tensor) -> Tensor:
        lacking = [-n % self.patch for n in x.shape[2:]]
        return space_to_depth(F.pad(x, [n for lack in reversed(lacking) for n in (0, lack)]), self.patch)

    def _unfold(self, logits: Tensor, x: Tensor) -> Tensor:
        logits = depth_to_space(logits, self.patch)
        for axis, n in enumerate(x.shape[2:], start=2):
            logits = logits.narrow(axis, 0, n)
        return logits


class PatchedHeads(Patched):
    """The same of a network with several heads, and so with several heads."""

    network: Any

    def all_logits(self, x: Tensor) -> list[Tensor]:
        """The logits (B, out, *S) of every head of the network."""
        return [self._unfold(logits, x) for logits in self.network.all_logits(self._fold(x))]

    @property
    def depth(self) -> int:
        """The greatest depth of the network."""
        return int(self.network.depth)


def space_to_depth(x: Tensor, patch: int) -> Tensor:
    """(B, C, *S) -> (B, C * patch**d, *S / patch); the place in the patch runs fastest, as in torch's pixel_unshuffle.

    >>> import torch
    >>> space_to_depth(torch.arange(4.0).view(1, 1, 2, 2), 2).flatten().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    batch, channels, *size = x.shape
    dims = len(size)
    split = x.reshape(batch, channels, *(part for n in size for part in (n // patch, patch)))
    inner, outer = [3 + 2 * a for a in range(dims)], [2 + 2 * a for a in range(dims)]
    return split.permute(0, 1, *inner, *outer).reshape(batch, channels * patch**dims, *(n // patch for n in size))


def depth_to_space(x: Tensor, patch: int) -> Tensor:
    """The inverse of `space_to_depth`: (B, C * patch**d, *S) -> (B, C, *S * patch)."""
    batch, channels, *size = x.shape
    dims = len(size)
    split = x.reshape(batch, channels // patch**dims, *[patch] * dims, *size)
    order = [axis for a in range(dims) for axis in (2 + dims + a, 2 + a)]
    return split.permute(0, 1, *order).reshape(batch, -1, *(n * patch for n in size))


def on_patches(
    build: Callable[[int, int], nn.Module], in_channels: int, out_channels: int, spatial_dims: int, patch: int
) -> nn.Module:
    """The network that `build(in_channels, out_channels)` gives, on patches; itself for patches of one voxel."""
    if patch == 1:
        return build(in_channels, out_channels)
    network = build(in_channels * patch**spatial_dims, out_channels * patch**spatial_dims)
    return PatchedHeads(network, patch) if hasattr(network, "all_logits") else Patched(network, patch)
