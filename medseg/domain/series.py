"""A DICOM series as found on disk, so that what is made of it can refer to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Series:
    """The files of one volume, in rising order of position along the slice normal.

    uid:      SeriesInstanceUID.
    modality: "CT", "MR", ... as the files say.
    paths:    one file a slice in the order of the slices, which an even grid resampled between them has more or less
              of; of a multi-frame file that one path.
    frames:   of a multi-frame file the number, from 1, of the frame of each slice; else empty.
    keeps:    what must live as long as the paths are used (the folder that a zip was unpacked to).
    """

    uid: str
    modality: str
    paths: tuple[Path, ...]
    frames: tuple[int, ...] = ()
    keeps: object = field(default=None, repr=False, compare=False)
