"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medseg.domain.errors import OutputError, ResourceError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_UNTOUCHED_NS = 1_000_000_000  # the first second of 1970
_OLD_SECONDS = 24 * 3600
_PART = re.compile(r"\.[0-9a-f]{12}\.part(\..+)?")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what was written there takes the final name when the block ends well.

    The file is flushed to disk before it is renamed, so a reader, or a crash at any moment, finds the old file, the
    new one or none, never a part. The temporary name keeps the ending, which writers choose formats by.

    Raises: ResourceError if the disk is full or the file too large, OutputError if the folder cannot be written.
    """
    temporary, held = _temporary_name(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, held = _claimed(path)
        yield temporary
        if held is not None and temporary.stat().st_mtime_ns == _UNTOUCHED_NS:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(temporary))
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno in _NO_SPACE or _is_short_write(error):
            raise ResourceError(f"{path}: the disk is full; free some space and run again") from error
        if error.errno == errno.EFBIG:
            raise ResourceError(f"{path}: is larger than a file may be here; lift the limit and run again") from error
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another folder") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
        if held is not None:
            os.close(held)


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(6)}.part.{path.name}")


def _claimed(path: Path) -> tuple[Path, int | None]:
    """Make the temporary file and lock it until its descriptor is closed, so that no other run sweeps it away.

    The lock is the kernel's and goes with the process, however that ends. Its time is set to one that no writer
    leaves, by which a file that nobody wrote to is known.
    Returns: its path, and the descriptor; None on systems without such locks.
    """
    try:
        import fcntl
    except ImportError:
        return _temporary_name(path), None
    while True:
        temporary = _temporary_name(path)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with suppress(OSError):  # a sweeping run holds it, or this file system has no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.utime(temporary, ns=(_UNTOUCHED_NS, _UNTOUCHED_NS))
            return temporary, descriptor
        except FileNotFoundError:  # swept between its making and its locking
            os.close(descriptor)
        except BaseException:
            os.close(descriptor)
            with suppress(OSError):
                temporary.unlink()
            raise


def write_bytes(path: Path, content: bytes) -> None:
    """The file with this content, or, on any failure, what was there before."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, content.encode())


def sweep(folder: Path, names: Collection[str] | None = None) -> None:
    """Remove what killed runs left half-written in a folder; what a living run is writing is locked and stays.

    names: of the files that this process may write; None for all.
    """
    for path in folder.glob(".*.part*"):
        match = _PART.fullmatch(path.name)
        if match is not None and (names is None or (match[1] or "")[1:] in names):
            with suppress(OSError):
                _remove_if_left(path)


def _remove_if_left(path: Path) -> None:
    """Raises: OSError if the file is locked, is no plain file or cannot be removed."""
    try:
        import fcntl
    except ImportError:  # there an open file cannot be removed at all
        path.unlink()
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:  # a file system without locks: only what is old is surely left
            if time.time() - os.fstat(descriptor).st_mtime < _OLD_SECONDS:
                return
        path.unlink()
    finally:
        os.close(descriptor)


def require_writable(folder: Path) -> None:
    """Try a file in the folder, or in the nearest one above that exists, before hours of work depend on it.

    Nothing is left behind; the folder itself is made with its first file.
    Raises: OutputError if no file can be written there.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there):  # where the system can, one without a name: nothing to leave behind
            pass
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); choose another output folder") from error


def _is_short_write(error: OSError) -> bool:
    """Numpy tells of a full disk, or a file that may not grow, by these words and without a number."""
    return error.errno is None and re.fullmatch(r"\d+ requested and \d+ written", str(error)) is not None


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems cannot sync a folder; the rename itself is still atomic
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
