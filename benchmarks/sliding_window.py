"""Sliding windows of a 3-D UNet with 25 classes, fp32, same weights and windows: medseg, MONAI and nnU-Net.

The lengths make nnU-Net's even steps and MONAI's fall on the same places. Threads: all cores, and one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import numpy as np
import torch
from peers import Timed, body, by, seeded_unet, warm
from side_by_side import SAME, Bench, Group, Line, Meter, Trial, compared, cores, in_words, main, of, with_same

from medseg.windows import WindowSpec

CLASSES, OVERLAP = 25, 0.25
SIDES = ("medseg", "MONAI", "nnU-Net")
SIZES = {False: ((168, 168, 240), 96, (16, 32, 64, 128)), True: ((40, 40, 56), 32, (4, 8))}


def side(name: str, case: dict[str, Any], meter: Meter) -> dict[str, Any]:
    shape, window, widths = SIZES[case["quick"]]
    image = body(shape)
    network = Timed(seeded_unet(CLASSES, widths, image[None, :, :window, :window, :window]))
    spec = WindowSpec((window,) * 3, OVERLAP, "gaussian", 1)
    warm(name)
    before = getrusage(RUSAGE_SELF).ru_minflt
    with meter, torch.inference_mode():
        labels = by(name, network, image, spec, CLASSES)
    faults = getrusage(RUSAGE_SELF).ru_minflt - before
    np.save(Path(case["folder"]) / f"{name}.npy", labels)
    mine = Path(case["folder"]) / "medseg.npy"
    facts = {"classes": len(np.unique(labels)), "windows": network.passes}
    facts |= {"network_seconds": network.seconds, "page_faults": faults}
    if name != "medseg" and mine.exists():
        facts["differing_voxels"] = int((np.load(mine) != labels).sum())
        facts["voxels"] = labels.size
    return facts


def plan(quick: bool) -> list[Group]:
    rounds = 1 if quick else 3
    case = {"quick": quick, "threads": cores()}
    return [
        Group(case, (SIDES[0], *with_same(*SIDES[1:])), rounds),
        Group({**case, "threads": 1}, (SIDES[0], SIDES[1] + SAME), 1),
    ]


def lines(trials: Sequence[Trial]) -> list[Line]:
    shape, window, widths = SIZES[trials[0].case["quick"]]
    sizes = f"{' x '.join(map(str, shape))}, windows of {window}, widths {'-'.join(map(str, widths))}"
    made = []
    threads = trials[0].case["threads"]
    mine = of(trials, "medseg", threads=threads)
    for peer in with_same(*SIDES[1:]):
        theirs, target = of(trials, peer, threads=threads), 1.0 if peer.endswith(SAME) else 0.5
        figure = f"sliding window, C = {CLASSES}, fp32"
        made.append(compared(figure, in_words(peer), target, trials, mine, theirs, sizes=sizes))
    for peer in with_same(*SIDES[1:]):
        theirs = of(trials, peer, threads=threads)
        for figure, value, unit in (("of that, the network", _network_seconds, "s"), ("page faults", _faults, "")):
            made.append(compared(figure, in_words(peer), None, trials, mine, theirs, value, unit, sizes))
    for peer in SIDES[1:]:
        theirs = [t for t in of(trials, peer) if "differing_voxels" in t.facts]
        if theirs:
            most = max(t.facts["differing_voxels"] for t in theirs)
            share = most / theirs[0].facts["voxels"]
            target = "<= 1e-6, ties" if peer == "MONAI" else "-"
            measured = f"{most} of {theirs[0].facts['voxels']} ({share:.2g})"
            met = share <= 1e-6 if peer == "MONAI" else None
            made.append(Line("voxels whose labels differ", peer, target, measured, sizes=sizes, met=met))
    one = [of(trials, name, threads=1) for name in (SIDES[0], SIDES[1] + SAME)]
    made.append(compared("the same on 1 thread", in_words(SIDES[1] + SAME), None, trials, *one, sizes=sizes))
    return made


def _network_seconds(trial: Trial) -> float:
    return trial.facts["network_seconds"]


def _faults(trial: Trial) -> float:
    return trial.facts["page_faults"]


BENCH = Bench(
    "sliding_window",
    "Sliding windows, eager fp32",
    {name: partial(side, name) for name in SIDES},
    plan,
    lines,
    note="With allocator and precision equal all sides wait for the same network; the gain left is memory. nnU-Net "
    "adds logits up in half precision and cuts its Gaussian off at four deviations, so near-tied labels differ; the "
    "random weights make many of them. Against MONAI the sums are of the same windows in fp32, rounded in another "
    "order. The profile: of each side's time nearly all is the network, the same network for all. As they come, "
    "peers lose a third or more of it to page faults, memory that is given back and asked for again at every layer; "
    "with kept memory a twentieth of the faults is left, and the network is the rest. What a fault costs is the "
    "machine's, and with it the ratio as they come moves around one half.",
)

if __name__ == "__main__":
    main(BENCH)
