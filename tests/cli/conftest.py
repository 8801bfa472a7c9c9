"""Bundles that the commands find by name, and images to give them."""

import numpy as np
import pytest
from PIL import Image

from medseg.io.nifti import write_nifti_image
from tests.bundles import blob_volume, blobs, cells_bundle, grey_bundle, stored_bundle, volume_bundle

AFFINE_RAS = np.array([[0, 0.9, 0, -20.5], [-1.1, 0, 0, 11.25], [0, 0, 2, 300], [0, 0, 0, 1.0]])


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory):
    """A MEDSEG_HOME with the bundles organs (3-D), grey and cells (2-D); tests leave it as it is."""
    folder = tmp_path_factory.mktemp("home")
    for name, bundle in (("organs", volume_bundle()), ("grey", grey_bundle()), ("cells", cells_bundle())):
        stored_bundle(bundle, folder / "bundles" / name, seed=2)
    return folder


@pytest.fixture
def home(shared_home, monkeypatch):
    monkeypatch.setenv("MEDSEG_HOME", str(shared_home))
    return shared_home


@pytest.fixture
def scan(tmp_path):
    """A volume that the bundle organs segments."""
    volume = blob_volume(AFFINE_RAS)
    write_nifti_image(volume.voxels[0], volume.geometry, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.fixture
def slide(tmp_path):
    """A picture of 60 x 44 pixels that the bundles grey and cells segment."""
    Image.fromarray(blobs((60, 44))[0].T.copy()).save(tmp_path / "slide.png")
    return tmp_path / "slide.png"
