"""Compressed pixels: damage is refused or noted, good streams of every kind are read."""

import random
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder

from medseg.domain.errors import InputError, ValueRangeError
from medseg.io import openjpeg
from medseg.io.dicom import read_dicom
from medseg.io.dicom_pixels import read_stored
from medseg.io.stream_j2k import made_to_tell, walk
from medseg.io.stream_jpeg import lossless_fault, walk_jpeg
from medseg.io.stream_rle import RleError, decode_rle
from tests.compressed import (
    LOSSLESS,
    UIDS,
    compressed_series,
    cut_off_and_end,
    cut_out,
    double,
    flip_a_bit,
    in_stream,
    phantom,
    stream_of,
    swap_fragments,
    zero_a_range,
)
from tests.enhanced import enhanced_file
from tests.io.test_dicom import header_of

SLICE = np.ascontiguousarray(phantom().voxels[0, :, :, 4].T.astype(np.uint16))
COMPRESSED = [name for name in UIDS if name != "deflated"]
needs_openjpeg = pytest.mark.skipif(openjpeg.functions() is None, reason="OpenJPEG's functions are hidden")


def put_stream(path, stream):
    dataset = dcmread(path)
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)


def stream_in(path):
    return next(generate_frames(dcmread(path).PixelData, number_of_frames=1))


@pytest.mark.parametrize("name", UIDS)
def test_a_good_series_is_read_without_a_note(tmp_path, name):
    compressed_series(tmp_path / "s", name)
    volume = read_dicom(tmp_path / "s", "case")
    assert all(note.startswith("stored with loss") for note in volume.notes)
    assert name not in LOSSLESS or volume.notes == ()
    if name in LOSSLESS:
        assert np.array_equal(volume.voxels, phantom().voxels)


@pytest.mark.parametrize(
    "name",
    [
        *("JPEG2000", "693_J2KI", "MR_small_jp2klossless", "J2K_pixelrep_mismatch", "JPEGLSNearLossless_16"),
        *("MR_small_jpeg_ls_lossless", "MR_small_RLE", "JPEGLSNearLossless_08"),
    ],
)
def test_streams_of_other_encoders_are_read_as_pydicom_reads_them(name):
    """Kakadu, GDCM 2.0 and 2.3, JasPer, DCMTK."""
    path = get_testdata_file(f"{name}.dcm", download=False)
    if path is None:
        pytest.skip("pydicom came without its sample files")
    dataset = dcmread(path)
    wanted = next(get_decoder(dataset.file_meta.TransferSyntaxUID).iter_array(dataset, raw=True, indices=[0]))[0]
    (pixels,) = read_stored([header_of(Path(path))])
    assert (pixels.astype(np.int64) - wanted).max() % 2**dataset.BitsStored == 0
    assert pixels.shape == wanted.shape


@pytest.mark.parametrize(
    "damage", [cut_off_and_end, cut_out, double, swap_fragments], ids=lambda damage: damage.__name__
)
@pytest.mark.parametrize("name", COMPRESSED)
def test_a_stream_of_another_length_is_refused_by_its_file_or_noted(tmp_path, name, damage):
    files = compressed_series(tmp_path / "s", name)
    whole, data = read_dicom(tmp_path / "s", "case"), files[4].read_bytes()
    for seed in range(4):
        files[4].write_bytes(in_stream(damage)(random.Random(seed), data))
        try:
            volume = read_dicom(tmp_path / "s", "case")
        except InputError as error:
            assert "file 5 of 9" in str(error)  # noqa: PT017
        else:
            changed = (volume.voxels != whole.voxels).mean((0, 1, 2))
            assert changed.max() <= 0.01 or "file 5 of 9" in " ".join(volume.notes), changed


@needs_openjpeg
@pytest.mark.parametrize("name", ["JPEG 2000", "JPEG-LS", "JPEG-LS near", "JPEG lossless", "JPEG lossless SV1"])
def test_a_changed_bit_is_refused_or_changes_at_most_a_hundredth(tmp_path, name):
    """One bit changed up to 89 % of a JPEG 2000 slice, with exit 0."""
    files = compressed_series(tmp_path / "s", name)
    data, refused = files[4].read_bytes(), 0
    for seed in range(25):
        files[4].write_bytes(in_stream(flip_a_bit if seed % 2 else zero_a_range)(random.Random(seed), data))
        try:
            volume = read_dicom(tmp_path / "s", "case")
        except InputError as error:
            assert "file 5 of 9" in str(error)  # noqa: PT017
            refused += 1
        else:
            assert (volume.voxels[..., 4] != phantom().voxels[..., 4]).mean() <= 0.01
    assert refused > 10


