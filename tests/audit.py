"""What a process does besides computing, as Python's audit hooks tell it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RUNNING = (
    *("exec", "import", "pickle.find_class", "marshal.loads", "code.__new__", "os.system", "os.exec", "os.fork"),
    *("os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "subprocess.Popen", "socket.", "urllib.Request"),
    *("ftplib.connect", "http.client.connect", "ctypes.", "sys.addaudithook", "webbrowser.open"),
)
CHANGING = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
_WRITES = set("wax+")

# Where modules lie, and what torch asks the system.
_CODE = (*{str(Path(p).resolve()) for p in (sys.prefix, sys.base_prefix, Path(__file__).parents[1])}, "/proc", "/sys")

_watching: list[tuple[list[str], tuple[str, ...], bool]] = []
_hooked: list[bool] = []
_importing: list[bool] = []


@contextmanager
def watched(folders: Sequence[Path], writes: bool = True, imports: bool = False) -> Iterator[list[str]]:
    """The list of what was done: code, modules, processes, sockets; files opened or changed outside the folders.

    writes:  whether files in the folders may be written and changed.
    imports: whether installed modules may be read and run: where this program loads its own parts late.
    """
    if not _hooked:
        sys.addaudithook(_heard)  # for good: Python has no way to take it off
        _hooked.append(True)
    found: list[str] = []
    inside = tuple(str(folder.resolve()) for folder in folders)
    _watching.append((found, inside, writes))
    _importing.append(imports)
    try:
        yield found
    finally:
        _watching.pop()
        _importing.pop()


@contextmanager
def unwatched() -> Iterator[None]:
    """For what the test itself does meanwhile."""
    before = _watching[:]
    _watching.clear()
    try:
        yield
    finally:
        _watching.extend(before)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or event in ("object.__getattr__", "compile"):  # reading an expression compiles nothing to run
        return
    found, inside, writes = _watching[-1]
    if _importing[-1] and event in ("exec", "import", "marshal.loads"):
        return
    if event.startswith(RUNNING):
        found.append(f"{event} {arguments[:1]!r:.120}")
    elif event == "open":
        _opened(arguments, found, inside, writes, _importing[-1])
    elif event.startswith(CHANGING) and not (writes and (_is_inside(arguments[0], inside) or _is_in_open(arguments))):
        found.append(f"{event} {arguments[0]!r}")


def _opened(arguments: tuple[Any, ...], found: list[str], inside: tuple[str, ...], writes: bool, imports: bool) -> None:
    path, mode, flags = arguments
    changes = bool(_WRITES & set(mode)) if isinstance(mode, str) else bool(int(flags or 0) & 3)
    if not changes and isinstance(path, str) and "/" not in path:
        return  # a name in a folder that is open already: no event tells which
    if _is_inside(path, inside):
        if changes and not writes:
            found.append(f"written {path!r}")
    elif changes or not (imports and _is_inside(path, _CODE)):
        found.append(f"opened {path!r}")


def _is_in_open(arguments: tuple[Any, ...]) -> bool:
    """Whether a name stands for what lies in a folder that is open already, as in `shutil.rmtree`."""
    return len(arguments) > 1 and type(arguments[-1]) is int and arguments[-1] >= 0


def _is_inside(path: Any, folders: tuple[str, ...]) -> bool:
    if not isinstance(path, (str, bytes, Path)):
        return True  # a descriptor that is open already
    text = path.decode() if isinstance(path, bytes) else str(path)
    real = str(Path(text).absolute())
    return any(real == folder or real.startswith(f"{folder}/") for folder in folders)
