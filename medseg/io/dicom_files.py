"""The files behind what the user named: a folder, a zip, a DICOMDIR or one DICOM file.

What a file or folder inside is called may be a patient's name, so messages know a file by its number only: its place
among all files, sorted by their names. What the user typed themselves is repeated as it was typed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread

from medseg.domain.errors import InputError, SeriesError
from medseg.io.dicom_quiet import quiet_pydicom
from medseg.io.dicom_walk import file_meta, is_no_image, starts_with_an_element
from medseg.io.dicom_zip import TemporaryFolder, is_zip, unpack
from medseg.io.walk import files_below, require_no_dangling

_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"


@dataclass(frozen=True)
class File:
    """One file to look at.

    path: where it lies; for what was in a zip, a temporary copy.
    name: how messages call it, "scans: file 4 of 11".
    title: its own name inside what the user named; may name a patient.
    """

    path: Path
    name: str
    title: str = field(repr=False)


@dataclass(frozen=True)
class Files:
    """All files, in the order of their numbers; `keeps` must live as long as the paths are used."""

    files: tuple[File, ...]
    skipped: int = 0
    keeps: TemporaryFolder | None = field(default=None, repr=False, compare=False)


def find_files(root: Path) -> Files:
    """The files to look at, nested and linked folders included; only zips are opened at this point.

    skipped: members of a zip that are no DICOM, which are not unpacked.
    Raises: InputError for what cannot be listed or unpacked, and for links that lead nowhere; SeriesError for a
    DICOMDIR that lists what is not there.
    """
    try:
        if root.is_dir():
            below = files_below(root)
            dangling = [path for path in below.dangling if not path.name.startswith(".")]  # locks of editors
            require_no_dangling(root, len(dangling), len(below.files) + len(dangling))
            return Files(_numbered(root, "file", [(path, path) for path in below.files]))
        if is_zip(root):
            members, count, keeps = unpack(root)
            files = tuple(File(path, f"{root}: member {n} of {count}", title) for n, path, title in members)
            return Files(files, count - len(files), keeps)
        if is_media_directory(root):
            return Files(_numbered(root, "listed file", _listed(root)))
    except OSError as error:
        raise InputError(f"{root}: cannot be read ({error.strerror}); check the path and its rights") from error
    return Files((File(root, str(root), root.name),))


def is_dicom(path: Path, zips: bool = True) -> bool:
    """By content: a DICOM file, with or without preamble; a zip too unless told otherwise."""
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return False
    return start[128:] == b"DICM" or (zips and start[:4] == b"PK\x03\x04") or starts_with_an_element(start)


def is_media_directory(path: Path) -> bool:
    """Whether the file is a DICOMDIR.

    Raises: InputError if its first elements are damaged; OSError if it cannot be read.
    """
    return _object_class(path) == _MEDIA_DIRECTORY


def may_be_image(path: Path) -> bool:
    """Whether this is a DICOM file that is looked at as an image: no report, no segmentation, nothing else."""
    try:
        return is_dicom(path) and not is_no_image(_object_class(path))
    except (InputError, OSError):  # damaged: it is refused when the folder is read
        return True


def _object_class(path: Path) -> str:
    """The class in the file's first group; empty for a file without one."""
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return ""
        try:
            with quiet_pydicom():
                return file_meta(str(path), file, path.stat().st_size)[0]
        except InputError:
            raise
        except Exception as error:  # as a damaged stream makes the parser raise
            raise InputError(f"{path}: damaged: its header cannot be read ({type(error).__name__})") from error


def _numbered(root: Path, word: str, paths: list[tuple[Path, Path]]) -> tuple[File, ...]:
    count = len(paths)
    return tuple(
        File(
            path,
            f"{root}: {word} {n} of {count}",
            str(inside.relative_to(root)) if inside.is_absolute() else str(inside),
        )
        for n, (path, inside) in enumerate(paths, 1)
    )


def _listed(directory: Path) -> list[tuple[Path, Path]]:
    """The files of a DICOMDIR (PS3.10), which lie beside and below it."""
    try:
        with quiet_pydicom():
            records = dcmread(directory, specific_tags=["DirectoryRecordSequence"]).get("DirectoryRecordSequence") or ()
            names = [record.get("ReferencedFileID") for record in records]
    except Exception as error:
        raise InputError(f"{directory}: damaged: its records cannot be read; give the folder itself") from error
    found: list[tuple[Path, Path]] = []
    base = directory.parent.resolve()
    missing = 0
    for parts in filter(None, names):
        inside = Path(*([parts] if isinstance(parts, str) else map(str, parts)))
        tries = (
            directory.parent / inside,
            directory.parent / str(inside).lower(),
        )  # some discs are mounted in lower case
        path = next((path for path in tries if path.is_file()), None)
        if path is None:
            missing += 1
        elif not path.resolve().is_relative_to(base):
            raise InputError(f"{directory}: lists a file outside its folder; give the folder of the images itself")
        else:
            found.append((path, inside))
    if missing or not found:
        raise SeriesError(
            f"{directory}: lists {missing + len(found)} files, {missing} of them are not there; copy the whole disc, "
            "or give the folder of the images itself"
        )
    return found
