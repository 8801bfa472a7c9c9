"""What computed a mask, as DICOM objects name it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Algorithm:
    """A bundle and its version; or, for a mask that came as a file, the program that brought it in.

    digest:    sha256 of the weights, empty where there are none.
    automatic: False where nobody knows how the mask was made.
    """

    name: str
    version: str
    digest: str = ""
    automatic: bool = True
