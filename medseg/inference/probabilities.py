"""The probabilities of all labels on the image's own grid, block by block.

In the order of our bundles: logits, linear, softmax. Islands that the mask leaves out are in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.inference.parts import Part
from medseg.inference.resample import OnValues, Place
from medseg.inference.slices import Slicing, block_back

# The place of a block in the image, its probabilities (K, *block) in float32, and which of its voxels they are good for
# where that is not all. Voxels that are never told are background. A later block replaces an earlier one.
OnProbabilities = Callable[[Place, NDArray[np.float32], NDArray[np.bool_] | None], None]


def softmax_of(part: Part, found: NDArray[Any], tell: OnProbabilities) -> OnValues:
    """Logits of a part of the image, told as probabilities in the image.

    found: labels of the image before this part; where parts overlap, the first that finds something counts.
    """

    def on_values(place: Place, values: Tensor, inside: NDArray[np.bool_] | None) -> None:
        there = tuple(slice(p.start + s, p.stop + s) for p, s in zip(place, part.start, strict=True))
        good = found[there] == 0
        if inside is not None:
            good &= inside
        if part.inside is not None:
            good &= part.inside[place]
        probabilities = values.float().softmax(0).cpu().numpy()
        tell(there, probabilities, None if good.all() else good)

    return on_values


def of_slice(on_values: OnValues, k: int, slicing: Slicing, shape_ijk: tuple[int, ...]) -> OnValues:
    """Logits of the picture of slice k, told as logits of the volume that it was cut from."""

    def told(place: Place, values: Tensor, inside: NDArray[np.bool_] | None) -> None:
        there, block = block_back(place, values.cpu().numpy(), k, slicing, shape_ijk)
        good = None if inside is None else block_back(place, inside[None], k, slicing, shape_ijk)[1][0]
        on_values(there, torch.from_numpy(np.ascontiguousarray(block)), good)

    return told
