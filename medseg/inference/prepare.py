"""A case before the network of a bundle of medseg: the image is checked and cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medseg.bundle.bundle import Bundle
from medseg.data.channels import fit_channels
from medseg.domain.box import Box
from medseg.domain.errors import FieldOfViewError, InputError
from medseg.domain.volume import Volume
from medseg.inference.clock import Clock
from medseg.inference.fit import need_bytes, require_enough_memory, require_size, require_spacing
from medseg.inference.model import Prepared
from medseg.inference.parts import cropped, upright, whole
from medseg.inference.slices import require_sliceable, slicing_of
from medseg.io.images import require_contrast


def prepare(
    volume: Volume,
    bundle: Bundle,
    template: Volume | None,
    asked: Mapping[str, Any],
    boxes: Sequence[Box],
    name: str,
    clock: Clock,
    beside_bytes: int = 0,
) -> Prepared:
    """See `Model.prepare`: check an image against a bundle of medseg, and cut it into parts.

    template: of the bundle's localiser; asked: what stands in the report beside the boxes.
    """
    require_fit(volume, bundle, name)
    require_spacing(volume, bundle, name)
    require_size(volume, bundle, name)
    settings: dict[str, Any] = {"roi": [str(box) for box in boxes], **asked}
    if not boxes and is_to_be_localised(volume, bundle) and bundle.localiser and template:
        from medseg.inference.localise import locate

        with clock.part("localise"):
            located = locate(volume, bundle.localiser, template, name)
            spacing_mm = bundle.preprocess.spacing_mm or volume.geometry.spacing_mm
            parts = [upright(volume, located, region, spacing_mm) for region in located.boxes]
        settings["located"] = located.to_plain()
    else:
        parts = [cropped(volume, box, name) for box in boxes] or [whole(volume)]
        for part in parts:
            require_field_of_view(part.seen, bundle, name, boxed=bool(boxes))
    for part in parts:
        require_contrast(name, part.seen, boxed=bool(boxes))
        require_enough_memory(part.seen, bundle, name, beside_bytes)
    need = max(need_bytes(part.seen, bundle) for part in parts)
    notes = _slices_never_seen(volume, bundle)
    return Prepared(volume, name, clock, tuple(parts), settings=settings, notes=notes, need_bytes=need)


def _slices_never_seen(volume: Volume, bundle: Bundle) -> tuple[str, ...]:
    """A note where slices are segmented that show none of the labels, and the bundle never saw such a slice."""
    if volume.geometry.spatial_dims == bundle.network.spatial_dims or not bundle.always_labelled:
        return ()
    names = " or ".join(bundle.labels.names)
    return (
        f"bundle {bundle.name} learned from slices that hold {names} only, and may mark some on slices that hold none: "
        "look at every slice",
    )


def require_fit(volume: Volume, bundle: Bundle, name: str) -> None:
    """Raises: InputError for another number of axes, colour in a grey model or another modality."""
    dims = bundle.network.spatial_dims
    if volume.geometry.spatial_dims > dims:
        require_sliceable(bundle, name)
    elif volume.geometry.spatial_dims < dims:
        kinds = {2: "a picture", 3: "a volume"}
        raise InputError(
            f"{name}: is {kinds[volume.geometry.spatial_dims]} of {volume.geometry.shape_ijk} voxels, bundle "
            f"{bundle.name} takes {kinds[dims]}; give another image or another bundle"
        )
    fit_channels(volume, bundle.preprocess.channels, name)
    if volume.modality is not None and volume.modality != bundle.modality:
        raise InputError(
            f"{name}: its modality is {volume.modality}, bundle {bundle.name} takes {bundle.modality}; "
            f"give another image or bundle, or --force {bundle.modality} if the file is wrong about it"
        )


def require_field_of_view(volume: Volume, bundle: Bundle, name: str, boxed: bool) -> None:
    """Raises: FieldOfViewError where the bundle declares a size of image and this one has another.

    A picture alone does not tell how large what it shows is; of a volume for a 2-D bundle the slices are asked.
    """
    if bundle.field_of_view is None or volume.geometry.spatial_dims != 3:
        return
    extent = volume.geometry.extent_ras_mm
    low, high = np.array(bundle.field_of_view.smallest_mm), np.array(bundle.field_of_view.largest_mm)
    asked = np.ones(3, bool)
    if bundle.network.spatial_dims == 2:
        asked[slicing_of(volume, bundle).patient_axis] = False
    if (asked & ((extent < low) | (extent > high))).any():
        ranges = " x ".join(f"{a:g}-{b:g}" for a, b in zip(low, high, strict=True))
        what = "the --roi box" if boxed else "the image"
        raise FieldOfViewError(
            f"{name}: {what} shows {' x '.join(f'{e:.0f}' for e in extent)} mm, bundle {bundle.name} was trained on "
            f"images of {ranges} mm (right-left, front-back, up-down); "
            + ("give a box of that size" if boxed else "say where to look with --roi x,y,z,dx,dy,dz")
        )


def is_to_be_localised(volume: Volume, bundle: Bundle) -> bool:
    """Whether the image shows more than the network takes and the bundle knows where to look."""
    if bundle.localiser is None or bundle.field_of_view is None or volume.geometry.spatial_dims != 3:
        return False
    return bool((volume.geometry.extent_ras_mm > np.array(bundle.field_of_view.largest_mm)).any())
