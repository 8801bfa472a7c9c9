"""`medseg manifest`: describe labelled data sets and check them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from medseg.domain.labels import LabelTable
    from medseg.domain.manifest import Manifest, Split

_FEW_CASES = 3

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Describe labelled data sets and check them.")


@app.command()
def build(
    folder: Annotated[Path, typer.Argument(help="The data set's folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The manifest to write, NAME.json.")],
    images: Annotated[str, typer.Option(help="Folder of the images inside FOLDER.")] = "images",
    masks: Annotated[str, typer.Option(help="Folder of the masks inside FOLDER; same stems.")] = "masks",
    label: Annotated[list[str] | None, typer.Option(help="VALUE=NAME of a label, for example 1=liver; repeat.")] = None,
    instances: Annotated[bool, typer.Option("--instances", help="Mask values number things of the one label.")] = False,
    mask_value: Annotated[
        list[str] | None, typer.Option(help="FILE_VALUE=LABEL_VALUE where they differ, for example 255=1; repeat.")
    ] = None,
    like: Annotated[Path | None, typer.Option(help="A manifest to take name, labels, licence and so on from.")] = None,
    modality: Annotated[str | None, typer.Option(help="MR, CT, microscopy, ...")] = None,
    description: Annotated[str | None, typer.Option(help="What the images show, and what not.")] = None,
    source: Annotated[str | None, typer.Option(help="Whose data they are: a reference.")] = None,
    licence: Annotated[str | None, typer.Option(help="An SPDX name, for example CC-BY-4.0.")] = None,
    root: Annotated[
        str | None, typer.Option(help="MEDSEG_DATA/... or a path relative to the manifest [path to FOLDER].")
    ] = None,
    index: Annotated[str | None, typer.Option(help="CSV file inside FOLDER with a column id.")] = None,
    kind_column: Annotated[str | None, typer.Option(help="Its column of kinds: subsets to score apart.")] = None,
    group_column: Annotated[str | None, typer.Option(help="Its column of patients or folds, never torn.")] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="GROUP=train, GROUP=validation or GROUP=test [by hash]; repeat.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the manifest if it exists.")] = False,
) -> None:
    """Pair images with masks and write a manifest: labels, splits, a sha256 for each file."""
    from dataclasses import replace

    from medseg.cli.outputs import require_no_input
    from medseg.domain.errors import OutputError, UsageError
    from medseg.domain.manifest import SPLITS, kinds
    from medseg.domain.words import counted
    from medseg.io.manifest import case_paths, read_manifest, write_manifest
    from medseg.io.manifest_build import Layout, build_manifest

    if output.exists() and not overwrite:
        raise OutputError(f"{output}: exists already; choose another name or give --overwrite")
    if (like is None) == (not label):
        raise UsageError("give either the labels, --label 1=liver, or a manifest to take them from, --like other.json")
    layout = Layout(images, masks, index, kind_column, group_column, _splits(split) if split else None)
    head = read_manifest(like) if like is not None else _head(output, folder, _labels(label or (), instances))
    head = replace(
        head,
        cases=(),
        modality=modality or head.modality,
        description=description or head.description,
        source=source or head.source,
        licence=licence or head.licence,
        root=root or head.root,
    )
    if mask_value:
        values = {key: _whole(value, "--mask-value") for key, value in _pairs(mask_value, "--mask-value")}
        unmapped = [one for one in head.labels if one.value not in values.values()]
        for one in unmapped if head.labels.kind == "semantic" else ():
            typer.echo(
                f"warning: no value of the files becomes {one.value} ({one.name}): where some are given, others count "
                f"for nothing; if it is in the masks, add --mask-value FILE_VALUE={one.value}",
                err=True,
            )
        head = replace(head, mask_values=values)
    described = build_manifest(head, folder, layout)
    read = [path for case in described.cases for path in case_paths(case, folder)]
    require_no_input([output], [*read, *([folder / index] if index is not None else [])])
    if like is None:
        described = _like_first_image(described, folder)
    write_manifest(described, output)
    counts = ", ".join(f"{len(described.part(name))} {name}" for name in SPLITS)
    of_kinds = f"; kinds {', '.join(kinds(described.cases))}" if kinds(described.cases) else ""
    typer.echo(f"{output}: {len(described.cases)} cases: {counts}{of_kinds}", err=True)
    for name in SPLITS[1:]:
        if len(described.part(name)) < _FEW_CASES:
            typer.echo(
                f"warning: {counted(len(described.part(name)), 'case')} for {name}: so few say little; move "
                f"groups there by --split GROUP={name} --overwrite",
                err=True,
            )
    typer.echo(f"next: medseg manifest check {output} --contact-sheet {output.with_suffix('.png')}", err=True)


@app.command()
def check(
    manifest: Annotated[Path, typer.Argument(help="The manifest.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the images, if not the manifest's.")] = None,
    contact_sheet: Annotated[Path | None, typer.Option(help="A PNG to draw sampled cases and masks into.")] = None,
    sheet_cases: Annotated[int, typer.Option(min=1, max=600, help="How many cases the contact sheet shows.")] = 24,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
) -> None:
    """Read and hash every file; tell what does not fit, a line each. Exit code 3 if there are errors."""
    from medseg.cli import progress
    from medseg.domain.errors import InputError, OutputError
    from medseg.domain.words import counted
    from medseg.io.manifest import data_root, read_manifest
    from medseg.io.manifest_check import check_manifest

    if contact_sheet is not None and contact_sheet.exists():
        raise OutputError(f"{contact_sheet}: exists already; choose another name or delete it")
    described = read_manifest(manifest)
    folder = data_root(described, manifest, data)
    with progress.bar("checking", len(described.cases), quiet) as advance:
        findings = check_manifest(described, folder, lambda: advance(1))
    for found in findings:
        typer.echo(" ".join(f"{found.level}: {found.case or described.name}: {found.message}".split()), err=True)
    if contact_sheet is not None:
        from medseg.reports.contact_sheet import write_contact_sheet

        worst_first = sorted(findings, key=lambda found: found.level)  # errors before warnings
        doubtful = list(dict.fromkeys(found.case for found in worst_first if found.case))
        write_contact_sheet(described, folder, contact_sheet, sheet_cases, doubtful)
        typer.echo(f"{contact_sheet}: look at it before you train", err=True)
    errors = sum(found.level == "error" for found in findings)
    told = f"{manifest}: {counted(len(described.cases), 'case')}, {counted(errors, 'error')}, "
    told += counted(len(findings) - errors, "warning")
    if errors:
        raise InputError(f"{told}; mend what the lines above name, or build the manifest anew")
    typer.echo(told, err=True)


def _head(output: Path, folder: Path, table: LabelTable) -> Manifest:
    """A manifest without cases, to be completed from the options and the first image."""
    from medseg.domain.manifest import Manifest

    root = Path(os.path.relpath(folder.resolve(), output.parent.resolve())).as_posix()
    return Manifest(
        name=output.stem,
        description="",
        source="",
        licence="",
        root=root,
        modality="",
        spatial_dims=2,
        channels=1,
        labels=table,
        cases=(),
    )


def _like_first_image(described: Manifest, folder: Path) -> Manifest:
    """Axes and channels as the first image has them; `check` tells which others differ."""
    from dataclasses import replace

    from medseg.domain.doubts import IS_IMAGE
    from medseg.io.images import read_image
    from medseg.io.manifest import case_paths

    first = read_image(case_paths(described.cases[0], folder)[0], IS_IMAGE)
    modality = described.modality or first.modality or "unknown"
    return replace(described, spatial_dims=first.geometry.spatial_dims, channels=first.channels, modality=modality)


def _labels(given: Iterable[str], instances: bool) -> LabelTable:
    from medseg.domain.labels import COLOURS, Label, LabelTable

    named = [(_whole(value, "--label"), name) for value, name in _pairs(given, "--label")]
    labels = tuple(Label(value, name, COLOURS[n % len(COLOURS)]) for n, (value, name) in enumerate(sorted(named)))
    return LabelTable(labels, "instances" if instances else "semantic")


def _splits(given: Iterable[str]) -> dict[str, Split]:
    from medseg.domain.errors import UsageError
    from medseg.domain.manifest import SPLITS

    by_name = {name: name for name in SPLITS}
    splits: dict[str, Split] = {}
    for group, name in _pairs(given, "--split"):
        if name not in by_name:
            raise UsageError(f"--split {group}={name}: {name!r} is not one of {', '.join(SPLITS)}")
        splits[group] = by_name[name]
    return splits


def _pairs(given: Iterable[str], option: str) -> list[tuple[str, str]]:
    from medseg.domain.errors import UsageError

    pairs = [text.partition("=") for text in given]
    for left, sign, right in pairs:
        if not (left and sign and right):
            raise UsageError(f"{option} {left}{sign}{right}: give two parts joined by =, for example 1=liver")
    if len({left for left, _, _ in pairs}) < len(pairs):
        raise UsageError(f"{option}: the same left side is given twice; give each once")
    return [(left, right) for left, _, right in pairs]


def _whole(text: str, option: str) -> int:
    from medseg.domain.errors import UsageError

    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{option}: {text!r} is not a whole number from 0")
    return int(text)
