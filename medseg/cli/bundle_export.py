"""`medseg bundle export`: a bundle's network for programs that run ONNX, OpenVINO, torch.export or TorchScript."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.bundle import app


@app.command("export")
def export(
    bundle: Annotated[str, typer.Argument(help="A bundle's name, folder or zip.")],
    form: Annotated[str, typer.Option("-t", "--to", help="torch-export, onnx, openvino or torchscript.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A file (.pt2, .onnx, .xml, .ts), or a folder.")],
    depth: Annotated[int | None, typer.Option(min=1, help="Of a UNet++, the head that answers.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
) -> None:
    """Write the network in another format, compared with torch, and how to run it as JSON beside it."""
    from medseg.bundle.export import export as write
    from medseg.bundle.export import export_files, exportable
    from medseg.bundle.export_formats import FORMATS
    from medseg.bundle.foreign import MonaiBundle
    from medseg.bundle.store import find_any
    from medseg.cli.outputs import require_no_input
    from medseg.domain.errors import UsageError

    if form not in FORMATS:
        raise UsageError(f"-t {form}: not one of {', '.join(FORMATS)}")
    FORMATS[form].require_packages()
    stored = find_any(bundle)
    what = exportable(stored, depth)
    ending = FORMATS[form].endings[0]
    path = output if output.suffix == ending else output / f"{what.name}{ending}"
    if output.suffix and output.suffix != ending and not output.is_dir():
        raise UsageError(f"-o {output}: a file of {form} ends in {ending}")
    weights = stored.checkpoint[0] if isinstance(stored, MonaiBundle) else stored.folder / "models" / "model.pt"
    read = [weights, *stored.folder.glob("configs/*"), Path(bundle)]
    require_no_input(export_files(form, path), read)
    done = write(what, form, path, overwrite)
    batch, channels, *size = done.sizes.symbols
    free = "" if done.sizes.step is not None else " (no other size)"
    worst = max(done.trials, key=lambda trial: trial.difference / max(trial.largest, 1))
    print(
        f"medseg: {', '.join(str(file) for file in done.files)}: input {batch} x {channels} x "
        f"{' x '.join(map(str, size))}{free}; differs from torch by at most {worst.difference:.2g} on "
        f"{len(done.trials)} inputs (largest logit {worst.largest:.3g}; bound {done.bound:g} of it)",
        file=sys.stderr,
    )
