"""UNet: an encoder that halves, a decoder that walks the encoder's maps backwards."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from medseg.networks.blocks import (
    BLOCKS,
    DOWNS,
    MERGES,
    ConvBlock,
    Merge,
    PlainBlock,
    PooledDown,
    ResidualBlock,
    StridedDown,
    ValidBlock,
)
from medseg.networks.ensemble import together
from medseg.networks.layers import CONV
from medseg.networks.patches import on_patches


class Encoder(nn.ModuleList):
    """(B, in, *S) -> one map for each width, finest first; each next one has half the size, rounded up."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        widths: Sequence[int],
        block: type[nn.Module],
        down: type[PooledDown] | type[StridedDown],
    ):
        steps = pairwise(widths)
        super().__init__(
            [block(spatial_dims, in_channels, widths[0]), *(down(spatial_dims, a, b, block) for a, b in steps)]
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """The maps, finest first."""
        maps = []
        for stage in self:
            x = stage(x)
            maps.append(x)
        return maps


class UNet(nn.Module):
    """Logits (B, out, *S) of an image (B, in, *S) of any size.

    widths: channels of each level, finest first; their number is the number of levels.
    Source: Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        block: type[nn.Module] = ConvBlock,
        down: type[PooledDown] | type[StridedDown] = StridedDown,
        merge: type[Merge] = Merge,
    ):
        super().__init__()
        self.encoder = Encoder(spatial_dims, in_channels, widths, block, down)
        pairs = reversed(list(pairwise(widths)))
        self.merges = nn.ModuleList(merge(spatial_dims, deep, skip, skip, block) for skip, deep in pairs)
        self.head = CONV[spatial_dims](widths[0], out_channels, 1)

    def features(self, x: Tensor) -> Tensor:
        """(B, in, *S) -> what the head reads (B, widths[0], *S)."""
        *skips, deep = self.encoder(x)
        for merge, skip in zip(self.merges, reversed(skips), strict=True):
            deep = merge(deep, [skip])
        return deep

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, *S) -> (B, out, *S)."""
        return self.head(self.features(x))


def unet(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    widths: Sequence[int] = (32, 64, 128, 256, 320),
    block: str = "conv",
    down: str = "strided",
    merge: str = "join",
    patch: int = 1,
    members: int = 1,
) -> nn.Module:
    """The modern preset: instance norm, leaky ReLU, strided downsampling; parts by name from `medseg.networks.blocks`.

    patch:   voxels along an axis that become channels (`Patched`); 1 leaves the image as it is.
    members: networks that answer together (`Ensemble`).
    """

    def build(channels: int, classes: int) -> UNet:
        return UNet(spatial_dims, channels, classes, widths, BLOCKS[block], DOWNS[down], MERGES[merge])

    return together(members, lambda: on_patches(build, in_channels, out_channels, spatial_dims, patch))


def residual_unet(
    spatial_dims: int, in_channels: int, out_channels: int, widths: Sequence[int] = (32, 64, 128, 256, 320)
) -> UNet:
    """The modern preset with residual blocks."""
    return UNet(spatial_dims, in_channels, out_channels, widths, ResidualBlock, StridedDown)


def unet_2015(
    spatial_dims: int, in_channels: int, out_channels: int, widths: Sequence[int] = (64, 128, 256, 512, 1024)
) -> UNet:
    """As published, but with padded convolutions, so that the output has the size of the input."""
    return UNet(spatial_dims, in_channels, out_channels, widths, PlainBlock, PooledDown)


def unet_2015_valid(
    spatial_dims: int, in_channels: int, out_channels: int, widths: Sequence[int] = (64, 128, 256, 512, 1024)
) -> UNet:
    """As published: valid convolutions, 572 x 572 pixels in, the central 388 x 388 out."""
    return UNet(spatial_dims, in_channels, out_channels, widths, ValidBlock, PooledDown)
