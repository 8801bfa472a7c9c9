"""A damaged compressed slice is refused, noted, or nearly unchanged."""

import pytest

from tests.fuzz.streams import SYNTAXES, fuzz_streams

LOSSLESS = ("RLE", "JPEG Lossless", "JPEG-LS", "JPEG 2000 lossless")


@pytest.mark.parametrize("name", LOSSLESS)
def test_damage_of_lossless_streams_does_not_pass(name):
    """One changed bit of a lossless JPEG 2000 slice altered up to 89 % of its pixels without a word.

    Now and then damage of lossless JPEG keeps the length, and one of 500 damaged JPEG 2000 code blocks its own.
    """
    found = fuzz_streams(name, 60)
    assert found["more than 1 %"] <= 1
    assert found["refused"] > 5


@pytest.mark.fuzz
@pytest.mark.parametrize("name", SYNTAXES)
def test_damage_of_very_many_streams_hardly_passes(name):
    """Of lossy JPEG 2000 nothing says what a code block should be."""
    found = fuzz_streams(name, 5_000, seed=1)
    assert found["more than 1 %"] <= {"JPEG 2000 lossy": 5_000, "JPEG baseline": 250}.get(name, 25)
