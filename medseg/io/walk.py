"""All files below a folder, through links, each once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from medseg.domain.errors import InputError
from medseg.domain.words import counted


@dataclass(frozen=True)
class Found:
    """Regular files below a folder, and links there that lead nowhere; both in order of folder and name.

    by_identity: each file by its device and number.
    others:      further names of files that are there already.
    """

    by_identity: dict[tuple[int, int], Path]
    dangling: tuple[Path, ...]
    others: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files' paths."""
        return tuple(self.by_identity.values())


def files_below(root: Path) -> Found:
    """Walk a folder. Linked folders are entered once, so a loop of links ends; a file that several names lead to is
    given once.

    Raises: InputError if the folder, or one in it, cannot be listed: what it holds would be lost.
    """

    def refuse(error: OSError) -> None:
        raise InputError(
            f"{root}: cannot be listed, or a folder in it ({error.strerror}); check the path and its permissions"
        )

    files: dict[tuple[int, int], Path] = {}
    dangling, others = [], []
    entered = {_identity(root)}
    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        folders[:] = [name for name in sorted(folders) if _is_new(Path(folder, name), entered)]
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file():
                known = files.setdefault(_identity(path), path)
                others += [path] if known is not path else []
            elif path.is_symlink() and not path.exists():
                dangling.append(path)
    return Found(files, tuple(dangling), tuple(others))


def require_no_dangling(root: Path, dangling: int, count: int) -> None:
    """Raises: InputError if there are links that lead nowhere; each may have been a slice or a case.

    count: of all files and links.
    """
    if dangling:
        one = dangling == 1
        what = "is a link that leads" if one else "are links that lead"
        raise InputError(
            f"{root}: {dangling} of {counted(count, 'file')} {what} nowhere; fetch what "
            f"{'it points' if one else 'they point'} to "
            f"(for example with `git annex get` or `dvc pull`), or remove {'it' if one else 'them'}"
        )


def _identity(path: Path) -> tuple[int, int]:
    there = path.stat()
    return there.st_dev, there.st_ino


def _is_new(folder: Path, entered: set[tuple[int, int]]) -> bool:
    try:
        identity = _identity(folder)
    except OSError:
        return True  # listing it is refused with the reason
    if identity in entered:
        return False
    entered.add(identity)
    return True
