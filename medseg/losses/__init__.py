"""What a training minimises: sums over voxels, which add up over parts of a batch, and the loss as their function."""

from medseg.losses.boundary import BoundarySpec, boundary_weights
from medseg.losses.combined import DiceCE, LossSpec, SigmoidDiceCE, SoftmaxDiceCE, build_loss, over_heads
from medseg.losses.dice import soft_dice

__all__ = [
    "BoundarySpec",
    "DiceCE",
    "LossSpec",
    "SigmoidDiceCE",
    "SoftmaxDiceCE",
    "boundary_weights",
    "build_loss",
    "over_heads",
    "soft_dice",
]
