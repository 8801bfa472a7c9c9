"""Soft Dice of a batch, from sums that add up over its parts."""

from __future__ import annotations

from torch import Tensor

_EPSILON = 1e-5


def dice_sums(probabilities: Tensor, target: Tensor, squared: bool) -> tuple[Tensor, Tensor]:
    """Overlap (C,) and total (C,) of two batches (B, C, *S), the target of 0 and 1.

    squared: the total sums squares (Milletari et al. 2016, doi:10.1109/3DV.2016.79), not plain values.
    """
    axes = (0, *range(2, probabilities.ndim))
    overlap = (probabilities * target).sum(axes)
    if squared:
        return overlap, probabilities.square().sum(axes) + target.square().sum(axes)
    return overlap, probabilities.sum(axes) + target.sum(axes)


def dice_loss(overlap: Tensor, total: Tensor) -> Tensor:
    """1 - Dice, element by element; 0 where nothing is and nothing is found."""
    return 1 - (2 * overlap + _EPSILON) / (total + _EPSILON)


def soft_dice(probabilities: Tensor, target: Tensor, squared: bool) -> Tensor:
    """1 - Dice for each channel, over the whole batch.

    Shapes: both (B, C, *S), the target of 0 and 1; the answer (C,).
    Empty:  a channel that neither holds has loss 0.
    """
    return dice_loss(*dice_sums(probabilities, target, squared))
