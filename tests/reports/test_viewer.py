"""The files of the viewer: NiiVue unmodified with its licence, and voxels in the types that it draws."""

import hashlib
import json
import re
from importlib.resources import files

import nibabel as nib
import numpy as np
import pytest

from medseg.domain.geometry import Geometry
from medseg.domain.labels import LabelMap
from medseg.domain.volume import Volume
from medseg.inference.measure import measure
from medseg.io.nifti_view import nifti_bytes
from medseg.reports.viewer import Scene, exported_page, served_files
from tests.masks import ORGANS, mask_on
from tests.phantoms import counted_volume, oblique


def test_niivue_is_the_file_that_the_notice_names_with_its_licence():
    folder = files("medseg.reports") / "niivue"
    notice = (folder / "NOTICE").read_text()
    assert re.search(r"sha256 ([0-9a-f]{64})", notice)[1] == (
        hashlib.sha256((folder / "niivue.umd.js").read_bytes()).hexdigest()
    )
    assert "BSD 2-Clause License" in notice


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float64, bool])
def test_voxels_and_their_place_stay(dtype):
    affine = oblique(np.diag([-0.7, 0.9, 2.5, 1.0]), (8, 5, -6))
    voxels = np.arange(24).reshape(1, 2, 3, 4).astype(dtype)
    for compressed in (False, True):
        content = nifti_bytes(voxels, Geometry((2, 3, 4), affine), compressed)
        image = nib.Nifti1Image.from_bytes(content if not compressed else __import__("gzip").decompress(content))
        assert (np.asarray(image.dataobj) == voxels[0]).all()
        assert image.get_data_dtype() in (np.uint8, np.int16, np.uint16, np.float32)
        assert np.abs(image.affine - affine).max() < 1e-5


def test_colour_stays_colour():
    voxels = np.arange(18).reshape(3, 2, 3).astype(np.uint8)
    image = nib.Nifti1Image.from_bytes(nifti_bytes(voxels, Geometry((2, 3), np.eye(4))))
    stored = np.asarray(image.dataobj)
    assert stored.shape == (2, 3, 1)
    assert (np.stack([stored[c] for c in "RGB"])[..., 0] == voxels).all()


def test_the_mask_holds_places_in_the_list_whatever_the_values():
    volume = counted_volume((9, 7, 11))
    mask = mask_on(volume.geometry)
    drawn = nib.Nifti1Image.from_bytes(served_files(Scene("x", volume, mask, measure(mask, volume)))["mask.nii"][1])
    for n, label in enumerate(ORGANS, start=1):
        assert ((np.asarray(drawn.dataobj) == n) == (mask.voxels == label.value)).all()


def test_words_are_text_and_never_markup():
    volume = counted_volume((9, 7, 11))
    mask = LabelMap(np.zeros((9, 7, 11), np.uint8), volume.geometry, ORGANS)
    scene = Scene("<b>&</script>", Volume(volume.voxels, volume.geometry, "x"), mask, measure(mask, volume))
    for page in (exported_page(scene), served_files(scene)[""][1].decode()):
        assert "<b>&" not in page
        assert "&lt;b&gt;&amp;&lt;/script&gt;" in page


def test_the_page_begins_where_the_planes_cut_most_of_a_label():
    """It began at the centre of gravity: between two hippocampi, where no side view shows either."""
    volume = counted_volume((9, 7, 11))
    voxels = np.zeros((9, 7, 11), np.uint8)
    voxels[1:3, 2, 3:8] = voxels[7:9, 2, 3:8] = ORGANS.values[0]
    voxels[1, 2, 3:9] = ORGANS.values[0]
    mask = LabelMap(voxels, volume.geometry, ORGANS)
    page = served_files(Scene("x", volume, mask, measure(mask, volume)))[""][1].decode()
    scene = json.loads(re.search(r'id="scene">(.*?)</script>', page)[1])
    assert scene["labels"][0]["place"] == pytest.approx(volume.geometry.ijk_to_ras_mm([1, 2, 5]), abs=0.01)
    assert [row["place"] for row in scene["labels"][1:]] == [None] * (len(ORGANS) - 1)