def test_every_slice_of_a_series_may_end_its_code_in_a_way_of_its_own_but_not_one(tmp_path):
    """Some encoders fill up the last byte with zeros, where the standard wants ones."""
    name = "JPEG lossless"
    files = compressed_series(tmp_path / "s", name)
    whole = [path.read_bytes() for path in files]
    filled = 0
    for path in files:
        stream = stream_in(path)
        end = stream.rindex(b"\xff\xd9")
        other = stream[: end - 1] + bytes([stream[end - 1] & 0xFE]) + stream[end:]
        found = walk_jpeg(UIDS[name], other, *SLICE.shape, 16)
        pixels = read_stored([header_of(path)])[0]
        if lossless_fault(found, stream, pixels) == ("", 0) and lossless_fault(found, other, pixels) == ("", 1):
            put_stream(path, other)
            filled += 1
    assert filled > 5
    assert np.array_equal(read_dicom(tmp_path / "s", "case").voxels, phantom().voxels)
    odd = next(n for n, path in enumerate(files) if path.read_bytes() != whole[n])
    for n, (path, data) in enumerate(zip(files, whole, strict=True)):
        if n != odd:
            path.write_bytes(data)
    with pytest.raises(InputError, match=rf"file {odd + 1} of 9.* does not end where it must .*1 of 9 slices"):
        read_dicom(tmp_path / "s", "case")


def test_a_stream_with_another_quantisation_than_its_series_is_noted(tmp_path):
    """One entry of its table doubled: valid, and all of its slice is other."""
    files = compressed_series(tmp_path / "s", "JPEG baseline")
    stream = bytearray(stream_in(files[4]))
    stream[stream.index(b"\xff\xdb") + 5] *= 2
    put_stream(files[4], bytes(stream))
    notes = " ".join(read_dicom(tmp_path / "s", "case").notes)
    assert "the stream of file 5 of 9 is coded with other parameters than those of the other 8 slices" in notes


@needs_openjpeg
def test_an_open_ended_part_of_a_tile_is_read_and_one_of_zeros_is_refused(tmp_path):
    """Psot 0 means up to EOC. An empty body was read as a slice of one value."""
    files = compressed_series(tmp_path / "s", "JPEG 2000")
    stream = stream_in(files[4])
    start, body = stream.index(b"\xff\x90"), stream.index(b"\xff\x93") + 2
    open_ended = stream[: start + 6] + bytes(4) + stream[start + 10 : stream.rindex(b"\xff\xd9") + 2]
    for padding in (b"", b"\0"):
        put_stream(files[4], open_ended + padding)
        assert np.array_equal(read_dicom(tmp_path / "s", "case").voxels, phantom().voxels)
    put_stream(files[4], open_ended[:body] + bytes(20) + b"\xff\xd9")
    with pytest.raises(InputError, match=r"file 5 of 9.*its data are 20 zeros"):
        read_dicom(tmp_path / "s", "case")
    compressed_series(tmp_path / "t", "JPEG 2000", lambda pixels: pixels * 0 + 2048)
    assert (read_dicom(tmp_path / "t", "case").voxels == 2048).all()  # without any data, of code


@needs_openjpeg
def test_a_codestream_that_is_made_to_tell_decodes_as_before_and_tells():
    stream = stream_of("JPEG 2000", SLICE)
    found = walk(stream, *SLICE.shape, 16)
    assert (found.fault, found.precision, found.is_signed, found.reversible) == ("", 12, False, True)
    told = openjpeg.decode(made_to_tell(stream, found), SLICE.shape)
    assert np.array_equal(told.pixels + 2048, SLICE)
    assert told.warnings == ()
    middle = len(stream) // 2
    damaged = stream[:middle] + bytes([stream[middle] ^ 16]) + stream[middle + 1 :]
    assert openjpeg.decode(damaged, SLICE.shape).warnings == ()  # the fault as it was
    assert "PTERM" in openjpeg.decode(made_to_tell(damaged, found), SLICE.shape).warnings[0]


