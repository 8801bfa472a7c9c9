"""A box in patient space."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """Centre and edge lengths in mm; right, anterior and superior are positive."""

    centre_ras_mm: tuple[float, float, float]
    size_mm: tuple[float, float, float]

    def __str__(self) -> str:
        return ",".join(f"{v:g}" for v in (*self.centre_ras_mm, *self.size_mm))
