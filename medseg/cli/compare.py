"""`medseg compare`: several bundles on the same cases."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from medseg.cli.evaluating import Settings
    from medseg.reports.comparison import Contender


def compare(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="BUNDLE BUNDLE ... MANIFEST to score them, or the scores_<split>.json of several. The first is the "
            "measure of the others."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the page and the tables.")],
    split: Annotated[str, typer.Option(help="test, held-out, validation (picked the weights) or train.")] = "test",
    tolerance: Annotated[float, typer.Option(min=0, help="Of the surface Dice: mm, or pixels without a size.")] = 1.0,
    data: Annotated[Path | None, typer.Option(help="Folder of the images, if not the manifest's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
) -> None:
    """Compare bundles case by case: paired differences with intervals, box plots, parameters and time on one page.

    Exit code 4 where a bundle refused cases; they are named on the page and in no mean.
    """
    from medseg.cli.memory import keep_freed_memory

    keep_freed_memory()
    import json

    from medseg.cli.evaluating import Settings
    from medseg.cli.outputs import require_no_input
    from medseg.domain.errors import PartialBatchError, UsageError
    from medseg.io.files import require_writable, write_text
    from medseg.io.manifest import read_manifest
    from medseg.metrics.paired import paired
    from medseg.reports.comparison import write_comparison

    given = inputs if _are_scores(inputs) else inputs[:-1]
    if len(given) < 2:
        raise UsageError("compare: give two bundles or more and then a manifest, or two scores_<split>.json or more")
    require_writable(output)
    require_no_input([output / f"comparison.{ending}" for ending in ("html", "json")], map(Path, inputs))
    if given is inputs:
        scored = [_read_scores(Path(path)) for path in inputs]
        bundles = [str(plain["bundle"]) for plain in scored]
        names = tuple(bundles) if len(set(bundles)) == len(bundles) else distinct(inputs)
    else:
        manifest = Path(inputs[-1])
        described = read_manifest(manifest)
        settings = Settings(manifest, described, split, tolerance, data, device, precision, threads, quiet)
        names = distinct(given)
        scored = _score(given, names, output, settings)
    _require_same_cases(inputs, scored)
    contenders = [_contender(name, plain) for name, plain in zip(names, scored, strict=True)]
    title = f"{' and '.join(names)} on {scored[0]['manifest']} ({scored[0]['split']})"
    write_comparison(output / "comparison.html", title, contenders, scored[0].get("distance_unit", ""))
    first, *others = contenders
    differences = [
        {"bundle": other.name, "part": one.part, "metric": one.metric, "verdict": one.verdict}
        | {key: number if number == number else None for key, number in vars(one.interval).items()}
        for other in others
        for one in paired(first.table, other.table)
    ]
    head = {"against": first.name, "manifest": scored[0]["manifest"], "split": scored[0]["split"]}
    write_text(output / "comparison.json", json.dumps(head | {"differences": differences}, indent=1) + "\n")
    for one in differences:
        if one["part"] == "all" and one["counted"]:
            span = "" if one["low"] is None else f" ({one['low']:+.4f} to {one['high']:+.4f})"
            told = f"{one['mean']:+.4f}{span}"
            print(f"{one['bundle']}: {one['metric']} {told} {one['verdict']}")
    print(f"medseg: the page in {output / 'comparison.html'}", file=sys.stderr)
    if any(contender.table.refused for contender in contenders):
        raise PartialBatchError("some cases were refused, the others are compared; see the end of the page")


def distinct(inputs: list[str]) -> tuple[str, ...]:
    """A short name for each, no two alike: the last part of the path that tells it from the others.

    >>> distinct(["runs/a/unet", "runs/b/unet", "unetpp"])
    ('a/unet', 'b/unet', 'unetpp')
    >>> distinct(["x", "x", "x"])
    ('x', 'x (2)', 'x (3)')
    """
    parts = [Path(given).parts for given in inputs]
    names = []
    for place, own in enumerate(parts):
        others = [other for other in parts if other != own]
        depth = next((n for n in range(1, len(own)) if all(p[-n:] != own[-n:] for p in others)), len(own))
        before = parts[:place].count(own)
        names.append("/".join(own[-depth:]) + (f" ({before + 1})" if before else ""))
    return tuple(names)


def _are_scores(inputs: list[str]) -> bool:
    return len(inputs) > 1 and all(_is_scores(Path(given)) for given in inputs)


def _is_scores(path: Path) -> bool:
    import json

    if path.suffix != ".json" or not path.is_file():
        return False
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(plain, dict) and "rows" in plain and "groups" in plain


def _read_scores(path: Path) -> dict[str, Any]:
    """Raises: InputError if it is not what `evaluate` writes."""
    import json

    from medseg.domain.errors import InputError
    from medseg.metrics.table import ScoreTable

    plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    try:
        if not ScoreTable.from_dict(plain).rows or not isinstance(
            plain["bundle"] + plain["manifest"] + plain["split"], str
        ):
            raise ValueError("no rows")
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise InputError(f"{path}: is not what medseg evaluate writes ({error}); evaluate the bundle again") from error
    return plain


def _score(bundles: list[str], names: tuple[str, ...], output: Path, settings: Settings) -> list[dict[str, Any]]:
    """Evaluate one after the other; the tables and pages of each go into a folder of its name."""
    from medseg.bundle.store import find_bundle
    from medseg.cli.evaluating import evaluate_bundle, require_some, write_tables
    from medseg.cli.outputs import require_no_input
    from medseg.cli.score_page import write_score_page

    stored = [find_bundle(bundle) for bundle in bundles]
    cases = [settings.cases_for(one) for one in stored]  # all of them before the work
    scores = f"scores_{settings.split}"
    require_no_input(
        [output / name.replace("/", "_") / f"{scores}{end}" for name in names for end in (".json", ".csv", ".html")],
        [settings.manifest, *settings.files_of([case for own in cases for case in own])],
    )
    scored = []
    for one, own_cases, name in zip(stored, cases, names, strict=True):
        done = evaluate_bundle(one, own_cases, settings)
        require_some(done)
        folder = output / name.replace("/", "_")
        write_tables(folder, scores, done.to_dict(), done.table)
        write_score_page(done, folder, scores, 0.5)
        scored.append(done.to_dict())
    return scored


def _require_same_cases(inputs: list[str], scored: list[dict[str, Any]]) -> None:
    """Raises: InputError where manifest, split or labels differ: such scores have nothing to do with one another."""
    from medseg.domain.errors import InputError
    from medseg.metrics.ranking import leading_metric
    from medseg.metrics.table import ScoreTable

    def labels(plain: dict[str, Any]) -> set[str]:
        return {row["label"] for row in plain["rows"]}

    first = scored[0]
    leading = leading_metric(ScoreTable.from_dict(first))
    for given, other in zip(inputs[1:], scored[1:], strict=False):
        for key in ("manifest", "manifest_sha256", "split"):
            if key in first and key in other and first[key] != other[key]:
                raise InputError(
                    f"{given}: its {key} is {other[key]}, that of {inputs[0]} is {first[key]}; "
                    "evaluate both on one manifest and split"
                )
        if labels(first) != labels(other):
            raise InputError(f"{given}: has other labels than {inputs[0]}; compare bundles of one label table")
        if leading not in other["rows"][0]:
            raise InputError(f"{given}: has no {leading}; evaluate the bundle again")


def _contender(name: str, plain: dict[str, Any]) -> Contender:
    from medseg.metrics.table import ScoreTable
    from medseg.reports.comparison import Contender

    computed = f"{plain['precision']} on {plain['device']}" if "precision" in plain and "device" in plain else ""
    return Contender(name, ScoreTable.from_dict(plain), plain.get("parameters"), plain.get("seconds", {}), computed)
