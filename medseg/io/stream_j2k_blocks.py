"""Whether a lossless JPEG 2000 stream is the one that its pixels make: one changed bit alters whole regions silently.

The arithmetic decoder makes something of any bytes. What it makes of damaged ones is, coded again, longer or shorter
than they were. So the pixels are coded again in the same form, and the lengths of all code blocks are compared, as the
packet headers of both streams record them (ISO/IEC 15444-1, Annex B).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.stream_j2k_packets import Band, PacketError, read_packet

_SIZ, _COD, _SOT, _EOC = 0xFF51, 0xFF52, 0xFF90, 0xFFD9
_OTHERWISE = {0xFF53, 0xFF5E, 0xFF5F, 0xFF60, 0xFF61}  # COC, RGN, POC, PPM, PPT: forms that are not compared
_ENDS_ALIKE = 0.9  # of the blocks: then the other encoder ends them as ours does, and every one has to
_PADDING = 1
_MOST_LAYERS, _LEAST_PRECINCT = 1024, 5  # beyond them a header costs more than its pixels
_END_BYTES = 4  # by which encoders end a block otherwise

Block = tuple[int, int, int, int, int]  # tile, resolution, precinct, band, number


class OtherFormError(Exception):
    """The stream is of a form that is not compared."""


@dataclass(frozen=True)
class _Form:
    """What the main header says of a stream with one component."""

    size: tuple[int, int]
    tile: tuple[int, int]
    precision: int
    is_signed: bool
    order: int
    layers: int
    levels: int
    block: tuple[int, int]
    is_reversible: bool
    precincts: tuple[tuple[int, int], ...]
    has_eph: bool


def damaged_blocks(stream: bytes, pixels: NDArray[Any]) -> int | None:
    """Return how many code blocks of a lossless stream are not what its decoded pixels (rows, columns) make.

    None where the stream is not lossless, or of a form that is not compared (several components or tiles, other code
    block styles, markers that change coding on the way); of most of these the packets are read all the same.
    Raises: PacketError for a stream that breaks the standard's syntax.
    """
    start = stream.find(b"\xff\x4f\xff\x51") if stream[:2] == b"\0\0" else 0  # in a JP2 file's boxes
    try:
        form, tiles = _parsed(stream[max(start, 0) :])
        own = _blocks(form, tiles)
        if not form.is_reversible or len(tiles) > 1:
            return None
        again = _encoded(pixels, form)
        other = _blocks(*_parsed(again))
    except OtherFormError:
        return None
    if own.keys() != other.keys():
        return len(own.keys() ^ other.keys())
    apart = [abs(length - other[key]) for key, length in own.items()]
    tolerance = 0 if apart.count(0) >= _ENDS_ALIKE * len(apart) else _END_BYTES
    return sum(bytes_apart > tolerance for bytes_apart in apart)


def _encoded(pixels: NDArray[Any], form: _Form) -> bytes:
    """The pixels in the same form by OpenJPEG, unsigned of 16 bits: the level shift makes the same coefficients."""
    from PIL import Image

    half = 1 << (form.precision - 1)
    # The header of the file may call them signed where the stream does not.
    words = pixels.astype(np.int64) & (2 * half - 1)
    values = ((words + half) % (2 * half) if form.is_signed else words) - half + (1 << 15)
    if values.min() < 0 or values.max() >= 1 << 16:
        raise OtherFormError
    if any(precinct != (15, 15) for precinct in form.precincts):
        raise OtherFormError
    made = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(
        made,
        "JPEG2000",
        no_jp2=True,
        irreversible=False,
        num_resolutions=form.levels + 1,
        codeblock_size=form.block,
    )
    return made.getvalue()


def _parsed(stream: bytes) -> tuple[_Form, list[bytes]]:
    """The form, and the packets of each tile, its parts put together."""
    if stream[:2] != b"\xff\x4f":
        raise PacketError("does not begin with a start of codestream")
    at, size, coding, parts = 2, b"", b"", dict[int, list[bytes]]()
    while True:
        if at + 4 > len(stream):
            raise PacketError("ends inside its headers")
        marker, length = struct.unpack_from(">HH", stream, at)
        if marker == _EOC:
            break
        if marker == _SOT:
            tile, content, at = _tile_part(stream, at)
            parts.setdefault(tile, []).append(content)
            if stream[at : at + 2] == b"\xff\xd9":
                break
            continue
        if marker in _OTHERWISE:
            raise OtherFormError
        if not 0xFF50 <= marker <= 0xFF7F or parts:
            raise PacketError(f"has the marker {marker:04X} in its main header")
        content = stream[at + 4 : at + 2 + length]
        size, coding = (content, coding) if marker == _SIZ else (size, content if marker == _COD else coding)
        at += 2 + length
    form = _form(size, coding)
    count = ceil(form.size[0] / form.tile[0]) * ceil(form.size[1] / form.tile[1])
    if sorted(parts) != list(range(count)):
        raise PacketError(f"has {len(parts)} of {count} tiles")
    return form, [b"".join(parts[tile]) for tile in range(count)]


def _tile_part(stream: bytes, at: int) -> tuple[int, bytes, int]:
    """The tile's number, the data of the part, and where the next part begins."""
    if at + 12 > len(stream):
        raise PacketError("ends inside a tile header")
    tile, length = struct.unpack_from(">HI", stream, at + 4)
    end = at + length if length else stream.rindex(b"\xff\xd9")
    if end > len(stream):
        raise PacketError("a tile is longer than the stream")
    inside = at + 12
    while stream[inside : inside + 2] != b"\xff\x93":
        if inside + 4 > end:
            raise PacketError("a tile has no data")
        marker, skipped = struct.unpack_from(">HH", stream, inside)
        if marker in _OTHERWISE or marker in (_COD, 0xFF5C):
            raise OtherFormError
        inside += 2 + skipped
    return tile, stream[inside + 2 : end], end


