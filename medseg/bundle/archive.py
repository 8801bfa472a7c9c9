"""A bundle in a zip file: looked at first, extracted beside it under a temporary name, then renamed."""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp

from medseg.domain.errors import BundleError, OutputError

MOST_BYTES, MOST_MEMBERS, MOST_RATIO = 8 << 30, 5000, 200
_SMALL = 1 << 20
_CHUNK = 1 << 20


def unpack(path: Path) -> Path:
    """The bundle's folder, beside the zip and named after it and its content; one that is there already is taken.

    Raises: BundleError for a member that is a link, encrypted or leads elsewhere, for sizes beyond the caps, and where
    there is not exactly one bundle; OutputError where the folder cannot be written.
    """
    folder = path.with_name(f"{path.stem}-{_digest(path)[:12]}")
    if not folder.is_dir():
        try:
            with zipfile.ZipFile(path) as archive:
                root = _root(path, _members(path, archive))
                _extract(path, archive, folder, root)
        except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, ValueError) as error:
            raise BundleError(f"{path}: no zip that can be read ({error}); copy it again") from error
    return folder


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error


def _members(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    size = sum(member.file_size for member in members)
    if len(members) > MOST_MEMBERS or size > MOST_BYTES:
        raise BundleError(f"{path}: {len(members)} members of {size} bytes are more than a bundle has")
    seen: set[str] = set()
    for member in members:
        _require_harmless(path, member)
        name = member.filename.rstrip("/").lower()
        if name in seen:
            raise BundleError(f"{path}: the member {member.filename!r} stands there twice")
        seen.add(name)
    return members


def _require_harmless(path: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BundleError(f"{path}: the member {name!r} is a link or device")
    bad = set('\\:*?"<>|') | {chr(n) for n in range(32)}
    if name.startswith("/") or ".." in PurePosixPath(name).parts or bad & set(name) or not name.strip("/. "):
        raise BundleError(f"{path}: the member {name!r} leads out of the folder, or has no plain name")
    if member.flag_bits & 1:
        raise BundleError(f"{path}: the member {name!r} is encrypted")
    if member.file_size > _SMALL and member.file_size > MOST_RATIO * max(member.compress_size, 1):
        raise BundleError(
            f"{path}: the member {name!r} would grow from {member.compress_size} to {member.file_size} bytes"
        )


def _root(path: Path, members: list[zipfile.ZipInfo]) -> str:
    """The folder in the zip that holds configs/metadata.json, with a slash, or nothing."""
    tail = "configs/metadata.json"
    roots = [m.filename[: -len(tail)] for m in members if f"/{m.filename}".endswith(f"/{tail}")]
    if len(roots) != 1:
        raise BundleError(f"{path}: holds {len(roots)} files {tail}; a zip holds one bundle")
    return roots[0]


def _extract(path: Path, archive: zipfile.ZipFile, folder: Path, root: str) -> None:
    try:
        temporary = Path(mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); copy the zip to another folder") from error
    try:
        for member in archive.infolist():
            if member.filename.startswith(root) and not member.is_dir():
                _write(path, archive, member, temporary / member.filename[len(root) :])
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was quicker, with the same content
            raise OutputError(f"{folder}: cannot be written ({error.strerror}); free some space") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """A member's bytes, no more of them than its header says."""
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    with archive.open(member) as source, target.open("xb") as file:
        while chunk := source.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise BundleError(f"{path}: the member {member.filename!r} is larger than its header says")
            file.write(chunk)
