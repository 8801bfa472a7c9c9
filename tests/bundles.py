"""Tiny bundles with random weights, and the images that suit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medseg.bundle.bundle import Bundle, PostprocessSpec
from medseg.bundle.card import new_card
from medseg.bundle.pack import pack
from medseg.data.preprocess import PreprocessSpec
from medseg.domain.geometry import Float64Array, Geometry
from medseg.domain.labels import Code, Label, LabelTable
from medseg.domain.volume import Volume
from medseg.inference.model import Model, load_model
from medseg.networks.build import NetworkSpec, build_network
from medseg.windows import WindowSpec

CPU = torch.device("cpu")
LIVER = Label(1, "liver", (221, 130, 101), Code("123037004", "Anatomical Structure"), Code("10200004", "Liver"))
TUMOUR = Label(5, "liver tumour", (144, 238, 144))
ORGANS = LabelTable((LIVER, TUMOUR))  # values 1 and 5: a class is not its label's value
WINDOW_3D = WindowSpec((16, 16, 16), overlap=0.5, weighting="gaussian", batch=2)
NUCLEI = LabelTable((Label(1, "nucleus", (80, 174, 128)),), "instances")


def volume_bundle(
    *,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    window: WindowSpec = WINDOW_3D,
    min_voxels: int = 0,
    labels: LabelTable = ORGANS,
    preset: str = "unet",
) -> Bundle:
    """3-D, argmax, two labels, resampled to the spacing."""
    return Bundle(
        name="organs_mr_segmentation",
        version="0.1.0",
        task="Segmentation of organs in MR images",
        description="Random weights.",
        modality="MR",
        data_source="Nobody 2024.",
        data_licence="CC0-1.0",
        network=NetworkSpec(preset, 3, 1, 1 + len(labels), (4, 8)),
        preprocess=PreprocessSpec(1, spacing_mm, "zscore"),
        window=window,
        postprocess=PostprocessSpec("argmax", min_voxels),
        labels=labels,
        weights_sha256="",
    )


def grey_bundle(*, min_voxels: int = 0) -> Bundle:
    """2-D, argmax, two labels, grey pictures."""
    return replace(
        volume_bundle(min_voxels=min_voxels),
        name="organs_2d_segmentation",
        modality="microscopy",
        network=NetworkSpec("unet", 2, 1, 3, (4, 8)),
        preprocess=PreprocessSpec(1, None, "percentile"),
        window=WindowSpec((32, 32), overlap=0.25, weighting="constant", batch=4),
    )


def cells_bundle() -> Bundle:
    """2-D, instances, colour pictures."""
    return replace(
        grey_bundle(),
        name="nuclei_microscopy_segmentation",
        network=NetworkSpec("unetpp", 2, 3, 3, (4, 8)),
        preprocess=PreprocessSpec(3, None, "percentile"),
        window=WindowSpec((32, 32), overlap=0.5, weighting="gaussian", batch=4),
        postprocess=PostprocessSpec("instances", min_voxels=4, marker_threshold=0.05, foreground_threshold=0.6),
        labels=NUCLEI,
    )


BUNDLES = {"volume": volume_bundle, "grey": grey_bundle, "cells": cells_bundle}


def random_weights(bundle: Bundle, seed: int = 0) -> dict[str, Tensor]:
    """Weights that follow from the seed, with every class winning somewhere; the global generator is left as it was."""
    spec = bundle.network
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network: Any = build_network(spec)
        logits = network(torch.randn(1, spec.in_channels, *[16] * spec.spatial_dims)).flatten(2)[0]
        head = network.heads[-1] if hasattr(network, "heads") else network.head
        head.weight /= logits.std(1).view(-1, *[1] * (head.weight.ndim - 1))
        head.bias.copy_((head.bias - logits.mean(1)) / logits.std(1))
    return network.state_dict()


def stored_bundle(bundle: Bundle, folder: Path, seed: int = 0) -> Bundle:
    """The bundle packed with random weights, as it is on disk."""
    return replace(
        pack(bundle, random_weights(bundle, seed), folder, new_card(bundle, 0, "Not at all.")), folder=folder
    )


def random_model(bundle: Bundle, folder: Path, seed: int = 0) -> Model:
    """The packed bundle, loaded for the CPU in fp32."""
    return load_model(stored_bundle(bundle, folder, seed), CPU, "fp32")


def blobs(shape: Sequence[int], seed: int = 0, channels: int = 1) -> np.ndarray:
    """Smooth random values (channels, *shape), uint8, so that neighbouring voxels have much in common."""
    generator = np.random.default_rng(seed)
    coarse = torch.from_numpy(generator.random((1, channels, *[max(n // 4, 2) for n in shape]), dtype=np.float32))
    mode = "trilinear" if len(shape) == 3 else "bilinear"
    smooth = torch.nn.functional.interpolate(coarse, tuple(shape), mode=mode, align_corners=True)[0].numpy()
    noisy = smooth + 0.1 * generator.standard_normal(smooth.shape)
    return np.round(255 * (noisy - noisy.min()) / np.ptp(noisy)).astype(np.uint8)


def blob_volume(affine_ras: Float64Array, shape: Sequence[int] = (22, 18, 13), seed: int = 0) -> Volume:
    """An int16 volume of smooth random values."""
    voxels = blobs(shape, seed).astype(np.int16)
    return Volume(voxels, Geometry(tuple(shape), affine_ras), "blobs")
