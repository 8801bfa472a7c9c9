"""`python -m tests.fuzz [--cases N] [--seed N] [GATE...]`: many cases of each gate, and which lines they ran."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import medseg.io
from tests.fuzz.gates import GATES, READERS
from tests.fuzz.harness import fuzz
from tests.fuzz.lines import lines_of, lines_run

_TRACED = 2000


def main() -> None:
    """Exit 1 if any case failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("gates", nargs="*", default=list(GATES))
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failed = 0
    for name in options.gates:
        failed += _one(name, options.cases, options.seed)
    sys.exit(min(failed, 1))


def _one(name: str, cases: int, seed: int) -> int:
    gate, started = GATES[name](), time.perf_counter()
    files = [path for pattern in READERS[name] for path in sorted(Path(medseg.io.__path__[0]).glob(pattern))]
    with tempfile.TemporaryDirectory() as folder:
        tally = fuzz(gate, cases, Path(folder), seed)
        with lines_run(files) as seen:
            fuzz(gate, min(cases, _TRACED), Path(folder), seed)
    print(
        f"{name}: {tally.cases} cases, {tally.share:.1%} read, {tally.harmless} harmless, "
        f"slowest {tally.slowest_s:.2f} s, {time.perf_counter() - started:.0f} s, {len(tally.failures)} failures; "
        f"refusals {dict(tally.refusals)}"
    )
    for path in files:
        able = lines_of(path)
        print(f"  {path.name}: {len(able & seen[str(path)])} of {len(able)} lines in functions")
    for failure in tally.failures[:20]:
        print(f"  {failure}")
    sys.stdout.flush()
    return len(tally.failures)


if __name__ == "__main__":
    main()
