import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.optimize import linear_sum_assignment

from medseg.domain.errors import GridError
from medseg.metrics.instances import (
    MatchCounts,
    aggregated_jaccard,
    average_precision,
    count_error,
    match_counts,
    panoptic_quality,
)

SCORES = (average_precision, aggregated_jaccard, panoptic_quality)
pairs_of_maps = array_shapes(min_dims=2, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(*[arrays(np.uint16, shape, elements=st.sampled_from([0, 1, 2, 5, 300]))] * 2)
)


def scene():
    """Three true instances of 4 pixels: one found but for a pixel, one found whole, one missed; one invented."""
    reference, prediction = np.zeros((2, 8, 8), np.uint16)
    reference[0, 0:4], reference[2, 0:4], reference[4, 0:4] = 1, 2, 3
    prediction[0, 0:3], prediction[2, 0:4], prediction[7, 0:2] = 9, 7, 8
    return prediction, reference


def test_a_case_worked_by_hand():
    prediction, reference = scene()
    assert match_counts(prediction, reference) == MatchCounts(2, 1, 1)
    assert average_precision(prediction, reference) == 2 / 4
    assert average_precision(prediction, reference, 0.8) == 1 / 5
    assert panoptic_quality(prediction, reference) == (3 / 4 + 1) / (2 + 1 / 2 + 1 / 2)
    assert aggregated_jaccard(prediction, reference) == (3 + 4) / (4 + 4 + 4 + 2)
    assert count_error(prediction, reference) == 0
    assert count_error(np.where(prediction == 8, 0, prediction), reference) == -1


def test_a_match_is_above_the_threshold_not_at_it():
    prediction, reference = np.array([[1, 1, 0]]), np.array([[2, 0, 0]])  # IoU 1/2
    assert average_precision(prediction, reference, 0.5) == panoptic_quality(prediction, reference) == 0
    assert average_precision(prediction, reference, 0.49) == 1


def test_two_instances_merged_serve_only_one_match():
    reference, merged = np.array([[1, 1, 1, 2, 2]]), np.array([[4, 4, 4, 4, 4]])
    assert match_counts(merged, reference) == MatchCounts(1, 0, 1)
    assert match_counts(merged, reference, 0.3) == MatchCounts(1, 0, 1)
    assert aggregated_jaccard(merged, reference) == 5 / 10  # the merged one serves both


def test_empty_maps():
    nothing, one = np.zeros((3, 3), np.uint16), np.ones((3, 3), np.uint16)
    for score in SCORES:
        assert score(nothing, nothing) == 1
        assert score(nothing, one) == score(one, nothing) == 0
    assert (count_error(nothing, nothing), count_error(one, nothing)) == (0, 1)


@pytest.mark.parametrize("score", [*SCORES, count_error])
def test_other_shapes_are_refused(score):
    with pytest.raises(GridError):
        score(np.ones((3, 3), int), np.ones((1, 3), int))


@settings(max_examples=60)
@given(pairs_of_maps)
def test_laws_of_instance_scores(maps):
    a, b = maps
    renumbered = np.where(a > 0, 777 - a.astype(int), 0)
    for score in SCORES:
        assert score(a, a) == pytest.approx(1)
        assert score(renumbered, b) == pytest.approx(score(a, b))
        assert 0 <= score(a, b) <= 1
    for symmetric in (average_precision, panoptic_quality):
        assert symmetric(a, b) == pytest.approx(symmetric(b, a))
    assert average_precision(a, b, 0.9) <= average_precision(a, b, 0.5)
    assert count_error(a, b) == -count_error(b, a)
    assert panoptic_quality(a, b) <= 2 * average_precision(a, b) / (1 + average_precision(a, b)) + 1e-9


@settings(max_examples=60)
@given(pairs_of_maps, st.sampled_from([0.05, 0.2, 0.5, 0.7]))
def test_matches_are_as_many_as_a_dense_assignment_finds(maps, threshold):
    a, b = maps
    ours, theirs = (np.unique(m[m > 0]) for m in maps)
    good = np.zeros((len(ours), len(theirs)), bool)
    for place in np.ndindex(good.shape):
        one, other = a == ours[place[0]], b == theirs[place[1]]
        good[place] = (one & other).sum() / (one | other).sum() > threshold
    rows, columns = linear_sum_assignment(-good.astype(float))
    counts = match_counts(a, b, threshold)
    assert counts.true_positives == good[rows, columns].sum()
    assert counts.true_positives + counts.false_positives == len(ours)
    assert counts.true_positives + counts.false_negatives == len(theirs)


def test_aggregated_jaccard_follows_its_definition_step_by_step():
    rng = np.random.default_rng(3)
    coarse = np.kron(np.arange(1, 17).reshape(4, 4), np.ones((6, 6), int))
    reference = np.where(rng.random((24, 24)) < 0.8, coarse, 0)
    prediction = np.where(rng.random((24, 24)) < 0.8, np.roll(coarse, (2, 3), (0, 1)), 0)
    common = joint = 0
    serving = set()
    for i in range(1, 17):
        true = reference == i
        best = max(range(1, 17), key=lambda j: (true & (prediction == j)).sum() / (true | (prediction == j)).sum())
        common += (true & (prediction == best)).sum()
        joint += (true | (prediction == best)).sum()
        serving.add(best)
    joint += sum((prediction == j).sum() for j in set(range(1, 17)) - serving)
    assert aggregated_jaccard(prediction, reference) == common / joint


def test_a_thousand_pixels_square_with_hundreds_of_instances_takes_no_second_of_work():
    reference = np.kron(np.arange(1, 401).reshape(20, 20), np.ones((50, 50), np.uint16)).astype(np.uint16)
    start = time.process_time()
    assert average_precision(np.roll(reference, 5, 0), reference) > 0.9
    assert time.process_time() - start < 1
