"""The plan that a data set's fingerprint and the device's memory suggest, and the reason of every choice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import torch

from medseg.data.augment import AugmentSpec
from medseg.data.dataset import BatchSpec
from medseg.data.fingerprint import Fingerprint
from medseg.data.preprocess import PreprocessSpec
from medseg.domain.manifest import Manifest
from medseg.engines.plan import OptimiserSpec, TrainSpec, target_classes
from medseg.engines.pretrained import Pretrained
from medseg.losses import LossSpec
from medseg.networks.build import MONAI_NETWORKS, NetworkSpec
from medseg.windows import WindowSpec

# Voxels of a patch that a step can afford, by device and number of axes; measured on two CPU cores and one H100-class
# GPU's memory: a CPU step of 8 such patches takes about a second and a half.
_PATCH_VOXELS = {("cpu", 2): 192**2, ("cpu", 3): 32 * 48 * 32, ("cuda", 2): 512**2, ("cuda", 3): 128**3}
_WIDEST = {2: 256, 3: 192}
_MOST_LEVELS = {2: 6, 3: 5}
_LEAST_COARSEST = 2, 4  # voxels along the shortest and the longest edge; hippocampi gained nothing from a coarser level
# Hippocampi, 13.5 voxels wide, lost 0.007 to 0.009 Dice to patches of two. Nuclei, 8.3 pixels wide, won by them after
# five minutes of one core: IoU 0.860 against 0.854, AP@0.5 0.745 against 0.738.
_SMALL_PIECE = 16.0
_FEW_CASES = 2000
_MOST_MIN_VOXELS = 50
_STEPS = {2: 8000, 3: 4000}
_BYTES_A_VALUE = 4 * 14  # of a finest level's channel: what forward keeps and backward makes, all levels counted


@dataclass(frozen=True)
class Device:
    """What a plan needs to know of the machine: "cpu" or "cuda", and how much memory a training may take."""

    kind: str
    memory_bytes: int


@dataclass(frozen=True)
class Suggestion:
    """A plan, for each choice (by its key in the plan) the reason in words, and the data set they follow from."""

    spec: TrainSpec
    reasons: dict[str, str]
    seen: Fingerprint


def suggest(
    manifest: Manifest,
    seen: Fingerprint,
    device: Device,
    preset: str = "unet",
    steps: int | None = None,
    seed: int = 0,
    pretrained: Pretrained | None = None,
) -> Suggestion:
    """The plan to train with by default; every part of it can be replaced before `fit` takes it.

    pretrained: what it starts from, in place of a network of that preset with random weights.
    """
    reasons: dict[str, str] = {}
    if pretrained is None:
        preprocess = _preprocess(manifest, seen, reasons)
        patch = _patch(seen, device, preset, reasons)
        size = _size(seen, device, patch, reasons)
        network = _network(manifest, seen, preset, patch, size, reasons)
    else:
        reasons["preprocess"] = reasons["network"] = (
            f"as {pretrained.name} has it, whose weights the training starts from"
        )
        preprocess = pretrained.preprocess
        network = replace(pretrained.network, out_channels=target_classes(manifest))
        size = _size(seen, device, (network.options or {}).get("patch", 1), reasons)
    batch = _batch(seen, size, network, device, reasons)
    steps = steps or _steps(seen, pretrained, reasons)
    spec = TrainSpec(
        network=network,
        preprocess=preprocess,
        window=_window(manifest, seen, size, reasons),
        batch=batch,
        augment=_augment(manifest, seen, reasons),
        loss=LossSpec(),
        optimiser=optimiser_of(steps, _rate(pretrained, reasons)),
        steps=steps,
        epoch_steps=min(TrainSpec.epoch_steps, -(-steps // 4)),  # so that a short training is kept on its way too
        seed=seed,
        min_voxels=_min_voxels(seen, reasons),
        pretrained="" if pretrained is None else pretrained.sha256,
    )
    return Suggestion(spec, reasons, seen)


def _preprocess(manifest: Manifest, seen: Fingerprint, reasons: dict[str, str]) -> PreprocessSpec:
    if seen.spacing_mm is not None:
        spacing = " x ".join(f"{mm:g}" for mm in seen.spacing_mm)
        reasons["preprocess.spacing_mm"] = f"the median spacing of {seen.sampled} cases is {spacing} mm"
    if manifest.modality == "CT":
        low, high = seen.intensity[:2]
        reasons["preprocess.normalise"] = f"CT is calibrated: the labels lie within {low:g} to {high:g} HU"
        return PreprocessSpec(manifest.channels, seen.spacing_mm, "range", (low, high if high > low else low + 1))
    kind = "zscore" if manifest.spatial_dims == 3 else "percentile"
    reasons["preprocess.normalise"] = (
        f"{manifest.modality} is not calibrated (99th percentiles differ {seen.intensity_spread:g}-fold): "
        + ("each volume by its mean and deviation" if kind == "zscore" else "each picture by its percentiles")
    )
    return PreprocessSpec(manifest.channels, seen.spacing_mm, "zscore" if kind == "zscore" else "percentile")


def _patch(seen: Fingerprint, device: Device, preset: str, reasons: dict[str, str]) -> int:
    small = seen.piece_voxels[0]
    if preset not in ("unet", "unetpp"):
        return 1
    patch = 1
    if device.kind != "cpu":
        reason = "a GPU affords the full resolution"
    elif not _is_fine(seen):
        patch = 2
        reason = (
            f"nine of ten pieces are wider than {small:g} voxels, so a finest level of 2-voxel patches tells them, at "
            f"a {2**seen.spatial_dims}th of the cost"
        )
    elif seen.spatial_dims == 2:
        patch = 2
        reason = (
            f"a tenth of the pieces is at most {small:g} pixels wide: a finest level of 2-pixel patches, twice as "
            "wide, learns them faster than a narrow one of single pixels"
        )
    else:
        reason = f"a tenth of the pieces is at most {small:g} voxels wide: they need every voxel"
    reasons["network.options.patch"] = reason
    return patch


def _is_fine(seen: Fingerprint) -> bool:
    """Whether more than a tenth of the labelled pieces are small."""
    return seen.piece_voxels[0] < _SMALL_PIECE


def _size(seen: Fingerprint, device: Device, patch: int, reasons: dict[str, str]) -> tuple[int, ...]:
    dims = seen.spatial_dims
    budget = _PATCH_VOXELS[("cpu" if device.kind == "cpu" else "cuda", dims)]
    if dims == 2 and not _is_fine(seen):
        budget *= patch**2  # whole slices taught more a second than crops: 0.56 against 0.51 Dice of brain tumours
    unit = 8 * patch
    size = [max(-(-n // unit) * unit, unit) for n in seen.shape]
    while prod(size) > budget and max(size) > unit:
        most = max((a for a in range(dims) if size[a] > unit), key=lambda a: size[a] / seen.shape[a])
        size[most] -= unit
    reasons["batch.size"] = (
        f"the median image of {_by(seen.shape)} voxels, cut evenly to the {budget} voxels that a step "
        f"affords ({device.kind})"
    )
    return tuple(size)


def _network(
    manifest: Manifest, seen: Fingerprint, preset: str, patch: int, size: tuple[int, ...], reasons: dict[str, str]
) -> NetworkSpec:
    dims = seen.spatial_dims
    if preset in MONAI_NETWORKS:
        return NetworkSpec(preset, dims, manifest.channels, target_classes(manifest))
    width = 16 * (patch if dims == 3 or _is_fine(seen) else 1)
    least, least_longest = _LEAST_COARSEST
    widths, smallest, largest = [width], min(size) // patch, max(size) // patch
    while len(widths) < _MOST_LEVELS[dims] and smallest // 2 >= least and largest // 2 >= least_longest:
        smallest, largest = smallest // 2, largest // 2
        widths.append(min(2 * widths[-1], _WIDEST[dims]))
    reasons["network.widths"] = (
        f"{len(widths)} levels leave {smallest} voxels of the patch's shortest edge; doubled from {width} to at most "
        f"{_WIDEST[dims]}"
    )
    options = {"patch": patch} if patch > 1 else None
    return NetworkSpec(preset, dims, manifest.channels, target_classes(manifest), tuple(widths), options)


def _batch(
    seen: Fingerprint, size: tuple[int, ...], network: NetworkSpec, device: Device, reasons: dict[str, str]
) -> BatchSpec:
    width = network.widths[0] if network.widths else 32
    coarser = (network.options or {}).get("patch", 1) ** seen.spatial_dims
    one = prod(size) // coarser * width * _BYTES_A_VALUE
    wanted = 8 if seen.spatial_dims == 3 else 6 if device.kind == "cpu" else 12
    count = int(max(2, min(wanted, device.memory_bytes // 2 // one)))
    reasons["batch.count"] = (
        f"a patch takes about {one / 2**20:.0f} MiB in training; {count} fit half of "
        f"{device.memory_bytes / 2**30:.0f} GiB"
    )
    share = 0.5 if seen.labelled_share < 0.02 else 0.33
    reasons["batch.foreground"] = f"labels fill {100 * seen.labelled_share:.1f} % of the images"
    return BatchSpec(size, count, share)


def _window(manifest: Manifest, seen: Fingerprint, size: tuple[int, ...], reasons: dict[str, str]) -> WindowSpec:
    wide, reason = size, "that of a patch"
    if manifest.spatial_dims == 2 and any(n < whole for n, whole in zip(size, seen.shape, strict=True)):
        wide = tuple(n * 4 // 3 for n in size)
        reason = f"pictures are larger than a patch, {_by(seen.shape)}: windows a third larger, so fewer of them"
    reasons["window.size"] = reason
    return WindowSpec(wide, overlap=0.5, weighting="gaussian", batch=4)


def _augment(manifest: Manifest, seen: Fingerprint, reasons: dict[str, str]) -> AugmentSpec:
    dims = manifest.spatial_dims
    sided = [name for name in manifest.labels.names if {"left", "right"} & set(name.lower().split())]
    if manifest.modality == "microscopy":
        spec = AugmentSpec((0, 1, 2)[:dims], 180.0, 1.6, 2.0, 0.7, 0.2)
        why = "microscopy has no up and down and many magnifications"
    elif dims == 2:
        spec = AugmentSpec((0,), 30.0, 1.4, 2.0, 0.7, 0.2)
        why = "slices keep their up and down"
    else:
        spec = AugmentSpec((0,), 20.0, 1.25, 1.5, 0.6, 0.15)
        why = "volumes keep their axes"
    if sided:
        spec = replace(spec, flip_axes=())
        why += f"; {sided[0]} must not become its mirror image"
    if seen.cases > _FEW_CASES:
        spec = replace(spec, spatial_chance=spec.spatial_chance / 2, intensity_chance=spec.intensity_chance / 2)
        why += f"; half as often, for {seen.cases} cases"
    else:
        why += f"; often, for only {seen.cases} cases"
    reasons["augment"] = why
    return spec


def _rate(pretrained: Pretrained | None, reasons: dict[str, str]) -> float:
    if pretrained is None:
        return OptimiserSpec.rate
    reasons["optimiser.rate"] = "a quarter of that from random weights, so that what was learned lasts"
    return OptimiserSpec.rate / 4


def optimiser_of(steps: int, rate: float) -> OptimiserSpec:
    """Short trainings rise faster and remember less, so that their average is not of the first weights."""
    return OptimiserSpec(
        rate, weight_decay=2e-2, warmup_steps=min(100, max(steps // 10, 1)), ema=min(0.998, max(0.5, 1 - 3 / steps))
    )


def _steps(seen: Fingerprint, pretrained: Pretrained | None, reasons: dict[str, str]) -> int:
    from_nothing = _STEPS[seen.spatial_dims]
    if pretrained is None:
        reasons["steps"] = (
            "the rate falls to nearly nothing by then; about two hours on two CPU cores, minutes on a GPU"
        )
        return from_nothing
    reasons["steps"] = "a quarter of those from random weights"
    return from_nothing // 4


def _min_voxels(seen: Fingerprint, reasons: dict[str, str]) -> int:
    least = min(seen.least_piece, _MOST_MIN_VOXELS)
    reasons["min_voxels"] = (
        f"99 of 100 labelled pieces have at least {seen.least_piece} voxels; smaller specks are dropped"
    )
    return least


def _by(numbers: tuple[int, ...]) -> str:
    return " x ".join(map(str, numbers))


def describe_device(device: torch.device, cpu_bytes: int) -> Device:
    """The device of torch as a plan sees it; cpu_bytes: the memory of the machine."""
    if device.type == "cuda":
        return Device("cuda", int(torch.cuda.get_device_properties(device).total_memory))
    return Device("cpu", cpu_bytes)
