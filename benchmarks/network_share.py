"""How much of a whole `medseg segment` is the network: a process from its start to its end, imports included.

The command runs as it is, with the seconds of each pass of the network taken. Two CT-like scans, a bundle of a UNet
with random weights: segmenting alone, and two in one run.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from side_by_side import Bench, Group, Line, Meter, Trial, main, of, spread

from bundles import crops, medseg_run, organs, scan
from medseg.windows import WindowSpec

TARGET = 0.8
SIZES = {False: ((160, 160, 160), 96, (16, 32, 64, 128)), True: ((24, 24, 32), 16, (4, 8))}
SPACING_MM = 1.5

WATCHED = """
import atexit, json, sys, time
from pathlib import Path
from dataclasses import replace
spent = [0.0, 0]
sys.argv = ["medseg", *json.loads(sys.argv[1])]
where = Path(sys.argv[sys.argv.index("-o") + 1]).parent / "network.json"
atexit.register(lambda: where.write_text(json.dumps(spent)))
from medseg.cli.memory import keep_freed_memory
keep_freed_memory()
from medseg.inference import model as module
original = module.load_model
def load_model(*arguments, **named):
    model = original(*arguments, **named)
    def timed(network):
        def run(windows):
            started = time.perf_counter()
            answer = network(windows)
            spent[0] += time.perf_counter() - started
            spent[1] += 1
            return answer
        return run
    return replace(model, network=timed(model.network), body=timed(model.body) if model.body else None)
module.load_model = load_model
from medseg.cli.main import main
main()
"""


def prepare(folder: Path, quick: bool) -> None:
    shape, window, widths = SIZES[quick]
    images = [scan(shape, SPACING_MM, folder / f"scan{n}.nii.gz") for n in range(2)]
    spec = WindowSpec((window,) * 3, 0.25, "gaussian", 1)
    organs(6, widths, spec, folder / "organs", crops(images[0], window), SPACING_MM)


def side(case: dict[str, Any], meter: Meter) -> dict[str, Any]:
    folder = Path(case["folder"])
    images = [folder / f"scan{n}.nii.gz" for n in range(case["scans"])]
    with TemporaryDirectory() as place:
        _, _, *arguments = medseg_run(folder / "organs", images, Path(place) / "out")
        with meter:
            done = subprocess.run(
                [sys.executable, "-c", WATCHED, json.dumps(arguments)], capture_output=True, text=True, check=False
            )
        if done.returncode:
            raise SystemExit(done.stderr[-200:])
        seconds, passes = json.loads((Path(place) / "network.json").read_text())
    return {"network_seconds": seconds, "passes": passes, "share": seconds / meter.seconds}


def plan(quick: bool) -> list[Group]:
    return [Group({"quick": quick, "scans": scans}, ("medseg",), 1 if quick else 3) for scans in (1, 2)]


def lines(trials: Sequence[Trial]) -> list[Line]:
    shape, window, widths = SIZES[trials[0].case["quick"]]
    made = []
    for scans in (1, 2):
        done = of(trials, "medseg", scans=scans)
        figure = f"network share of a whole `segment` run, {scans} scan{'s' * (scans > 1)}"
        if done[0].error:
            made.append(Line(figure, "-", f">= {TARGET:.0%}", f"not measured: {done[0].error}"))
            continue
        shares = [100 * t.facts["share"] for t in done]
        sizes = (
            f"{' x '.join(map(str, shape))}, {done[0].facts['passes'] // scans} windows of {window}, widths "
            f"{'-'.join(map(str, widths))}"
        )
        whole = spread([t.seconds for t in done], "s")
        made.append(
            Line(
                figure,
                "-",
                f">= {TARGET:.0%}",
                spread(shares, "%"),
                whole,
                "",
                sizes,
                statistics.median(shares) >= 100 * TARGET,
            )
        )
    return made


BENCH = Bench("network_share", "Share of the network", {"medseg": side}, plan, lines, prepare)

if __name__ == "__main__":
    main(BENCH)
