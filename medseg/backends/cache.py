"""Files that save time when they are there and cost only time when they are not, or are damaged."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from medseg.domain.errors import MedsegError
from medseg.io.files import write_bytes

_MAGIC = b"medseg cache 1\n"
_HEX = 64
_MOST_BYTES = 4 << 30


def cache_folder() -> Path | None:
    """Where compiled networks are kept: `compiled` in MEDSEG_CACHE, else in `medseg` of the user's cache.

    It is made for the user alone. None where that fails or it is somebody else's: then nothing is kept.
    """
    folder = cache_place()
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or (os.name == "posix" and found.st_uid != os.geteuid()):
            return None
        folder.chmod(0o700)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def cache_place() -> Path | None:
    """Where it would be; None for a user without a home."""
    try:
        return _above() / "compiled"
    except RuntimeError:  # as in containers with the number of a user whom nobody knows
        return None


def _above() -> Path:
    said, shared = os.environ.get("MEDSEG_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if said:
        return Path(said)
    if shared:
        return Path(shared) / "medseg"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "medseg" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "medseg"
    return Path.home() / ".cache" / "medseg"


def read_entry(folder: Path | None, key: str, ending: str) -> bytes | None:
    """What was kept under the key (64 hex digits); None if nothing was, or it is damaged or another key's."""
    if folder is None:
        return None
    try:
        content = (folder / f"{key}.{ending}").read_bytes()
    except OSError:
        return None
    head = _head(key, content[len(_MAGIC) + 2 * (_HEX + 1) :])
    return content[len(head) :] if content.startswith(head) else None


def write_entry(folder: Path | None, key: str, ending: str, content: bytes) -> None:
    """Keep it, if that is possible; the oldest entries go where all together take more than 4 GiB."""
    if folder is None or len(content) > _MOST_BYTES // 4:
        return
    with suppress(MedsegError):  # a full disk is no reason not to segment
        write_bytes(folder / f"{key}.{ending}", _head(key, content) + content)
    _drop_oldest(folder)


def _head(key: str, content: bytes) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    return _MAGIC + f"{key}\n{digest}\n".encode()


def _drop_oldest(folder: Path) -> None:
    with suppress(OSError):
        files = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime)
        room = _MOST_BYTES - sum(path.stat().st_size for path in files)
        for path in files:
            if room >= 0:
                return
            room += path.stat().st_size
            path.unlink()
