"""`medseg crossval`: every case is scored by a network that has not seen it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from medseg.domain.manifest import Manifest
    from medseg.metrics.table import ScoreTable

_WORST = 5  # cases that the page shows


def crossval(
    manifest: Annotated[Path, typer.Argument(help="The data set: a JSON file of `medseg manifest build`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the folds' bundles and the scores.")],
    folds: Annotated[int, typer.Option(min=2, help="How many; of folds that the source gives, their number.")] = 5,
    network: Annotated[str, typer.Option(help="unet, unetpp, ... or a MONAI network.")] = "unet",
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps of each fold.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same weights.")] = 0,
    plan: Annotated[Path | None, typer.Option(help="A plan.json to train by, instead of the defaults.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of the plan; may be repeated.")] = None,
    join: Annotated[bool, typer.Option("--join", help="Pack their ensemble too, in OUTPUT.")] = False,
    poor: Annotated[float, typer.Option(help="With --join: Dice below which a mask is called poor.")] = 0.7,
    data: Annotated[Path | None, typer.Option(help="Folder of the images, if not the manifest's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
) -> None:
    """Train one bundle for each fold, score each on the fold that it has not seen, and put the scores together.

    What is done stays done: the same command goes on after any stop.
    """
    from medseg.bundle.store import find_bundle
    from medseg.cli.bundle_make import pack_joined
    from medseg.cli.evaluating import write_tables
    from medseg.cli.outputs import require_no_input
    from medseg.cli.train import train
    from medseg.domain.errors import PartialBatchError
    from medseg.domain.manifest import Fold, held_out
    from medseg.io.files import require_writable
    from medseg.io.manifest import read_manifest
    from medseg.metrics.table import ScoreTable

    require_no_input(
        [output / name for name in ("crossval.json", *(f"scores_crossval.{end}" for end in ("json", "csv", "html")))],
        [manifest, *([plan] if plan else [])],
    )
    require_writable(output)
    described = read_manifest(manifest)
    parts = [held_out(described, Fold(number, folds)) for number in range(1, folds + 1)]  # raises for too many
    _keep_asked(output, manifest, folds, network, steps, seed, plan, settings)
    bundles = []
    for number in range(1, folds + 1):
        folder = output / f"fold{number}"
        bundles.append(folder)
        if not folder.exists():
            train(
                manifest, folder, network, steps, seed, plan, settings, f"{number}/{folds}", data,
                device=device, threads=threads, quiet=quiet,
            )  # fmt: skip
    for folder, part in zip(bundles, parts, strict=True):
        _require_trained_on(folder, part)
    scored = [_scores(folder, manifest, data, device, threads, quiet, join) for folder in bundles]
    table = pooled([ScoreTable.from_dict(one) for one in scored])
    weights_sha256 = [find_bundle(str(folder)).weights_sha256 for folder in bundles]
    facts = {
        "manifest": manifest.stem,
        "folds": folds,
        "weights_sha256": weights_sha256,
    }
    write_tables(output, "scores_crossval", facts | table.to_dict(), table)
    page = _write_page(output, table, scored, f"{manifest.stem}, {folds} folds")
    if join:
        ensemble = output / output.resolve().name
        choices = _choices(network, steps, seed, plan, settings)
        command = f"crossval {manifest.name} -o FOLDER --folds {folds}{choices} --join"
        if ensemble.exists():
            _require_members(ensemble, weights_sha256)
        else:
            how = f"each trained without one part of the cases by `medseg {command}`"
            pack_joined([str(folder) for folder in bundles], ensemble, how)
        _fill_card(ensemble, table, scored, command)
        write_tables(ensemble / "docs", "scores_crossval", facts | table.to_dict(), table)
        _foretell(ensemble, table, scored, poor)
    print(table.to_markdown(), end="")
    print(f"medseg: {folds} folds; tables in {output}, the page in {page}", file=sys.stderr)
    if table.refused:
        raise PartialBatchError(f"{len(table.refused)} of {len(described.cases)} cases were refused, see the table")


def pooled(tables: list[ScoreTable]) -> ScoreTable:
    """One table of all folds' rows and refused cases: intervals are over all cases."""
    from medseg.metrics.table import ScoreTable

    rows = tuple(row for table in tables for row in table.rows)
    return ScoreTable(rows, refused=tuple(refused for table in tables for refused in table.refused))


def _choices(network: str, steps: int | None, seed: int, plan: Path | None, settings: list[str] | None) -> str:
    """The options of the command that shaped the training."""
    given = {"network": network if network != "unet" else None, "steps": steps, "seed": seed or None}
    named = [f" --{name} {value}" for name, value in given.items() if value is not None]
    return "".join([*named, *([f" --plan {plan.name}"] if plan else []), *(f" --set {one}" for one in settings or [])])


def _keep_asked(
    output: Path,
    manifest: Path,
    folds: int,
    network: str,
    steps: int | None,
    seed: int,
    plan: Path | None,
    settings: list[str] | None,
) -> None:
    """crossval.json: what the folds are trained on and by.

    Raises: UsageError where the folder holds folds of something else.
    """
    import json

    from medseg.domain.errors import UsageError
    from medseg.io.files import write_text
    from medseg.io.manifest_build import sha256_of

    asked = {
        "manifest_sha256": sha256_of(manifest),
        "folds": folds,
        "network": network,
        "steps": steps,
        "seed": seed,
        "plan_sha256": sha256_of(plan) if plan else None,
        "set": settings or [],
    }
    path = output / "crossval.json"
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        other = [f"{key} {kept.get(key)}, not {value}" for key, value in asked.items() if kept.get(key) != value]
        if other:
            raise UsageError(
                f"{output}: holds folds of another cross-validation ({'; '.join(other)}); choose another -o"
            )
    else:
        write_text(path, json.dumps(asked, indent=1) + "\n")


