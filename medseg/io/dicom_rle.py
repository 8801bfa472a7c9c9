"""Whether each segment of a run-length stream decodes to exactly one byte a pixel (PS3.5, Annex G)."""

from __future__ import annotations

import struct


def rle_fault(frame: bytes, pixels: int, bytes_each: int) -> str:
    """Return what is wrong with the stream of one frame, empty where nothing is.

    Decoders fill up what is missing and cut off what is too much: a changed count shifts all pixels behind it.
    """
    if len(frame) < 64:
        return f"has {len(frame)} bytes, its header alone takes 64"
    count, *offsets = struct.unpack_from("<16I", frame)
    if count != bytes_each:
        return f"has {count} segments for {bytes_each} bytes a pixel"
    ends = [*offsets[1:count], len(frame)]
    for n, (start, end) in enumerate(zip(offsets[:count], ends, strict=True), 1):
        if not 64 <= start < end <= len(frame):
            return f"has segment {n} at byte {start} to {end} of {len(frame)}"
        if apart := _apart(frame[start:end], pixels):
            return f"has segment {n} of {apart:+d} bytes for {pixels} pixels"
    return ""


def _apart(segment: bytes, pixels: int) -> int:
    """By how many bytes the decoded segment is longer than wanted; left over bytes count, but for padding."""
    at, made, length = 0, 0, len(segment)
    while at < length and made < pixels:
        code = segment[at]
        if code < 128:
            at += 2 + code
            made += 1 + code
        elif code > 128:
            at += 2
            made += 257 - code
        else:
            at += 1
    if at > length:
        return -(at - length)
    if made != pixels:
        return made - pixels
    rest = segment[at:]
    return 0 if len(rest) <= 1 or not any(rest.strip(b"\x80")) else len(rest)
