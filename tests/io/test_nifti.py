import gzip
import struct
import tracemalloc
import xml.etree.ElementTree as ElementTree
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medseg.domain.errors import GridError, InputError, MedsegError, ValueRangeError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelMap, LabelTable
from medseg.domain.volume import Volume
from medseg.io.nifti import read_nifti, read_nifti_mask, write_nifti, write_nifti_image
from medseg.io.nifti_file import is_nifti

ORIENTATIONS = list(product(permutations(range(3)), product((1, -1), repeat=3)))
TABLE = LabelTable((Label(1, "left kidney", (255, 0, 51)), Label(2, "tumour (T1)", (0, 128, 0))))
SHAPE = (3, 4, 5)
AFFINE = np.array([[0, -1.5, 0, 30], [2.0, 0, 0, -4], [0, 0, 3.0, 7], [0, 0, 0, 1]])
VOXELS = np.random.default_rng(0).integers(-900, 900, SHAPE).astype(np.int16)

# Where the fields of a NIfTI-1 header stand, little-endian
DIM, DATATYPE, PIXDIM, OFFSET, SLOPE, UNITS, QCODE, QUATERN, SROW = 40, 70, 76, 108, 112, 123, 252, 256, 280
FROZEN = (slice(76, 108), slice(123, 124), slice(252, 328))  # pixdim, units, codes and both forms


def content(voxels=VOXELS, affine=AFFINE, codes=(1, 1), units="mm", kind=nib.Nifti1Image, order="<"):
    """The bytes of a plain .nii that holds the affine in both forms; codes of sform and qform."""
    header = kind.header_class(endianness=order)
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header.set_sform(affine, codes[0])
    header.set_qform(affine, codes[1])
    header.set_xyzt_units(units, "sec")
    return kind(voxels, None, header).to_bytes()  # with an affine given, nibabel would set the codes anew


def edit(*changes):
    """A function that puts numbers into a header: (place, format, numbers...) each."""

    def put(data):
        data = bytearray(data)
        for place, form, *numbers in changes:
            struct.pack_into("<" + form, data, place, *numbers)
        return bytes(data)

    return put


def save(folder, data, name="scan.nii"):
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def a_mask(geometry, dtype=np.uint8, seed=0):
    values = np.random.default_rng(seed).integers(0, 3, geometry.shape_ijk).astype(dtype)
    return LabelMap(values, geometry, TABLE)


def unpacked(path):
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


@st.composite
def affines(draw):
    """One of the 48 orders and directions of the axes, or a little off it, with any spacing and place."""
    order, signs = draw(st.permutations(range(3))), draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    spacing = draw(st.tuples(*[st.sampled_from([0.3, 0.976562, 1.0, 2.5, 7.0])] * 3))
    matrix = np.eye(3)[:, order] * np.array(signs) * np.array(spacing)
    angle = draw(st.sampled_from([0.0, 0.0, 0.02, 0.4]))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ matrix
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500, width=32)] * 3))
    return affine


# Reading


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "without an ending"])
def test_voxels_affine_and_header_are_those_of_the_file(tmp_path, name):
    data = content()
    volume = read_nifti(save(tmp_path, data, name), "knee")
    assert np.array_equal(volume.voxels, VOXELS[None])
    assert volume.voxels.dtype == np.int16
    assert np.array_equal(volume.geometry.affine_ras, AFFINE)
    assert (volume.case, volume.notes, volume.nifti_header) == ("knee", (), data[:348])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(affines(), st.sampled_from([(1, 1), (2, 0), (0, 1), (4, 2)]))
