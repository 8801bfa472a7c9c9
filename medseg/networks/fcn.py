"""FCN: an encoder whose maps are scored each by itself, and the scores added up."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from medseg.networks.blocks import ConvBlock, StridedDown
from medseg.networks.layers import CONV
from medseg.networks.unet import Encoder

_SCORED = 3
_MODES = {2: "bilinear", 3: "trilinear"}


class FCN(nn.Module):
    """Logits (B, out, *S) of an image (B, in, *S) of any size.

    Each of the three deepest maps is scored by a 1-wide convolution; the scores are brought to the size of the next
    finer map, or at last of the image, by linear interpolation, and added. The plainest net to compare others with.
    Source: Long et al. 2015, doi:10.1109/CVPR.2015.7298965 (FCN-8s), with this project's encoder.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, widths: Sequence[int]):
        super().__init__()
        self.mode = _MODES[spatial_dims]
        self.encoder = Encoder(spatial_dims, in_channels, widths, ConvBlock, StridedDown)
        self.scores = nn.ModuleList(CONV[spatial_dims](width, out_channels, 1) for width in widths[-_SCORED:])

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, *S) -> (B, out, *S)."""
        maps = self.encoder(x)[-len(self.scores) :]
        *finer, total = (score(map_) for score, map_ in zip(self.scores, maps, strict=True))
        for scored in reversed(finer):
            total = scored + self._resize(total, scored)
        return self._resize(total, x)

    def _resize(self, logits: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(logits, list(like.shape[2:]), mode=self.mode, align_corners=False)


def fcn(spatial_dims: int, in_channels: int, out_channels: int, widths: Sequence[int] = (32, 64, 128, 256, 320)) -> FCN:
    """FCN-8s on the encoder of the modern UNet."""
    return FCN(spatial_dims, in_channels, out_channels, widths)
