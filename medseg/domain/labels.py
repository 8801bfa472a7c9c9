"""What the values of a mask mean, and a mask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import GridError, UsageError
from medseg.domain.geometry import Geometry

LabelKind = Literal["semantic", "instances"]

# Told apart by most people with colour vision deficiency; see Okabe and Ito 2008, "Color universal design".
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


@dataclass(frozen=True)
class Code:
    """A term of a coding scheme; scheme "SCT" is SNOMED CT."""

    value: str
    meaning: str
    scheme: str = "SCT"


@dataclass(frozen=True)
class Label:
    """One value of a mask: 1..65535, a name, a colour (red, green, blue of 0..255) and its DICOM terms."""

    value: int
    name: str
    colour: tuple[int, int, int]
    category: Code | None = None
    type: Code | None = None
    modifier: Code | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.value <= 65535:
            raise UsageError(f"label {self.name!r} has value {self.value}; values run from 1 to 65535, 0 is background")
        if not re.fullmatch(r"[\w][\w .()/+-]{0,63}", self.name):
            raise UsageError(f"label name {self.name!r} is not 1 to 64 letters, digits, spaces or _.()/+-")
        if len(self.colour) != 3 or not all(0 <= c <= 255 for c in self.colour):
            raise UsageError(f"label {self.name!r} has colour {self.colour}; give three numbers of 0 to 255")


def legal_name(text: str, value: int, taken: set[str]) -> str:
    """A label name made of another program's: illegal characters become "_", and a repeated name gets its value.

    taken: the names given so far, to which this one is added.

    >>> legal_name("aorta: *", 3, set())
    'aorta_ _'
    """
    name = re.sub(r"[^\w .()/+-]", "_", text.strip())
    name = re.sub(r"^[^\w]+", "", name)[:64] or f"label {value}"
    if name in taken:
        name = f"{name[:56]} {value}"
    taken.add(name)
    return name


@dataclass(frozen=True)
class LabelTable:
    """The labels of a mask, by rising value; value 0 is background and stands in no table.

    kind: "semantic", where a voxel's value is its label's value; or "instances", where the table has one label
          and the values 1..n number the things of that label.
    """

    labels: tuple[Label, ...]
    kind: LabelKind = "semantic"

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(sorted(self.labels, key=lambda label: label.value)))
        if not self.labels:
            raise UsageError("a label table needs at least one label beside the background")
        for attribute in ("value", "name"):
            found = [getattr(label, attribute) for label in self.labels]
            if len(set(found)) < len(found):
                raise UsageError(f"two labels share a {attribute}: {found}")
        if self.kind == "instances" and [label.value for label in self.labels] != [1]:
            raise UsageError("an instance table has exactly one label, of value 1: what the instances are")

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def values(self) -> tuple[int, ...]:
        """Rising label values, background left out."""
        return tuple(label.value for label in self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the values."""
        return tuple(label.name for label in self.labels)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A mask: integers on a grid and what they mean.

    voxels: (*shape_ijk) uint8, or uint16 where a value is above 255.
    """

    voxels: NDArray[np.uint8] | NDArray[np.uint16]
    geometry: Geometry
    table: LabelTable = field(repr=False)

    def __post_init__(self) -> None:
        if self.voxels.shape != self.geometry.shape_ijk:
            raise GridError(f"a mask of shape {self.voxels.shape} on a grid of {self.geometry.shape_ijk}")
        if self.voxels.dtype not in (np.uint8, np.uint16):
            raise GridError(f"a mask holds uint8 or uint16, not {self.voxels.dtype}")
