"""The cross-entropy of single voxels and its kin: focal, weighted by class, weighted near boundaries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medseg.losses.boundary import BoundarySpec, boundary_weights


@dataclass(frozen=True)
class Voxelwise:
    """The mean over voxels of weight * (1 - p)**gamma * -log p, p the probability of the truth; weights add up to 1.

    gamma:         of the focal loss (Lin et al. 2017, doi:10.1109/ICCV.2017.324); 0 is the cross-entropy.
    class_weights: of a voxel by its true class (softmax) or by its channel (sigmoid).
    boundary:      more weight near boundaries between labels.
    """

    gamma: float = 0.0
    class_weights: tuple[float, ...] | None = None
    boundary: BoundarySpec | None = None

    def of_classes(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K, *S) and class indices (B, *S) -> the sums of weighted losses and of weights."""
        weights = torch.ones_like(target, dtype=logits.dtype)
        if self.class_weights is not None:
            weights = logits.new_tensor(self.class_weights)[target]
        if self.boundary is not None:
            weights = weights * boundary_weights(target, self.boundary)
        return self._sums(F.cross_entropy(logits, target, reduction="none"), weights)

    def of_regions(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C, *S) and regions (B, C, *S) of 0 and 1 -> the sums of weighted losses and of weights."""
        weights = torch.ones_like(target)
        if self.class_weights is not None:
            weights = weights * logits.new_tensor(self.class_weights).view(-1, *[1] * (logits.ndim - 2))
        if self.boundary is not None:
            weights = weights * boundary_weights(target.flatten(0, 1), self.boundary).view_as(target)
        return self._sums(F.binary_cross_entropy_with_logits(logits, target, reduction="none"), weights)

    def _sums(self, losses: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        if self.gamma:
            doubt = -torch.expm1(-losses)  # 1 - p
            losses = losses * doubt.clamp(min=1e-6).pow(self.gamma)  # of 0 the power has no finite slope
        return (losses * weights).sum(), weights.sum()
