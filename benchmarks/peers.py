"""The same sliding windows by medseg, MONAI and nnU-Net: network, image (C, *S) and windows in, labels (*S) out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medseg.domain.geometry import Geometry
from medseg.inference.resample import labels_on_source
from medseg.networks.build import NetworkSpec, build_network
from medseg.networks.head import blended_width
from medseg.windows import WindowSpec, stream

CPU = torch.device("cpu")


class Timed(nn.Module):
    """A network that adds up its own seconds."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self.seconds, self.passes = network, 0.0, 0

    def forward(self, x: Tensor) -> Tensor:
        started = time.perf_counter()
        y = self.network(x)
        self.seconds += time.perf_counter() - started
        self.passes += 1
        return y


class StandIn(nn.Module):
    """No network: a copy of the same smooth logits for every window, so that all that is left is the stitching.

    body, head: the same in two, features and what makes logits of them, as medseg splits its own networks.
    """

    def __init__(self, classes: int, size: Sequence[int], width: int = 32):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Conv3d(width, classes, 1).requires_grad_(False)
        self.body = Copies(smooth((width, *size), 0, 12)[None])
        self.logits = Copies(self.head(self.body.values))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)


class Copies(nn.Module):
    def __init__(self, values: Tensor):
        super().__init__()
        self.values = values

    def forward(self, x: Tensor) -> Tensor:
        return self.values.expand(len(x), *self.values.shape[1:]).clone()


def by_stand_in(side: str, stand_in: StandIn, image: Tensor, spec: WindowSpec) -> float:
    """Labels by the side of that name; gives the seconds that the stand-in took.

    Of many classes "medseg" blends features and then computes the head, as it does with its own networks, the head's
    seconds being its own; "medseg, logits" blends logits, as it does with networks that cannot be split.
    """
    classes = stand_in.head.out_channels
    if side == "medseg" and blended_width(NetworkSpec("unet", 3, 1, classes, (32, 64))):
        network = Timed(stand_in.body)
        by_medseg(network, image, spec, stand_in.head)
    else:
        network = Timed(stand_in)
        by(side, network, image, spec, classes)
    return network.seconds


def smooth(shape: Sequence[int], seed: int, coarse: int) -> Tensor:
    """(C, *S) random values that change over `coarse` voxels."""
    generator = torch.Generator().manual_seed(seed)
    few = torch.randn(1, shape[0], *[max(n // coarse, 2) for n in shape[1:]], generator=generator)
    return F.interpolate(few, tuple(shape[1:]), mode="trilinear", align_corners=True)[0]


def body(shape: Sequence[int], seed: int = 0) -> Tensor:
    """(1, *S) a body-like image: an ellipsoid of smooth tissue with noise, in air."""
    i, j, k = (torch.linspace(-1, 1, n).view(-1, *[1] * (2 - axis)) for axis, n in enumerate(shape))
    outside = (i**2 + j**2) / 0.7 + k**2 * 0.2 >= 1
    noise = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed + 1))
    tissue = smooth((1, *shape), seed, 16)[0].add_(noise, alpha=0.1)
    return tissue.masked_fill_(outside, -2.0)[None]


def seeded_unet(classes: int, widths: Sequence[int], probe: Tensor) -> nn.Module:
    """A UNet of medseg with random weights, whose head is set so that every class wins somewhere.

    Its deepest level alone decides, and what brings that up to the image averages, so that labels are regions, as
    organs are, and not salt and pepper; all levels are computed all the same.
    probe: (B, 1, *S), on which each class gets mean 0 and deviation 1; then biases are moved, a little at a time, from
    classes that win often to those that win seldom.
    """
    torch.manual_seed(0)
    network: Any = build_network(NetworkSpec("unet", 3, 1, classes, tuple(widths))).eval().requires_grad_(False)
    for merge in network.merges:
        for convolution in (merge.up, *(layer for layer in merge.block if isinstance(layer, nn.Conv3d))):
            weight = convolution.weight
            weight.copy_(weight.mean((2, 3, 4), keepdim=True).expand_as(weight))
        merge.block[0].weight[:, : -merge.up.out_channels] = 0  # of what skips the deeper levels
    with torch.inference_mode():
        logits = network(probe).transpose(0, 1).flatten(1)
    logits = logits[:, torch.randperm(logits.shape[1])[:20000]]
    deviation, mean = logits.std(1), logits.mean(1)
    logits = (logits - mean[:, None]) / deviation[:, None]
    shift = torch.zeros(classes)
    for _ in range(200):
        wins = torch.bincount((logits + shift[:, None]).argmax(0), minlength=classes) / logits.shape[1]
        shift += 0.05 * (1 - wins * classes).clamp(-1, 1)
    network.head.weight /= deviation.view(-1, 1, 1, 1, 1)
    network.head.bias.copy_((network.head.bias - mean) / deviation + shift)
    return network


def by_medseg(
    network: Callable[[Tensor], Tensor], image: Tensor, spec: WindowSpec, head: nn.Module | None = None
) -> np.ndarray:
    grid = Geometry(tuple(image.shape[1:]), np.eye(4))
    return labels_on_source(stream(network, image, spec, head=head), grid, grid)


def by_monai(network: Callable[[Tensor], Tensor], image: Tensor, spec: WindowSpec) -> np.ndarray:
    from monai.inferers import SlidingWindowInferer

    inferer = SlidingWindowInferer(spec.size, spec.batch, spec.overlap, mode=spec.weighting)
    with torch.inference_mode():
        return inferer(image[None], network)[0].argmax(0).to(torch.uint8).cpu().numpy()


def by_nnunet(network: nn.Module, image: Tensor, spec: WindowSpec, classes: int) -> np.ndarray:
    """Its predictor without mirroring; it holds logits in half precision and weights as its own Gaussian."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(1 - spec.overlap, True, False, False, image.device, allow_tqdm=False)
    predictor.manual_initialization(
        network,
        SimpleNamespace(get_label_manager=lambda _: SimpleNamespace(num_segmentation_heads=classes)),
        SimpleNamespace(patch_size=list(spec.size)),
        None,
        {},
        "",
        None,
    )
    return predictor.predict_sliding_window_return_logits(image).argmax(0).to(torch.uint8).cpu().numpy()


def by(side: str, network: nn.Module, image: Tensor, spec: WindowSpec, classes: int) -> np.ndarray:
    """Labels by the side of that name."""
    if side.startswith("medseg"):
        return by_medseg(network, image, spec)
    if side == "MONAI":
        return by_monai(network, image, spec)
    return by_nnunet(network, image, spec, classes)


def warm(side: str) -> None:
    """A tiny image first: what is imported and set up once is no part of a trial."""
    network = nn.Conv3d(1, 2, 1).requires_grad_(False)
    by(side, network, torch.randn(1, 20, 16, 16), WindowSpec((16, 16, 16), 0.25, "gaussian", 1), 2)
