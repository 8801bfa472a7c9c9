"""A network as torch runs it, as a callable on windows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from medseg.backends.layout import channels_last, lay_out
from medseg.backends.precision import Precision, autocast


def eager(
    network: nn.Module, device: torch.device, precision: Precision, depth: int | None = None
) -> Callable[[Tensor], Tensor]:
    """(B, C, *S) -> (B, K, *S) on the device; the network is moved there, on CUDA with its channels last.

    depth: of a UNet++, the head that answers; None: its deepest, or the network's only one.
    """
    layout = channels_last(network) if device.type == "cuda" else torch.contiguous_format
    network = network.to(device).eval()
    if layout != torch.contiguous_format:
        network = lay_out(network, layout)
    arguments = () if depth is None else (depth,)

    def run(windows: Tensor) -> Tensor:
        with torch.inference_mode(), autocast(device, precision):
            return network(windows.to(device).contiguous(memory_format=layout), *arguments)

    return run
