"""The sliding window on a GPU: medseg in half precision and slabs beside MONAI with autocast and nnU-Net.

Accumulators are on the device on every side. Without CUDA nothing is measured, and the table says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import body, by, seeded_unet, warm
from side_by_side import Bench, Group, Line, Meter, Trial, compared, main, of
from torch import Tensor

from medseg.backends.eager import eager
from medseg.backends.precision import choose_precision
from medseg.windows import WindowSpec

SIDES = ("medseg", "MONAI", "nnU-Net")
CLASSES, WINDOW, WIDTHS = 25, 96, (32, 64, 128, 256)
SHAPE = (240, 240, 312)
NO_CUDA = "this machine has no CUDA"


def side(name: str, case: dict[str, Any], meter: Meter) -> dict[str, Any]:
    device = torch.device("cuda")
    precision = choose_precision("auto", device)
    image = body(SHAPE)
    network: Any = seeded_unet(CLASSES, WIDTHS, image[None, :, :WINDOW, :WINDOW, :WINDOW])
    run: Callable[[Tensor], Tensor] = network.to(device)
    if name == "medseg":
        run = eager(network, device, precision)
    elif name == "MONAI":
        inner, kind = run, {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]

        def run(windows: Tensor) -> Tensor:
            with torch.autocast("cuda", kind):
                return inner(windows)

    warm(name)
    spec = WindowSpec((WINDOW,) * 3, 0.25, "gaussian", 4)
    on_device = image.to(device)
    for _ in range(2):  # the first lets libraries choose their kernels
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        with meter, torch.inference_mode():
            labels = by(name, run, on_device, spec, CLASSES)
            torch.cuda.synchronize()
    np.save(Path(case["folder"]) / f"{name}.npy", labels)
    mine = Path(case["folder"]) / "medseg.npy"
    same = float((np.load(mine) == labels).mean()) if mine.exists() else None
    return {"gpu_mib": torch.cuda.max_memory_allocated() / 2**20, "same_labels": same, "precision": precision}


def plan(quick: bool) -> list[Group]:
    return [Group({"quick": quick}, SIDES, 1 if quick else 3)] if torch.cuda.is_available() else []


def lines(trials: Sequence[Trial]) -> list[Line]:
    sizes = f"{' x '.join(map(str, SHAPE))}, windows of {WINDOW}, widths {'-'.join(map(str, WIDTHS))}"
    figure = f"sliding window on a GPU, C = {CLASSES}"
    if not trials:
        return [Line(figure, peer, "-", f"not measured: {NO_CUDA}", sizes=sizes) for peer in SIDES[1:]]
    made, mine = [], of(trials, "medseg")
    for peer in SIDES[1:]:
        theirs = of(trials, peer)
        made.append(compared(figure, peer, None, trials, mine, theirs, sizes=sizes))
        memory = "peak memory of the GPU"
        made.append(compared(memory, peer, None, trials, mine, theirs, lambda t: t.facts["gpu_mib"], "MiB", sizes))
    return made


BENCH = Bench("on_cuda", "On a GPU", {name: partial(side, name) for name in SIDES}, plan, lines)

if __name__ == "__main__":
    main(BENCH)
