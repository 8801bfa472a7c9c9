"""A network named by plain data: one of this project, or one of MONAI's by its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from medseg.domain.errors import UsageError
from medseg.networks.blocks import BLOCKS, DOWNS, MERGES
from medseg.networks.fcn import fcn
from medseg.networks.unet import residual_unet, unet, unet_2015, unet_2015_valid
from medseg.networks.unetpp import unetpp, unetpp_2018

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    f.__name__: f for f in (unet, residual_unet, unet_2015, unet_2015_valid, unetpp, unetpp_2018, fcn)
}
MONAI_NETWORKS = ("AttentionUnet", "BasicUNet", "DynUNet", "SegResNet", "SwinUNETR", "UNETR", "UNet", "VNet")
_PARTS = {
    "block": tuple(BLOCKS),
    "down": tuple(DOWNS),
    "merge": tuple(MERGES),
    "patch": (1, 2, 4),
    "members": tuple(range(1, 11)),
}
_WITH_PARTS = ("unet", "unetpp")


@dataclass(frozen=True)
class NetworkSpec:
    """Which network: a preset of `medseg.networks`, or the name of a MONAI network, and its channels.

    widths:  those of the levels, finest first; empty for MONAI's.
    options: of `unet` and `unetpp` the parts block, down, merge, patch and members; of MONAI's their own arguments.
    """

    preset: str
    spatial_dims: int
    in_channels: int
    out_channels: int
    widths: tuple[int, ...] = ()
    options: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.preset not in (*NETWORKS, *MONAI_NETWORKS):
            raise UsageError(f"network {self.preset!r} is not one of {', '.join((*NETWORKS, *MONAI_NETWORKS))}")
        if self.spatial_dims not in (2, 3):
            raise UsageError(f"a network has 2 or 3 spatial dimensions, not {self.spatial_dims}")
        if self.is_monai and self.widths:
            raise UsageError(f"network {self.preset}: MONAI's networks take no widths; give its own options")
        if min((*self.widths, self.in_channels, self.out_channels)) < 1 or not (self.is_monai or len(self.widths) > 1):
            raise UsageError(f"a network needs at least two levels and positive widths, not {self.widths}")
        for name, value in (self.options or {}).items():
            self._require_option(name, value)

    @property
    def is_monai(self) -> bool:
        """Whether MONAI builds it."""
        return self.preset in MONAI_NETWORKS

    @property
    def greatest_depth(self) -> int | None:
        """Of UNet++ the depths 1..n that can be chosen at run time; None for networks of one depth."""
        return len(self.widths) - 1 if self.preset in ("unetpp", "unetpp_2018") else None

    @property
    def members(self) -> int:
        """How many networks answer together; 1 but for ensembles."""
        return int((self.options or {}).get("members", 1))

    @property
    def divisor(self) -> int:
        """A window whose every edge it divides is halved evenly on every level; of MONAI's networks 32."""
        return 32 if self.is_monai else (self.options or {}).get("patch", 1) * 2 ** (len(self.widths) - 1)

    def _require_option(self, name: str, value: Any) -> None:
        if self.is_monai:
            if name in ("spatial_dims", "in_channels", "out_channels", "deep_supervision"):
                raise UsageError(f"network {self.preset}: {name} follows from the data and is no option")
        elif self.preset not in _WITH_PARTS or name not in _PARTS:
            raise UsageError(f"network {self.preset} has no option {name!r}; unet and unetpp have {', '.join(_PARTS)}")
        elif value not in _PARTS[name] or isinstance(value, bool):
            known = ", ".join(map(str, _PARTS[name]))
            raise UsageError(f"network {self.preset}: {name} {value!r} is not one of {known}")


def build_network(spec: NetworkSpec) -> nn.Module:
    """The network with fresh random weights (from torch's global generator).

    Raises: UsageError for options that a MONAI network does not take, or packages that it needs and are not there.
    """
    options = spec.options or {}
    if not spec.is_monai:
        return NETWORKS[spec.preset](spec.spatial_dims, spec.in_channels, spec.out_channels, spec.widths, **options)
    from monai.networks import nets

    kind = getattr(nets, spec.preset)
    given = {
        "spatial_dims": spec.spatial_dims,
        "in_channels": spec.in_channels,
        "out_channels": spec.out_channels,
        **options,
    }
    taken = inspect.signature(kind).parameters
    unknown = sorted(set(options) - set(taken))
    if unknown:
        raise UsageError(f"network {spec.preset} takes no {', '.join(unknown)}; it takes {', '.join(taken)}")
    try:
        network: nn.Module = kind(**given)
    except (ImportError, TypeError, ValueError) as error:
        raise UsageError(f"network {spec.preset} cannot be built: {' '.join(str(error).split())}") from error
    return network
