"""`medseg view`: an image and its mask in the browser, from this machine alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli import doubts as d

if TYPE_CHECKING:
    from medseg.domain.doubts import Doubts
    from medseg.domain.labels import LabelMap
    from medseg.domain.volume import Volume

_MASK_ENDINGS = ("_seg.nii.gz", "_seg.nii", ".seg.nrrd", "_seg.png", "_seg.tif", "_seg.tiff", "_seg.dcm")


def view(
    out: Annotated[Path, typer.Argument(help="A mask, or the output folder of one case.")],
    image: Annotated[
        Path | None, typer.Option(help="The image that was segmented; `segment --statistics` notes it.")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Write one HTML file with everything inside instead.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    series: d.SeriesOption = None,
    regrid: d.RegridOption = False,
    nan: d.NanOption = None,
    affine: d.AffineOption = None,
    assume: d.AssumeOption = None,
    assume_hu: d.AssumeHuOption = False,
    volume: d.VolumeOption = None,
    force: d.ForceOption = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the exported file if it exists.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say errors only, and the address.")] = False,
) -> None:
    """Show an image with its mask, label names, colours and volumes; nothing leaves this machine.

    An image that was segmented with options that answer a doubt (--series, --nan, ...) is shown with the same ones.
    """
    from medseg.domain.errors import OutputError
    from medseg.io.files import require_writable, write_text

    doubts = d.doubts_of(series, regrid, nan, affine, assume, assume_hu, volume, force)
    if export is not None:
        if export.exists() and not overwrite:
            raise OutputError(f"{export}: exists already; give --overwrite or another name")
        require_writable(export.parent)
    mask = find_mask(out)
    from medseg.cli.convert import mask_case
    from medseg.cli.outputs import require_no_input
    from medseg.inference.measure import measure
    from medseg.reports.viewer import Scene, exported_page, policy, served_files

    image = image or find_image(mask)
    if export is not None:
        require_no_input([export], [mask, image])
    shown, label_map = _read(mask, image, doubts)
    scene = Scene(mask_case(mask), shown, label_map, measure(label_map, shown))
    if export is not None:
        write_text(export, exported_page(scene))
        if not quiet:
            print(f"{scene.title}: {export}", file=sys.stderr)
        return
    _serve(served_files(scene), policy("'self'", "'self'", "'self'"), port, browser, quiet)


def find_mask(out: Path) -> Path:
    """The mask itself, or the only case's first mask in a folder.

    Raises: UsageError if there are several cases; InputError if there is no mask.
    """
    from medseg.cli.convert import mask_case
    from medseg.domain.errors import InputError, UsageError

    if not out.is_dir():
        return out
    found = [path for ending in _MASK_ENDINGS for path in sorted(out.iterdir()) if path.name.lower().endswith(ending)]
    if not found:
        raise InputError(f"{out}: holds no mask (such as NAME_seg.nii.gz); give the output folder of medseg segment")
    cases = sorted({mask_case(path) for path in found})
    if len(cases) > 1:
        raise UsageError(f"{out}: holds masks of {len(cases)} cases ({', '.join(cases[:5])} ...); give one: {found[0]}")
    return found[0]


def find_image(mask: Path) -> Path:
    """The image that the statistics beside a mask name.

    Raises: UsageError if there are none, or if the image is gone.
    """
    import json

    from medseg.cli.convert import mask_case
    from medseg.domain.errors import UsageError

    beside = [mask.parent / f"{name}_statistics.json" for name in (mask_case(mask), f"{mask_case(mask)}_seg")]
    for path in beside:
        try:
            source = Path(json.loads(path.read_text(encoding="utf-8"))["source"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if source.exists():
            return source
        raise UsageError(f"{path}: names {source}, which is not there; say where the image is with --image")
    raise UsageError(f"{mask}: which image does it belong to? Give --image, or run segment with --statistics")


def _read(mask: Path, image: Path, doubts: Doubts) -> tuple[Volume, LabelMap]:
    """The image, and the mask turned onto its voxels."""
    from dataclasses import replace

    from medseg.domain.errors import GridError
    from medseg.io.images import read_image
    from medseg.io.masks import read_label_map, turned_to

    volume = read_image(image, doubts)
    if volume.series is not None:
        return volume, read_label_map(mask, volume.geometry)
    label_map = read_label_map(mask, doubts=doubts)
    if volume.geometry.spatial_dims == 2 and label_map.geometry.shape_ijk == volume.geometry.shape_ijk:
        return volume, replace(label_map, geometry=volume.geometry)  # a picture's mask tells no size of pixels
    try:
        return volume, turned_to(label_map, volume.geometry)
    except GridError as error:
        raise GridError(f"{mask}: {error}") from error


def _serve(contents: dict[str, tuple[str, bytes]], policy: str, port: int, browser: bool, quiet: bool) -> None:
    import webbrowser

    from medseg.cli.serving import loopback_server
    from medseg.domain.errors import OutputError

    try:
        server, address = loopback_server(contents, policy, port)
    except OSError as error:
        raise OutputError(f"--port {port}: cannot be used ({error.strerror}); leave it out") from error
    print(address, flush=True)
    if not quiet:
        print("Open this address in a browser on this machine; Ctrl-C ends the page.", file=sys.stderr, flush=True)
    if browser and (sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:  # how this command ends
        pass
    finally:
        server.server_close()