@pytest.mark.parametrize("name", ["JPEG 2000", "JPEG 2000 lossy", "HTJ2K"])
def test_where_openjpeg_cannot_be_asked_the_installed_codecs_decode_the_same(tmp_path, monkeypatch, name):
    """On Windows its functions are hidden: streams are still walked, their code is not checked."""
    files = compressed_series(tmp_path / "s", name)
    checked = read_dicom(tmp_path / "s", "case")
    monkeypatch.setattr(openjpeg, "functions", lambda: None)
    assert np.array_equal(read_dicom(tmp_path / "s", "case").voxels, checked.voxels)
    put_stream(files[4], cut_off_and_end(random.Random(1), stream_in(files[4])))
    with pytest.raises(InputError, match="file 5 of 9"):
        read_dicom(tmp_path / "s", "case")


@pytest.mark.parametrize("name", ["RLE", "JPEG 2000", "JPEG-LS", "JPEG lossless"])
def test_frames_of_one_file_are_read_as_slices_and_a_damaged_one_is_named(tmp_path, name):
    volume = phantom()
    path = enhanced_file(tmp_path, [volume])
    dataset = dcmread(path)
    streams = [
        stream_of(name, np.ascontiguousarray(image.T.astype(np.uint16)))
        for image in volume.voxels[0].T.transpose(0, 2, 1)
    ]
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 12, 11
    dataset.file_meta.TransferSyntaxUID = UIDS[name]
    for damaged in (False, True):
        if damaged:
            streams[4] = cut_out(random.Random(3), streams[4])
        dataset.PixelData = encapsulate(streams)
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
        if not damaged:
            assert np.array_equal(read_dicom(path, "case").voxels, volume.voxels)
    with pytest.raises(InputError, match="frame 5"):
        read_dicom(path, "case")


@needs_openjpeg
def test_openjpeg_refuses_what_is_no_image_of_the_shape():
    stream = stream_of("JPEG 2000", SLICE)
    for broken, shape in ((stream, (3, 4)), (b"no codestream", SLICE.shape), (stream[:100], SLICE.shape)):
        with pytest.raises(openjpeg.OpenJpegError):
            openjpeg.decode(broken, shape)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s[2:], "does not begin"),
        (lambda s: s[:11] + b"\x51" + s[12:], "instead of 80 x 96"),
        (lambda s: s[:42] + b"\x1f" + s[43:], "32 bits a pixel, 16 are allocated"),
        (lambda s: s[:41] + b"\x02" + s[42:], "one grey component"),
        (lambda s: s.replace(b"\xff\x52", b"\xff\x42"), "no known segment"),
        (lambda s: s[: s.index(b"\xff\x52") + 9] + b"\x04" + s[s.index(b"\xff\x52") + 10 :], "do not belong together"),
        (lambda s: s[: s.index(b"\xff\x52") + 13] + b"\0" + s[s.index(b"\xff\x52") + 14 :], "do not belong together"),
        (lambda s: s[: s.index(b"\xff\x90") + 5] + b"\x07" + s[s.index(b"\xff\x90") + 6 :], "not in turn"),
        (
            lambda s: s[: s.index(b"\xff\x93") + 9] + b"\xff\xb0" + s[s.index(b"\xff\x93") + 11 :],
            "FFB0.*among its data",
        ),
        (lambda s: s[:-40] + s[-20:], "ends at byte"),
        (lambda s: s[:-2] + b"\0\0\xff\xd9", "no part of a tile begins"),
    ],
)
def test_a_codestream_is_walked_marker_by_marker(change, words):
    import re

    stream = stream_of("JPEG 2000", SLICE)
    assert walk(stream, *SLICE.shape, 16).fault == ""
    assert re.search(words, walk(change(stream), *SLICE.shape, 16).fault)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s[1:], "does not begin"),
        (lambda s: s.replace(b"\xff\xc3", b"\xff\xc8"), "unknown marker"),
        (lambda s: s[:7] + b"\0\x61" + s[9:], "instead of 80 x 96"),
        (lambda s: s[:6] + b"\x11" + s[7:], "17 bits"),
        (lambda s: s[: s.index(b"\xff\xc4") + 5] + b"\x7f" + s[s.index(b"\xff\xc4") + 6 :], "Huffman table is damaged"),
        (lambda s: s[: s.index(b"\xff\xda") + 7] + b"\x09" + s[s.index(b"\xff\xda") + 8 :], "scan header"),
        (lambda s: s[:-100] + b"\xff\xd3" + s[-98:], "restart markers"),
        (lambda s: s[:-2], "cut off"),
        (lambda s: s[: s.index(b"\xff\xda")] + b"\xff\xd9", "no image"),
    ],
)
def test_a_jpeg_stream_is_walked_marker_by_marker(change, words):
    stream, uid = stream_of("JPEG lossless", SLICE), UIDS["JPEG lossless"]
    assert walk_jpeg(uid, stream, *SLICE.shape, 16).fault == ""
    assert words in walk_jpeg(uid, change(stream), *SLICE.shape, 16).fault


