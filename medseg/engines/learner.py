"""Everything a training changes as it learns, and so everything a checkpoint must hold of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


@dataclass(frozen=True)
class Learner:
    """A network in training, the moving average of its weights, the optimiser and the scale of fp16 gradients."""

    network: nn.Module
    average: AveragedModel
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler

    def state_dict(self) -> dict[str, Any]:
        """The state of each part under its name."""
        return {name: part.state_dict() for name, part in vars(self).items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the state of `state_dict`, among other entries."""
        for name, part in vars(self).items():
            if part is self.optimiser:
                _load_optimiser(part, state[name])
            elif state.get(name):  # a scaler that is off has none
                part.load_state_dict(state[name])


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """A moving average of the weights; it starts fast, so that short trainings are not held back by their start."""

    def update(average: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        n = float(count)
        torch._foreach_lerp_(list(average), list(current), 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(network, multi_avg_fn=update)


def _load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """As torch does, but in this machine's way of computing: fused steps read moments in the order of their weights.

    torch keeps the memory order of the saved moments, which is another where a network is laid out otherwise.
    """
    pairs = zip(state["param_groups"], optimiser.param_groups, strict=True)
    groups = [{**saved, "fused": group["fused"]} for saved, group in pairs]
    optimiser.load_state_dict({**state, "param_groups": groups})
    for weight, moments in optimiser.state.items():
        for name, value in moments.items():
            moments[name] = torch.empty_like(weight if value.shape == weight.shape else value).copy_(value)
