"""`medseg segment`: images become masks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from medseg.cli.outputs import Plan
    from medseg.inference.foreign import ForeignModel
    from medseg.inference.region import Box
    from medseg.inference.segment import Model


def segment(
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder, or the mask's file for a single input.")],
    bundle: Annotated[
        str, typer.Option("-b", "--bundle", help="A bundle's name, folder or zip; see `medseg bundle list`.")
    ],
    inputs: Annotated[
        list[Path] | None, typer.Argument(help="NIfTI files, PNG or TIFF pictures, folders of one DICOM series.")
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option(help="NAME=PATH, once for each image that the bundle takes of one case.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="ID=VALUE, as `--set inferer#overlap=0.6`; also --inferer#overlap 0.6."),
    ] = None,
    form: Annotated[str, typer.Option("-t", "--type", help="auto, nifti, png or tiff.")] = "auto",
    roi: Annotated[list[str] | None, typer.Option(help="A box x,y,z,dx,dy,dz in mm (RAS); may be repeated.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let code of the bundle run, if it needs any; see `medseg bundle trust`.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    statistics: Annotated[bool, typer.Option("--statistics", help="Also write volumes or counts as JSON.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Also write a picture of the mask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the reports as JSON.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say errors only.")] = False,
) -> None:
    """Segment images with a bundle; one mask for each input, on the input's own grid."""
    from medseg.cli.foreign import find_said, named_images, parse_settings
    from medseg.cli.memory import keep_freed_memory
    from medseg.cli.outputs import plan_outputs
    from medseg.domain.errors import UsageError

    if precision not in ("auto", "fp32", "bf16", "fp16"):
        raise UsageError(f"--precision {precision}: give auto, fp32, bf16 or fp16")
    images = named_images(image or [], inputs or [])
    plans = plan_outputs(
        [next(iter(images.values()))] if images else inputs or [], output, form, statistics, preview, overwrite
    )
    keep_freed_memory()
    from medseg.backends.precision import choose_precision
    from medseg.cli.device import choose_device
    from medseg.inference.region import parse_box
    from medseg.inference.segment import load_model

    boxes = [parse_box(text) for text in roi or []]
    stored = find_said(bundle, parse_settings(settings or []), trust)
    chosen = choose_device(device, threads)
    model = load_model(stored, chosen, choose_precision(precision, chosen))
    _run(plans, images, model, boxes, as_json, quiet)


def _run(
    plans: list[Plan],
    images: dict[str, Path],
    model: Model | ForeignModel,
    boxes: list[Box],
    as_json: bool,
    quiet: bool,
) -> None:
    import json

    from medseg.cli.memory import is_out_of_memory
    from medseg.domain.errors import InputError, MedsegError, PartialBatchError, ResourceError, UsageError
    from medseg.inference.segment import NotFiniteError

    reports: list[dict[str, Any]] = []
    failed: list[MedsegError] = []
    for plan in plans:
        try:
            reports.append(_one(plan, images, model, boxes, quiet))
        except (InputError, NotFiniteError, UsageError) as error:  # it is this image; the next one may do
            if len(plans) == 1:
                raise
            failed.append(error)
            print(f"medseg: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise ResourceError(f"{plan.source}: not enough memory; segment a smaller region (--roi)") from error
    if as_json:
        print(json.dumps(reports, indent=1))
    if len(failed) == len(plans):
        raise InputError(f"all {len(plans)} inputs were refused, for the reasons above")
    if failed:
        raise PartialBatchError(f"{len(failed)} of {len(plans)} inputs were refused, the others are done")


def _one(
    plan: Plan, images: dict[str, Path], model: Model | ForeignModel, boxes: list[Box], quiet: bool
) -> dict[str, Any]:
    from dataclasses import replace

    from medseg.cli import progress
    from medseg.cli.foreign import read_case
    from medseg.cli.outputs import write_outputs
    from medseg.inference.segment import expected_windows, segment
    from medseg.io.images import read_image

    volume = read_case(images, model) if images else read_image(plan.source)
    plan.require_kind(volume)
    with progress.bar(plan.case, 0 if boxes else expected_windows(volume, model.bundle), quiet) as advance:
        result = segment(volume, model, boxes, str(plan.source), advance)
    report = replace(result.report, case=plan.case, outputs=tuple(map(str, plan.outputs)))
    write_outputs(plan, volume, replace(result, report=report))
    if not quiet:
        for measure in report.measures:
            print(f"{plan.case}: {progress.in_words(measure)}", file=sys.stderr)
        for note in report.notes:
            print(f"{plan.case}: note: {note}", file=sys.stderr)
        print(f"{plan.case}: {plan.mask}", file=sys.stderr, flush=True)
    return report.to_dict()
