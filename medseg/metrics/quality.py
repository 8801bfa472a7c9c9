"""From how well several answers agree to how good the answer is: fitted on labelled cases, checked on others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from medseg.metrics.overlap import dice
from medseg.metrics.pairs import IntArray

_FOLDS = 5
LEAST_CASES = 2 * _FOLDS
LEAST_CORRELATION = 0.3  # below it, too many good cases would be looked at for the few poor ones
_SAME = 1e-9  # differences below are rounding


@dataclass(frozen=True)
class QualityFit:
    """Expected Dice = intercept + slope * agreement, held within 0..1.

    poor:         Dice below which a mask is called poor.
    review_below: expected Dice below which a case is to be looked at.
    correlation:  Pearson's, of expected and true Dice of cases that were not in the fit (five folds).
    sensitivity:  share of the poor masks that are flagged, of cases not in the fit; NaN becomes None: none was poor.
    specificity:  share of the others that are not.
    cases:        how many it was fitted on, in the end all of them.
    of_member:    of an ensemble without cases that no member has seen: what was compared and scored were the answers of
                  single members and their mirror images, each on its own fold.
    """

    intercept: float
    slope: float
    poor: float
    review_below: float
    correlation: float
    sensitivity: float | None
    specificity: float | None
    cases: int
    of_member: bool = False

    @property
    def foretells(self) -> bool:
        """Whether answers that agree more are better ones, on cases that were not in the fit."""
        return self.slope > 0 and self.correlation >= LEAST_CORRELATION

    def expected(self, agreement: float) -> float:
        """The Dice to expect of a case with this agreement."""
        return min(max(self.intercept + self.slope * agreement, 0.0), 1.0)


def agreement(answers: Sequence[IntArray], values: Sequence[int]) -> float:
    """How well label maps (*S) agree: the mean Dice over all pairs and over the labels that any of them has.

    Empty:  1.0 where all are background alone; a single answer agrees with itself.
    """
    scores = []
    for first, second in combinations(answers, 2):
        for value in values:
            a, b = first == value, second == value
            if a.any() or b.any():
                scores.append(dice(a, b))
    return float(np.mean(scores)) if scores else 1.0


def fit_quality(agreements: Sequence[float], scores: Sequence[float], poor: float) -> QualityFit:
    """The fit by least squares; what is told of it is of cases that were not used, in five interleaved folds.

    scores: the mean Dice of each case, in the order of the agreements; at least ten cases.
    """
    x, y = np.asarray(agreements, np.float64), np.asarray(scores, np.float64)
    assert len(x) == len(y) >= LEAST_CASES, "too few cases"
    expected, flagged = np.empty_like(y), np.empty(len(y), bool)
    for fold in range(_FOLDS):
        out = np.arange(len(x)) % _FOLDS == fold
        intercept, slope = _line(x[~out], y[~out])
        expected[out] = (intercept + slope * x[out]).clip(0, 1)
        flagged[out] = expected[out] < _cut((intercept + slope * x[~out]).clip(0, 1), y[~out] < poor, poor)
    intercept, slope = _line(x, y)
    bad = y < poor
    varied = min(expected.std(), y.std()) > _SAME
    return QualityFit(
        intercept=round(intercept, 6),
        slope=round(slope, 6),
        poor=poor,
        review_below=round(_cut((intercept + slope * x).clip(0, 1), bad, poor), 6),
        correlation=round(float(np.corrcoef(expected, y)[0, 1]), 4) if varied else 0.0,
        sensitivity=_share(flagged[bad]),
        specificity=_share(~flagged[~bad]),
        cases=len(x),
    )


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Intercept and slope; a flat line where all agreements are one."""
    if np.ptp(x) < _SAME:
        return float(y.mean()), 0.0
    slope, intercept = np.polyfit(x, y, 1)
    return float(intercept), float(slope)


def _cut(expected: NDArray[np.float64], bad: NDArray[np.bool_], poor: float) -> float:
    """The threshold of best sensitivity + specificity (Youden 1950); `poor` itself where nothing, or all, is bad."""
    if bad.all() or not bad.any():
        return poor
    cuts = [*np.unique(expected), math.inf]
    gains = [(expected[bad] < cut).mean() + (expected[~bad] >= cut).mean() for cut in cuts]
    best = int(np.argmax(gains))
    below = cuts[best - 1] if best else 0.0
    return float((below + cuts[best]) / 2) if math.isfinite(cuts[best]) else 1.0


def _share(values: NDArray[np.bool_]) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None
