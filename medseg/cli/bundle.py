"""`medseg bundle`: which bundles there are and what they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, show and check bundles.")


@app.command("list")
def list_command() -> None:
    """The bundles found by name, what images they take, and where they are."""
    from medseg.bundle.store import bundle_folders, list_bundles

    found = list_bundles()
    for folder in found:
        print(f"{folder.name}  {_taken(folder)}  {folder}")
    if not found:
        print(f"medseg: no bundles in {', '.join(map(str, bundle_folders()))}", file=sys.stderr)


def _taken(folder: Path) -> str:
    """In two words what images a bundle takes."""
    from medseg.bundle.inputs import read_inputs
    from medseg.domain.errors import BundleError

    try:
        inputs = read_inputs(folder)
    except BundleError:
        return "does not say what it takes"
    return f"{inputs.modality} {inputs.spatial_dims}-D"


@app.command("info")
def info(bundle: Annotated[str, typer.Argument(help="A bundle's name or folder.")]) -> None:
    """What a bundle takes, gives and scored."""
    import json

    from medseg.bundle.foreign import MonaiBundle
    from medseg.bundle.store import find_any
    from medseg.domain.words import counted

    stored = find_any(bundle)
    if isinstance(stored, MonaiBundle):
        from medseg.cli.foreign import facts_of

        for name, fact in facts_of(stored).items():
            print(f"{name:14} {fact}")
        return
    value = stored
    metadata = json.loads((stored.folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    of = f"{value.network.members} of " if value.network.members > 1 else ""
    scores = ", ".join(f"{name} {score}" for name, score in dict(metadata.get("eval_metrics") or {}).items())
    facts = {
        "bundle": f"{value.name} {value.version} ({stored.folder})",
        "task": value.task,
        "input": f"{value.modality}, {value.network.spatial_dims}-D, {counted(value.preprocess.channels, 'channel')}",
        "labels": ", ".join(f"{label.value} {label.name}" for label in value.labels)
        + (" (instances)" if value.labels.kind == "instances" else ""),
        "network": f"{of}{value.network.preset} {'-'.join(map(str, value.network.widths))}",
        "windows": f"{'x'.join(map(str, value.window.size))}, overlap {value.window.overlap}, {value.window.weighting}",
        "scores": f"{scores}; of which cases, and how sure: docs/README.md there" if scores else "not measured",
        "data": f"{value.data_source} ({value.data_licence})",
    }
    if value.field_of_view is not None:
        low, high = value.field_of_view.smallest_mm, value.field_of_view.largest_mm
        facts["field of view"] = " x ".join(f"{a:g}-{b:g}" for a, b in zip(low, high, strict=True)) + " mm"
    if value.localiser is not None:
        facts["localiser"] = ", ".join(f"{region.name} {region.box}" for region in value.localiser.regions)
    if value.spacing_range is not None:
        facts["voxels"] = f"{value.spacing_range.smallest_mm:g} to {value.spacing_range.largest_mm:g} mm"
    if value.quality is not None:
        correlation = f"{value.quality.correlation:.2f}"
        facts["quality"] = f"`segment --quality` foretells Dice, with correlation {correlation} on cases not in its fit"
    for name, fact in facts.items():
        print(f"{name:14} {fact}")


@app.command("check")
def check(
    bundle: Annotated[str, typer.Argument(help="A bundle's name, folder or zip.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Weights, metadata, files, the network, licences, what other consumers would say, and the stored self-test.

    Exit code 5 if something is wrong that nobody could do without.
    """
    from medseg.bundle import check as checking
    from medseg.bundle.store import find_any
    from medseg.domain.errors import BundleError
    from medseg.inference.selftest import self_test

    stored = find_any(bundle)
    checks = [*checking.all_checks(stored), self_test(stored)]
    failed = [check for check in checks if check.state == "fails"]
    if as_json:
        print(checking.as_json(checks))
    else:
        for check in checks:
            print(f"{check.state:5}  {check.topic:9}  {check.name}: {check.fact}")
    if failed:
        words = "; ".join(f"{check.topic}, {check.name}: {check.fact}" for check in failed)
        raise BundleError(f"{Path(stored.folder)}: {len(failed)} of {len(checks)} checks fail: {words}")


@app.command("selftest")
def selftest(
    bundle: Annotated[str, typer.Argument(help="A bundle's name or folder; it is changed.")],
    image: Annotated[Path, typer.Argument(help="A small image, which everybody with the bundle will have.")],
    about: Annotated[str, typer.Option(help="What the image is and who may use it; stored with it.")] = "",
) -> None:
    """Store an image and stock MONAI's mask of it in a bundle; `check` then compares. For bundles of medseg."""
    from medseg.bundle.foreign import MonaiBundle
    from medseg.bundle.store import find_any
    from medseg.domain.errors import BundleError
    from medseg.inference.selftest import make_self_test

    stored = find_any(bundle)
    if isinstance(stored, MonaiBundle):
        raise BundleError(
            f"{stored.folder}: is no bundle of medseg; stock MONAI, which makes self-tests, is not run on it"
        )
    made = make_self_test(stored, image, about)
    print(f"{stored.folder}: self-test stored; {made.fact}", file=sys.stderr)


@app.command("localise")
def localise(
    bundle: Annotated[str, typer.Argument(help="A bundle's name or folder; it is changed.")],
    template: Annotated[Path, typer.Option(help="NIfTI, uint8, cubes of 3 to 6 mm, 0 outside of the organ.")],
    licence: Annotated[Path, typer.Option(help="The template's licence, a text file.")],
    region: Annotated[list[str], typer.Option(help="NAME=x,y,z,dx,dy,dz in mm of the template; may be repeated.")],
) -> None:
    """Teach a bundle that was trained on crops where to look in whole images: boxes in a template."""
    from medseg.bundle.bundle import Region
    from medseg.bundle.localise import add_localiser
    from medseg.bundle.store import find_bundle
    from medseg.inference.region import parse_box

    regions = []
    for text in region:
        name, _, box = text.partition("=")
        regions.append(Region(name, parse_box(box, f"--region {name}=")))
    changed = add_localiser(find_bundle(bundle), template, licence, regions)
    print(f"{changed.folder}: version {changed.version}, with a localiser", file=sys.stderr)


@app.command("trust")
def trust(bundle: Annotated[str, typer.Argument(help="A bundle's folder or zip.")]) -> None:
    """Let code of this bundle run from now on, as long as no byte of it changes; shows what would run."""
    from medseg.bundle.foreign import config_path
    from medseg.bundle.store import find_folder
    from medseg.bundle.trust import trust as remember
    from medseg.bundle.trust import what_would_run

    folder = find_folder(bundle)
    lines = what_would_run(folder, config_path(folder))
    digest = remember(folder)
    for line in lines:
        print(line)
    print(f"{folder}: trusted, sha256 {digest} of all files; the {len(lines)} lines above may run")
