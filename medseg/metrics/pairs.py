"""What every metric asks of its two arguments first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import GridError

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.integer[Any]]


def require_one_shape(prediction: NDArray[Any], reference: NDArray[Any]) -> None:
    """Raises GridError where one is not as long as the other along every axis; nothing is broadcast."""
    if prediction.shape != reference.shape:
        raise GridError(
            f"a prediction of shape {prediction.shape} cannot be compared with a reference of {reference.shape};"
            " bring both to one grid first"
        )


def require_masks(prediction: BoolArray, reference: BoolArray) -> None:
    """As `require_one_shape`; that both are boolean is the caller's duty (`labels == value`)."""
    assert prediction.dtype == reference.dtype == np.bool_, (prediction.dtype, reference.dtype)
    require_one_shape(prediction, reference)
