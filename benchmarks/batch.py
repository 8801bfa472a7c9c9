"""200 small pictures in one run of `medseg segment`, against stock `monai.bundle run` on them and one process each.

Whole processes. "One process each" runs on a tenth of the pictures and is extrapolated, and said so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from side_by_side import Bench, Group, Line, Meter, Trial, compared, in_words, main, of, with_same

from bundles import NUCLEI, medseg_run, monai_run, picture

MANY = {False: 200, True: 4}
SIDES = ("medseg", "monai.bundle run", "one process an image")
SHAPE = (128, 128)


def prepare(folder: Path, quick: bool) -> None:
    (folder / "images").mkdir()
    for n in range(MANY[quick]):
        picture(SHAPE, n, folder / "images" / f"{n:03d}.png")


def side(name: str, case: dict[str, Any], meter: Meter) -> dict[str, Any]:
    folder = Path(case["folder"]) / "images"
    images = sorted(folder.iterdir())
    if name == SIDES[2]:
        images = images[: max(len(images) // 10, 1)]
    with TemporaryDirectory() as place:
        output = Path(place) / "out"
        commands = {
            SIDES[0]: [medseg_run(NUCLEI, images, output, "--precision", "fp32")],
            SIDES[1]: [monai_run(NUCLEI, folder, output, case["keep"])],
            SIDES[2]: [medseg_run(NUCLEI, [image], output, "--precision", "fp32") for image in images],
        }[name]
        with meter:
            for command in commands:
                done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(done.stderr[-200:])
        masks = len([path for path in output.rglob("*.png") if not path.name.startswith(".")])
    if masks != len(images):
        raise SystemExit(f"{masks} masks of {len(images)} images")
    return {"images": len(images), "images_per_second": len(images) / meter.seconds, "cores": os.cpu_count()}


def plan(quick: bool) -> list[Group]:
    return [Group({"quick": quick}, (SIDES[0], *with_same(SIDES[1]), SIDES[2]), 1 if quick else 2)]


def lines(trials: Sequence[Trial]) -> list[Line]:
    many = MANY[trials[0].case["quick"]]
    sizes = f"{many} pictures of {' x '.join(map(str, SHAPE))}"
    mine = of(trials, SIDES[0])
    made = []
    for peer in (*with_same(SIDES[1]), SIDES[2]):
        theirs = of(trials, peer)
        words = in_words(peer) if peer != SIDES[2] else f"{peer}, extrapolated from {max(many // 10, 1)}"

        def seconds_an_image(trial: Trial) -> float:
            return 1 / trial.facts["images_per_second"]

        made.append(
            compared(
                "many small images in one run", words, None, trials, mine, theirs, seconds_an_image, "s an image", sizes
            )
        )
    return made


BENCH = Bench("batch", "Many small images", {name: partial(side, name) for name in SIDES}, plan, lines, prepare)

if __name__ == "__main__":
    main(BENCH)
