"""The smallest input for each fault that was found, most of them by `make fuzz`; the docstrings name the faults."""

import io
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from medseg.domain.doubts import Doubts
from medseg.domain.errors import GridError, InputError
from medseg.domain.geometry import Geometry
from medseg.io.images import read_image
from tests.inputs.nifti_files import MOVED, SHEARED, SROW, content, put

GREY = np.arange(63, dtype=np.uint8).reshape(7, 9)


def saved(path, data):
    path.write_bytes(data)
    return path


def png(*more):
    """GREY, with chunks (name, content) behind its header."""
    stream = io.BytesIO()
    Image.fromarray(GREY).save(stream, "PNG")
    data = stream.getvalue()
    chunks = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in more]
    return data[:33] + b"".join(chunks) + data[33:]


def lzw():
    stream = io.BytesIO()
    Image.fromarray(GREY).save(stream, "TIFF", compression="tiff_lzw")
    return stream.getvalue()


def place_of(data, tag):
    """Of a tag's entry in the first page of a TIFF."""
    (page,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, page)
    places = [page + 2 + 12 * n for n in range(entries)]
    (place,) = [p for p in places if struct.unpack_from("<H", data, p) == (tag,)]
    return place


def with_tag(data, tag, count, value):
    """The TIFF, a tag of its first page changed."""
    edited = bytearray(data)
    struct.pack_into("<2I", edited, place_of(data, tag) + 4, count, value)
    return bytes(edited)


def test_a_damaged_animation_is_refused_and_not_warned_of(tmp_path):
    """Pillow warned on standard error and showed the still picture."""
    assert np.array_equal(read_image(saved(tmp_path / "a.png", png())).voxels[0].T, GREY)
    path = saved(tmp_path / "a.png", png((b"acTL", struct.pack(">2I", 0, 0))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="an animation of 0 frames"):
            read_image(path)


def test_a_tag_beyond_the_end_is_refused_and_not_warned_of(tmp_path):
    """Pillow warned and passed over the tag."""
    assert np.array_equal(read_image(saved(tmp_path / "a.tif", lzw())).voxels[0].T, GREY)
    path = saved(tmp_path / "a.tif", with_tag(lzw(), 258, 1000, 10_000))
    with pytest.raises(InputError, match="tag 258 lies beyond the end"):
        read_image(path)


def test_what_libtiff_prints_is_not_seen(tmp_path, capfd):
    """It wrote lines of its own to standard error beside the refusal."""
    whole = lzw()
    (place,) = struct.unpack_from("<I", whole, place_of(whole, 273) + 8)  # StripOffsets
    path = saved(tmp_path / "a.tif", whole[:place] + b"\xff" * 8 + whole[place + 8 :])
    with pytest.raises(InputError):
        read_image(path)
    assert capfd.readouterr().err == ""
    print("still open", file=sys.stderr)
    assert capfd.readouterr().err == "still open\n"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", png()[:16] + struct.pack(">2I", 30_000, 30_000) + png()[24:]),
        ("a.tif", with_tag(with_tag(lzw(), 256, 1, 30_000), 257, 1, 30_000)),
    ],
)
def test_a_picture_that_claims_too_much_is_refused_before_it_is_decoded(tmp_path, name, data):
    """900 MB were asked for, for a file of 200 bytes."""
    if name == "a.png":  # the checksum of the header is right
        data = data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]
    with pytest.raises(InputError, match="its header says 900000000 bytes of pixels, the file has"):
        read_image(saved(tmp_path / name, data))


@pytest.mark.parametrize("value", [3.4e38, -3.4e38])
def test_an_affine_near_the_end_of_float32_is_refused_without_a_warning(tmp_path, value):
    """numpy and nibabel warned of overflow before the refusal."""
    path = saved(tmp_path / "a.nii", put((SROW, "4f", value, value, value, value))(content(codes=(1, 0))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(GridError):
            read_image(path)


def test_a_grid_near_the_end_of_float64_is_no_grid():
    """Its determinant is NaN, which no comparison found too small."""
    with pytest.raises(GridError):
        Geometry((2, 2, 2), np.diag([1e300, 1e300, 1e300, 1.0]) + np.array([[0, 1e300, 0, 0]] * 3 + [[0] * 4]))


def test_a_sheared_sform_does_not_excuse_a_qform_elsewhere(tmp_path):
    """A shear, which no qform holds, switched the comparison off."""
    read_image(saved(tmp_path / "a.nii", content(affine=SHEARED)))
    path = saved(tmp_path / "a.nii", content(affine=SHEARED, qform=MOVED))
    with pytest.raises(GridError, match="disagree"):
        read_image(path)
    np.testing.assert_allclose(read_image(path, Doubts(affine="sform")).geometry.affine_ras, SHEARED, rtol=1e-6)


def test_a_photometric_of_several_lines_is_refused_in_one(tmp_path):
    """The tag held the words of another one, line breaks and all."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, GREY, metadata=None, description="two\nlines")
    data = bytearray(stream.getvalue())
    place = place_of(data, 262)
    data[place + 2 : place + 12] = data[place_of(data, 270) + 2 : place_of(data, 270) + 12]
    with pytest.raises(InputError) as caught:
        read_image(saved(tmp_path / "a.tif", bytes(data)))
    assert "\n" not in str(caught.value)
