"""A network as torch runs it, as a callable on windows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from medseg.backends.precision import Precision, autocast


def eager(network: nn.Module, device: torch.device, precision: Precision) -> Callable[[Tensor], Tensor]:
    """(B, C, *S) -> (B, K, *S) on the device; the network is moved there."""
    network = network.to(device).eval()

    def run(windows: Tensor) -> Tensor:
        with torch.inference_mode(), autocast(device, precision):
            return network(windows.to(device))

    return run
