"""`medseg segment`: images become masks."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medseg.cli import doubts as d

if TYPE_CHECKING:
    from medseg.cli.outputs import Plan
    from medseg.domain.doubts import Doubts
    from medseg.inference.foreign import ForeignModel
    from medseg.inference.model import Model
    from medseg.inference.region import Box


def segment(
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder, or the mask's file for a single input.")],
    bundle: Annotated[
        str, typer.Option("-b", "--bundle", help="A bundle's name, folder or zip; see `medseg bundle list`.")
    ],
    inputs: Annotated[
        list[Path] | None, typer.Argument(help="NIfTI or NRRD files, PNG or TIFF pictures, DICOM folders.")
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option(help="NAME=PATH, once for each image that the bundle takes of one case.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="ID=VALUE, as `--set inferer#overlap=0.6`; also --inferer#overlap 0.6."),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "-t",
            "--type",
            help="auto, nifti, seg-nrrd, dicom-seg, dicom-labelmap, dicom-sr, dicom-sc, png, tiff, or several: a,b.",
        ),
    ] = "auto",
    roi: Annotated[list[str] | None, typer.Option(help="A box x,y,z,dx,dy,dz in mm (RAS); may be repeated.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let code of the bundle run, if it needs any; see `medseg bundle trust`.")
    ] = False,
    tta: Annotated[bool, typer.Option("--tta", help="The mean over mirror images: 2 to 8 times the work.")] = False,
    depth: Annotated[int | None, typer.Option(min=1, help="Of a UNet++, the head that answers.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="The shallowest depth within 0.01 Dice of the best.")] = False,
    quality: Annotated[bool, typer.Option("--quality", help="Compare several answers; tell what Dice to expect.")] = (
        False
    ),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    backend: Annotated[str, typer.Option(help="auto, eager, compile, openvino or onnxruntime.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    series: d.SeriesOption = None,
    regrid: d.RegridOption = False,
    nan: d.NanOption = None,
    affine: d.AffineOption = None,
    assume: d.AssumeOption = None,
    assume_hu: d.AssumeHuOption = False,
    volume: d.VolumeOption = None,
    force: d.ForceOption = None,
    statistics: Annotated[bool, typer.Option("--statistics", help="Also write volumes or counts as JSON.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Also write a picture of the mask.")] = False,
    labels: Annotated[str, typer.Option(help="Also write label tables: itksnap, slicer or both.")] = "",
    split: Annotated[bool, typer.Option("--split", help="Also write a folder with one mask for each label.")] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write each label's probability, as CASE_prob.nii.gz.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the reports as JSON.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say errors only.")] = False,
) -> None:
    """Segment images with a bundle; one mask for each input, on the input's own grid."""
    from medseg.cli import progress
    from medseg.cli.foreign import find_said, named_images, parse_settings
    from medseg.cli.memory import keep_freed_memory
    from medseg.cli.outputs import Extras, plan_outputs
    from medseg.domain.errors import UsageError
    from medseg.domain.wishes import Wishes

    if precision not in ("auto", "fp32", "bf16", "fp16"):
        raise UsageError(f"--precision {precision}: give auto, fp32, bf16 or fp16")
    doubts = d.doubts_of(series, regrid, nan, affine, assume, assume_hu, volume, force)
    extras = Extras(statistics, preview, tuple(filter(None, labels.split(","))), split, probabilities)
    images = named_images(image or [], inputs or [])
    sources = [next(iter(images.values()))] if images else inputs or []
    plans = plan_outputs(sources, output, form, extras, overwrite)
    keep_freed_memory()
    from medseg.backends.backend import Asked, backend_name
    from medseg.backends.precision import choose_precision
    from medseg.bundle.bundle import StoredBundle
    from medseg.cli.device import choose_device
    from medseg.inference.model import fast_depth, load_model
    from medseg.inference.probabilities import probability_channels
    from medseg.inference.region import parse_box

    boxes = [parse_box(text) for text in roi or []]
    stored = find_said(bundle, parse_settings(settings or []), trust)
    if probabilities:
        probability_channels(stored.bundle if isinstance(stored, StoredBundle) else stored)
    chosen = choose_device(device, threads)
    if fast and depth is not None:
        raise UsageError("--fast chooses the depth; leave --depth out")
    wishes = Wishes(fast_depth(stored) if fast else depth, tta, quality)
    asked = Asked(backend_name(backend), len(plans), progress.tell_nobody if quiet else progress.say_backend)
    model = load_model(stored, chosen, choose_precision(precision, chosen), wishes, asked)
    _run(plans, Run(model, images, tuple(boxes), doubts, quiet), as_json)


@dataclass(frozen=True)
class Run:
    """What all inputs of one command have in common; images: those of the one case by name, if it has several."""

    model: Model | ForeignModel
    images: dict[str, Path]
    boxes: tuple[Box, ...]
    doubts: Doubts
    quiet: bool


def _run(plans: list[Plan], run: Run, as_json: bool) -> None:
    import json

    from medseg.cli.memory import is_out_of_memory
    from medseg.domain.errors import InputError, MedsegError, PartialBatchError, ResourceError, UsageError
    from medseg.inference.segment import NotFiniteError

    reports: list[dict[str, Any]] = []
    failed: list[MedsegError] = []
    for plan in plans:
        try:
            reports.append(_one(plan, run))
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


def _one(plan: Plan, run: Run) -> dict[str, Any]:
    from dataclasses import replace

    from medseg.cli import progress
    from medseg.cli.foreign import read_case
    from medseg.cli.forms import form_notes
    from medseg.cli.probabilities import probability_maps
    from medseg.cli.writing import write_outputs
    from medseg.domain.algorithm import Algorithm
    from medseg.inference.segment import expected_windows, segment
    from medseg.io.images import read_image

    model, boxes, quiet = run.model, run.boxes, run.quiet
    if run.images:
        volume = read_case(run.images, model, run.doubts)
    else:
        volume = read_image(plan.source, run.doubts, model.bundle.modality)
    plan.require_kind(volume)
    windows = 0 if boxes else expected_windows(volume, model.bundle)
    with probability_maps(plan, volume, model) as put, progress.bar(plan.case, windows, quiet) as advance:
        result = segment(volume, model, boxes, str(plan.source), advance, put)
    report = replace(
        result.report,
        case=plan.case,
        outputs=tuple(map(str, plan.outputs)),
        source=str(plan.source.absolute()),
        notes=(*result.report.notes, *form_notes([form for form, _ in plan.masks], volume)),
    )
    algorithm = Algorithm(model.bundle.name, model.bundle.version, model.bundle.weights_sha256)
    write_outputs(plan, volume, replace(result, report=report), algorithm)
    if not quiet:
        for measure in report.measures:
            print(f"{plan.case}: {progress.in_words(measure)}", file=sys.stderr)
        if report.quality is not None:
            print(f"{plan.case}: {progress.quality_in_words(report.quality)}", file=sys.stderr)
        for note in report.notes:
            print(f"{plan.case}: note: {note}", file=sys.stderr)
        print(f"{plan.case}: {plan.mask}", file=sys.stderr, flush=True)
    return report.to_dict()
