"""`medseg convert`: a mask in another form, its names and colours with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from medseg.cli import doubts as d


def convert(
    masks: Annotated[list[Path], typer.Argument(help="NIfTI, .seg.nrrd, DICOM segmentation, PNG or TIFF masks.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder, or the mask's file for a single input.")],
    form: Annotated[
        str,
        typer.Option(
            "-t",
            "--type",
            help="nifti, seg-nrrd, dicom-seg, dicom-labelmap, dicom-sr, dicom-sc, png, tiff, or several: a,b.",
        ),
    ] = "auto",
    series: Annotated[
        Path | None, typer.Option(help="The DICOM series of the masks; DICOM masks are read and written with it.")
    ] = None,
    affine: d.AffineOption = None,
    assume: d.AssumeOption = None,
    labels: Annotated[str, typer.Option(help="Also write label tables: itksnap, slicer or both.")] = "",
    split: Annotated[bool, typer.Option("--split", help="Also write a folder with one mask for each label.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say errors only.")] = False,
) -> None:
    """Write masks in other forms, on the same voxels, with the names and colours that they carry."""
    from medseg.cli.forms import FORMS, form_notes, parse_forms
    from medseg.cli.outputs import Extras, plan_outputs, sweep_before
    from medseg.cli.writing import rehearse_masks, write_masks
    from medseg.domain.errors import UsageError

    doubts = d.doubts_of(None, False, None, affine, assume, False, None, None)
    extras = Extras(labels=tuple(filter(None, labels.split(","))), split=split)
    also_read = [series] if series is not None else []
    plans = plan_outputs(masks, output, form, extras, overwrite, series=False, case_of=mask_case, also_read=also_read)
    needing = [name for name in parse_forms(form) if name in FORMS and FORMS[name].of_series]
    needing += [f for plan in plans for f, _ in plan.masks if FORMS[f].of_series]
    if needing and series is None:
        raise UsageError(f"-t {needing[0]} refers to the slices of a DICOM series; give it with --series FOLDER")
    from medseg.domain.algorithm import Algorithm
    from medseg.domain.volume import Volume
    from medseg.io.images import read_image
    from medseg.io.masks import read_label_map

    reference = read_image(series) if series is not None else None
    if reference is not None and reference.series is None:
        raise UsageError(f"--series {series}: is no DICOM series; give the folder of the scan")
    algorithm = Algorithm("medseg convert", "of unknown origin", automatic=False)
    headers = None
    if reference is not None:  # before anything is written
        forms = list(dict.fromkeys(form for plan in plans for form, _ in plan.masks))
        headers = rehearse_masks(forms, reference, None, algorithm, str(series))
    sweep_before(plans)
    for plan in plans:
        label_map = read_label_map(plan.source, reference.geometry if reference is not None else None, doubts)
        volume = reference or Volume(label_map.voxels[None], label_map.geometry, plan.case)
        plan.require_kind(volume)
        write_masks(plan, volume, label_map, algorithm, headers)
        if not quiet:
            for note in form_notes([name for name, _ in plan.masks], volume):
                print(f"{plan.case}: note: {note}", file=sys.stderr)
            names = ", ".join(f"{label.value} {label.name}" for label in label_map.table)
            print(f"{plan.case}: {plan.mask} ({names})", file=sys.stderr, flush=True)


def mask_case(path: Path) -> str:
    """The case that a mask is called after.

    >>> mask_case(Path("out/scan_seg.nii.gz"))
    'scan'
    """
    from medseg.io.images import case_name

    name = case_name(path)
    return name.removesuffix("_seg").removesuffix("_labelmap") or name
