"""Two or more sides in turns, each trial in a process of its own: seconds, peak memory, ratios and their spread.

A script of a row gives its sides (functions that run in the child), its plan (which cases, how often) and its lines
(what goes into the table). `main` runs the plan, keeps every trial in results/NAME.json and prints the lines;
`table.py` writes RESULTS.md from all results that are there.

    python benchmarks/NAME.py [--quick] [-o FOLDER]

--quick: sizes and rounds of a smoke test; its figures say nothing, and are not kept unless -o is given.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
OURS = "medseg"  # a side of this name runs as the command does: with freed memory kept (medseg.cli.memory)
SAME = ", same allocator"  # behind a peer's name: with freed memory kept too; else with the allocator as it comes
MOST_SECONDS = 1800  # of one trial
NO_NNUNET = "nnU-Net is not installed"


class Meter:
    """Wall seconds and extra memory of the block it surrounds.

    extra_mib: the peak of resident memory inside the block, less what was resident before.
    """

    def __init__(self) -> None:
        self.seconds = self.extra_mib = 0.0

    def __enter__(self) -> Meter:
        with suppress(OSError):  # forget the peak of what came before; Linux only
            Path("/proc/self/clear_refs").write_text("5")
        self._before, self._started = _resident_mib(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._started
        self.extra_mib = peak_mib() - self._before


Side = Callable[[dict[str, Any], Meter], dict[str, Any]]


@dataclass(frozen=True)
class Group:
    """Sides that take turns on one case, so many times.

    case:  what the side is told, as JSON holds it.
    sides: names of the bench's sides; a peer's may end with SAME.
    """

    case: dict[str, Any]
    sides: tuple[str, ...]
    rounds: int = 3


@dataclass(frozen=True)
class Trial:
    """What one process measured; error: why it did not."""

    side: str
    case: dict[str, Any]
    round: int
    seconds: float = 0.0
    extra_mib: float = 0.0
    peak_mib: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Line:
    """One line of the table.

    measured: in words, with its spread; met: None where there is no target or nothing was measured.
    """

    figure: str
    against: str
    target: str
    measured: str
    ours: str = ""
    theirs: str = ""
    sizes: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Bench:
    """A row of the table; prepare: makes files that the sides read, in a folder that every case is told as "folder"."""

    name: str
    title: str
    sides: dict[str, Side]
    plan: Callable[[bool], Sequence[Group]]
    lines: Callable[[Sequence[Trial]], Sequence[Line]]
    prepare: Callable[[Path, bool], None] = lambda folder, quick: None
    note: str = ""


def main(bench: Bench) -> None:
    parser = argparse.ArgumentParser(description=bench.title)
    parser.add_argument("--quick", action="store_true", help="a smoke test; its figures say nothing")
    parser.add_argument("--rounds", type=int, help="instead of the row's own number")
    parser.add_argument("-o", "--output", type=Path, help="folder of the result [benchmarks/results]")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # in the child: one trial, as JSON
    asked = parser.parse_args()
    if asked.one:
        print("\n" + json.dumps(_one(bench, json.loads(asked.one))))
        return
    with tempfile.TemporaryDirectory() as folder:
        bench.prepare(Path(folder), asked.quick)
        trials = [trial for group in bench.plan(asked.quick) for trial in _turns(bench, group, folder, asked.rounds)]
        lines = bench.lines(trials)
    for line in lines:
        print(f"{line.figure} | {line.against} | {line.target} | {line.measured} | {line.ours} | {line.theirs}")
    output = asked.output or (None if asked.quick else RESULTS)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        result = {
            "title": bench.title,
            "note": bench.note,
            "quick": asked.quick,
            "machine": machine(),
            "lines": [asdict(line) for line in lines],
            "trials": [asdict(trial) for trial in trials],
        }
        (output / f"{bench.name}.json").write_text(json.dumps(result, indent=1) + "\n")


def _turns(bench: Bench, group: Group, folder: str, rounds: int | None) -> list[Trial]:
    trials: list[Trial] = []
    failed: set[str] = set()
    for turn in range(min(rounds or group.rounds, group.rounds) if group.rounds == 1 else rounds or group.rounds):
        for side in group.sides if turn % 2 == 0 else group.sides[::-1]:
            if side in failed:
                continue
            trial = _in_a_process(bench, side, group.case, turn, folder)
            trials.append(trial)
            if trial.error:
                failed.add(side)
            what = trial.error or f"{trial.seconds:.2f} s, {trial.extra_mib:.0f} MiB more"
            print(f"{bench.name}: round {turn + 1}, {side}, {_in_words(group.case)}: {what}", flush=True)
    return trials


def _in_a_process(bench: Bench, side: str, case: dict[str, Any], turn: int, folder: str) -> Trial:
    if "nnU-Net" in side and _version("nnunetv2") is None:
        return Trial(side, case, turn, error=NO_NNUNET)
    told = {"side": side, "case": {**case, "folder": folder}}
    environment = {**os.environ, "OMP_NUM_THREADS": str(case.get("threads", cores()))}
    command = [sys.executable, sys.argv[0], "--one", json.dumps(told)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=MOST_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        return Trial(side, case, turn, error=f"not done in {MOST_SECONDS} s")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        why = "killed for memory" if done.returncode == -9 else last
        return Trial(side, case, turn, error=why[:200])
    return Trial(side, case, turn, **json.loads(done.stdout.splitlines()[-1]))


def _one(bench: Bench, told: dict[str, Any]) -> dict[str, Any]:
    """In the child: the side's work, measured."""
    name = told["side"].removesuffix(SAME)
    case, meter = {**told["case"], "keep": name.startswith(OURS) or name != told["side"]}, Meter()
    if case["keep"]:
        from medseg.cli.memory import keep_freed_memory

        keep_freed_memory()
    facts = bench.sides[name](case, meter)
    return {"seconds": meter.seconds, "extra_mib": meter.extra_mib, "peak_mib": peak_mib(), "facts": facts}


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """The machine and what runs on it, in words."""
    import torch

    from medseg.backends.precision import cpu_has_bf16

    names = ("medseg", "torch", "monai", "nnunetv2", "openvino", "onnxruntime", "simpleitk")
    there = ", ".join(f"{name} {found}" for name in names if (found := _version(name)))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{cores()} cores ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, "
        f"{'bf16' if cpu_has_bf16() else 'no bf16'}), {memory:.0f} GiB, {gpu}, {platform.system()}, "
        f"Python {platform.python_version()}; {there}"
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def peak_mib() -> float:
    """The most memory that was resident in this process, since a `Meter` began where the system can say so."""
    return _status_mib("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _resident_mib() -> float:
    return _status_mib("VmRSS") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _status_mib(name: str) -> float:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
    return 0.0


# Lines from trials


def of(trials: Sequence[Trial], side: str, **case: Any) -> list[Trial]:
    """The trials of a side on cases with these values."""
    return [t for t in trials if t.side == side and all(t.case.get(key) == value for key, value in case.items())]


def compared(
    figure: str,
    against: str,
    target: float | None,
    trials: Sequence[Trial],
    ours: Sequence[Trial],
    theirs: Sequence[Trial],
    value: Callable[[Trial], float] = lambda trial: trial.seconds,
    unit: str = "s",
    sizes: str = "",
    scale: float = 1.0,
) -> Line:
    """Ours over theirs, round by round: the median of the ratios, the least and the largest.

    scale: what the peer's value is multiplied with where it was measured on a smaller case; sizes says so.
    """
    words = f"<= {target:g}x" if target is not None else "-"
    for error in (t.error for t in (*ours, *theirs) if t.error):
        return Line(figure, against, words, f"not measured: {error}", sizes=sizes)
    if not ours or not theirs:
        return Line(figure, against, words, "not measured", sizes=sizes)
    pairs = [(value(a), value(b) * scale) for a, b in zip(ours, theirs, strict=False)]
    ratios = [a / b for a, b in pairs if b > 0]
    if not ratios:
        return Line(figure, against, words, "not measured: the peer's value is 0", sizes=sizes)
    middle = statistics.median(ratios)
    return Line(
        figure,
        against,
        words,
        f"{middle:.3g}x ({min(ratios):.3g} to {max(ratios):.3g})",
        spread([a for a, _ in pairs], unit),
        spread([b for _, b in pairs], unit),
        sizes,
        None if target is None else middle <= target,
    )


def spread(values: Sequence[float], unit: str) -> str:
    """Median, least and largest.

    >>> spread([2.0, 1.0, 4.0], "s")
    '2 s (1 to 4)'
    """
    return f"{statistics.median(values):.3g} {unit} ({min(values):.3g} to {max(values):.3g})"


def extra_mib(trial: Trial) -> float:
    return trial.extra_mib


def with_same(*peers: str) -> tuple[str, ...]:
    """Each peer as it comes, and with the same allocator."""
    return tuple(peer + end for peer in peers for end in ("", SAME))


def in_words(peer: str) -> str:
    """How the table calls a peer of `with_same`."""
    return peer if peer.endswith(SAME) else f"{peer}, as it comes"


def _in_words(case: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in case.items())
