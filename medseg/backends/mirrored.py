"""Test-time augmentation: the image is also shown mirrored, and the answers are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor


def mirrored(network: Callable[[Tensor], Tensor], axes: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """The mean logits over all mirror images: 2 ** len(axes) passes instead of one.

    axes: spatial axes, 0 the first; those along which the network was trained with mirror images.
    Source: Simonyan and Zisserman 2015, arXiv:1409.1556, there of horizontal flips.
    """
    turns = [turn for n in range(len(axes) + 1) for turn in combinations([2 + axis for axis in axes], n)]

    def run(windows: Tensor) -> Tensor:
        total = network(windows).float()
        for turn in turns[1:]:
            total = total + torch.flip(network(torch.flip(windows, turn)).float(), turn)
        return total / len(turns)

    return run