def _form(size: bytes, coding: bytes) -> _Form:
    if len(size) < 39 or len(coding) < 10:
        raise PacketError("lacks its size or its coding style")
    x, y, left, top, width, height, tile_left, tile_top, components = struct.unpack_from(">8IH", size, 2)
    depth, step_x, step_y = size[36:39]
    style, order, layers, _, levels, block_x, block_y, block_style, transform = struct.unpack_from(">BBHBBBBBB", coding)
    if components != 1 or left or top or tile_left or tile_top or (step_x, step_y) != (1, 1):
        raise OtherFormError
    if block_style or transform > 1:
        raise OtherFormError
    if (
        levels > 32
        or order > 4
        or layers > _MOST_LAYERS
        or not (block_x <= 8 and block_y <= 8 and block_x + block_y <= 8)
    ):
        raise PacketError("has a coding style that the standard does not know")
    if not (x and y and width and height and layers):
        raise PacketError("has no size")
    sizes = [(byte & 15, byte >> 4) for byte in coding[10:]] if style & 1 else [(15, 15)] * (levels + 1)
    if len(sizes) != levels + 1 or any(0 in pair for pair in sizes[1:]):
        raise PacketError("has precincts for another number of resolutions")
    if any(min(pair) < _LEAST_PRECINCT for pair in sizes) or depth & 127 > 37:
        raise OtherFormError
    return _Form(
        (x, y), (min(width, x), min(height, y)), (depth & 127) + 1, bool(depth & 128), order, layers, levels,
        (4 << block_x, 4 << block_y), transform == 1, tuple(sizes), bool(style & 4),
    )  # fmt: skip


def _blocks(form: _Form, tiles: list[bytes]) -> dict[Block, int]:
    """The bytes of every code block that is coded; encoders may count passes that code nothing or leave them out."""
    found: dict[Block, int] = {}
    across = ceil(form.size[0] / form.tile[0])
    for number, data in enumerate(tiles):
        left, top = number % across * form.tile[0], number // across * form.tile[1]
        area = (left, top, min(left + form.tile[0], form.size[0]), min(top + form.tile[1], form.size[1]))
        resolutions = [_precincts(form, number, area, r) for r in range(form.levels + 1)]
        at = 0
        for layer, bands in _packets(form, resolutions):
            at = read_packet(data, at, layer, bands, form.has_eph)
        if len(data) - at > _PADDING:
            raise PacketError(f"has {len(data) - at} bytes behind its last packet")
        for bands in (bands for precincts in resolutions for bands in precincts):
            for band in bands:
                found.update({(*band.key, n): length for n, length in band.lengths.items()})
    return found


def _packets(form: _Form, resolutions: list[list[list[Band]]]) -> Iterator[tuple[int, list[Band]]]:
    """The layers and precincts in the order of the packets; of one component, most progressions are the same."""
    if form.order >= 3 and any(len(precincts) > 1 for precincts in resolutions):
        raise OtherFormError
    if form.order == 0:
        for layer in range(form.layers):
            for precincts in resolutions:
                yield from ((layer, bands) for bands in precincts)
    elif form.order == 1:
        for precincts in resolutions:
            for layer in range(form.layers):
                yield from ((layer, bands) for bands in precincts)
    else:
        for precincts in resolutions:
            for bands in precincts:
                yield from ((layer, bands) for layer in range(form.layers))


def _precincts(form: _Form, tile: int, area: tuple[int, int, int, int], resolution: int) -> list[list[Band]]:
    """The bands of each precinct of a resolution, in raster order."""
    down = form.levels - resolution
    x0, y0, x1, y1 = (-(-edge >> down) if down == 0 else (edge + (1 << down) - 1) >> down for edge in area)
    if x1 <= x0 or y1 <= y0:
        return []
    width, height = form.precincts[resolution]
    columns = range(x0 >> width, (x1 + (1 << width) - 1) >> width)
    rows = range(y0 >> height, (y1 + (1 << height) - 1) >> height)
    kinds = [(0, 0)] if resolution == 0 else [(1, 0), (0, 1), (1, 1)]
    halved = 0 if resolution == 0 else 1
    level = form.levels if resolution == 0 else form.levels - resolution + 1
    found = []
    for number, (row, column) in enumerate((row, column) for row in rows for column in columns):
        bands = []
        for band, (odd_x, odd_y) in enumerate(kinds):
            edges = []
            for lo, hi, odd, precinct, place, block in (
                (area[0], area[2], odd_x, width, column, form.block[0]),
                (area[1], area[3], odd_y, height, row, form.block[1]),
            ):
                offset = (odd << (level - 1)) if level else 0
                start, stop = ((edge - offset + (1 << level) - 1) >> level for edge in (lo, hi))
                size = 1 << (precinct - halved)
                start, stop = max(start, place * size), min(stop, (place + 1) * size)
                step = min(block, size)
                edges.append(max((stop + step - 1) // step - start // step, 0) if stop > start else 0)
            if edges[0] and edges[1]:
                bands.append(Band((tile, resolution, number, band), (edges[1], edges[0])))
        found.append(bands)
    return found
