"""The order of channels and space in memory that convolutions are fastest in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def channels_last(network: nn.Module) -> torch.memory_format:
    """The channels-last format of a network whose convolutions are all 2-D or all 3-D, else the plain format."""
    dims = {parameter.ndim for parameter in network.parameters() if parameter.ndim > 3}
    return _FORMATS.get(dims.pop(), torch.contiguous_format) if len(dims) == 1 else torch.contiguous_format


def lay_out(network: nn.Module, layout: torch.memory_format) -> nn.Module:
    """The network itself, its convolutions' weights in that format."""

    def in_format(value: Tensor) -> Tensor:
        return value.contiguous(memory_format=layout) if value.ndim > 3 else value

    return network._apply(in_format)
