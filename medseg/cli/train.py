"""`medseg train`: a manifest becomes a bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, cast

import typer


def train(
    manifest: Annotated[Path, typer.Argument(help="The data set: a JSON file of `medseg manifest build`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder of the bundle, bundles/NAME.")],
    network: Annotated[str, typer.Option(help="unet, unetpp, residual_unet, fcn, ... or a MONAI network.")] = "unet",
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps in all.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same weights.")] = 0,
    plan: Annotated[Path | None, typer.Option(help="A plan.json to train by, instead of the defaults.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of the plan, as batch.count=4; may be repeated.")
    ] = None,
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
    import json
    from dataclasses import replace

    from medseg.bundle.card import new_card
    from medseg.bundle.describe import describe
    from medseg.bundle.pack import pack
    from medseg.cli import planning, progress
    from medseg.cli.device import choose_device
    from medseg.data.dataset import load_samples
    from medseg.domain.errors import InputError, OutputError, UsageError
    from medseg.domain.manifest import held_out, parse_fold
    from medseg.engines.plan import class_names, extents_mm, to_target
    from medseg.engines.trainer import fit
    from medseg.io.files import require_writable, write_text
    from medseg.io.manifest import data_root, read_manifest
    from medseg.io.manifest_build import sha256_of

    chosen = choose_device(device, threads)
    described = read_manifest(manifest)
    root = data_root(described, manifest, data)
    work = work or output.with_name(output.name + ".training")
    if output.exists():
        raise OutputError(f"{output}: exists already; choose another folder or delete it")
    require_writable(work)
    require_writable(output.parent)
    chosen_fold = parse_fold(fold) if fold else None
    if chosen_fold is not None:
        described = held_out(described, chosen_fold)
    suggestion = None if plan else planning.suggested(described, root, chosen, network, steps, seed)
    spec = suggestion.spec if suggestion else planning.read_plan(cast(Path, plan))
    if chosen_fold is not None:
        spec = replace(spec, fold=chosen_fold, keep="last")  # so that the fold held out has picked nothing
    spec = planning.with_settings(spec, settings or [])
    if spec.fold != chosen_fold:
        raise UsageError(f"the plan holds out fold {spec.fold}; say so with --fold {spec.fold}")
    describe(output.name, described, spec, None)  # what could not be packed is refused before the work
    parts = described.part("train"), described.part("validation")
    if not all(parts):
        raise InputError(
            f"{manifest}: has {len(parts[0])} cases to train and {len(parts[1])} to validate on, and needs both; "
            "build it with --split GROUP=validation"
        )
    planning.keep_plan(spec, work)
    if suggestion is not None:
        planning.keep_fingerprint(suggestion, work)
        if not quiet:
            print("\n".join(planning.explained(suggestion)), file=sys.stderr)
    with progress.bar("reading cases", sum(map(len, parts)), quiet) as advance:
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
