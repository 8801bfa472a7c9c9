"""What a stranger's last steps decide by, where that is the largest channel or a threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from medseg.bundle.component import Component
from medseg.bundle.program import keys_of
from medseg.inference.decisions import MOST_CHANNELS, named_largest, thresholds

_IDLE = ("EnsureTyped", "ToTensord", "ToDeviced", "Identityd")


def decision_of(
    rest: Sequence[Component], channels: int, label_of: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """A `Decision` where the first of the steps makes one; what the others make of it, they say themselves.

    rest:     voxel by voxel, after the interpolation. label_of: (K, *S) -> (*S), all of them.
    """
    first = next((step for step in rest if step.name not in _IDLE), None)
    if first is None or first.name != "AsDiscreted":
        return label_of
    if _said(first, "argmax"):
        return named_largest(channels, label_of)
    level = _said(first, "threshold")
    if isinstance(level, (int, float)) and level is not True and channels <= MOST_CHANNELS:
        return thresholds(float(level), channels, label_of)
    return label_of


def _said(step: Component, name: str) -> Any:
    """The argument's value for the prediction."""
    value = step.arguments.get(name)
    return value[keys_of(step).index("pred")] if isinstance(value, (list, tuple)) else value
