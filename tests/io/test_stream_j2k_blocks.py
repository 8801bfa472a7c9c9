"""Code blocks of lossless JPEG 2000 streams are as long as their pixels make them."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from medseg.io.stream_j2k_blocks import damaged_blocks
from medseg.io.stream_j2k_packets import PacketError
from tests.compressed import phantom

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
    with pytest.raises(PacketError):
        damaged_blocks(stream[: len(stream) // 2] + b"\xff\xd9", PIXELS)
    with pytest.raises(PacketError, match="behind its last packet"):
        damaged_blocks(_with_length(stream[:-2] + bytes(40) + b"\xff\xd9", 40), PIXELS)


def _with_length(stream, more):
    """The tile's length made to fit."""
    at = stream.index(b"\xff\x90") + 6
    (length,) = struct.unpack_from(">I", stream, at)
    return stream[:at] + struct.pack(">I", length + more) + stream[at + 4 :]
