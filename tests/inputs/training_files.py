"""A data set whose masks may lie elsewhere than their images, and a training on it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medseg.domain.labels import Label, LabelTable
from medseg.domain.manifest import Case, Manifest
from medseg.io.manifest import write_manifest
from tests.datasets import short_plan, write_plan
from tests.inputs.nifti_files import AFFINE, MOVED, SHAPE, VOXELS, Make, content


def data_set(smaller: Sequence[int] = (), moved: Sequence[int] = ()) -> Make:
    """A manifest of four volumes, of which some masks are of another shape or lie elsewhere."""

    def make(folder: Path) -> Path:
        (folder / "data").mkdir()
        cases = []
        for number, split in enumerate(("train", "train", "train", "validation")):
            mask = np.ones((5, 5, 5) if number in smaller else SHAPE, np.uint8)
            affine = MOVED if number in moved else AFFINE
            (folder / "data" / f"image{number}.nii").write_bytes(content(VOXELS + number))
            (folder / "data" / f"mask{number}.nii").write_bytes(content(mask, affine))
            files = [folder / "data" / f"{kind}{number}.nii" for kind in ("image", "mask")]
            digests = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
            cases.append(
                Case(f"case{number}", f"image{number}.nii", f"mask{number}.nii", f"patient{number}", split, digests)
            )
        labels = LabelTable((Label(1, "blob", (255, 0, 0)),))
        words = ("blobs", "Blobs.", "Nobody 2024.", "CC0-1.0", "data", "MR")
        write_manifest(Manifest(*words, 3, 1, labels, tuple(cases)), folder / "blobs.json")
        return folder / "blobs.json"

    return make


def train(manifest: Path) -> list[object]:
    plan = short_plan(manifest, steps=1)
    path = write_plan(plan, manifest.parent.parent / "plan.json", network=replace(plan.network, out_channels=2))
    return ["train", manifest, "-o", manifest.parent / "bundle", "--plan", path, "-q", "--device", "cpu"]
