"""JPEG 2000 codestreams walked marker by marker, and asked to show damage that a decoder passes over."""

from __future__ import annotations

import re
from dataclasses import dataclass

_STRAY = re.compile(rb"\xff[\x90\x93-\xff]")  # in packets no FF is followed by more than 8F, but for SOP and EPH
_MAIN = {0x50, 0x51, 0x52, 0x53, 0x55, 0x57, 0x58, 0x59, 0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x61, 0x63, 0x64}
_PART = {0x52, 0x53, 0x58, 0x5C, 0x5D, 0x5E, 0x5F, 0x61, 0x64}
_BYPASS, _TERMINATED, _HIGH_THROUGHPUT = 0x01, 0x10, 0x40  # of the code-block style


@dataclass(frozen=True)
class Codestream:
    """What the main header says.

    fault:      what is wrong with the stream; empty for nothing.
    precision:  bits of a pixel.
    is_signed:  of the pixels.
    reversible: the 5/3 transform without quantisation: pixels come back exactly.
    styles:     where the code-block styles stand, of all components and of each part.
    coding:     its parameters (SIZ, COD, QCD), to compare slices by.
    """

    fault: str = ""
    precision: int = 0
    is_signed: bool = False
    reversible: bool = False
    styles: tuple[int, ...] = ()
    coding: bytes = b""


def bare(stream: bytes) -> bytes:
    """Return the codestream up to its end marker, without the boxes of JP2, which some writers leave around it."""
    start = stream.find(b"\xff\x4f\xff\x51") if stream[4:8] == b"jP  " else 0
    end = stream.rfind(b"\xff\xd9")
    return stream[max(start, 0) : end + 2 if end >= 0 else None]


