"""Decisions that interpolation cannot surprise: where the corners of a cell agree, the whole cell does.

Of both kinds the values that lead to one answer are a convex set, and what lies between such values is one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.inference.grids import IntArray
from medseg.inference.winners import Contest, all_of, contests, largest_classes, winners


@dataclass(frozen=True, eq=False)
class Largest:
    """The class of the largest value, the first of equals, or what it is called: names (K,)."""

    names: NDArray[Any] | None = None

    def __call__(self, values: Tensor) -> Tensor:
        """(K, *S) -> (*S)."""
        classes = values.argmax(0)
        return classes if self.names is None else torch.from_numpy(self.names).to(values.device)[classes]

    def answers(self, values: NDArray[Any]) -> NDArray[Any]:
        """(K, N) -> (N,), to be told apart and to be named."""
        return largest_classes(values)

    def named(self, answers: NDArray[Any]) -> NDArray[Any]:
        """The labels that answers stand for."""
        return answers if self.names is None else self.names.take(answers)

    def contests(
        self, values: NDArray[Any], corners: IntArray, low: NDArray[Any], high: NDArray[Any], span: tuple[int, int]
    ) -> Iterator[Contest]:
        """What must be interpolated in cells whose corners disagree; see `winners.contests`."""
        return contests(values, corners, low, high, span)

    def decided(self, classes: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
        """(k, n) classes and their interpolated values -> (n,) answers."""
        return winners(classes, values)


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Which channels reach the level; names (2**K,): the label of each pattern, the first channel being its bit 0."""

    level: float
    names: NDArray[Any]

    def __call__(self, values: Tensor) -> Tensor:
        """(K, *S) -> (*S)."""
        pattern = sum((row >= self.level).long() << c for c, row in enumerate(values))
        return torch.from_numpy(self.names).to(values.device)[pattern]

    def answers(self, values: NDArray[Any]) -> NDArray[Any]:
        """As of `Largest`."""
        pattern = np.zeros(values.shape[1:], np.uint8)
        for c, row in enumerate(values):
            pattern |= (row >= self.level) * np.uint8(1 << c)
        return pattern

    def named(self, answers: NDArray[Any]) -> NDArray[Any]:
        """As of `Largest`."""
        return self.names.take(answers)

    def contests(
        self, values: NDArray[Any], corners: IntArray, low: NDArray[Any], high: NDArray[Any], span: tuple[int, int]
    ) -> Iterator[Contest]:
        """All channels."""
        return all_of(values, corners)

    def decided(self, classes: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
        """As of `Largest`."""
        return self.answers(values)


Decision = Largest | Thresholds
MOST_CHANNELS = 8  # whose patterns a byte holds


def thresholds(level: float, channels: int, label_of: Callable[[Tensor], Tensor]) -> Thresholds:
    """What `label_of` (K, *S) -> (*S), which looks at values only to compare them with the level, makes of them."""
    bits = (np.arange(1 << channels) >> np.arange(channels)[:, None]) & 1
    probes = torch.from_numpy(np.where(bits, level + 1.0, level - 1.0).astype(np.float32))
    return Thresholds(level, label_of(probes[:, :, None, None]).numpy().reshape(-1))


def named_largest(channels: int, label_of: Callable[[Tensor], Tensor]) -> Largest:
    """What `label_of` (K, *S) -> (*S), which looks at values only for the largest, makes of them."""
    return Largest(label_of(torch.eye(channels)[:, :, None, None]).numpy().reshape(-1))
