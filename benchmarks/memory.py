"""Peak memory of sliding windows: 105 classes on 287 x 287 x 397, at twice the length, over lengths and over classes.

The network is a stand-in, so that all there is to hold is the image, one window's answer and what each side keeps.
A side is not started where what it must hold would not fit; the line says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from peers import StandIn, by_stand_in, warm
from side_by_side import Bench, Group, Line, Meter, Trial, compared, extra_mib, main, of

from medseg.io.memory import available_bytes
from medseg.windows import WindowSpec

SIDES = ("medseg", "MONAI", "nnU-Net")
ACROSS = {False: (287, 287), True: (48, 48)}
LENGTHS = {False: (100, 200, 397, 794), True: (40, 80, 160)}
WINDOW = {False: 96, True: 32}
CLASSES = (2, 25, 105)
LOGITS = "medseg, logits"
BYTES = {
    "medseg": 0,
    LOGITS: 0,
    "MONAI": 4.3,
    "nnU-Net": 5.3,
}  # of a voxel and class that are held at once, as measured where it fits


def side(name: str, case: dict[str, Any], meter: Meter) -> dict[str, Any]:
    shape, classes, window = case["shape"], case["classes"], WINDOW[case["quick"]]
    stand_in = StandIn(classes, (window,) * 3)
    warm(name)
    need, there = BYTES[name] * math.prod(shape) * classes, available_bytes()
    if there is not None and need > there:
        raise SystemExit(f"needs about {need / 2**30:.0f} GiB, {there / 2**30:.0f} GiB are free")
    image = torch.randn(1, *shape)
    with meter, torch.inference_mode():
        by_stand_in(name, stand_in, image, WindowSpec((window,) * 3, 0.25, "gaussian", 1))
    return {}


def plan(quick: bool) -> list[Group]:
    lengths, across = LENGTHS[quick], ACROSS[quick]
    shapes = [([*across, n], 105) for n in lengths] + [([*across, lengths[1]], c) for c in CLASSES[:2]]
    return [
        Group(
            {"quick": quick, "shape": shape, "classes": classes},
            (*SIDES, LOGITS) if shape[2] == lengths[-2] else SIDES if shape[2] < lengths[-1] else SIDES[:1],
            1,
        )
        for shape, classes in shapes
    ]


def lines(trials: Sequence[Trial]) -> list[Line]:
    made = []
    quick = trials[0].case["quick"]
    long, twice = LENGTHS[quick][-2:]
    for classes in CLASSES[::-1]:
        for length in sorted({t.case["shape"][2] for t in trials if t.case["classes"] == classes}):
            shape = [*ACROSS[quick], length]
            mine = of(trials, "medseg", shape=shape, classes=classes)
            for peer in SIDES[1:]:
                sizes = " x ".join(map(str, shape))
                theirs = of(trials, peer, shape=shape, classes=classes)
                factor, words = 1.0, peer
                if length == twice:
                    theirs, factor = of(trials, peer, shape=[*ACROSS[quick], long], classes=classes), twice / long
                    words = f"{peer}, extrapolated from {long}"
                target = 0.1 if (classes, length) == (105, long) else None
                figure = f"extra peak memory, C = {classes}"
                made.append(
                    compared(figure, words, target, trials, mine, theirs, extra_mib, "MiB", sizes, scale=factor)
                )
    shape = [*ACROSS[quick], long]
    logits, theirs = (of(trials, name, shape=shape, classes=105) for name in (LOGITS, "MONAI"))
    figure = "extra peak memory, C = 105, a network that cannot be split"
    made.append(compared(figure, "MONAI", None, trials, logits, theirs, extra_mib, "MiB", " x ".join(map(str, shape))))
    one, two = (of(trials, "medseg", shape=[*ACROSS[quick], n], classes=105) for n in (long, twice))
    same = compared("medseg at twice the length", "medseg", 1.05, trials, two, one, extra_mib, "MiB")
    return [*made, same]


BENCH = Bench(
    "memory",
    "Peak memory",
    {name: partial(side, name) for name in (*SIDES, LOGITS)},
    plan,
    lines,
    note="Peak of resident memory during the work, less what was resident before. One trial each: it does not vary "
    "with the load of the machine. What grows with the length in medseg is the mask itself, one byte a voxel.",
)

if __name__ == "__main__":
    main(BENCH)
