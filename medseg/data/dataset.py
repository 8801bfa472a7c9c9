"""Preprocessed cases in memory, and the batches that a training step sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor

from medseg.data.augment import AugmentSpec, apply, draw
from medseg.data.preprocess import PreprocessSpec, preprocess
from medseg.domain.doubts import IS_IMAGE
from medseg.domain.errors import GridError, InputError, ValueRangeError
from medseg.domain.manifest import Case, Manifest
from medseg.domain.volume import Volume
from medseg.io.images import read_image, read_mask, require_contrast
from medseg.io.manifest import mask_to_labels
from medseg.io.manifest_build import sha256_of

_LISTED = 10  # cases named in one message

MaskToTarget = Callable[[NDArray[Any]], NDArray[np.uint8]]


@dataclass(frozen=True)
class Sample:
    """One case ready for the network: image (C, *S) float32 and target classes (*S) uint8."""

    case: Case
    image: Tensor
    target: Tensor


def load_case(manifest: Manifest, case: Case, root: Path) -> tuple[Volume, NDArray[Any]]:
    """An image and its mask (*shape_ijk) in label values.

    Raises: InputError if a file is not the one that the manifest means or the image is constant; GridError if they do
    not lie on one grid, ValueRangeError if the mask holds a value outside the table.
    """
    for name, wanted in zip((case.image, case.mask), case.sha256, strict=True):
        if (digest := sha256_of(root / name)) != wanted:
            raise InputError(
                f"{name}: sha256 is {digest[:12]}..., the manifest says {wanted[:12]}...; the file was changed: put it "
                "back, or build the manifest anew"
            )
    volume = read_image(root / case.image, IS_IMAGE)
    require_contrast(case.image, volume)
    values, grid = read_mask(root / case.mask)
    if values.shape != volume.geometry.shape_ijk:
        raise GridError(
            f"{case.mask}: shape {values.shape}, its image has {volume.geometry.shape_ijk}; resample the mask onto the "
            "image or drop the case"
        )
    if grid is not None and not grid.is_same_grid(volume.geometry, tolerance_mm=0.1):
        raise GridError(f"{case.mask}: lies elsewhere than its image; compare the affines of both files")
    try:
        return volume, mask_to_labels(values, manifest)
    except ValueRangeError as error:
        raise ValueRangeError(f"{case.mask}: {error}") from error


def load_samples(
    manifest: Manifest,
    cases: Sequence[Case],
    root: Path,
    spec: PreprocessSpec,
    to_target: MaskToTarget,
    on_case: Callable[[], None] = lambda: None,
) -> list[Sample]:
    """All cases preprocessed, in order; files are read by several threads.

    Raises: InputError that lists every case that cannot be used, with its reason; the one refusal itself if it is one.
    """

    def load(case: Case) -> Sample | InputError:
        try:
            volume, values = load_case(manifest, case, root)
            image, mask = preprocess(volume, spec, to_target(values))
        except InputError as error:
            return error
        on_case()
        return Sample(case, image.values.contiguous(), mask.values[0].to(torch.uint8))

    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(load, cases))
    if refused := [error for error in loaded if isinstance(error, InputError)]:
        raise together(refused, root, f"{len(refused)} of {len(cases)} cases")
    return [sample for sample in loaded if isinstance(sample, Sample)]


def together(refused: Sequence[InputError], root: Path, told: str) -> InputError:
    """The refusals of several cases below a folder as one that lists their reasons; a single one as it is."""
    if len(refused) == 1:
        return refused[0]
    reasons = "; ".join(map(str, refused[:_LISTED]))
    more = f"; and {len(refused) - _LISTED} more" if len(refused) > _LISTED else ""
    return InputError(f"{root}: {told} cannot be used: {reasons}{more}")


@dataclass(frozen=True)
class BatchSpec:
    """What a training batch is made of.

    size:       voxels of a patch.
    count:      patches of a batch.
    foreground: share of the patches that are centred on a labelled voxel.
    """

    size: tuple[int, ...]
    count: int
    foreground: float = 0.33


class Batches:
    """Batch n of a training, from the seed and n alone: a resumed run draws what an uninterrupted one would.

    Kinds of cases (bright-field, fluorescence) are drawn by the square root of their number, so that rare ones count.
    """

    def __init__(self, samples: Sequence[Sample], spec: BatchSpec, augment: AugmentSpec, seed: int):
        self.samples, self.spec, self.augment, self.seed = samples, spec, augment, seed
        self.chances = _chances([s.case.kind for s in samples])
        self.foreground = [_some_foreground(s.target) for s in samples]

    def __call__(self, step: int, share: tuple[int, int] = (0, 1)) -> tuple[Tensor, Tensor]:
        """Images (B, C, *size) and targets (B, *size) of this step.

        share: (k, n) gives the k-th of n parts of the same batch, in order, as even as may be.
        """
        generator = Generator().manual_seed((self.seed * 1_000_003 + step) % 2**63)
        chosen = torch.multinomial(self.chances, self.spec.count, replacement=True, generator=generator)
        source = [n + 2 * (n // 6) for n in self.spec.size]  # a margin, so that turned patches have corners
        boxes = [(self.samples[i], self._corner(i, source, generator)) for i in chosen.tolist()]
        drawn = draw(self.augment, self.spec.count, len(self.spec.size), generator)
        first, end = (self.spec.count * k // share[1] for k in (share[0], share[0] + 1))
        images, targets = (
            torch.stack([crop(getattr(sample, name), corner, source) for sample, corner in boxes[first:end]])
            for name in ("image", "target")
        )
        return apply(drawn.share(first, end - first), images, targets, self.spec.size)

    def _corner(self, index: int, size: Sequence[int], generator: Generator) -> list[int]:
        sample = self.samples[index]
        shape = torch.tensor(sample.target.shape)
        window = torch.tensor(self.spec.size)
        draws = torch.rand(2, generator=generator)
        places = self.foreground[index]
        if len(places) and float(draws[0]) < self.spec.foreground:
            centre = places[int(draws[1] * len(places))]
        else:
            slack = (shape - window).clamp(min=0)
            centre = (torch.rand(len(shape), generator=generator) * (slack + 1)).long() + window // 2
        inside = (shape > window).long()  # a patch larger than the image stays around the image's middle
        centre = centre.minimum(shape - (window + 1) // 2).maximum(window // 2) * inside + (shape // 2) * (1 - inside)
        corner: list[int] = (centre - torch.tensor(size) // 2).tolist()
        return corner


def crop(x: Tensor, start: Sequence[int], size: Sequence[int]) -> Tensor:
    """The box of the trailing axes that begins at `start`, which may lie outside; zeros stand there."""
    first = x.ndim - len(size)
    amounts: list[int] = []
    for axis, (s, n) in enumerate(zip(start, size, strict=True), start=first):
        low = min(max(s, 0), x.shape[axis])
        inside = max(min(s + n, x.shape[axis]) - low, 0)
        before = min(max(-s, 0), n)
        x = x.narrow(axis, low, inside)
        amounts = [before, n - before - inside, *amounts]
    return F.pad(x, amounts) if any(amounts) else x


def _chances(kinds: Iterable[str]) -> Tensor:
    kinds = list(kinds)
    return torch.tensor([kinds.count(kind) ** -0.5 for kind in kinds], dtype=torch.float64)


def _some_foreground(target: Tensor) -> Tensor:
    """About 2000 places (n, d) of labelled voxels, evenly drawn; all of them where there are fewer than 4000."""
    places = target.nonzero()
    return places[:: max(len(places) // 2000, 1)].clone()
