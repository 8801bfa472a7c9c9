"""DICOM's run-length encoding, decoded strictly: each segment fills its plane, no more and no less."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import MedsegError

_HEADER = 64
_MOST_PADDING = 8  # bytes; one to an even length is what the standard wants


class RleError(MedsegError):
    """A stream that is no run-length encoding of the image, with the reason."""


def decode_rle(stream: bytes, rows: int, columns: int, planes: int) -> NDArray[np.uint8]:
    """Return the planes of bytes of one grey image, most significant first, (planes, rows, columns).

    Raises:
        RleError: If segments are missing, overlap, decode to too many or too few bytes, or (where rows are encoded one
            by one, as the standard wants) some do not end where a row ends.

    References:
        DICOM PS3.5 annex G.
    """
    header = np.frombuffer(stream[:_HEADER], "<u4")
    if len(header) != 16 or header[0] != planes or header[1 + planes :].any():
        found = int(header[0]) if len(header) else 0
        raise RleError(f"its header declares {found} segments instead of {planes}")
    starts = [*map(int, header[1 : 1 + planes]), len(stream)]
    if starts[0] != _HEADER or any(a >= b for a, b in pairwise(starts)):
        raise RleError("its segments do not follow each other")
    segments = [stream[a:b] for a, b in pairwise(starts)]
    decoded = [_plane(segment, rows, columns, n) for n, segment in enumerate(segments, 1)]
    return np.frombuffer(b"".join(decoded), np.uint8).reshape(planes, rows, columns)


def _plane(segment: bytes, rows: int, columns: int, number: int) -> bytes:
    wanted, place, end = rows * columns, 0, len(segment)
    parts: list[bytes] = []
    while place < end:
        head = segment[place]
        if head < 128:
            after = place + 2 + head
            parts.append(segment[place + 1 : after])
            place = after
        else:
            if head > 128:
                parts.append(segment[place + 1 : place + 2] * (257 - head))
            place += 2 if head > 128 else 1
    sizes = np.cumsum([len(part) for part in parts])
    size = int(sizes[-1]) if len(sizes) else 0
    kept = int(np.searchsorted(sizes, wanted)) + 1
    if kept > len(sizes) or sizes[kept - 1] != wanted:
        raise RleError(f"segment {number} decodes to {size} bytes of {wanted}")
    rest = b"".join(parts[kept:])  # a zero that fills up to an even length is the head of a run, too
    if len(rest) > _MOST_PADDING or rest.strip(b"\0") or (place > end and kept == len(parts)):
        raise RleError(f"segment {number} decodes to {size} bytes of {wanted}, or is cut off")
    row_ends = int((sizes[:kept] % columns == 0).sum())
    if rows / 2 < row_ends < rows:
        raise RleError(f"{rows - row_ends} of {rows} rows of segment {number} do not end where a row ends")
    return b"".join(parts[:kept])
