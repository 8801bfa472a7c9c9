"""The score of a network on preprocessed cases, through an Ignite engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn

from medseg.backends.eager import eager
from medseg.backends.precision import Precision
from medseg.data.dataset import Sample
from medseg.engines.distributed import count, gathered, rank
from medseg.metrics.overlap import dice, iou
from medseg.windows import WindowSpec, collect, stream

SCORES = {"dice": dice, "iou": iou}


def score(
    network: nn.Module,
    samples: Sequence[Sample],
    window: WindowSpec,
    device: torch.device,
    precision: Precision,
    kind: Literal["dice", "iou"] = "dice",
) -> list[float]:
    """The mean over cases for each class but the background, on the network's grid.

    Within `processes` each scores its part of the cases, and all get the same mean.
    """
    mine: list[list[float]] = []
    predict = eager(network, device, precision)

    def evaluate(engine: Engine, sample: Sample) -> list[float]:
        logits = collect(stream(predict, sample.image.to(device), window))
        classes = logits.argmax(0).cpu().numpy()
        target = sample.target.numpy()
        return [SCORES[kind](classes == k, target == k) for k in range(1, logits.shape[0])]

    engine: Any = Engine(evaluate)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: mine.append(engine.state.output))
    if share := list(samples[rank() :: count()]):
        engine.run(share)
    by_process = gathered(mine)
    rows = [by_process[n % count()][n // count()] for n in range(len(samples))]
    return [float(value) for value in np.mean(rows, axis=0)]
