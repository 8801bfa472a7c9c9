"""A network with several heads as one with a single head."""

from __future__ import annotations

from torch import Tensor, nn


class AtDepth(nn.Module):
    """(B, C, *S) -> (B, K, *S) by the head of that depth."""

    def __init__(self, network: nn.Module, depth: int):
        super().__init__()
        self.network = network
        self.at = depth

    def forward(self, x: Tensor) -> Tensor:
        """The network's answer at the depth."""
        return self.network(x, self.at)


def at_depth(network: nn.Module, depth: int | None) -> nn.Module:
    """The network itself for None."""
    return network if depth is None else AtDepth(network, depth)
