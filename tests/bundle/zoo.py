"""Bundles in the forms that the model zoo's segmentation bundles have, written anew, tiny and with random weights.

What differs between them is what a reader has to understand: where inputs come from, which ids start a run, how pre-
and postprocessing are written down, in which order activation, inverse, decision and components come.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

LOAD = {"_target_": "LoadImaged", "keys": "image"}
FIRST = {"_target_": "EnsureChannelFirstd", "keys": "image"}
RAS = {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}
SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
SIGMOID = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
THRESHOLD = {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}
INVERT = {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"}
LINEAR = {**INVERT, "nearest_interp": False, "to_tensor": True}
SAVE = {
    "_target_": "SaveImaged",
    "keys": "pred",
    "output_dir": "@output_dir",
    "output_ext": "@output_ext",
    "output_dtype": "$np.uint8",
    "separate_folder": False,
}
WINDOWS = {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 2, "overlap": 0.5}


def spacing(*mm: float, **more: Any) -> dict[str, Any]:
    return {"_target_": "Spacingd", "keys": "image", "pixdim": list(mm), "mode": "bilinear", **more}


def window(low: float, high: float) -> dict[str, Any]:
    return {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": low, "a_max": high, "b_min": 0, "b_max": 1,
            "clip": True}  # fmt: skip


def unet(dims: int, classes: int, **more: Any) -> dict[str, Any]:
    return {"_target_": "UNet", "spatial_dims": dims, "in_channels": 1, "out_channels": classes,
            "channels": [4, 8, 16], "strides": [2, 2], "num_res_units": 1, "norm": "batch", **more}  # fmt: skip


def compose(*steps: Any) -> dict[str, Any]:
    return {"_target_": "Compose", "transforms": list(steps)}


def whole(parts: dict[str, Any], files: str = "*", start: str = "run") -> dict[str, Any]:
    """A config that stock MONAI runs, around the parts of a form."""
    config = {
        "imports": ["$import glob", "$import os", "$import numpy as np"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "output_ext": ".nii.gz",
        "dataset_dir": "images",
        "datalist": f"$sorted(glob.glob(os.path.join(@dataset_dir, '{files}')))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network": "$@network_def.to(@device)",
        "dataset": {"_target_": "Dataset", "data": "$[{'image': i} for i in @datalist]", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
            "map_location": "@device",
        },
        "handlers": [{"_target_": "StatsHandler", "iteration_log": False}],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "initialize": ["$monai.utils.set_determinism(seed=123)", "$@checkpointloader(@evaluator)"],
    }
    config[start] = ["$@evaluator.run()"]
    return {**config, **parts}


def spleen() -> dict[str, Any]:
    """Softmax, linear inverse, argmax; keys by reference."""
    by_key = [{**step, "keys": "@image_key"} for step in (LOAD, FIRST, RAS, spacing(1.5, 1.5, 2.0), window(-57, 164))]
    return whole({
        "image_key": "image",
        "load_pretrain": True,
        "network_def": unet(3, 2, num_res_units=2),
        "preprocessing": compose(*by_key, {"_target_": "EnsureTyped", "keys": "@image_key"}),
        "inferer": WINDOWS,
        "postprocessing": compose(SOFTMAX, {**LINEAR, "orig_keys": "@image_key"}, ARGMAX, SAVE),
        "initialize": ["$@checkpointloader(@evaluator) if @load_pretrain else None"],
    })  # fmt: skip


def prostate() -> dict[str, Any]:
    """The largest component of each label before a linear inverse; the run is called `evaluating`."""
    keep = {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1, 2]}
    one_hot = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True, "to_onehot": 3}
    steps = [LOAD, FIRST, RAS, spacing(0.9, 0.9, 1.1), {"_target_": "ScaleIntensityd", "keys": "image"},
             {"_target_": "NormalizeIntensityd", "keys": "image"}]  # fmt: skip
    return whole({
        "network_def": unet(3, 3, act="prelu", dropout=0.15),
        "preprocessing": compose(*steps),
        "inferer": {**WINDOWS, "overlap": 0.6, "mode": "gaussian"},
        "postprocessing": compose(SOFTMAX, one_hot, keep, LINEAR, ARGMAX, SAVE),
    }, start="evaluating")  # fmt: skip


def btcv() -> dict[str, Any]:
    """SwinUNETR; the weights' path in a variable, the start is `inference`."""
    return whole({
        "ckpt": "$@bundle_root + '/models/model.pt'",
        "network_def": {"_target_": "SwinUNETR", "in_channels": 1, "out_channels": 4, "feature_size": 12,
                        "depths": [1, 1, 1, 1], "norm_name": "batch", "num_heads": [1, 2, 3, 4]},
        "preprocessing": compose(LOAD, FIRST, RAS, spacing(1.5, 1.5, 2.0), window(0, 255),
                                 {"_target_": "EnsureTyped", "keys": "image"}),
        "inferer": {**WINDOWS, "roi_size": [32, 32, 32], "overlap": 0.25, "sw_batch_size": 1},
        "postprocessing": compose(SOFTMAX, LINEAR, ARGMAX, SAVE),
        "handlers": ["@checkpointloader"],
        "checkpointloader": {"_target_": "CheckpointLoader", "load_path": "@ckpt", "load_dict": {"model": "@network"}},
        "initialize": [],
    }, start="inference")  # fmt: skip


