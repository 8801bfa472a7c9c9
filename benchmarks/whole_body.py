"""105 classes on 512 x 512 x 600, body-like, on its native grid: the whole of `medseg segment`, beside what peers need.

The network is a UNet of three levels with random weights, its head set so that every class wins somewhere. MONAI and
nnU-Net hold the logits of all voxels: they run on as many planes as fit into 24 GiB, sliding windows and argmax alone,
and are extrapolated by planes to the whole, and said so.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from memory import BYTES
from peers import CPU, by, warm
from side_by_side import SAME, Bench, Group, Line, Meter, Trial, compared, extra_mib, main, of

from bundles import crops, medseg_run, organs, scan
from medseg.io.memory import available_bytes
from medseg.windows import WindowSpec

CLASSES = 105
SHAPES, WINDOW, WIDTHS = {False: (512, 512, 600), True: (48, 48, 64)}, {False: 96, True: 24}, (8, 16, 32)
PLANES = {False: {"MONAI": 168, "nnU-Net": 96}, True: {"MONAI": 42, "nnU-Net": 42}}  # whole rows of windows
SIDES = ("medseg", "MONAI", "nnU-Net")
OVERLAP = 0.25


def prepare(folder: Path, quick: bool) -> None:
    window = WINDOW[quick]
    image = scan(SHAPES[quick], 0.8, folder / "scan.nii.gz")
    spec = WindowSpec((window,) * 3, OVERLAP, "gaussian", 1)
    organs(CLASSES, WIDTHS, spec, folder / "whole_body", crops(image, window), None)


def whole(case: dict[str, Any], meter: Meter) -> dict[str, Any]:
    """The command in this process, from the file of the scan to the file of the mask."""
    from medseg.cli.main import main as command
    from medseg.io.nifti import read_nifti_mask

    folder = Path(case["folder"])
    with TemporaryDirectory() as place:
        mask = Path(place) / "mask.nii.gz"
        _, module, *arguments = medseg_run(folder / "whole_body", [folder / "scan.nii.gz"], mask, "--precision", "fp32")
        sys.argv = [module, *arguments]
        with meter:
            try:
                command()
            except SystemExit as stop:
                if stop.code:
                    raise
        labels, _ = read_nifti_mask(mask)
    return {"classes": len(np.unique(labels)), "shape": list(labels.shape)}


def sliding(name: str, case: dict[str, Any], meter: Meter) -> dict[str, Any]:
    """Windows and argmax on the first planes."""
    from medseg.bundle.store import find_bundle
    from medseg.bundle.weights import load_network
    from medseg.io.images import read_image

    folder, planes, window = Path(case["folder"]), case["planes"], WINDOW[case["quick"]]
    network = load_network(find_bundle(str(folder / "whole_body"))).eval()
    voxels = read_image(folder / "scan.nii.gz").voxels[..., :planes].astype(np.float32)
    image = torch.from_numpy(voxels)
    image.sub_(image.mean()).div_(image.std())
    need, there = BYTES[name] * math.prod(image.shape) * CLASSES, available_bytes()
    if there is not None and need > there:
        raise SystemExit(f"{planes} planes need about {need / 2**30:.0f} GiB, {there / 2**30:.0f} GiB are free")
    warm(name)
    with meter, torch.inference_mode():
        labels = by(name, network.to(CPU), image, WindowSpec((window,) * 3, OVERLAP, "gaussian", 1), CLASSES)
    return {"classes": len(np.unique(labels)), "shape": list(labels.shape)}


def plan(quick: bool) -> list[Group]:
    return [
        Group({"quick": quick}, ("medseg",), 1),
        *(Group({"quick": quick, "planes": planes}, (peer + SAME,), 1) for peer, planes in PLANES[quick].items()),
    ]


def lines(trials: Sequence[Trial]) -> list[Line]:
    quick = trials[0].case["quick"]
    shape, mine = SHAPES[quick], of(trials, "medseg")
    sizes = f"{' x '.join(map(str, shape))}, windows of {WINDOW[quick]}, widths {'-'.join(map(str, WIDTHS))}"
    figure = f"{CLASSES} classes, whole `segment` run"
    if mine[0].error:
        return [Line(figure, "-", "-", f"not measured: {mine[0].error}", sizes=sizes)]
    found, gib = mine[0].facts["classes"], mine[0].peak_mib / 1024
    made = [
        Line(
            figure, "-", "within 24 GiB", f"{gib:.2f} GiB at most, {mine[0].seconds:.0f} s", sizes=sizes, met=gib < 24
        ),
        Line("classes in the mask", "-", str(CLASSES), str(found), sizes=sizes, met=found == CLASSES),
    ]
    for peer, planes in PLANES[quick].items():
        theirs = of(trials, peer + SAME)
        words = f"{peer}'s sliding window, same allocator, extrapolated from {planes} planes"
        factor = shape[2] / planes
        made.append(compared("extra peak memory", words, None, trials, mine, theirs, extra_mib, "MiB", sizes, factor))
        made.append(compared("seconds", words, None, trials, mine, theirs, sizes=sizes, scale=factor))
    return made


BENCH = Bench(
    "whole_body",
    "A whole body, 105 classes",
    {"medseg": whole, **{name: partial(sliding, name) for name in SIDES[1:]}},
    plan,
    lines,
    prepare,
    note="Weights are random: the mask means nothing, only what it costs. Of windows that hold nothing but air medseg "
    "computes one. One trial each.",
)

if __name__ == "__main__":
    main(BENCH)
