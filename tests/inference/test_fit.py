"""An image that does not suit a bundle or the machine is refused before any work; its twin is not."""

from dataclasses import replace

import numpy as np
import pytest

from medseg.bundle.bundle import SpacingRange
from medseg.bundle.describe import spacing_range
from medseg.bundle.reader import read_bundle
from medseg.domain.errors import GridError, InputError, ResourceError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.inference.fit import grid_shape, need_bytes, require_enough_memory, require_size, require_spacing
from tests.bundles import grey_bundle, stored_bundle, volume_bundle
from tests.phantoms import box_volume, orientations


def of_spacing(*spacing_mm, calibrated=True):
    return Volume(np.zeros((1, 4, 4, 4)), Geometry((4, 4, 4), np.diag([*spacing_mm, 1.0]), calibrated), "scan")


def test_the_range_that_a_bundle_declares_decides():
    bundle = replace(volume_bundle(), spacing_range=SpacingRange(0.1, 10.0))
    require_spacing(of_spacing(0.1, 10.0, 1.0), bundle, "scan")
    require_spacing(of_spacing(0.1, 10.000001, 1.0), bundle, "scan")  # as float32 has it
    for sizes in ((0.09, 1, 1), (1, 1, 11), (1000, 1000, 1000), (0.001, 0.001, 0.001)):
        with pytest.raises(GridError, match=r"takes 0\.1 to 10 mm"):
            require_spacing(of_spacing(*sizes), bundle, "scan")


def test_older_bundles_and_pictures_are_not_asked_for_more_than_sense():
    require_spacing(of_spacing(0.05, 0.05, 20), volume_bundle(), "scan")
    with pytest.raises(GridError, match=r"takes 0\.01 to 20 mm"):
        require_spacing(of_spacing(0.005, 1, 1), volume_bundle(), "scan")
    require_spacing(of_spacing(50, 50, 50, calibrated=False), volume_bundle(), "scan")
    micrometre = Geometry((9, 9), np.diag([2.5e-4, 2.5e-4, 1, 1]))
    require_spacing(Volume(np.zeros((1, 9, 9)), micrometre, "slide"), grey_bundle(), "slide")


def test_the_range_is_kept_on_disk_and_follows_from_the_plan(tmp_path):
    bundle = replace(volume_bundle(), spacing_range=spacing_range((0.8, 0.8, 2.5)))
    assert bundle.spacing_range == SpacingRange(0.08, 25.0)
    stored = stored_bundle(bundle, tmp_path / "b")
    assert read_bundle(tmp_path / "b") == stored
    assert stored.spacing_range == bundle.spacing_range


@pytest.mark.parametrize("ends", [(0, 1), (-1, 1), (2, 1), (1, float("inf")), (1, float("nan"))])
def test_a_range_that_is_none_is_refused(ends):
    with pytest.raises(UsageError, match="is none"):
        SpacingRange(*ends)


def test_the_network_needs_a_voxel_at_its_coarsest_level():
    bundle = replace(volume_bundle(), network=replace(volume_bundle().network, widths=(4, 8, 16, 32)))
    require_size(of_spacing(2, 2, 2), bundle, "scan")  # 8 voxels of 1 mm
    with pytest.raises(InputError, match="4 x 4 x 4 voxels are too few"):
        require_size(of_spacing(2, 1, 2), bundle, "scan")


@pytest.mark.parametrize("letters", orientations())
def test_the_shape_on_the_networks_grid_is_in_the_order_of_the_image(letters):
    """Sizes 1, 2 and 4 mm belong to right, anterior and superior, wherever the image has them."""
    geometry = Geometry((16, 16, 16), orientations((4, 4, 4))[letters])
    along = {"L": 64, "R": 64, "P": 32, "A": 32, "I": 16, "S": 16}
    assert grid_shape(geometry, volume_bundle(spacing_mm=(1.0, 2.0, 4.0))) == tuple(along[letter] for letter in letters)


def test_memory_is_asked_for_what_the_networks_grid_takes(monkeypatch):
    coarse = of_spacing(100, 100, 100)  # 64 voxels, 64 million of the network's
    assert need_bytes(coarse, volume_bundle()) == pytest.approx(10 * 400**3, rel=0.01)
    assert need_bytes(box_volume().volume, volume_bundle()) < 2**21
    monkeypatch.setattr("medseg.io.memory.available_bytes", lambda: 2**29)
    with pytest.raises(ResourceError, match=r"needs about 0\.6 GiB of memory, 0\.5 GiB are free"):
        require_enough_memory(coarse, volume_bundle(), "scan")
    require_enough_memory(of_spacing(50, 50, 50), volume_bundle(), "scan")
    monkeypatch.setattr("medseg.io.memory.available_bytes", lambda: None)  # a system that does not say
    require_enough_memory(coarse, volume_bundle(), "scan")
