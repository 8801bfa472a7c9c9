"""What stands beside an exported network, so that somebody without this program can run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from medseg import __version__
from medseg.bundle.bundle import Bundle, PostprocessSpec
from medseg.bundle.component import Component
from medseg.bundle.foreign import MonaiBundle
from medseg.data.preprocess import PreprocessSpec, entries
from medseg.domain.labels import LabelTable
from medseg.domain.spec import to_plain

FORMAT, FORMAT_VERSION = "medseg-export", 1
_USE = "Research only; not a medical device and not for diagnosis"
_COLOURS = ("red", "green", "blue")
_AXES = {
    "volume": ["patient's left to right", "posterior to anterior", "inferior to superior"],
    "picture": ["left to right", "top to bottom"],
}
_NORMALISE = {
    "zscore": "(x - mean) / population standard deviation, both over all voxels of the image on the network's grid",
    "percentile": "the 1st percentile of all values of the image becomes 0, the 99th 1, linearly and without clipping",
    "range": "the first value of range becomes 0, the second 1, linearly; what lies outside is clipped to 0 and 1",
}
_BLENDING = {
    "gaussian": "product over the axes of exp(-(i - (n - 1) / 2)^2 / (2 * (n / 8)^2)), at least a thousandth",
    "constant": "1",
}


def about_ours(bundle: Bundle, depth: int | None) -> dict[str, Any]:
    """Of a bundle of this project; the facts of the export itself are added later."""
    return {
        **_head(bundle.name, bundle.version, bundle.task, bundle.modality, bundle.weights_sha256),
        **({"depth": depth} if depth is not None else {}),
        "data_licence": bundle.data_licence,
        "input": {"name": "image", "type": "float32", "channels": list(_channels(bundle.preprocess.channels))},
        "output": {"name": "pred", "type": "float32", "values": "logits", "channels": _classes(bundle.labels)},
        "preprocessing": _before(bundle),
        "windows": {
            "size": list(bundle.window.size),
            "overlap": bundle.window.overlap,
            "weighting": bundle.window.weighting,
            "weight": _BLENDING[bundle.window.weighting],
            "step": "size * (1 - overlap), rounded down, at least 1; the last window is moved back to end with the "
            "image",
            "small_images": "padded with zeros to the window's size, half of them (rounded down) before",
            "blending": "sum of weight * logits / sum of weights",
        },
        "postprocessing": _after(bundle.postprocess, bundle.preprocess, bundle.labels),
        "labels": to_plain(bundle.labels)["labels"],
    }


def about_foreign(bundle: MonaiBundle) -> dict[str, Any]:
    """Of a bundle that somebody else wrote: its own steps, as its config has them."""
    channels = bundle.network.arguments.get("in_channels", 1)
    names = bundle.about.inputs if len(bundle.about.inputs) == channels else [f"channel {n}" for n in range(channels)]
    outputs = [{"value" if bundle.about.of_mask else "channel": n, "name": s} for n, s in bundle.about.outputs.items()]
    steps = {"preprocessing": bundle.preprocessing, "postprocessing": bundle.postprocessing}
    return {
        **_head(bundle.name, bundle.version, bundle.about.task, bundle.modality, bundle.weights_sha256),
        "input": {"name": "image", "type": "float32", "channels": list(names)},
        "output": {"name": "pred", "type": "float32", "values": "as the bundle's network gives them"},
        **{name: {"monai": [_entry(step) for step in parts]} for name, parts in steps.items()},
        "windows": {"monai": _entry(bundle.inferer)},
        "labels": outputs,
    }


def _head(name: str, version: str, task: str, modality: str | None, digest: str) -> dict[str, Any]:
    described = {"name": name, "version": version, "task": task, "modality": modality, "weights_sha256": digest}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "bundle": {key: value for key, value in described.items() if value is not None},
        "made_with": {"medseg": __version__},
        "intended_use": _USE,
    }


def _channels(count: int) -> Sequence[str]:
    return _COLOURS if count == 3 else ("image",) if count == 1 else [f"channel {n}" for n in range(count)]


def _classes(labels: LabelTable) -> list[dict[str, Any]]:
    names = ("interior", "boundary") if labels.kind == "instances" else labels.names
    values = (None, None) if labels.kind == "instances" else labels.values
    rows = [("background", None if labels.kind == "instances" else 0), *zip(names, values, strict=True)]
    return [
        {"channel": n, "name": name, **({} if value is None else {"value": value})}
        for n, (name, value) in enumerate(rows)
    ]


def _before(bundle: Bundle) -> dict[str, Any]:
    spec = bundle.preprocess
    normalise: dict[str, Any] = {"kind": spec.normalise, "how": _NORMALISE[spec.normalise]}
    if spec.intensity_range is not None:
        normalise["range"] = list(spec.intensity_range)
    about: dict[str, Any] = {"axes": _AXES["volume" if len(bundle.window.size) == 3 else "picture"]}
    if spec.spacing_mm is not None:
        about |= {
            "orientation": "RAS",
            "spacing_mm": list(spec.spacing_mm),
            "interpolation": "linear; outside the image its edge values go on",
        }
    else:
        about["grid"] = "the image's own"
    if spec.channels == 3:
        about["grey_images"] = "the one channel three times"
    if bundle.slices is not None:
        about["slices"] = bundle.slices
    if bundle.pixel_mm is not None:
        about["slices_pixel_mm"] = bundle.pixel_mm
    return {**about, "normalise": normalise, "monai": entries(spec, ["image"])}


def _after(spec: PostprocessSpec, before: PreprocessSpec, labels: LabelTable) -> dict[str, Any]:
    if spec.decision == "instances":
        return {
            "decision": "instances",
            "how": "softmax over the channels; seeds are the face-connected regions of interior - boundary > "
            "marker_threshold; they grow by watershed on boundary - interior within interior + boundary > "
            "foreground_threshold; a corner-connected piece of that without a seed is an instance of its own; "
            "instances of fewer than min_voxels are background; the rest are numbered 1..n",
            "marker_threshold": spec.marker_threshold,
            "foreground_threshold": spec.foreground_threshold,
            "min_voxels": spec.min_voxels,
        }
    grid = "the logits are interpolated linearly onto the image's own grid, then " if before.spacing_mm else ""
    return {
        "decision": "argmax",
        "how": f"{grid}the largest channel gives its value; corner-connected pieces of one value of fewer than "
        "min_voxels become 0",
        "interpolation": "linear" if before.spacing_mm else "none",
        "values": [0, *labels.values],
        "min_voxels": spec.min_voxels,
    }


def _entry(step: Component) -> dict[str, Any]:
    """A part as MONAI's config names it; what is no plain value is told in words."""
    return {"_target_": step.name, **{name: _plain(value) for name, value in step.arguments.items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        return _entry(value) if value.target.kind != "compose" else "the preprocessing"
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.__name__ if isinstance(value, type) else str(value)
