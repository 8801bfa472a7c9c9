"""JPEG, JPEG Lossless and JPEG-LS streams walked marker by marker, so that damage shows before a codec guesses."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SOI, _EOI, _SOS, _DHT, _DQT, _DRI, _LSE = 0xD8, 0xD9, 0xDA, 0xC4, 0xDB, 0xDD, 0xF8
LOSSLESS = 0xC3
_DCT, _LOSSLESS, _LS = (0xC0, 0xC1, 0xC2), (LOSSLESS,), (0xF7,)
_FRAMES = {
    "1.2.840.10008.1.2.4.50": _DCT,
    "1.2.840.10008.1.2.4.51": _DCT,
    "1.2.840.10008.1.2.4.57": _LOSSLESS,
    "1.2.840.10008.1.2.4.70": _LOSSLESS,
    "1.2.840.10008.1.2.4.80": _LS,
    "1.2.840.10008.1.2.4.81": _LS,
}
_MOST_REST = 32  # bits
_HARMLESS = {*range(0xE0, 0xF0), 0xFE}  # application data, comments
# What ends entropy-coded data: FF and anything but a stuffed byte; in JPEG-LS a stuffed bit.
_MARKER, _LS_MARKER = re.compile(rb"\xff+[^\x00\xff]"), re.compile(rb"\xff[\x80-\xff]")


@dataclass
class Jpeg:
    """What a stream says of itself, filled in as it is walked.

    fault:     what is wrong; empty for nothing.
    precision: bits of a pixel.
    start:     of the scan header: the predictor of a lossless stream.
    shift:     of the scan header: low bits that were dropped.
    table:     of the scan header: the Huffman table used.
    lengths:   the bits of the code for each value, by Huffman table.
    interval:  pixels or blocks between restart markers; 0 for none.
    entropy:   where the coded pixels lie in the stream.
    coding:    what slices of a series have in common: size, quantisation and scan, no Huffman tables.
    """

    kind: int = 0
    precision: int = 0
    start: int = 0
    shift: int = 0
    table: int = 0
    lengths: dict[int, dict[int, int]] = field(default_factory=dict)
    interval: int = 0
    entropy: tuple[int, int] = (0, 0)
    fault: str = ""
    coding: bytes = b""


def walk_jpeg(syntax: str, stream: bytes, rows: int, columns: int, bits: int) -> Jpeg:
    """Walk the stream of one grey image.

    Args:
        syntax: UID of the transfer syntax, one of the JPEG and JPEG-LS ones.
        stream: From its first marker on.
        rows: That it must have.
        columns: That it must have.
        bits: BitsAllocated, that it may have at most.

    References:
        ITU-T T.81 annexes B and H, ITU-T T.87 annex C.
    """
    found = Jpeg()
    found.fault = _walk(found, _FRAMES[syntax], stream, (rows, columns, bits))
    return found


def _walk(found: Jpeg, kinds: tuple[int, ...], stream: bytes, size: tuple[int, int, int]) -> str:
    if stream[:2] != b"\xff\xd8":
        return "it does not begin with its marker (FFD8)"
    place, scans = 2, 0
    while True:
        while stream[place : place + 2] == b"\xff\xff":  # fill bytes
            place += 1
        if place + 2 > len(stream) or stream[place] != 0xFF:
            return f"no marker stands at byte {place}"
        marker = stream[place + 1]
        if marker == _EOI:
            return "" if scans else "it holds no image"
        length = int.from_bytes(stream[place + 2 : place + 4], "big")
        body = stream[place + 4 : place + 2 + length]
        if length < 2 or len(body) != length - 2:
            return f"the segment at byte {place} has {length} bytes, more than there are"
        place += 2 + length
        fault = ""
        if marker in (*kinds, _DQT, _DRI, _SOS, _LSE):
            found.coding += bytes([marker]) + body
        if marker in kinds:
            if found.kind:
                return "it holds two images"
            found.kind, found.precision = marker, body[0] if body else 0
            fault = _frame_fault(body, marker, size)
        elif marker == _DHT and kinds is not _LS:
            fault = _huffman_fault(body, found.lengths, 16 if kinds is _LOSSLESS else 15)
        elif marker == _DQT and kinds is _DCT:
            fault = _quantisation_fault(body)
        elif marker == _DRI:
            found.interval = int.from_bytes(body, "big")
        elif marker == _SOS:
            scans += 1
            fault = _scan_fault(body, found)
            if not fault:
                begin = place
                place, fault = _entropy_end(stream, place, kinds, found.interval)
                found.entropy = (begin, place)
        elif marker not in _HARMLESS and not (marker == _LSE and kinds is _LS):
            fault = f"an unknown marker (FF{marker:02X}) stands at byte {place - 2 - length}"
        if fault:
            return fault


def lossless_fault(found: Jpeg, stream: bytes, pixels: NDArray[Any]) -> tuple[str, int]:
    """Return how the decoded pixels of a JPEG Lossless stream disprove it (empty for not at all), and its slips.

    The code of each pixel has a known length. Their sum must fill the stream up to its last byte, and what is left of
    that must be ones: damage makes a decoder lose its place among the codes, after which it reads too many or too few.
    A slip is an end that is not filled with ones, or has whole bytes too many, as few encoders write.

    References:
        ITU-T T.81 F.1.2.3 (ones), H.1.2 (prediction, modulo 2^16) and table H.2.
    """
    least, most = int(pixels.min()), int(pixels.max())
    half = 1 << (found.precision - 1)
    if (least < 0 or most >= 2 * half) and not -half <= least <= most < half:
        return f"it decodes to values from {least} to {most}, beyond its {found.precision} bits", 0
    if found.interval:  # what is left over at each restart cannot be told from the rest
        return "", 0
    values = (pixels.astype(np.int32) & (2 * half - 1)) >> found.shift
    differences = (values - _predicted(found, values)).astype(np.int16)  # modulo 2^16
    counts = np.bincount(_CATEGORY[differences.view(np.uint16)].ravel(), minlength=17)
    lengths = found.lengths[found.table]
    if any(count and category not in lengths for category, count in enumerate(counts)):
        return "it decodes to pixels that it has no code for", 0
    needed = sum(int(count) * (lengths[n] + n % 16) for n, count in enumerate(counts) if count)
    data = stream[slice(*found.entropy)].replace(b"\xff\x00", b"\xff")
    rest = 8 * len(data) - needed
    if not 0 <= rest <= _MOST_REST:
        return f"its pixels take {needed} bits, it holds {8 * len(data)}", 0
    ones = (1 << rest) - 1
    return "", int(rest > 7 or int.from_bytes(data[-8:], "big") & ones != ones)


# Bits of each absolute difference, by the difference modulo 2^16; 2^15 has a code alone.
_CATEGORY = np.array([min(n, 0x10000 - n).bit_length() for n in range(0x10000)], np.uint8)


_Values = NDArray[np.int32]
_PREDICTORS: dict[int, Callable[[_Values, _Values, _Values], _Values]] = {
    1: lambda a, b, c: a,
    2: lambda a, b, c: b,
    3: lambda a, b, c: c,
    4: lambda a, b, c: a + b - c,
    5: lambda a, b, c: a + ((b - c) >> 1),
    6: lambda a, b, c: b + ((a - c) >> 1),
    7: lambda a, b, c: (a + b) >> 1,
}


def _predicted(found: Jpeg, values: _Values) -> _Values:
    """By the neighbour to the left (a), above (b) and above left (c); the first row by a, the first column by b."""
    guess = np.empty_like(values)
    guess[1:, 1:] = _PREDICTORS[found.start](values[1:, :-1], values[:-1, 1:], values[:-1, :-1])
    guess[0, 1:], guess[1:, 0] = values[0, :-1], values[:-1, 0]
    guess[0, 0] = 1 << (found.precision - found.shift - 1)
    return guess


def _frame_fault(body: bytes, kind: int, size: tuple[int, int, int]) -> str:
    rows, columns, bits = size
    if len(body) != 9 or body[5] != 1:
        return "it does not hold one grey component"
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    if (height, width) != (rows, columns):
        return f"it holds {width} x {height} pixels instead of {columns} x {rows}"
    if not 2 <= body[0] <= bits or (kind in _DCT and body[0] not in (8, 12)):
        return f"it declares {body[0]} bits a pixel"
    if not 0x11 <= body[7] <= 0x44 or not 1 <= body[7] & 15 <= 4:
        return "its sampling factors are impossible"
    return ""


def _huffman_fault(body: bytes, tables: dict[int, dict[int, int]], most: int) -> str:
    """Also takes down the lengths of the codes."""
    while body:
        counts, number = body[1:17], body[0]
        total = sum(counts)
        values = body[17 : 17 + total]
        space = sum(count << (16 - n) for n, count in enumerate(counts, 1))
        if len(counts) != 16 or len(values) != total or number & 0xEC or not total or space > 1 << 16:
            return "a Huffman table is damaged"
        if len(set(values)) != total or (number < 16 and max(values) > most):
            return "a Huffman table has impossible values"
        lengths = [n for n, count in enumerate(counts, 1) for _ in range(count)]
        tables[number] = dict(zip(values, lengths, strict=True))
        body = body[17 + total :]
    return ""


def _quantisation_fault(body: bytes) -> str:
    while body:
        size = 129 if body[0] >> 4 else 65
        if len(body) < size or body[0] & 0xEC or 0 in (body[1:65] if size == 65 else body[1:2]):
            return "a quantisation table is damaged"
        body = body[size:]
    return ""


def _scan_fault(body: bytes, found: Jpeg) -> str:
    kind, tables = found.kind, found.lengths.keys()
    if not kind:
        return "its pixels come before its size"
    if len(body) != 6 or body[0] != 1:
        return "its scan does not hold one component"
    start, end, point = body[3], body[4], body[5]
    table = body[2] >> 4
    found.start, found.shift, found.table = start, point, table
    if kind in (0xC0, 0xC1) and ((start, end, point) != (0, 63, 0) or not {table, 16 | body[2] & 15} <= tables):
        return "its scan header is damaged"
    if kind in _LOSSLESS and (not 1 <= start <= 7 or end or point >= found.precision or table not in tables):
        return "its scan header is damaged"
    return ""


def _entropy_end(stream: bytes, place: int, kinds: tuple[int, ...], interval: int) -> tuple[int, str]:
    """Where the next marker stands that is no restart; restarts come in turn."""
    restarts, marker_of = 0, _LS_MARKER if kinds is _LS else _MARKER
    while True:
        found = marker_of.search(stream, place)
        if found is None:
            return place, "it is cut off (it has no end marker)"
        marker = stream[found.end() - 1]
        if not 0xD0 <= marker <= 0xD7:
            return found.start(), ""
        if not interval or marker != 0xD0 + restarts % 8:
            return place, "its restart markers do not follow each other"
        restarts += 1
        place = found.end()
