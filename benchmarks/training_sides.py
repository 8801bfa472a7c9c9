"""One training in a process of its own: by medseg, or MONAI's own way, as it comes or equal. Prints one JSON line.

Both sides get the same preprocessed cases in memory, network and first weights, batch and patch size, loss, optimiser,
rates, clipping and moving average, and augmentations of the same list, chances and strengths. Timed is what stands
between two optimiser steps: drawing and augmenting the batch, network, loss, backward, optimiser, average. Validation
is by the same function for both, and not timed.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from medseg.cli.memory import keep_freed_memory
from medseg.data.dataset import Sample, load_samples
from medseg.domain.spec import from_plain
from medseg.engines import evaluator, trainer
from medseg.engines.plan import TrainSpec, to_target
from medseg.io.manifest import data_root, read_manifest

CPU = torch.device("cpu")


@dataclass
class Result:
    """Seconds of each step; validation Dice after so many steps; peak memory of the process in MiB."""

    seconds: list[float]
    dice: list[tuple[int, float]]
    peak_mib: float = 0.0


def by_medseg(spec: TrainSpec, training: list[Sample], validation: list[Sample]) -> Result:
    result, last = Result([], []), [time.perf_counter()]

    def report(progress: trainer.Progress) -> None:
        now = time.perf_counter()
        if progress.scores is None:
            result.seconds.append(now - last[0])
        else:
            result.dice.append((progress.step, sum(progress.scores) / len(progress.scores)))
        last[0] = now

    with tempfile.TemporaryDirectory() as folder:
        trainer.fit(spec, training, validation, Path(folder), "0" * 64, CPU, report)
    return result


def by_monai(spec: TrainSpec, training: list[Sample], validation: list[Sample]) -> Result:
    from ignite.engine import Events
    from ignite.handlers import EMAHandler
    from monai.data import CacheDataset, DataLoader
    from monai.engines import SupervisedTrainer
    from monai.engines.utils import IterationEvents
    from monai.losses import DiceCELoss
    from torch.utils.data import RandomSampler

    from medseg.engines.steps import learning_rate
    from medseg.networks.build import build_network

    torch.manual_seed(spec.seed)
    network = build_network(spec.network)
    optimiser = torch.optim.AdamW(network.parameters(), spec.optimiser.rate, weight_decay=spec.optimiser.weight_decay)
    data = CacheDataset([_as_dictionary(sample) for sample in training], _transforms(spec), progress=False)
    data.transform.set_random_state(spec.seed)
    sampler = RandomSampler(data, replacement=True, num_samples=spec.steps * spec.batch.count)
    engine = SupervisedTrainer(
        device=CPU,
        max_epochs=1,
        train_data_loader=DataLoader(data, batch_size=spec.batch.count, sampler=sampler, num_workers=0),
        network=network,
        optimizer=optimiser,
        loss_function=DiceCELoss(
            include_background=False, to_onehot_y=True, softmax=True, batch=True, lambda_dice=0.5, lambda_ce=0.5
        ),
        decollate=False,
        optim_set_to_none=True,
    )
    average = EMAHandler(network, momentum=1 - spec.optimiser.ema)
    average.attach(engine)
    result, last = Result([], []), [time.perf_counter()]

    @engine.on(Events.ITERATION_STARTED)
    def set_rate() -> None:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(spec.optimiser, engine.state.iteration, spec.steps)

    @engine.on(IterationEvents.BACKWARD_COMPLETED)
    def clip() -> None:
        torch.nn.utils.clip_grad_norm_(network.parameters(), spec.optimiser.clip_norm)

    @engine.on(Events.ITERATION_COMPLETED)
    def measure() -> None:
        result.seconds.append(time.perf_counter() - last[0])
        step = engine.state.iteration
        if step % spec.epoch_steps == 0 or step == spec.steps:
            scores = evaluator.score(average.ema_model, validation, spec.window, CPU, "fp32", spec.score)
            result.dice.append((step, sum(scores) / len(scores)))
        last[0] = time.perf_counter()

    last[0] = time.perf_counter()
    engine.run()
    return result


def _as_dictionary(sample: Sample) -> dict[str, object]:
    from monai.data.meta_tensor import MetaTensor

    affine = torch.eye(4, dtype=torch.float64)
    return {"image": MetaTensor(sample.image, affine=affine), "label": MetaTensor(sample.target[None], affine=affine)}


def _transforms(spec: TrainSpec):
    """As medseg's: patches with a margin, flips, rotation and zoom, smooth displacement, then intensities."""
    from monai import transforms as t

    both, size, augment = ["image", "label"], spec.batch.size, spec.augment
    modes, chance = ["bilinear", "nearest"], augment.intensity_chance
    source = [n + 2 * (n // 6) for n in size]
    angle, zoom = augment.rotation_degrees * torch.pi / 180, augment.scale
    foreground = {"fg_indices_key": "label_fg_indices", "bg_indices_key": "label_bg_indices"}
    share = {"pos": spec.batch.foreground, "neg": 1 - spec.batch.foreground}
    spatial = {"spatial_size": size, "prob": augment.spatial_chance}
    flips = [t.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in augment.flip_axes]
    return t.Compose(
        [
            t.SpatialPadd(both, source),
            t.FgBgToIndicesd("label"),
            t.RandCropByPosNegLabeld(both, "label", source, **share, **foreground),
            t.DeleteItemsd(["label_fg_indices", "label_bg_indices"]),
            *flips,
            t.RandAffined(
                both,
                rotate_range=[angle] * 3,
                scale_range=[(1 / zoom - 1, zoom - 1)] * 3,
                mode=modes,
                padding_mode="zeros",
                **spatial,
            ),
            t.RandSmoothDeformd(
                both,
                rand_size=[5] * 3,
                def_range=2 * augment.elastic_voxels / min(size),
                field_mode="trilinear",
                grid_mode=modes,
                grid_padding_mode="zeros",
                **spatial,
            ),
            t.RandSimulateLowResolutiond("image", prob=chance, zoom_range=(0.5, 0.83)),
            t.RandGaussianSmoothd("image", *[(0.5, 1.0)] * 3, prob=chance),
            t.RandScaleIntensityFixedMeand("image", factors=(-0.3, 0.4), prob=chance),
            t.RandShiftIntensityd("image", offsets=0.3, prob=chance),
            t.RandAdjustContrastd("image", gamma=(0.67, 1.49), prob=chance),
            t.RandGaussianNoised("image", std=0.3, prob=chance),
        ]
    )


SIDES: dict[str, Callable[[TrainSpec, list[Sample], list[Sample]], Result]] = {"medseg": by_medseg, "MONAI": by_monai}


def main(side: str, way: str, manifest: str, plan: str) -> None:
    if side == "medseg" or way == "equal":
        keep_freed_memory()  # as `medseg train` does
    described, spec = read_manifest(Path(manifest)), from_plain(TrainSpec, json.loads(Path(plan).read_text()))
    if way == "equal":
        spec = replace(spec, precision="fp32")
    root = data_root(described, Path(manifest), None)
    training, validation = (
        load_samples(described, described.part(part), root, spec.preprocess, to_target(described))
        for part in ("train", "validation")
    )
    result = SIDES[side](spec, training, validation[: spec.validation_cases])
    result.peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main(*sys.argv[1:])
