"""The markers of a JPEG stream, walked before a decoder sees it: on some damaged ones gdcm ends the whole process."""

from __future__ import annotations

import struct

import numpy as np

_ALONE = {0x01, *range(0xD0, 0xD8)}
_FRAMES = {0xC0, 0xC1, 0xC3}  # baseline, extended, lossless


def jpeg_fault(stream: bytes, rows: int, columns: int) -> str:
    """Return what is wrong with the markers of a JPEG stream (ITU-T T.81, Annex B), empty where nothing is.

    One frame of this size, its tables before it, one scan, and the end; comments and application data are passed over.
    """
    if stream[:2] != b"\xff\xd8":
        return "does not begin with a start of image"
    at, frame, tables = 2, b"", 0
    while at + 4 <= len(stream):
        if stream[at] != 0xFF:
            return f"has stray bytes at {at}"
        marker = stream[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", stream, at + 2)
        content = stream[at + 4 : at + 2 + length]
        if length < 2 or len(content) != length - 2:
            return f"has a segment of {length} bytes at {at}"
        at += 2 + length
        if marker == 0xC4:
            tables += 1
            if fault := _table_fault(content):
                return fault
        elif marker in _FRAMES:
            if frame or len(content) < 6:
                return "has two frames, or one without a size"
            frame = content
            if struct.unpack_from(">HH", content, 1) != (rows, columns):
                return "has a frame of {1} x {0} pixels".format(*struct.unpack_from(">HH", content, 1))
            if len(content) != 6 + 3 * content[5]:
                return "has a frame of another length"
        elif 0xC5 <= marker <= 0xCF and marker not in (0xC8, 0xCC):
            return f"has a frame of another kind ({marker:02X})"
        elif marker == 0xDA:
            if not frame or not tables:
                return "has a scan before its frame or tables"
            if len(content) != 4 + 2 * content[0] or (frame[5] == 1 and content[0] != 1):
                return "has a scan of another number of components"
            return "" if frame[5] > 1 else _scan_fault(stream, at)
        elif marker == 0xD9:
            return "ends without a scan"
    return "ends inside its headers"


def _scan_fault(stream: bytes, start: int) -> str:
    """Nothing but coded data and restarts up to the end of the image."""
    data = np.frombuffer(stream, np.uint8, offset=start)
    escapes = np.flatnonzero(data[:-1] == 0xFF)
    followed = data[escapes + 1]
    markers = escapes[(followed != 0) & (followed != 0xFF) & ~((followed >= 0xD0) & (followed <= 0xD7))]
    if not len(markers) or data[markers[0] + 1] != 0xD9:
        return "has a marker inside its coded data" if len(markers) else "has no end of image"
    return ""


def _table_fault(content: bytes) -> str:
    """Of a segment of Huffman tables: counts that add up and fit into 16 bits."""
    at = 0
    while at < len(content):
        if at + 17 > len(content):
            return "has a Huffman table that is cut off"
        counts = content[at + 1 : at + 17]
        room = 1 << 16
        for length, count in enumerate(counts, 1):
            room -= count << (16 - length)
        if room < 0 or sum(counts) > 256 or at + 17 + sum(counts) > len(content):
            return "has a Huffman table that does not add up"
        at += 17 + sum(counts)
    return ""
