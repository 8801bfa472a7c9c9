"""The order of channels and space in memory that convolutions are fastest in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medseg.backends.instance_norm import LayoutKeepingNorm, OwningNorm
from medseg.backends.precision import Precision

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)  # the first: batch and instance norms
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


def lay_out_for_training(network: nn.Module, device: torch.device, precision: Precision) -> nn.Module:
    """The network itself, as it is trained fastest, its weights and their names unchanged.

    On a CPU instance norms with weights give maps of their own, no views. In fp32 there, the gradients of a 3-D
    convolution's weights take half the time with channels last, so networks that keep this layout throughout, having
    no other norms than such, are laid out so. In 2-D they take three times as long.
    """
    if device.type != "cpu":
        return network
    norms = [module for module in network.modules() if isinstance(module, _NORMS)]
    keep_layout = (
        (precision, channels_last(network)) == ("fp32", torch.channels_last_3d)
        and len(norms) > 0
        and all(type(norm) is nn.InstanceNorm3d and _has_weights_alone(norm) for norm in norms)
    )
    if keep_layout:
        lay_out(network, torch.channels_last_3d)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.InstanceNorm3d and keep_layout:
                setattr(module, name, LayoutKeepingNorm(child))
            elif (type(child) is nn.InstanceNorm2d or type(child) is nn.InstanceNorm3d) and _has_weights_alone(child):
                setattr(module, name, OwningNorm(child))
    return network


def _has_weights_alone(norm: nn.InstanceNorm2d | nn.InstanceNorm3d) -> bool:
    """Whether it has weights, and keeps nothing from step to step."""
    return norm.affine and not norm.track_running_stats
