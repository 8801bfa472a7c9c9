"""What the checks of a DICOM series cost: a generated CT of 512 x 512 x 150, read and segmented by a small network.

python benchmarks/dicom_checks.py

CPU seconds of this process, so that other work on the machine counts less; the median of three reads. "plain" is what
anyone must do: read each file with pydicom, decode, rescale, sort by position, stack.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from pydicom import dcmread

from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.inference.segment import segment
from medseg.io import dicom
from medseg.io.dicom_write import write_series
from medseg.windows import WindowSpec

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.bundles import random_model, volume_bundle

SHAPE, SPACING_MM = (512, 512, 150), (0.7, 0.7, 2.0)
CHECKS = ("pick", "check_stack", "_without_copies", "find_grid", "require_hounsfield")  # of medseg.io.dicom
ROUNDS = 3


def scan() -> Volume:
    """A bright ellipsoid in air, with noise."""
    i, j, k = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE], indexing="ij", sparse=True)
    noise = np.random.default_rng(0).normal(0, 20, SHAPE).astype(np.int16)
    voxels = np.where(i * i + j * j + k * k < 0.7, 60, -1000).astype(np.int16) + noise
    return Volume(voxels[None], Geometry(SHAPE, np.diag([*(-s for s in SPACING_MM[:2]), SPACING_MM[2], 1.0])), "scan")


def plain(folder: Path) -> np.ndarray:
    """Slices sorted by position and rescaled, nothing looked at."""
    slices = sorted((dcmread(path) for path in folder.iterdir()), key=lambda one: one.ImagePositionPatient[2])
    stack = [one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in slices]
    return np.stack(stack).astype(np.int16)


def seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """CPU seconds spent inside each of CHECKS."""
    spent = dict.fromkeys(CHECKS, 0.0)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments)
            finally:
                spent[name] += time.process_time() - start

        return call

    with ExitStack() as stack:
        for name in CHECKS:
            stack.enter_context(patch.object(dicom, name, timed(name, getattr(dicom, name))))
        yield spent


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "series"
        write_series(scan(), folder, modality="CT")
        dicom.read_dicom(folder, "warm")
        reads, plains, checks = [], [], []
        for _ in range(ROUNDS):
            plains.append(seconds(lambda: plain(folder)))
            with watched() as spent:
                reads.append(seconds(lambda: dicom.read_dicom(folder, "scan")))
            checks.append(spent)
        volume = dicom.read_dicom(folder, "scan")
        bundle = replace(
            volume_bundle(spacing_mm=(2.0, 2.0, 2.0), window=WindowSpec((64, 64, 64), 0.25, "gaussian", 2)),
            modality="CT",
        )
        model = random_model(bundle, Path(name) / "organs")
        work = seconds(lambda: segment(volume, model))
    read, bare = statistics.median(reads), statistics.median(plains)
    check = statistics.median(sum(spent.values()) for spent in checks)
    whole = read + work
    print(f"{'x'.join(map(str, SHAPE))}: CPU seconds")
    print(f"read {read:.2f} (plain pydicom {bare:.2f}), segment {work:.2f}, whole {whole:.2f}")
    for name in CHECKS:
        print(f"  {name}: {statistics.median(spent[name] for spent in checks):.3f}")
    print(f"checks {check:.3f}: {check / read:.1%} of the read, {check / whole:.2%} of the whole run")
    print(f"read against plain: {read - bare:+.2f}, {(read - bare) / whole:+.2%} of the whole run")


if __name__ == "__main__":
    main()
