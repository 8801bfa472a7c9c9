"""The forms that a mask can be written in, by the names of `-t`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medseg.domain.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medseg.domain.volume import Volume


@dataclass(frozen=True)
class Form:
    """One form of mask.

    endings: of files that `-o` may name.
    suffix:  of the file in a folder, after the case's name.
    of_series: an object that belongs to a DICOM series, and so needs one.
    """

    endings: tuple[str, ...]
    suffix: str
    of_series: bool = False


FORMS = {
    "nifti": Form((".nii.gz", ".nii"), "_seg.nii.gz"),
    "seg-nrrd": Form((".seg.nrrd",), ".seg.nrrd"),
    "dicom-seg": Form((".dcm",), "_seg.dcm", of_series=True),
    "dicom-labelmap": Form((".dcm",), "_labelmap.dcm", of_series=True),
    "dicom-sr": Form((".dcm",), "_sr.dcm", of_series=True),
    "dicom-sc": Form((".dcm",), "_sc.dcm", of_series=True),
    "png": Form((".png",), "_seg.png"),
    "tiff": Form((".tif", ".tiff"), "_seg.tif"),
}
FILES = tuple(ending for form in FORMS.values() for ending in form.endings)


def parse_forms(text: str) -> tuple[str, ...]:
    """The names in "nifti,dicom-seg", each once; "auto" stays for `form_of`. A report brings its segmentation along.

    >>> parse_forms("dicom-sr")
    ('dicom-seg', 'dicom-sr')
    """
    names = tuple(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in ("auto", *FORMS)]:
        raise UsageError(f"-t {unknown[0]}: give auto, {', '.join(FORMS)}, or several with commas between")
    if "dicom-sr" in names and not {"dicom-seg", "dicom-labelmap"} & set(names):
        at = names.index("dicom-sr")
        names = (*names[:at], "dicom-seg", *names[at:])
    return names


def form_of(source: Path) -> str:
    """What "auto" means: pictures become pictures, everything else NIfTI."""
    name = source.name.lower()
    return "tiff" if name.endswith((".tif", ".tiff")) else "png" if name.endswith(".png") else "nifti"


def form_of_file(output: Path, names: Sequence[str]) -> str:
    """The one form of a mask called exactly so.

    Raises: UsageError if `-t` says another, or several.
    """
    fitting = [name for name, form in FORMS.items() if output.name.lower().endswith(form.endings)]
    wanted = [name for name in names if name != "auto"]
    if len(wanted) > 1:
        raise UsageError(f"-o {output}: one file for {' and '.join(wanted)}; give a folder")
    if wanted and wanted[0] not in fitting:
        raise UsageError(f"-o {output}: its ending does not say {wanted[0]}, as -t does; leave one of them out")
    return wanted[0] if wanted else fitting[0]


def require_form(name: str, path: Path, source: Path, volume: Volume) -> None:
    """Raises: UsageError if this image's mask cannot be written so."""
    dims = volume.geometry.spatial_dims
    if name == "png" and dims == 3:
        raise UsageError(f"{path}: a PNG holds one plane, {source} is a volume; choose .nii.gz or .tif")
    if name == "dicom-sc" and dims == 3:
        raise UsageError(f"{path}: a secondary capture shows a projection, {source} is a volume; choose -t dicom-seg")
    if name not in ("nifti", "png", "tiff", "dicom-sc") and dims == 2:
        fitting = "png, tiff or nifti" if volume.series is None else "dicom-sc, png, tiff or nifti"
        raise UsageError(f"{path}: {name} holds masks of volumes, {source} is a picture; choose -t {fitting}")
    if FORMS[name].of_series and volume.series is None:
        raise no_series(name, source)


def form_notes(names: Sequence[str], volume: Volume) -> tuple[str, ...]:
    """What viewers are known to do wrong with a right file.

    The frames of a BINARY segmentation follow one another bit by bit; where one does not end with a byte, OHIF 3.13.2
    takes the pixels of the next from the wrong bytes, and other programs have done so too.
    """
    columns, rows = volume.geometry.shape_ijk[:2]
    if "dicom-seg" not in names or columns * rows % 8 == 0:
        return ()
    return (
        f"slices of {columns} x {rows} pixels are no whole bytes: OHIF shows such a dicom-seg with scattered pixels; "
        "send it -t dicom-labelmap instead",
    )


def no_series(name: str, source: Path) -> UsageError:
    """The refusal of a DICOM object for an image that is none."""
    return UsageError(
        f"{source}: -t {name} refers to the slices of a DICOM series, and this is none; give the series' folder, or "
        "choose -t nifti or seg-nrrd"
    )
