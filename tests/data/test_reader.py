import numpy as np
import pytest
import torch
from monai.transforms import LoadImage, LoadImaged
from PIL import Image

from medseg.data import Reader
from medseg.data.preprocess import PreprocessSpec, load_entry
from medseg.domain.errors import InputError, MedsegError
from medseg.domain.geometry import Geometry
from medseg.io.images import read_image
from medseg.io.nifti import write_nifti_image

AFFINE = np.array([[0.0, -1.5, 0, 30], [2.0, 0, 0, -4], [0, 0, 3.0, 7], [0, 0, 0, 1]])


@pytest.fixture
def scan(tmp_path):
    voxels = np.random.default_rng(0).integers(-900, 900, (5, 6, 7)).astype(np.int16)
    write_nifti_image(voxels, Geometry((5, 6, 7), AFFINE), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def picture(path, *shape):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)).save(path)
    return path


def load(path, channels=None):
    options = load_entry(PreprocessSpec(channels, None, "zscore"), ["image"])
    assert options.pop("_target_") == "LoadImaged"
    return LoadImaged(**options)({"image": path})["image"]


def test_monai_gets_the_array_and_the_affine_that_io_read(scan):
    volume, loaded = read_image(scan), load(scan, channels=1)
    assert np.array_equal(loaded.numpy(), volume.voxels.astype(np.float32))
    assert torch.equal(loaded.affine, torch.from_numpy(volume.geometry.affine_ras.copy()))
    assert loaded.affine.dtype == torch.float64
    assert loaded.shape == (1, 5, 6, 7)
    assert loaded.meta["space"] == "RAS"
    assert np.array_equal(loaded.affine, AFFINE)


def test_a_path_may_be_a_string_or_in_a_list(scan):
    assert torch.equal(load(str(scan)), load(scan))
    assert torch.equal(load([scan]), load(scan))


def test_a_grey_image_is_repeated_for_a_colour_network(scan):
    loaded = load(scan, channels=3)
    assert loaded.shape == (3, 5, 6, 7)
    assert torch.equal(loaded[0], loaded[1])
    assert torch.equal(loaded[0], loaded[2])


def test_a_picture_has_columns_first_and_one_channel_or_three(tmp_path):
    grey, colour = picture(tmp_path / "grey.png", 4, 6), picture(tmp_path / "colour.png", 4, 6, 3)
    assert load(grey, 1).shape == (1, 6, 4)
    assert load(grey, 3).shape == load(colour, 3).shape == load(colour).shape == (3, 6, 4)
    assert np.array_equal(load(colour, 3).numpy(), read_image(colour).voxels)


def test_a_colour_picture_is_refused_where_one_channel_is_taken(tmp_path):
    with pytest.raises(InputError, match=r"colour\.png: has 3 colour channels, the model takes 1"):
        load(picture(tmp_path / "colour.png", 4, 6, 3), channels=1)


def damaged(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def missing(path):
    path.unlink()


@pytest.mark.parametrize("fault", [damaged, cut, missing])
@pytest.mark.parametrize("reader", ["medseg.data.Reader", Reader, Reader()])
def test_what_io_refuses_stays_refused(scan, fault, reader):
    """MONAI goes on to its own readers, which return damaged voxels, wherever a reader's `read` fails."""
    LoadImage(reader=reader)(scan)
    fault(scan)
    with pytest.raises(MedsegError, match=r"scan\.nii\.gz"):
        LoadImage(reader=reader)(scan)


def test_several_files_are_refused_and_not_left_to_another_reader(scan):
    """`read` refused them itself, so MONAI stacked the files by a reader of its own."""
    with pytest.raises(InputError, match="2 files for one image"):
        load([scan, scan])
