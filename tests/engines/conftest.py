"""Data sets so small that a network learns them in seconds."""

import numpy as np
import pytest
from PIL import Image

from medseg.data.augment import AugmentSpec
from medseg.data.dataset import BatchSpec, load_samples
from medseg.data.preprocess import PreprocessSpec
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelTable
from medseg.domain.manifest import Case, Manifest
from medseg.engines.plan import OptimiserSpec, TrainSpec, to_target
from medseg.io.manifest_build import sha256_of
from medseg.io.nifti import write_nifti_image
from medseg.losses import LossSpec
from medseg.networks.build import NetworkSpec
from medseg.windows import WindowSpec

SPLITS = ("train",) * 5 + ("validation",) * 2


def phantom(size, generator):
    """A bright ball of random place and radius in noise, uint8, and its mask of 0 and 1."""
    centre = generator.uniform(0.35, 0.65, len(size)) * np.array(size)
    radius = generator.uniform(0.2, 0.32) * min(size)
    places = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1)
    mask = (np.linalg.norm(places - centre, axis=-1) < radius).astype(np.uint8)
    return (mask * 90 + generator.normal(80, 15, size)).clip(0, 255).astype(np.uint8), mask


def a_data_set(folder, spatial_dims):
    """Seven 16 x 16 PNG of discs or 12 x 12 x 12 NIfTI of balls, five to train on."""
    generator = np.random.default_rng(spatial_dims)
    cases = []
    for n, split in enumerate(SPLITS):
        image, mask = phantom((16, 16) if spatial_dims == 2 else (12, 12, 12), generator)
        names = [f"{n}{end}" for end in ((".png", "_mask.png") if spatial_dims == 2 else (".nii.gz", "_mask.nii.gz"))]
        for voxels, name in zip((image, mask), names, strict=True):
            if spatial_dims == 2:
                Image.fromarray(voxels.T).save(folder / name)
            else:
                write_nifti_image(voxels, Geometry(voxels.shape, np.diag([-1.0, -1.0, 1.0, 1.0])), folder / name)
        digests = sha256_of(folder / names[0]), sha256_of(folder / names[1])
        cases.append(Case(f"case{n}", *names, f"group{n}", split, digests))
    table = LabelTable((Label(1, "ball", (200, 80, 60)),))
    return Manifest("balls", "Balls in noise", "generated", "CC0-1.0", ".", "MR", spatial_dims, 1, table, tuple(cases))


def a_spec(spatial_dims, preset="unet", **changes):
    size = (16, 16) if spatial_dims == 2 else (12, 12, 12)
    given = {
        "network": NetworkSpec(preset, spatial_dims, 1, 2, (8, 16)),
        "preprocess": PreprocessSpec(1, None if spatial_dims == 2 else (1.0, 1.0, 1.0), "zscore"),
        "window": WindowSpec(size, 0.5, "gaussian", 4),
        "batch": BatchSpec(size, 4),
        "augment": AugmentSpec((0, 1)),
        "loss": LossSpec(),
        "optimiser": OptimiserSpec(rate=1e-2, warmup_steps=3, ema=0.9),
        "steps": 10,
        "epoch_steps": 4,
    }
    return TrainSpec(**given | changes)


class Balls:
    """A manifest in a folder, and its samples."""

    def __init__(self, folder, spatial_dims):
        self.folder, self.manifest = folder, a_data_set(folder, spatial_dims)
        self.spec = a_spec(spatial_dims)

    def samples(self, split):
        args = self.folder, self.spec.preprocess, to_target(self.manifest)
        return load_samples(self.manifest, self.manifest.part(split), *args)


@pytest.fixture(scope="session")
def discs(tmp_path_factory):
    return Balls(tmp_path_factory.mktemp("discs"), 2)


@pytest.fixture(scope="session")
def balls(tmp_path_factory):
    return Balls(tmp_path_factory.mktemp("balls"), 3)


@pytest.fixture(scope="session")
def disc_samples(discs):
    return discs.samples("train"), discs.samples("validation")
