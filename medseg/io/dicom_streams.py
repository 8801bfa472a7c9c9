"""What speaks for damage in compressed pixels that decode all the same; no codec checks more than it has to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import JPEG2000, UID, JPEG2000Lossless, JPEGLossless, JPEGLosslessSV1, RLELossless

from medseg.domain.errors import InputError
from medseg.io.dicom_header import Header
from medseg.io.dicom_jpeg2000 import StreamError, damaged_blocks
from medseg.io.dicom_lossless_jpeg import length_apart
from medseg.io.dicom_rle import rle_fault

_COMPLAINTS = re.compile(rb"Corrupt JPEG data[^\n]*|premature end[^\n]*|extraneous bytes[^\n]*", re.IGNORECASE)
_MOST_NAMED = 5
_MOST_OVERLAYS = 3  # combinations of planes


@dataclass
class Findings:
    """The damaged images of one series, each with the reason.

    faults:    header and reason.
    reversible: of streams that may be lossy but need not, how many code blocks are not what the pixels make.
    """

    faults: list[tuple[Header, str]] = field(default_factory=list)
    reversible: list[tuple[Header, int]] = field(default_factory=list)

    def heed(self, header: Header, words: bytes) -> None:
        """Note what a codec printed about the stream."""
        if complaint := _COMPLAINTS.search(words):
            self.faults.append((header, f"the decoder reports {complaint[0].decode('ascii', 'replace').strip()!r}"))

    def look_at(self, header: Header, stream: bytes, pixels: NDArray[Any]) -> None:
        """Compare the stream of an image with what was decoded from it."""
        syntax = UID(header.transfer_syntax)
        if beyond := _beyond_bits(header, pixels):
            self.faults.append(
                (header, f"{beyond} of its pixels hold values beyond the {header.bits_stored} stored bits")
            )
            return
        if syntax == RLELossless:
            if fault := rle_fault(stream, pixels.size, header.bits // 8):
                self.faults.append((header, f"its run-length stream {fault}"))
        elif syntax in (JPEGLossless, JPEGLosslessSV1):
            if apart := length_apart(stream, pixels):
                self.faults.append((header, f"its coded data are {apart} bytes off what its pixels take"))
        elif syntax in (JPEG2000Lossless, JPEG2000):
            try:
                count = damaged_blocks(stream, pixels)
            except StreamError as error:
                self.faults.append((header, f"its JPEG 2000 stream {error}"))
                return
            if count and syntax == JPEG2000Lossless:
                self.faults.append((header, _blocks(count)))
            elif count is not None and syntax == JPEG2000:
                self.reversible.append((header, count))

    def require_none(self) -> None:
        """Raises: InputError naming the damaged images and why the first is one."""
        whole = [header for header, count in self.reversible if not count]
        if 2 * len(whole) >= len(self.reversible):  # the others are lossless, so these were too
            self.faults += [(header, _blocks(count)) for header, count in self.reversible if count]
        if not self.faults:
            return
        header, reason = self.faults[0]
        names = list(dict.fromkeys(other.name.split(": ")[-1] for other, _ in self.faults))
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        others = f"; damaged are {', '.join(names[:_MOST_NAMED])}{more}" if len(names) > 1 else ""
        raise InputError(f"{header.name}: damaged: {reason}{others}; copy or export the series again")


def _beyond_bits(header: Header, pixels: NDArray[Any]) -> int:
    """How many pixels hold what is neither a value of the stored bits nor an overlay above them.

    Overlay planes set the same few bits in all of their pixels; damage sets all of them, or many combinations.
    """
    unused = header.bits - header.bits_stored
    if not 0 < unused < header.bits or header.has_overlay_bits:
        return 0
    words = pixels.astype(np.int64) & ((1 << header.bits) - 1)
    above = words >> header.bits_stored
    ones = (1 << unused) - 1
    odd = above != 0
    if header.is_signed:
        odd &= ~((above == ones) & (words >> (header.bits_stored - 1) & 1).astype(bool))
    kinds = np.unique(above[odd])
    return int(odd.sum()) if len(kinds) > _MOST_OVERLAYS or ones in kinds else 0


def _blocks(count: int) -> str:
    return f"{count} code block{'s' if count > 1 else ''} of its JPEG 2000 stream are not what its pixels make"
