"""From an image as read to what the network sees: MONAI's transforms, named once for running and for configs.

The numbers are computed here, as MONAI's transforms do (the tests say so): to import MONAI takes several times as long
as to segment a picture, and its resampling several times the memory. Sheared volumes are left to MONAI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from medseg.data.channels import fit_channels
from medseg.data.spacing import Spaced
from medseg.domain.errors import UsageError
from medseg.domain.geometry import Float64Array
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


@dataclass(frozen=True, eq=False)
class OnGrid:
    """An image or a mask on the network's grid.

    values: (C, *S) float32.
    """

    values: Tensor
    affine_ras: Float64Array


def preprocess(volume: Volume, spec: PreprocessSpec, mask: np.ndarray | None = None) -> tuple[OnGrid, ...]:
    """The image on the network's grid; with a mask (*shape_ijk), also that.

    A mask goes through the same steps by nearest neighbours and comes back as (1, *S).
    Raises: InputError where the channels do not fit.
    """
    volume = fit_channels(volume, spec.channels, volume.case)
    geometry = volume.geometry.perpendicular()
    arrays = [volume.voxels] if mask is None else [volume.voxels, mask[None]]
    spaced = None if spec.spacing_mm is None else Spaced.of(geometry, spec.spacing_mm)
    if spaced is not None:
        values = [way(array) for way, array in zip((spaced.linear, spaced.nearest), arrays, strict=False)]
        affine = spaced.affine_ras
    else:
        values = [torch.from_numpy(array.astype(np.float32)) for array in arrays]
        affine = geometry.affine_ras.copy()
        if spec.spacing_mm is not None:
            return _by_monai(values, affine, spec)
    return tuple(OnGrid(tensor, affine) for tensor in (_normalised(values[0], spec), *values[1:]))


def _normalised(image: Tensor, spec: PreprocessSpec) -> Tensor:
    if spec.normalise == "zscore":
        mean, deviation = image.mean().item(), image.std(unbiased=False).item()
        return image.sub_(mean).div_(deviation or 1.0)
    if spec.intensity_range is not None:
        low, high = spec.intensity_range
        return image.sub_(low).div_(high - low).clamp_(0.0, 1.0)
    a, b = (_percentile(image, q) for q in (1, 99))
    return image.sub_(a).div_(b - a) if b != a else image.sub_(a)


def _percentile(image: Tensor, percent: int) -> Tensor:
    """Of all values together; by numpy where there are too many for torch's own."""
    if image.numel() > 1_000_000:
        return torch.from_numpy(np.asarray(np.percentile(image.numpy(), np.array(percent)))).to(image.dtype)
    return torch.quantile(image, torch.tensor(percent / 100, dtype=image.dtype))


def _by_monai(tensors: list[Tensor], affine: Float64Array, spec: PreprocessSpec) -> tuple[OnGrid, ...]:
    from monai import transforms
    from monai.data.meta_tensor import MetaTensor

    named = zip(("image", "mask"), tensors, strict=False)
    data = {name: MetaTensor(tensor, affine=torch.from_numpy(affine)) for name, tensor in named}
    for entry in entries(spec, list(data)):
        options = {key: value for key, value in entry.items() if key != "_target_"}
        data = getattr(transforms, entry["_target_"])(**options)(data)
    return tuple(OnGrid(one.as_tensor(), one.affine.numpy().astype(np.float64)) for one in data.values())
