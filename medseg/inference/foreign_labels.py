"""What the postprocessing of a third-party bundle leaves, as label values on the image's grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data.image_writer import ImageWriter
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray

from medseg.bundle.foreign import MonaiBundle
from medseg.bundle.program import keys_of
from medseg.domain.errors import BundleError
from medseg.domain.geometry import Geometry


def label_values(data: dict[Any, Any], bundle: MonaiBundle, source: Geometry) -> tuple[NDArray[np.uint16], list[str]]:
    """The saved key as whole numbers (*source.shape_ijk), and notes.

    Raises: BundleError where the values are no labels: fractions, negative, overlapping regions.
    """
    writing = bundle.writing.arguments if bundle.writing is not None else {}
    key = keys_of(bundle.writing)[0] if bundle.writing is not None else "pred"
    mask = data.get(key)
    if not isinstance(mask, torch.Tensor) or mask.ndim not in (source.spatial_dims, 1 + source.spatial_dims):
        raise BundleError(f"{bundle.config}: the postprocessing leaves no mask of the key {key!r}")
    notes: list[str] = []
    if not isinstance(mask, MetaTensor):
        mask = MetaTensor(mask, affine=torch.from_numpy(source.affine_ras.copy()))
    if mask.ndim == source.spatial_dims:
        mask = mask[None]
    if mask.shape[0] > 1:
        mask, note = _one_map(mask, bundle)
        notes.append(note)
    if writing.get("scale"):
        notes.append(f"the bundle saves labels times {writing['scale']}; here they are labels")
    mask, note = _on_grid(mask, source, bool(writing.get("resample", False)), bundle)
    notes += [note] if note else []
    return whole_numbers(mask.numpy() if not isinstance(mask, MetaTensor) else mask.as_tensor().numpy(), bundle), notes


def whole_numbers(values: NDArray[Any], bundle: MonaiBundle) -> NDArray[np.uint16]:
    """(1, *S) or (*S) values as labels; fractions are cut off where the bundle saves integers, as MONAI cuts them."""
    writing = bundle.writing.arguments if bundle.writing is not None else {}
    dtype = writing.get("output_dtype", np.float32)
    if writing.get("output_ext") == ".png" and dtype is np.float32:  # pictures hold integers
        dtype = np.uint8
    kind = str(dtype).removeprefix("torch.")
    integers = np.dtype(kind if isinstance(dtype, (torch.dtype, str)) else dtype or np.float32).kind in "iub"
    values = np.asarray(values).reshape(values.shape[-3:] if values.ndim == 4 else values.shape[1:])
    cut = np.trunc(values) if values.dtype.kind == "f" else values
    if not integers and values.dtype.kind == "f" and (cut != values).any():
        share = float((cut != values).mean())
        raise BundleError(
            f"{bundle.config}: the postprocessing leaves fractions in {100 * share:.2g} % of the mask, which are no "
            "labels; let it end with AsDiscreted, or save an integer type"
        )
    if cut.size and (cut.min() < 0 or cut.max() > 65535):
        raise BundleError(f"{bundle.config}: the mask has values of {cut.min()} to {cut.max()}; labels are 0 to 65535")
    return cut.astype(np.uint16)


def _one_map(mask: MetaTensor, bundle: MonaiBundle) -> tuple[MetaTensor, str]:
    """Channels of zeros and ones (K, *S) as one map."""
    values = mask.as_tensor()
    together = values.sum(0)
    if not bool(((values == 0) | (values == 1)).all()) or bool((together > 1).any()):
        raise BundleError(
            f"{bundle.config}: the postprocessing leaves {len(values)} overlapping maps; a mask holds one label a voxel"
        )
    if bool((together == 1).all()):
        return MetaTensor(values.argmax(0, keepdim=True), meta=mask.meta), "saved as one-hot channels; here as labels"
    numbered = values * torch.arange(1, len(values) + 1).view(-1, *[1] * (values.ndim - 1))
    return MetaTensor(numbered.sum(0, keepdim=True), meta=mask.meta), "saved as channels; here numbered from 1"


def _on_grid(mask: MetaTensor, source: Geometry, as_saved: bool, bundle: MonaiBundle) -> tuple[MetaTensor, str]:
    """The mask on the source's grid: as it is, or by nearest neighbours."""
    affine = mask.affine.numpy().astype(np.float64)
    here = tuple(mask.shape[1:])
    if source.spatial_dims == 2:
        if here != source.shape_ijk:
            raise BundleError(
                f"{bundle.config}: the mask is {here}, the picture {source.shape_ijk}; it is not inverted"
            )
        return mask, ""
    if Geometry(here, affine).is_same_grid(source):
        return mask, ""
    (values,) = mask.float()
    moved = ImageWriter.resample_if_needed(
        values,
        affine=torch.from_numpy(affine),
        target_affine=torch.from_numpy(source.affine_ras.copy()),
        output_spatial_shape=source.shape_ijk,
        mode="nearest",
        padding_mode="border" if as_saved else "zeros",
    )
    moved = torch.as_tensor(moved)
    if tuple(moved.shape) != source.shape_ijk:
        raise BundleError(f"{bundle.config}: the mask is {tuple(moved.shape)}, the image {source.shape_ijk}")
    note = "" if as_saved else f"the bundle leaves its mask on a grid of {here}; brought back by nearest neighbours"
    return MetaTensor(moved[None], affine=torch.from_numpy(source.affine_ras.copy())), note