def test_the_affine_is_what_nibabel_and_simpleitk_say(tmp_path, affine, codes):
    path = save(tmp_path, content(affine=affine, codes=codes))
    ours = read_nifti(path, "a").geometry.affine_ras
    np.testing.assert_allclose(ours, nib.load(path).affine, atol=1e-4)
    image = SimpleITK.ReadImage(str(path))
    other = np.eye(4)
    other[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    other[:3, 3] = image.GetOrigin()
    np.testing.assert_allclose(ours, np.diag([-1, -1, 1, 1]) @ other, atol=1e-2)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_every_grey_type_in_either_byte_order_and_version(tmp_path, dtype, order, kind):
    voxels = (VOXELS // 9 + (0 if dtype in ("i1", "i2", "i4", "i8", "f4", "f8") else 100)).astype(dtype)
    data = content(voxels, kind=kind, order=order)
    assert data[:4] == struct.pack(order + "i", 348 if kind is nib.Nifti1Image else 540)
    path = save(tmp_path, data)
    volume = read_nifti(path, "a")
    assert is_nifti(path)
    assert np.array_equal(volume.voxels[0], voxels)
    assert volume.voxels.dtype.kind == voxels.dtype.kind
    assert np.array_equal(volume.geometry.affine_ras, AFFINE)


def test_slope_and_intercept_are_applied_in_float32(tmp_path):
    volume = read_nifti(save(tmp_path, edit((SLOPE, "2f", 2.0, -1024.0))(content())), "a")
    assert volume.voxels.dtype == np.float32
    assert np.array_equal(volume.voxels[0], VOXELS * 2.0 - 1024)


@pytest.mark.parametrize(("slope", "intercept", "expected"), [(1, 0, VOXELS), (0, 7, VOXELS), (1, 5, VOXELS + 5)])
def test_no_slope_leaves_the_voxels_and_a_mere_intercept_moves_them(tmp_path, slope, intercept, expected):
    volume = read_nifti(save(tmp_path, edit((SLOPE, "2f", slope, intercept))(content())), "a")
    assert np.array_equal(volume.voxels[0], expected)


@pytest.mark.parametrize(("unit", "mm"), [("micron", 0.001), ("meter", 1000.0), ("unknown", 1.0)])
@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (1, 0)])
def test_other_units_become_millimetres_and_a_note(tmp_path, unit, mm, codes):
    volume = read_nifti(save(tmp_path, content(units=unit, codes=codes)), "a")
    np.testing.assert_allclose(volume.geometry.affine_ras[:3], AFFINE[:3] * mm, rtol=1e-6, atol=1e-6 * mm)
    assert volume.notes == (
        () if mm == 1 else (f"voxel sizes were in {unit.replace('meter', 'metre')}s and were converted to mm",)
    )


def test_voxels_of_20_micrometres_written_in_metres_are_a_grid(tmp_path):
    """Their volume in cubic metres was taken for that of a singular affine."""
    affine = np.diag([2e-5, 2e-5, 2e-5, 1])
    volume = read_nifti(save(tmp_path, content(affine=affine, units="meter")), "a")
    assert volume.geometry.spacing_mm == pytest.approx((0.02, 0.02, 0.02), rel=1e-6)


def test_an_odd_unit_of_time_says_nothing_of_length(tmp_path):
    """It was a KeyError."""
    volume = read_nifti(save(tmp_path, edit((UNITS, "B", 2 | 56 | 128))(content())), "a")
    assert np.array_equal(volume.geometry.affine_ras, AFFINE)


@pytest.mark.parametrize("codes", [(0, 1), (1, 1)])
def test_a_handedness_of_0_is_one_of_1(tmp_path, codes):
    """The standard says so; it was an error of nibabel's."""
    right_handed = np.diag([2.0, 3.0, 4.0, 1.0])
    path = save(tmp_path, edit((PIXDIM, "f", 0.0))(content(affine=right_handed, codes=codes)))
    assert np.array_equal(read_nifti(path, "a").geometry.affine_ras, right_handed)
    path = save(tmp_path, edit((PIXDIM, "f", -1.0))(content(affine=right_handed, codes=(0, 1))))
    assert np.array_equal(read_nifti(path, "a").geometry.affine_ras, np.diag([2.0, 3.0, -4.0, 1.0]))


