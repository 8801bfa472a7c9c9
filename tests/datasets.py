"""Labelled data sets that a tiny network learns in seconds, as files and manifests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medseg.data.augment import AugmentSpec
from medseg.data.dataset import BatchSpec
from medseg.data.preprocess import PreprocessSpec
from medseg.domain.geometry import Geometry
from medseg.domain.manifest import SPLITS, Case, Manifest, Split
from medseg.domain.spec import to_plain
from medseg.engines.plan import OptimiserSpec, TrainSpec
from medseg.io.manifest import read_manifest, write_manifest
from medseg.io.manifest_build import sha256_of
from medseg.io.nifti import write_nifti_image
from medseg.losses import LossSpec
from medseg.networks.build import NetworkSpec
from medseg.windows import WindowSpec
from tests.bundles import NUCLEI, ORGANS

RAS_1MM = np.diag([1.0, 1.0, 1.0, 1.0])


def balls(folder: Path, counts: Sequence[int] = (4, 2, 2), size: int = 16) -> Path:
    """Volumes of a grey ball (liver) with a bright core (tumour, 255 in the files); the manifest's path.

    counts: cases to train, validate and test with.
    """
    generator = np.random.default_rng(0)
    (folder / "data").mkdir(parents=True)
    cases = []
    for n, split in enumerate(np.repeat(SPLITS, counts).tolist()):
        distance = _distance(generator.uniform(0.4, 0.6, 3) * size, (size,) * 3)
        mask = np.select([distance < 0.17 * size, distance < 0.36 * size], [255, 1], 0).astype(np.uint8)
        image = generator.normal(0, 12, mask.shape) + np.select([mask == 255, mask == 1], [210, 120], 30)
        for voxels, name in ((image.clip(0, 255).astype(np.uint8), f"{n}.nii.gz"), (mask, f"{n}_mask.nii.gz")):
            write_nifti_image(voxels, Geometry(mask.shape, RAS_1MM), folder / "data" / name)
        cases.append(_case(folder / "data", n, ".nii.gz", split))
    head = ("balls", "Balls in noise.", "Made in code.", "CC0-1.0", "data", "MR", 3, 1)
    write_manifest(Manifest(*head, ORGANS, tuple(cases), {"1": 1, "255": 5}), folder / "balls.json")
    return folder / "balls.json"


def discs(folder: Path, counts: Sequence[int] = (4, 2, 2), size: int = 48) -> Path:
    """Colour pictures of dark discs that stand apart, each with a number; the manifest's path."""
    generator = np.random.default_rng(1)
    (folder / "data").mkdir(parents=True)
    cases = []
    for n, split in enumerate(np.repeat(SPLITS, counts).tolist()):
        mask = np.zeros((size, size), np.uint16)
        for number, (x, y) in enumerate(((12, 12), (12, 35), (35, 12), (35, 35)), start=1):
            mask[_distance(np.array([x, y]) + generator.uniform(-2, 2, 2), mask.shape) < generator.uniform(6, 9)] = (
                number
            )
        grey = generator.normal(0, 8, (3, *mask.shape)) + np.where(mask > 0, 70, 200)
        Image.fromarray(grey.clip(0, 255).astype(np.uint8).T.copy()).save(folder / "data" / f"{n}.png")
        Image.fromarray(mask.T.copy()).save(folder / "data" / f"{n}_mask.png")
        cases.append(_case(folder / "data", n, ".png", split))
    head = ("discs", "Discs in noise.", "Made in code.", "CC0-1.0", "data", "microscopy", 2, 3)
    write_manifest(Manifest(*head, NUCLEI, tuple(cases)), folder / "discs.json")
    return folder / "discs.json"


def short_plan(manifest: Path, steps: int = 8, preset: str = "unet") -> TrainSpec:
    """A training of so many steps, with a validation each half."""
    described = read_manifest(manifest)
    volumes = described.spatial_dims == 3
    size = (16, 16, 16) if volumes else (32, 32)
    return TrainSpec(
        network=NetworkSpec(preset, described.spatial_dims, described.channels, 3, (8, 16)),
        preprocess=PreprocessSpec(
            described.channels, (1.0, 1.0, 1.0) if volumes else None, "zscore" if volumes else "percentile"
        ),
        window=WindowSpec(size, 0.5, "gaussian", 4),
        batch=BatchSpec(size, 4, 0.5),
        augment=AugmentSpec((0, 1), intensity_chance=0.0),
        loss=LossSpec(),
        optimiser=OptimiserSpec(rate=1e-2, warmup_steps=2, ema=0.8),
        steps=steps,
        epoch_steps=max(steps // 2, 1),
    )


def write_plan(spec: TrainSpec, path: Path, **changes: object) -> Path:
    """As `medseg train --plan` reads it."""
    path.write_text(json.dumps(to_plain(replace(spec, **changes))))
    return path


def _case(data: Path, n: int, ending: str, split: Split) -> Case:
    names = f"{n}{ending}", f"{n}_mask{ending}"
    image, mask = (sha256_of(data / name) for name in names)
    return Case(f"case{n}", *names, f"g{n}", split, (image, mask))


def _distance(centre: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    places = np.moveaxis(np.indices(shape), 0, -1)
    distances: NDArray[np.float64] = np.linalg.norm(places - centre, axis=-1)
    return distances
