"""A slice that is unlike its neighbours is named; what a good series may show is not."""

import numpy as np
import pytest

from medseg.io.slice_likeness import likeness_note, unlike_slices

Z, Y, X = np.mgrid[:40, :160, :160]
BODY = (Y - 80) ** 2 + (X - 80) ** 2 < (50 + Z / 2) ** 2
RNG = np.random.default_rng(0)
SERIES = np.where(BODY, 1000, 0) + RNG.normal(0, 20, BODY.shape)


def places(series):
    return [one.place for one in unlike_slices(list(series))]


def changed(k, change):
    series = SERIES.copy()
    series[k] = change(series[k])
    return series


GOOD = {
    "as it is": SERIES,
    "a step": SERIES + 300 * (Z >= 20),
    "every second slice brighter": SERIES * (1 + 0.1 * (Z % 2)),
    "brightness by chance": SERIES * (1 + RNG.normal(0, 0.05, 40))[:, None, None],
    "noise": RNG.normal(0, 20, BODY.shape),
    "one value": np.zeros(BODY.shape),
    "blank ends": SERIES * ((Z > 4) & (Z < 35)),
    "thick slices": SERIES[::6],
    "three slices": SERIES[::19],
    "counts with hot spots": RNG.poisson(np.where(BODY, 5, 0.3))
    + 200 * np.exp(-((Z - 9) ** 2 / 4 + ((Y - 70) ** 2 + (X - 60) ** 2) / 50)),
    "a small bright thing in one slice": changed(20, lambda s: s + 3000 * ((Y[0] - 60) ** 2 + (X[0] - 60) ** 2 < 16)),
    "zeros around a body that changes": np.where((30 + 20 * np.sin(Z)) ** 2 > (X - 80) ** 2 + (Y - 80) ** 2, SERIES, 0),
    "tiny images": SERIES[:, 70:82, 70:82],
}
UNLIKE = {
    "another slice": lambda s: SERIES[0] * 0.3,
    "one value": lambda s: s * 0,
    "a lower half lost": lambda s: np.where(Y[0] < 80, s, 0),
    "a twentieth replaced": lambda s: np.where((Y[0] > 70) & (Y[0] < 84) & BODY[0], 3000, s),
    "rows never written": lambda s: np.where((Y[0] > 70) & (Y[0] < 90), 0, s),
    "rows shifted": lambda s: np.roll(s, 40, axis=1),
    "turned upside down": lambda s: 1000 - s,
    "noise over a tenth": lambda s: np.where(Y[0] // 8 == 10, RNG.normal(0, 2000, s.shape), s),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_a_good_series_shows_is_not_named(name):
    assert likeness_note([f"file {n}" for n in range(len(GOOD[name]))], list(GOOD[name])) == ""


@pytest.mark.parametrize("k", [1, 20, 38])
@pytest.mark.parametrize("name", UNLIKE)
def test_a_slice_unlike_its_neighbours_is_named(name, k):
    assert places(changed(k, UNLIKE[name])) == [k]


@pytest.mark.parametrize("k", [0, 39])
def test_an_end_slice_is_compared_with_its_one_neighbour(k):
    assert places(changed(k, lambda s: 1000 - s)) == [k]


def test_two_damaged_slices_are_named_with_numbers():
    series = SERIES.copy()
    series[10], series[30] = 1000 - series[10], 0
    note = likeness_note([f"file {n + 1} of 40" for n in range(40)], list(series))
    assert note.startswith("slices 11 (file 11 of 40; ")
    assert "times the usual difference" in note
    assert "31 (file 31 of 40; one value everywhere) of 40 do not resemble their neighbours: check them" in note


def test_rows_never_written_are_named_where_slices_differ_much():
    """Of thick slices the usual difference is as large as that of a gap."""
    series = np.where((Y - 80) ** 2 + (X - 80 - 40 * np.sin(Z)) ** 2 < 900, 1000, 0) + RNG.normal(0, 20, BODY.shape)
    series[20, :80] = 0
    note = likeness_note([f"file {n + 1} of 40" for n in range(40)], list(series))
    assert "slice 21 (file 21 of 40; one value in 50% of it, where its neighbours have several) of 40" in note