def test_run_lengths_fill_their_planes_exactly_by_hand():
    """Two rows of three: a run of 7, and 1 2 3 as they are."""
    rows = b"\xfe\x07" + b"\x02\x01\x02\x03"
    head = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    assert decode_rle(head + rows, 2, 3, 1).tolist() == [[[7, 7, 7], [1, 2, 3]]]
    assert decode_rle(head + rows + b"\0", 2, 3, 1).tolist() == [[[7, 7, 7], [1, 2, 3]]]
    for broken, words in (
        (head + rows[:-1], "decodes to 5 bytes of 6"),
        (head + rows[:-2], "decodes to 4 bytes of 6"),
        (head + b"\xff" + rows[1:], "decodes to 5 bytes of 6"),
        (head + b"\xfd" + rows[1:], "decodes to 7 bytes of 6"),
        (head + rows + b"\x08" + bytes(9), "decodes to 15 bytes of 6"),
        (head[4:] + rows, "segments instead of 1"),
        (head[:4] + (65).to_bytes(4, "little") + head[8:] + rows, "do not follow"),
    ):
        with pytest.raises(RleError, match=words):
            decode_rle(broken, 2, 3, 1)


def with_overlay(pixels):
    """A cross in bit 12 and a square in bit 15."""
    pixels = pixels.copy()
    pixels[40, 20:60] |= 1 << 12
    pixels[10:30, 10:30] |= 1 << 15
    return pixels


@pytest.mark.parametrize(
    "name", ["raw", "RLE", "JPEG 2000", "JPEG-LS", "JPEG lossless", "JPEG lossless SV1", "deflated"]
)
def test_overlays_in_the_high_bits_are_masked(tmp_path, name):
    compressed_series(tmp_path / "s", name, with_overlay)
    volume = read_dicom(tmp_path / "s", "case")
    assert np.array_equal(volume.voxels, phantom().voxels)
    assert volume.notes == ("9 of 9 slices had bits set above the 12 stored ones (overlays); they were masked",)


@pytest.mark.parametrize("name", ["raw", "RLE", "JPEG 2000", "JPEG-LS", "JPEG lossless"])
def test_the_sign_of_stored_bits_is_kept_under_an_overlay(tmp_path, name):
    """The phantom less 1000 in 12 signed bits, whose negative values have bit 11 as their highest."""
    low = lambda pixels: ((pixels.astype(np.int32) - 1000).clip(-2048, 2047) & 0xFFF).astype(np.uint16)  # noqa: E731
    for path in compressed_series(tmp_path / "s", name, lambda pixels: with_overlay(low(pixels))):
        dataset = dcmread(path)
        dataset.PixelRepresentation = 1
        dataset.save_as(path)
    volume = read_dicom(tmp_path / "s", "case")
    assert np.array_equal(volume.voxels, (phantom().voxels - 1000).clip(-2048, 2047))


def test_declared_padding_above_the_stored_bits_stays_and_values_there_are_refused(tmp_path):
    def padded(pixels):
        pixels = pixels.copy()
        pixels[:5] = 63536
        return pixels

    for path in compressed_series(tmp_path / "s", "raw", padded):
        dataset = dcmread(path)
        dataset.add_new("PixelPaddingValue", "US", 63536)
        dataset.save_as(path)
    assert (read_dicom(tmp_path / "s", "case").voxels[0, :, :5] == 0).all()
    compressed_series(tmp_path / "t", "raw", lambda pixels: pixels * 3)
    with pytest.raises(ValueRangeError, match="its BitsStored is 12"):
        read_dicom(tmp_path / "t", "case")