def test_a_sheared_affine_is_kept(tmp_path):
    sheared = np.array([[1.0, 0, 0, 0], [0, 1.0, 0.6, 0], [0, 0, 5.0, 0], [0, 0, 0, 1]])
    path = save(tmp_path, content(affine=sheared))
    np.testing.assert_allclose(read_nifti(path, "a").geometry.affine_ras, sheared, rtol=1e-6)


@pytest.mark.parametrize(("shape", "expected"), [
    ((3, 4, 5, 1), (3, 4, 5)), ((3, 4, 5, 1, 1), (3, 4, 5)), ((3, 4), (3, 4)), ((3, 4, 1), (3, 4, 1)),
    ((1, 1, 1), (1, 1, 1)),
])  # fmt: skip
def test_further_axes_of_length_one_are_dropped(tmp_path, shape, expected):
    voxels = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    volume = read_nifti(save(tmp_path, content(voxels)), "a")
    assert volume.voxels.shape == (1, *expected)
    assert np.array_equal(volume.voxels[0], voxels.reshape(expected))
    assert np.array_equal(volume.geometry.affine_ras, AFFINE)


def test_a_flat_image_needs_no_size_across_its_plane(tmp_path):
    data = edit((PIXDIM + 12, "f", 0.0))(content(VOXELS[..., 0], np.diag([2.0, 3.0, 1.0, 1.0])))
    assert read_nifti(save(tmp_path, data), "a").geometry.spacing_mm == (2.0, 3.0)


@pytest.mark.parametrize("shape", [(5, 4, 3), (4, 3)])
def test_what_simpleitk_writes_is_read(tmp_path, shape):
    image = SimpleITK.GetImageFromArray(np.random.default_rng(0).integers(0, 99, shape).astype(np.int16))
    image.SetSpacing((0.5, 0.7, 2.0)[: len(shape)])
    image.SetOrigin((5.0, -6.0, 7.0)[: len(shape)])
    SimpleITK.WriteImage(image, str(tmp_path / "a.nii.gz"))
    volume = read_nifti(tmp_path / "a.nii.gz", "a")
    assert np.array_equal(volume.voxels[0].T, SimpleITK.GetArrayFromImage(image))
    assert volume.geometry.spacing_mm == pytest.approx((0.5, 0.7, 2.0)[: len(shape)])
    np.testing.assert_allclose(volume.geometry.affine_ras[:2, 3], (-5, 6))


def test_voxels_may_begin_after_extensions(tmp_path):
    data = content()
    moved = edit((OFFSET, "f", 2000.0))(data[:352] + bytes(1648) + data[352:])
    assert np.array_equal(read_nifti(save(tmp_path, moved), "a").voxels[0], VOXELS)


# Refusals: each with its twin, the same file without the fault, which is read


def stored_as(code, bits):
    return edit((DATATYPE, "2h", code, bits))


def complex_voxels(_):
    return content(VOXELS.astype(np.complex64))


