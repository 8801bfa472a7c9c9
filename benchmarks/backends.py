"""Seconds for a window, and for the start, of each backend on the shipped bundles' networks; one thread, fp32.

    python benchmarks/backends.py [--repeats 7] [--batch 4] [--backends openvino,onnxruntime,compile] [BUNDLE ...]

Seconds are those of the processor, not of the clock, so that other work on the machine counts less; those of a compiler
that runs as a process of its own are missing from the start of `compile`. Windows are smoothed noise.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from medseg.backends.agreement import agreement
from medseg.backends.backend import BUILDS
from medseg.backends.eager import eager
from medseg.bundle.store import find_bundle
from medseg.bundle.weights import load_network
from medseg.cli.memory import keep_freed_memory

CPU = torch.device("cpu")
BUNDLES = ("hippocampus_mr_segmentation", "nuclei_microscopy_segmentation", "brain_tumor_mr_segmentation")


def measure(name: str, backends: list[str], repeats: int, batch: int) -> None:
    stored = find_bundle(name)
    network, spec = load_network(stored), stored.network
    noise = torch.randn(batch, spec.in_channels, *stored.window.size, generator=torch.Generator().manual_seed(0))
    pool = {2: torch.nn.functional.avg_pool2d, 3: torch.nn.functional.avg_pool3d}[spec.spatial_dims]
    windows = 4 * pool(noise, 5, 1, 2)
    runs = {"eager": eager(network, CPU, "fp32")}
    exact = runs["eager"](windows)
    for backend in backends:
        with tempfile.TemporaryDirectory() as cache:
            starts = []
            for _ in range(2):
                started = time.process_time()
                runs[backend] = BUILDS[backend](network, (1, *windows.shape[1:]), "fp32", CPU, Path(cache))
                runs[backend](windows[:1])
                starts.append(time.process_time() - started)
        found = agreement(runs[backend](windows), exact)
        print(f"{name} {backend}: start {starts[0]:.2f} s, again {starts[1]:.2f} s, {found}", flush=True)
    seconds: dict[str, list[float]] = {backend: [] for backend in runs}
    for _ in range(repeats):
        for backend, run in runs.items():
            started = time.process_time()
            run(windows)
            seconds[backend].append((time.process_time() - started) / batch)
    for backend, taken in seconds.items():
        middle = statistics.median(taken)
        ratio = statistics.median(seconds["eager"]) / middle
        print(f"{name} {backend}: {middle:.4f} s a window ({min(taken):.4f} to {max(taken):.4f}), {ratio:.2f} x eager")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", default=BUNDLES)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--backends", default="openvino,onnxruntime")
    given = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    for name in given.bundles:
        measure(name, given.backends.split(","), given.repeats, given.batch)


if __name__ == "__main__":
    main()