def walk(stream: bytes, rows: int, columns: int, bits: int) -> Codestream:
    """Walk the codestream of one grey image.

    Args:
        stream: From SOC on.
        rows: That it must have.
        columns: That it must have.
        bits: BitsAllocated, that it may have at most.

    References:
        ITU-T T.800 annex A; T.814 for code blocks of high throughput.
    """
    if stream[:4] != b"\xff\x4f\xff\x51":
        return Codestream("it does not begin with its markers (FF4F FF51)")
    place, styles, is_high, coding = 2, [], False, {}
    while stream[place : place + 2] != b"\xff\x90":
        marker, body, at = _segment(stream, place)
        if marker not in _MAIN or (body is None):
            return Codestream(f"no known segment stands at byte {place} of its header")
        if marker in coding and marker in (0x51, 0x52, 0x5C):
            return Codestream("its header says a thing twice")
        if marker in (0x51, 0x52, 0x5C):
            coding[marker] = body
        if marker == 0x52:
            styles.append(at + 8)
        elif marker == 0x53:
            styles.append(at + 5)
        is_high |= marker == 0x50
        place = at + len(body)
    size, blocks, steps = (coding.get(marker, b"") for marker in (0x51, 0x52, 0x5C))
    fault = _size_fault(size, rows, columns, bits) or _coding_fault(blocks, steps)
    if fault:
        return Codestream(fault)
    number = [int.from_bytes(size[n : n + 4], "big") for n in range(2, 34, 4)]
    tiles = -(-(number[0] - number[6]) // number[4]) * -(-(number[1] - number[7]) // number[5])
    packets = 0 if blocks[0] & 1 else tiles * (blocks[5] + 1) * int.from_bytes(blocks[2:4], "big")
    fault, more = _parts_fault(stream, place, tiles, packets)
    return Codestream(
        fault,
        (size[36] & 127) + 1,
        bool(size[36] >> 7),
        blocks[9] == 1,
        () if is_high or blocks[8] & _HIGH_THROUGHPUT else (*styles, *more),
        size + blocks + steps,
    )


def made_to_tell(stream: bytes, found: Codestream) -> bytes:
    """Return the stream with its header changed so that decoding it shows damage.

    Where code blocks are said to end predictably, OpenJPEG looks after each whether the arithmetic decoder stands at
    its end, and warns; a changed bit leaves it elsewhere. Pixels of a reversible stream are said to be signed and to
    have more bits, so that none is clipped: one outside its range proves damage. Neither changes how bits are decoded.
    """
    changed = bytearray(stream)
    for place in found.styles:
        if not changed[place] & _BYPASS:
            changed[place] |= _TERMINATED
    if found.reversible:
        changed[42] = 0x80 | (min(found.precision + 8, 31) - 1)
    return bytes(changed)


def _segment(stream: bytes, place: int) -> tuple[int, bytes | None, int]:
    """The second byte of the marker, the content (None where there is no such segment), and where it starts."""
    length = int.from_bytes(stream[place + 2 : place + 4], "big")
    body = stream[place + 4 : place + 2 + length]
    whole = length >= 2 and len(body) == length - 2 and stream[place] == 0xFF
    return stream[place + 1] if place + 1 < len(stream) else 0, body if whole else None, place + 4


def _size_fault(size: bytes, rows: int, columns: int, bits: int) -> str:
    if len(size) != 39 or size[34:36] != b"\0\1" or size[37:39] != b"\1\1":
        return "it does not hold one grey component"
    x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0 = (int.from_bytes(size[n : n + 4], "big") for n in range(2, 34, 4))
    if (y1 - y0, x1 - x0) != (rows, columns):
        return f"it holds {x1 - x0} x {y1 - y0} pixels instead of {columns} x {rows}"
    if (size[36] & 127) + 1 > bits:
        return f"it declares {(size[36] & 127) + 1} bits a pixel, {bits} are allocated"
    if tile_x0 > x0 or tile_y0 > y0 or tile_x0 + tile_x <= x0 or tile_y0 + tile_y <= y0:
        return "its tiles do not cover it"
    return ""


def _coding_fault(blocks: bytes, steps: bytes) -> str:
    """What is wrong with COD and QCD: the transform, its levels and one quantisation step for each band."""
    if len(blocks) < 10 or not steps:
        return "it does not say how it is coded"
    progression, levels, width, height, transform = blocks[1], blocks[5], blocks[6], blocks[7], blocks[9]
    precincts = levels + 1 if blocks[0] & 1 else 0
    if len(blocks) != 10 + precincts or blocks[0] & 0xF8 or progression > 4 or blocks[2:4] == b"\0\0" or blocks[4] > 1:
        return "its coding parameters are damaged"
    if levels > 32 or max(width, height) > 8 or width + height > 8 or transform > 1:
        return "its coding parameters are damaged"
    kind, bands = steps[0] & 31, 3 * levels + 1
    if kind > 2 or (kind == 0) != (transform == 1) or len(steps) != 1 + (bands, 2, 2 * bands)[kind]:
        return "its coding and its quantisation do not belong together"
    if kind == 0 and any(steps[n] & 7 for n in range(1, 1 + bands)):
        return "its quantisation is damaged"
    if kind == 0 and any(steps[n] != steps[n + 1] for n in range(2, 1 + bands, 3)):
        return "its quantisation differs between the two halves of a level"
    return ""


def _parts_fault(stream: bytes, place: int, tiles: int, packets: int) -> tuple[str, list[int]]:
    """What is wrong with the tile-parts, which must lie end to end up to EOC; and the styles in their headers.

    A zero is a packet without data, so no more of them than packets may stand alone. packets: 0 where not known.
    """
    zeros = 0
    styles: list[int] = []
    seen: dict[int, int] = {}
    declared: dict[int, int] = {}
    while stream[place : place + 2] != b"\xff\xd9":
        marker, body, at = _segment(stream, place)
        if marker != 0x90 or body is None or len(body) != 8:
            return f"no part of a tile begins at byte {place}, where one must", styles
        tile, length = int.from_bytes(body[:2], "big"), int.from_bytes(body[2:6], "big")
        if tile >= tiles or body[6] != seen.get(tile, 0) or (tile in declared and body[7] not in (0, declared[tile])):
            return f"the parts of its tiles are not in turn at byte {place}", styles
        seen[tile] = body[6] + 1
        if body[7]:
            declared[tile] = body[7]
        end = place + length if length else stream.rfind(b"\xff\xd9")
        place = at + 8
        while stream[place : place + 2] != b"\xff\x93":
            marker, body, at = _segment(stream, place)
            if marker not in _PART or body is None:
                return f"no known segment stands at byte {place}", styles
            if marker in (0x52, 0x53):
                styles.append(at + (8 if marker == 0x52 else 5))
            place = at + len(body)
        if end > len(stream) or end < place + 2:
            return f"a part of a tile ends at byte {end}, the stream has {len(stream)}", styles
        stray = _STRAY.search(stream, place + 2, end)
        if stray is not None:
            return f"a marker (FF{stray.group()[1]:02X}) stands among its data at byte {stray.start()}", styles
        data = stream[place + 2 : end]
        zeros = zeros + len(data) if zeros >= 0 and not data.strip(b"\0") else -1
        place = end
    if zeros > packets > 0:
        return f"its data are {zeros} zeros", styles
    if len(seen) != tiles or any(seen[tile] != parts for tile, parts in declared.items()):
        return f"it has {len(seen)} of {tiles} tiles, or lacks parts of them", styles
    return "", styles
