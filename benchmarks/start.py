"""How long it takes to begin: `medseg --help`, and one small picture, loading of the model included.

Whole processes, their start counted. The picture is segmented by the project's nuclei bundle: by `medseg segment` and
by stock `python -m monai.bundle run` on the same bundle.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from side_by_side import Bench, Group, Line, Meter, Trial, compared, in_words, main, of, spread, with_same

from bundles import NUCLEI, medseg_run, monai_run, picture

BARE, HELP, PICTURE, MONAI = "python -c pass", "medseg --help", "medseg", "monai.bundle run"
MOST_HELP_SECONDS = 0.15


def prepare(folder: Path, quick: bool) -> None:
    (folder / "images").mkdir()
    picture((256, 256), 0, folder / "images" / "one.png")


def side(name: str, case: dict[str, Any], meter: Meter) -> dict[str, Any]:
    images = Path(case["folder"]) / "images"
    with TemporaryDirectory() as place:
        output = Path(place) / "out"
        command = {
            "python -c pass": ["-c", "pass"],
            "medseg --help": ["-m", "medseg.cli.main", "--help"],
            "medseg": medseg_run(NUCLEI, [images / "one.png"], output, "--precision", "fp32"),
            "monai.bundle run": monai_run(NUCLEI, images, output, case["keep"]),
        }[name]
        times = []
        for _ in range(case["repeat"]):
            started = time.perf_counter()
            done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
            times.append(time.perf_counter() - started)
            if done.returncode:
                raise SystemExit(done.stderr[-200:])
        masks = sorted(output.rglob("*.png"))
        facts = {"instances": len(np.unique(np.asarray(Image.open(masks[0])))) - 1} if masks else {}
    meter.seconds = median(times)
    return facts


def plan(quick: bool) -> list[Group]:
    rounds = 1 if quick else 5
    return [
        Group({"quick": quick, "repeat": 1 if quick else 5}, (BARE, HELP), rounds),
        Group({"quick": quick, "repeat": 1}, (PICTURE, *with_same(MONAI)), rounds),
    ]


def lines(trials: Sequence[Trial]) -> list[Line]:
    bare, helps, ours, theirs = (of(trials, name) for name in (BARE, HELP, PICTURE, MONAI))
    told = [t.seconds for t in helps if not t.error]
    measured = spread(told, "s") if told else f"not measured: {helps[0].error}"
    python = spread([t.seconds for t in bare if not t.error] or [0.0], "s")
    sizes = "256 x 256, " + ", ".join(
        f"{t.side}: {t.facts['instances']} nuclei" for t in (ours + theirs) if t.facts and t.round == 0
    )
    return [
        Line(
            "`medseg --help`, warm", "`python -c pass`", f"<= {MOST_HELP_SECONDS} s", measured, "", python,
            met=median(told) <= MOST_HELP_SECONDS if told else None,
        ),
        *(
            compared(
                "one 2-D image, model load included", in_words(peer), 0.5, trials, ours, of(trials, peer), sizes=sizes
            )
            for peer in with_same(MONAI)
        ),
    ]  # fmt: skip


BENCH = Bench(
    "start", "Start", {name: partial(side, name) for name in (BARE, HELP, PICTURE, MONAI)}, plan, lines, prepare
)

if __name__ == "__main__":
    main(BENCH)
