"""Any image this project reads, told by content."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.doubts import NO_DOUBTS, Doubts
from medseg.domain.errors import InputError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.domain.words import counted
from medseg.io.endings import (
    NRRD_ENDINGS,
    PICTURE_ENDINGS,
    READ_ENDINGS,
    UNREAD_VOLUMES,
    VOLUME_ENDINGS,
    image_ending,
)
from medseg.io.nifti_file import is_nifti
from medseg.io.nrrd_header import is_nrrd
from medseg.io.same_file import is_same
from medseg.io.walk import files_below, require_no_dangling

_DOUBLE_ENDINGS = (".nii.gz", ".seg.nrrd", ".ome.tif", ".ome.tiff")
_MAYBE_DICOM = ("", ".img", ".dcm", ".ima")
_OWN_OUTPUTS = re.compile(r".+_(seg|prob|preview)\.[a-z.]+")
_FEW_VALUES = 16  # an image of so many whole numbers is a mask, or a phantom
_LOOKED_AT = 1 << 16  # voxels that tell most images at once


def case_name(path: Path) -> str:
    """The file's or folder's name without its known endings; "scan" for a folder that the path does not name.

    "." and ".." may be a folder called after a patient, whose name nobody typed and nobody looks for in an output's.

    >>> case_name(Path("scans/knee 3.nii.gz"))
    'knee 3'
    """
    name = path.name
    for ending in (*_DOUBLE_ENDINGS, ".nii", ".zip", ".dcm", *NRRD_ENDINGS, *PICTURE_ENDINGS):
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return "scan" if name in ("", "..") else name


def may_be_series(path: Path) -> bool:
    """Whether this could hold a DICOM series: a folder, an archive or a DICOM file; or nothing, which is told later."""
    try:
        if not path.is_file():
            return True
        path.open("rb").close()
    except OSError:
        return True
    return _is_dicom(path)


@dataclass(frozen=True)
class Inputs:
    """The images that stand for what the user named, in order.

    passed_over: for each folder that stands for the images in it, what of the images there is left out, in words; empty
    where none is.
    """

    images: tuple[Path, ...]
    passed_over: tuple[str, ...] = ()


def images_of(inputs: Sequence[Path], output: Path | None = None) -> Inputs:
    """The inputs; in place of a folder without any DICOM the images right in it, by their endings, in order of name.

    output: where results are to go, which may not be such a folder: a second run would take masks for images.
    Raises: UsageError if it is; InputError for a folder that holds both DICOM and other images, and for links to images
    that lead nowhere.
    """
    found: list[Path] = []
    passed_over: list[str] = []
    for path in inputs:
        images, left_out = _images_in(path, output)
        if images and output is not None and is_same(output, path):
            raise UsageError(f"-o {output}: is the folder of the images; masks and images would mix; choose another")
        found += images or [path]
        if images and left_out:
            passed_over.append(f"{path}: {left_out}")
    return Inputs(tuple(found), tuple(passed_over))


def _images_in(folder: Path, output: Path | None) -> tuple[list[Path], str]:
    """The images right in a folder, and in words what other images it holds, those below the output left aside. Nothing
    where there is DICOM anywhere below, or no such folder: it is then read as one scan, or refused as one.

    Raises: InputError for volumes beside DICOM, or pictures above it: either could be meant. Pictures beside the slices
    of a scan are previews of it.
    """
    try:
        if not folder.is_dir():
            return [], ""
    except OSError:  # a name too long: reading it says so
        return [], ""
    below = files_below(folder)
    results = None if output is None or is_same(output, folder) else output.absolute()
    everything = sorted((*below.files, *below.others, *below.dangling))
    everything = [
        path
        for path in everything
        if not path.name.startswith(".") and (results is None or results not in path.absolute().parents)
    ]
    dangling = [path for path in everything if path in set(below.dangling)]
    found = [path for path in everything if path not in set(dangling)]
    images = [path for path in found if path.parent == folder and path.name.lower().endswith(READ_ENDINGS)]
    if not images:
        return [], ""
    dicom = [path for path in found if image_ending(path) in _MAYBE_DICOM and _is_dicom(path, zips=False)]
    if not dicom:
        lost = [path for path in dangling if path.parent == folder or image_ending(path)]
        require_no_dangling(folder, len(lost), len(found) + len(lost))
        return images, _left_out([path for path in found if path not in set(images)], folder)
    volumes = [path for path in found if path.parent == folder and _is_volume(path)]
    if volumes or not any(path.parent == folder for path in dicom):
        where = "beside" if volumes else "and below them"
        count = len({*volumes, *images})
        raise InputError(
            f"{folder}: holds {counted(count, 'image')} {where} DICOM files; give the images by their names, or "
            "the folder of the DICOM series alone"
        )
    return [], ""


def _is_volume(path: Path) -> bool:
    return image_ending(path) in (*VOLUME_ENDINGS, *UNREAD_VOLUMES)


def _left_out(paths: Sequence[Path], folder: Path) -> str:
    """By kind and count: images of kinds that are not read, and images in folders of the folder."""
    here = Counter(ending for path in paths if path.parent == folder and (ending := image_ending(path)))
    deeper = Counter(
        ending
        for path in paths
        if path.parent != folder and (ending := image_ending(path)) and not _OWN_OUTPUTS.fullmatch(path.name)
    )
    stores = {parent for path in paths for parent in path.parents if parent.suffix.lower() == ".zarr"}
    here.update({".zarr": len(stores)} if stores else {})
    parts = []
    for endings, what in ((here, "of a kind that is not read"), (deeper, "in folders below")):
        if endings:
            kinds = ", ".join(f"{n} {ending}" for ending, n in sorted(endings.items()))
            parts.append(f"{counted(endings.total(), 'image')} {what} ({kinds})")
    return " and ".join(parts)


def read_image(path: Path, doubts: Doubts = NO_DOUBTS, modality: str | None = None) -> Volume:
    """A NIfTI or NRRD file, a PNG or TIFF picture, or the one DICOM volume of a folder, zip or file, named after it.

    modality: what the model takes, where that decides between several DICOM series.
    doubts:   what the user answered beforehand; what a kind of file leaves no doubt about is not asked.
    Raises: InputError and its kinds; the message is one line with the file, the reason and the fix.
    """
    return _of_modality(_read(path, doubts, modality), doubts.modality)


def require_there(path: Path) -> None:
    """Raises: InputError for a path at which there is nothing, or which cannot be asked."""
    try:
        there = path.exists()
    except OSError as error:  # a name too long, a folder that may not be searched
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the name and its permissions") from error
    if not there and path.is_symlink():
        raise InputError(f"{path}: is a link that leads nowhere; fetch what it points to, or give another image")
    if not there:
        raise InputError(f"{path}: there is no such file or folder")


def _read(path: Path, doubts: Doubts, modality: str | None) -> Volume:
    require_there(path)
    if path.is_dir():
        return _read_dicom(path, doubts, modality)
    name = path.name.lower()
    if is_nrrd(path) or (name.endswith(NRRD_ENDINGS) and not is_nifti(path)):
        from medseg.io.nrrd import read_nrrd

        return _no_mask(path, read_nrrd(path, case_name(path), doubts), doubts)
    if is_nifti(path) or name.endswith((".nii", ".nii.gz")):
        from medseg.io.nifti import read_nifti

        return _no_mask(path, read_nifti(path, case_name(path), doubts), doubts)
    if name.endswith(PICTURE_ENDINGS):
        from medseg.io.picture import read_picture

        return _no_mask(path, read_picture(path, case_name(path), doubts.nan_fill), doubts)
    if _is_dicom(path):
        return _read_dicom(path, doubts, modality)
    raise InputError(
        f"{path}: not a NIfTI or NRRD file, PNG, TIFF, DICOM file, folder or zip; convert it to one of these"
    )


def _of_modality(volume: Volume, modality: str | None) -> Volume:
    if modality is None or volume.modality == modality:
        return volume
    note = f"the file says {volume.modality or 'nothing'} of its modality; taken as {modality}, as told"
    return replace(volume, modality=modality, notes=(*volume.notes, note))


def _no_mask(path: Path, volume: Volume, doubts: Doubts) -> Volume:
    """Raises: InputError for a file that says so of itself, or holds a few whole numbers as experts' masks do."""
    if volume.nifti_header is not None:
        from medseg.io.nifti import is_label_map

        if is_label_map(volume.nifti_header):
            raise InputError(
                f"{path}: says of itself that it is a label map (intent code 1002); give the image it belongs to"
            )
    if not doubts.is_image and len(values := _few_values(volume.voxels)) > 1:
        shown = ", ".join(f"{value:g}" for value in values)
        raise InputError(
            f"{path}: holds {len(values)} whole numbers only ({shown}), as a mask does; give the image it belongs to, "
            "or --assume image if it is one"
        )
    return volume


