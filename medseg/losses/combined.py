"""Dice + cross-entropy, of logits and a target of class indices or of regions."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medseg.domain.errors import UsageError
from medseg.losses.boundary import BoundarySpec
from medseg.losses.dice import dice_loss, dice_sums
from medseg.losses.voxelwise import Voxelwise


@dataclass(frozen=True)
class LossSpec:
    """alpha * Dice + (1 - alpha) * cross-entropy.

    activation:    "softmax" where a voxel has one class, "sigmoid" where the channels are regions that may overlap.
    squared:       the Dice denominator sums squares (Milletari et al. 2016, doi:10.1109/3DV.2016.79), not plain values.
    focal_gamma:   the focal loss (Lin et al. 2017, doi:10.1109/ICCV.2017.324) in place of the cross-entropy; 2 there.
    class_weights: of the voxels of each class, the background first, in the cross-entropy or focal loss.
    boundary:      voxels near boundaries between labels weigh more in the cross-entropy or focal loss.
    head_weights:  under deep supervision, of the heads, shallowest first; None: every head counts the same, as in
                   UNet++ (Zhou et al. 2018).
    """

    alpha: float = 0.5
    squared: bool = False
    activation: Literal["softmax", "sigmoid"] = "softmax"
    focal_gamma: float | None = None
    class_weights: tuple[float, ...] | None = None
    boundary: BoundarySpec | None = None
    head_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise UsageError(f"loss.alpha is the share of the Dice term, 0 to 1, not {self.alpha}")
        if self.focal_gamma is not None and not 0 < self.focal_gamma <= 10:
            raise UsageError(f"loss.focal_gamma: more than 0 and at most 10, not {self.focal_gamma}; 2 is usual")
        if not all(0 < weight < math.inf for weight in self.class_weights or ()):
            raise UsageError(f"loss.class_weights must be positive, not {self.class_weights}")
        heads = self.head_weights
        if heads is not None and not (all(0 <= weight < math.inf for weight in heads) and sum(heads) > 0):
            raise UsageError(f"loss.head_weights must not be negative, and one must be positive, not {heads}")


class DiceCE(nn.Module):
    """A loss that is a function of sums over voxels.

    The sums of a batch are those of its parts added up, so that parts on several processes, or one after the other,
    give the loss of the whole batch and not a mean of the Dice of parts.
    """

    def __init__(self, alpha: float = 0.5, squared: bool = False, voxelwise: Voxelwise | None = None):
        super().__init__()
        self.alpha, self.squared, self.voxelwise = alpha, squared, voxelwise or Voxelwise()

    @abstractmethod
    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """(2 C + 2,): overlap and total of each channel, weighted voxel losses, weights."""

    def value(self, sums: Tensor) -> Tensor:
        """Sums (..., 2 C + 2) -> losses (...)."""
        overlap, total = sums[..., :-2].chunk(2, -1)
        return self.alpha * dice_loss(overlap, total).mean(-1) + (1 - self.alpha) * sums[..., -2] / sums[..., -1]

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""
        return self.value(self.sums(logits, target))


class SoftmaxDiceCE(DiceCE):
    """Classes exclude one another; the background counts in the cross-entropy, not in the Dice term."""

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, *S) and class indices (B, *S)."""
        logits, target = logits.float(), target.long()
        one_hot = F.one_hot(target, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
        overlap, total = dice_sums(logits.softmax(1)[:, 1:], one_hot[:, 1:], self.squared)
        return torch.cat([overlap, total, torch.stack(self.voxelwise.of_classes(logits, target))])


class SigmoidDiceCE(DiceCE):
    """Every channel is a region of its own; regions may overlap."""

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, C, *S) and regions (B, C, *S) of 0 and 1."""
        logits, target = logits.float(), target.float()
        overlap, total = dice_sums(logits.sigmoid(), target, self.squared)
        return torch.cat([overlap, total, torch.stack(self.voxelwise.of_regions(logits, target))])


class SigmoidOfClasses(SigmoidDiceCE):
    """A loss of regions, for class indices: each class, the background too, is a region."""

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, *S) and class indices (B, *S)."""
        return super().sums(logits, F.one_hot(target.long(), logits.shape[1]).movedim(-1, 1))


def build_loss(spec: LossSpec) -> DiceCE:
    """The loss of a training: (logits (B, K, *S), class indices (B, *S)) -> scalar."""
    kind = SigmoidOfClasses if spec.activation == "sigmoid" else SoftmaxDiceCE
    return kind(spec.alpha, spec.squared, Voxelwise(spec.focal_gamma or 0.0, spec.class_weights, spec.boundary))


def over_heads(losses: Tensor, weights: Sequence[float] | None) -> Tensor:
    """The losses (H,) of the heads of a network, shallowest first -> their mean, a scalar.

    Raises: UsageError if there are more or fewer weights than heads.
    """
    if weights is None:
        return losses.mean()
    if len(weights) != len(losses):
        raise UsageError(f"loss.head_weights: {len(weights)} for a network of {len(losses)} heads")
    shares = losses.new_tensor(weights)
    return (losses * shares).sum() / shares.sum()