def coloured(_):
    colours = np.zeros(SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    return content(colours)


def five_volumes(_):
    return content(np.repeat(VOXELS[..., None], 5, -1))


def one_axis(_):
    return content(VOXELS[0, 0])


def voxel_of(value, dtype):
    def put(_):
        voxels = VOXELS.astype(dtype)
        voxels[1, 2, 3] = voxels[0, 0, 0] = value
        return content(voxels)

    return put


NAN = float("nan")
FAULTS = {
    "text": (lambda data: b"<html>404 not found</html>" * 40, InputError, "not a NIfTI file"),
    "empty": (lambda data: b"", InputError, "not a NIfTI file"),
    "magic": (edit((344, "4s", b"abcd")), InputError, "not a NIfTI file"),
    "pair": (edit((344, "4s", b"ni1\0")), InputError, "not a NIfTI file"),
    "no voxels": (lambda data: data[:352], InputError, "cut off: 0 of 120 bytes of voxels"),
    "one byte short": (lambda data: data[:-1], InputError, "cut off: 119 of 120 bytes of voxels"),
    "claims 32767^3": (edit((DIM, "4h", 3, 32767, 32767, 32767)), InputError, "claims 70362301923678 bytes"),
    "dim 0": (edit((DIM, "4h", 3, 3, 0, 5)), InputError, "every axis needs at least one voxel"),
    "dim negative": (edit((DIM, "4h", 3, 3, -4, 5)), InputError, "every axis needs at least one voxel"),
    "no axes": (edit((DIM, "h", 0)), InputError, "every axis"),
    "eight axes": (edit((DIM, "h", 8)), InputError, "every axis"),
    "one axis": (one_axis, InputError, "has 1 axis"),
    "five volumes": (five_volumes, InputError, "holds 5 volumes"),
    "voxels before the header's end": (edit((OFFSET, "f", 0.0)), InputError, r"places the voxels at byte 0\.0"),
    "voxels nowhere": (edit((OFFSET, "f", NAN)), InputError, "at byte nan"),
    "unknown type": (stored_as(9999, 16), InputError, "unknown data type code 9999"),
    "no type": (stored_as(0, 16), InputError, "convert it"),
    "long double": (stored_as(1536, 128), InputError, "convert it"),
    "complex": (complex_voxels, InputError, "complex64 voxels"),
    "colour": (coloured, InputError, "colour voxels"),
    "NaN": (voxel_of(NAN, np.float32), ValueRangeError, "2 of 60 voxels are NaN or infinite"),
    "infinity": (voxel_of(-np.inf, np.float64), ValueRangeError, "2 of 60 voxels"),
    "beyond float32": (voxel_of(1e39, np.float64), ValueRangeError, "2 of 60 voxels"),
    "scaled beyond float32": (edit((SLOPE, "2f", 3e38, 0.0)), ValueRangeError, "of 60 voxels"),
    "slope NaN": (edit((SLOPE, "f", NAN)), ValueRangeError, "scales voxels by nan"),
    "intercept infinite": (edit((SLOPE + 4, "f", np.inf)), ValueRangeError, "and inf"),
    "both codes 0": (edit((QCODE, "2h", 0, 0)), GridError, "neither sform nor qform is set"),
    "both codes negative": (edit((QCODE, "2h", -1, -1)), GridError, "neither sform nor qform is set"),
    "sform and qform apart": (edit((SROW + 12, "f", 138.0)), GridError, r"disagree by up to 108\.0 mm"),
    "sform singular": (edit((SROW, "4f", 0, 0, 0, 0)), GridError, "singular"),
    "sform NaN": (edit((SROW + 4, "f", NAN)), GridError, "not finite"),
    "sform infinite": (edit((SROW + 8, "f", np.inf)), GridError, "not finite"),
    "no rotation": (edit((QUATERN, "3f", 3.0, 3.0, 3.0)), GridError, "no rotation"),
    "quaternion NaN": (edit((QUATERN, "f", NAN)), GridError, "not finite|no rotation"),
    "pixdim 0": (edit((PIXDIM + 8, "f", 0.0)), GridError, r"voxel sizes \[2\.0, 0\.0, 3\.0\]"),
    "pixdim negative": (edit((PIXDIM + 4, "f", -2.0)), GridError, "positive sizes"),
    "pixdim NaN": (edit((PIXDIM + 12, "f", NAN)), GridError, "positive sizes"),
    "unknown unit": (edit((UNITS, "B", 7)), GridError, r"unknown unit of length \(code 7\)"),
}


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_would_give_a_wrong_mask_is_refused(tmp_path, fault, name):
    damage, error, reason = FAULTS[fault]
    path = save(tmp_path, content(), name)
    assert np.array_equal(read_nifti(path, "a").geometry.affine_ras, AFFINE)
    save(tmp_path, damage(content()), name)
    with pytest.raises(error, match=reason) as caught:
        read_nifti(path, "a")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_raw_header_is_asked_for_the_slope_not_nibabel(tmp_path):
    """nibabel shows NaN for every image, also where the file says 1.0."""
    path = save(tmp_path, content())
    assert np.isnan(nib.load(path).header["scl_slope"])
    assert struct.unpack_from("<f", path.read_bytes(), SLOPE) == (1.0,)
    read_nifti(path, "a")


@pytest.mark.parametrize(("apart_mm", "refused"), [(0.4, False), (0.6, True)])
def test_forms_may_differ_by_half_a_millimetre(tmp_path, apart_mm, refused):
    path = save(tmp_path, edit((SROW + 12, "f", 30 + apart_mm))(content()))
    if refused:
        with pytest.raises(GridError, match="disagree"):
            read_nifti(path, "a")
    else:
        assert read_nifti(path, "a").geometry.affine_ras[0, 3] == pytest.approx(30 + apart_mm)  # the sform's


@pytest.mark.parametrize("code", [0, 1])
def test_a_form_whose_code_is_0_is_not_looked_at(tmp_path, code):
    damaged = edit((SROW, "12f", *[NAN] * 12)) if code else edit((QUATERN, "6f", *[9.0] * 6))
    path = save(tmp_path, damaged(content(codes=(1 - code, code))))
    np.testing.assert_allclose(read_nifti(path, "a").geometry.affine_ras, AFFINE, atol=1e-5)


@pytest.mark.parametrize("missing", ["nowhere.nii.gz", ""])
def test_a_missing_file_or_a_folder_is_refused(tmp_path, missing):
    with pytest.raises(InputError, match=r"no such file|cannot be read"):
        read_nifti(tmp_path / missing, "a")
    assert not is_nifti(tmp_path / missing)


def test_a_claim_is_refused_before_memory_is_taken_for_it(tmp_path):
    path = save(tmp_path, edit((DIM, "4h", 3, 1000, 1000, 1000))(content()))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="claims 2000000352 bytes"):
            read_nifti(path, "a")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True), st.sampled_from(["scan.nii", "scan.nii.gz"]))
