"""A DICOM series as found on disk, before its pixels are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Series:
    """The files of one single-frame series, in rising order of position along the slice normal.

    uid:      SeriesInstanceUID.
    modality: "CT", "MR", ... as the files say.
    paths:    one file a slice; sorted by position once `io.dicom.read_series` accepted the series.
    """

    uid: str
    modality: str
    paths: tuple[Path, ...]
