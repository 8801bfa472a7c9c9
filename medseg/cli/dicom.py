"""`medseg dicom`: what lies in a DICOM folder, before anything is segmented."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from medseg.bundle.inputs import Inputs
    from medseg.io.dicom_ls import Entry
    from medseg.io.dicom_scan import Scan

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look into DICOM folders.")


@app.callback()
def dicom() -> None:
    """Look into DICOM folders."""


@app.command("ls")
def ls(
    place: Annotated[Path, typer.Argument(help="A folder, zip, DICOMDIR or DICOM file.")],
    show_names: Annotated[
        bool, typer.Option("--show-names", help="Also patients, dates, descriptions, UIDs and file names.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """The volumes that lie there, their faults, and the bundles that take them; no names unless asked for."""
    import json

    from medseg.domain.errors import InputError
    from medseg.io.dicom_ls import entries
    from medseg.io.dicom_scan import scan

    if not place.exists():
        raise InputError(f"{place}: there is no such file or folder")
    found = scan(place)
    bundles = _bundles()
    facts = {
        "volumes": [_facts(entry, bundles, show_names) for entry in entries(found)],
        "damaged": [str(error).removeprefix(f"{place}: ") for error in found.damaged],
        "notes": list(found.notes),
    }
    if show_names:
        facts["files"] = _files(found)
    if as_json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
    else:
        _print(facts)


def _bundles() -> dict[str, Inputs]:
    from medseg.bundle.inputs import read_inputs
    from medseg.bundle.store import list_bundles
    from medseg.domain.errors import BundleError

    bundles = {}
    for folder in list_bundles():
        try:
            bundles[folder.name] = read_inputs(folder)
        except BundleError as error:
            print(f"medseg: {' '.join(str(error).split())}", file=sys.stderr)
    return bundles


def _facts(entry: Entry, bundles: dict[str, Inputs], show_names: bool) -> dict[str, Any]:
    from medseg.io.dicom_ls import names_of

    stack, geometry = entry.stack, entry.geometry
    first = stack.headers[0]
    spacing = None if geometry is None or not geometry.calibrated else [round(mm, 6) for mm in geometry.spacing_mm]
    facts: dict[str, Any] = {
        "number": entry.number,
        "key": stack.key,
        "kind": stack.kind,
        "modality": first.modality,
        "slices": len(stack.headers),
        "columns": first.columns,
        "rows": first.rows,
        "spacing_mm": spacing,
        "direction": entry.direction,
        "phase": ", ".join(filter(None, (stack.split, stack.owner))),
        "faults": list(entry.faults),
        "notes": list(stack.notes),
        "bundles": _takers(entry, bundles),
    }
    return {**facts, "names": names_of(stack)} if show_names else facts


def _takers(entry: Entry, bundles: dict[str, Inputs]) -> list[str]:
    """By modality and number of axes; with a hint where only a region of the volume suits."""
    geometry = entry.geometry
    if geometry is None:
        return []
    modality = entry.stack.headers[0].modality
    return [
        name + (" (with --roi)" if inputs.need_region(geometry) else "")
        for name, inputs in bundles.items()
        if inputs.take(modality, geometry)
    ]


def _files(found: Scan) -> dict[str, str]:
    from medseg.io.dicom_ls import file_names

    return {number: str(title) for number, title in file_names(found).items()}


def _print(facts: dict[str, Any]) -> None:
    for volume in facts["volumes"]:
        what = "image" if volume["kind"] == "projection" else "slices"
        size = f"{volume['slices']} {what} of {volume['columns']} x {volume['rows']} pixels"
        parts = [volume["modality"] or "no modality", volume["kind"], size, volume["phase"]]
        print(f"{volume['number']}  [{volume['key']}]  {', '.join(filter(None, parts))}")
        spacing = " x ".join(f"{mm:.4g}" for mm in volume["spacing_mm"] or ())
        print(f"   {volume['direction']}, {f'{spacing} mm' if spacing else 'spacing unknown'}")
        for fault in volume["faults"]:
            print(f"   fault: {fault}")
        for note in volume["notes"]:
            print(f"   note: {note}")
        print(f"   bundles: {', '.join(volume['bundles']) or 'none'}")
        for word, value in volume.get("names", {}).items():
            print(f"   {word}: {value}")
    for line in (*facts["damaged"], *facts["notes"]):
        print(line)
    for number, title in facts.get("files", {}).items():
        print(f"{number}: {title}")