def template() -> dict[str, Any]:
    """YAML; keys from monai.utils.CommonKeys; no spacing and no inverse."""
    steps = [{**step, "keys": "@image"} for step in (LOAD, FIRST, {"_target_": "ScaleIntensityd"})]
    return whole({
        "image": "$monai.utils.CommonKeys.IMAGE",
        "pred": "$monai.utils.CommonKeys.PRED",
        "num_classes": 4,
        "network_def": unet(3, 4, out_channels="@num_classes"),
        "preprocessing": compose(*steps),
        "inferer": WINDOWS,
        "postprocessing": compose({**SOFTMAX, "keys": "@pred"}, {**ARGMAX, "keys": "@pred"}, {**SAVE, "keys": "@pred"}),
    })  # fmt: skip


def pediatric() -> dict[str, Any]:
    """DynUNet whose kernels follow from its strides; cropped to the foreground."""
    crop = {"_target_": "CropForegroundd", "keys": "image", "source_key": "image", "select_fn": "$lambda x: x > 0.2"}
    return whole({
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 1]],
        "network_def": {"_target_": "monai.networks.nets.DynUNet", "spatial_dims": 3, "in_channels": 1,
                        "out_channels": 4, "kernel_size": "$[3] * len(@strides)", "strides": "@strides",
                        "upsample_kernel_size": "$@strides[1:]", "filters": [4, 8, 8], "norm_name": "instance",
                        "deep_supervision": False, "res_block": True},
        "preprocessing": compose(LOAD, FIRST, RAS, spacing(1.1, 1.1, 1.6), window(0, 255), crop,
                                 {"_target_": "EnsureTyped", "keys": "image"}),
        "inferer": WINDOWS,
        "postprocessing": compose(SOFTMAX, LINEAR, ARGMAX, SAVE),
    })  # fmt: skip


def ventricular() -> dict[str, Any]:
    """2-D, the whole picture at once; pre- and postprocessing have keys that only training fills."""
    both = ["image", "label"]
    steps = [{**LOAD, "keys": both}, {**FIRST, "keys": both}, {"_target_": "ScaleIntensityd", "keys": "image"},
             {"_target_": "EnsureTyped", "keys": both}]  # fmt: skip
    return whole({
        "images": "$sorted(glob.glob(os.path.join(@dataset_dir, '*.png')))",
        "labels": "@images",
        "network_def": unet(2, 4, num_res_units=2),
        "preprocessing": compose(*steps),
        "dataset": {"_target_": "Dataset", "transform": "@preprocessing",
                    "data": "$[{'image': i, 'label': l} for i, l in zip(@images, @labels)]"},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": compose(SOFTMAX, {**ARGMAX, "keys": ["pred", "label"], "argmax": [True, False]}, SAVE),
    })  # fmt: skip


