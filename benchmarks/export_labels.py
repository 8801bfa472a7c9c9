"""From logits on the network's grid to labels on the source grid: linear interpolation of every class, then argmax.

medseg gets slabs of the size that its windows give, and their making is taken off; its memory counts the slabs, that of
the peers does not count the logits of the whole volume, which they are given. nnU-Net's default export and torch's path
run on the largest case that they finish in time and memory; beyond that they are extrapolated by voxels, and said so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from side_by_side import Bench, Group, Line, Meter, Trial, compared, extra_mib, in_words, main, of, with_same
from torch import Tensor

from medseg.domain.geometry import Geometry
from medseg.inference.resample import labels_on_source
from medseg.windows import Slab
from medseg.windows.stitch import slab_planes

SIDES = ("medseg", "torch", "nnU-Net")
FULL, HALF, QUARTER = (
    ([256, 256, 200], [512, 512, 300]),
    ([128, 128, 100], [256, 256, 150]),
    ([64, 64, 50], [128, 128, 75]),
)
TINY = ([24, 24, 20], [48, 48, 30])
TARGETS = {"torch": 0.33, "nnU-Net": 0.1}
COARSE = {200: 24, 100: 12, 50: 6, 20: 4}  # voxels over which a class changes


def grids(case: dict[str, Any]) -> tuple[Geometry, Geometry]:
    """The network's and the source's, over the same box."""
    few, many = case["grid"], case["source"]
    factor = [n / m for n, m in zip(few, many, strict=True)]
    affine = np.diag([*factor, 1.0])
    affine[:3, 3] = [(f - 1) / 2 for f in factor]
    return Geometry(tuple(few), np.eye(4)), Geometry(tuple(many), affine)


def coarse_logits(case: dict[str, Any]) -> Tensor:
    """(C, *few): smooth ones; a background that holds about half of the image."""
    steps = COARSE[case["grid"][2]]
    generator = torch.Generator().manual_seed(0)
    few = torch.randn(case["classes"], *[max(n // steps, 2) for n in case["grid"]], generator=generator)
    few[0] = few[1:].amax(0) + 0.3 * torch.randn(few.shape[1:], generator=generator)
    return few


def planes(few: Tensor, grid: Sequence[int], start: int, stop: int) -> Tensor:
    """Planes start..stop along the first axis of the logits (C, *grid)."""
    at = torch.linspace(0, few.shape[1] - 1, grid[0])[start:stop]
    below = at.floor().long().clamp(max=few.shape[1] - 2)
    share = (at - below).view(1, -1, 1, 1)
    part = few[:, below] * (1 - share) + few[:, below + 1] * share
    return F.interpolate(part[None], (stop - start, *grid[1:]), mode="trilinear", align_corners=True)[0]


def by_medseg(case: dict[str, Any], meter: Meter) -> np.ndarray:
    few, (grid, source) = coarse_logits(case), grids(case)
    making = [0.0]

    def slabs() -> Iterator[Slab]:
        step = slab_planes(case["classes"], math.prod(grid.shape_ijk[1:]))  # as `stream` cuts them
        for start in range(0, grid.shape_ijk[0], step):
            began = time.perf_counter()
            stop = min(start + step, grid.shape_ijk[0])
            logits = planes(few, grid.shape_ijk, start, stop)
            making[0] += time.perf_counter() - began
            yield Slab(start, stop, 0, logits)

    with meter, torch.inference_mode():
        labels = labels_on_source(slabs(), grid, source)
    meter.seconds -= making[0]
    return labels


def by_torch(case: dict[str, Any], meter: Meter) -> np.ndarray:
    grid, source = grids(case)
    logits = planes(coarse_logits(case), grid.shape_ijk, 0, grid.shape_ijk[0])
    with meter, torch.inference_mode():
        fine = F.interpolate(logits[None], source.shape_ijk, mode="trilinear", align_corners=False)[0]
        return fine.argmax(0).to(torch.uint8).numpy()


def by_nnunet(case: dict[str, Any], meter: Meter) -> np.ndarray:
    """`convert_predicted_logits_to_segmentation_with_correct_shape` with the settings of its default plans."""
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    grid, source = grids(case)
    logits = planes(coarse_logits(case), grid.shape_ijk, 0, grid.shape_ijk[0]).half()  # as its predictor gives them
    labels = LabelManager({"background": 0, **{f"class {n}": n for n in range(1, case["classes"])}}, None)
    resample = partial(resample_data_or_seg_to_shape, is_seg=False, order=1, order_z=0, force_separate_z=None)
    shape = list(source.shape_ijk)
    plans = SimpleNamespace(transpose_forward=[0, 1, 2], transpose_backward=[0, 1, 2])
    configuration = SimpleNamespace(spacing=[1.0, 1.0, 1.0], resampling_fn_probabilities=resample)
    properties = {
        "spacing": list(source.spacing_mm),
        "shape_after_cropping_and_before_resampling": shape,
        "shape_before_cropping": shape,
        "bbox_used_for_cropping": [[0, n] for n in shape],
    }
    with meter:
        return convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, plans, configuration, labels, properties, num_threads_torch=torch.get_num_threads()
        )


def side(name: str, case: dict[str, Any], meter: Meter) -> dict[str, Any]:
    labels = {"medseg": by_medseg, "torch": by_torch, "nnU-Net": by_nnunet}[name](case, meter)
    key = f"{case['classes']}-{case['grid'][0]}"
    np.save(Path(case["folder"]) / f"{name}-{key}.npy", labels)
    mine = Path(case["folder"]) / f"medseg-{key}.npy"
    facts: dict[str, Any] = {"classes": len(np.unique(labels)), "voxels": labels.size}
    if name != "medseg" and mine.exists():
        facts["differing_voxels"] = int((np.load(mine) != labels).sum())
    return facts


def plan(quick: bool) -> list[Group]:
    def group(size: tuple[list[int], list[int]], classes: int, sides: tuple[str, ...], rounds: int) -> Group:
        return Group({"quick": quick, "grid": size[0], "source": size[1], "classes": classes}, sides, rounds)

    if quick:
        return [group(TINY, 5, (SIDES[0], *with_same(*SIDES[1:])), 1)]
    return [
        group(FULL, 25, ("medseg", *with_same("torch")), 3),
        group(FULL, 105, ("medseg",), 3),
        group(HALF, 105, ("medseg", *with_same("torch")), 3),
        group(HALF, 25, ("medseg", *with_same("nnU-Net")), 2),
        group(QUARTER, 105, ("medseg", *with_same("nnU-Net")), 2),
    ]


def lines(trials: Sequence[Trial]) -> list[Line]:
    made, cases = [], {(t.case["classes"], tuple(t.case["source"])) for t in trials}
    for classes, source in sorted(cases, key=lambda c: (c[0], -math.prod(c[1]))):
        mine = of(trials, "medseg", classes=classes, source=list(source))
        sizes = f"{' x '.join(map(str, mine[0].case['grid']))} -> {' x '.join(map(str, source))}"
        for peer in with_same(*TARGETS):
            theirs = of(trials, peer, classes=classes, source=list(source))
            target, factor, words = TARGETS[peer.partition(",")[0]], 1.0, in_words(peer)
            if not theirs and math.prod(source) == math.prod(FULL[1]):
                theirs = of(trials, peer, classes=classes)
                if theirs:
                    factor = math.prod(source) / math.prod(theirs[0].case["source"])
                    words += f", extrapolated from {' x '.join(map(str, theirs[0].case['source']))}"
            if not theirs:
                continue
            figure = f"logits -> labels on the source grid, C = {classes}"
            made.append(compared(figure, words, target, trials, mine, theirs, sizes=sizes, scale=factor))
            if peer not in TARGETS:  # memory is told of peers as they come
                continue
            figure = f"extra memory of the same, C = {classes}"
            target = 0.05 if math.prod(source) == math.prod(FULL[1]) else None  # blocks are of one size, images are not
            made.append(compared(figure, words, target, trials, mine, theirs, extra_mib, "MiB", sizes, factor))
    for peer in SIDES[1:]:
        for theirs in of(trials, peer):
            if "differing_voxels" in theirs.facts and theirs.round == 0:
                voxels, share = (
                    theirs.facts["differing_voxels"],
                    theirs.facts["differing_voxels"] / theirs.facts["voxels"],
                )
                sizes = f"C = {theirs.case['classes']}, {' x '.join(map(str, theirs.case['source']))}"
                made.append(Line("voxels whose labels differ", peer, "-", f"{voxels} ({share:.2g})", sizes=sizes))
    return made


BENCH = Bench(
    "export_labels", "Logits to labels on the source grid", {name: partial(side, name) for name in SIDES}, plan, lines
)

if __name__ == "__main__":
    main(BENCH)
