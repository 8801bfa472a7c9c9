"""UNet++: the same merge on a triangle, so that every depth of it is a network of its own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medseg.networks.blocks import BLOCKS, DOWNS, MERGES, ConvBlock, Merge, PlainBlock, PooledDown, StridedDown
from medseg.networks.ensemble import together
from medseg.networks.layers import CONV
from medseg.networks.patches import on_patches
from medseg.networks.unet import Encoder


class UNetPP(nn.Module):
    """Logits (B, out, *S) of an image (B, in, *S) of any size.

    Row i holds the nodes of resolution i. Step j appends to every row the merge of all its nodes with the newest
    node of the row below; the last node of row 0 is read by head j. Depth d needs d + 1 rows and nothing below,
    so `forward` at depth d equals head d of the whole network and costs less.

    widths: channels of each row, finest first; the greatest depth is one less than their number.
    Source: Zhou et al. 2018, doi:10.1007/978-3-030-00889-5_1, and 2019, doi:10.1109/TMI.2019.2959609.
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
        self.depth = len(widths) - 1
        self.encoder = Encoder(spatial_dims, in_channels, widths, block, down)
        self.steps = nn.ModuleList(
            nn.ModuleList(
                merge(spatial_dims, widths[i + 1], j * widths[i], widths[i], block) for i in range(self.depth + 1 - j)
            )
            for j in range(1, self.depth + 1)
        )
        self.heads = nn.ModuleList(CONV[spatial_dims](widths[0], out_channels, 1) for _ in range(self.depth))

    def nodes(self, x: Tensor, depth: int) -> list[Tensor]:
        """(B, in, *S) -> the nodes (B, widths[0], *S) of row 0 that heads 1..depth read."""
        if not 1 <= depth <= self.depth:
            raise ValueError(f"depth {depth} is not one of 1..{self.depth}")
        rows: list[list[Tensor]] = []
        for stage in list(self.encoder)[: depth + 1]:
            x = stage(x)
            rows.append([x])
        for merges in list(self.steps)[:depth]:
            newest = [row[-1] for row in rows[: depth + 2 - len(rows[0])]]
            for row, merge, below in zip(rows, merges.children(), newest[1:], strict=False):
                row.append(merge(below, row))
        return rows[0][1:]

    def all_logits(self, x: Tensor) -> list[Tensor]:
        """(B, in, *S) -> the logits (B, out, *S) of every head, shallowest first, for deep supervision."""
        return [head(node) for head, node in zip(self.heads, self.nodes(x, self.depth), strict=True)]

    def forward(self, x: Tensor, depth: int | None = None) -> Tensor:
        """(B, in, *S) -> (B, out, *S), by the deepest head or the one of the given depth."""
        depth = self.depth if depth is None else depth
        node = self.nodes(x, depth)[-1]  # first of all refuses a depth that is none
        return self.heads[depth - 1](node)


def unetpp(
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
    """The modern preset: instance norm, leaky ReLU, strided downsampling; parts as in `medseg.networks.unet.unet`."""

    def build(channels: int, classes: int) -> UNetPP:
        return UNetPP(spatial_dims, channels, classes, widths, BLOCKS[block], DOWNS[down], MERGES[merge])

    return together(members, lambda: on_patches(build, in_channels, out_channels, spatial_dims, patch))


def unetpp_2018(
    spatial_dims: int, in_channels: int, out_channels: int, widths: Sequence[int] = (32, 64, 128, 256, 512)
) -> UNetPP:
    """As published in 2018: plain blocks with ReLU, max pooling, transposed convolutions."""
    return UNetPP(spatial_dims, in_channels, out_channels, widths, PlainBlock, PooledDown)
