"""How many things were found, and how well: scores of instance maps (*S), 0 background, any positive numbers.

All functions raise GridError where the shapes differ, and give 1.0 for two maps without instances. How the instances
are numbered does not matter. An instance may lie in several pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import maximum_bipartite_matching

from medseg.metrics.pairs import IntArray, require_one_shape


@dataclass(frozen=True)
class MatchCounts:
    """Instances found, wrongly found and missed."""

    true_positives: int
    false_positives: int
    false_negatives: int


@dataclass(frozen=True, eq=False)
class _Overlaps:
    """Every pair of instances that share a voxel: (P,) each; and the sizes of all instances in voxels."""

    predicted: NDArray[np.intp]
    true: NDArray[np.intp]
    common: NDArray[np.int64]
    predicted_sizes: NDArray[np.int64]
    true_sizes: NDArray[np.int64]

    @property
    def iou(self) -> NDArray[np.float64]:
        """Of every pair (P,)."""
        return self.common / (self.predicted_sizes[self.predicted] + self.true_sizes[self.true] - self.common)


def match_counts(prediction: IntArray, reference: IntArray, threshold: float = 0.5) -> MatchCounts:
    """One-to-one matches of instances whose IoU is above the threshold, as many as there can be.

    From 0.5 on no instance can have two partners. Below, the largest matching is taken.
    """
    overlaps = _overlaps(prediction, reference)
    n_predicted, n_true = len(overlaps.predicted_sizes), len(overlaps.true_sizes)
    good = overlaps.iou > threshold
    pairs = (overlaps.predicted[good], overlaps.true[good])
    graph = sparse.csr_array((np.ones(good.sum(), np.int8), pairs), shape=(n_predicted, n_true))
    found = int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum()) if good.any() else 0
    return MatchCounts(found, n_predicted - found, n_true - found)


def average_precision(prediction: IntArray, reference: IntArray, threshold: float = 0.5) -> float:
    """Instances found over those found, wrongly found or missed: TP / (TP + FP + FN) at one IoU threshold.

    Source: the score of the 2018 Data Science Bowl, Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7, at one
            threshold, as Schmidt et al. 2018 (StarDist), doi:10.1007/978-3-030-00934-2_30, report it. There is no
            ranking by confidence in it, unlike in the average precision of detection.
    """
    counts = match_counts(prediction, reference, threshold)
    everything = counts.true_positives + counts.false_positives + counts.false_negatives
    return counts.true_positives / everything if everything else 1.0


def aggregated_jaccard(prediction: IntArray, reference: IntArray) -> float:
    """AJI: each true instance with the predicted one of highest IoU; common voxels over joint ones, summed.

    A predicted instance may serve twice; those that serve no one add their voxels below the line. Of equal IoUs the
    instance that comes first in the order of voxels is taken. Not symmetric.

    Empty:  0.0 if only one map is.
    Source: Kumar et al. 2017, doi:10.1109/TMI.2017.2677499.
    """
    overlaps = _overlaps(prediction, reference)
    order = np.lexsort((overlaps.predicted, -overlaps.iou, overlaps.true))
    best = order[np.unique(overlaps.true[order], return_index=True)[1]]
    common = int(overlaps.common[best].sum())
    serving = np.zeros(len(overlaps.predicted_sizes), bool)
    serving[overlaps.predicted[best]] = True
    joint = (
        int(overlaps.true_sizes.sum())
        + int(overlaps.predicted_sizes[overlaps.predicted[best]].sum())
        - common
        + int(overlaps.predicted_sizes[~serving].sum())
    )
    return common / joint if joint else 1.0


def panoptic_quality(prediction: IntArray, reference: IntArray) -> float:
    """PQ: the IoU of the matches above 0.5, summed, over TP + FP / 2 + FN / 2.

    Empty:  0.0 if only one map is.
    Source: Kirillov et al. 2019, doi:10.1109/CVPR.2019.00963.
    """
    overlaps = _overlaps(prediction, reference)
    iou = overlaps.iou[overlaps.iou > 0.5]  # above a half no instance has two partners: each pair is a match
    everything = len(overlaps.predicted_sizes) + len(overlaps.true_sizes)
    return float(2 * iou.sum() / everything) if everything else 1.0


def count_error(prediction: IntArray, reference: IntArray) -> int:
    """Instances predicted less those that are there: 2 is two too many. 0 for two empty maps."""
    overlaps = _overlaps(prediction, reference)
    return len(overlaps.predicted_sizes) - len(overlaps.true_sizes)


def _overlaps(prediction: IntArray, reference: IntArray) -> _Overlaps:
    require_one_shape(prediction, reference)
    predicted, predicted_sizes = _numbered(prediction)
    true, true_sizes = _numbered(reference)
    both = (predicted > 0) & (true > 0)
    pairs = (predicted[both] - 1, true[both] - 1)
    table = sparse.coo_array((np.ones(len(pairs[0]), np.int64), pairs), shape=(len(predicted_sizes), len(true_sizes)))
    table.sum_duplicates()
    return _Overlaps(table.row, table.col, table.data, predicted_sizes, true_sizes)


def _numbered(instances: IntArray) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The map, flat, with its instances numbered 1..n in the order of their first voxels; and their sizes (n,)."""
    numbers, first, places = np.unique(instances, return_index=True, return_inverse=True)
    order = np.argsort(np.where(numbers == 0, -1, first))  # so that ties do not hang on the file's numbers
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order)) + (0 not in numbers)
    flat = ranks[places.ravel()]
    return flat, np.bincount(flat, minlength=1)[1:]
