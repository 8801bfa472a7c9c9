"""A network named by plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from medseg.domain.errors import UsageError
from medseg.networks.unet import residual_unet, unet, unet_2015, unet_2015_valid
from medseg.networks.unetpp import unetpp, unetpp_2018

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    f.__name__: f for f in (unet, residual_unet, unet_2015, unet_2015_valid, unetpp, unetpp_2018)
}


@dataclass(frozen=True)
class NetworkSpec:
    """Which network: a preset of `medseg.networks` and its channels; widths are those of its levels, finest first."""

    preset: str
    spatial_dims: int
    in_channels: int
    out_channels: int
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.preset not in NETWORKS:
            raise UsageError(f"network {self.preset!r} is not one of {', '.join(NETWORKS)}")
        if self.spatial_dims not in (2, 3):
            raise UsageError(f"a network has 2 or 3 spatial dimensions, not {self.spatial_dims}")
        if len(self.widths) < 2 or min((*self.widths, self.in_channels, self.out_channels)) < 1:
            raise UsageError(f"a network needs at least two levels and positive widths, not {self.widths}")


def build_network(spec: NetworkSpec) -> nn.Module:
    """The network with fresh random weights (from torch's global generator)."""
    return NETWORKS[spec.preset](spec.spatial_dims, spec.in_channels, spec.out_channels, spec.widths)
