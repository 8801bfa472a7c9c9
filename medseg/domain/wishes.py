"""What a user asks of a bundle beside its own values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wishes:
    """Off unless asked for.

    depth:   of a UNet++, which of its heads answers; the shallower, the faster.
    tta:     the mean answer over the mirror images that the network was trained with: 2 to 8 times the work.
    quality: how well several answers agree, and what that foretells: as much work again as there are answers.
    """

    depth: int | None = None
    tta: bool = False
    quality: bool = False


NO_WISHES = Wishes()
