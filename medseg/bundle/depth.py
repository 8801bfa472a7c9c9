"""Which depth of a UNet++ is worth its time."""

from __future__ import annotations

from medseg.bundle.bundle import DepthScore
from medseg.domain.errors import UsageError


def fast_depth(depths: tuple[DepthScore, ...], name: str, worth: float = 0.01) -> int:
    """Return the shallowest depth of a UNet++ that is within `worth` Dice of the best, by what was measured.

    depths: as measured, shallowest first; name: of the bundle, for the message.
    Raises: UsageError where no depths were measured.
    """
    if not depths:
        raise UsageError(f"--fast: no depths of bundle {name} were measured; for a UNet++, medseg bundle depths does")
    best = max(score.dice for score in depths)
    return next(score.depth for score in depths if score.dice >= best - worth)
