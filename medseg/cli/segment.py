"""`medseg segment`: images become masks."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli import doubts as d

if TYPE_CHECKING:
    from medseg.io.images import Inputs


def segment(
    context: typer.Context,
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder, or the mask's file for a single input.")],
    bundle: Annotated[
        str, typer.Option("-b", "--bundle", help="A bundle's name, folder or zip; see `medseg bundle list`.")
    ],
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(help="NIfTI or NRRD files, PNG or TIFF pictures, DICOM folders, or a folder of files."),
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
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with several inputs where a run ended; what is done and unchanged stays."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say errors only.")] = False,
) -> None:
    """Segment images with a bundle; one mask for each input, on the input's own grid."""
    from medseg.cli import progress
    from medseg.cli.batch import Batch, backend_before, segment_all
    from medseg.cli.foreign import find_said, named_images, parse_settings
    from medseg.cli.memory import keep_freed_memory
    from medseg.cli.outputs import Extras, output_folder, plan_outputs, require_absent
    from medseg.domain.errors import MedsegError, PartialBatchError, UsageError
    from medseg.domain.wishes import Wishes
    from medseg.io.images import Inputs, images_of, require_there
    from medseg.io.journal import beside_no_batch, open_journal

    if precision not in ("auto", "fp32", "bf16", "fp16"):
        raise UsageError(f"--precision {precision}: give auto, fp32, bf16 or fp16")
    doubts = d.doubts_of(series, regrid, nan, affine, assume, assume_hu, volume, force)
    extras = Extras(statistics, preview, tuple(filter(None, labels.split(","))), split, probabilities)
    images = named_images(image or [], inputs or [])
    named = Inputs((next(iter(images.values())),)) if images else images_of(inputs or [], output)
    sources = named.images
    plans = plan_outputs(sources, output, form, extras, overwrite=True, also_read=[*images.values(), *(inputs or [])])
    folder = output_folder(output)
    keep_freed_memory()
    with ExitStack() as held:
        journal = None
        if resume or len(plans) > 1:
            journal = held.enter_context(open_journal(folder))
        else:
            require_there(sources[0])  # before anything large is imported
            held.enter_context(beside_no_batch(folder))
        require_absent(plans, journal, resume, overwrite)
        from medseg.backends.backend import Asked, backend_name
        from medseg.backends.precision import choose_precision
        from medseg.bundle.depth import fast_depth
        from medseg.cli.device import choose_device
        from medseg.inference.model import load_model
        from medseg.inference.region import parse_box

        boxes = [parse_box(text) for text in roi or []]
        stored = find_said(bundle, parse_settings(settings or []), trust)
        if probabilities:
            stored.probability_channels()
        chosen = choose_device(device, threads)
        if fast and depth is not None:
            raise UsageError("--fast chooses the depth; leave --depth out")
        if fast:
            depth = fast_depth(stored.depths, stored.name)
            if not quiet:
                print(f"medseg: --fast: head {depth} answers", file=sys.stderr)
        wishes = Wishes(depth, tta, quality)
        name = backend_name(backend_before(backend, journal, resume))
        asked = Asked(name, len(plans), progress.tell_nobody if quiet else progress.say_backend)
        model = load_model(stored, chosen, choose_precision(precision, chosen), wishes, asked)
        batch = Batch(model, images, tuple(boxes), doubts, quiet)
        if journal is not None:
            batch = batch.journalled(journal, stored.folder, context.params, resume)
        try:
            segment_all(plans, batch, as_json)
        except MedsegError:
            if named.passed_over:
                print(f"medseg: {left_out(named)}", file=sys.stderr, flush=True)
            raise
        if named.passed_over:
            raise PartialBatchError(left_out(named))


def left_out(named: Inputs) -> str:
    """What of the folders that were given was not segmented."""
    return f"{'; '.join(named.passed_over)}: passed over; give images by their names, convert what is not read"
