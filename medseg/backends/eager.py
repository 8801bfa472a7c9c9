"""A network as torch runs it, as a callable on windows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from medseg.backends.precision import Precision, autocast


def eager(
    network: nn.Module, device: torch.device, precision: Precision, depth: int | None = None
) -> Callable[[Tensor], Tensor]:
    """(B, C, *S) -> (B, K, *S) on the device; the network is moved there.

    depth: of a UNet++, the head that answers; None: its deepest, or the network's only one.
    """
    network = network.to(device).eval()
    arguments = () if depth is None else (depth,)

    def run(windows: Tensor) -> Tensor:
        with torch.inference_mode(), autocast(device, precision):
            return network(windows.to(device), *arguments)

    return run
