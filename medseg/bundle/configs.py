"""A bundle as MONAI's config files: metadata.json, inference.json and train.json."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from medseg import __version__
from medseg.bundle.bundle import Bundle
from medseg.data.preprocess import entries, load_entry
from medseg.domain.spec import to_plain
from medseg.networks.build import NETWORKS

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"

# Of a bundle; left out of its metadata where empty.
_OPTIONAL = (
    "field_of_view", "spacing_range", "localiser", "flip_axes", "fold", "slices", "pixel_mm", "depths", "quality",
    "always_labelled",
)  # fmt: skip


def network_def(bundle: Bundle) -> dict[str, Any]:
    """The network as MONAI builds it; its target is the preset's function, or the name of a MONAI network."""
    spec = bundle.network
    return {
        "_target_": spec.preset if spec.is_monai else f"{NETWORKS[spec.preset].__module__}.{spec.preset}",
        "spatial_dims": spec.spatial_dims,
        "in_channels": spec.in_channels,
        "out_channels": spec.out_channels,
        **({} if spec.is_monai else {"widths": list(spec.widths)}),
        **(spec.options or {}),
    }


def preprocessing(bundle: Bundle) -> dict[str, Any]:
    """Loading and the steps after it."""
    steps = [load_entry(bundle.preprocess, ["image"]), *entries(bundle.preprocess, ["image"])]
    return {"_target_": "Compose", "transforms": steps}


def inferer(bundle: Bundle) -> dict[str, Any]:
    """The windows as MONAI's own inferer places them; of another placement as ours does."""
    if bundle.window.placement != "monai":
        return slab_inferer(bundle)
    return {
        "_target_": "SlidingWindowInferer",
        "roi_size": list(bundle.window.size),
        "sw_batch_size": bundle.window.batch,
        "overlap": bundle.window.overlap,
        "mode": bundle.window.weighting,
    }


def slab_inferer(bundle: Bundle) -> dict[str, Any]:
    """The windows of any placement, by this package's inferer."""
    return {
        "_target_": "medseg.bundle.inferer.SlabInferer",
        "roi_size": list(bundle.window.size),
        "sw_batch_size": bundle.window.batch,
        "overlap": bundle.window.overlap,
        "mode": bundle.window.weighting,
        "placement": bundle.window.placement,
    }


def postprocessing(bundle: Bundle) -> dict[str, Any]:
    """Logits back onto the image's grid, the decision, the file."""
    spec = bundle.postprocess
    steps: list[dict[str, Any]] = []
    if bundle.preprocess.spacing_mm is not None:
        steps.append(
            {
                "_target_": "Invertd",
                "keys": "pred",
                "transform": "@preprocessing",
                "orig_keys": "image",
                "nearest_interp": False,
                "to_tensor": True,
            }
        )
    if spec.decision == "instances":
        steps.append(
            {
                "_target_": "medseg.bundle.transforms.Instancesd",
                "keys": "pred",
                "marker_threshold": spec.marker_threshold,
                "foreground_threshold": spec.foreground_threshold,
                "min_voxels": spec.min_voxels,
            }
        )
    else:
        steps.append(
            {
                "_target_": "medseg.bundle.transforms.ArgmaxLabelsd",
                "keys": "pred",
                "class_values": list(bundle.labels.values),
                "min_voxels": spec.min_voxels,
            }
        )
    steps.append(
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_ext": "@output_ext",
            "output_dtype": "@output_dtype",
            "output_postfix": "@output_postfix",
            "resample": False,
            "separate_folder": False,
        }
    )
    return {"_target_": "Compose", "transforms": steps}


def inference_config(bundle: Bundle) -> dict[str, Any]:
    """configs/inference.json: runs with stock `python -m monai.bundle run`."""
    wide = bundle.labels.kind == "instances" or bundle.labels.values[-1] > 255
    return {
        "imports": ["$import glob", "$import os", "$import numpy as np"],
        "bundle_root": ".",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "dataset_dir": "$@bundle_root + '/images'",
        "datalist": "$[{'image': path} for path in sorted(glob.glob(os.path.join(@dataset_dir, '*')))]",
        "output_dir": "$@bundle_root + '/eval'",
        "output_ext": ".nii.gz" if bundle.network.spatial_dims == 3 else ".png",
        "output_dtype": f"$np.{'uint16' if wide else 'uint8'}",
        "output_postfix": "seg",
        "network_def": network_def(bundle),
        "network": "$@network_def.to(@device)",
        "preprocessing": preprocessing(bundle),
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": 1,
            "shuffle": False,
            "num_workers": 0,
        },
        "inferer": inferer(bundle),
        "postprocessing": postprocessing(bundle),
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
            "map_location": "@device",
        },
        "handlers": ["@checkpointloader", {"_target_": "StatsHandler", "iteration_log": False}],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
            "amp": False,
        },
        "displayable_configs": {"highest_overlap": bundle.window.overlap},
        "run": ["$@evaluator.run()"],
    }


def metadata(bundle: Bundle, scores: dict[str, float], changes: dict[str, str]) -> dict[str, Any]:
    """configs/metadata.json; what MONAI's schema has no place for stands under "medseg"."""
    spec = bundle.network
    classes = ("interior", "boundary") if bundle.labels.kind == "instances" else bundle.labels.names
    image = {
        "type": "image",
        "format": "RGB" if spec.in_channels == 3 else "magnitude",
        "modality": bundle.modality,
        "num_channels": spec.in_channels,
        "spatial_shape": [f"{2 * spec.divisor}*n"] * spec.spatial_dims,
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
        "channel_def": {str(c): name for c, name in enumerate(("red", "green", "blue")[: spec.in_channels])}
        if spec.in_channels == 3
        else {"0": "image"},
    }
    prediction = {
        **image,
        "format": "segmentation",
        "num_channels": spec.out_channels,
        "value_range": [],
        "channel_def": {"0": "background", **{str(k): name for k, name in enumerate(classes, start=1)}},
    }
    return {
        "schema": SCHEMA,
        "version": bundle.version,
        "changelog": changes,
        "monai_version": version("monai"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {
            "medseg": __version__,
            "nibabel": version("nibabel"),
            "pytorch-ignite": version("pytorch-ignite"),
            "SimpleITK": version("SimpleITK"),
            "scikit-image": version("scikit-image"),
        },
        "task": bundle.task,
        "description": bundle.description,
        "authors": "The medseg authors",
        "copyright": "Copyright (c) The medseg authors; Apache-2.0",
        "data_source": bundle.data_source,
        "data_type": "image",
        "image_classes": bundle.modality,
        "label_classes": ", ".join(bundle.labels.names),
        "pred_classes": ", ".join(classes),
        "eval_metrics": scores,
        "intended_use": "Research only; not a medical device and not for diagnosis",
        "references": [],
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": prediction}},
        "medseg": own_metadata(bundle),
    }


def own_metadata(bundle: Bundle) -> dict[str, Any]:
    """What stands under "medseg" in metadata.json."""
    return {
        "name": bundle.name,
        "modality": bundle.modality,
        "data_licence": bundle.data_licence,
        "labels": to_plain(bundle.labels),
        "weights_sha256": bundle.weights_sha256,
        **{name: to_plain(getattr(bundle, name)) for name in _OPTIONAL if getattr(bundle, name)},
        **({"seen": " ".join(bundle.seen)} if bundle.seen else {}),
    }
