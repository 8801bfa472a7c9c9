"""`python -m tests.fuzz [--cases N] [--seed N] [--first N] [GATE...]`: many cases, and which lines they ran."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import medseg.bundle
import medseg.io
from tests.fuzz.gates import GATES, MAKERS, READERS
from tests.fuzz.harness import Tally, fuzz
from tests.fuzz.lines import lines_of, lines_run
from tests.fuzz.made import fuzz_made

_TRACED = 2000


def main() -> None:
    """Exit 1 if any case failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("gates", nargs="*", default=[*GATES, *MAKERS])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="of the numbers of the cases, to go on from there")
    options = parser.parse_args()
    failed = 0
    for name in options.gates:
        failed += _one(name, options.cases, options.seed, options.first)
    sys.exit(min(failed, 1))


def _one(name: str, cases: int, seed: int, first: int) -> int:
    started = time.perf_counter()
    home = Path((medseg.bundle if name in MAKERS else medseg.io).__path__[0])
    files = [path for pattern in READERS[name] for path in sorted(home.glob(pattern))]
    with tempfile.TemporaryDirectory() as folder:
        tally = _tally(name, cases, Path(folder), seed, first)
        with lines_run(files) as seen:
            _tally(name, min(cases, _TRACED), Path(folder), seed, first)
    print(
        f"{name}: {tally.cases} cases, {tally.share:.1%} read, {tally.harmless} harmless, "
        f"slowest {tally.slowest_s:.2f} s, {time.perf_counter() - started:.0f} s, {len(tally.failures)} failures; "
        f"refusals {dict(tally.refusals)}"
    )
    for label in sorted({label for label, _ in tally.outcomes}):
        counts = {outcome: n for (of, outcome), n in sorted(tally.outcomes.items()) if of == label}
        print(f"  {label}: {sum(counts.values())} cases, {counts}")
    for path in files:
        able = lines_of(path)
        print(f"  {path.name}: {len(able & seen[str(path)])} of {len(able)} lines in functions")
    for failure in (*tally.failures[:20], *tally.silent[:20]):
        print(f"  {failure}")
    sys.stdout.flush()
    return len(tally.failures)


def _tally(name: str, cases: int, folder: Path, seed: int, first: int) -> Tally:
    if name in MAKERS:
        return fuzz_made(MAKERS[name](), cases, folder / name, seed, first)
    return fuzz(GATES[name](), cases, folder, seed, first)


if __name__ == "__main__":
    main()