def _few_values(voxels: NDArray[Any]) -> NDArray[Any]:
    """The values of an image where they are few whole numbers; none where they are not."""
    flat = voxels.ravel(order="K")
    for seen in (flat[:: max(len(flat) // _LOOKED_AT, 1)], flat):
        values = np.unique(seen)
        if len(values) > _FEW_VALUES or (values != np.rint(values)).any():
            return values[:0]
    return values


def read_mask(path: Path) -> tuple[NDArray[Any], Geometry | None]:
    """The integers (*S) of a mask, and its grid; None for a picture, which lies on its image's."""
    if path.name.lower().endswith(PICTURE_ENDINGS):
        from medseg.io.picture import read_picture_mask

        return read_picture_mask(path), None
    from medseg.io.nifti import read_nifti_mask

    return read_nifti_mask(path)


def require_contrast(path: Path | str, volume: Volume, boxed: bool = False) -> None:
    """Raises InputError for a constant image, or box cut out of one: a mask of it would say nothing."""
    if np.ptp(volume.voxels) == 0:
        what = "the --roi box is constant; place it elsewhere" if boxed else "the image is constant; check its export"
        raise InputError(f"{path}: every voxel is {volume.voxels.flat[0]}: {what}")


def _is_dicom(path: Path, zips: bool = True) -> bool:
    from medseg.io.dicom_files import is_dicom

    return is_dicom(path, zips)


def _read_dicom(path: Path, doubts: Doubts, modality: str | None) -> Volume:
    from medseg.io.dicom import read_dicom

    return read_dicom(path, case_name(path), doubts, modality)
