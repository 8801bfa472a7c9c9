"""Damage valid files, read them, and accept nothing but a result or a typed refusal, in bounded time and memory."""

from __future__ import annotations

import random
import resource
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medseg.domain.doubts import IS_IMAGE
from medseg.domain.errors import MedsegError, ResourceError
from medseg.domain.volume import Volume
from medseg.io.images import read_image

Mutation = Callable[[random.Random, bytes], bytes]

_SECONDS = 5.0
_BYTES = 512 << 20
SILENT = "> 1 % silently"


@dataclass(frozen=True)
class Gate:
    """One kind of input.

    seeds:    valid inputs, each the files of a folder by name; one file stands for itself.
    harmful:  changes after which the reader may refuse or read on.
    harmless: changes after which it must read the same voxels in the same place.
    labels:   names of the seeds where harmful changes damage pixels: then what came of each kind is counted, and the
              cases in which more than 1 % of a slice's voxels changed without a refusal or a note are kept apart.
    """

    name: str
    seeds: tuple[Mapping[str, bytes], ...]
    harmful: tuple[Mutation, ...]
    harmless: tuple[Mutation, ...]
    labels: tuple[str, ...] = ()


@dataclass
class Tally:
    """What came of the cases; failures are reproduced by their number, from the seed of the run."""

    cases: int = 0
    accepted: int = 0
    harmless: int = 0
    slowest_s: float = 0.0
    refusals: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Of the cases that were read."""
        return self.accepted / max(self.cases, 1)


class TooSlow(BaseException):
    """No Exception, which a reader may catch."""


def fuzz(gate: Gate, count: int, folder: Path, seed: int = 0, first: int = 0) -> Tally:
    """`count` cases from the number `first` on; case n is the same in every run with that seed."""
    tally = Tally()
    wanted = [read_image(_write(folder / f"seed{n}", files), IS_IMAGE) for n, files in enumerate(gate.seeds)]
    with less_memory(), alarm(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for number in range(first, first + count):
            _case(gate, number, seed, folder / "case", wanted, tally)
            if warned:  # a user would see more than one line
                tally.failures.append(f"{gate.name} case {number}: warned: {warned[0].message}")
                warned.clear()
    return tally


def case_of(gate: Gate, number: int, seed: int = 0) -> tuple[int, dict[str, bytes], list[str], bool]:
    """The seed's place, the damaged files, the names of the changes, and whether all are harmless."""
    rng = random.Random(f"{gate.name} {seed} {number}")
    which = rng.randrange(len(gate.seeds))
    files = dict(gate.seeds[which])
    harmless = rng.random() < 0.35
    names = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        mutation = rng.choice(gate.harmless if harmless else (*gate.harmful, *gate.harmful, *gate.harmless))
        target = rng.choice(sorted(files))
        files[target] = mutation(rng, files[target])
        names.append(getattr(mutation, "__name__", "change"))
    return which, files, names, harmless


def _case(gate: Gate, number: int, seed: int, folder: Path, wanted: list[Volume], tally: Tally) -> None:
    which, files, names, harmless = case_of(gate, number, seed)
    where = f"{gate.name} case {number} ({', '.join(names)})"
    path = _write(folder.with_name(f"{folder.name}{which}"), files)
    tally.cases += 1
    tally.harmless += harmless
    started = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        volume = read_image(path, IS_IMAGE)
    except ResourceError as error:
        tally.failures.append(f"{where}: asked for memory beyond a small file's: {error}")
    except MedsegError as error:
        message = str(error)
        tally.refusals[type(error).__name__] += 1
        if gate.labels:
            tally.outcomes[gate.labels[which], "refused"] += 1
        if "\n" in message or str(path) not in message:
            tally.failures.append(f"{where}: refused in other than one line with the file's name: {message!r}")
        if harmless:
            tally.failures.append(f"{where}: a harmless change was refused: {message}")
    except TooSlow:
        tally.failures.append(f"{where}: not done after {_SECONDS} s")
    except (Exception, RecursionError) as error:
        tally.failures.append(f"{where}: {type(error).__name__}: {error}")
    else:
        tally.accepted += 1
        fault = _fault(volume, wanted[which] if harmless else None)
        if gate.labels and not fault:
            outcome = _outcome(volume, wanted[which])
            tally.outcomes[gate.labels[which], outcome] += 1
            if outcome == SILENT:
                tally.silent.append(f"{where}: {gate.labels[which]}: {outcome}")
        if fault:
            tally.failures.append(f"{where}: {fault}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    tally.slowest_s = max(tally.slowest_s, time.perf_counter() - started)


def _fault(volume: Volume, wanted: Volume | None) -> str:
    """What is wrong with an accepted volume; with `wanted` it must be that very volume."""
    values = volume.voxels
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return "NaN or infinity was let through"
    if values.shape[1:] != volume.geometry.shape_ijk or values.size == 0:
        return "voxels and geometry do not fit"
    if wanted is None:
        return ""
    if not np.array_equal(values, wanted.voxels) or values.dtype != wanted.voxels.dtype:
        return "a harmless change altered voxels"
    if volume.geometry != wanted.geometry or volume.geometry.calibrated != wanted.geometry.calibrated:
        return "a harmless change moved the volume"
    return ""


def _outcome(volume: Volume, wanted: Volume) -> str:
    """What a damaged stream did to an accepted volume."""
    if volume.voxels.shape != wanted.voxels.shape or volume.geometry != wanted.geometry:
        return "another grid"
    share = float((volume.voxels != wanted.voxels).mean((0, 1, 2)).max())
    if not share:
        return "unchanged"
    if set(volume.notes) - set(wanted.notes):
        return "noted"
    return SILENT if share > 0.01 else "<= 1 % silently"


def _write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """The files and no others in the folder, and the path of what they are; what is there already is left."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink()
    for name, content in files.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
    return folder / next(iter(files)) if len(files) == 1 else folder


@contextmanager
def alarm() -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


@contextmanager
def less_memory() -> Iterator[None]:
    """The process may grow by half a GiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(OSError, ValueError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
