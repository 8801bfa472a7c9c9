"""A bundle folder becomes a value. Nothing of it is imported, evaluated or unpickled here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from medseg.bundle import configs
from medseg.bundle.bundle import (
    Bundle,
    DepthScore,
    FieldOfView,
    Localiser,
    PostprocessSpec,
    SliceKind,
    SpacingRange,
)
from medseg.bundle.documents import read_document
from medseg.bundle.foreign import MonaiBundle, read_foreign
from medseg.bundle.words import short
from medseg.data.preprocess import PreprocessSpec
from medseg.domain.errors import BundleError, UsageError
from medseg.domain.labels import LabelTable
from medseg.domain.manifest import Fold
from medseg.domain.spec import from_plain
from medseg.metrics.quality import QualityFit
from medseg.networks.build import MONAI_NETWORKS, NETWORKS, NetworkSpec
from medseg.windows import WindowSpec

Part = TypeVar("Part")
_READ = ("network_def", "preprocessing", "inferer", "postprocessing")


def read_any(folder: Path, overrides: Mapping[str, Any] | None = None) -> Bundle | MonaiBundle:
    """One of our bundles, told by what metadata.json holds under "medseg", or somebody else's.

    Raises: BundleError, and UsageError for overrides of what is not to be set.
    """
    if "medseg" not in read_document(folder / "configs" / "metadata.json").data:
        return read_foreign(folder, overrides)
    if overrides:
        raise UsageError(f"--{next(iter(overrides))}: bundle {folder} is run as it was trained")
    return read_bundle(folder)


def read_bundle(folder: Path) -> Bundle:
    """The bundle that its two config files describe.

    Raises: BundleError if a file is missing or damaged, or if the network, the preprocessing, the windows or the
    postprocessing are of a form that this version does not write itself.
    """
    metadata = read_document(folder / "configs" / "metadata.json").data
    config = read_document(folder / "configs" / "inference.json").data
    try:
        bundle = _understand(metadata, config)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, UsageError) as error:
        what = short(f"has no {error}" if isinstance(error, KeyError) else str(error), 300)
        raise BundleError(f"{folder}: not a bundle that this version can run: {what}") from error
    for name in _READ:
        forms = [getattr(configs, name)(bundle)]
        if name == "inferer":  # either may stand for MONAI's placement
            forms.append(configs.slab_inferer(bundle))
        if config[name] not in forms:
            raise BundleError(f"{folder}: {name} in configs/inference.json has a form that this version cannot run")
    return dataclasses.replace(bundle, folder=folder)


def _understand(metadata: dict[str, Any], config: dict[str, Any]) -> Bundle:
    own = metadata["medseg"]
    return Bundle(
        name=_text(own, "name"),
        version=_text(metadata, "version"),
        task=_text(metadata, "task"),
        description=_text(metadata, "description"),
        modality=_text(own, "modality"),
        data_source=_text(metadata, "data_source"),
        data_licence=_text(own, "data_licence"),
        network=_network(config["network_def"]),
        preprocess=_preprocess(config["preprocessing"]["transforms"]),
        window=_window(config["inferer"]),
        postprocess=_postprocess(config["postprocessing"]["transforms"]),
        labels=from_plain(LabelTable, own["labels"], "labels"),
        weights_sha256=_text(own, "weights_sha256"),
        field_of_view=_optional(FieldOfView, own, "field_of_view"),
        flip_axes=from_plain(tuple[int, ...], own.get("flip_axes", ()), "flip_axes"),
        fold=_optional(Fold, own, "fold"),
        seen=tuple(_text(own, "seen").split()) if "seen" in own else (),
        always_labelled=from_plain(bool, own.get("always_labelled", False), "always_labelled"),
        slices=from_plain(SliceKind, own["slices"], "slices") if "slices" in own else None,  # type: ignore[arg-type]
        pixel_mm=from_plain(float, own["pixel_mm"], "pixel_mm") if "pixel_mm" in own else None,
        depths=from_plain(tuple[DepthScore, ...], own.get("depths", ()), "depths"),
        localiser=_optional(Localiser, own, "localiser"),
        quality=_optional(QualityFit, own, "quality"),
        spacing_range=_optional(SpacingRange, own, "spacing_range"),
    )


def _optional(kind: type[Part], own: dict[str, Any], key: str) -> Part | None:
    return from_plain(kind, own[key], key) if key in own else None


def _text(data: dict[str, Any], key: str) -> str:
    if not isinstance(data[key], str):
        raise UsageError(f"{key} is no text")
    return str(data[key])


def _network(data: dict[str, Any]) -> NetworkSpec:
    known = {f"{preset.__module__}.{name}": name for name, preset in NETWORKS.items()}
    known |= {name: name for name in MONAI_NETWORKS}
    if data["_target_"] not in known:
        raise UsageError(f"network_def names {data['_target_']!r}, which is not one of {', '.join(known)}")
    own = {field.name for field in dataclasses.fields(NetworkSpec)} - {"preset", "options"}
    values = {key: value for key, value in data.items() if key in own}
    options = {key: value for key, value in data.items() if key not in own and key != "_target_"}
    preset = known[data["_target_"]]
    return from_plain(NetworkSpec, {"preset": preset, **values, "options": options or None}, "network_def")


def _preprocess(steps: list[dict[str, Any]]) -> PreprocessSpec:
    by_name = {step["_target_"]: step for step in steps}
    spacing = by_name.get("Spacingd", {}).get("pixdim")
    data = {"channels": by_name["LoadImaged"]["channels"], "spacing_mm": spacing}
    if "ScaleIntensityRanged" in by_name:
        scale = by_name["ScaleIntensityRanged"]
        data |= {"normalise": "range", "intensity_range": [scale["a_min"], scale["a_max"]]}
    else:
        data["normalise"] = "zscore" if "NormalizeIntensityd" in by_name else "percentile"
    return from_plain(PreprocessSpec, data, "preprocessing")


def _window(data: dict[str, Any]) -> WindowSpec:
    values = {
        "size": data["roi_size"],
        "overlap": data["overlap"],
        "weighting": data["mode"],
        "batch": data["sw_batch_size"],
        "placement": data.get("placement", "monai"),
    }
    return from_plain(WindowSpec, values, "inferer")


def _postprocess(steps: list[dict[str, Any]]) -> PostprocessSpec:
    decision = steps[-2]
    kind = {"medseg.bundle.transforms.Instancesd": "instances", "medseg.bundle.transforms.ArgmaxLabelsd": "argmax"}
    options = {
        key: value
        for key, value in decision.items()
        if key in ("min_voxels", "marker_threshold", "foreground_threshold")
    }
    return from_plain(PostprocessSpec, {"decision": kind[decision["_target_"]], **options}, "postprocessing")
