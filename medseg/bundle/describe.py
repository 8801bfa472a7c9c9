"""What a finished training is called and what it takes: the bundle, from the manifest and the plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.bundle.bundle import Bundle, FieldOfView, PostprocessSpec, SpacingRange
from medseg.domain.geometry import Float64Array
from medseg.domain.manifest import Manifest, image_digests
from medseg.engines.plan import TrainSpec

_CROP_MM = 100.0
_MARGIN = 1.25
_SPACING_FOLD = 10
# Best AP@0.5 and IoU on the validation cases of data_manifests/nuclei.json. Dice losses make networks tell too much: at
# 0.5 three networks had 0.004 to 0.005 less IoU there and up to 0.010 less AP@0.5.
_MARKER, _FOREGROUND = 0.6, 0.7


def describe(
    name: str, manifest: Manifest, spec: TrainSpec, extents_mm: Float64Array | None, always_labelled: bool = False
) -> Bundle:
    """The bundle of a training; its digest is set when it is packed.

    always_labelled: every image that trained it held a label.
    """
    if manifest.labels.kind == "instances":
        postprocess = PostprocessSpec("instances", spec.min_voxels, _MARKER, _FOREGROUND)
    else:
        postprocess = PostprocessSpec("argmax", spec.min_voxels)
    return Bundle(
        name=name,
        version="0.1.0",
        task=f"Segmentation of {' and '.join(manifest.labels.names)} in {manifest.modality} images",
        description=manifest.description,
        modality=manifest.modality,
        data_source=manifest.source,
        data_licence=manifest.licence,
        network=spec.network,
        preprocess=spec.preprocess,
        window=spec.window,
        postprocess=postprocess,
        labels=manifest.labels,
        weights_sha256="",
        field_of_view=field_of_view(extents_mm) if extents_mm is not None else None,
        spacing_range=spacing_range(spec.preprocess.spacing_mm) if spec.preprocess.spacing_mm is not None else None,
        flip_axes=spec.augment.flip_axes,
        fold=spec.fold,
        seen=image_digests(manifest.part("train")),
        always_labelled=always_labelled,
    )


def field_of_view(extents_mm: Float64Array) -> FieldOfView | None:
    """The sizes (n, 3) seen in training, a quarter wider, where they are crops; None for images of whole regions.

    A network that saw only crops around an organ has never seen the rest of the body and would find the organ there
    too. Images of which no edge is longer than 100 mm are taken for crops.
    """
    if extents_mm.max() > _CROP_MM:
        return None
    low, high = extents_mm.min(0) / _MARGIN, extents_mm.max(0) * _MARGIN
    return FieldOfView(_triple(np.floor(low)), _triple(np.ceil(high)))


def spacing_range(spacing_mm: Sequence[float]) -> SpacingRange:
    """From a tenth of the network's voxels to ten times them: wide for scans, narrow for units a thousand times off."""
    return SpacingRange(float(min(spacing_mm)) / _SPACING_FOLD, float(max(spacing_mm)) * _SPACING_FOLD)


def _triple(values: Float64Array) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
