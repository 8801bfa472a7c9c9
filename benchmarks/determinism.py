"""The same settings give the same bytes; threads 1 to 4 and batches 1 to 8 in fp32 give the same labels but for ties.

Seconds by threads are told too.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import body, by_medseg, seeded_unet
from side_by_side import Bench, Group, Line, Meter, Trial, main, of

from medseg.backends.eager import eager
from medseg.windows import WindowSpec, collect, stream

CLASSES = 25
SIZES = {False: ((96, 96, 136), 64, (8, 16, 32, 64)), True: ((24, 24, 32), 16, (4, 8))}
SETTINGS = [(1, 1), (2, 1), (3, 1), (4, 1), (1, 2), (1, 4), (1, 8), (2, 8)]  # threads, batch; the first is the measure


def side(case: dict[str, Any], meter: Meter) -> dict[str, Any]:
    shape, window, widths = SIZES[case["quick"]]
    torch.set_num_threads(case["threads"])
    image = body(shape)
    with torch.random.fork_rng(devices=[]):
        network = seeded_unet(CLASSES, widths, image[None, :, :window, :window, :window])
    run = eager(network, torch.device("cpu"), "fp32")
    spec = WindowSpec((window,) * 3, 0.5, "gaussian", case["batch"])
    with meter:
        labels = by_medseg(run, image, spec)
    first = Path(case["folder"]) / "first.npy"
    if not first.exists():
        np.save(first, labels)
    differing = np.load(first) != labels
    gap = 0.0
    if differing.any():
        logits = collect(stream(run, image, spec))[:, torch.from_numpy(differing)]
        best, second = logits.topk(2, 0).values
        gap = float((best - second).max() / logits.std())
    return {
        "sha256": sha256(labels.tobytes()).hexdigest(),
        "differing_voxels": int(differing.sum()),
        "gap": gap,
        "voxels": labels.size,
        "classes": len(np.unique(labels)),
    }


def plan(quick: bool) -> list[Group]:
    settings = SETTINGS[:2] + SETTINGS[-1:] if quick else SETTINGS
    return [Group({"quick": quick, "threads": threads, "batch": batch}, ("medseg",), 2) for threads, batch in settings]


def median_seconds(trials: Sequence[Trial], threads: int, batch: int) -> float:
    return statistics.median(t.seconds for t in of(trials, "medseg", threads=threads, batch=batch))


def lines(trials: Sequence[Trial]) -> list[Line]:
    shape, window, widths = SIZES[trials[0].case["quick"]]
    sizes = f"{' x '.join(map(str, shape))}, windows of {window}, overlap 0.5, widths {'-'.join(map(str, widths))}"
    settings = list(dict.fromkeys((t.case["threads"], t.case["batch"]) for t in trials))
    if errors := [t.error for t in trials if t.error]:
        return [Line("determinism", "-", "-", f"not measured: {errors[0]}", sizes=sizes)]
    twice = [of(trials, "medseg", threads=n, batch=batch) for n, batch in settings]
    stable = sum(len({t.facts["sha256"] for t in two}) == 1 for two in twice)
    most = max(t.facts["differing_voxels"] / t.facts["voxels"] for t in trials)
    gap = max(t.facts["gap"] for t in trials)
    made = [
        Line(
            "same settings, same bytes", "itself, run twice", "all", f"{stable} of {len(twice)} settings", sizes=sizes,
            met=stable == len(twice),
        ),
        Line(
            "labels at threads 1 to 4, batches 1 to 8", "1 thread, batch 1", "<= 1e-6 of voxels differ",
            f"{most:.2g} at most", sizes=sizes, met=most <= 1e-6,
        ),
        Line(
            "their best and second logits", "the logits' deviation", "-", f"{gap:.2g} apart at most", sizes=sizes,
        ),
    ]  # fmt: skip
    for name, among in (("thread", [s for s in settings if s[1] == 1]), ("batch", [s for s in settings if s[0] == 1])):
        times = [
            f"{batch if name == 'batch' else threads}: {median_seconds(trials, threads, batch):.3g} s"
            for threads, batch in among
        ]
        made.append(Line(f"seconds by {name}", "-", "-", ", ".join(times), sizes=sizes))
    return made


BENCH = Bench("determinism", "Determinism", {"medseg": side}, plan, lines)

if __name__ == "__main__":
    main(BENCH)
