"""Agreement and what it foretells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.metrics.quality import agreement, fit_quality


def test_agreement_is_the_mean_dice_of_pairs_and_labels():
    a = np.array([1, 1, 0, 2])
    b = np.array([1, 0, 0, 2])
    assert agreement([a, b], (1, 2)) == pytest.approx((2 / 3 + 1) / 2)
    assert agreement([a, b, b], (1, 2)) == pytest.approx((2 / 3 + 1 + 2 / 3 + 1 + 1 + 1) / 6)
    assert agreement([a, a, a], (1, 2)) == 1.0


def test_labels_that_nobody_sees_do_not_count_and_nothing_is_agreed_upon():
    a, empty = np.array([1, 1, 0]), np.zeros(3, int)
    assert agreement([a, empty], (1, 2)) == 0.0
    assert agreement([empty, empty], (1, 2)) == 1.0
    assert agreement([a], (1, 2)) == 1.0


def test_a_line_is_found_and_foretells_cases_that_were_not_fitted():
    x = np.concatenate([np.linspace(0.4, 0.6, 25), np.linspace(0.7, 1.0, 25)])
    fit = fit_quality(x, 0.1 + 0.8 * x, poor=0.6)
    assert (fit.intercept, fit.slope) == pytest.approx((0.1, 0.8), abs=1e-5)
    assert fit.correlation == 1.0
    assert (fit.sensitivity, fit.specificity) == (1.0, 1.0)
    assert fit.expected(0.5) == pytest.approx(0.5, abs=1e-5)
    assert fit.expected(0.5) < fit.review_below < fit.expected(0.7)


def test_agreement_that_says_nothing_is_told_so():
    generator = np.random.default_rng(0)
    fit = fit_quality(generator.random(400), generator.random(400), poor=0.5)
    assert abs(fit.correlation) < 0.2
    assert fit_quality([0.9] * 20, list(np.linspace(0, 1, 20)), poor=0.5).slope == 0.0


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=10, max_size=40), st.floats(0, 1))
def test_whatever_the_cases_the_numbers_are_numbers(cases, poor):
    fit = fit_quality([c[0] for c in cases], [c[1] for c in cases], poor)
    assert np.isfinite([fit.intercept, fit.slope, fit.review_below, fit.correlation]).all()
    assert all(share is None or 0 <= share <= 1 for share in (fit.sensitivity, fit.specificity))
    assert all(0 <= fit.expected(x) <= 1 for x in (0.0, 0.5, 1.0))
    assert (fit.sensitivity is None) == all(c[1] >= poor for c in cases)
