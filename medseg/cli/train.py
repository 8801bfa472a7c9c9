"""`medseg train`: a manifest becomes a bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import torch

    from medseg.engines.plan import TrainSpec


def train(
    manifest: Annotated[Path, typer.Argument(help="The data set: a JSON file of `medseg manifest build`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder of the bundle, bundles/NAME.")],
    network: Annotated[str, typer.Option(help="unet, residual_unet, unetpp, ...")] = "unet",
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps in all.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same weights.")] = 0,
    plan: Annotated[Path | None, typer.Option(help="A plan.json to train by, instead of the defaults.")] = None,
    fold: Annotated[str | None, typer.Option(help="K/N: hold out fold K of N, train on all others.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the images, if not the manifest's.")] = None,
    work: Annotated[Path | None, typer.Option(help="Folder of checkpoints and curve [OUTPUT.training].")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
) -> None:
    """Train a network on a data set and pack it as a bundle. Run it again to go on after a stop."""
    from medseg.cli.memory import keep_freed_memory

    keep_freed_memory()
    from medseg.cli.device import choose_device
    from medseg.cli.torchrun import is_first_process, own_device
    from medseg.engines.distributed import processes

    chosen, backend = own_device(choose_device(device, threads))
    quiet = quiet or not is_first_process()
    with processes(backend):
        _train(manifest, output, network, steps, seed, plan, fold, data, work, chosen, quiet)


def _train(
    manifest: Path,
    output: Path,
    network: str,
    steps: int | None,
    seed: int,
    plan: Path | None,
    fold: str | None,
    data: Path | None,
    work: Path | None,
    chosen: torch.device,
    quiet: bool,
) -> None:
    """As one of the processes of the training, of which the first alone writes and speaks."""
    import json
    from dataclasses import replace

    from medseg.bundle.card import new_card
    from medseg.bundle.describe import describe
    from medseg.bundle.pack import pack
    from medseg.cli import progress
    from medseg.data.dataset import load_samples
    from medseg.domain.errors import InputError, OutputError
    from medseg.domain.manifest import held_out, parse_fold
    from medseg.engines.distributed import agreed, from_first, rank
    from medseg.engines.plan import class_names, default_plan, extents_mm, to_target
    from medseg.engines.trainer import fit
    from medseg.io.files import require_writable, write_text
    from medseg.io.manifest import data_root, read_manifest
    from medseg.io.manifest_build import sha256_of

    work = work or output.with_name(output.name + ".training")
    with agreed():
        described = read_manifest(manifest)
        root = data_root(described, manifest, data)
        if output.exists():
            raise OutputError(f"{output}: exists already; choose another folder or delete it")
        require_writable(work)
        require_writable(output.parent)
        spec = default_plan(described, network, steps, seed)
        if plan is not None:
            spec = _read_plan(plan)
        if fold is not None:
            spec = replace(spec, fold=parse_fold(fold), keep="last")  # so that the fold held out has picked nothing
        if spec.fold is not None:
            described = held_out(described, spec.fold)
        describe(output.name, described, spec, None)  # what could not be packed is refused before the work
        parts = described.part("train"), described.part("validation")
        if not all(parts):
            raise InputError(
                f"{manifest}: has {len(parts[0])} cases to train and {len(parts[1])} to validate on, and needs both; "
                "build it with --split GROUP=validation"
            )
    from_first(lambda: _keep_plan(spec, work))
    with agreed(), progress.bar("reading cases", sum(map(len, parts)), quiet) as advance:
        training, validation = (
            load_samples(described, cases, root, spec.preprocess, to_target(described), lambda: advance(1))
            for cases in parts
        )
    if not quiet:
        print(
            f"training on {len(training)} cases, validating on {len(validation)}; a checkpoint every "
            f"{spec.epoch_steps} steps in {work}, from which the same command goes on",
            file=sys.stderr,
            flush=True,
        )
    with progress.training(spec.steps, class_names(described), quiet) as report:
        trained = fit(spec, training, validation, work, sha256_of(manifest), chosen, report)
    if rank() > 0:
        return
    write_text(work / "history.json", json.dumps(trained.history, indent=1) + "\n")
    from medseg.reports.curve import write_curve

    write_curve(trained.history, class_names(described), work / "curve.png")
    described_bundle = describe(output.name, described, spec, extents_mm(training, spec.preprocess))
    parameters = sum(value.numel() for value in trained.weights.values())
    story = (
        f"Trained by `medseg train {manifest.name}` with seed {spec.seed} on {len(training)} cases for "
        f"{trained.history[-1]['step']} steps of {spec.batch.count} patches; the weights are those of step "
        f"{trained.best_step}, the best of {len(validation)} validation cases."
    )
    pack(described_bundle, trained.weights, output, new_card(described_bundle, parameters, story))
    print(f"packed {output}; next: medseg evaluate {output} {manifest} --split test --card", file=sys.stderr)


def _keep_plan(spec: TrainSpec, work: Path) -> None:
    """plan.json of the training; raises UsageError where the folder holds the checkpoints of another plan."""
    import json

    from medseg.domain.errors import UsageError
    from medseg.domain.spec import to_plain
    from medseg.io.files import write_text

    path = work / "plan.json"
    if any(work.glob("step-*.pt")) and path.exists() and _read_plan(path) != spec:
        raise UsageError(f"{path}: is another plan than asked for; choose another --work folder or delete this one")
    write_text(path, json.dumps(to_plain(spec), indent=1) + "\n")


def _read_plan(path: Path) -> TrainSpec:
    """Raises: UsageError, naming the file, for one that is missing or no plan."""
    import json

    from medseg.domain.errors import UsageError
    from medseg.domain.spec import from_plain
    from medseg.engines.plan import TrainSpec

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--plan {path}: cannot be read as JSON ({error}); give the plan.json of a training"
        ) from error
    return from_plain(TrainSpec, data, str(path))
