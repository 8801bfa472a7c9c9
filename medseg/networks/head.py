"""A network in two: all but its last layer, and that layer, where it looks at each voxel alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from medseg.networks.build import NetworkSpec
from medseg.networks.unet import UNet
from medseg.networks.unetpp import UNetPP

_MANY_CLASSES = 32


@dataclass(frozen=True)
class SplitNetwork:
    """body: (B, in, *S) -> features (B, F, *S); head: features -> logits (B, out, *S), a 1-wide convolution.

    Both are parts of the network that was split, not copies.
    """

    body: nn.Module
    head: nn.Module


class _Body(nn.Module):
    def __init__(self, network: UNet):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.features(x)


class _BodyOfDepth(nn.Module):
    def __init__(self, network: UNetPP, depth: int):
        super().__init__()
        self.network, self.depth = network, depth

    def forward(self, x: Tensor) -> Tensor:
        return self.network.nodes(x, self.depth)[-1]


def split_head(network: nn.Module, depth: int | None = None) -> SplitNetwork | None:
    """The two parts of a UNet, or of a UNet++ at a depth (None: its greatest); None for other networks.

    An ensemble averages several heads, an FCN scores before it interpolates, and on patches one feature serves voxels
    that windows weigh differently: none of them ends in a layer that could wait.
    """
    if isinstance(network, UNet):
        return SplitNetwork(_Body(network), network.head)
    if isinstance(network, UNetPP):
        depth = network.depth if depth is None else depth
        return SplitNetwork(_BodyOfDepth(network, depth), network.heads[depth - 1])
    return None


def blended_width(spec: NetworkSpec) -> int | None:
    """The number of features where windows are better blended as features than as logits, else None.

    That is so where they are fewer than the classes and the classes are many: the head is then computed once for a
    voxel, not once for every window over it, but it costs more than it saves for few classes.
    """
    options = spec.options or {}
    whole = options.get("patch", 1) == options.get("members", 1) == 1
    if spec.is_monai or spec.preset == "fcn" or not whole:
        return None
    return spec.widths[0] if spec.out_channels > max(spec.widths[0], _MANY_CLASSES) else None
