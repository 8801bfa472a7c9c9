"""Several networks of one form that answer together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """The mean of the members' logits; the cost is that of all of them.

    Members that were trained on different folds err differently, so their mean errs less, and where they disagree the
    answer is doubtful.
    """

    def __init__(self, members: Sequence[nn.Module]):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor, *arguments: int | None) -> Tensor:
        """(B, in, *S) -> (B, out, *S); further arguments are the members'."""
        return torch.stack([member(x, *arguments) for member in self.members]).mean(0)


def together(members: int, build: Callable[[], nn.Module]) -> nn.Module:
    """One network, or an ensemble of so many with weights of their own."""
    return build() if members == 1 else Ensemble([build() for _ in range(members)])


def first_member(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the first member of an ensemble with that state dict."""
    start = "members.0."
    return {name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)}


def join_weights(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The state dict of the ensemble whose members have these state dicts."""
    return {f"members.{n}.{name}": value for n, part in enumerate(parts) for name, value in part.items()}
