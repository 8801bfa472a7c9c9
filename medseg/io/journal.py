"""The journal of an output folder: who writes there, and which cases are done. One process at a time holds it."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medseg.domain.errors import OutputError, ResourceError
from medseg.domain.journal import Entry, entry_of

NAME = "medseg-journal.jsonl"
_MOST_BYTES, _LONGEST_LINE = 256 << 20, 1 << 20
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Journal:
    """Entries of cases, kept on disk line by line; of several of one mask the last counts.

    latest:  by the name of the first mask.
    damaged: how many lines were passed over, as the torn last one after a crash.
    """

    def __init__(self, path: Path, descriptor: int):
        self.path = path
        self.latest: dict[str, Entry] = {}
        self.damaged = 0
        self._descriptor, self._one_at_a_time = descriptor, threading.Lock()
        self._is_torn = self._read()

    def append(self, entry: Entry) -> None:
        """The entry is on disk when this returns; any thread may call.

        Raises: ResourceError if the disk is full, OutputError if the journal cannot be written.
        """
        with self._one_at_a_time:
            line = (b"\n" if self._is_torn else b"") + entry.to_line()
            try:
                self._is_torn = True
                if os.write(self._descriptor, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(self._descriptor)
                self._is_torn = False
            except OSError as error:
                if error.errno in _NO_SPACE:
                    raise ResourceError(f"{self.path}: the disk is full; free some space and run again") from error
                raise OutputError(
                    f"{self.path}: cannot be written ({error.strerror}); choose another folder"
                ) from error
            self.latest[entry.mask] = entry

    def _read(self) -> bool:
        """Whether the last line is torn."""
        if os.fstat(self._descriptor).st_size > _MOST_BYTES:
            raise OutputError(f"{self.path}: is larger than any journal; delete it or choose another folder")
        last = b"\n"
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            while line := file.readline(_LONGEST_LINE):
                last = line
                entry = entry_of(line) if line.endswith(b"\n") else None
                if entry is not None:
                    self.latest[entry.mask] = entry
                elif line.strip():
                    self.damaged += 1
        return not last.endswith(b"\n")


@contextmanager
def open_journal(folder: Path) -> Iterator[Journal]:
    """The journal of a folder, made if need be, for this process alone until the block ends.

    The lock is the kernel's: it goes with the process, however that ends. A journal that tells of nothing begun or done
    is removed again, and so is a folder made for it.
    Raises: OutputError if another process holds it, or it is no plain file, or the folder cannot be written.
    """
    path, made = folder / NAME, _make(folder)
    try:
        descriptor = _opened_and_locked(path)
        try:
            journal = Journal(path, descriptor)
            try:
                yield journal
            finally:
                if not journal.damaged and all(entry.state == "refused" for entry in journal.latest.values()):
                    with suppress(OSError):
                        path.unlink()
        finally:
            os.close(descriptor)
    finally:
        for place in made:
            with suppress(OSError):
                place.rmdir()


@contextmanager
def beside_no_batch(folder: Path) -> Iterator[None]:
    """While the block runs no batch begins in the folder; without a journal there, nothing is held.

    Raises: OutputError if a batch is under way there.
    """
    descriptor = None
    with suppress(OSError):
        descriptor = os.open(folder / NAME, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        if descriptor is not None:
            _lock(descriptor, folder, shared=True)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _make(folder: Path) -> list[Path]:
    """Those folders that were not there before, the innermost first."""
    try:
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); choose another output folder") from error
    return missing


def _opened_and_locked(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    while True:
        try:
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another output folder") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OutputError(f"{path}: is no plain file; delete it or choose another output folder")
            _lock(descriptor, path.parent, shared=False)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner removed it between our opening and locking it


def _lock(descriptor: int, folder: Path, shared: bool) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this system; files are still whole or not there
        return
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            f"{folder}: in use by another medseg; wait for its end, or choose another output folder"
        ) from error
    except OSError:  # a file system without locks
        return
