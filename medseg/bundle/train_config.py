"""configs/train.json: stock MONAI fine-tunes the bundle on a folder of images and masks."""

from __future__ import annotations

from typing import Any

from medseg.bundle import configs
from medseg.bundle.bundle import Bundle
from medseg.data.preprocess import entries, load_entry


def train_config(bundle: Bundle) -> dict[str, Any]:
    """Two folders of equally named files, `images` and `labels`; the last fifth validates.

    The masks hold class indices 0..K-1; for instance bundles 0 background, 1 interior, 2 boundary.
    """
    keys = ["image", "label"]
    load = load_entry(bundle.preprocess, ["image"])
    steps = [load, {**load, "keys": ["label"], "channels": 1}, *entries(bundle.preprocess, keys)]
    crop = {
        "_target_": "RandSpatialCropd",
        "keys": keys,
        "roi_size": list(bundle.window.size),
        "random_size": False,
    }
    pad = {"_target_": "SpatialPadd", "keys": keys, "spatial_size": list(bundle.window.size)}
    flips = [{"_target_": "RandFlipd", "keys": keys, "prob": 0.5, "spatial_axis": 0}]
    classes = bundle.network.out_channels
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "dataset_dir": "$@bundle_root + '/data'",
        "images": "$sorted(glob.glob(os.path.join(@dataset_dir, 'images', '*')))",
        "labels": "$sorted(glob.glob(os.path.join(@dataset_dir, 'labels', '*')))",
        "pairs": "$[{'image': i, 'label': l} for i, l in zip(@images, @labels)]",
        "held_out": "$max(len(@pairs) // 5, 1)",
        "output_dir": "$@bundle_root + '/models'",
        "network_def": configs.network_def(bundle),
        "network": "$@network_def.to(@device)",
        "loss": {
            "_target_": "DiceCELoss",
            "to_onehot_y": True,
            "softmax": True,
            "include_background": False,
            "batch": True,
        },
        "optimizer": {"_target_": "torch.optim.AdamW", "params": "$@network.parameters()", "lr": 1e-4},
        "train": {
            "preprocessing": {"_target_": "Compose", "transforms": [*steps, pad, crop, *flips]},
            "dataset": {
                "_target_": "CacheDataset",
                "data": "$@pairs[:-@held_out]",
                "transform": "@train#preprocessing",
                "num_workers": 0,
            },
            "dataloader": {
                "_target_": "DataLoader",
                "dataset": "@train#dataset",
                "batch_size": 2,
                "shuffle": True,
                "num_workers": 0,
            },
            "inferer": {"_target_": "SimpleInferer"},
            "handlers": [
                {
                    "_target_": "ValidationHandler",
                    "validator": "@validate#evaluator",
                    "epoch_level": True,
                    "interval": 1,
                },
                {
                    "_target_": "StatsHandler",
                    "tag_name": "train_loss",
                    "output_transform": "$lambda x: float(x[0]['loss'])",
                },
            ],
            "trainer": {
                "_target_": "SupervisedTrainer",
                "max_epochs": 100,
                "device": "@device",
                "train_data_loader": "@train#dataloader",
                "network": "@network",
                "optimizer": "@optimizer",
                "loss_function": "@loss",
                "inferer": "@train#inferer",
                "train_handlers": "@train#handlers",
                "amp": False,
            },
        },
        "validate": {
            "preprocessing": {"_target_": "Compose", "transforms": steps},
            "dataset": {
                "_target_": "CacheDataset",
                "data": "$@pairs[-@held_out:]",
                "transform": "@validate#preprocessing",
                "num_workers": 0,
            },
            "dataloader": {
                "_target_": "DataLoader",
                "dataset": "@validate#dataset",
                "batch_size": 1,
                "shuffle": False,
                "num_workers": 0,
            },
            "inferer": configs.inferer(bundle),
            "postprocessing": {
                "_target_": "Compose",
                "transforms": [
                    {
                        "_target_": "AsDiscreted",
                        "keys": ["pred", "label"],
                        "argmax": [True, False],
                        "to_onehot": classes,
                    }
                ],
            },
            "handlers": [
                {"_target_": "StatsHandler", "iteration_log": False},
                {
                    "_target_": "CheckpointSaver",
                    "save_dir": "@output_dir",
                    "save_dict": {"model": "@network"},
                    "save_key_metric": True,
                    "key_metric_filename": "finetuned.pt",
                },
            ],
            "key_metric": {
                "mean_dice": {
                    "_target_": "MeanDice",
                    "include_background": False,
                    "output_transform": "$monai.handlers.from_engine(['pred', 'label'])",
                }
            },
            "evaluator": {
                "_target_": "SupervisedEvaluator",
                "device": "@device",
                "val_data_loader": "@validate#dataloader",
                "network": "@network",
                "inferer": "@validate#inferer",
                "postprocessing": "@validate#postprocessing",
                "key_val_metric": "@validate#key_metric",
                "val_handlers": "@validate#handlers",
                "amp": False,
            },
        },
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
            "map_location": "@device",
        },
        "run": ["$@checkpointloader(@train#trainer)", "$@train#trainer.run()"],
    }
