"""One DICOM file as a stream of elements: told by content, of what class, with every declared length there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO

from pydicom.filereader import data_element_generator

from medseg.domain.errors import InputError

PIXEL_DATA, FLOAT_PIXEL_DATA = 0x7FE00010, (0x7FE00008, 0x7FE00009)

_UNDEFINED = 0xFFFFFFFF
_STORAGE = "1.2.840.10008.5.1.4.1.1"
# Directories, waveforms, presentation states, parametric maps, raw data with registrations and segmentations,
# surfaces, reports, documents, and all of radiotherapy: PS3.4 B.5.
_NO_IMAGE_CLASSES = (
    "1.2.840.10008.1.3.10",
    *(f"{_STORAGE}.{n}" for n in ("9", "11", "30", "66", "67", "68", "88", "90", "104", "481")),
)


class Watch:
    """Called by pydicom at each element before its value is read; it would return a cut value as if it were whole.

    stopped_at, length, present: tag of the element that `stop` named (0: none came), its declared length (None: open),
    and how many bytes of the file follow.
    Raises: InputError where a value would end after the file does.
    """

    def __init__(self, name: str, file: BinaryIO, size: int, stop: Callable[[int], bool]):
        self.name, self.file, self.size, self.stop = name, file, size, stop
        self.stopped_at = self.present = 0
        self.length: int | None = None

    def __call__(self, tag: int, vr: str | None, length: int) -> bool:
        """Whether to stop before this element."""
        present = self.size - self.file.tell()
        if self.stop(tag):
            self.stopped_at, self.present = int(tag), present
            self.length = None if length == _UNDEFINED else length
            return True
        if length not in (_UNDEFINED, 0) and length > present:
            place = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
            raise InputError(
                f"{self.name}: cut off: element {place} declares {length} bytes and the file has {present} left; "
                "copy it again"
            )
        return False


def starts_with_an_element(start: bytes) -> bool:
    """Whether a file without preamble begins like a data set: group 2 or 8, then a type or a length that fits.

    Elements 0 and 1 of a group (its length, and what once was the length to the end) are four bytes long.
    """
    for order in ("little", "big"):
        group, element = int.from_bytes(start[0:2], order), int.from_bytes(start[2:4], order)
        length = int.from_bytes(start[4:8], order)
        typed = re.fullmatch(rb"AE|AS|CS|DA|DS|DT|IS|LO|LT|OB|PN|SH|ST|TM|UI|UL|US", start[4:6]) is not None
        fits = length == 4 if element in (0, 1) else 0 < length < 1024 and length % 2 == 0
        if len(start) == 132 and group in (2, 8) and element < 0x100 and (typed or fits):
            return True
    return False


def file_meta(name: str, file: BinaryIO, size: int) -> tuple[str, str]:
    """Object class and transfer syntax of group 2, read alone: what follows may be deflated, 1 to 1000.

    file: at the first byte of group 2; afterwards behind its last.
    """
    watch = Watch(name, file, size, stop=lambda tag: tag >> 16 != 2)
    values = {element.tag: element.value for element in data_element_generator(file, False, True, stop_when=watch)}
    found = [values.get(tag) or b"" for tag in (0x00020002, 0x00020010)]
    sop_class, transfer_syntax = (value.rstrip(b"\0 ").decode("ascii", "replace") for value in found)
    return sop_class, transfer_syntax


def is_no_image(sop_class: str) -> bool:
    """Whether objects of this class are something else than images made by a device."""
    return any(sop_class == known or sop_class.startswith(f"{known}.") for known in _NO_IMAGE_CLASSES)
