"""Blocks that networks are made of; each is (spatial_dims, in_channels, out_channels) -> module on (B, C, *S)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medseg.networks.layers import CONV, MAX_POOL, NORM, UP_CONV


class PlainBlock(nn.Sequential):
    """Twice: 3-wide convolution with bias, ReLU; the size stays.

    Source: Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28, with padding.
    """

    padding = 1

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int):
        conv = CONV[spatial_dims]
        super().__init__(
            conv(in_channels, out_channels, 3, padding=self.padding),
            nn.ReLU(inplace=True),
            conv(out_channels, out_channels, 3, padding=self.padding),
            nn.ReLU(inplace=True),
        )


class ValidBlock(PlainBlock):
    """The plain block as published, without padding: each axis loses four."""

    padding = 0


class ConvBlock(nn.Sequential):
    """Twice: 3-wide convolution, instance norm, leaky ReLU.

    A map of a single voxel is a ValueError of torch: it has no deviation to be normalised by.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int):
        conv, norm = CONV[spatial_dims], NORM[spatial_dims]

        def unit(width: int) -> tuple[nn.Module, ...]:
            return (
                conv(width, out_channels, 3, padding=1, bias=False),
                norm(out_channels, affine=True),
                nn.LeakyReLU(0.01, inplace=True),
            )

        super().__init__(*unit(in_channels), *unit(out_channels))


class ResidualBlock(nn.Module):
    """A conv block whose second norm is added to the input before the last activation.

    The input passes a 1-wide convolution where the number of channels changes.
    Source: He et al. 2016, doi:10.1109/CVPR.2016.90, with instance norm.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int):
        super().__init__()
        conv, norm = CONV[spatial_dims], NORM[spatial_dims]
        self.body = nn.Sequential(
            conv(in_channels, out_channels, 3, padding=1, bias=False),
            norm(out_channels, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
            conv(out_channels, out_channels, 3, padding=1, bias=False),
            norm(out_channels, affine=True),
        )
        same = in_channels == out_channels
        self.skip = nn.Identity() if same else conv(in_channels, out_channels, 1, bias=False)
        self.activation = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, *S) -> (B, out, *S)."""
        return self.activation(self.body(x) + self.skip(x))


class SeparableBlock(nn.Sequential):
    """A conv block of depthwise separable convolutions: 3-wide in each channel, then 1-wide across them.

    Fewer parameters and products, but bound by memory: on CPUs not much faster than the conv block.
    Source: Howard et al. 2017, arXiv:1704.04861, with instance norm.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int):
        conv, norm = CONV[spatial_dims], NORM[spatial_dims]

        def unit(width: int) -> tuple[nn.Module, ...]:
            return (
                conv(width, width, 3, padding=1, groups=width, bias=False),
                conv(width, out_channels, 1, bias=False),
                norm(out_channels, affine=True),
                nn.LeakyReLU(0.01, inplace=True),
            )

        super().__init__(*unit(in_channels), *unit(out_channels))


class PooledDown(nn.Sequential):
    """Max pooling by two, then the block; an odd size is rounded up, so no voxel is lost."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, block: type[nn.Module]):
        super().__init__(MAX_POOL[spatial_dims](2, ceil_mode=True), block(spatial_dims, in_channels, out_channels))


class StridedDown(nn.Sequential):
    """A convolution of stride two, then the block; an odd size is rounded up."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, block: type[nn.Module]):
        super().__init__(
            CONV[spatial_dims](in_channels, out_channels, 3, stride=2, padding=1, bias=False),
            NORM[spatial_dims](out_channels, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
            block(spatial_dims, out_channels, out_channels),
        )


class Merge(nn.Module):
    """Bring the deep map to the size of the skips, join, apply the block.

    The deep map is doubled by a transposed convolution. Where it is then larger than the skips (odd sizes), its end
    is cropped; where the skips are larger (valid convolutions), they are cropped around their centre.
    """

    def __init__(self, spatial_dims: int, deep_channels: int, skip_channels: int, width: int, block: type[nn.Module]):
        super().__init__()
        self.up = UP_CONV[spatial_dims](deep_channels, width, 2, stride=2)
        self.block = block(spatial_dims, width + skip_channels, width)

    def forward(self, deep: Tensor, skips: list[Tensor]) -> Tensor:
        """Deep (B, deep, *S/2) and skips (B, _, *S), skip_channels in all -> (B, width, *S)."""
        up = self.up(deep)
        size = [min(a, b) for a, b in zip(up.shape[2:], skips[0].shape[2:], strict=True)]
        start = [(have - want) // 2 for have, want in zip(skips[0].shape[2:], size, strict=True)]
        up, skips = _crop(up, [0] * len(size), size), [_crop(s, start, size) for s in skips]
        return self.block(torch.cat([*self.weigh(skips, up), up], 1))

    def weigh(self, skips: list[Tensor], up: Tensor) -> list[Tensor]:
        """The skips as they are joined."""
        return skips


class AttentionMerge(Merge):
    """A merge whose skips are weighed, voxel by voxel, by what the deep map says of them.

    Source: the additive attention gate of Oktay et al. 2018, arXiv:1804.03999; here at the size of the skips.
    """

    def __init__(self, spatial_dims: int, deep_channels: int, skip_channels: int, width: int, block: type[nn.Module]):
        super().__init__(spatial_dims, deep_channels, skip_channels, width, block)
        conv, inner = CONV[spatial_dims], max(width // 2, 1)
        self.of_skips = conv(skip_channels, inner, 1, bias=False)
        self.of_deep = conv(width, inner, 1)
        self.attention = nn.Sequential(nn.ReLU(), conv(inner, 1, 1), nn.Sigmoid())

    def weigh(self, skips: list[Tensor], up: Tensor) -> list[Tensor]:
        """All skips times one map (B, 1, *S) of 0..1."""
        weights = self.attention(self.of_skips(torch.cat(skips, 1)) + self.of_deep(up))
        return [skip * weights for skip in skips]


BLOCKS: dict[str, type[nn.Module]] = {
    "conv": ConvBlock,
    "residual": ResidualBlock,
    "separable": SeparableBlock,
    "plain": PlainBlock,
}
DOWNS: dict[str, type[PooledDown] | type[StridedDown]] = {"strided": StridedDown, "pooled": PooledDown}
MERGES: dict[str, type[Merge]] = {"join": Merge, "attention": AttentionMerge}


def _crop(x: Tensor, start: list[int], size: list[int]) -> Tensor:
    for axis, (s, n) in enumerate(zip(start, size, strict=True), start=2):
        if x.shape[axis] != n:  # a narrow that takes all would still copy the whole gradient
            x = x.narrow(axis, s, n)
    return x
