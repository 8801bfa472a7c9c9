"""Files by their content: whether an input or an output is still what it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from medseg.domain.errors import InputError
from medseg.io.walk import files_below


def file_digest(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes. Raises: OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def found_digests(files: Mapping[str, Path]) -> dict[str, str]:
    """The digests by name of those that are there."""
    found = {}
    for name, path in files.items():
        try:
            found[name] = file_digest(path)
        except OSError:
            continue
    return found


def folder_digest(folder: Path, parts: Sequence[str]) -> str:
    """Of the files in some folders of a folder, with their names. Raises: InputError if one cannot be read."""
    digest = hashlib.sha256()
    try:
        files = [path for part in parts for path in (folder / part).rglob("*") if path.is_file()]
        for path in sorted(files):
            digest.update(f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}\n".encode())
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); check its rights") from error
    return digest.hexdigest()


@contextmanager
def unchanged(sources: Mapping[str, Path]) -> Iterator[str]:
    """The digest of an input's files, which must stay as they are until the block ends.

    sources: a case's images by name. The files of a folder count by their contents, whatever they are called.
    "" where a file cannot be read: the block, which reads it too, will say why.
    Raises: InputError if a file changed meanwhile, or could not be read here and could be in the block.
    """
    try:
        files = {name: _files(path) for name, path in sources.items()}
        before = _stamps(files)
        digest = hashlib.sha256()
        for name, paths in files.items():
            digests = sorted(map(file_digest, paths))
            digest.update(f"{name}\0{' '.join(digests)}\n".encode())
        told = digest.hexdigest()
    except (OSError, InputError):
        told = ""
    yield told
    first = next(iter(sources.values()))
    try:
        changed = not told or _stamps({name: _files(path) for name, path in sources.items()}) != before
    except (OSError, InputError):
        changed = True
    if changed:
        raise InputError(f"{first}: changed while it was read; run again when nothing writes to it any more")


def _files(path: Path) -> list[Path]:
    """All files behind an input: of a folder those in it, of a DICOMDIR also what it lists."""
    if path.is_dir():
        return list(files_below(path).files)
    from medseg.io.dicom_zip import is_zip
    from medseg.io.images import may_be_series

    if may_be_series(path) and not is_zip(path):
        from medseg.io.dicom_files import find_files

        return list({path, *(file.path for file in find_files(path).files)})
    return [path]


def _stamps(files: Mapping[str, Sequence[Path]]) -> list[tuple[str, int, int, int]]:
    stamps = []
    for paths in files.values():
        for path in paths:
            facts = path.stat()
            stamps.append((str(path), facts.st_size, facts.st_mtime_ns, facts.st_ino))
    return sorted(stamps)
