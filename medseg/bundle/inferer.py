"""Our windows as an inferer of MONAI's, so that a bundle's inference.json can name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers.inferer import Inferer
from monai.utils.misc import fall_back_tuple
from monai.utils.type_conversion import convert_to_dst_type
from torch import Tensor

from medseg.windows import WindowSpec, stream_many
from medseg.windows.placement import PlacementName, Weighting


class SlabInferer(Inferer):
    """Logits (B, K, *S) of images (B, C, *S), float32, as `SlidingWindowInferer` gives them.

    The arguments are called as there; an axis of roi_size that is None or below 1 is the image's. Only the result is as
    large as the image: windows are blended slab by slab, and batched across the images.
    placement: "monai", or "nnunet" for the windows of nnU-Net.
    """

    def __init__(
        self,
        roi_size: Sequence[int | None] | int,
        sw_batch_size: int = 1,
        overlap: float = 0.25,
        mode: Weighting = "constant",
        placement: PlacementName = "monai",
    ):
        super().__init__()
        self.roi_size = roi_size
        self._of_size = lambda size: WindowSpec(size, overlap, mode, sw_batch_size, placement)
        self._of_size((1,))  # refuses at once what is no window

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Further arguments are the network's."""
        spec = self._of_size(tuple(fall_back_tuple(self.roi_size, inputs.shape[2:])))
        images = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        whole: Tensor | None = None
        for number, slab in stream_many(lambda windows: network(windows, *args, **kwargs), list(images), spec):
            if whole is None:
                whole = slab.logits.new_empty(len(images), len(slab.logits), *images.shape[2:])
            whole[number].narrow(1 + slab.axis, slab.start, slab.stop - slab.start).copy_(slab.logits)
        if whole is None:
            return torch.empty(0)
        return convert_to_dst_type(whole, inputs)[0] if isinstance(inputs, MetaTensor) else whole
