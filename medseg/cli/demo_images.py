"""A generated micrograph of cell nuclei whose number and outlines are known, for the demonstration."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt, find_objects, gaussian_filter

from medseg.domain.errors import UsageError

Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_RADII_PX = (9.0, 16.0)  # geometric mean of the two half axes
_TOUCHING = 0.4  # share of the nuclei that are laid against another one
_GAP = 3  # pixels that the others keep from each other, and all from the border
_TRIES = 200
_PHOTONS = 9.0  # for one grey level: few give a noisy picture


def fluorescence_field(
    seed: int = 0, size: tuple[int, int] = (512, 384), count: int = 60
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """A picture (rows, columns) of stained nuclei on a dark field, and which pixels belong to nucleus 1..count.

    size: columns and rows. Every nucleus is connected and lies wholly inside; some touch, none overlap. The same
    arguments give the same field. Diameters of 18 to 32 pixels, uneven light, soft focus, photon and camera noise.
    Raises: UsageError if so many do not fit.

    >>> picture, instances = fluorescence_field(count=3, size=(160, 120))
    >>> picture.shape, int(instances.max())
    ((120, 160), 3)
    """
    rng = np.random.default_rng(seed)
    instances = _scatter(rng, size, count)
    return _photograph(rng, _stain(rng, instances)), instances


def _scatter(rng: Generator, size: tuple[int, int], count: int) -> NDArray[np.uint16]:
    """Nuclei laid down one after the other, each where there is room."""
    instances = np.zeros(size[::-1], np.uint16)
    for number in range(1, count + 1):
        for _ in range(_TRIES):
            nucleus = _outline(rng)
            touching = number > 1 and rng.random() < _TOUCHING
            corner = _beside(rng, instances, nucleus) if touching else _anywhere(rng, instances, nucleus)
            if corner is not None:
                instances[_window(corner, nucleus)][nucleus] = number
                break
        else:
            raise UsageError(f"{count} nuclei do not fit into {size[0]} x {size[1]} pixels; ask for fewer")
    return instances


def _outline(rng: Generator) -> BoolArray:
    """The filled outline of one nucleus, cut to its extent: an ellipse with a gently uneven edge."""
    radius, stretch, turn = rng.uniform(*_RADII_PX), rng.uniform(1, 1.3), rng.uniform(0, np.pi)
    half = int(2 * radius)
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    along, across = along / (radius * stretch), across * stretch / radius
    angle, edge = np.arctan2(across, along), np.ones_like(x)
    for waves in (2, 3, 4, 5):
        edge += rng.normal(0, 0.07 / waves) * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    filled = np.hypot(along, across) <= edge
    extent: BoolArray = filled[np.ix_(filled.any(1), filled.any(0))]
    return extent


def _anywhere(rng: Generator, instances: NDArray[np.uint16], nucleus: BoolArray) -> tuple[int, int] | None:
    """The corner of a free place chosen at random, or None if it is not free."""
    most = [n - m - _GAP for n, m in zip(instances.shape, nucleus.shape, strict=True)]
    if min(most) <= _GAP:
        return None
    corner = int(rng.integers(_GAP, most[0])), int(rng.integers(_GAP, most[1]))
    wider = binary_dilation(np.pad(nucleus, _GAP), iterations=_GAP)
    around = _window((corner[0] - _GAP, corner[1] - _GAP), wider)
    return None if instances[around][wider].any() else corner


def _beside(rng: Generator, instances: NDArray[np.uint16], nucleus: BoolArray) -> tuple[int, int] | None:
    """The corner of the first free place on a way outward from another nucleus, or None if it leaves the field."""
    other = np.argwhere(instances == rng.integers(1, instances.max() + 1)).mean(0)
    angle = rng.uniform(0, 2 * np.pi)
    for distance in range(2 * round(2 * _RADII_PX[1])):
        middle = other + distance * np.array([np.sin(angle), np.cos(angle)])
        corner = tuple(round(float(m) - n / 2) for m, n in zip(middle, nucleus.shape, strict=True))
        if any(c < _GAP or c + m > n - _GAP for c, m, n in zip(corner, nucleus.shape, instances.shape, strict=True)):
            return None
        if not instances[_window(corner, nucleus)][nucleus].any():
            return corner
    return None


def _window(corner: tuple[int, ...], patch: BoolArray) -> tuple[slice, ...]:
    return tuple(slice(c, c + n) for c, n in zip(corner, patch.shape, strict=True))


def _stain(rng: Generator, instances: NDArray[np.uint16]) -> Float64Array:
    """How much light leaves each pixel, about 1 in a nucleus: unlike brightness, chromatin, nucleoli, soft focus."""
    chromatin = 1 + 0.10 * _cloud(rng, instances.shape, 1.3) + 0.12 * _cloud(rng, instances.shape, 3.5)
    layers = {0.9: np.zeros(instances.shape), 1.4: np.zeros(instances.shape), 2.2: np.zeros(instances.shape)}
    for number, window in enumerate(find_objects(instances), 1):
        inside = instances[window] == number
        depth = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        light = (1 - 0.6 * np.exp(-depth / 3)) * rng.lognormal(0, 0.3) * (2.0 if rng.random() < 0.05 else 1.0)
        for _ in range(rng.integers(0, 4)):
            light *= 1 - 0.4 * _spot(rng, depth)
        focus = float(rng.choice([*layers], p=(0.55, 0.35, 0.10)))
        layers[focus][window] += np.where(inside, light * chromatin[window], 0)
    return np.asarray(sum(gaussian_filter(layer, sigma) for sigma, layer in layers.items()))


def _spot(rng: Generator, depth: Float64Array) -> Float64Array:
    """A round mark of height 1 somewhere well inside: a nucleolus takes up less stain."""
    places = np.argwhere(depth > 0.4 * depth.max())
    row, column = places[rng.integers(len(places))]
    y, x = np.indices(depth.shape)
    return np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * rng.uniform(1.2, 2.2) ** 2))


def _photograph(rng: Generator, light: Float64Array) -> NDArray[np.uint8]:
    """Grey levels of 0 to 255: the field is lit unevenly, glows around nuclei, and is counted in photons."""
    rows, columns = light.shape
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    off_x, off_y = rng.uniform(-0.4, 0.4, 2)
    lamp = 1 - 0.18 * ((x - off_x) ** 2 + (y - off_y) ** 2)
    glow = 0.10 * gaussian_filter(light, 8) + 0.12 * gaussian_filter(light, 40)
    ground = 11 + 1.2 * _cloud(rng, light.shape, 50)
    grey = lamp * (80 * (light + glow) + ground)
    counted = rng.poisson(grey.clip(0) * _PHOTONS) / _PHOTONS + rng.normal(0, 0.6, light.shape)
    return counted.round().clip(0, 255).astype(np.uint8)


def _cloud(rng: Generator, shape: tuple[int, ...], sigma: float) -> Float64Array:
    """Smooth noise of mean 0 and deviation 1."""
    noise = gaussian_filter(rng.normal(size=shape), sigma, mode="wrap")
    return (noise - noise.mean()) / noise.std()
