"""Instance norms to train by.

Torch's own makes every map contiguous first, and gives a view of what it computed, so that the gradient of an
activation in place is copied four times.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class LayoutKeepingNorm(nn.InstanceNorm3d):
    """(B, C, D, H, W) -> (B, C, D, H, W) in the same layout: torch's instance norm, up to rounding."""

    def __init__(self, norm: nn.InstanceNorm3d):
        """In place of a norm with weights, which it takes over."""
        super().__init__(norm.num_features, norm.eps, affine=False)  # it makes none of its own
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) -> (B, C, D, H, W)."""
        if x[0, 0].numel() == 1:
            return super().forward(x)  # which refuses it
        return _InstanceNorm.apply(x, self.weight, self.bias, self.eps)


class OwningNorm(nn.Module):
    """(B, C, *S) -> (B, C, *S), contiguous and no view: torch's instance norm, up to rounding."""

    def __init__(self, norm: nn.InstanceNorm2d | nn.InstanceNorm3d):
        """In place of a norm with weights, which it takes over."""
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self._ndim = 4 if isinstance(norm, nn.InstanceNorm2d) else 5

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) -> (B, C, *S): each channel is a group of its own.

        Raises: ValueError for maps of one voxel, which torch's norm refuses too, and without an axis for the batch.
        """
        if x.ndim != self._ndim:
            raise ValueError(f"expected {self._ndim} axes, of batch, channels and space, got input size {x.shape}")
        if x[0, 0].numel() == 1:
            raise ValueError(f"Expected more than 1 spatial element when training, got input size {x.shape}")
        return functional.group_norm(x.contiguous(), x.shape[1], self.weight, self.bias, self.eps)


class _InstanceNorm(torch.autograd.Function):
    """y = weight * c * r + bias, with c = x - mean(x) and r = 1 / sqrt(mean(c^2) + eps) over each map.

    With n = c * r and h = weight * g of the gradient g in y, that in x is r * (h - mean(h) - n * mean(h * n)):
    Ioffe and Szegedy 2015, arXiv:1502.03167, section 3, for a batch of one.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        centred = x - _mean(x)
        scale = torch.rsqrt(_mean(centred.square()) + eps)
        ctx.save_for_backward(centred, scale, weight)
        return torch.addcmul(_by_channel(bias), centred, scale * _by_channel(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (gradient,) = gradients
        centred, scale, weight = ctx.saved_tensors
        each = centred[0, 0].numel()
        mean, along = _mean(gradient), _mean(gradient * centred) * scale
        steep = scale * _by_channel(weight)
        of_x = torch.addcmul(-steep * mean, gradient, steep).addcmul_(centred, -steep * scale * along)
        return of_x, (along * each).sum((0, 2, 3, 4)), (mean * each).sum((0, 2, 3, 4)), None


def _mean(x: Tensor) -> Tensor:
    """(B, C, D, H, W) -> (B, C, 1, 1, 1)."""
    return x.mean((2, 3, 4), keepdim=True)


def _by_channel(values: Tensor) -> Tensor:
    """(C) -> (1, C, 1, 1, 1)."""
    return values.view(1, -1, 1, 1, 1)
