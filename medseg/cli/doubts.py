"""The options by which a user answers doubts about an input, and what they mean together."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import typer

from medseg.domain.doubts import Doubts
from medseg.domain.errors import UsageError

SeriesOption = Annotated[
    str | None, typer.Option("--series", help="Of several DICOM series: the UID, the number or the place in the list.")
]
RegridOption = Annotated[bool, typer.Option("--regrid", help="Resample uneven DICOM slices by their true positions.")]
NanOption = Annotated[str | None, typer.Option("--nan", help="fill=V: take V where a voxel is NaN or infinite.")]
AffineOption = Annotated[str | None, typer.Option("--affine", help="sform or qform, where a NIfTI's two differ.")]
AssumeOption = Annotated[
    str | None,
    typer.Option("--assume", help="RAS: so a NIfTI without any affine lies. image: few whole numbers are no mask."),
]
AssumeHuOption = Annotated[bool, typer.Option("--assume-hu", help="A CT without rescale tags holds Hounsfield units.")]
VolumeOption = Annotated[int | None, typer.Option("--volume", help="Which volume of a 4-D file, counted from 0.")]
ForceOption = Annotated[str | None, typer.Option("--force", help="The modality, whatever the file says: MR, CT, ...")]

_WRITTEN_SMALL = {"MICROSCOPY": "microscopy"}


def doubts_of(
    series: str | None,
    regrid: bool,
    nan: str | None,
    affine: str | None,
    assume: str | None,
    assume_hu: bool,
    volume: int | None,
    force: str | None,
) -> Doubts:
    """The options as a value.

    Raises: UsageError for an answer that is none.
    """
    assumed = set() if assume is None else {word.strip().lower() for word in assume.split(",")}
    if not assumed <= {"ras", "image"}:
        raise UsageError(f"--assume {assume}: give RAS, image, or both as RAS,image")
    if force is not None and not force.strip():
        raise UsageError("--force: give a modality, as MR, CT or microscopy")
    return Doubts(
        series=series,
        regrid=regrid,
        nan_fill=None if nan is None else _fill(nan),
        affine=cast(Literal["sform", "qform"] | None, affine),  # which the value checks
        assume_ras="ras" in assumed,
        is_image="image" in assumed,
        assume_hu=assume_hu,
        volume=volume,
        modality=None if force is None else _WRITTEN_SMALL.get(force.strip().upper(), force.strip().upper()),
    )


def _fill(text: str) -> float:
    """The number of "fill=NUMBER"; one that float32 can hold."""
    word, _, number = text.partition("=")
    try:
        value = float(number) if word == "fill" else float("nan")
    except ValueError:
        value = float("nan")
    if not abs(value) < 3.4e38:
        raise UsageError(f"--nan {text}: give the value that NaN and infinity become, as fill=0")
    return value
