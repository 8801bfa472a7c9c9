"""A bundle in a zip file: looked at first, extracted under a temporary name, then renamed; kept, and verified again."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp

from medseg.bundle.trust import content_digest, home_folder
from medseg.bundle.words import short
from medseg.domain.errors import BundleError, OutputError

MOST_BYTES, MOST_MEMBERS, MOST_RATIO = 8 << 30, 5000, 200
_LONGEST_NAME, _LONGEST_PATH = 200, 1000
_SMALL = 1 << 20
_CHUNK = 1 << 20
_DAMAGED = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    NotImplementedError,
    EOFError,
    ValueError,
    RuntimeError,
)


def unpack(path: Path, home: Path | None = None) -> Path:
    """The bundle's folder, named after the zip, below `home`; None: among the user's unpacked ones.

    The folder above it is named after the digests of the zip and of all files in it: what was unpacked before is taken
    again if it still has that content, else unpacked anew. Only the user may look into it.

    Raises: BundleError for a member that is a link, encrypted or leads elsewhere, for sizes beyond the caps, and where
    there is not exactly one bundle; OutputError where the folder cannot be written.
    """
    home, digest = home or unpacked_folder(), _digest(path)
    name = PurePosixPath(path.name).stem.strip(". ") or "bundle"
    for folder in sorted(home.glob(f"{digest[:24]}-*")):
        if (folder / name).is_dir() and folder.name == _folder_name(digest, folder / name):
            return folder / name
        shutil.rmtree(folder, ignore_errors=True)  # changed since, or another zip's name
    try:
        with zipfile.ZipFile(path) as archive:
            root = _root(path, _members(path, archive))
            return _extract(path, archive, home, name, digest, root)
    except _DAMAGED as error:
        raise BundleError(f"{path}: no zip that can be read ({short(str(error))}); copy it again") from error


def unpacked_folder() -> Path:
    """Where bundles out of zips are kept; it may be deleted at any time."""
    return home_folder() / "unpacked"


def _folder_name(digest: str, folder: Path) -> str:
    try:
        return f"{digest[:24]}-{content_digest(folder)[:24]}"
    except (BundleError, OSError):  # somebody put a link there
        return ""


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
    if size > _SMALL and size > MOST_RATIO * path.stat().st_size:  # members that share their bytes
        raise BundleError(f"{path}: would grow from {path.stat().st_size} to {size} bytes")
    files: set[str] = set()
    folders: set[str] = set()
    for member in members:
        _require_harmless(path, member)
        name = member.filename.rstrip("/").lower()
        if not member.is_dir():
            if name in files:
                raise BundleError(f"{path}: the member {short(member.filename)} stands there twice")
            files.add(name)
        folders |= {str(parent) for parent in PurePosixPath(name).parents} | ({name} if member.is_dir() else set())
    if files & folders:
        raise BundleError(f"{path}: the member {short(min(files & folders))} is a file and a folder")
    return members


def _require_harmless(path: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename
    shown = short(name)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BundleError(f"{path}: the member {shown} is a link or device")
    parts = name.removesuffix("/").split("/")
    plain = name.isprintable() and not set('\\:*?"<>|') & set(name)
    if not plain or any(part.strip(". ") == "" for part in parts):  # "", "." and ".." lead elsewhere
        raise BundleError(f"{path}: the member {shown} leads out of the folder, or has no plain name")
    if len(name.encode()) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_NAME for part in parts):
        raise BundleError(f"{path}: the member {shown} has a name of {len(name)} characters")
    if member.flag_bits & 1:
        raise BundleError(f"{path}: the member {shown} is encrypted")
    if member.file_size > _SMALL and member.file_size > MOST_RATIO * max(member.compress_size, 1):
        raise BundleError(
            f"{path}: the member {shown} would grow from {member.compress_size} to {member.file_size} bytes"
        )


def _root(path: Path, members: list[zipfile.ZipInfo]) -> str:
    """The folder in the zip that holds configs/metadata.json, with a slash, or nothing."""
    tail = "configs/metadata.json"
    roots = [m.filename[: -len(tail)] for m in members if f"/{m.filename}".endswith(f"/{tail}")]
    if len(roots) != 1:
        raise BundleError(f"{path}: holds {len(roots)} files {tail}; a zip holds one bundle")
    return roots[0]


def _extract(path: Path, archive: zipfile.ZipFile, home: Path, name: str, digest: str, root: str) -> Path:
    try:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        _sweep(home)
        temporary = Path(mkdtemp(prefix=_part_prefix(), dir=home))  # 0700
    except OSError as error:
        raise OutputError(f"{home}: cannot be written ({error.strerror}); set MEDSEG_HOME to another folder") from error
    try:
        for member in archive.infolist():
            if member.filename.startswith(root) and not member.is_dir():
                _write(path, archive, member, temporary / name / member.filename[len(root) :])
        folder = home / _folder_name(digest, temporary / name)
        with suppress(OSError):  # another process was quicker, with the same content
            temporary.rename(folder)
        if not folder.is_dir():
            raise OutputError(f"{folder}: cannot be written; set MEDSEG_HOME to another folder")
        return folder / name
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _part_prefix() -> str:
    return f".{platform.node()}.{os.getpid()}.part."


def _sweep(home: Path) -> None:
    """Remove what killed processes of this machine left half-unpacked."""
    for part in home.glob(f".{platform.node()}.*.part.*"):
        number = part.name.removeprefix(f".{platform.node()}.").partition(".")[0]
        if number.isdecimal() and not _is_running(int(number)):
            shutil.rmtree(part, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def _write(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """A member's bytes, no more of them than its header says."""
    left = member.file_size
    chunks = _chunks(path, archive, member)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            for chunk in chunks:
                left -= len(chunk)
                if left < 0:
                    raise BundleError(f"{path}: the member {short(member.filename)} is larger than its header says")
                file.write(chunk)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror}); free some space") from error


def _chunks(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(member) as source:
            while chunk := source.read(_CHUNK):
                yield chunk
    except OSError as error:  # a place in the file that is none
        raise BundleError(f"{path}: the member {short(member.filename)} cannot be read ({error.strerror})") from error
