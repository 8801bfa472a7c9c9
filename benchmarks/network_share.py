"""How much of a whole `medseg segment` is the network: a process from its start to its end, imports included.

The command runs as it is, with the seconds of each pass of the network taken. A bundle of a UNet with random weights,
of the widths and windows of MONAI's spleen bundle; a CT-like scan of usual size, resampled to the network's grid and
back, a small one, and two of these in one run.
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
SCANS = {
    False: {"usual": ((512, 512, 300), 0.8), "small": ((160, 160, 160), 1.5)},
    True: {"usual": ((48, 48, 64), 0.75), "small": ((24, 24, 32), 1.5)},
}
NETWORKS, SPACING_MM = {False: (96, (16, 32, 64, 128, 256)), True: (16, (4, 8))}, 1.5
CASES = (("usual", 1), ("small", 1), ("small", 2))

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
    (window, widths), scans = NETWORKS[quick], SCANS[quick]
    spec = WindowSpec((window,) * 3, 0.5, "gaussian", 1)
    scan(*scans["usual"], folder / "usual0.nii.gz")
    images = [scan(*scans["small"], folder / f"small{n}.nii.gz") for n in range(2)]
    organs(6, widths, spec, folder / "organs", crops(images[0], window), SPACING_MM)


def side(case: dict[str, Any], meter: Meter) -> dict[str, Any]:
    folder = Path(case["folder"])
    images = [folder / f"{case['size']}{n}.nii.gz" for n in range(case["scans"])]
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
    return [Group({"quick": quick, "size": size, "scans": n}, ("medseg",), 1 if quick else 2) for size, n in CASES]


def lines(trials: Sequence[Trial]) -> list[Line]:
    quick = trials[0].case["quick"]
    window, widths = NETWORKS[quick]
    made = []
    for size, scans in CASES:
        done, (shape, spacing_mm) = of(trials, "medseg", size=size, scans=scans), SCANS[quick][size]
        figure = f"network share of a whole `segment` run, {scans} {size} scan{'s' * (scans > 1)}"
        if done[0].error:
            made.append(Line(figure, "-", f">= {TARGET:.0%}", f"not measured: {done[0].error}"))
            continue
        shares = [100 * t.facts["share"] for t in done]
        sizes = (
            f"{' x '.join(map(str, shape))} of {spacing_mm} mm to {SPACING_MM} mm, "
            f"{done[0].facts['passes'] // scans} windows of {window}, widths {'-'.join(map(str, widths))}"
        )
        whole = spread([t.seconds for t in done], "s")
        met = statistics.median(shares) >= 100 * TARGET
        made.append(Line(figure, "-", f">= {TARGET:.0%}", spread(shares, "%"), whole, "", sizes, met))
    return made


BENCH = Bench("network_share", "Share of the network", {"medseg": side}, plan, lines, prepare)

if __name__ == "__main__":
    main(BENCH)
