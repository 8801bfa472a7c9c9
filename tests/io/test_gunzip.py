"""Gzip streams: Python's own gzip is the other opinion, on whole and on damaged ones, for both libraries."""

import gzip
import importlib
import io
import sys
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

import medseg.io.gunzip as module
from medseg.io.gunzip import GZIP_ERRORS, gunzip, in_words


def outcome(reader, errors, stream):
    """What comes out, or None for a refusal."""
    try:
        with reader(io.BytesIO(stream)) as file:
            return file.read()
    except (EOFError, *errors):
        return None


def as_python_does(stream):
    return outcome(lambda file: gzip.GzipFile(fileobj=file), (gzip.BadGzipFile, gzip.zlib.error), stream)


def test_the_fast_library_is_there_and_taken():
    """It is a dependency; without it reading is right and slow, and no other test would notice."""
    with gunzip(io.BytesIO()) as stream:
        assert type(stream).__module__ == "isal.igzip"


@given(
    st.lists(st.binary(max_size=300), min_size=1, max_size=3),
    st.integers(0, 9),
    st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=3),
    st.integers(0, 40),
    st.binary(max_size=12),
)
def test_it_gives_what_gzip_gives_and_refuses_what_gzip_refuses(members, level, changes, cut, behind):
    stream = bytearray(b"".join(gzip.compress(member * 20, level, mtime=0) for member in members))
    for place, value in changes:
        stream[place % len(stream)] = value
    stream = bytes(stream[: len(stream) - cut]) + behind
    assert outcome(gunzip, GZIP_ERRORS, stream) == as_python_does(stream)


@pytest.fixture
def without_isal():
    with patch.dict(sys.modules, {"isal": None}):
        yield importlib.reload(module)
    importlib.reload(module)


def test_without_the_library_python_inflates(without_isal):
    with without_isal.gunzip(io.BytesIO(gzip.compress(b"voxels"))) as stream:
        assert type(stream) is gzip.GzipFile
        assert stream.read() == b"voxels"


def test_a_wrong_checksum_is_told_alike_by_either_library():
    said = {in_words(OSError(f"CRC check failed {a} != {b}")) for a, b in [("0xfcfe91e", "0x1"), ("265283870", "1")]}
    assert said == {"CRC check failed 0xfcfe91e != 0x1"}
    assert in_words(OSError("Not a gzipped file (b'ab')")) == "Not a gzipped file (b'ab')"
