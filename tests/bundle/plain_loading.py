"""What samples do where bundles are loaded plainly: `python -m tests.bundle.plain_loading FOLDER` prints it as JSON.

In a process of its own: it runs what it loads, though all of it is harmless.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import shutil
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path

import torch

_BYTES, _SECONDS, _FILE_BYTES = 1 << 30, 3, 64 << 20


def main(folder: Path) -> None:
    """By name, whether the sample's marker was there afterwards."""
    from tests.bundle.hostile import samples, write_harmless

    twin = write_harmless(folder / "twin")
    fired: dict[str, bool] = {}
    with redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n, sample in enumerate(s for s in samples() if s.fire is not None):
            place = folder / str(n)
            shutil.copytree(twin, place / "b")
            marker = place / "marker"
            sample.change(place / "b", marker)
            with suppress(Exception):
                sample.fire(place / "b", marker)  # type: ignore[misc]
            gc.collect()  # files that the samples leave open
            fired[sample.name] = marker.exists()
            shutil.rmtree(place / "b")
    print(json.dumps(fired))


def exhausts(load: Callable[[Path, Path], object]) -> Callable[[Path, Path], object]:
    """A loading that touches the marker where it takes more than 1 GiB, 3 s of a processor, or 64 MiB of a file."""

    def fire(folder: Path, marker: Path) -> None:
        child = os.fork()
        if child == 0:
            os._exit(_exceeded(lambda: load(folder, marker)))
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 1:
            marker.touch()

    return fire


def _exceeded(load: Callable[[], object]) -> int:
    """In a process that is thrown away: 1 if a bound was met, 0 if not; time ends it by a signal."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_AS, (used + _BYTES, used + _BYTES))
    seconds = _SECONDS + int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    try:
        load()
    except BaseException as error:
        seen: BaseException | None = error
        while seen is not None:
            words = str(seen)
            if isinstance(seen, MemoryError) or "allocate" in words or "File too large" in words:
                return 1
            seen = seen.__cause__ or seen.__context__
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
