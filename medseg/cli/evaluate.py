"""`medseg evaluate`: a bundle's scores on labelled cases."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    bundle: Annotated[str, typer.Argument(help="A bundle's name or folder.")],
    manifest: Annotated[Path, typer.Argument(help="The labelled data set.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder of tables and page [of a bundle of medseg BUNDLE.evaluation]."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder of the page and its pictures, if not OUTPUT.")] = None,
    split: Annotated[
        str, typer.Option(help="test, held-out (a fold), validation (picked the weights), train or all.")
    ] = "test",
    tolerance: Annotated[float, typer.Option(min=0, help="Of the surface Dice: mm, or pixels without a size.")] = 1.0,
    threshold: Annotated[float, typer.Option(help="A label that scores below is listed as a failure.")] = 0.5,
    data: Annotated[Path | None, typer.Option(help="Folder of the images, if not the manifest's.")] = None,
    tta: Annotated[bool, typer.Option("--tta", help="The mean over mirror images: 2 to 8 times the work.")] = False,
    depth: Annotated[int | None, typer.Option(min=1, help="Of a UNet++, the head that answers.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    card: Annotated[bool, typer.Option("--card", help="Write card and tables into the bundle too.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
) -> None:
    """Segment the cases of a split and score the masks against the experts': tables, and a page with pictures.

    A case that is refused is named in all of them, and the others go on; the exit code is then 4.
    """
    from medseg.cli.memory import keep_freed_memory

    keep_freed_memory()
    from medseg.bundle.foreign import MonaiBundle
    from medseg.bundle.store import find_any
    from medseg.cli.evaluating import HELD_OUT, Settings, evaluate_bundle, fill_own_card, require_some, write_tables
    from medseg.cli.outputs import require_no_input
    from medseg.cli.score_page import write_score_page
    from medseg.domain.errors import PartialBatchError, UsageError
    from medseg.domain.wishes import Wishes
    from medseg.io.files import require_writable
    from medseg.io.manifest import read_manifest

    if card and split not in ("test", HELD_OUT):
        raise UsageError(f"--card: a card tells scores of test cases or of a fold held out, not of --split {split}")
    if card and (tta or depth):
        raise UsageError("--card: a card tells scores of the bundle as `segment` runs it; leave out --tta and --depth")
    stored = find_any(bundle)
    if isinstance(stored, MonaiBundle) and (card or output is None):
        raise UsageError(
            f"bundle {stored.name} is somebody else's and stays as it is: give -o FOLDER for the tables, and no --card"
        )
    wishes = Wishes(depth, tta)
    settings = Settings(
        manifest, read_manifest(manifest), split, tolerance, data, device, precision, threads, quiet, wishes
    )
    cases = settings.cases_for(stored)
    folder = output or stored.folder.with_name(stored.folder.name + ".evaluation")
    pages = report or folder
    tables = [folder, stored.folder / "docs"] if card else [folder]  # a bundle's tables are those its card tells
    name = f"scores_{split}" + ("_tta" if tta else "") + (f"_depth{depth}" if depth else "")
    require_no_input(
        [place / f"{name}{ending}" for place in (*tables, pages) for ending in (".json", ".csv", ".html")],
        [manifest, *settings.files_of(cases)],
    )
    for place in (*tables, pages):
        require_writable(place)
    done = evaluate_bundle(stored, cases, settings)
    require_some(done)
    table = done.table
    for place in tables:
        write_tables(place, name, done.to_dict(), table)
    page = write_score_page(done, pages, name, threshold)
    if card:
        fill_own_card(done, manifest)
    print(table.to_markdown(), end="")
    scored = len(cases) - len(table.refused)
    print(f"medseg: {scored} cases; tables in {folder}, the page in {page}", file=sys.stderr)
    if table.refused:
        raise PartialBatchError(
            f"{len(table.refused)} of {len(cases)} cases were refused, the others are done; see the page"
        )
