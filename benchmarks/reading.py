"""A generated CT of 512 x 512 x 300, int16, .nii.gz, read with all checks; beside SimpleITK and MONAI's LoadImage.

Each trial reads the same file from the page cache, once, in a new process; imports are no part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from peers import smooth
from side_by_side import Bench, Group, Line, Meter, Trial, compared, extra_mib, main, of

from medseg.domain.geometry import Geometry
from medseg.io.nifti import write_nifti_image

SHAPES = {False: (512, 512, 300), True: (64, 64, 40)}
SIDES = ("medseg", "SimpleITK", "MONAI LoadImage")
TARGETS = {"SimpleITK": 1.1, "MONAI LoadImage": 0.5}


def prepare(folder: Path, quick: bool) -> None:
    """Smooth tissue with noise of 12 units in air of -1000, as a scanner's reconstruction leaves it."""
    shape = SHAPES[quick]
    tissue = smooth((1, *shape), 0, 24)[0].numpy()
    tissue *= 200
    tissue += np.random.default_rng(0).normal(0, 12, shape).astype(np.float32)
    i, j = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape[:2]], indexing="ij", sparse=True)
    tissue[i**2 + j**2 > 0.8] = -1000
    affine = np.diag([-0.7, -0.7, 1.0, 1.0])
    write_nifti_image(np.round(tissue).astype(np.int16), Geometry(shape, affine), folder / "scan.nii.gz")


def side(name: str, case: dict[str, Any], meter: Meter) -> dict[str, Any]:
    path = Path(case["folder"]) / "scan.nii.gz"
    if name == "medseg":
        from medseg.io.images import read_image

        with meter:
            voxels = read_image(path).voxels[0]
    elif name == "SimpleITK":
        import SimpleITK

        with meter:
            image = SimpleITK.ReadImage(str(path))
            voxels = SimpleITK.GetArrayViewFromImage(image).T
    else:
        from monai.transforms import LoadImage

        load = LoadImage(image_only=True)
        with meter:
            image = load(str(path))
        voxels = image.numpy()
    return {"dtype": str(voxels.dtype), "sum": int(voxels.sum(dtype=np.int64)), "file_mib": path.stat().st_size / 2**20}


def plan(quick: bool) -> list[Group]:
    return [Group({"quick": quick}, SIDES, 2 if quick else 5)]


def lines(trials: Sequence[Trial]) -> list[Line]:
    shape, mine = SHAPES[trials[0].case["quick"]], of(trials, "medseg")
    if len({t.facts["sum"] for t in trials if not t.error}) > 1:
        raise SystemExit("the sides did not read the same voxels")
    sizes = f"{' x '.join(map(str, shape))} int16, {mine[0].facts.get('file_mib', 0):.0f} MiB"
    made = []
    for peer, target in TARGETS.items():
        theirs = of(trials, peer)
        made.append(compared("read a .nii.gz, checks included", peer, target, trials, mine, theirs, sizes=sizes))
        made.append(compared("extra memory of the same", peer, None, trials, mine, theirs, extra_mib, "MiB", sizes))
    return made


BENCH = Bench("reading", "Reading", {name: partial(side, name) for name in SIDES}, plan, lines, prepare)

if __name__ == "__main__":
    main(BENCH)
