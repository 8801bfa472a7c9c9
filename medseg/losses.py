"""Dice + cross-entropy, of logits and a target of class indices or of regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPSILON = 1e-5


@dataclass(frozen=True)
class LossSpec:
    """alpha * Dice + (1 - alpha) * cross-entropy.

    activation: "softmax" where a voxel has one class, "sigmoid" where the channels are regions that may overlap.
    squared:    the Dice denominator sums squares (Milletari et al. 2016, doi:10.1109/3DV.2016.79), not plain values.
    """

    alpha: float = 0.5
    squared: bool = False
    activation: Literal["softmax", "sigmoid"] = "softmax"


def soft_dice(probabilities: Tensor, target: Tensor, squared: bool) -> Tensor:
    """1 - Dice for each channel, over the whole batch.

    Shapes: both (B, C, *S), the target of 0 and 1; the answer (C,).
    Empty:  a channel that neither holds has loss 0.
    """
    axes = (0, *range(2, probabilities.ndim))
    overlap = (probabilities * target).sum(axes)
    if squared:
        total = probabilities.square().sum(axes) + target.square().sum(axes)
    else:
        total = probabilities.sum(axes) + target.sum(axes)
    return 1 - (2 * overlap + _EPSILON) / (total + _EPSILON)


class SoftmaxDiceCE(nn.Module):
    """Classes exclude one another; the background counts in the cross-entropy, not in the Dice term."""

    def __init__(self, alpha: float = 0.5, squared: bool = False):
        super().__init__()
        self.alpha, self.squared = alpha, squared

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, *S) and class indices (B, *S) -> a scalar."""
        logits = logits.float()
        one_hot = F.one_hot(target.long(), logits.shape[1]).movedim(-1, 1).to(logits.dtype)
        dice = soft_dice(logits.softmax(1)[:, 1:], one_hot[:, 1:], self.squared).mean()
        return self.alpha * dice + (1 - self.alpha) * F.cross_entropy(logits, target.long())


class SigmoidDiceCE(nn.Module):
    """Every channel is a region of its own; regions may overlap."""

    def __init__(self, alpha: float = 0.5, squared: bool = False):
        super().__init__()
        self.alpha, self.squared = alpha, squared

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, C, *S) and regions (B, C, *S) of 0 and 1 -> a scalar."""
        logits, target = logits.float(), target.float()
        dice = soft_dice(logits.sigmoid(), target, self.squared).mean()
        return self.alpha * dice + (1 - self.alpha) * F.binary_cross_entropy_with_logits(logits, target)


class OfClasses(nn.Module):
    """A loss of regions, for class indices: each class, the background too, is a region."""

    def __init__(self, loss: nn.Module):
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, *S) and class indices (B, *S) -> a scalar."""
        return self.loss(logits, F.one_hot(target.long(), logits.shape[1]).movedim(-1, 1))


def build_loss(spec: LossSpec) -> nn.Module:
    """The loss of a training: (logits (B, K, *S), class indices (B, *S)) -> scalar."""
    if spec.activation == "sigmoid":
        return OfClasses(SigmoidDiceCE(spec.alpha, spec.squared))
    return SoftmaxDiceCE(spec.alpha, spec.squared)


def deep_supervision(loss: nn.Module, heads: list[Tensor], target: Tensor) -> Tensor:
    """The mean loss of all heads; every head counts the same, as in UNet++ (Zhou et al. 2018)."""
    return torch.stack([loss(logits, target) for logits in heads]).mean()
