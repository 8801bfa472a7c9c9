"""Batches of any size through a network that was compiled for one size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]


def in_batches_of(size: int, run: Network) -> Network:
    """(B, C, *S) -> (B, K, *S) by passes of `size` windows; the last one is filled up with zeros.

    A window's answer does not depend on the batch that it came in.
    """

    def whole(windows: Tensor) -> Tensor:
        answers = [_padded(run, chunk, size) for chunk in windows.split(size)]
        return answers[0] if len(answers) == 1 else torch.cat(answers)

    return whole


def _padded(run: Network, windows: Tensor, size: int) -> Tensor:
    there = len(windows)
    if there == size:
        return run(windows)
    filler = windows.new_zeros(size - there, *windows.shape[1:])
    return run(torch.cat([windows, filler]))[:there]
