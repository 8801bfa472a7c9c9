"""`medseg evaluate`: a bundle's scores on labelled cases."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    bundle: Annotated[str, typer.Argument(help="A bundle's name or folder.")],
    manifest: Annotated[Path, typer.Argument(help="The labelled data set.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the tables [BUNDLE/docs].")] = None,
    split: Annotated[str, typer.Option(help="test, validation (picked the weights) or train.")] = "test",
    data: Annotated[Path | None, typer.Option(help="Folder of the images, if not the manifest's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    card: Annotated[bool, typer.Option("--card", help="Write the scores into the bundle's card.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
) -> None:
    """Segment the cases of a split and score the masks against the experts': a table, JSON and CSV."""
    from medseg.cli.memory import keep_freed_memory

    keep_freed_memory()
    import json

    from medseg.backends.precision import choose_precision
    from medseg.bundle.card import fill_scores
    from medseg.bundle.store import find_bundle
    from medseg.cli import progress
    from medseg.cli.device import choose_device
    from medseg.data.dataset import load_case
    from medseg.domain.errors import InputError, UsageError
    from medseg.domain.manifest import SPLITS
    from medseg.inference.evaluate import score_case
    from medseg.inference.segment import load_model, segment
    from medseg.io.files import require_writable, write_text
    from medseg.io.manifest import data_root, read_manifest
    from medseg.metrics.table import ScoreTable

    if split not in SPLITS:
        raise UsageError(f"--split {split}: give {', '.join(SPLITS)}")
    if card and split != "test":
        raise UsageError(f"--card: a card tells scores of the test cases, not of --split {split}")
    stored, described = find_bundle(bundle), read_manifest(manifest)
    root = data_root(described, manifest, data)
    cases = [case for case in described.cases if case.split == split]
    if not cases:
        raise InputError(f"{manifest}: has no {split} cases")
    if described.labels != stored.bundle.labels:
        raise InputError(f"{manifest}: its label table is not that of bundle {stored.bundle.name}; compare both")
    folder = output or stored.folder / "docs"
    require_writable(folder)
    chosen = choose_device(device, threads)
    model = load_model(stored, chosen, choose_precision(precision, chosen))
    rows = []
    with progress.bar("evaluating", len(cases), quiet) as advance:
        for case in cases:
            volume, reference = load_case(described, case, root)
            mask = segment(volume, model, name=case.image).label_map
            rows += score_case(mask.voxels, reference, volume.geometry, described.labels, case.id, case.kind)
            advance(1)
    table = ScoreTable(tuple(rows))
    facts = {
        "bundle": stored.bundle.name,
        "version": stored.bundle.version,
        "weights_sha256": stored.bundle.weights_sha256,
        "manifest": described.name,
        "split": split,
        "cases": len(cases),
        "device": str(chosen.type),
        "precision": model.precision,
    }
    write_text(folder / f"scores_{split}.json", json.dumps(facts | table.to_dict(), indent=1) + "\n")
    write_text(folder / f"scores_{split}.csv", table.to_csv())
    if card:
        named = manifest.name if manifest.is_absolute() else manifest.as_posix()
        command = f"medseg evaluate {stored.bundle.name} {named} --split {split} --card"
        unit = "mm" if stored.bundle.network.spatial_dims == 3 else "pixels"
        text = (
            f"{len(cases)} test cases, which neither trained the network nor picked its weights; mean (95 % bootstrap "
            f"interval over cases); HD95 in {unit}; {model.precision} on {chosen.type}. Measured "
            "and written by\n\n"
            f"```\n{command}\n```\n\n{table.to_markdown()}"
        )
        overall = table.groups[0].summaries
        fill_scores(stored, text, {name: round(value.mean, 4) for name, value in overall.items() if value.counted})
    print(table.to_markdown(), end="")
    print(f"medseg: {len(cases)} cases; tables in {folder}", file=sys.stderr)
