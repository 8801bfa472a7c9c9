"""What to train with: defaults from the data set, each of which can be set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.backends.precision import Precision
from medseg.data.augment import AugmentSpec
from medseg.data.dataset import BatchSpec, MaskToTarget, Sample
from medseg.data.preprocess import PreprocessSpec
from medseg.domain.errors import UsageError
from medseg.domain.geometry import Float64Array
from medseg.domain.manifest import Fold, Manifest
from medseg.losses import LossSpec
from medseg.networks.build import NetworkSpec
from medseg.postprocess.instances import boundary_classes
from medseg.windows import WindowSpec


@dataclass(frozen=True)
class OptimiserSpec:
    """AdamW with a short linear rise and a polynomial fall of the rate; gradients clipped to a norm.

    ema:   decay of the moving average of the weights, which is what is validated and kept.
    """

    rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 100
    clip_norm: float = 5.0
    ema: float = 0.995


@dataclass(frozen=True)
class TrainSpec:
    """A whole training as a value; the same spec, data and seed give the same weights.

    steps:            optimiser steps in all.
    epoch_steps:      steps between two validations, each of which ends with a checkpoint.
    patience_epochs:  validations without a better score after which the training ends early.
    score:            of the validation: mean "dice" or "iou" over labels and cases.
    keep:             which weights: of the "best" validation, or the "last", so that the validation picks nothing and
                      its cases are as good as a test.
    fold:             the part of a cross-validation that is held out; None: the manifest's own splits.
    validation_cases: at most so many cases, evenly taken, are scored at each validation.
    accumulate:       parts in which each process computes its share of a batch, one after the other, in less memory;
                      the step is that of the whole batch. All parts but one are computed forwards twice.
    min_voxels:       smaller connected pieces of a label, or smaller instances, become background in the masks of the
                      bundle; the training does not know of it.
    pretrained:       sha256 of the bundle's weights that the training starts from; "": drawn at random.
    precision:        that the network computes in; "auto": bfloat16 where the device multiplies it, else fp16 on CUDA
                      and fp32 on a CPU.
    """

    network: NetworkSpec
    preprocess: PreprocessSpec
    window: WindowSpec
    batch: BatchSpec
    augment: AugmentSpec
    loss: LossSpec
    optimiser: OptimiserSpec
    steps: int
    epoch_steps: int = 200
    patience_epochs: int = 1000
    score: Literal["dice", "iou"] = "dice"
    seed: int = 0
    keep: Literal["best", "last"] = "best"
    validation_cases: int = 64
    fold: Fold | None = None
    accumulate: int = 1
    min_voxels: int = 0
    pretrained: str = ""
    precision: Precision | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.accumulate <= self.batch.count:
            raise UsageError(f"accumulate must be 1 to batch.count ({self.batch.count}), not {self.accumulate}")
        weights, classes = self.loss.class_weights, self.network.out_channels
        if weights is not None and len(weights) != classes:
            raise UsageError(f"loss.class_weights: {len(weights)} for {classes} classes, the background included")


def target_classes(manifest: Manifest) -> int:
    """Channels of the network: background and each label; for instances background, interior and boundary."""
    return 3 if manifest.labels.kind == "instances" else 1 + len(manifest.labels)


def class_names(manifest: Manifest) -> tuple[str, ...]:
    """What the network's channels 1..K-1 stand for."""
    return ("interior", "boundary") if manifest.labels.kind == "instances" else manifest.labels.names


def extents_mm(samples: Sequence[Sample], spec: PreprocessSpec) -> Float64Array | None:
    """Edge lengths (n, 3) of the training images along right, anterior and superior; None for pictures."""
    if spec.spacing_mm is None:
        return None
    return np.array([[n * mm for n, mm in zip(s.target.shape, spec.spacing_mm, strict=True)] for s in samples])


def to_target(manifest: Manifest) -> MaskToTarget:
    """Mask values -> class indices 0..K-1, in the order of the label table."""
    if manifest.labels.kind == "instances":
        return boundary_classes
    table = np.zeros(65536, np.uint8)
    for index, value in enumerate(manifest.labels.values, start=1):
        table[value] = index

    def classes(values: NDArray[Any]) -> NDArray[np.uint8]:
        return table[values]

    return classes
