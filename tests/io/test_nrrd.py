import gzip

import numpy as np
import pytest
import SimpleITK

from medseg.domain.doubts import Doubts
from medseg.domain.errors import GridError, InputError, ResourceError, ValueRangeError
from medseg.io.images import case_name, read_image
from medseg.io.nrrd import read_nrrd
from tests.phantoms import oblique, orientations

SHAPE = (3, 4, 5)
VOXELS = np.random.default_rng(0).integers(-900, 900, SHAPE).astype(np.int16)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
FIELDS = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "3 4 5",
    "space directions": "(0.5,0,0) (0,0.75,0) (0,0,2)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(4,-5,6)",
}
AFFINE = LPS_TO_RAS @ np.array([[0.5, 0, 0, 4], [0, 0.75, 0, -5], [0, 0, 2, 6], [0, 0, 0, 1]])


def content(voxels=VOXELS, data=None, extra="", **changes):
    """An NRRD with the fields changed (`space_origin` for "space origin"); None leaves one out."""
    fields = FIELDS | {name.replace("_", " "): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    head = "\n".join(["NRRD0005", "# made in code", *lines]) + "\n" + extra + "\n"
    return head.encode() + (voxels.tobytes(order="F") if data is None else data)


def zipped(voxels=VOXELS, **changes):
    return content(data=gzip.compress(voxels.tobytes(order="F"), mtime=0), encoding="gzip", **changes)


def save(folder, data, name="scan.nrrd"):
    (folder / name).write_bytes(data)
    return folder / name


def read(folder, data, doubts=Doubts(), name="scan.nrrd"):  # noqa: B008
    return read_nrrd(save(folder, data, name), "scan", doubts)


def written_by_itk(folder, affine_ras, compress, voxels=VOXELS):
    affine_lps = LPS_TO_RAS @ affine_ras
    spacing = np.linalg.norm(affine_lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(voxels.T)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine_lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine_lps[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(folder / "itk.nrrd"), compress)
    return folder / "itk.nrrd"


@pytest.mark.parametrize("name", orientations())
def test_what_itk_writes_lies_where_it_lay(tmp_path, name):
    for affine in (orientations()[name], oblique(orientations()[name], (10, -20, 30))):
        volume = read_image(written_by_itk(tmp_path, affine, compress=name < "M"))
        np.testing.assert_allclose(volume.geometry.affine_ras, affine, atol=1e-6)
        assert np.array_equal(volume.voxels[0], VOXELS)
        assert (volume.case, volume.notes) == ("itk", ())


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_grey_type_that_itk_writes(tmp_path, kind):
    voxels = (VOXELS // 9 + (0 if kind[0] in "if" else 100)).astype(kind)
    volume = read_image(written_by_itk(tmp_path, orientations()["RAS"], True, voxels))
    assert np.array_equal(volume.voxels[0], voxels)
    assert volume.voxels.dtype == voxels.dtype


@pytest.mark.parametrize("endian", ["little", "big", "Big"])
@pytest.mark.parametrize("make", [content, zipped])
def test_either_byte_order_raw_or_gzip(tmp_path, endian, make):
    voxels = VOXELS.astype("<i2" if endian == "little" else ">i2")
    volume = read(tmp_path, make(voxels, endian=endian))
    assert np.array_equal(volume.voxels[0], VOXELS)
    np.testing.assert_array_equal(volume.geometry.affine_ras, AFFINE)


@pytest.mark.parametrize(
    ("space", "signs"),
    [("left-posterior-superior", (-1, -1)), ("LPS", (-1, -1)), ("right-anterior-superior", (1, 1)), ("RAS", (1, 1)),
     ("left-anterior-superior", (-1, 1)), ("LAS", (-1, 1))],
)  # fmt: skip
def test_a_space_says_where_its_axes_point(tmp_path, space, signs):
    affine = read(tmp_path, content(space=space)).geometry.affine_ras
    assert (affine[0, 3], affine[1, 3], affine[2, 3]) == (4 * signs[0], -5 * signs[1], 6)
    assert tuple(np.diag(affine)) == (0.5 * signs[0], 0.75 * signs[1], 2, 1)


def test_a_shear_is_kept(tmp_path):
    """SimpleITK turns the axes until none is left."""
    affine = read(tmp_path, content(space_directions="(1,0,0) (0,1,0) (0,0.6,5)")).geometry.affine_ras
    np.testing.assert_array_equal(affine[:3, 2], (0, -0.6, 5))


def test_units_become_millimetres_and_a_note(tmp_path):
    volume = read(tmp_path, content(space_units='"um" "um" "um"'))
    np.testing.assert_allclose(volume.geometry.spacing_mm, (5e-4, 7.5e-4, 2e-3))
    assert volume.notes == ("voxel sizes were in um and were converted to mm",)
    assert read(tmp_path, content(space_units='"mm" "mm" "mm"')).notes == ()


def test_a_volume_without_axes_lies_as_told(tmp_path):
    plain = content(space=None, space_directions=None, space_origin=None, spacings="0.5 0.75 2")
    with pytest.raises(GridError, match="--assume RAS"):
        read(tmp_path, plain)
    volume = read(tmp_path, plain, Doubts(assume_ras=True))
    np.testing.assert_array_equal(volume.geometry.affine_ras, np.diag([0.5, 0.75, 2, 1]))
    assert "as told" in volume.notes[0]


def test_nan_becomes_what_the_user_says(tmp_path):
    voxels = VOXELS.astype(np.float32)
    voxels[1, 2, 3] = np.nan
    data = content(voxels, type="float")
    with pytest.raises(ValueRangeError, match="1 of 60 voxels"):
        read(tmp_path, data)
    volume = read(tmp_path, data, Doubts(nan_fill=-5))
    assert volume.voxels[0, 1, 2, 3] == -5
    assert "1 of 60" in volume.notes[0]


def test_content_and_not_the_name_decides(tmp_path):
    for name in ("scan.nii.gz", "scan.png", "scan", "scan.nhdr"):
        assert np.array_equal(read_image(save(tmp_path, content(), name)).voxels[0], VOXELS)
    with pytest.raises(InputError, match="not an NRRD file"):
        read_image(save(tmp_path, b"<html>", "scan.nrrd"))
    assert case_name(tmp_path / "knee 3.NRRD") == "knee 3"


def test_free_words_of_a_header_say_nothing(tmp_path):
    data = content(extra="content: Doe^Jane\nsample units: HU\nDICOM_0008_0060_Modality:=CT\n# words\n")
    assert read(tmp_path, data).notes == ()
    assert np.array_equal(read(tmp_path, data.replace(b"\n", b"\r\n", 3)).voxels[0], VOXELS)


FAULTS = {
    "another file": (content(data_file="../../etc/passwd"), InputError, "lie in another file, and none is followed"),
    "many files": (content(datafile="LIST"), InputError, "lie in another file"),
    "detached": (content(data=b"", data_file="a.raw").rstrip(b"\n") + b"\n", InputError, "lie in another file"),
    "byte skip": (content(byte_skip="-1"), InputError, "skips bytes"),
    "cut off": (content()[:-1], InputError, "119 of 120 bytes"),
    "cut gzip": (zipped()[:-20], InputError, "cut off"),
    "bad checksum": (zipped()[:-8] + bytes(8), InputError, "CRC check failed"),
    "no end": (content()[:100], InputError, "has no end"),
    "no type": (content(type=None), InputError, "no field 'type'"),
    "block": (content(type="block"), InputError, "of type 'block'"),
    "bzip2": (content(encoding="bzip2"), InputError, "encoding 'bzip2' is not read"),
    "no byte order": (content(endian=None), InputError, "little or big endian"),
    "a field twice": (content(extra="type: float\n"), InputError, "one field twice"),
    "no field": (content(extra="what is this\n"), InputError, "no field"),
    "four axes": (content(dimension="4", sizes="3 4 5 2"), InputError, "has 4 axes"),
    "two axes": (content(dimension="2", sizes="3 20", kinds="domain domain"), InputError, "has 2 axes"),
    "colours": (content(kinds="RGB-color domain domain"), InputError, "kinds rgb-color domain domain"),
    "sizes": (content(sizes="3 4"), InputError, "do not fit the dimension"),
    "negative size": (content(sizes="3 -4 5"), InputError, "do not fit"),
    "no voxels": (content(sizes="3 0 5"), InputError, "at least one voxel"),
    "claims too much": (content(sizes="30000 30000 30000"), InputError, "claims 54000000000000 bytes"),
    "scanner space": (content(space="scanner-xyz"), GridError, "none of RAS, LAS and LPS"),
    "no space": (content(space=None), GridError, "left and right are unknown"),
    "no directions": (content(space_directions=None), GridError, "no field|no three vectors"),
    "two directions": (content(space_directions="(1,0,0) (0,1,0) none"), GridError, "no three vectors"),
    "NaN direction": (content(space_directions="(1,0,0) (0,nan,0) (0,0,1)"), GridError, "no 3 finite numbers"),
    "singular": (content(space_directions="(1,0,0) (2,0,0) (0,0,1)"), GridError, "singular"),
    "no length": (content(space_directions="(1,0,0) (0,0,0) (0,0,1)"), GridError, "singular"),
    "NaN origin": (content(space_origin="(0,nan,0)"), GridError, "space origin give no 3 finite"),
    "mixed units": (content(space_units='"mm" "mm" "s"'), GridError, "unknown space units"),
    "segmentation": (content(extra="Segment0_ID:=Segment_1\n"), InputError, "is a segmentation"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_would_give_a_wrong_mask_is_refused(tmp_path, fault):
    data, error, reason = FAULTS[fault]
    assert np.array_equal(read(tmp_path, content()).geometry.affine_ras, AFFINE)
    with pytest.raises((error, InputError), match=reason) as caught:
        read(tmp_path, data)
    assert str(tmp_path / "scan.nrrd") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_volume_too_big_for_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("medseg.io.memory.available_bytes", lambda: 100)
    with pytest.raises(ResourceError, match="GiB"):
        read(tmp_path, content())