def test_a_file_cut_anywhere_is_refused(tmp_path, part, name):
    path = save(tmp_path, content(), name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(InputError):
        read_nifti(path, "a")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_bit_of_a_gzip_stream_never_changes_what_is_read(tmp_path, data):
    """A bit of the time stamp and the like changes nothing; any other is found by the checksum."""
    path = save(tmp_path, content(), "scan.nii.gz")
    damaged = bytearray(path.read_bytes())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    try:
        volume = read_nifti(path, "a")
    except InputError:
        return
    assert np.array_equal(volume.voxels[0], VOXELS)
    assert np.array_equal(volume.geometry.affine_ras, AFFINE)


@pytest.mark.parametrize("more", [0, 3 << 20])
def test_the_checksum_at_the_end_of_the_stream_is_read(tmp_path, more):
    """Also where the stream goes on after the voxels."""
    path = save(tmp_path, content() + bytes(more), "scan.nii.gz")
    assert np.array_equal(read_nifti(path, "a").voxels[0], VOXELS)
    damaged = bytearray(path.read_bytes())
    damaged[-8] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"the gzip stream is damaged .*CRC"):
        read_nifti(path, "a")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=4))
def test_any_damage_to_the_header_is_read_or_refused_and_nothing_else(tmp_path, changes):
    data = bytearray(content())
    for place, value in changes:
        data[place] = value
    path = save(tmp_path, data)
    try:
        volume = read_nifti(path, "a")
    except MedsegError:
        return
    label_map = LabelMap(np.ones(volume.geometry.shape_ijk, np.uint8), volume.geometry, TABLE)
    write_nifti(label_map, tmp_path / "mask.nii", volume)
    assert read_nifti_mask(tmp_path / "mask.nii")[1] == volume.geometry


