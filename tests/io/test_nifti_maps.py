"""Maps of several channels in one NIfTI file: the image's geometry, whole or not at all."""

import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.domain.errors import OutputError, ResourceError
from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.io.nifti import read_nifti, write_nifti, write_nifti_image
from medseg.io.nifti_maps import NiftiMaps
from tests.io.test_upright import tilted
from tests.phantoms import oblique

AFFINE = oblique(np.diag([0.8, 1.2, -2.0, 1.0]), (8, 5, -6))


def volume_of(shape, affine=AFFINE):
    return Volume(np.zeros((1, *shape), np.float32), Geometry(shape, affine), "case")


@settings(max_examples=40)
@given(st.data(), st.sampled_from((2, 3)), st.sampled_from((".nii", ".nii.gz")))
def test_blocks_in_any_order_make_the_maps(tmp_path_factory, data, dims, ending):
    path = tmp_path_factory.mktemp("maps") / f"x{ending}"
    shape = data.draw(st.tuples(*[st.integers(1, 6)] * dims))
    axis = data.draw(st.integers(0, dims - 1))
    values = np.random.default_rng(0).random((3, *shape), np.float32)
    planes = data.draw(st.permutations(range(shape[axis])))
    with NiftiMaps(path, volume_of(shape, np.diag([1.0, 2.0, 3.0, 1.0])), 3) as maps:
        for n in planes:
            place = [slice(0, m) for m in shape]
            place[axis] = slice(n, n + 1)
            maps.put(place, values[(slice(None), *place)])
        maps.save()
    image = nib.load(path)
    assert image.shape == (*shape, 3) if dims == 3 else image.shape == (*shape, 1, 3)
    assert image.get_data_dtype() == np.float32
    assert (np.asarray(image.dataobj).reshape(*shape, 3) == np.moveaxis(values, 0, -1)).all()


def test_voxels_that_nobody_tells_are_the_first_channels(tmp_path):
    inside = np.zeros((2, 3, 4), bool)
    inside[1, 2, 3] = True
    with NiftiMaps(tmp_path / "x.nii.gz", volume_of((4, 4, 4)), 2) as maps:
        maps.put([slice(1, 3), slice(0, 3), slice(0, 4)], np.full((2, 2, 3, 4), 0.5), inside)
        maps.save()
    stored = np.asarray(nib.load(tmp_path / "x.nii.gz").dataobj)
    assert stored[2, 2, 3].tolist() == [0.5, 0.5]
    stored[2, 2, 3] = (1, 0)
    assert (stored[..., 0] == 1).all()
    assert (stored[..., 1] == 0).all()


def test_the_geometry_is_the_images_own_bit_for_bit(tmp_path):
    write_nifti_image(np.zeros((3, 4, 5), np.int16), Geometry((3, 4, 5), AFFINE), tmp_path / "image.nii.gz")
    image = nib.load(tmp_path / "image.nii.gz")
    image.set_sform(image.affine, code=4)
    image.set_qform(image.affine, code=2)
    nib.save(image, tmp_path / "image.nii.gz")
    volume = read_nifti(tmp_path / "image.nii.gz", "image")
    with NiftiMaps(tmp_path / "maps.nii.gz", volume, 2) as maps:
        maps.save()
    one, other = (nib.load(tmp_path / name).header for name in ("image.nii.gz", "maps.nii.gz"))
    for name in ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "qoffset_x", "xyzt_units"):
        assert (one[name] == other[name]).all(), name
    assert (one["pixdim"][:4] == other["pixdim"][:4]).all()


def test_a_source_of_another_kind_has_both_forms(tmp_path):
    with NiftiMaps(tmp_path / "x.nii.gz", volume_of((3, 4, 5)), 2) as maps:
        maps.save()
    image = nib.load(tmp_path / "x.nii.gz")
    assert np.allclose(image.get_sform(), AFFINE, atol=1e-5)
    assert np.allclose(image.get_qform(), AFFINE, atol=1e-5)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_maps_of_tilted_slices_lie_where_their_masks_do(tmp_path):
    """ITK refuses a sheared file: a map of one label is its mask, block by block."""
    label_map = tilted((0.9, -0.4), (15, 0, 0))
    volume = replace(volume_of((2, 2, 2)), voxels=label_map.voxels[None], geometry=label_map.geometry)
    write_nifti(label_map, tmp_path / "mask.nii.gz", volume)
    one_hot = np.stack([label_map.voxels == 0, label_map.voxels > 0]).astype(np.float32)
    with NiftiMaps(tmp_path / "maps.nii.gz", volume, 2) as maps:
        for start in range(0, label_map.voxels.shape[1], 3):
            place = tuple(slice(0, n) for n in label_map.voxels.shape)
            place = (place[0], slice(start, min(start + 3, place[1].stop)), place[2])
            maps.put(place, one_hot[(slice(None), *place)])
        maps.save()
    mask, found = nib.load(tmp_path / "mask.nii.gz"), nib.load(tmp_path / "maps.nii.gz")
    assert np.allclose(mask.affine, found.affine)
    assert ((np.asarray(mask.dataobj) > 0) == (np.asarray(found.dataobj)[..., 1] == 1)).all()
    assert (np.asarray(found.dataobj).sum(-1) == 1).all()


def test_an_error_in_the_middle_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), NiftiMaps(tmp_path / "x.nii.gz", volume_of((3, 4, 5)), 2):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no way to kill on this system")
def test_killed_in_the_middle_leaves_nothing(tmp_path):
    code = (
        "import os, signal, sys; import numpy as np; from pathlib import Path\n"
        "from medseg.domain.geometry import Geometry; from medseg.domain.volume import Volume\n"
        "from medseg.io.nifti_maps import NiftiMaps\n"
        "volume = Volume(np.zeros((1, 9, 9, 9)), Geometry((9, 9, 9), np.eye(4)), 'x')\n"
        "maps = NiftiMaps(Path(sys.argv[1]) / 'x.nii.gz', volume, 3)\n"
        "maps.put([slice(0, 9), slice(0, 9), slice(0, 4)], np.ones((3, 9, 9, 4)))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=dict(os.environ), check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_before_the_work(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(ResourceError, match=r"x\.nii\.gz: the maps take 0\.0 GB"):
        NiftiMaps(tmp_path / "x.nii.gz", volume_of((3, 4, 5)), 2)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        NiftiMaps(tmp_path / "out" / "x.nii.gz", volume_of((3, 4, 5)), 2)


def test_memory_is_for_a_block(tmp_path):
    """16 maps of 2 MB each, told in 64 blocks."""
    volume = volume_of((64, 64, 128))
    tracemalloc.start()
    with NiftiMaps(tmp_path / "x.nii", volume, 16) as maps:
        for k in range(0, 128, 2):
            maps.put([slice(0, 64), slice(0, 64), slice(k, k + 2)], np.full((16, 64, 64, 2), 1 / 16, np.float32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
