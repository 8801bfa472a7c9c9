"""Which inputs an exported network takes: any number of windows, and sizes that its levels halve evenly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd
from typing import Any

_MOST_BATCH, _MOST_STEPS = 4096, 4096


@dataclass(frozen=True)
class Sizes:
    """The shape (B, channels, *S) of an exported network's input.

    window: S of the bundle's windows.
    step:   S is any multiple of it; None: S is the window's.
    """

    channels: int
    window: tuple[int, ...]
    step: int | None

    @property
    def fixed(self) -> Sizes:
        """The same with the window's size and no other."""
        return replace(self, step=None)

    @property
    def symbols(self) -> tuple[str | int, ...]:
        """The shape in words, such as ("batch", 1, "16*n", "16*m")."""
        size = self.window if self.step is None else tuple(f"{self.step}*{name}" for name in self._names)
        return "batch", self.channels, *size

    @property
    def example(self) -> tuple[int, ...]:
        """Of the input that the network is traced with: no axis as another, and none of length one."""
        if self.step is None:
            return 2, self.channels, *self.window
        return 2, self.channels, *(self.step * (3 + axis) for axis in range(len(self.window)))

    @property
    def trials(self) -> tuple[tuple[int, ...], ...]:
        """Of the inputs that the export is compared on: the window's, other batches, and other sizes where it may."""
        shapes = [(1, *self.window), (3, *self.window)]
        if self.step is not None:
            step, axes = self.step, range(len(self.window))
            shapes += [(1, *(step * (5 - axis) for axis in axes)), (2, *(step * (2 + axis % 2) for axis in axes))]
        return tuple((batch, self.channels, *size) for batch, *size in shapes)

    def dimensions(self) -> dict[int, Any]:
        """By axis what `torch.export` may vary."""
        from torch.export import Dim

        varied: dict[int, Any] = {0: Dim("batch", min=1, max=_MOST_BATCH)}
        if self.step is not None:
            least = min(2, *(edge // self.step for edge in self.window))
            for axis, name in enumerate(self._names, start=2):
                varied[axis] = self.step * Dim(name, min=least, max=_MOST_STEPS)
        return varied

    @property
    def _names(self) -> str:
        return "nml"[: len(self.window)]


def sizes_for(channels: int, window: tuple[int, ...], divisor: int) -> Sizes:
    """Multiples of what divides the window and is halved evenly on every level.

    >>> sizes_for(1, (48, 32), 32).symbols
    ('batch', 1, '16*n', '16*m')
    """
    return Sizes(channels, window, gcd(divisor, *window))
