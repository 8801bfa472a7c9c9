"""RESULTS.md from the results that are there; a row without one says "not measured".

python benchmarks/table.py                   the table alone
python benchmarks/table.py --run             every row first, one after the other
python benchmarks/table.py --run --quick     a smoke test of all rows, whose table is shown and not kept
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROWS = (
    "sliding_window",
    "backend",
    "stitching",
    "memory",
    "export_labels",
    "reading",
    "start",
    "network_share",
    "determinism",
    "whole_body",
    "batch",
    "on_cuda",
)


def table(folder: Path) -> str:
    """The whole page."""
    results = {name: json.loads((folder / f"{name}.json").read_text()) for name in ROWS if _is_there(folder, name)}
    parts = [
        "# Inference beside its peers",
        "",
        "Written by `make bench` from `results/`, which holds every trial; a row alone: `python benchmarks/NAME.py`, "
        "then `python benchmarks/table.py`. Sides take turns, each trial in a process of its own; a ratio is medseg's "
        "figure over the peer's, round by round: the median, and the least and the largest in brackets. \"As it "
        'comes": the peer with the C library\'s allocator; "same allocator": with freed memory kept, which `medseg '
        "segment` sets for itself. Memory is the peak of resident memory during the work, less what was there before.",
        "",
    ]
    machines = list(dict.fromkeys(result["machine"] for result in results.values()))
    parts += [f"Machine: {machine}" for machine in machines] or ["Nothing was measured yet."]
    for name in ROWS:
        parts += ["", *_row(name, results.get(name), len(machines) > 1)]
    return "\n".join(parts) + "\n"


def _is_there(folder: Path, name: str) -> bool:
    return (folder / f"{name}.json").is_file()


def _row(name: str, result: dict[str, Any] | None, tell_machine: bool) -> list[str]:
    if result is None:
        return [f"## `{name}.py`", "", "Not measured."]
    title = f"## {result['title']} (`{name}.py`)" + (", a smoke test: figures say nothing" if result["quick"] else "")
    rows = [title, ""]
    if tell_machine:
        rows += [result["machine"], ""]
    rows += [
        "| figure | sizes | against | target | measured | met | medseg | peer |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in result["lines"]:
        met = {True: "yes", False: "no", None: "-"}[line["met"]]
        cells = [line["figure"], line["sizes"], line["against"], line["target"], line["measured"], met]
        rows.append("| " + " | ".join(cell or "-" for cell in [*cells, line["ours"], line["theirs"]]) + " |")
    return [*rows, *(["", result["note"]] if result["note"] else [])]


def run_all(folder: Path, quick: bool) -> list[str]:
    """The names of the rows that failed; what they say goes where this process's words go."""
    failed = []
    for name in ROWS:
        command = [sys.executable, str(HERE / f"{name}.py"), "-o", str(folder), *(["--quick"] if quick else [])]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="run every row first")
    parser.add_argument("--quick", action="store_true", help="with --run: a smoke test, whose figures are not kept")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if asked.quick else HERE / "results"
        failed = run_all(folder, asked.quick) if asked.run else []
        text = table(folder)
    if not asked.quick:
        (HERE / "RESULTS.md").write_text(text)
    print(text)
    if failed:
        sys.exit(f"these rows failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
