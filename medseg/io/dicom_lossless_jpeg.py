"""Whether a lossless JPEG stream is as long as its pixels make it (ITU-T T.81, Annex H).

One changed bit shifts all that follows, and decoders do not report it. How many bits the decoded pixels take follows
from the stream's own Huffman table, so a stream that is longer or shorter was damaged.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SOF3, _DHT, _SOS, _DRI = 0xFFC3, 0xFFC4, 0xFFDA, 0xFFDD


def length_apart(stream: bytes, pixels: NDArray[Any]) -> int | None:
    """Return by how many bytes, rounded up, the coded data differ from what the pixels (rows, columns) take.

    None for a form that is not compared: several components or scans, restarts, a point transform.
    """
    found = _headers(stream)
    if found is None:
        return None
    precision, predictor, lengths, start = found
    end = stream.rfind(b"\xff\xd9")
    data = stream[start:end]
    if end < start or any(0 < data[at + 1] < 0xFF for at in _markers(data)):
        return None
    values = pixels.astype(np.int64) & ((1 << precision) - 1)
    differences = (values - _predicted(values, predictor, precision) + (1 << 15)) % (1 << 16) - (1 << 15)
    sizes = np.zeros(differences.shape, np.int64)
    magnitudes = np.abs(differences)
    for bit in range(16):
        sizes += magnitudes >= 1 << bit
    counts = np.bincount(sizes.ravel(), minlength=17)
    if any(counts[size] and not lengths[size] for size in range(17)):
        return len(data)
    bits = sum(int(counts[size]) * (int(lengths[size]) + (size if size < 16 else 0)) for size in range(17))
    left = 8 * (len(data) - data.count(b"\xff\x00")) - bits
    if not 0 <= left < 8:
        return max(abs(left) // 8, 1)
    last = data[-2] if data.endswith(b"\xff\x00") else data[-1]
    padding = last & ((1 << left) - 1)
    return 0 if padding in (0, (1 << left) - 1) else 1  # of ones, as the standard has it, or of zeros


def _markers(data: bytes) -> list[int]:
    """Where an FF stands that is followed by something."""
    found = np.flatnonzero(np.frombuffer(data[:-1], np.uint8) == 0xFF)
    return [int(at) for at in found if data[at + 1]]


def _headers(stream: bytes) -> tuple[int, int, list[int], int] | None:
    """Precision, predictor, code length by size of difference, and where the coded data begin."""
    at, precision, tables = 2, 0, dict[int, list[int]]()
    while at + 4 <= len(stream):
        marker, length = struct.unpack_from(">HH", stream, at)
        content = stream[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == _SOF3:
            if len(content) < 6 or content[5] != 1:
                return None
            precision = content[0]
        elif marker == _DHT:
            _read_tables(content, tables)
        elif marker == _DRI and any(content):
            return None
        elif marker == _SOS:
            if len(content) < 6 or content[0] != 1 or content[5] & 15 or not precision:
                return None
            table = tables.get(content[2] >> 4)
            return None if table is None or content[3] not in range(1, 8) else (precision, content[3], table, at)
        elif 0xFFC0 <= marker <= 0xFFCF:
            return None
    return None


def _read_tables(content: bytes, tables: dict[int, list[int]]) -> None:
    at = 0
    while at + 17 <= len(content):
        counts, lengths, symbol = content[at + 1 : at + 17], [0] * 17, at + 17
        for length, count in enumerate(counts, 1):
            for size in content[symbol : symbol + count]:
                if size <= 16:
                    lengths[size] = length
            symbol += count
        tables[content[at] & 15] = lengths
        at = symbol


def _predicted(values: NDArray[np.int64], predictor: int, precision: int) -> NDArray[np.int64]:
    """H.1.2.1: the first row from the left, the first column from above, the rest by the predictor."""
    left, above, corner = (np.zeros_like(values) for _ in range(3))
    left[:, 1:], above[1:], corner[1:, 1:] = values[:, :-1], values[:-1], values[:-1, :-1]
    predicted = {
        1: left,
        2: above,
        3: corner,
        4: left + above - corner,
        5: left + ((above - corner) >> 1),
        6: above + ((left - corner) >> 1),
        7: (left + above) >> 1,
    }[predictor].copy()
    predicted[0], predicted[1:, 0] = left[0], above[1:, 0]
    predicted[0, 0] = 1 << (precision - 1)
    return predicted
