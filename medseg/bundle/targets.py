"""The classes that a stranger's config may name: an explicit table, looked up by the whole text of `_target_`.

A name that is not here is never imported, whatever package it begins with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal

from medseg.networks.build import NETWORKS

Kind = Literal["network", "part", "transform", "inferer", "compose", "host", "trusted"]
_MONAI: dict[Kind, tuple[str, str]] = {
    "network": (
        "monai.networks.nets",
        "UNet BasicUNet BasicUNetPlusPlus AttentionUnet DynUNet SegResNet SegResNetDS SegResNetDS2 SwinUNETR UNETR "
        "VNet AHNet HighResNet FlexibleUNet DiNTS",
    ),
    "part": ("monai.networks.nets", "TopologyInstance"),
    "transform": (
        "monai.transforms",
        "EnsureChannelFirstd EnsureTyped ToTensord CastToTyped ToDeviced Orientationd Spacingd Resized Flipd Rotate90d "
        "Transposed CropForegroundd CenterSpatialCropd SpatialCropd SpatialPadd BorderPadd DivisiblePadd "
        "ResizeWithPadOrCropd ScaleIntensityd ScaleIntensityRanged ScaleIntensityRangePercentilesd NormalizeIntensityd "
        "ThresholdIntensityd ShiftIntensityd ClipIntensityPercentilesd MaskIntensityd GaussianSmoothd RepeatChanneld "
        "ConcatItemsd CopyItemsd DeleteItemsd SelectItemsd SqueezeDimd Identityd Activationsd AsDiscreted Invertd "
        "KeepLargestConnectedComponentd RemoveSmallObjectsd FillHolesd LabelFilterd Lambdad",
    ),
    "inferer": ("monai.inferers", "SimpleInferer SlidingWindowInferer SlidingWindowInfererAdapt SliceInferer"),
    "compose": ("monai.transforms", "Compose"),
    "host": ("monai.transforms", "LoadImaged SaveImaged"),
}


@dataclass(frozen=True)
class Target:
    """What a name stands for.

    kind: "host" is never built: this program reads and writes by itself; "trusted" stands in no table: the bundle's own
          code made it, with the user's trust.
    """

    kind: Kind
    module: str
    name: str

    def load(self) -> Any:
        """The class or function, from this table's own words."""
        return getattr(import_module(self.module), self.name)


_OWN_INFERER = Target("inferer", "medseg.bundle.inferer", "SlabInferer")


def find_target(text: str) -> Target | None:
    """The target that a text names in full, or None."""
    return _table().get(text)


@cache
def _table() -> dict[str, Target]:
    table: dict[str, Target] = {}
    for kind, (module, names) in _MONAI.items():
        package = import_module(module)
        for name in names.split():
            target = Target(kind, module, name)
            for alias in (name, f"{name[:-1]}D", f"{name[:-1]}Dict") if name.endswith("d") else (name,):
                table |= dict.fromkeys((alias, f"{module}.{alias}"), target)
            table[f"{getattr(package, name).__module__}.{name}"] = target
    table[f"{_OWN_INFERER.module}.{_OWN_INFERER.name}"] = _OWN_INFERER
    for name, function in NETWORKS.items():
        table[f"{function.__module__}.{name}"] = Target("network", function.__module__, name)
    return table
