"""Heads whose hippocampi are where we put them: the MNI152 brain, dressed, moved, bent, shaded and cut."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from medseg.domain.geometry import Float64Array, Geometry
from medseg.domain.volume import Volume
from medseg.inference.register import rotation
from tests.turning import TURNS, turned_volume

CENTRES = {"left": (-27.0, -21.0, -12.0), "right": (27.0, -21.0, -12.0)}  # of the boxes, in MNI152
CONTRASTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "t1": lambda v: v,
    "pale": lambda v: v**0.5,
    "hard": lambda v: v**2,
    "grey over white": lambda v: np.where(v > 0.55, v - 0.9 * (v - 0.55), v),  # nearly no contrast of the two
    "t2": lambda v: np.where(v > 0.05, 1.1 - v, v),
}


@dataclass(frozen=True, eq=False)
class Head:
    """An image, where the centres of the regions truly are, and the map that put them there."""

    volume: Volume
    centres: dict[str, Float64Array]
    matrix: Float64Array


@cache
def brain() -> Volume:
    """MNI152 from nilearn, 1 mm, 0 to 1, nothing around the brain."""
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=1)
    voxels = np.asarray(image.dataobj, np.float32)
    return Volume((voxels / voxels.max())[None], Geometry(voxels.shape, image.affine), "brain", "MR")


@cache
def dressed() -> Volume:
    """The brain at 2 mm in a dark skull and a bright scalp, on a neck and behind a face of mottled flesh."""
    pad = ((15, 15), (20, 15), (45, 15))
    inner = np.where(brain().voxels[0] > 0, ndimage.gaussian_filter(brain().voxels[0], 0.7), 0)
    bare = np.pad(inner[::2, ::2, ::2], pad)
    affine = brain().geometry.affine_ras @ np.diag([2.0, 2, 2, 1])
    affine[:3, 3] -= [2 * low for low, _ in pad]
    x, y, z = (
        2 * np.arange(n).reshape([-1 if a == b else 1 for b in range(3)]) + affine[a, 3]
        for a, n in enumerate(bare.shape)
    )
    out_mm = 2 * ndimage.distance_transform_edt(bare == 0)
    neck = (x**2 + (y + 30) ** 2 < 55**2) & (z < -40)
    face = ((x / 60) ** 2 + ((y - 50) / 50) ** 2 + ((z + 65) / 60) ** 2) < 1
    mottled = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(bare.shape, np.float32), 3)
    flesh = np.clip(0.45 + 0.2 * mottled / mottled.std(), 0.05, 1)
    head = np.where((neck | face) & (out_mm > 9), flesh, np.where((out_mm > 9) & (out_mm < 15), 0.95, 0.02))
    head = np.where((out_mm >= 15) & ~(neck | face), 0, head)
    return Volume(
        np.where(bare > 0, bare, head)[None].astype(np.float32), Geometry(bare.shape, affine), "dressed", "MR"
    )


def head(
    seed: int,
    base: Volume | None = None,
    *,
    contrast: str = "t1",
    elastic_mm: float = 0.0,
    pitch: float = 25.0,
    cut_mm: float = 30.0,
    finest_mm: float = 1.0,
) -> Head:
    """A random head, all of it following from the seed.

    Turned up to `pitch` degrees about R and 12 about A and S, stretched 0.85 to 1.15 along each axis, sheared up to
    0.08, moved up to 40 mm; voxels of finest_mm to 3 mm on each axis, in one of the 48 orders, half of them oblique by
    up to 10 degrees; up to cut_mm cut off from each side of the head, but never from the regions; shaded by up to 30 %
    across the head, 3 % noise; bent by a smooth field of at most elastic_mm.
    """
    generator = np.random.default_rng(seed)
    base = dressed() if base is None else base
    matrix = np.eye(4)
    angles = generator.uniform(-1, 1, 3) * (pitch, 12, 12)
    shear = np.eye(3)
    shear[np.triu_indices(3, 1)] = generator.uniform(-0.08, 0.08, 3)
    matrix[:3, :3] = rotation(*angles) @ shear @ np.diag(generator.uniform(0.85, 1.15, 3))
    matrix[:3, 3] = generator.uniform(-40, 40, 3)
    bend = _Bend(generator, elastic_mm)

    geometry = _grid(generator, matrix, cut_mm, finest_mm)
    slabs = []
    for k in range(geometry.shape_ijk[2]):
        ijk = np.stack(np.meshgrid(*map(np.arange, geometry.shape_ijk[:2]), [k], indexing="ij"), -1).reshape(-1, 3)
        at = (geometry.ijk_to_ras_mm(ijk) - matrix[:3, 3]) @ np.linalg.inv(matrix[:3, :3]).T
        at = base.geometry.ras_mm_to_ijk(at + bend(at))
        slabs.append(ndimage.map_coordinates(base.voxels[0], at.T, order=1).reshape(geometry.shape_ijk[:2]))
    values = CONTRASTS[contrast](np.stack(slabs, -1))
    ramps = [np.linspace(-1, 1, n).reshape([-1 if a == b else 1 for b in range(3)]) for a, n in enumerate(values.shape)]
    shade = sum(c * r + d * r**2 for c, d, r in zip(*generator.uniform(-0.15, 0.15, (2, 3)), ramps, strict=True))
    values = np.abs(values * np.exp(shade) + 0.03 * generator.standard_normal(values.shape))
    volume = Volume(np.round(1000 * values).astype(np.int16)[None], geometry, f"head_{seed}", "MR")
    letters = sorted(TURNS)[generator.integers(48)]
    centres = {side: matrix[:3, :3] @ bend.origin(np.array(c)) + matrix[:3, 3] for side, c in CENTRES.items()}
    return Head(turned_volume(volume, *TURNS[letters]), centres, matrix)


class _Bend:
    """A smooth displacement of points (n, 3) in mm: a few waves of 60 to 200 mm."""

    def __init__(self, generator: np.random.Generator, most_mm: float):
        self.waves = generator.standard_normal((6, 3)) / generator.uniform(60, 200, (6, 1)) * 2 * np.pi / np.sqrt(3)
        self.phases = generator.uniform(0, 2 * np.pi, 6)
        directions = generator.standard_normal((6, 3))
        self.directions = most_mm * directions / np.linalg.norm(directions, axis=1).sum()

    def __call__(self, points: Float64Array) -> Float64Array:
        return np.sin(points @ self.waves.T + self.phases) @ self.directions

    def origin(self, centre: Float64Array) -> Float64Array:
        """Where the surroundings of a centre of the brain come from: the mean over 20 mm of what is moved there."""
        around = centre + np.array(list(itertools.product((-10, 0, 10), repeat=3)))
        points = around.astype(np.float64)
        for _ in range(20):
            points = around - self(points)
        return points.mean(0)


def _grid(generator: np.random.Generator, matrix: Float64Array, cut_mm: float, finest_mm: float) -> Geometry:
    """A grid around the head, with each side cut, but never into the regions."""
    brain_low, brain_high = np.array([-95.0, -130, -150]), np.array([95.0, 100, 105])
    box = np.array(list(itertools.product(*zip(brain_low, brain_high, strict=True)))) @ matrix[:3, :3].T
    kept = np.array([np.array(c) + s * np.array([20, 31, 25]) for c in CENTRES.values() for s in (-1, 1)])
    kept = kept @ matrix[:3, :3].T
    low = np.minimum(box.min(0) + generator.uniform(0, 1, 3) * (cut_mm + 20), kept.min(0) - 12)
    high = np.maximum(box.max(0) - generator.uniform(0, 1, 3) * (cut_mm + 20), kept.max(0) + 12)
    low, high = low + matrix[:3, 3], high + matrix[:3, 3]
    spacing = generator.uniform(finest_mm, 3, 3)
    turn = rotation(*(generator.uniform(-10, 10, 3) * generator.integers(0, 2)))
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    shape = np.ceil((high - low) / spacing).astype(int)
    affine[:3, 3] = (low + high) / 2 - affine[:3, :3] @ ((shape - 1) / 2)
    return Geometry(tuple(int(n) for n in shape), affine)
