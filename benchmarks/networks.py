"""UNet against UNet++ on the same split, batches and budget: score, time, parameters and GFLOP, every depth told.

    python benchmarks/networks.py --sets hippocampus nuclei brain_tumor --seeds 0 1 2 --minutes 3

UNet trains for --minutes; UNet++ once for as many steps and once for as many minutes. Steps are counted before the
first training of a data set, from the pace of each network, and kept in benchmarks/networks/N-minutes/steps/ as the
plan is in plans/, so that all seeds have the same, on other machines and by later defaults too. Each training is a
folder below --work and goes on where it was stopped; its result is a JSON file in benchmarks/networks/N-minutes/, which
is kept. What is there is not trained again. --table writes benchmarks/networks.md from the files that are there, and
says how many of the planned runs are missing.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, stdev
from tempfile import TemporaryDirectory

import torch
from torch.utils.flop_counter import FlopCounterMode

from medseg.backends.eager import eager
from medseg.backends.precision import choose_precision
from medseg.cli.memory import keep_freed_memory
from medseg.cli.planning import suggested
from medseg.data.dataset import load_samples
from medseg.domain.manifest import Fold, Manifest, held_out
from medseg.domain.spec import from_plain, to_plain
from medseg.engines.defaults import optimiser_of
from medseg.engines.plan import TrainSpec, to_target
from medseg.engines.trainer import fit
from medseg.io.files import write_text
from medseg.io.manifest import data_root, read_manifest
from medseg.io.manifest_build import sha256_of
from medseg.metrics.overlap import dice
from medseg.networks.build import NetworkSpec, build_network
from medseg.windows import collect, stream

HERE = Path(__file__).parent
FOLDS = {"hippocampus": Fold(1, 5), "nuclei": Fold(1, 5), "brain_tumor": Fold(4, 4)}
RUNS = (("unet", "steps"), ("unetpp", "steps"), ("unetpp", "time"))  # the steps of UNet are those of its time
BUDGETS = {("unet", "steps"): "both", ("unetpp", "steps"): "same steps", ("unetpp", "time"): "same time"}
LEVELS = 5  # UNet++ then has the depths 1 to 4 of its paper
WARM, TIMED, ROUNDS = 3, 5, 3


def main() -> None:
    options = _options()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    if not options.table:
        for name in options.sets:
            _run_set(name, options)
    write_text(HERE / "networks.md", table(options))
    print((HERE / "networks.md").read_text())


def _results(options: argparse.Namespace) -> Path:
    """What runs of so many minutes give; those of others would not be the same steps."""
    return HERE / "networks" / f"{options.minutes:g}-minutes"


def _run_set(name: str, options: argparse.Namespace) -> None:
    path = Path("data_manifests") / f"{name}.json"
    whole = read_manifest(path)
    manifest, root = held_out(whole, FOLDS[name]), data_root(whole, path)
    results = _results(options)
    spec = _plan(results / "plans" / f"{name}.json", manifest, root)
    load = [
        load_samples(manifest, manifest.part(split), root, spec.preprocess, to_target(manifest))
        for split in ("train", "validation")
    ]
    load[1] = load[1][:: -(-len(load[1]) // options.cases)]
    digest = sha256_of(path)
    steps = _steps(results / "steps" / f"{name}.json", spec, load[0], options.minutes)
    for seed in options.seeds:
        for preset, budget in RUNS:
            result = results / f"{name}-{preset}-{budget}-{seed}.json"
            if not result.exists():
                count = steps[preset if budget == "time" else "unet"]
                run = replace(
                    spec,
                    network=replace(spec.network, preset=preset),
                    optimiser=optimiser_of(count, spec.optimiser.rate),
                    seed=seed,
                    keep="last",
                    validation_cases=1,  # nothing is picked by them
                    steps=count,
                    epoch_steps=max(count // 4, 1),
                )
                work = options.work / results.name / result.stem
                _run(name, run, budget, load, work, digest, result)


def _plan(kept: Path, manifest: Manifest, root: Path) -> TrainSpec:
    """The default one of UNet on a CPU when the first training of a data set was made, with five levels."""
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        spec = suggested(manifest, root, torch.device("cpu"), "unet", None, 0).spec
        widths = spec.network.widths[:LEVELS]  # a shallower plan repeats its coarsest, for the depths to be the same
        widths += widths[-1:] * (LEVELS - len(widths))
        spec = replace(spec, network=replace(spec.network, widths=widths), min_voxels=0)  # no masks here
        write_text(kept, json.dumps(to_plain(spec), indent=1) + "\n")
    return from_plain(TrainSpec, json.loads(kept.read_text()))


def _steps(kept: Path, spec: TrainSpec, training: list, minutes: float) -> dict[str, int]:
    """How many steps of each network fit into the minutes; counted once for a data set, in turns, for a fair ratio."""
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        seconds: dict[str, list[float]] = {preset: [] for preset, _ in RUNS}
        for _ in range(ROUNDS):
            for preset, found in seconds.items():
                found += _timed(replace(spec, network=replace(spec.network, preset=preset)), training)
        steps = {preset: max(int(60 * minutes / median(found)), 20) for preset, found in seconds.items()}
        write_text(kept, json.dumps(steps) + "\n")
    return json.loads(kept.read_text())


def _run(name: str, spec: TrainSpec, budget: str, load: list, work: Path, digest: str, result: Path) -> None:
    training, validation = load
    resumed, started = work.exists(), time.monotonic()
    trained = fit(spec, training, validation, work, digest, torch.device("cpu"))
    seconds = None if resumed else round(time.monotonic() - started, 1)
    network = build_network(spec.network)
    network.load_state_dict(trained.weights)
    depths = range(1, spec.network.greatest_depth + 1) if spec.network.greatest_depth else [None]
    rows = [measure_depth(network, depth, spec, validation) for depth in depths]
    facts = {
        "set": name,
        "network": spec.network.preset,
        "budget": budget,
        "seed": spec.seed,
        "steps": spec.steps,
        "training_seconds": seconds,
        "threads": torch.get_num_threads(),
        "precision": choose_precision(spec.precision, torch.device("cpu")),
        "held_out": str(spec.fold or FOLDS[name]),
        "cases": len(validation),
        "depths": rows,
    }
    write_text(result, json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts), flush=True)


def _timed(spec: TrainSpec, training: list) -> list[float]:
    """Seconds of a few steps."""
    stamps: list[float] = []
    probe = replace(spec, steps=WARM + TIMED, epoch_steps=WARM + TIMED, validation_cases=1)
    with TemporaryDirectory() as folder:
        fit(
            probe, training, training[:1], Path(folder), "", torch.device("cpu"),
            lambda progress: stamps.append(time.perf_counter()) if progress.scores is None else None,
        )  # fmt: skip
    return [b - a for a, b in pairwise(stamps[WARM:])]


def measure_depth(network: torch.nn.Module, depth: int | None, spec: TrainSpec, validation: list) -> dict:
    """Mean Dice over cases and labels, milliseconds and GFLOP of one window, parameters of the network up to there.

    All in the precision of the training.
    """
    predict = eager(network, torch.device("cpu"), choose_precision(spec.precision, torch.device("cpu")), depth)
    window = torch.zeros(1, spec.network.in_channels, *spec.window.size)
    with FlopCounterMode(display=False) as counter:
        predict(window)
    times = []
    for _ in range(TIMED):
        started = time.perf_counter()
        predict(window)
        times.append(time.perf_counter() - started)
    scores = []
    for sample in validation:
        classes = collect(stream(predict, sample.image, spec.window)).argmax(0).numpy()
        target = sample.target.numpy()
        scores.append(mean(dice(classes == k, target == k) for k in range(1, spec.network.out_channels)))
    pruned = spec.network if depth is None else _pruned(spec.network, depth)
    return {
        "depth": depth,
        "dice": round(mean(scores), 5),
        "milliseconds": round(1000 * median(times), 2),
        "gflop": round(counter.get_total_flops() / 1e9, 3),
        "parameters": sum(p.numel() for p in build_network(pruned).parameters()),
    }


def _pruned(spec: NetworkSpec, depth: int) -> NetworkSpec:
    return replace(spec, widths=spec.widths[: depth + 1])


def table(options: argparse.Namespace) -> str:
    """Means and standard deviations over the seeds, with what is missing."""
    runs = [json.loads(path.read_text()) for path in sorted(_results(options).glob("*.json"))]
    planned = len(FOLDS) * len(RUNS) * 3
    lines = [
        "# UNet against UNet++",
        "",
        "Same split, batches and augmentation; mean (standard deviation) over seeds; Dice of the network's classes on "
        "the fold held out, by the last weights (no checkpoint was picked). UNet++ once with the steps of UNet, once "
        f"with its time; UNet trained for {options.minutes:g} minutes where steps were counted, and warm-up and moving "
        "average are those of trainings of so many steps. The same time is so many steps as fit into it, counted for "
        "both networks in turns; minutes are what the runs took, some beside other work. Written by "
        "`benchmarks/networks.py`.",
        "",
        f"{len(runs)} of {planned} runs are done.",
        "",
        "| data | budget | network | depth | seeds | steps | minutes | threads, precision | cases | Dice "
        "| M parameters | GFLOP a window | ms a window |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    groups: dict[tuple, list[dict]] = {}
    for run in runs:
        key = tuple(run[fact] for fact in ("set", "budget", "network", "steps", "threads", "precision", "cases"))
        groups.setdefault(key, []).append(run)
    for (name, budget, network, steps, threads, precision, cases), group in sorted(groups.items()):
        for n, row in enumerate(group[0]["depths"]):
            scores = [run["depths"][n]["dice"] for run in group]
            spread = f" ({stdev(scores):.3f})" if len(scores) > 1 else ""
            minutes = [run["training_seconds"] / 60 for run in group if run["training_seconds"]]
            cells = (
                name, BUDGETS[network, budget], network, row["depth"] or "-", len(group), steps,
                f"{mean(minutes):.0f}" if minutes else "-", f"{threads}, {precision}", cases,
                f"{mean(scores):.3f}{spread}",
                f"{row['parameters'] / 1e6:.2f}", f"{row['gflop']:.2f}",
                f"{median(run['depths'][n]['milliseconds'] for run in group):.0f}",
            )  # fmt: skip
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, *_verdicts(runs)]) + "\n"


def _verdicts(runs: list[dict]) -> list[str]:
    """UNet++ minus UNet, seed by seed, at the head that is deepest: no depth is picked by the scores told."""
    unet = {(run["set"], run["seed"]): run["depths"][-1]["dice"] for run in runs if run["network"] == "unet"}
    gains: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        if run["network"] == "unetpp" and (run["set"], run["seed"]) in unet:
            gain = run["depths"][-1]["dice"] - unet[run["set"], run["seed"]]
            gains.setdefault((run["set"], BUDGETS["unetpp", run["budget"]]), []).append(gain)
    lines = [
        "",
        "UNet++ at its deepest head minus UNet, of the same seed (mean, standard deviation over seeds):",
        "",
        "| data | budget | Dice | smallest | largest | seeds won |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for (name, budget), found in sorted(gains.items()):
        spread = f" ({stdev(found):.3f})" if len(found) > 1 else ""
        lines.append(
            f"| {name} | {budget} | {mean(found):+.3f}{spread} | {min(found):+.3f} | {max(found):+.3f} "
            f"| {sum(gain > 0 for gain in found)} of {len(found)} |"
        )
    return lines


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(FOLDS), choices=list(FOLDS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=3, help="that UNet trains")
    parser.add_argument("--cases", type=int, default=200, help="of those held out are scored at most, evenly taken")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--work", type=Path, default=Path("runs/networks"))
    parser.add_argument("--table", action="store_true", help="only write the table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
