"""One compressed frame decoded strictly: its stream walked, its decoder's complaints heeded, its values in range."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    JPEG2000Lossless,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from medseg.domain.errors import MedsegError
from medseg.io import openjpeg
from medseg.io.dicom_header import Header
from medseg.io.stream_j2k import Codestream, bare, made_to_tell, walk
from medseg.io.stream_j2k_blocks import damaged_blocks
from medseg.io.stream_j2k_packets import PacketError
from medseg.io.stream_jpeg import LOSSLESS, Jpeg, lossless_fault, walk_jpeg
from medseg.io.stream_rle import RleError, decode_rle

_HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
_SLIP = re.compile(r"PTERM check failure: (\d+) (?:remaining|synthesized)")
_LARGE_SLIP = 8  # bytes; encoders that end code blocks in ways of their own differ by fewer
_COMPLAINT = re.compile(r"corrupt|premature|invalid|extraneous|bogus|unsupported|error|truncated", re.IGNORECASE)


class StreamError(MedsegError):
    """A damaged stream, with the reason. It does not leave `dicom_pixels`, which names the file."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    pixels: (rows, columns), as the words of the file would hold them.
    slips:  how many parts of its code did not end where their decoder stood, by a little: damage, or an encoder's way.
    coding: the parameters of its stream, to compare slices by; empty where it has none.
    """

    pixels: NDArray[Any]
    slips: int = 0
    coding: bytes = b""


def decode_frame(header: Header, stream: bytes, otherwise: Callable[[], NDArray[Any]]) -> Frame:
    """Decode one compressed frame.

    Args:
        header: Of the frame.
        stream: Its stream, without items around it.
        otherwise: Decodes it by the codecs that are installed.

    Raises:
        StreamError: If the stream is damaged, with the reason.
    """
    syntax, bits = header.transfer_syntax, header.bits
    if syntax == RLELossless:
        return Frame(_run_length(header, stream))
    jpeg, found = Jpeg(), Codestream()
    if syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes:
        jpeg = walk_jpeg(syntax, stream, header.rows, header.columns, bits)
        if jpeg.fault:
            raise StreamError(jpeg.fault)
    if syntax in JPEG2000TransferSyntaxes or syntax in _HTJ2K:
        stream = bare(stream)
        found = walk(stream, header.rows, header.columns, bits)
        if found.fault:
            raise StreamError(found.fault)
        if openjpeg.functions() is not None:
            return _with_blocks(header, stream, found, _wavelets(header, stream, found))
    with _listening() as spoken:
        pixels = otherwise()
    complaint = next((line for line in spoken if _COMPLAINT.search(line)), "")
    if complaint:
        raise StreamError(f"its decoder reports: {complaint}")
    fault, slips = lossless_fault(jpeg, stream, pixels) if jpeg.kind == LOSSLESS else ("", 0)
    if fault:
        raise StreamError(fault)
    return _with_blocks(header, stream, found, Frame(pixels, slips, found.coding or jpeg.coding))


def _run_length(header: Header, stream: bytes) -> NDArray[Any]:
    try:
        planes = decode_rle(stream, header.rows, header.columns, header.bits // 8)
    except RleError as error:
        raise StreamError(str(error)) from error
    kind = np.dtype(f">{'i' if header.is_signed else 'u'}{header.bits // 8}")
    words: NDArray[Any] = np.ascontiguousarray(np.moveaxis(planes, 0, -1)).view(kind)[..., 0]
    return words.astype(kind.newbyteorder("="))


def _wavelets(header: Header, stream: bytes, found: Codestream) -> Frame:
    try:
        decoded = openjpeg.decode(made_to_tell(stream, found), (header.rows, header.columns))
    except openjpeg.OpenJpegError as error:
        raise StreamError(f"its decoder reports: {error}") from error
    slips = [int(slip.group(1)) for text in decoded.warnings if (slip := _SLIP.search(text))]
    others = [text for text in decoded.warnings if not _SLIP.search(text)]
    if others:
        raise StreamError(f"its decoder reports: {others[0]}")
    if slips and max(slips) >= _LARGE_SLIP:
        raise StreamError(f"code blocks that do not end where they must: {len(slips)}, by up to {max(slips)} bytes")
    pixels = decoded.pixels
    low = -(1 << (found.precision - 1)) if found.is_signed else 0
    high = low + (1 << found.precision) - 1
    if found.reversible:
        if not found.is_signed:
            pixels = pixels + (1 << (found.precision - 1))
        least, most = int(pixels.min()), int(pixels.max())
        if least < low or most > high:
            raise StreamError(
                f"it decodes to values from {least} to {most}, its {found.precision} bits hold {low} to {high}"
            )
    kind = np.dtype(f"{'i' if header.is_signed else 'u'}{header.bits // 8}")
    return Frame(pixels.astype(kind), len(slips), found.coding)


def _with_blocks(header: Header, stream: bytes, found: Codestream, frame: Frame) -> Frame:
    """The frame with the code blocks of a reversible stream counted that are not what its pixels make."""
    if not found.styles or not found.reversible:
        return frame
    try:
        count = damaged_blocks(stream, frame.pixels) or 0
    except PacketError as error:
        raise StreamError(f"it {error}") from error
    if count and header.transfer_syntax == JPEG2000Lossless:
        raise StreamError(f"its pixels do not match the length of {count} code block{'s' if count > 1 else ''}")
    return replace(frame, slips=frame.slips + count)


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Codecs in C print about broken streams, past Python: the lines they print are here when they are done."""
    lines: list[str] = []
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        try:
            os.dup2(kept.fileno(), 2)
            yield lines
        finally:
            os.dup2(before, 2)
            os.close(before)
            kept.seek(0)
            text = kept.read(1 << 16).decode("ascii", "replace")
            lines += ["".join(filter(str.isprintable, line))[:200].strip() for line in text.splitlines()]
