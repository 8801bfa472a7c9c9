"""Normalisation whose means are taken axis by axis, for runtimes that add all voxels of a window up in a row.

OpenVINO and ONNX Runtime do: of 96 x 96 x 96 voxels their instance norm is wrong in the third digit.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

_INSTANCE = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


class StagedNorm(nn.Module):
    """(B, C, *S) -> (B, C, *S): what an instance or group norm computes, up to rounding.

    groups: that are normalised apart, of as many channels each.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, groups: int, eps: float, weight: Tensor | None, bias: Tensor | None):
        super().__init__()
        self.groups, self.eps = groups, eps
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) -> (B, C, *S)."""
        batch, channels, *size = x.shape
        centred = x.reshape(batch, self.groups, channels // self.groups * size[0], *size[1:])
        centred = centred - _mean(centred)
        normal = (centred * torch.rsqrt(_mean(centred * centred) + self.eps)).reshape(x.shape)
        if self.weight is None or self.bias is None:
            return normal
        alike = (channels,) + (1,) * len(size)
        return normal * self.weight.reshape(alike) + self.bias.reshape(alike)


def with_staged_norms(network: nn.Module) -> nn.Module:
    """A copy whose instance and group norms are staged; those that go by running statistics add nothing up."""
    staged = nn.Sequential(deepcopy(network))  # the network may be a norm itself
    for module in list(staged.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, StagedNorm(child.num_groups, child.eps, child.weight, child.bias))
            elif isinstance(child, _INSTANCE) and not child.track_running_stats:
                setattr(module, name, StagedNorm(child.num_features, child.eps, child.weight, child.bias))
    return staged[0]


def _mean(x: Tensor) -> Tensor:
    """Over all axes but the first two. Between axes the shape changes: OpenVINO would make one sum of all again."""
    batch, groups, *size = x.shape
    for length in reversed(size):
        x = x.reshape(batch, -1, length).mean(-1)
    return x.reshape(batch, groups, *(1 for _ in size))
