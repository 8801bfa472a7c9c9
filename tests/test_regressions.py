"""The smallest input for each fault that was found, most of them by `make fuzz`; the docstrings name the faults."""

import io
import json
import struct
import subprocess
import sys
import time
import warnings
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from medseg.bundle.archive import unpack
from medseg.bundle.component import Component
from medseg.bundle.config import NotRunError, inside
from medseg.bundle.documents import Document, _parse_yaml
from medseg.bundle.expressions import Expression, evaluate
from medseg.bundle.foreign import read_foreign
from medseg.bundle.functions import NotRun
from medseg.bundle.program import _is_plain_spacing
from medseg.bundle.targets import find_target
from medseg.domain.doubts import Doubts
from medseg.domain.errors import BundleError, GridError, InputError
from medseg.domain.geometry import Geometry
from medseg.io.images import read_image
from tests.bundle.hostile import harmless
from tests.bundle.zoo import metadata
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


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("'\\d'", id="an escape that Python warns of"),
        pytest.param("1if @a else 2", id="a number that runs into a word, which Python warns of"),
    ],
)
def test_an_expression_makes_no_warning(text):
    """The line of a refusal had Python's own advice above it."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        evaluate(Expression(text), lambda name: 1, lambda path: None)
    assert not warned


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("0.5 is 0.5", id="what is one object here and two there"),
        pytest.param("(lambda x: x)['x']", id="a lambda with a place"),
        pytest.param("@a[@a]", id="a place in a number"),
    ],
)
def test_an_expression_of_other_than_data_is_refused(text):
    """Identity of numbers was told from this interpreter's objects, not from Python's."""
    with pytest.raises(NotRun):
        evaluate(Expression(text), lambda name: 0.5, lambda path: None)


@pytest.mark.parametrize("at", ["'x'", "[None]", "[[0]]", "@c[x > 0]"])
def test_a_tensor_is_subscripted_by_numbers_only(at):
    """A text was taken for a list of places, with torch's warning; a dict asked by a tensor printed the tensor."""
    function = evaluate(Expression(f"lambda x: x[{at}]"), lambda name: {"d": 1}, lambda path: None)
    with pytest.raises(NotRun):
        function(torch.zeros(2, 3))


def test_broadcasting_is_asked_without_a_computer_algebra_system():
    """`torch.broadcast_shapes` imports sympy: a second for the first lambda of a process."""
    code = (
        "import sys, torch; from medseg.bundle.expressions import Expression, evaluate\n"
        "before = set(sys.modules)\n"
        "evaluate(Expression('lambda x: x > 0'), None, None)(torch.zeros(3))\n"
        "assert not [m for m in set(sys.modules) - before if m.startswith(('sympy', 'mpmath'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("name", ["b/{path}", "b//x", "b/./x", "b/models/model.pt/x", "b/" + "d/" * 2000 + "x"])
def test_a_member_behind_a_second_slash_stays_in_the_folder(tmp_path, monkeypatch, name):
    """Without its first folder the name of the member was absolute: it was written there."""
    monkeypatch.setenv("MEDSEG_HOME", str(tmp_path / "home"))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("b/configs/metadata.json", "{}")
        archive.writestr("b/models/model.pt", "")
        archive.writestr(name.format(path=tmp_path / "evil"), "x")
    with pytest.raises(BundleError) as refused:
        unpack(tmp_path / "b.zip")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400
    assert not (tmp_path / "evil").exists()
    assert list(tmp_path.rglob("*.part*")) == []


def test_a_damaged_stream_in_a_zip_is_a_refusal(tmp_path, monkeypatch):
    """zlib's own error passed through."""
    monkeypatch.setenv("MEDSEG_HOME", str(tmp_path / "home"))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b/configs/metadata.json", "{}" * 500)
    data = bytearray(stream.getvalue())
    start = 30 + len("b/configs/metadata.json")
    data[start : start + 4] = b"\xff" * 4
    path = saved(tmp_path / "b.zip", bytes(data))
    with pytest.raises(BundleError, match="no zip that can be read"):
        unpack(path)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("inferer", "sw_batch_size", "cpu"),
        ("network_def", "in_channels", {}),
        ("network_def", "spatial_dims", "3"),
        ("preprocessing", "keys", [{}]),
        ("preprocessing", "dtype", "garbage"),
        ("postprocessing", "keys", {}),
    ],
)
def test_what_the_host_reads_of_a_config_has_a_known_form(tmp_path, part, key, value):
    """A text for a number, or an object for a key, was a bug's exit code, not a refusal."""
    config = json.loads(json.dumps(harmless()))
    place = config[part]["transforms"][0] if "transforms" in config[part] else config[part]
    place[key] = value
    (tmp_path / "configs").mkdir()
    (tmp_path / "models").mkdir()
    torch.save({"levels": 2}, tmp_path / "models" / "arch.pt")
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(metadata({"1": "organ"})))
    (tmp_path / "configs" / "inference.json").write_text(json.dumps(config))
    with pytest.raises(NotRunError, match=key):
        read_foreign(tmp_path)


def test_a_spacing_with_fewer_modes_than_keys_is_not_the_plain_one():
    """The mode of the image was looked up past the end of the list."""
    target = find_target("Spacingd")
    assert target is not None
    step = Component(target, {"keys": ["label", "image"], "pixdim": [1, 1, 1], "mode": ["bilinear"]})
    assert not _is_plain_spacing(step)
    assert _is_plain_spacing(replace(step, arguments={**step.arguments, "mode": ["nearest", "bilinear"]}))


def test_an_empty_text_has_a_place_in_a_document(tmp_path):
    """A target that is an empty text, in YAML that has it in single quotes, was a bug's exit code."""
    document = Document(tmp_path / "a.yaml", "a: ''\nb: c\n", {"a": "", "b": "c"})
    assert document.place("") == str(tmp_path / "a.yaml")
    assert document.place("c") == f"{tmp_path / 'a.yaml'}:2"


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "a\nb"])
def test_a_path_that_is_none_is_refused(tmp_path, path):
    """The system's error passed through."""
    with pytest.raises(NotRun, match="is no path"):
        inside(tmp_path, path)


def test_yaml_that_is_nested_far_is_refused_at_once():
    """Thousands of levels were read before they were counted."""
    started = time.process_time()
    with pytest.raises(ValueError, match="deeper"):
        _parse_yaml("a: " + "[" * 5000 + "]" * 5000)
    assert time.process_time() - started < 1
