import itertools
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import skimage.io
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from medseg.domain.errors import InputError, UsageError, ValueRangeError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelMap, LabelTable
from medseg.io.picture import read_picture, read_picture_mask, write_picture_mask

TABLE = LabelTable((Label(1, "nucleus", (255, 0, 0)),), kind="instances")
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)  # rows, columns
GREY_16 = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
COLOUR_16 = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
STACK = RNG.integers(0, 256, (4, 5, 7), dtype=np.uint8)
keep_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


def xy(stored):
    """(rows, columns[, C]) to (C, X, Y)."""
    return stored.reshape(*stored.shape[:2], -1).transpose(2, 1, 0)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(path, width, height, bits, kind, rows, extra=b""):
    """A PNG put together by hand: rows are bytes, without filter."""
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
    return path


def tiff(path, values, **options):
    tifffile.imwrite(path, values, **{"photometric": "minisblack", "metadata": None} | options)
    return path


# Pictures


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("stored", [GREY, GREY_16, COLOUR, COLOUR_16], ids=["grey", "grey16", "rgb", "rgb16"])
def test_index_i_runs_along_a_row(tmp_path, ending, stored):
    path = tmp_path / f"a{ending}"
    if ending == ".tif":
        tiff(path, stored, photometric="rgb" if stored.ndim == 3 else "minisblack")
    else:
        sitk.WriteImage(sitk.GetImageFromArray(stored, isVector=stored.ndim == 3), str(path))
    volume = read_picture(path, "a")
    np.testing.assert_array_equal(volume.voxels, xy(stored))
    assert volume.voxels.dtype == stored.dtype
    assert volume.geometry == Geometry((7, 5), np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert not volume.geometry.calibrated
    assert (volume.case, volume.notes) == ("a", ())


def test_other_readers_agree(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(COLOUR).save(path)
    voxels = read_picture(path, "a").voxels
    np.testing.assert_array_equal(voxels, xy(skimage.io.imread(path)))
    theirs = sitk.ReadImage(str(path))
    assert tuple(voxels[:, 6, 2]) == theirs[6, 2]
    assert theirs.GetDirection() == (1, 0, 0, 1)  # LPS identity is diag(-1, -1) in RAS


def test_content_counts_and_not_the_ending(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(GREY).save(path, format="PNG")
    np.testing.assert_array_equal(read_picture(path, "a").voxels, xy(GREY))


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_opaque_alpha_is_dropped_with_a_note_and_transparency_refused(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    opaque = np.dstack((COLOUR, np.full((5, 7), 255, np.uint8)))
    Image.fromarray(opaque).save(path)
    volume = read_picture(path, "a")
    np.testing.assert_array_equal(volume.voxels, xy(COLOUR))
    assert volume.notes == ("opaque alpha channel dropped",)
    opaque[1, 1, 3] = 254
    Image.fromarray(opaque).save(path)
    with pytest.raises(InputError, match=r"1 pixels are transparent"):
        read_picture(path, "a")


def test_grey_with_opaque_alpha(tmp_path):
    stored = np.dstack((GREY, np.full((5, 7), 255, np.uint8)))
    Image.fromarray(stored).save(tmp_path / "a.png")
    tiff(tmp_path / "a.tif", stored, extrasamples=["unassalpha"], planarconfig="contig")
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(read_picture(tmp_path / name, "a").voxels, xy(GREY))


def test_a_colour_that_means_transparent_is_refused_where_it_occurs(tmp_path):
    rows = [bytes(row) for row in GREY // 2]
    absent = png(tmp_path / "a.png", 7, 5, 8, 0, rows, chunk(b"tRNS", struct.pack(">H", 200)))
    np.testing.assert_array_equal(read_picture(absent, "a").voxels, xy(GREY // 2))
    present = png(tmp_path / "b.png", 7, 5, 8, 0, rows, chunk(b"tRNS", struct.pack(">H", GREY[2, 2] // 2)))
    with pytest.raises(InputError, match="means transparent"):
        read_picture(present, "a")


@pytest.mark.parametrize(("bits", "row"), [(1, [0b01010000]), (2, [0b00011011]), (4, [0x0F, 0x71])])
def test_low_bit_depths_run_from_0_to_255_in_images_and_as_stored_in_masks(tmp_path, bits, row):
    path = png(tmp_path / "a.png", 4, 1, bits, 0, [bytes(row)])
    stored = {1: [0, 1, 0, 1], 2: [0, 1, 2, 3], 4: [0, 15, 7, 1]}[bits]
    assert read_picture_mask(path)[:, 0].tolist() == stored
    seen = read_picture(path, "a").voxels
    assert seen.dtype == np.uint8
    assert seen[0, :, 0].tolist() == [v * 255 // (2**bits - 1) for v in stored]


def test_one_bit_tiff(tmp_path):
    path = tiff(tmp_path / "a.tif", GREY > 100, bitspersample=1)
    np.testing.assert_array_equal(read_picture(path, "a").voxels, 255 * xy(GREY > 100))
    np.testing.assert_array_equal(read_picture_mask(path), (GREY > 100).T)


def test_a_palette_is_colours_in_an_image_and_indices_in_a_mask(tmp_path):
    picture = Image.fromarray(GREY % 3)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 128, 0])
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 128, 0]], np.uint8)
    for name in ("a.png", "a.tif"):
        picture.save(tmp_path / name)
        volume = read_picture(tmp_path / name, "a")
        np.testing.assert_array_equal(volume.voxels, xy(colours[GREY % 3]))
        assert volume.notes == ("palette expanded",)
        np.testing.assert_array_equal(read_picture_mask(tmp_path / name), (GREY % 3).T)


def test_a_palette_of_greys_is_a_grey_picture(tmp_path):
    picture = Image.fromarray(GREY % 2)
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png", "a").voxels, 255 * xy(GREY % 2))
    np.testing.assert_array_equal(read_picture_mask(tmp_path / "a.png"), 255 * (GREY % 2).T)


def test_a_transparent_palette_colour_matters_only_to_images(tmp_path):
    picture = Image.fromarray(GREY % 3)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 128, 0])
    picture.save(tmp_path / "a.png", transparency=0)
    np.testing.assert_array_equal(read_picture_mask(tmp_path / "a.png"), (GREY % 3).T)
    with pytest.raises(InputError, match="transparent"):
        read_picture(tmp_path / "a.png", "a")


def test_white_as_zero_is_inverted_in_images_and_refused_in_masks(tmp_path):
    path = tiff(tmp_path / "a.tif", GREY_16, photometric="miniswhite")
    volume = read_picture(path, "a")
    np.testing.assert_array_equal(volume.voxels, 65535 - xy(GREY_16))
    assert "inverted" in volume.notes[0]
    with pytest.raises(InputError, match="white as zero"):
        read_picture_mask(path)


@pytest.mark.parametrize("compression", [None, "zlib", "lzma"])
def test_compressions(tmp_path, compression):
    path = tiff(tmp_path / "a.tif", GREY_16, compression=compression)
    np.testing.assert_array_equal(read_picture(path, "a").voxels, xy(GREY_16))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits"])
@pytest.mark.parametrize("stored", [GREY, GREY_16, COLOUR], ids=["grey", "grey16", "rgb"])
def test_compressions_that_pillow_writes(tmp_path, stored, compression):
    Image.fromarray(stored).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif", "a").voxels, xy(stored))


def test_an_lzw_stack(tmp_path):
    first, *others = map(Image.fromarray, STACK)
    first.save(tmp_path / "a.tif", compression="tiff_lzw", save_all=True, append_images=others)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif", "a").voxels[0], STACK.T)


def test_tiles_planes_of_colour_and_big_endian(tmp_path):
    large = np.kron(COLOUR, np.ones((9, 9, 1), np.uint8))
    tiled = tiff(tmp_path / "a.tif", large, photometric="rgb", tile=(16, 16), compression="zlib", predictor=True)
    planar = tiff(tmp_path / "b.tif", np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate")
    swapped = tiff(tmp_path / "c.tif", GREY_16, byteorder=">")
    np.testing.assert_array_equal(read_picture(tiled, "a").voxels, xy(large))
    np.testing.assert_array_equal(read_picture(planar, "a").voxels, xy(COLOUR))
    np.testing.assert_array_equal(read_picture(swapped, "a").voxels, xy(GREY_16))


def test_a_float_picture_is_read_and_one_with_nan_refused(tmp_path):
    values = GREY.astype(np.float32) / 7
    np.testing.assert_array_equal(read_picture(tiff(tmp_path / "a.tif", values), "a").voxels, xy(values))
    values[2, 2] = values[0, 0] = np.nan
    with pytest.raises(ValueRangeError, match="2 of 35 voxels are NaN"):
        read_picture(tiff(tmp_path / "a.tif", values), "a")
    filled = read_picture(tiff(tmp_path / "b.tif", values), "b", nan_fill=3)
    np.testing.assert_array_equal(filled.voxels, xy(np.nan_to_num(values, nan=3)))
    assert filled.notes == ("2 of 35 voxels were NaN or infinite and became 3, as told",)


# Pixel sizes


def test_ome_and_imagej_state_the_pixel_size(tmp_path):
    ome = {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 500.0, "PhysicalSizeYUnit": "nm"}
    path = tiff(tmp_path / "a.ome.tif", GREY, metadata={"axes": "YX", **ome})
    geometry = read_picture(path, "a").geometry
    assert geometry.calibrated
    assert geometry.spacing_mm == pytest.approx((0.00025, 0.0005))
    path = tiff(tmp_path / "a.tif", GREY, imagej=True, resolution=(4.0, 2.0), metadata={"unit": "micron"})
    assert read_picture(path, "a").geometry.spacing_mm == pytest.approx((0.00025, 0.0005))


@pytest.mark.parametrize("unit", ["INCH", "CENTIMETER"])
def test_dots_per_inch_are_no_pixel_size(tmp_path, unit):
    path = tiff(tmp_path / "a.tif", GREY, resolution=(300, 300), resolutionunit=unit)
    Image.fromarray(GREY).save(tmp_path / "a.png", dpi=(300, 300))
    kept = tiff(tmp_path / "b.tif", GREY, imagej=True, resolution=(72, 72), metadata={"unit": "inch"})
    for picture in (path, tmp_path / "a.png", kept):
        geometry = read_picture(picture, "a").geometry
        assert (geometry.calibrated, geometry.spacing_mm) == (False, (1, 1))


@pytest.mark.parametrize(
    "metadata", [{"PhysicalSizeX": 0.5}, {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeXUnit": "pixel"}]
)
def test_half_a_pixel_size_is_none(tmp_path, metadata):
    path = tiff(tmp_path / "a.ome.tif", GREY, metadata={"axes": "YX", **metadata})
    assert not read_picture(path, "a").geometry.calibrated


def test_stacks(tmp_path):
    imagej = {"axes": "ZYX", "unit": "um", "spacing": 2.0}
    path = tiff(tmp_path / "a.tif", STACK, imagej=True, resolution=(4.0, 2.0), metadata=imagej)
    volume = read_picture(path, "a")
    np.testing.assert_array_equal(volume.voxels[0], STACK.T)
    assert volume.geometry.calibrated
    np.testing.assert_allclose(volume.geometry.affine_ras, np.diag([-0.00025, -0.0005, 0.002, 1]))


def test_a_stack_of_unknown_plane_distance_is_not_calibrated(tmp_path):
    imagej = {"axes": "ZYX", "unit": "um"}
    path = tiff(tmp_path / "a.tif", STACK, imagej=True, resolution=(4.0, 2.0), metadata=imagej)
    volume = read_picture(path, "a")
    assert (volume.geometry.calibrated, volume.geometry.spacing_mm) == (False, (1, 1, 1))


def test_pages_are_planes_with_a_note(tmp_path):
    volume = read_picture(tiff(tmp_path / "a.tif", STACK), "a")
    np.testing.assert_array_equal(volume.voxels[0], STACK.T)
    assert volume.notes == ("pages taken as planes of a stack",)


def test_channels_of_a_stack(tmp_path):
    stored = RNG.integers(0, 255, (4, 2, 5, 7), dtype=np.uint8)
    volume = read_picture(tiff(tmp_path / "a.tif", stored, imagej=True, metadata={"axes": "ZCYX"}), "a")
    np.testing.assert_array_equal(volume.voxels, stored.transpose(1, 3, 2, 0))


# Refusals


def animation(path):
    first, *others = map(Image.fromarray, STACK)
    first.save(path, format="PNG", save_all=True, append_images=others)


def turned(path, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY).save(path, format=kind, exif=exif)


def cmyk(path):
    Image.new("CMYK", (7, 5), (1, 2, 3, 4)).save(path, format="TIFF")


def two_sizes(path):
    with tifffile.TiffWriter(path) as file:
        file.write(GREY, photometric="minisblack", metadata=None)
        file.write(GREY[:3], photometric="minisblack", metadata=None)


def pages_of_colour(path):
    tiff(path, RNG.integers(0, 255, (2, 5, 7, 3), dtype=np.uint8), photometric="rgb")


def bomb(path):
    png(path, 100_000, 100_000, 8, 2, [b"\0"])


def tiff_bomb(path):
    tiff(path, GREY, compression="zlib")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tag = file.pages[0].tags[name]
            content[tag.valueoffset : tag.valueoffset + 4] = struct.pack(
                "<I" if tag.dtype == 4 else "<HH", 60_000, *[0] * (tag.dtype == 3)
            )
    path.write_bytes(content)


REFUSALS = {
    "empty": (lambda p: p.write_bytes(b""), "but empty"),
    "text": (lambda p: p.write_text("<html>"), "not a PNG or TIFF"),
    "jpeg": (lambda p: Image.fromarray(GREY).save(p, format="JPEG"), "JPEG, which alters values"),
    "animation": (animation, "animation of 4 frames"),
    "turned png": (lambda p: turned(p, "PNG"), "orientation 6"),
    "turned tiff": (lambda p: turned(p, "TIFF"), "orientation 6"),
    "cmyk": (cmyk, "neither grey nor RGB"),
    "five channels": (
        lambda p: tiff(p, np.ones((5, 5, 7), np.uint8), imagej=True, metadata={"axes": "CYX"}),
        "5 channels, of which at most 4",
    ),
    "time series": (lambda p: tiff(p, STACK, imagej=True, metadata={"axes": "TYX"}), "time series"),
    "two sizes": (two_sizes, "2 separate images"),
    "pages of colour": (pages_of_colour, "neither one picture nor one grey stack"),
    "complex": (lambda p: tiff(p, GREY.astype(np.complex64)), "samples are not read"),
    "no rows": (lambda p: png(p, 7, 0, 8, 0, []), "has no pixels"),
    "png bomb": (bomb, "27.9 GiB of pixels"),
    "tiff bomb": (tiff_bomb, "3.4 GiB of pixels"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_with_the_file_the_reason_and_one_line(tmp_path, name):
    make, reason = REFUSALS[name]
    path = tmp_path / "some picture"
    make(path)
    for read in (lambda p: read_picture(p, "a"), read_picture_mask):
        with pytest.raises(InputError, match=reason) as refusal:
            read(path)
        assert str(refusal.value).startswith(f"{path}: ")
        assert "\n" not in str(refusal.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_picture(tmp_path / "a.png", "a")


def test_planes_in_another_file_are_refused(tmp_path):
    whole = tmp_path / "a.ome.tif"
    tiff(whole, STACK, metadata={"axes": "ZYX"})
    whole.write_bytes(whole.read_bytes().replace(b'SizeZ="4"', b'SizeZ="6"'))
    with pytest.raises(InputError, match=r"^.*2 of 6 planes"):
        read_picture(whole, "a")


def test_pages_that_lead_in_a_circle_are_refused(tmp_path):
    """tifffile followed such a chain for minutes."""
    path = tiff(tmp_path / "a.tif", STACK)
    with tifffile.TiffFile(path) as file:
        first, second = (page.offset for page in file.pages[:2])
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", second), struct.pack("<I", first), 1))
    with pytest.raises(InputError, match="page 2 leads back to an earlier one"):
        read_picture(path, "a")


def test_big_tiff_is_read(tmp_path):
    path = tiff(tmp_path / "a.tif", STACK, bigtiff=True)
    np.testing.assert_array_equal(read_picture(path, "a").voxels[0], STACK.T)


def sources(folder):
    """One small file of every kind whose damage must be found."""
    folder.mkdir(exist_ok=True)
    Image.fromarray(COLOUR).save(folder / "a.png")
    sitk.WriteImage(sitk.GetImageFromArray(COLOUR_16, isVector=True), str(folder / "b.png"))
    tiff(folder / "c.tif", GREY_16)
    tiff(folder / "d.tif", STACK, compression="zlib")
    tiff(folder / "e.tif", STACK, imagej=True, metadata={"axes": "ZYX"})
    tiff(folder / "f.tif", STACK)
    Image.fromarray(COLOUR).save(folder / "g.tif", compression="tiff_lzw")
    return sorted(folder.iterdir())


def test_a_file_cut_anywhere_is_refused(tmp_path):
    for source in sources(tmp_path / "whole"):
        content = source.read_bytes()
        whole = read_picture(source, "a").voxels
        for length in itertools.chain(range(0, len(content), max(1, len(content) // 40)), [len(content) - 1]):
            path = tmp_path / "cut"
            path.write_bytes(content[:length])
            try:
                voxels = read_picture(path, "a").voxels
            except InputError:
                continue
            assert np.array_equal(voxels, whole), (source.name, length)  # only what is no pixel was cut


def test_a_flipped_bit_in_a_png_is_found(tmp_path):
    source = tmp_path / "a.png"
    Image.fromarray(COLOUR).save(source)
    content = source.read_bytes()
    for place in range(8, len(content) - 12):  # the end chunk holds nothing that could be wrong
        damaged = bytearray(content)
        damaged[place] ^= 4
        source.write_bytes(damaged)
        with pytest.raises(InputError):
            read_picture(source, "a")


@keep_folder
@given(st.integers(0, 6), st.integers(0, 400), st.integers(0, 255))
def test_damage_is_a_refusal_or_a_picture_and_never_a_crash(tmp_path, which, place, value):
    content = bytearray(sources(tmp_path / "whole")[which].read_bytes())
    content[place % len(content)] = value
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with suppress(InputError):
        read_picture(path, "a")


# Masks


def test_a_mask_in_grey_colours_or_whole_floats_is_a_mask(tmp_path):
    Image.fromarray(np.repeat(GREY[..., None], 3, -1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture_mask(tmp_path / "a.png"), GREY.T)
    mask = read_picture_mask(tiff(tmp_path / "a.tif", GREY_16.astype(np.float32)))
    np.testing.assert_array_equal(mask, GREY_16.T)
    assert mask.dtype == np.uint16


@pytest.mark.parametrize("value", [-1, 0.5, 65536, np.nan])
def test_a_mask_holds_whole_numbers_of_16_bits(tmp_path, value):
    path = tiff(tmp_path / "a.tif", np.full((3, 3), value, np.float32))
    with pytest.raises(ValueRangeError, match="whole numbers of 0 to 65535"):
        read_picture_mask(path)


def test_a_colour_mask_is_refused(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="this file colours"):
        read_picture_mask(tmp_path / "a.png")


masks = st.sampled_from([np.uint8, np.uint16])


@keep_folder
@given(
    masks.flatmap(lambda d: arrays(d, array_shapes(min_dims=2, max_dims=2, max_side=9))),
    st.sampled_from([".png", ".tif", ".TIFF"]),
)
def test_written_masks_come_back_and_other_readers_agree(tmp_path, voxels, ending):
    path = tmp_path / f"a{ending}"
    geometry = Geometry(voxels.shape, np.diag([-0.00025, -0.0005, 1, 1]))
    write_picture_mask(LabelMap(voxels, geometry, TABLE), path)
    back = read_picture_mask(path)
    np.testing.assert_array_equal(back, voxels)
    assert back.dtype == (np.uint16 if voxels.max() > 255 else np.uint8)
    np.testing.assert_array_equal(skimage.io.imread(path), voxels.T)
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(theirs, voxels.T)
    assert theirs.dtype == back.dtype
    assert sorted(tmp_path.iterdir()) == [path]
    path.unlink()


@keep_folder
@given(
    masks.flatmap(lambda d: arrays(d, array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=6))),
    st.tuples(*[st.sampled_from([0.00025, 0.00032, 0.7, 2.5])] * 3),
)
def test_written_stacks_come_back_with_their_spacing(tmp_path, voxels, spacing_mm):
    path = tmp_path / "a.tif"
    geometry = Geometry(voxels.shape, np.diag([*spacing_mm, 1]) * [-1, -1, 1, 1])
    write_picture_mask(LabelMap(voxels, geometry, TABLE), path)
    np.testing.assert_array_equal(read_picture_mask(path), voxels)
    back = read_picture(path, "a").geometry
    assert back.calibrated
    assert back.spacing_mm == pytest.approx(geometry.spacing_mm, rel=1e-7)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), voxels.T)


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 4), (3, 3, 3), (1, 4)])
def test_a_mask_of_unknown_pixel_size_stays_so(tmp_path, shape):
    voxels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    write_picture_mask(LabelMap(voxels, Geometry(shape, affine, calibrated=False), TABLE), tmp_path / "a.tif")
    volume = read_picture(tmp_path / "a.tif", "a")
    np.testing.assert_array_equal(volume.voxels[0], voxels)
    assert not volume.geometry.calibrated


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_the_same_mask_gives_the_same_bytes(tmp_path, ending):
    paths = [tmp_path / f"{name}{ending}" for name in "ab"]
    for path in paths:
        write_picture_mask(LabelMap(GREY_16.T.copy(), Geometry((7, 5), np.eye(4)), TABLE), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(("name", "shape"), [("a.jpg", (4, 4)), ("a", (4, 4)), ("a.png", (4, 4, 4))])
def test_a_mask_finds_no_place_in_other_files(tmp_path, name, shape):
    with pytest.raises(UsageError, match=r"\.tiff? or|a PNG holds one plane"):
        write_picture_mask(LabelMap(np.ones(shape, np.uint8), Geometry(shape, np.eye(4)), TABLE), tmp_path / name)
    assert not list(Path(tmp_path).iterdir())