def _require_trained_on(folder: Path, part: Manifest) -> None:
    """Raises: UsageError if the fold's bundle was trained on other images than those of the fold."""
    from medseg.bundle.store import find_bundle
    from medseg.domain.errors import UsageError
    from medseg.domain.manifest import image_digests

    if find_bundle(str(folder)).seen != image_digests(part.part("train")):
        raise UsageError(f"{folder}: was trained on other images than this fold has; choose another -o")


def _write_page(output: Path, table: ScoreTable, folds: list[dict[str, Any]], title: str) -> Path:
    """The scores of all folds as one page, with pictures of the worst cases among those that each fold kept."""
    from medseg.metrics.ranking import badness, leading_metric
    from medseg.metrics.table import case_means
    from medseg.reports.evaluation import write_evaluation
    from medseg.reports.scores import Scores

    metric = leading_metric(table)
    kept = {case: path for fold in folds for case, path in fold.get("pictures", {}).items()}
    scores = case_means(table.rows, metric)
    worst = sorted(kept, key=lambda case: badness(metric, scores[case]), reverse=True)[:_WORST]
    seconds = {case: value for fold in folds for case, value in fold["seconds"].items()}
    page = output / "scores_crossval.html"
    shown = Scores(table, folds[0]["distance_unit"], pictures={case: kept[case] for case in worst}, seconds=seconds)
    told = {
        f"fold {number}": f"{fold['cases']} cases by weights {fold['weights_sha256'][:12]}, {fold['precision']} on "
        f"{fold['device']}, medseg {fold['medseg_version']}"
        for number, fold in enumerate(folds, start=1)
    }
    write_evaluation(page, title, shown, told)
    return page


def _require_members(ensemble: Path, weights_sha256: list[str]) -> None:
    """Raises: UsageError if the ensemble is of other weights than the folds have now, or was not finished."""
    import json

    from medseg.domain.errors import UsageError

    told = ensemble / "docs" / "scores_crossval.json"
    if not told.exists() or json.loads(told.read_text(encoding="utf-8"))["weights_sha256"] != weights_sha256:
        raise UsageError(
            f"{ensemble}: is not the ensemble of the folds beside it as they are now; move it away, and it is packed "
            "anew"
        )


def _fill_card(joined: Path, table: ScoreTable, folds: list[dict[str, Any]], command: str) -> None:
    """The card of an ensemble tells the scores of its members."""
    from medseg.bundle.store import find_bundle
    from medseg.cli.evaluating import fill_card

    told = (
        f"{sum(fold['cases'] for fold in folds) - len(table.refused)} cases, each scored by the one of {len(folds)} "
        "networks that has not seen it or its group, by its last weights. The mean answer of all is not measured: no "
        "case is left that none of them has seen"
    )
    ways = sorted({f"{fold['precision']} on {fold['device']}" for fold in folds})
    fill_card(find_bundle(str(joined)), table, told, folds[0]["distance_unit"], ", ".join(ways), command)


def _foretell(joined: Path, table: ScoreTable, folds: list[dict[str, Any]], poor: float) -> None:
    """The ensemble learns what the agreement of a member's mirror images foretells, from each case's own fold."""
    from dataclasses import replace

    from medseg.bundle.renew import renew
    from medseg.bundle.store import find_bundle
    from medseg.cli.bundle_make import in_words
    from medseg.metrics.quality import LEAST_CASES, fit_quality
    from medseg.metrics.table import case_means

    agreements = {case: value for fold in folds for case, value in fold.get("agreements", {}).items()}
    scores = {case: score for case, score in case_means(table.rows, "Dice").items() if case in agreements}
    if len(scores) >= LEAST_CASES:
        fit = fit_quality([agreements[case] for case in scores], list(scores.values()), poor)
        if fit.foretells:
            renew(find_bundle(str(joined)), quality=replace(fit, of_member=True))
        print(f"medseg: {in_words(fit)}", file=sys.stderr)


def _scores(
    folder: Path, manifest: Path, data: Path | None, device: str, threads: int | None, quiet: bool, compare: bool
) -> dict[str, Any]:
    """Of the fold held out, as plain data; measured once, then read from the bundle's docs.

    compare: also how well mirror images agree, where the training saw some.
    """
    import json

    from medseg.bundle.store import find_bundle
    from medseg.cli.evaluating import (
        HELD_OUT,
        Settings,
        evaluate_bundle,
        fill_own_card,
        require_some,
        write_tables,
    )
    from medseg.cli.score_page import write_pictures
    from medseg.domain.wishes import Wishes
    from medseg.io.manifest import read_manifest

    stored = find_bundle(str(folder))
    wishes = Wishes(quality=compare and bool(stored.flip_axes))
    kept = folder / "docs" / f"scores_{HELD_OUT}.json"
    if kept.exists():
        found = json.loads(kept.read_text(encoding="utf-8"))
        pictured = "pictures" in found and all((folder.parent / name).is_file() for name in found["pictures"].values())
        enough = pictured and ("agreements" in found or not wishes.quality)
        if enough and found.get("weights_sha256") == stored.weights_sha256:
            return found
    settings = Settings(manifest, read_manifest(manifest), HELD_OUT, 1.0, data, device, "auto", threads, quiet, wishes)
    done = evaluate_bundle(stored, settings.cases_for(stored), settings)
    require_some(done)
    found = done.to_dict() | {"pictures": write_pictures(done, folder.with_name(f"{folder.name}_pictures"))}
    write_tables(kept.parent, kept.stem, found, done.table)
    fill_own_card(done, manifest)
    return found
