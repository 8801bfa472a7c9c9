"""An image as MONAI's LoadImaged would hand it to a stranger's transforms, from our checked reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.utils.enums import MetaKeys, SpaceKeys

from medseg.bundle.foreign import MonaiBundle
from medseg.bundle.program import keys_of
from medseg.data.channels import fit_channels
from medseg.domain.errors import InputError, UsageError
from medseg.domain.volume import Volume

_MOST_VOXELS = 2**31
_CHANGE_CHANNELS = ("RepeatChanneld", "ConcatItemsd", "Lambdad", "SelectItemsd", "CopyItemsd")


def image_keys(bundle: MonaiBundle) -> list[str]:
    """The keys that the bundle loads and that are images."""
    keys = [str(key) for key in keys_of(bundle.reading)]
    images = [key for key in keys if key in bundle.about.inputs] or [key for key in keys if key != "label"]
    return images if len(bundle.about.inputs) > 1 and len(images) > 1 else images[:1]


def image_names(bundle: MonaiBundle) -> tuple[str, ...]:
    """How `--image NAME=PATH` calls the images of one case, in the order of the channels."""
    keys = image_keys(bundle)
    if len(keys) > 1:
        return tuple(keys)
    count = bundle.network.arguments.get("in_channels", 1)
    names = bundle.about.inputs
    if len(names) == count or count == 1:
        return names[:count] if len(names) >= count else ("image",)
    return tuple(str(n) for n in range(count))


def stacked(images: Mapping[str, Volume], bundle: MonaiBundle) -> Volume:
    """The images of one case, by name, as the channels of one volume.

    Raises: UsageError for names that the bundle does not have or lacks, InputError for different grids.
    """
    names = image_names(bundle)
    given = {name.lower(): volume for name, volume in images.items()}
    wanted = [name.lower() for name in names]
    if set(given) != set(wanted) or len(given) < len(images):
        raise UsageError(f"--image: bundle {bundle.about.name} takes {', '.join(f'--image {n}=PATH' for n in names)}")
    first = given[wanted[0]]
    for name, volume in images.items():
        if not volume.geometry.is_same_grid(first.geometry) or volume.channels != 1:
            raise InputError(
                f"{name}: lies on another grid than {names[0]}, or has {volume.channels} channels; resample it first"
            )
    voxels = np.concatenate([given[name].voxels.astype(np.float32) for name in wanted])
    notes = [note for name in wanted for note in given[name].notes]
    return replace(first, voxels=voxels, notes=tuple(dict.fromkeys(notes)))


def require_suits(volume: Volume, bundle: MonaiBundle, name: str) -> Volume:
    """The volume, grey pictures repeated for a network of colours.

    Raises: InputError for another number of axes or of images, or another modality.
    """
    arguments, about = bundle.network.arguments, bundle.about
    dims = arguments.get("spatial_dims", 2 if bundle.network.name == "FlexibleUNet" else 3)
    by_slices = bundle.inferer.name == "SliceInferer"
    if volume.geometry.spatial_dims != (3 if by_slices else dims):
        kinds = {2: "a picture", 3: "a volume"}
        raise InputError(
            f"{name}: is {kinds[volume.geometry.spatial_dims]} of {volume.geometry.shape_ijk} voxels, bundle "
            f"{about.name} takes {kinds.get(3 if by_slices else dims, 'neither')}; give another image or another bundle"
        )
    if volume.modality in ("CT", "MR") and about.modality is not None and volume.modality != about.modality:
        raise InputError(
            f"{name}: its modality is {volume.modality}, bundle {about.name} takes {about.modality}; "
            "give another image or another bundle"
        )
    channels, keys = arguments.get("in_channels", 1), image_keys(bundle)
    if len(keys) > 1:
        channels = len(keys)
    elif any(step.name in _CHANGE_CHANNELS for step in bundle.preprocessing):
        return volume
    if volume.channels < channels and not (volume.geometry.spatial_dims == 2 and channels == 3):
        options = " ".join(f"--image {n}=PATH" for n in image_names(bundle))
        raise InputError(f"{name}: one image, bundle {about.name} takes {channels}; give {options}")
    return fit_channels(volume, channels, name)


def loaded(volume: Volume, bundle: MonaiBundle) -> dict[Any, Any]:
    """The data dictionary after LoadImaged: one image without a channel axis, several stacked before, colours behind.

    Affines are those of the file, to RAS, as MONAI's own readers give them.
    """
    keys = image_keys(bundle)
    if len(keys) > 1:
        return {key: _tensor(volume, [n], bundle) for n, key in enumerate(keys)}
    return {keys[0]: _tensor(volume, list(range(volume.channels)), bundle)}


def _tensor(volume: Volume, channels: list[int], bundle: MonaiBundle) -> MetaTensor:
    dtype = bundle.reading.arguments.get("dtype") or np.float32
    kind = str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype) else np.dtype(dtype)
    voxels = volume.voxels[channels].astype(kind)
    first = bool(bundle.reading.arguments.get("ensure_channel_first", False))
    where: Any = 0
    if len(channels) == 1 and not first:
        voxels, where = voxels[0], "no_channel"
    elif volume.geometry.spatial_dims == 2 and not first:
        voxels, where = np.moveaxis(voxels, 0, -1), -1
    affine = torch.from_numpy(volume.geometry.affine_ras.copy())
    meta = {
        MetaKeys.ORIGINAL_AFFINE: volume.geometry.affine_ras.copy(),
        MetaKeys.SPACE: SpaceKeys.RAS,
        MetaKeys.SPATIAL_SHAPE: np.array(volume.geometry.shape_ijk),
        MetaKeys.ORIGINAL_CHANNEL_DIM: where,
    }
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(voxels)), affine=affine, meta=meta)
