"""How far a backend's answer is from that of torch in fp32."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medseg.backends.precision import Precision

LEAST_LABELS = 0.999
MOST_DIFFERENCE = 1e-3


@dataclass(frozen=True)
class Agreement:
    """Of logits with those of fp32.

    labels:     share of voxels whose label is the same.
    difference: greatest difference of a logit, as a share of the greatest logit.
    """

    labels: float
    difference: float

    def suffices(self, precision: Precision) -> bool:
        """Labels agree in 999 of 1000 voxels; in fp32 also every logit within a thousandth. False for NaN."""
        return self.labels >= LEAST_LABELS and (precision != "fp32" or self.difference <= MOST_DIFFERENCE)


def agreement(logits: Tensor, exact: Tensor) -> Agreement:
    """Both (B, K, *S); of a single class the label is the sign."""
    logits, exact = logits.float().cpu(), exact.float().cpu()
    if logits.shape != exact.shape:
        return Agreement(0.0, float("inf"))
    same = (_labels(logits) == _labels(exact)).float().mean()
    greatest = exact.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    return Agreement(float(same), float((logits - exact).abs().max() / greatest))


def _labels(logits: Tensor) -> Tensor:
    return logits.argmax(1) if logits.shape[1] > 1 else logits > 0