# Masks in


@pytest.mark.parametrize("values", [[0, 1, 2], [0, 255], [0, 256], [65535]])
@pytest.mark.parametrize("stored", [np.uint16, np.int32, np.float32, np.float64, np.int64])
def test_a_mask_is_its_whole_numbers_in_the_smallest_type(tmp_path, values, stored):
    voxels = np.resize(np.array(values), SHAPE)
    mask, geometry = read_nifti_mask(save(tmp_path, content(voxels.astype(stored))))
    assert np.array_equal(mask, voxels)
    assert mask.dtype == (np.uint8 if max(values) < 256 else np.uint16)
    assert np.array_equal(geometry.affine_ras, AFFINE)


@pytest.mark.parametrize("value", [-1, 0.5, 65536])
def test_a_mask_of_other_numbers_is_refused(tmp_path, value):
    voxels = np.zeros(SHAPE, np.float32)
    voxels[0, 1, 2] = value
    with pytest.raises(ValueRangeError, match="whole numbers of 0 to 65535"):
        read_nifti_mask(save(tmp_path, content(voxels)))


# Masks out


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    affine=affines(),
    codes=st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(any),
    units=st.sampled_from(["mm", "micron", "meter", "unknown"]),
    kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    name=st.sampled_from(["mask.nii", "mask.nii.gz"]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    order=st.sampled_from("<>"),
)
def test_a_mask_lies_where_its_source_lies_bit_for_bit(tmp_path, affine, codes, units, kind, name, dtype, order):
    source = save(
        tmp_path,
        content(affine=affine, codes=codes, units=units, kind=kind, order=order),
    )
    volume = read_nifti(source, "scan")
    mask = a_mask(volume.geometry, dtype)
    write_nifti(mask, tmp_path / name, volume)
    before, after = nib.load(source), nib.load(tmp_path / name)
    for field in ("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"):
        assert np.array_equal(after.header[field], before.header[field])
    for field in ("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"):
        assert np.array_equal(after.header[field], before.header[field])
    assert np.array_equal(after.affine, before.affine)
    assert type(after) is kind
    assert after.get_data_dtype() == dtype
    assert np.array_equal(np.asarray(after.dataobj), mask.voxels)
    back, geometry = read_nifti_mask(tmp_path / name)
    assert np.array_equal(back, mask.voxels)
    assert geometry == volume.geometry


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_all_48_orders_and_directions_of_the_axes_come_back(tmp_path, order, signs):
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, order] * np.array(signs) * np.array([0.5, 1.25, 3.0])
    affine[:3, 3] = -71.5, 12.25, 300.0
    source = save(tmp_path, content(affine=affine))
    volume = read_nifti(source, "scan")
    assert np.array_equal(volume.geometry.affine_ras, affine)
    mask = a_mask(volume.geometry)
    for name, given_source in (("with.nii.gz", volume), ("without.nii.gz", None)):
        write_nifti(mask, tmp_path / name, given_source)
        back, geometry = read_nifti_mask(tmp_path / name)
        assert np.array_equal(back, mask.voxels)
        assert geometry == volume.geometry
    raw = unpacked(tmp_path / "with.nii.gz")
    assert [raw[part] for part in FROZEN] == [source.read_bytes()[part] for part in FROZEN]


@pytest.mark.parametrize("change", [
    edit((PIXDIM, "f", 0.0)), edit((PIXDIM + 16, "4f", 0.0, -3.0, 9.0, 0.5)), edit((QCODE, "2h", 77, 1)),
    edit((QCODE, "2h", 1, 6)), edit((UNITS, "B", 2 | 56)), edit((OFFSET, "f", 348.0)),
])  # fmt: skip
def test_what_is_odd_in_a_header_stays_as_it_is(tmp_path, change):
    """nibabel mended codes, pixdim[0] and the unused pixdims of the copied header, or refused to write it."""
    data = change(content(affine=np.diag([2.0, 3.0, 4.0, 1.0])))
    volume = read_nifti(save(tmp_path, data), "scan")
    write_nifti(a_mask(volume.geometry), tmp_path / "mask.nii", volume)
    raw = unpacked(tmp_path / "mask.nii")
    assert [raw[part] for part in FROZEN] == [data[part] for part in FROZEN]
    assert read_nifti_mask(tmp_path / "mask.nii")[1] == volume.geometry


