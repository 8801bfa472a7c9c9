"""What sliding windows cost beside the network: placing, weighting, adding up, dividing, argmax; 2, 25 and 105 classes.

The network is a stand-in that hands out copies of the same smooth answer; its seconds are taken off the wall's. Above
32 classes medseg blends the features of networks that end in a 1-wide convolution, and computes that in its own time.
Memory is the peak beyond what was there before, the stand-in's copy included on every side.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from peers import StandIn, by_stand_in, warm
from side_by_side import Bench, Group, Line, Meter, Trial, compared, extra_mib, in_words, main, of, with_same

from medseg.windows import WindowSpec

SIDES, LOGITS, CLASSES = ("medseg", "MONAI", "nnU-Net"), "medseg, logits", (2, 25, 105)
SIZES = {False: ((192, 192, 240), 96), True: ((48, 48, 64), 32)}
TARGETS = {"MONAI": 0.5, "nnU-Net": 0.2}


def side(name: str, case: dict[str, Any], meter: Meter) -> dict[str, Any]:
    shape, window = SIZES[case["quick"]]
    stand_in = StandIn(case["classes"], (window,) * 3)
    warm(name)
    image = torch.randn(1, *shape)  # of a constant one medseg would compute one window for all
    with meter, torch.inference_mode():
        seconds = by_stand_in(name, stand_in, image, WindowSpec((window,) * 3, 0.5, "gaussian", 1))
    return {"network_seconds": seconds}


def plan(quick: bool) -> list[Group]:
    sides = (SIDES[0], *with_same(*SIDES[1:]))
    return [
        Group(
            {"quick": quick, "classes": classes},
            (*sides, LOGITS) if classes > 32 else sides,
            1 if quick else 3 if classes < 100 else 2,
        )
        for classes in (CLASSES[::2] if quick else CLASSES)
    ]


def stitching_seconds(trial: Trial) -> float:
    return trial.seconds - trial.facts["network_seconds"]


def lines(trials: Sequence[Trial]) -> list[Line]:
    shape, window = SIZES[trials[0].case["quick"]]
    sizes = f"{' x '.join(map(str, shape))}, windows of {window}, overlap 0.5"
    made = []
    for classes in sorted({trial.case["classes"] for trial in trials}):
        mine = of(trials, "medseg", classes=classes)
        for peer in with_same(*TARGETS):
            theirs, words = of(trials, peer, classes=classes), in_words(peer)
            target, figure = TARGETS[peer.partition(",")[0]], f"stitching, C = {classes}"
            made.append(compared(figure, words, target, trials, mine, theirs, stitching_seconds, sizes=sizes))
            logits = of(trials, LOGITS, classes=classes)
            if logits:
                figure += ", a network that cannot be split"
                made.append(compared(figure, words, target, trials, logits, theirs, stitching_seconds, sizes=sizes))
        for peer in TARGETS:
            theirs, figure = of(trials, peer, classes=classes), f"extra memory of stitching, C = {classes}"
            made.append(compared(figure, peer, None, trials, mine, theirs, extra_mib, "MiB", sizes))
    return made


BENCH = Bench(
    "stitching",
    "Stitching alone",
    {name: partial(side, name) for name in (*SIDES, LOGITS)},
    plan,
    lines,
    note="Where a target is missed the profile shows memory traffic: at C = 25 and at C = 105 in logits, half of "
    "medseg's time is the weighing and adding of each window's answer, which every side must do, a fifth the division "
    "as slabs leave, the rest the labels. Blended features are a third as many, and the 1-wide convolution that makes "
    "105 logits of them is counted here.",
)

if __name__ == "__main__":
    main(BENCH)