def whole_body() -> dict[str, Any]:
    """SegResNet of many labels: decided first, the labels inverted by nearest; the spacing is the user's choice."""
    return whole({
        "displayable_configs": {"highres": True, "sw_overlap": 0.25, "sw_batch_size": 1},
        "modelname": "model.pt",
        "pixdim": "$[1.5, 1.5, 1.5] if @displayable_configs#highres else [3.0, 3.0, 3.0]",
        "network_def": {"_target_": "SegResNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 12,
                        "init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1], "dropout_prob": 0.2},
        "preprocessing": compose(LOAD, {"_target_": "EnsureTyped", "keys": "image"}, FIRST, RAS,
                                 {**spacing(), "pixdim": "@pixdim"},
                                 {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True},
                                 {"_target_": "ScaleIntensityd", "keys": "image", "minv": -1.0, "maxv": 1.0}),
        "inferer": {**WINDOWS, "overlap": "@displayable_configs#sw_overlap", "padding_mode": "replicate",
                    "mode": "gaussian", "sw_batch_size": "@displayable_configs#sw_batch_size"},
        "postprocessing": compose(SOFTMAX, ARGMAX, {**INVERT, "nearest_interp": True, "to_tensor": True}, SAVE),
        "checkpointloader": {"_target_": "CheckpointLoader", "load_path": "$@bundle_root + '/models/' + @modelname",
                             "load_dict": {"model": "@network"}},
    })  # fmt: skip


def dints(**more: Any) -> dict[str, Any]:
    """The architecture is read from a file of arrays by torch.load in an expression."""
    return {
        "arch_ckpt_path": "$@bundle_root + '/models/search_code.pt'",
        "arch_ckpt": "$torch.load(@arch_ckpt_path, map_location=torch.device('cpu'), weights_only=False)",
        "dints_space": {"_target_": "TopologyInstance", "channel_mul": 0.25, "num_blocks": 6, "num_depths": 3,
                        "use_downsample": True, "arch_code": ["$@arch_ckpt['code_a']", "$@arch_ckpt['code_c']"],
                        "device": "$torch.device('cpu')"},
        "network_def": {"_target_": "DiNTS", "dints_space": "@dints_space", "in_channels": 1, "num_classes": 3,
                        "use_downsample": True, "node_a": "$torch.from_numpy(@arch_ckpt['node_a'])", **more},
    }  # fmt: skip


def multi_organ() -> dict[str, Any]:
    """DiNTS; the transforms are ids of their own, the steps a list of references."""
    return whole({
        **dints(),
        "load": LOAD,
        "spatial": [FIRST, RAS, spacing(1.5, 1.5, 2.0)],
        "intensity": [window(0, 255), {"_target_": "CastToTyped", "keys": "image", "dtype": "$torch.float32"}],
        "preprocessing": {"_target_": "Compose", "transforms": "$[@load] + @spatial + @intensity"},
        "inferer": {**WINDOWS, "roi_size": [32, 32, 32]},
        "activate": SOFTMAX,
        "postprocessing": {"_target_": "Compose", "transforms": ["@activate", LINEAR, ARGMAX, SAVE]},
    })  # fmt: skip


def pancreas() -> dict[str, Any]:
    """DiNTS; a copy of the prediction is made, and two labels of it become one."""
    join = {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: torch.where(x > 1, 1, x)"}
    copied = {"_target_": "CopyItemsd", "keys": "pred", "times": 1, "names": "all"}
    return whole({
        **dints(),
        "preprocessing": compose(LOAD, FIRST, RAS, {**spacing(1.2, 1.2, 1.7), "keys": ["image"], "mode": ["bilinear"]},
                                 window(0, 255)),
        "inferer": {**WINDOWS, "roi_size": [32, 32, 32]},
        "postprocessing": compose(SOFTMAX, LINEAR, ARGMAX, copied, join, SAVE),
    })  # fmt: skip


def brats() -> dict[str, Any]:
    """Four images a case, three overlapping regions, and a lambda that makes labels 0, 1, 2 and 4 of them."""
    labels = "$lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))"
    normalise = {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True}
    return whole({
        "names": ["t1c", "t1", "t2", "flair"],
        "network_def": {"_target_": "SegResNet", "blocks_down": [1, 1], "blocks_up": [1], "init_filters": 8,
                        "in_channels": 4, "out_channels": 3, "dropout_prob": 0.2},
        "preprocessing": compose(LOAD, FIRST, {**spacing(1.0, 1.0, 1.0)}, normalise),
        "dataset": {"_target_": "Dataset", "transform": "@preprocessing",
                    "data": "$[{'image': [os.path.join(@dataset_dir, n + '.nii.gz') for n in @names]}]"},
        "inferer": WINDOWS,
        "postprocessing": compose(SIGMOID, LINEAR, THRESHOLD, {"_target_": "Lambdad", "keys": "pred", "func": labels},
                                  SAVE),
    })  # fmt: skip


def endoscopy() -> dict[str, Any]:
    """2-D colour pictures, resized and brought back; saved as one-hot channels times 255."""
    resize = {"_target_": "Resized", "keys": "image", "spatial_size": [64, 32], "mode": "bilinear"}
    one_hot = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True, "to_onehot": 2}
    return whole({
        "network_def": {"_target_": "FlexibleUNet", "in_channels": 3, "out_channels": 2, "backbone": "efficientnet-b0",
                        "spatial_dims": 2, "pretrained": False, "is_pad": False},
        "preprocessing": compose(LOAD, FIRST, resize, {"_target_": "ScaleIntensityd", "keys": "image"}),
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": compose(SOFTMAX, LINEAR, one_hot, {**SAVE, "scale": 255}),
    })  # fmt: skip


def pathology() -> dict[str, Any]:
    """2-D, one channel out: sigmoid and a threshold, small things removed."""
    small = {"_target_": "RemoveSmallObjectsd", "keys": "pred", "min_size": 12}
    return whole({
        "network_def": {"_target_": "BasicUNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 1,
                        "features": [4, 4, 8, 8, 8, 4]},
        "preprocessing": compose({**LOAD, "dtype": "$np.uint8"}, FIRST,
                                 {"_target_": "CastToTyped", "keys": "image", "dtype": "$np.float32"},
                                 {**window(0, 255), "b_min": -1}),
        "inferer": {**WINDOWS, "roi_size": [32, 32], "mode": "gaussian"},
        "postprocessing": compose(SIGMOID, THRESHOLD, small, SAVE),
    })  # fmt: skip


def slices() -> dict[str, Any]:
    """A 2-D network on volumes, slice by slice; nothing to invert."""
    return whole({
        "network_def": {"_target_": "AttentionUnet", "spatial_dims": 2, "in_channels": 1, "out_channels": 3,
                        "channels": [4, 8], "strides": [2]},
        "preprocessing": compose({**LOAD, "ensure_channel_first": True}, window(0, 255)),
        "inferer": {"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": 2, "sw_batch_size": 2},
        "postprocessing": compose(ARGMAX, SAVE),
    })  # fmt: skip


FORMS: dict[str, Callable[[], dict[str, Any]]] = {
    "spleen_ct": spleen,
    "prostate_mri": prostate,
    "swin_unetr_btcv": btcv,
    "segmentation_template": template,
    "pediatric_abdominal": pediatric,
    "ventricular_short_axis": ventricular,
    "wholeBody_ct": whole_body,
    "multi_organ": multi_organ,
    "pancreas_dints": pancreas,
    "brats_mri": brats,
    "endoscopy_2d": endoscopy,
    "pathology_2d": pathology,
    "slices_2d": slices,
}
START = {"prostate_mri": "evaluating", "swin_unetr_btcv": "inference"}
COLOUR = ("endoscopy_2d",)
PICTURES = (*COLOUR, "pathology_2d", "ventricular_short_axis")


def metadata(channels: dict[str, str], inputs: Sequence[str] = ("image",)) -> dict[str, Any]:
    image = {"type": "image", "num_channels": len(inputs), "channel_def": {str(n): i for n, i in enumerate(inputs)}}
    return {
        "version": "0.1.0",
        "monai_version": "1.6.0",
        "pytorch_version": "2.10.0",
        "numpy_version": "1.26.0",
        "required_packages_version": {"nibabel": "5.3.2"},
        "task": "Made for tests",
        "description": "Random weights",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": {"channel_def": channels}}},
    }


def write_bundle(folder: Path, config: dict[str, Any], about: dict[str, Any], *, as_yaml: bool = False) -> Path:
    """The two configs of a bundle folder."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps(about, indent=1))
    if as_yaml:
        (folder / "configs" / "inference.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    else:
        (folder / "configs" / "inference.json").write_text(json.dumps(config, indent=1))
    return folder


def write_form(folder: Path, name: str, seed: int = 0) -> Path:
    """A bundle of that form, with random weights under which every class wins somewhere."""
    from monai.bundle import ConfigParser

    config = FORMS[name]()
    labels = {str(n): "background" if n == 0 else f"organ {n}" for n in range(12)}
    inputs = ("t1c", "t1", "t2", "flair") if name == "brats_mri" else ("image",)
    write_bundle(folder, config, metadata(labels, inputs), as_yaml=name == "segmentation_template")
    generator = np.random.default_rng(seed)
    code_a = generator.integers(0, 2, (6, 3 * 3 - 2))
    code_a[:, ::2] = 1
    arch = {"code_a": code_a, "code_c": generator.integers(0, 2, code_a.shape), "node_a": np.ones((7, 3), dtype=int)}
    torch.save(arch, folder / "models" / "search_code.pt")
    parser = ConfigParser({**config, "bundle_root": str(folder)})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = parser.get_parsed_content("network_def").eval()
        settle(network, config["network_def"]["in_channels"], 2 if name.endswith("_2d") or name in PICTURES else 3)
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder


def settle(network: torch.nn.Module, channels: int, dims: int) -> None:
    """Shift the last bias so that no class wins everywhere."""
    last = [m for m in network.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Conv3d)) and m.bias is not None]
    image = torch.rand(1, channels, *[32] * dims)
    out = network(image)
    classes = out.shape[1]
    head = [m for m in last if m.out_channels == classes][-1]
    head.bias -= out.flatten(2).mean(2)[0]
