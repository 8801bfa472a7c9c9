"""Where windows lie: MONAI's placement, or nnU-Net's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Literal, get_args

from medseg.domain.errors import UsageError

Weighting = Literal["constant", "gaussian"]
PlacementName = Literal["monai", "nnunet"]


@dataclass(frozen=True)
class WindowSpec:
    """Where windows lie and how they blend.

    size:      voxels of a window along each axis; a smaller image is zero-padded on both sides.
    overlap:   share of a window that the next one covers again, 0 <= overlap < 1; of nnU-Net's at least this share.
    weighting: "constant", or "gaussian" with a standard deviation of an eighth of the window.
    batch:     windows to a pass of the network.
    placement: "monai": steps of equal length, the last window moved back to end with the image; its Gaussian is at
               least a thousandth. "nnunet": equally spaced over the image; its Gaussian peaks at voxel size // 2 and
               has no least value. Both pad alike.
    """

    size: tuple[int, ...]
    overlap: float = 0.5
    weighting: Weighting = "gaussian"
    batch: int = 1
    placement: PlacementName = "monai"

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise UsageError(f"window overlap is {self.overlap}; it must be at least 0 and below 1")
        if min(self.size) < 1 or self.batch < 1:
            raise UsageError(f"windows have positive sizes and batches, not {self.size} and {self.batch}")
        for what, known in (("weighting", Weighting), ("placement", PlacementName)):
            if getattr(self, what) not in get_args(known):
                raise UsageError(f"window {what} {getattr(self, what)!r} is not one of {', '.join(get_args(known))}")


@dataclass(frozen=True)
class Row:
    """All windows that begin at one plane of the streaming axis; after them the planes first..stop are final."""

    first: int
    stop: int
    corners: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Placement:
    """The windows of an image of a certain shape.

    before: zeros put before the image along each axis; padded: the shape with all padding.
    axis:   the longest, along which slabs are handed on.
    starts: first voxels of the windows along each axis of the padded image.
    """

    shape: tuple[int, ...]
    before: tuple[int, ...]
    padded: tuple[int, ...]
    axis: int
    starts: tuple[tuple[int, ...], ...]

    @property
    def rows(self) -> list[Row]:
        """In the order in which they are computed."""
        across = list(product(*(s for a, s in enumerate(self.starts) if a != self.axis)))
        edges = pairwise([*self.starts[self.axis], self.padded[self.axis]])
        return [
            Row(first, stop, tuple((*c[: self.axis], first, *c[self.axis :]) for c in across)) for first, stop in edges
        ]

    @property
    def apart(self) -> bool:
        """Whether the voxels of a plane lie apart in memory, one to each of the planes in turn."""
        return self.axis == len(self.shape) - 1

    @property
    def across(self) -> tuple[slice, ...]:
        """Where the image lies in the padded one; the streaming axis is whole."""
        inside = [slice(b, b + n) for b, n in zip(self.before, self.shape, strict=True)]
        inside[self.axis] = slice(None)
        return tuple(inside)


def place(shape: Sequence[int], spec: WindowSpec) -> Placement:
    """The windows of an image of this shape.

    Raises: UsageError for windows of another number of axes.
    """
    if len(spec.size) != len(shape):
        raise UsageError(f"windows of {len(spec.size)} axes on an image of {len(shape)}")
    padded = tuple(max(n, w) for n, w in zip(shape, spec.size, strict=True))
    return Placement(
        shape=tuple(shape),
        before=tuple((p - n) // 2 for p, n in zip(padded, shape, strict=True)),
        padded=padded,
        axis=padded.index(max(padded)),
        starts=tuple(
            tuple(window_starts(n, w, spec.overlap, spec.placement)) for n, w in zip(padded, spec.size, strict=True)
        ),
    )


def window_count(shape: Sequence[int], spec: WindowSpec) -> int:
    """How many windows an image of this shape takes."""
    return math.prod(len(starts) for starts in place(shape, spec).starts)


def window_starts(length: int, window: int, overlap: float, placement: PlacementName = "monai") -> list[int]:
    """First voxels of the windows along one axis of at least a window's length.

    >>> window_starts(100, 32, 0.25)
    [0, 24, 48, 68]
    >>> window_starts(100, 32, 0.25, "nnunet")
    [0, 23, 45, 68]

    Source: of the second, Isensee et al. 2021, doi:10.1038/s41592-020-01008-z, version 2 of the program; where steps
    would be shorter than a voxel it computes windows twice, here they are computed once.
    """
    room = length - window
    if placement == "nnunet":
        steps = math.ceil(room / (window * (1 - overlap)))
        return sorted({round(room / steps * n) for n in range(steps + 1)}) if steps else [0]
    step = window if room == 0 else max(int(window * (1 - overlap)), 1)
    return sorted({min(start, room) for start in range(0, room + step, step)})
