"""The sliding window by the backend that medseg picks for many windows, in the precision of this CPU.

Peers run the network as torch does, in fp32, which is what they offer on a CPU. The picked backend's start (compiling,
kept in a cache for the next run) is no part of the time; the table tells it. Dice is that of its labels with those of
eager fp32, the mean over classes.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import CPU, body, by, seeded_unet, warm
from side_by_side import SAME, Bench, Group, Line, Meter, Trial, compared, cores, in_words, main, of, spread, with_same
from sliding_window import CLASSES, OVERLAP, SIZES

from medseg.backends.backend import Asked, Backend
from medseg.backends.eager import eager
from medseg.backends.precision import choose_precision
from medseg.windows import WindowSpec, window_count

PEERS = ("MONAI", "nnU-Net")
PICKED = "medseg, picked"
CASES = 20  # for which the backend is picked
MOST_OFF = 0.001


def dice(labels: np.ndarray, others: np.ndarray) -> float:
    """The mean over the classes that one of them holds."""
    both = np.bincount(labels[labels == others], minlength=CLASSES)
    each = np.bincount(labels.ravel(), minlength=CLASSES) + np.bincount(others.ravel(), minlength=CLASSES)
    there = each > 0
    return float((2 * both[there] / each[there]).mean())


def side(name: str, case: dict[str, Any], meter: Meter) -> dict[str, Any]:
    shape, window, widths = SIZES[case["quick"]]
    image = body(shape)
    network = seeded_unet(CLASSES, widths, image[None, :, :window, :window, :window])
    spec = WindowSpec((window,) * 3, OVERLAP, "gaussian", 1)
    exact = Path(case["folder"]) / "exact.npy"
    if name in PEERS:
        warm(name)
        with meter, torch.inference_mode():
            by(name, network, image, spec, CLASSES)
        return {}
    if not exact.exists():
        np.save(exact, by("medseg", eager(network, CPU, "fp32"), image, spec, CLASSES))
    precision = choose_precision("auto", CPU)
    os.environ["MEDSEG_CACHE"] = str(Path(case["folder"]) / "cache")
    run = Backend(network, CPU, precision, asked=Asked("auto", CASES))
    run.expect(window_count(shape, spec))
    run(image[None, :, :window, :window, :window])  # settles what runs
    assert run.choice is not None
    with meter, torch.inference_mode():
        labels = by("medseg", run, image, spec, CLASSES)
    chosen = run.choice.name
    return {
        "precision": precision,
        "backend": chosen,
        "start_s": run.choice.start_s.get(chosen, 0.0),
        "window_s": run.choice.window_s,
        "dice": dice(labels, np.load(exact)),
    }


def plan(quick: bool) -> list[Group]:
    rounds = 1 if quick else 3
    return [Group({"quick": quick, "threads": cores()}, (PICKED, *with_same(*PEERS)), rounds)]


def lines(trials: Sequence[Trial]) -> list[Line]:
    shape, window, widths = SIZES[trials[0].case["quick"]]
    sizes = f"{' x '.join(map(str, shape))}, windows of {window}, widths {'-'.join(map(str, widths))}"
    mine, made = of(trials, PICKED), []
    if mine[0].error:
        return [Line("sliding window, picked backend", "-", "-", f"not measured: {mine[0].error}", sizes=sizes)]
    figure = f"sliding window, C = {CLASSES}, picked: {mine[0].facts['backend']} in {mine[0].facts['precision']}"
    for peer in with_same(*PEERS):
        target = 0.5 if peer.endswith(SAME) else 0.2
        made.append(compared(figure, f"fp32, {in_words(peer)}", target, trials, mine, of(trials, peer), sizes=sizes))
    off = [1 - t.facts["dice"] for t in mine]
    measured = f"{statistics.median(off):.2g} (at most {max(off):.2g})"
    made.append(
        Line("1 - Dice of the picked backend", "eager fp32", f"<= {MOST_OFF}", measured, met=max(off) <= MOST_OFF)
    )
    for name in mine[0].facts["window_s"]:
        seconds = [t.facts["window_s"][name] for t in mine if name in t.facts["window_s"]]
        made.append(Line(f"a window by {name}, in the trial", "-", "-", spread(seconds, "s"), sizes=sizes))
    starts = [t.facts["start_s"] for t in mine]
    made.append(Line("start of the picked backend, once", "-", "-", spread(starts, "s"), sizes=sizes))
    return made


BENCH = Bench(
    "backend",
    "Sliding windows by the picked backend",
    {name: partial(side, name) for name in (PICKED, *PEERS)},
    plan,
    lines,
    note="The targets are for a CPU with bf16. Without it backends of fp32 alone are left to choose from, and they all "
    "wait for the same multiplications: the profile is the seconds of a window by each of them in the trial. Eager "
    "stays where no other saves a tenth of the whole.",
)

if __name__ == "__main__":
    main(BENCH)
