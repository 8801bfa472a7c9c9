"""A real CT, and a bundle for these tests only: its network compares with two thresholds and knows no anatomy."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medseg.bundle.card import new_card
from medseg.bundle.pack import pack
from medseg.data.preprocess import PreprocessSpec
from medseg.domain.labels import Code, Label, LabelMap, LabelTable
from medseg.domain.volume import Volume
from medseg.inference.model import load_model
from medseg.inference.segment import segment
from medseg.io.dicom import read_dicom
from medseg.networks.build import NetworkSpec, build_network
from medseg.windows import WindowSpec
from tests.bundles import CPU, volume_bundle

ABOVE_HU = (-300.0, 200.0)
CT_LABELS = LabelTable(
    (
        Label(1, "body above -300 HU", (177, 122, 101)),
        Label(
            2,
            "bone above 200 HU",
            (241, 214, 145),
            Code("123037004", "Anatomical Structure"),
            Code("272673000", "Bone"),
        ),
    )
)


def ct_series() -> Volume:
    """The 28 thick slices at MEDSEG_DATA; skips the test where they are absent."""
    folder = Path(os.environ.get("MEDSEG_DATA", "")) / "dicom" / "ct_thick_28"
    if "MEDSEG_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("no CT: set MEDSEG_DATA")
    return read_dicom(folder, "ct_thick_28")


def segment_ct(volume: Volume, folder: Path) -> LabelMap:
    """The mask, by way of a packed bundle and `segment`."""
    bundle = replace(
        volume_bundle(labels=CT_LABELS),
        name="thresholds_ct_for_tests",
        description="Made for tests: compares with -300 and 200 HU.",
        modality="CT",
        network=NetworkSpec("unet_2015", 3, 1, 3, (1, 1)),
        preprocess=PreprocessSpec(1, None, "zscore"),
        window=WindowSpec((128, 128, 16), overlap=0.0, weighting="constant"),
    )
    hu = volume.voxels.astype(np.float32)
    packed = pack(
        bundle, _weights(bundle.network, float(hu.mean()), float(hu.std())), folder, new_card(bundle, 0, "Made.")
    )
    return segment(volume, load_model(packed, CPU, "fp32")).label_map


def _weights(spec: NetworkSpec, mean: float, deviation: float) -> dict[str, Any]:
    """The image passes the first level unchanged, raised above zero; the head subtracts the thresholds."""
    network: Any = build_network(spec)
    raised = 100.0  # deviations; more than any image is below its mean
    low, high = ((hu - mean) / deviation + raised for hu in ABOVE_HU)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        first, _, second, _ = network.encoder[0]
        first.weight[0, 0, 1, 1, 1], first.bias[0] = 1, raised
        second.weight[0, 0, 1, 1, 1] = 1
        third, _, fourth, _ = network.merges[0].block
        third.weight[0, 0, 1, 1, 1] = fourth.weight[0, 0, 1, 1, 1] = 1  # the skip, which `Merge` puts first
        network.head.weight[:, 0, 0, 0, 0] = torch.tensor([0.0, 1.0, 2.0])
        network.head.bias[:] = torch.tensor([0.0, -low, -low - high])
    return network.state_dict()
