"""`medseg train`: a manifest becomes a bundle."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from medseg.data.dataset import Sample
    from medseg.domain.manifest import Manifest
    from medseg.engines.defaults import Suggestion
    from medseg.engines.plan import TrainSpec
    from medseg.engines.pretrained import Pretrained
    from medseg.engines.trainer import Progress, Trained


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
    pretrained: Annotated[str, typer.Option(help="A bundle from whose weights to start, instead of at random.")] = "",
    work: Annotated[Path | None, typer.Option(help="Folder of checkpoints and curve [OUTPUT.training].")] = None,
    mlflow: Annotated[str, typer.Option(help="A folder or the URI of a server that MLflow logs to.")] = "",
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
    place = Place(manifest, output, work or output.with_name(output.name + ".training"), data, mlflow)
    told = Told(network, steps, seed, plan, tuple(settings or ()), fold, pretrained, device, threads)
    with processes(backend):
        _train(place, told, chosen, quiet or not is_first_process())


@dataclass(frozen=True)
class Place:
    """Where a training reads and writes."""

    manifest: Path
    output: Path
    work: Path
    data: Path | None
    mlflow: str


@dataclass(frozen=True)
class Told:
    """How the command line says to train."""

    network: str
    steps: int | None
    seed: int
    plan: Path | None
    settings: tuple[str, ...]
    fold: str | None
    pretrained: str
    device: str
    threads: int | None


@dataclass(frozen=True)
class Settled:
    """What is trained, on what; `suggestion` where the plan came from the data.

    described: the manifest with its splits as they are trained, a fold held out.
    """

    described: Manifest
    root: Path
    spec: TrainSpec
    suggestion: Suggestion | None
    pretrained: Pretrained | None

    @property
    def weights(self) -> dict[str, Tensor] | None:
        """Those to start from; None: drawn at random."""
        return None if self.pretrained is None else self.pretrained.weights


def _train(place: Place, told: Told, chosen: torch.device, quiet: bool) -> None:
    """As one of the processes of the training, of which the first alone writes and speaks."""
    from medseg.cli import planning, progress
    from medseg.data.dataset import load_samples
    from medseg.engines.distributed import agreed, from_first, rank
    from medseg.engines.plan import to_target
    from medseg.engines.trainer import fit
    from medseg.io.manifest_build import sha256_of

    settled = from_first(lambda: _settle(place, told, chosen))
    described, spec = settled.described, settled.spec
    from_first(lambda: planning.keep_plan(spec, place.work))
    if settled.suggestion is not None and rank() == 0:
        planning.keep_fingerprint(settled.suggestion, place.work)
        if not quiet:
            print("\n".join(planning.explained(settled.suggestion)), file=sys.stderr)
    cases = described.part("train") + described.part("validation")
    with agreed(), progress.bar("reading cases", len(cases), quiet) as advance:
        samples = load_samples(
            described, cases, settled.root, spec.preprocess, to_target(described), lambda: advance(1)
        )
    cut = len(described.part("train"))
    training, validation = samples[:cut], samples[cut:]
    if rank() > 0:
        fit(spec, training, validation, place.work, sha256_of(place.manifest), chosen, pretrained=settled.weights)
        return
    if not quiet:
        print(
            f"training on {len(training)} cases, validating on {len(validation)}; a checkpoint every "
            f"{spec.epoch_steps} steps in {place.work}, from which the same command goes on; what follows the last is "
            "lost with a stop",
            file=sys.stderr,
            flush=True,
        )
    _fit_and_pack(place, told, settled, training, validation, chosen, quiet)


def _settle(place: Place, told: Told, chosen: torch.device) -> Settled:
    """Everything that can be refused is refused here, before the work; the first process settles for all."""
    from dataclasses import replace

    from medseg.backends.precision import choose_precision
    from medseg.bundle.describe import describe
    from medseg.cli import planning
    from medseg.domain.errors import InputError, OutputError, UsageError
    from medseg.domain.manifest import held_out, parse_fold
    from medseg.io.files import require_writable
    from medseg.io.manifest import data_root, read_manifest

    described = read_manifest(place.manifest)
    root = data_root(described, place.manifest, place.data)
    if place.output.exists():
        raise OutputError(f"{place.output}: exists already; choose another folder or delete it")
    require_writable(place.work)
    require_writable(place.output.parent)
    fold = parse_fold(told.fold) if told.fold else None
    if fold is not None:
        described = held_out(described, fold)
    if not described.part("train") or not described.part("validation"):
        raise InputError(
            f"{place.manifest}: has {len(described.part('train'))} cases to train and "
            f"{len(described.part('validation'))} to validate on, and needs both; build it with --overwrite and "
            f"--split GROUP=validation, as --split {described.cases[0].group}=validation"
        )
    planning.require_apart(described)
    pretrained = planning.pretrained(told.pretrained, told.network, described, fold) if told.pretrained else None
    suggestion = None
    if told.plan is not None:
        spec = planning.read_plan(told.plan)
    else:
        suggestion = planning.suggested(described, root, chosen, told.network, told.steps, told.seed, pretrained)
        spec = suggestion.spec
    if fold is not None:
        spec = replace(spec, fold=fold, keep="last")  # so that the fold held out has picked nothing
    spec = planning.with_settings(spec, told.settings)
    if spec.fold != fold:
        raise UsageError(f"the plan holds out fold {spec.fold}; say so with --fold {spec.fold}")
    spec = planning.started(spec, pretrained)
    describe(place.output.name, described, spec, None)  # raises where it could not be packed
    choose_precision(spec.precision, chosen)  # raises where the device does not compute in it
    return Settled(described, root, spec, suggestion, pretrained)


def _fit_and_pack(
    place: Place,
    told: Told,
    settled: Settled,
    training: list[Sample],
    validation: list[Sample],
    chosen: torch.device,
    quiet: bool,
) -> None:
    import json
    from shutil import rmtree

    from medseg.bundle.card import new_card
    from medseg.bundle.describe import describe
    from medseg.bundle.pack import pack
    from medseg.cli import planning, progress
    from medseg.cli.evaluating import HELD_OUT, Settings
    from medseg.cli.following import follow
    from medseg.cli.training_page import TrainingPage
    from medseg.engines.plan import class_names, extents_mm
    from medseg.engines.trainer import fit
    from medseg.io.files import write_text
    from medseg.io.manifest_build import sha256_of
    from medseg.reports.curve import write_curve

    described, spec, work = settled.described, settled.spec, place.work
    names = class_names(described)
    with (
        progress.training(spec.steps, names, quiet) as report,
        follow(work, names, described.name, spec, place.mlflow) as followers,
    ):

        def tell(progress: Progress) -> None:
            report(progress)
            followers(progress)

        trained = fit(spec, training, validation, work, sha256_of(place.manifest), chosen, tell, settled.weights)
    write_text(work / "history.json", json.dumps(trained.history, indent=1) + "\n")
    write_curve(trained.history, names, work / "curve.png")
    always_labelled = all(sample.target.any() for sample in training)
    bundle = describe(place.output.name, described, spec, extents_mm(training, spec.preprocess), always_labelled)
    parameters = sum(value.numel() for value in trained.weights.values())
    story = _story(place.manifest, settled, trained, len(training), len(validation))
    card = new_card(bundle, parameters, story)
    staged = work / "packed"
    rmtree(staged, ignore_errors=True)  # of a run that was killed here
    pack(bundle, trained.weights, staged / place.output.name, card)
    split = HELD_OUT if spec.fold else "validation"
    scored = Settings(place.manifest, described, split, 1.0, place.data, told.device, "auto", told.threads, quiet)
    reasons = planning.reasons_of(settled.suggestion, spec) if settled.suggestion else {}
    page = TrainingPage(staged / place.output.name, work, scored, spec, reasons)
    followers.finish(work, page.write(trained, tuple(followers.watch.seconds)))
    rmtree(staged)
    pack(bundle, trained.weights, place.output, card)  # last: where it is, the training is over
    print(
        f"packed {place.output}, the page in {work / 'report.html'}; next: medseg evaluate {place.output} "
        f"{place.manifest} --split {HELD_OUT if spec.fold else 'test'} --card",
        file=sys.stderr,
    )


def _story(manifest: Path, settled: Settled, trained: Trained, training: int, validation: int) -> str:
    """How the weights came about, for the card."""
    spec, start = settled.spec, settled.pretrained
    how = f"`medseg train {manifest.name}{f' --fold {spec.fold}' if spec.fold else ''}` with seed {spec.seed}"
    if start is not None:
        how += f", starting from the weights of `{start.name}` (sha256 {start.sha256[:12]})"
    steps = f"{trained.history[-1]['step']} steps of {spec.batch.count} patches"
    if spec.keep == "last":
        return (
            f"Trained by {how} on {training} cases for {steps}; the weights are the last ones, so the {validation} "
            "cases held out picked nothing."
        )
    return (
        f"Trained by {how} on {training} cases for {steps}; the weights are those of step {trained.best_step}, the "
        f"best of {validation} validation cases."
    )