def test_a_mask_of_a_single_volume_in_four_axes_has_three(tmp_path):
    volume = read_nifti(save(tmp_path, content(VOXELS[..., None])), "scan")
    write_nifti(a_mask(volume.geometry), tmp_path / "mask.nii", volume)
    assert nib.load(tmp_path / "mask.nii").shape == SHAPE


def test_a_mask_of_dicom_has_both_forms_with_code_scanner(tmp_path):
    geometry = Geometry(SHAPE, AFFINE)
    write_nifti(a_mask(geometry), tmp_path / "mask.nii.gz", Volume(VOXELS[None], geometry, "a"))
    header = nib.load(tmp_path / "mask.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    np.testing.assert_allclose(header.get_qform(), AFFINE, atol=1e-5)
    assert np.array_equal(header.get_sform(), AFFINE)
    assert header.get_xyzt_units()[0] == "mm"
    assert header.get_zooms() == pytest.approx((2.0, 1.5, 3.0))


def test_a_sheared_grid_comes_back(tmp_path):
    """That of a NIfTI image; a qform cannot hold the shear, the sform does."""
    sheared = np.array([[1.0, 0, 0, 0], [0, 1.0, 0.625, 0], [0, 0, 5.0, 0], [0, 0, 0, 1]])
    mask = a_mask(Geometry(SHAPE, sheared))
    write_nifti_image(mask.voxels, mask.geometry, tmp_path / "image.nii")
    source = read_nifti(tmp_path / "image.nii", "image")
    write_nifti(mask, tmp_path / "mask.nii", source)
    assert read_nifti_mask(tmp_path / "mask.nii")[1] == mask.geometry


@pytest.mark.parametrize(("calibrated", "unit"), [(True, "mm"), (False, "unknown")])
def test_a_picture_has_two_axes_and_millimetres_only_where_they_are_known(tmp_path, calibrated, unit):
    mask = a_mask(Geometry((6, 5), np.diag([-0.5, -0.25, 1, 1]), calibrated))
    write_nifti(mask, tmp_path / "mask.nii.gz")
    image = nib.load(tmp_path / "mask.nii.gz")
    assert image.shape == (6, 5)
    assert image.header.get_xyzt_units()[0] == unit
    back, geometry = read_nifti_mask(tmp_path / "mask.nii.gz")
    assert np.array_equal(back, mask.voxels)
    assert geometry.spacing_mm == (0.5, 0.25)


def test_a_picture_wider_than_a_nifti_1_header_can_say_is_nifti_2(tmp_path):
    """It was an error of nibabel's."""
    mask = a_mask(Geometry((40000, 2), np.diag([-0.5, -0.5, 1, 1])))
    write_nifti(mask, tmp_path / "mask.nii.gz")
    assert isinstance(nib.load(tmp_path / "mask.nii.gz"), nib.Nifti2Image)
    assert np.array_equal(read_nifti_mask(tmp_path / "mask.nii.gz")[0], mask.voxels)


@pytest.mark.parametrize("source", [True, False])
def test_the_label_table_is_the_first_extension_with_code_0(tmp_path, source):
    volume = read_nifti(save(tmp_path, content()), "scan") if source else None
    mask = a_mask(Geometry(SHAPE, AFFINE))
    write_nifti(mask, tmp_path / "mask.nii.gz", volume)
    image = nib.load(tmp_path / "mask.nii.gz")
    (extension,) = image.header.extensions
    assert extension.get_code() == 0
    assert extension.get_sizeondisk() % 16 == 0
    root = ElementTree.fromstring(extension.get_content().rstrip(b"\0"))
    assert root.tag == "CaretExtension"
    labels = [
        (int(e.get("Key")), e.text, *(float(e.get(c)) for c in ("Red", "Green", "Blue"))) for e in root.iter("Label")
    ]
    assert labels[0][:2] == (0, "background")
    assert [label[:2] for label in labels[1:]] == [(1, "left kidney"), (2, "tumour (T1)")]
    assert labels[1][2:] == pytest.approx((1, 0, 0.2))
    assert labels[2][2:] == pytest.approx((0, 128 / 255, 0), abs=1e-6)
    assert int(image.header["intent_code"]) == 1002
    assert float(image.header["cal_max"]) == 2.0
    assert struct.unpack_from("<2f", unpacked(tmp_path / "mask.nii.gz"), SLOPE) == (1.0, 0.0)


def test_simpleitk_reads_the_same_mask_in_the_same_place(tmp_path):
    affine = np.array([[-0.8, 0, 0, 90], [0, 0, 2.0, -40], [0, -0.8, 0, 60], [0, 0, 0, 1]])
    mask = a_mask(Geometry(SHAPE, affine), np.uint16)
    write_nifti(mask, tmp_path / "mask.nii.gz")
    image = SimpleITK.ReadImage(str(tmp_path / "mask.nii.gz"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image).T, mask.voxels)
    np.testing.assert_allclose(
        image.TransformIndexToPhysicalPoint((2, 1, 3)), (affine @ (2, 1, 3, 1))[:3] * (-1, -1, 1), atol=1e-4
    )


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz"])
def test_the_same_mask_gives_the_same_bytes(tmp_path, name):
    volume = read_nifti(save(tmp_path, content()), "scan")
    for source in (volume, None):
        folders = [tmp_path / f"{n} {source is None}" for n in range(2)]
        for folder in folders:
            write_nifti(a_mask(volume.geometry), folder / name, source)
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
        if name.endswith(".gz"):
            assert (folders[0] / name).read_bytes()[3:8] == bytes(5)  # no name and no time in the gzip header
    assert (folders[0] / name).read_bytes() != (tmp_path / "0 False" / name).read_bytes()


def test_what_the_source_tells_of_itself_does_not_follow_into_the_mask(tmp_path):
    data = edit((148, "80s", b"Doe^Jane 1970"), (228, "24s", b"/home/doe"), (328, "16s", b"Doe"))(content())
    volume = read_nifti(save(tmp_path, data), "scan")
    write_nifti(a_mask(volume.geometry), tmp_path / "mask.nii", volume)
    assert b"oe" not in (tmp_path / "mask.nii").read_bytes()[:352]


# Images out


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_written_image_is_read(tmp_path, name, dtype):
    geometry = Geometry(SHAPE, AFFINE)
    write_nifti_image(VOXELS.astype(dtype), geometry, tmp_path / name)
    volume = read_nifti(tmp_path / name, "a")
    assert volume.geometry == geometry
    assert volume.voxels.dtype == dtype
    assert np.array_equal(volume.voxels[0], VOXELS.astype(dtype))


def test_free_text_of_the_source_is_not_carried_into_its_mask(tmp_path):
    """Header fields where some exporters put the patient's name came out in the mask."""
    image = nib.Nifti1Image(VOXELS, AFFINE)
    for field in ("descrip", "db_name", "data_type", "aux_file", "intent_name"):
        image.header[field] = b"CANARY"
    (tmp_path / "scan.nii").write_bytes(image.to_bytes())
    source = read_nifti(tmp_path / "scan.nii", "scan")
    write_nifti(a_mask(source.geometry), tmp_path / "mask.nii", source)
    assert b"CANARY" not in (tmp_path / "mask.nii").read_bytes()
