"""A zip unpacked beside: only DICOM members, under numbers for names, with caps on what it may swell to."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import weakref
import zipfile
import zlib
from pathlib import Path

from medseg.domain.errors import InputError, ResourceError
from medseg.io.dicom_walk import starts_with_an_element

_MOST_MEMBERS = 100_000
_MOST_BYTES = 16 << 30
_MOST_SWELLING, _FREE_BYTES = 200, 64 << 20  # images of air deflate a hundredfold; bombs a thousandfold
_CHUNK = 1 << 20


class TemporaryFolder:
    """A folder that only this user can read; its name says nothing.

    remove: removes it now; called by itself when this object or the process goes.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="medseg-"))
        self.remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def is_zip(path: Path) -> bool:
    """By content; an empty archive too."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def unpack(archive: Path) -> tuple[list[tuple[int, Path, str]], int, TemporaryFolder]:
    """The DICOM members as (number, copy, own name), the count of all files, and what keeps the copies.

    Members are numbered in the order of their names, and copies are called after the number: no member can write
    elsewhere.
    Raises: InputError for a damaged or locked archive, links, or one that swells beyond reason; ResourceError if the
    disk is full.
    """
    folder = TemporaryFolder()
    try:
        with zipfile.ZipFile(archive) as content:
            members = sorted((m for m in content.infolist() if not m.is_dir()), key=lambda member: member.filename)
            if len(members) > _MOST_MEMBERS:
                raise InputError(f"{archive}: has {len(members)} members, {_MOST_MEMBERS} are read; unpack it yourself")
            left = min(_MOST_BYTES, archive.stat().st_size * _MOST_SWELLING + _FREE_BYTES)
            found = []
            for number, member in enumerate(members, 1):
                name = f"{archive}: member {number} of {len(members)}"
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise InputError(f"{name}: is a link, which is not followed; pack the files themselves")
                if member.flag_bits & 1:
                    raise InputError(f"{name}: is locked by a password; unpack it and give the folder")
                copy = folder.path / f"{number:06d}"
                size = _extract(content, member, copy, left, name)
                left -= size
                if size:
                    found.append((number, copy, member.filename))
            return found, len(members), folder
    except BaseException as error:
        folder.remove()
        refusal = _refusal(archive, error)
        if refusal is error:
            raise
        raise refusal from error


def _refusal(archive: Path, error: BaseException) -> BaseException:
    """What is said of it; what is no fault of the archive is passed on."""
    if isinstance(error, zipfile.BadZipFile):
        return InputError(f"{archive}: the zip is damaged (its directory or a checksum); copy it again")
    if isinstance(error, (zlib.error, EOFError, NotImplementedError, RuntimeError)):
        return InputError(f"{archive}: the zip cannot be unpacked ({type(error).__name__}); unpack it yourself")
    if isinstance(error, OSError) and error.errno in (28, 122):  # ENOSPC, EDQUOT
        return ResourceError(f"{archive}: the disk is full; free some space in {tempfile.gettempdir()}")
    if isinstance(error, OSError):
        return InputError(f"{archive}: the zip cannot be read ({error.strerror}); check its rights")
    return error


def _extract(content: zipfile.ZipFile, member: zipfile.ZipInfo, copy: Path, left: int, name: str) -> int:
    """How many bytes were written: 0 for what is no DICOM. Read to the end, since the checksum is compared there."""
    with content.open(member) as packed:
        chunk = packed.read(_CHUNK)
        if not (chunk[128:132] == b"DICM" or starts_with_an_element(chunk[:132])):
            return 0
        size = 0
        with os.fdopen(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            while chunk:
                size += len(chunk)
                if size > left:
                    raise InputError(
                        f"{name}: the zip swells to more than {_MOST_SWELLING} times its size or "
                        f"{_MOST_BYTES >> 30} GiB; unpack it yourself if you trust it"
                    )
                file.write(chunk)
                chunk = packed.read(_CHUNK)
    return size
