"""How fast medseg trains beside MONAI's own way; writes training.json and training.md beside this file.

    python benchmarks/training.py [--quick] [--steps N] [--rounds N] [--target DICE] [--patch N,N,N] [-o FOLDER]

Data: the hippocampus set where MEDSEG_DATA holds it, else (and with --quick) generated phantoms. Each training runs in
a process of its own; sides take turns, so that a machine that slows down slows both. Each side runs as it comes, where
`medseg train` keeps freed memory and computes in bfloat16 if the CPU does, and equal: both keep freed memory and
compute in fp32. On an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from medseg.backends.precision import choose_precision
from medseg.data.augment import AugmentSpec
from medseg.data.dataset import BatchSpec
from medseg.data.preprocess import PreprocessSpec
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelTable
from medseg.domain.manifest import Case, Manifest
from medseg.domain.spec import to_plain
from medseg.engines.plan import OptimiserSpec, TrainSpec
from medseg.io.manifest import write_manifest
from medseg.io.manifest_build import sha256_of
from medseg.io.nifti import write_nifti_image
from medseg.losses import LossSpec
from medseg.networks.build import NetworkSpec
from medseg.windows import WindowSpec

HERE = Path(__file__).parent
SIDES, WAYS = ("medseg", "MONAI"), ("as it comes", "equal")
AIMS = 3, 1.15  # times MONAI's samples/s, as they come and equal
WARM_UP = 3  # steps that are not counted


def phantoms(folder: Path, shape_ijk: tuple[int, ...] = (48, 64, 48)) -> Path:
    """A manifest of 16 volumes: an ellipsoid with a bright part, among other bright things, in noise."""
    generator, cases = np.random.default_rng(0), []
    places = np.stack(np.indices(shape_ijk), -1)
    for n, split in enumerate(["train"] * 12 + ["validation"] * 4):

        def ellipsoid(low: float, high: float) -> np.ndarray:
            centre = generator.uniform(0.3, 0.7, 3) * shape_ijk
            return np.linalg.norm((places - centre) / generator.uniform(low, high, 3), axis=-1) < 1

        body, other = ellipsoid(8, 14), ellipsoid(3, 6)
        front = body & (places[..., 1] > np.median(np.nonzero(body)[1]))
        mask = body.astype(np.uint8) + front
        image = generator.normal(0, 20, shape_ijk) + 100 + 40 * body + 20 * front + 60 * (other & ~body)
        names = f"{n}.nii.gz", f"{n}_mask.nii.gz"
        for voxels, name in ((image.astype(np.int16), names[0]), (mask, names[1])):
            write_nifti_image(voxels, Geometry(shape_ijk, np.eye(4)), folder / name)
        digests = sha256_of(folder / names[0]), sha256_of(folder / names[1])
        cases.append(Case(f"phantom{n}", *names, f"phantom{n}", split, digests))
    table = LabelTable((Label(1, "back", (230, 160, 0)), Label(2, "front", (90, 180, 230))))
    path = folder / "phantoms.json"
    head = ("phantoms", "Ellipsoids in noise", "generated", "CC0-1.0", ".", "MR", 3, 1)
    write_manifest(Manifest(*head, table, tuple(cases)), path)
    return path


def a_plan(steps: int, quick: bool, patch: tuple[int, ...] | None) -> TrainSpec:
    size = patch or ((24, 24, 24) if quick else (32, 48, 32))
    return TrainSpec(
        network=NetworkSpec("unet", 3, 1, 3, (8, 16, 32) if quick else (16, 32, 64, 128)),
        preprocess=PreprocessSpec(1, (1.0, 1.0, 1.0), "zscore"),
        window=WindowSpec(size, 0.5, "gaussian", 4),
        batch=BatchSpec(size, 4 if quick else 8),
        augment=AugmentSpec((0,), 15.0, 1.2),
        loss=LossSpec(),
        optimiser=OptimiserSpec(warmup_steps=min(20, steps // 4), ema=0.9),
        steps=steps,
        epoch_steps=max(steps // 6, 1),
        validation_cases=4 if quick else 16,
    )


def train(side: str, way: str, manifest: Path, plan: Path) -> dict:
    command = [sys.executable, HERE / "training_sides.py", side, way, manifest, plan]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{side}, {way}: {done.stderr}")
    return {"side": side, "way": way, **json.loads(done.stdout.splitlines()[-1])}


def seconds_to(run: dict, target: float) -> float | None:
    """Training time until a validation reached the target; None if none did."""
    step = next((step for step, dice in run["dice"] if dice >= target), None)
    return None if step is None else sum(run["seconds"][:step])


def samples_per_second(run: dict, spec: TrainSpec) -> float:
    return spec.batch.count / statistics.median(run["seconds"][WARM_UP:])


def median_and_range(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(runs: list[dict], spec: TrainSpec, target: float, data: str) -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines = [
        "# Training speed, medseg beside MONAI's own way",
        "",
        f"Written by `benchmarks/training.py`: {data}; {spec.network.preset} of widths {spec.network.widths}, "
        f"patches of {' x '.join(map(str, spec.batch.size))}, {spec.batch.count} a step, {spec.steps} steps, "
        f"{cores} cores ({platform.processor() or platform.machine()}), {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}. Median of the runs and their range. Equal on both sides: cases, network, loss, "
        "optimiser, moving average, clipping, augmentations and their strengths. As it comes medseg keeps freed memory "
        f"and computes in {choose_precision('auto', torch.device('cpu'))} on this CPU, MONAI does not keep it and "
        "computes in fp32; equal: both keep it and compute in fp32.",
        "",
        f"| way | side | runs | samples/s | s to Dice {target} | Dice at the end | peak MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    speeds = {}
    for way in WAYS:
        for side in SIDES:
            mine = [run for run in runs if (run["side"], run["way"]) == (side, way)]
            speeds[side, way] = [samples_per_second(run, spec) for run in mine]
            times = [seconds_to(run, target) for run in mine]
            reached = [time for time in times if time is not None]
            to_target = (
                median_and_range(reached, 0) if len(reached) == len(times) else f"{len(reached)} of {len(times)}"
            )
            ends = [run["dice"][-1][1] for run in mine]
            peaks = [run["peak_mib"] for run in mine]
            cells = [way, side, str(len(mine)), median_and_range(speeds[side, way], 2), to_target]
            lines.append("| " + " | ".join([*cells, median_and_range(ends, 3), median_and_range(peaks, 0)]) + " |")
    lines += [
        "",
        "Samples/s of medseg over MONAI's, round by round:",
        "",
        "| way | target | ratio | met by the median |",
        "|---|---|---|---|",
    ]
    for way, aim in zip(WAYS, AIMS, strict=True):
        rounds = zip(speeds["medseg", way], speeds["MONAI", way], strict=True)
        ratios = [ours / theirs for ours, theirs in rounds]
        met = "yes" if statistics.median(ratios) >= aim else "no"
        lines.append(f"| {way} | >= {aim}x | {median_and_range(ratios, 2)} | {met} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small patches, few steps, two rounds, phantoms")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--target", type=float, help="validation Dice")
    parser.add_argument("--patch", type=lambda text: tuple(map(int, text.split(","))))
    parser.add_argument("-o", "--output", type=Path, default=HERE)
    asked = parser.parse_args()
    steps, rounds = asked.steps or (45 if asked.quick else 150), asked.rounds or (2 if asked.quick else 3)
    hippocampus = HERE.parent / "data_manifests" / "hippocampus.json"
    real = "MEDSEG_DATA" in os.environ and Path(os.environ["MEDSEG_DATA"], "hippocampus").is_dir() and not asked.quick
    target = asked.target or (0.8 if real else 0.9)
    with tempfile.TemporaryDirectory() as folder:
        manifest, plan = hippocampus if real else phantoms(Path(folder)), Path(folder) / "plan.json"
        spec = a_plan(steps, asked.quick, asked.patch)
        plan.write_text(json.dumps(to_plain(spec)))
        runs = []
        for turn in range(rounds):
            for way in WAYS:
                for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
                    runs.append(train(side, way, manifest, plan))
                    speed = samples_per_second(runs[-1], spec)
                    print(f"round {turn + 1}/{rounds}: {side}, {way}: {speed:.2f} samples/s", flush=True)
    text = table(runs, spec, target, "hippocampus" if real else "phantoms")
    asked.output.mkdir(parents=True, exist_ok=True)
    (asked.output / "training.json").write_text(json.dumps({"plan": to_plain(spec), "runs": runs}, indent=1) + "\n")
    (asked.output / "training.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
