"""From an image as read to what the network sees: MONAI's transforms, named once for running and for configs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from monai import transforms
from monai.data.meta_tensor import MetaTensor

from medseg.data.reader import fit_channels
from medseg.domain.errors import UsageError
from medseg.domain.volume import Volume


@dataclass(frozen=True)
class PreprocessSpec:
    """What is done to an image before the windows.

    channels:   1 grey, 3 colour (grey pictures are repeated).
    spacing_mm: the network's voxel size, axes in RAS order; None keeps the image's grid (pictures).
    normalise:  "zscore": zero mean and unit deviation over the whole image;
                "percentile": the 1st and 99th percentile of the whole image become 0 and 1;
                "range": intensity_range becomes 0 to 1, and what lies outside is clipped (CT, in Hounsfield units).
    """

    channels: int
    spacing_mm: tuple[float, ...] | None
    normalise: Literal["zscore", "percentile", "range"]
    intensity_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if (self.normalise == "range") != (self.intensity_range is not None):
            raise UsageError("intensity_range goes with normalise 'range', and with no other")
        if self.intensity_range is not None and not self.intensity_range[0] < self.intensity_range[1]:
            raise UsageError(f"intensity_range {self.intensity_range} is not rising")


def load_entry(spec: PreprocessSpec, keys: list[str]) -> dict[str, Any]:
    """The loading step as a MONAI config entry."""
    return {
        "_target_": "LoadImaged",
        "keys": keys,
        "reader": "medseg.data.Reader",
        "channels": spec.channels,
        "ensure_channel_first": True,
    }


def entries(spec: PreprocessSpec, keys: list[str]) -> list[dict[str, Any]]:
    """The steps after loading as MONAI config entries; `keys` names the image and, in training, also its mask."""
    steps: list[dict[str, Any]] = []
    if spec.spacing_mm is not None:
        modes = ["bilinear", "nearest"][: len(keys)]
        steps.append({"_target_": "Orientationd", "keys": keys, "axcodes": "RAS", "labels": None})
        steps.append({"_target_": "Spacingd", "keys": keys, "pixdim": list(spec.spacing_mm), "mode": modes})
    if spec.normalise == "zscore":
        steps.append({"_target_": "NormalizeIntensityd", "keys": keys[:1]})
    elif spec.intensity_range is not None:
        low, high = spec.intensity_range
        scale = {"a_min": low, "a_max": high, "b_min": 0.0, "b_max": 1.0, "clip": True}
        steps.append({"_target_": "ScaleIntensityRanged", "keys": keys[:1], **scale})
    else:
        steps.append(
            {
                "_target_": "ScaleIntensityRangePercentilesd",
                "keys": keys[:1],
                "lower": 1,
                "upper": 99,
                "b_min": 0.0,
                "b_max": 1.0,
            }
        )
    return steps


def preprocess(volume: Volume, spec: PreprocessSpec, mask: np.ndarray | None = None) -> tuple[MetaTensor, ...]:
    """The image (C, *S) on the network's grid, float32, its affine with it; with a mask (*shape_ijk), also that.

    A mask goes through the same steps by nearest neighbours and comes back as (1, *S).
    Raises: InputError where the channels do not fit.
    """
    volume = fit_channels(volume, spec.channels, volume.case)
    affine = torch.from_numpy(volume.geometry.perpendicular().affine_ras.copy())
    data = {"image": MetaTensor(torch.from_numpy(volume.voxels.astype(np.float32)), affine=affine)}
    if mask is not None:
        data["mask"] = MetaTensor(torch.from_numpy(mask[None].astype(np.float32)), affine=affine)
    for entry in entries(spec, list(data)):
        options = {key: value for key, value in entry.items() if key != "_target_"}
        data = getattr(transforms, entry["_target_"])(**options)(data)
    return tuple(data.values())
