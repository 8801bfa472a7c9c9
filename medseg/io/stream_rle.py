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
    wanted, place, end, size = rows * columns, 0, len(segment), 0
    parts: list[bytes] = []
    row_ends = 0
    while size < wanted and place < end:
        head = segment[place]
        if head < 128:
            part = segment[place + 1 : place + 2 + head]
            place += head + 2
            if place > end:
                raise RleError(f"a run of segment {number} reaches beyond its end")
        elif head > 128:
            part = segment[place + 1 : place + 2] * (257 - head)
            place += 2
        else:
            place += 1
            continue
        parts.append(part)
        size += len(part)
        row_ends += size % columns == 0
    rest = segment[place:]
    if size != wanted or len(rest) > _MOST_PADDING or rest.strip(b"\0\x80"):
        raise RleError(f"segment {number} decodes to {size} bytes of {wanted}, with {len(rest)} left over")
    if rows / 2 < row_ends < rows:
        raise RleError(f"{rows - row_ends} of {rows} rows of segment {number} do not end where a row ends")
    return b"".join(parts)
