from itertools import permutations, product

import numpy as np
import pytest
from PIL import Image

from medseg.domain.errors import GridError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelMap, LabelTable
from medseg.domain.volume import Volume
from medseg.reports import triptych
from medseg.reports.lettering import MARGIN, entries_of
from medseg.reports.overlay import INSTANCE_COLOURS, draw_labels
from medseg.reports.planes import VIEWS, box_around, busiest_voxel, cut, orient
from medseg.reports.preview import preview, write_preview
from medseg.reports.shades import has_colour, to_rgb, window_of

RED, BLUE = (255, 0, 0), (0, 0, 255)
TABLE = LabelTable((Label(1, "one", RED), Label(2, "two", BLUE)))
CELLS = LabelTable((Label(1, "cell", RED),), "instances")
SHAPE, SPACING_MM = (24, 20, 14), (1.5, 2.0, 3.0)
AFFINE_RAS = np.diag([*SPACING_MM, 1.0])
AFFINE_RAS[:3, 3] = -20.0, -31.0, 7.0


@pytest.fixture(autouse=True)
def small_panels(monkeypatch):
    monkeypatch.setattr(triptych, "PANEL", 120)


def world(at=((17, 20), (3, 6), (8, 10)), value=1):
    """A random image on RAS axes with a box of one label."""
    voxels = np.random.default_rng(0).integers(0, 200, SHAPE).astype(np.int16)
    mask = np.zeros(SHAPE, np.uint8)
    mask[tuple(slice(*edge) for edge in at)] = value
    return volume_of(voxels, mask, AFFINE_RAS)


def volume_of(voxels, mask, affine, table=TABLE, calibrated=True):
    geometry = Geometry(mask.shape, affine, calibrated)
    channels = voxels if voxels.ndim > mask.ndim else voxels[None]
    return Volume(channels, geometry, "case"), LabelMap(mask, geometry, table)


def all_orientations(volume, label_map):
    """The same world on the 48 ways to lay array axes along it."""
    for axes, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
        affine = volume.geometry.affine_ras.copy()
        affine[:3, :3] = volume.geometry.affine_ras[:3, axes] * flips
        shape = [volume.geometry.shape_ijk[axis] for axis in axes]
        first = [0 if flip > 0 else n - 1 for flip, n in zip(flips, shape, strict=True)]
        affine[:3, 3] = volume.geometry.ijk_to_ras_mm(np.array(first)[np.argsort(axes)])
        steps = tuple(slice(None, None, flip) for flip in flips)
        turned = (voxels.transpose(axes)[steps] for voxels in (volume.voxels[0], label_map.voxels))
        yield volume_of(*turned, affine)


def panels(picture, volume, label_map):
    """The panels of the first row, cut from the page: axial, coronal, sagittal, as arrays."""
    oriented = orient(volume, label_map)
    scale = triptych._pixels_per_mm(oriented, oriented.whole)
    page, left, found = np.array(picture), MARGIN, []
    for n, view in enumerate(VIEWS):
        wide, high = (round(oriented.extent_mm[axis] * scale) for axis in (view.across, view.down))
        column = max(wide, triptych.NARROWEST, *[triptych.PANEL] * (n > 2))
        found.append((left, column, wide, high))
        left += column + triptych.GAP
    return page, found


def axial_place(picture, volume, label_map, colour):
    """Where the colour stands in the axial panel, as shares from left and top."""
    oriented = orient(volume, label_map)
    scale = triptych._pixels_per_mm(oriented, oriented.whole)
    wide, high = (round(oriented.extent_mm[axis] * scale) for axis in (0, 1))
    page = np.array(picture)[MARGIN + triptych.CAPTION :][:high]
    column = np.flatnonzero((page == (0, 0, 0)).all(-1).any(0))
    return column, wide, high
