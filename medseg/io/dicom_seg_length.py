"""A number of frames that OHIF unpacks rightly.

BINARY frames follow one another bit by bit and the whole is padded to an even number of bytes. OHIF 3.13.2 tells the
packing from the length: with a byte of padding, or with as many bytes as frames that each begin a byte would have, it
gives up or takes the second packing, and may show scattered pixels without a word. An empty frame or two, which the
standard allows, give a length that it takes for what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from medseg.io.dicom_derived import frame_positions

Mark = tuple[int, int, int]  # source frame, segment number, pixel


def is_told_right(pixels: int, frames: int) -> bool:
    """Whether this many frames of this many pixels have a length that tells their packing."""
    size = -(-pixels * frames // 8)
    return size % 2 == 0 and (pixels % 8 == 0 or frames == 1 or size != frames * -(-pixels // 8))


def mark_spare_frames(stack: NDArray[Any], segments: int) -> list[Mark]:
    """Set one background pixel in as few empty frames as are needed, so that highdicom keeps them; in place.

    stack: (frames, rows, columns) segment numbers. Where there is no room, nothing is marked.
    """
    present = [set(np.unique(plane).tolist()) - {0} for plane in stack]
    frames, pixels = sum(map(len, present)), stack[0].size
    wanted = next((n for n in range(17) if is_told_right(pixels, frames + n)), 0)
    spare = [
        (k, number, int(free[0]))
        for k, here in enumerate(present)
        for number in range(1, segments + 1)
        if number not in here and len(free := np.flatnonzero(stack[k] == 0)) >= segments
    ]
    marks = [(k, number, pixel + number - 1) for k, number, pixel in spare]
    marks = [mark for mark in marks if stack[mark[0]].flat[mark[2]] == 0][:wanted]
    if frames == 0 or len(marks) < wanted:
        return []
    for k, number, pixel in marks:
        stack[k].flat[pixel] = number
    return marks


def clear_marks(segmentation: Any, headers: Sequence[Dataset], marks: Sequence[Mark]) -> None:
    """Set the marked pixels back to background in the packed pixels."""
    if not marks:
        return
    positions = frame_positions(headers)
    content = bytearray(segmentation.PixelData)
    pixels = int(segmentation.Rows) * int(segmentation.Columns)
    for frame, own in enumerate(segmentation.PerFrameFunctionalGroupsSequence):
        number = int(own.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        place = np.array(own.PlanePositionSequence[0].ImagePositionPatient, dtype=np.float64)
        for k, segment, pixel in marks:
            if number == segment and np.abs(place - positions[k]).max() < 1e-3:
                bit = frame * pixels + pixel
                content[bit // 8] &= ~(1 << bit % 8) & 255
    segmentation.PixelData = bytes(content)
