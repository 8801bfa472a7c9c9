"""Good streams of all encoders pass the checks that damaged ones do not."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from medseg.io.dicom_files import File
from medseg.io.dicom_header import read_headers
from medseg.io.dicom_jpeg2000 import StreamError, damaged_blocks
from medseg.io.dicom_lossless_jpeg import length_apart
from medseg.io.dicom_neighbours import strangers
from medseg.io.dicom_pixels import read_stored
from medseg.io.dicom_rle import rle_fault
from tests.fuzz.streams import phantom

PIXELS = np.ascontiguousarray(phantom().voxels[0, :, :, 4].T).astype(np.uint16)


def jpeg2000(pixels=PIXELS, **options):
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, "JPEG2000", no_jp2=True, **{"irreversible": False, **options})
    return made.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_resolutions": 3},
        {"codeblock_size": (32, 32)},
        {"codeblock_size": (16, 64)},
        {"progression": "RLCP"},
        {"progression": "RPCL"},
        {"progression": "PCRL"},
        {"quality_layers": [0]},
    ],
    ids=str,
)
def test_lossless_streams_are_what_their_pixels_make(options):
    assert damaged_blocks(jpeg2000(**options), PIXELS) == 0


def test_forms_that_are_not_compared_are_left_alone():
    assert damaged_blocks(jpeg2000(irreversible=True), PIXELS) is None
    assert damaged_blocks(jpeg2000(tile_size=(64, 64)), PIXELS) is None


def test_other_pixels_than_the_stream_has_are_found():
    pixels = PIXELS.copy()
    pixels[20:60, 20:60] = np.random.default_rng(0).integers(0, 2000, (40, 40))
    count = damaged_blocks(jpeg2000(), pixels)
    assert count > 0


def test_a_stream_cut_or_lengthened_inside_is_refused():
    stream = jpeg2000()
    with pytest.raises(StreamError):
        damaged_blocks(stream[: len(stream) // 2] + b"\xff\xd9", PIXELS)
    with pytest.raises(StreamError, match="behind its last packet"):
        damaged_blocks(_with_length(stream[:-2] + bytes(40) + b"\xff\xd9", 40), PIXELS)


def _with_length(stream, more):
    """The tile's length made to fit."""
    at = stream.index(b"\xff\x90") + 6
    (length,) = struct.unpack_from(">I", stream, at)
    return stream[:at] + struct.pack(">I", length + more) + stream[at + 4 :]


@pytest.mark.parametrize(
    "name", ["MR_small_jp2klossless.dcm", "J2K_pixelrep_mismatch.dcm", "693_J2KI.dcm", "JPEG2000.dcm"]
)
def test_streams_of_other_encoders_are_read(name):
    """Kakadu leaves out coding passes that code nothing, and one file is signed where its stream is not."""
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"pydicom does not carry {name}")
    (header,) = read_headers(File(Path(path), name, name))
    (pixels,) = read_stored([header])
    assert pixels.shape == (header.rows, header.columns)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=300).map(bytes))
@settings(max_examples=200)
def test_run_lengths_of_any_pixels_are_whole(values):
    pixels = np.frombuffer(values, np.uint8)
    segment = _packed(pixels.tobytes())
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + segment
    assert rle_fault(frame, len(pixels), 1) == ""
    assert rle_fault(frame, len(pixels) + 1, 1) != ""


def _packed(values):
    """PackBits by literal runs and repeats, each run a part of the data."""
    made, at = b"", 0
    while at < len(values):
        run = 1
        while at + run < len(values) and values[at + run] == values[at] and run < 128:
            run += 1
        if run > 1:
            made += bytes([257 - run, values[at]])
        else:
            made += bytes([0, values[at]])
        at += run
    return made + b"\0" * (len(made) % 2)


def test_a_run_length_that_changed_is_found():
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + bytes([3, 1, 2, 3, 4, 3, 5, 6, 7, 8])
    assert rle_fault(frame, 8, 1) == ""
    assert "segment 1" in rle_fault(frame[:64] + bytes([1]) + frame[65:], 8, 1)


def test_the_length_of_a_lossless_jpeg_follows_from_its_pixels(tmp_path):
    from tests.inputs.dicom_changes import encoded
    from tests.phantoms import dicom_folder

    (path, *_) = dicom_folder(tmp_path / "s", phantom()).paths
    encoded("1.2.840.10008.1.2.4.70")([path])
    dataset = dcmread(path)
    stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    pixels = dataset.pixel_array
    assert length_apart(stream, pixels) == 0
    pixels = pixels.copy()
    pixels[10:60, 10:60] = np.random.default_rng(0).integers(0, 2000, (50, 50))
    assert length_apart(stream, pixels) > 10


def stack(count=24, noise=5.0):
    z, y, x = np.indices((count, 64, 80), np.float64)
    rng = np.random.default_rng(1)
    return (500 + 300 * np.sin(x / 9 + z / 8) * np.cos(y / 11 - z / 9) + rng.normal(0, noise, z.shape)).astype(np.int16)


def test_a_steady_series_has_no_strangers():
    assert strangers(stack()) == []
    assert strangers(stack(noise=60)) == []
    assert strangers(np.full((9, 64, 64), 7, np.int16)) == []
    step = stack()
    step[12:] += 200
    assert strangers(step) == []
    alternating = stack()
    alternating[::2] = alternating[::2] * 1.2
    assert strangers(alternating) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: np.zeros_like(s),
        lambda s: s[::-1],
        lambda s: np.roll(s, 31, 1),
        lambda s: np.where(np.indices(s.shape)[0] > 40, 0, s),
        lambda s: s.byteswap(),
        lambda s: s + 300,
        lambda s: np.random.default_rng(0).permutation(s.ravel()).reshape(s.shape),
    ],
)
@pytest.mark.parametrize("place", [3, 12, 20])
def test_a_slice_that_does_not_belong_is_named(damage, place):
    series = stack()
    series[place] = damage(series[place])
    assert [one.place for one in strangers(series)] == [place]


def test_few_or_tiny_slices_are_not_compared():
    assert strangers(stack(4)) == []
    assert strangers(stack()[:, :10, :10]) == []
