"""`medseg bundle download`: a bundle of MONAI's model zoo, when the user asks; no other command uses the network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.bundle import app, info


@app.command("download")
def download(
    name: Annotated[str, typer.Argument(help="Such as spleen_ct_segmentation; at Hugging Face also OWNER/NAME.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder that the bundle's is made in.")] = Path(),
    source: Annotated[str, typer.Option("--from", help="monaihosting, github or huggingface.")] = "monaihosting",
    version: Annotated[str | None, typer.Option(help="Such as 0.5.3; the latest if left out.")] = None,
) -> None:
    """Fetch a bundle over https, unpack it safely, and tell what it is; nothing of it is run."""
    from medseg.bundle.config import NotRunError
    from medseg.bundle.download import download as fetch

    done = fetch(name, output, source, version)
    what = "zip made here of its files" if done.made_here else "zip"
    print(f"{done.folder}: from {done.url}, sha256 {done.sha256} of the {what}")
    try:
        info(str(done.folder))
    except NotRunError as error:
        print(f"medseg: downloaded, and it needs code of its own: {error}", file=sys.stderr)
