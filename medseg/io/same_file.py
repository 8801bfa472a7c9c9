"""Whether a file that is to be written is one of those that are read, whatever path leads to it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from medseg.domain.errors import InputError
from medseg.io.walk import files_below

_Identity = tuple[int, int] | str


def input_replaced(outputs: Iterable[Path], inputs: Iterable[Path]) -> Path | None:
    """Return the first output that is an input, or a DICOM image in an input that is a folder; None if there is none.

    Files are the same if the system says so (device and number), so links, "..", names in other letters and folders
    reached by another way are seen through. Of a folder each file is looked at once, and only where an output exists.
    """
    written: dict[_Identity, Path] = {}
    for path in outputs:
        written.setdefault(_identity(path), path)
    exist = any(isinstance(identity, tuple) for identity in written)
    for source in dict.fromkeys(inputs):
        if (found := written.get(_identity(source))) is not None:
            return found
        for identity, path in _files_of(source) if exist else ():
            if identity in written and _is_image(path):
                return written[identity]
    return None


def is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same file or folder, there or not."""
    return _identity(one) == _identity(other)


def _identity(path: Path) -> _Identity:
    """What the system knows the file by; of one that is not there, or has no number, where it would be."""
    with suppress(OSError, ValueError):
        found = path.stat()
        if found.st_ino:
            return found.st_dev, found.st_ino
    return os.path.normcase(os.path.realpath(path))


def _files_of(source: Path) -> Iterator[tuple[_Identity, Path]]:
    """All files below a folder, links followed, each folder once; of a DICOMDIR those beside and below it."""
    from medseg.io.dicom_files import is_media_directory

    with suppress(OSError, InputError):
        if source.is_file() and is_media_directory(source):
            source = source.absolute().parent
        if source.is_dir():
            yield from files_below(source).by_identity.items()


def _is_image(path: Path) -> bool:
    """Whether reading the folder would take this file; what an earlier run wrote there may be written again."""
    from medseg.io.dicom_files import may_be_image

    return path.is_file() and may_be_image(path)
