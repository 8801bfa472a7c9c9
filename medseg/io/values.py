"""Numbers that a network can compute with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import ValueRangeError

_MOST = float(np.finfo(np.float32).max)  # in which networks compute; a float64 may hold more


def finite(path: Path, values: NDArray[Any], fill: float | None) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The values with NaN, infinity and what float32 cannot hold replaced by `fill`, and a note that says how many.

    Raises: ValueRangeError with the count if there are some and `fill` is None.
    """
    if values.dtype.kind != "f":
        return values, ()
    if values.size == 0 or (values.min() >= -_MOST and values.max() <= _MOST):  # both are NaN where a value is
        return values, ()
    good = (values >= -_MOST) & (values <= _MOST)
    bad = int(values.size - np.count_nonzero(good))
    if fill is None:
        raise ValueRangeError(
            f"{path}: {bad} of {values.size} voxels are NaN or infinite; mend them, or say what they become with "
            "`segment --nan fill=0`"
        )
    filled = np.where(good, values, values.dtype.type(fill))
    return filled, (f"{bad} of {values.size} voxels were NaN or infinite and became {fill:g}, as told",)
