"""`medseg bundle join, prune, depths, quality`: bundles made of bundles, and what is measured of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.bundle import app

if TYPE_CHECKING:
    from torch import Tensor

    from medseg.bundle.bundle import Bundle
    from medseg.metrics.quality import QualityFit

Manifest = Annotated[Path, typer.Argument(help="A labelled data set that did not train the bundle.")]
Split = Annotated[str, typer.Option(help="validation, test, held-out or all.")]


@app.command("join")
def join(
    bundles: Annotated[list[str], typer.Argument(help="Two or more bundles of one plan, as the folds of a training.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder of the new bundle.")],
) -> None:
    """Make a bundle whose answer is the mean of several; it costs as much time as all of them."""
    pack_joined(bundles, output, "joined by `medseg bundle join`")


def pack_joined(bundles: list[str], output: Path, how: str) -> None:
    """The ensemble of the bundles, packed in the folder and called as it is; how: it came about, for the card."""
    from medseg.bundle.derive import joined
    from medseg.bundle.store import find_bundle

    parts = [find_bundle(bundle) for bundle in bundles]
    bundle, weights = joined(parts, output.resolve().name)
    names = ", ".join(f"`{part.name}`" for part in parts)
    _pack(bundle, weights, output, f"The mean of the answers of {names}, {how}.")


@app.command("prune")
def prune(
    bundle: Annotated[str, typer.Argument(help="A bundle with a UNet++.")],
    depth: Annotated[int, typer.Option(min=1, help="The deepest head that is kept.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder of the new bundle.")],
) -> None:
    """Make a smaller bundle of a UNet++: the heads down to a depth, and nothing that only deeper ones need."""
    from medseg.bundle.derive import pruned
    from medseg.bundle.store import find_bundle

    stored = find_bundle(bundle)
    smaller, weights = pruned(stored, depth, output.name)
    _pack(smaller, weights, output, f"`{stored.name}`, pruned to depth {depth} by `medseg bundle prune`.")


@app.command("depths")
def depths(
    bundle: Annotated[str, typer.Argument(help="A bundle with a UNet++; its metadata is changed.")],
    manifest: Manifest,
    split: Split = "validation",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
) -> None:
    """Measure score, time and parameters of each depth; `--fast` chooses by them."""
    from statistics import fmean, median

    from medseg.bundle.bundle import DepthScore
    from medseg.bundle.depth import fast_depth
    from medseg.bundle.derive import parameters_of_depth
    from medseg.bundle.renew import renew
    from medseg.bundle.store import find_bundle
    from medseg.cli.evaluating import Settings, evaluate_bundle, require_some
    from medseg.domain.errors import UsageError
    from medseg.domain.wishes import Wishes
    from medseg.io.manifest import read_manifest
    from medseg.metrics.table import case_means

    _require_other_than_train(split)
    _require_folder(bundle)
    stored = find_bundle(bundle)
    greatest = stored.network.greatest_depth
    if greatest is None:
        raise UsageError(f"{stored.folder}: its {stored.network.preset} has one depth; nothing to measure")
    described, found = read_manifest(manifest), []
    for depth in range(1, greatest + 1):
        settings = Settings(manifest, described, split, 1.0, None, device, "auto", threads, quiet, Wishes(depth=depth))
        done = evaluate_bundle(stored, settings.cases_for(stored), settings)
        require_some(done)
        score = fmean(case_means(done.table.rows, "Dice").values())
        seconds = median(done.evaluated.seconds.values())
        found.append(DepthScore(depth, round(score, 4), round(seconds, 4), parameters_of_depth(stored, depth)))
        print(f"depth {depth}: Dice {score:.4f}, {seconds:.3f} s a case, {found[-1].parameters / 1e6:.2f} M parameters")
    renew(stored, depths=tuple(found))
    print(f"--fast: head {fast_depth(tuple(found), stored.name)} answers")


@app.command("quality")
def quality(
    bundle: Annotated[str, typer.Argument(help="A bundle's name or folder; its metadata is changed.")],
    manifest: Manifest,
    split: Split = "validation",
    poor: Annotated[float, typer.Option(help="Dice below which a mask is called poor.")] = 0.7,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
) -> None:
    """Measure how well the agreement of several answers foretells the Dice; `segment --quality` then tells it."""
    from medseg.bundle.renew import renew
    from medseg.bundle.store import find_bundle
    from medseg.cli.evaluating import Settings, evaluate_bundle, require_some
    from medseg.domain.errors import InputError
    from medseg.domain.wishes import Wishes
    from medseg.io.manifest import read_manifest
    from medseg.metrics.quality import LEAST_CASES, LEAST_CORRELATION, fit_quality
    from medseg.metrics.table import case_means

    _require_other_than_train(split)
    _require_folder(bundle)
    stored = find_bundle(bundle)
    settings = Settings(
        manifest, read_manifest(manifest), split, 1.0, None, device, "auto", threads, quiet, Wishes(quality=True)
    )
    done = evaluate_bundle(stored, settings.cases_for(stored), settings)
    require_some(done)
    scores, agreements = case_means(done.table.rows, "Dice"), done.evaluated.agreements
    if len(scores) < LEAST_CASES:
        raise InputError(
            f"{manifest}: {len(scores)} cases of the {split} split are too few; {LEAST_CASES} tell a line: give "
            "another --split or data set"
        )
    fit = fit_quality([agreements[case] for case in scores], list(scores.values()), poor)
    if not fit.foretells:
        raise InputError(
            f"{manifest}: agreement foretells nothing on these {fit.cases} cases (slope {fit.slope:.2f}, correlation "
            f"{fit.correlation:.2f} on cases not in the fit; {LEAST_CORRELATION:g} is the least); nothing is stored"
        )
    renew(stored, quality=fit)
    print(in_words(fit))


def _require_folder(bundle: str) -> None:
    from medseg.domain.errors import UsageError

    if Path(bundle).is_file():
        raise UsageError(
            f"{bundle}: what is measured is stored in the bundle, which a file cannot take; unpack it first"
        )


def _require_other_than_train(split: str) -> None:
    from medseg.domain.errors import UsageError

    if split == "train":
        raise UsageError("--split train: these cases trained the bundle; give validation, test, held-out or all")


def in_words(fit: QualityFit) -> str:
    """What agreement foretells, in one line."""
    return (
        f"expected Dice = {fit.intercept:.3f} + {fit.slope:.3f} x agreement; on cases not in the fit: correlation "
        f"{fit.correlation:.3f}, sensitivity {_percent(fit.sensitivity)}, specificity {_percent(fit.specificity)} for "
        f"Dice below {fit.poor:g} ({fit.cases} cases)"
    )


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.0f} %"


def _pack(bundle: Bundle, weights: dict[str, Tensor], output: Path, story: str) -> None:
    from medseg.bundle.card import new_card
    from medseg.bundle.pack import pack

    count = sum(value.numel() for value in weights.values())
    pack(bundle, weights, output, new_card(bundle, count, story))
    print(f"medseg: packed {output}, {count / 1e6:.2f} million parameters", file=sys.stderr)
