"""A DICOM series of three slices, element by element."""

from __future__ import annotations

import io
import random
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.datadict import tag_for_keyword
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.io.dicom_quantities import QUANTITIES
from medseg.io.dicom_write import write_series
from tests.enhanced import enhanced_file
from tests.fuzz.harness import Gate
from tests.fuzz.mutate import GENERIC, number_of
from tests.inputs.dicom_made import PET, drug
from tests.phantoms import edit_dicom
from tests.projections import radiograph

_LONG = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UR", b"UT", b"UN", b"SV", b"UV"}
_TEXTS = (
    *(b"", b"'; DROP", b"../.."),
    *rb"0 -1 1 1e400 nan x 0\0\0 1\0\0\0\1\0 1\0\0\1\0\0 99999999999 0.5\0 2\2\2 0001-01-01".split(),
    *b"MR CT SEG LOCALIZER MONOCHROME1 RGB 1.2.840.10008.1.2.5 1.2.840.10008.1.2.4.70 \xff\xfe".split(),
)
_MEANT = {
    struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    for tag in map(tag_for_keyword, ("RescaleType", "PatientName", "PatientID", *QUANTITIES))
    if tag is not None
}
Element = tuple[bytes, bytes, bytes]  # tag (4 bytes), VR, value


def _elements(change: Callable[[random.Random, list[Element]], None]) -> Callable[[random.Random, bytes], bytes]:
    """A change of the list of elements behind the file meta of an explicit little-endian file."""

    def edit(rng: random.Random, data: bytes) -> bytes:
        parsed = _parse(data)
        if parsed is None:
            return data
        start, elements = parsed
        change(rng, elements)
        return data[:start] + b"".join(map(_encode, elements))

    edit.__name__ = change.__name__
    return edit


def _parse(data: bytes) -> tuple[int, list[Element]] | None:
    """Where the dataset starts and its elements; None for other encodings or where an earlier change did damage."""
    if data[128:132] != b"DICM" or b"1.2.840.10008.1.2.1\0" not in data[:400]:
        return None
    (length,) = struct.unpack_from("<I", data, 140)
    start = place = 144 + length
    elements = []
    while place + 8 <= len(data):
        tag, vr = data[place : place + 4], data[place + 4 : place + 6]
        if vr in _LONG:
            if place + 12 > len(data):
                return None
            (size,) = struct.unpack_from("<I", data, place + 8)
            head = 12
        else:
            (size,) = struct.unpack_from("<H", data, place + 6)
            head = 8
        if place + head + size > len(data):
            return None
        elements.append((tag, vr, data[place + head : place + head + size]))
        place += head + size
    return (start, elements) if elements else None


def _encode(element: Element) -> bytes:
    tag, vr, value = element
    value += bytes(len(value) % 2)
    if vr in _LONG:
        return tag + vr + b"\0\0" + struct.pack("<I", len(value)) + value
    return tag + vr + struct.pack("<H", len(value) % 65536) + value


def delete_an_element(rng: random.Random, elements: list[Element]) -> None:
    del elements[rng.randrange(len(elements))]


def double_an_element(rng: random.Random, elements: list[Element]) -> None:
    elements.insert(rng.randrange(len(elements) + 1), rng.choice(elements))


def swap_elements(rng: random.Random, elements: list[Element]) -> None:
    if len(elements) > 1:
        a, b = rng.sample(range(len(elements)), 2)
        elements[a], elements[b] = elements[b], elements[a]


def set_a_value(rng: random.Random, elements: list[Element]) -> None:
    place = rng.randrange(len(elements))
    tag, vr, _ = elements[place]
    number = struct.pack("<H", int(number_of(rng, "H")))
    elements[place] = tag, vr, number if vr in (b"US", b"SS") else rng.choice(_TEXTS)


def set_a_vr(rng: random.Random, elements: list[Element]) -> None:
    place = rng.randrange(len(elements))
    tag, _, value = elements[place]
    vr = rng.choice((b"DS", b"IS", b"US", b"SS", b"FL", b"FD", b"LO", b"SQ", b"UN", b"OB", b"PN", b"AT", b"UT", b"??"))
    elements[place] = tag, vr, value


def add_nested_sequences(rng: random.Random, elements: list[Element]) -> None:
    depth = rng.choice((1, 5, 50, 400))
    item, close = b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0"
    head, end = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0\0\0\0\0"
    nested = (item + head) * depth + (end + close) * depth
    elements.insert(rng.randrange(len(elements)), (b"\x08\x00\x40\x11", b"SQ", nested))


def set_words(rng: random.Random, elements: list[Element]) -> None:
    """Set names and descriptions, but for the unit of the values (RescaleType), and for what tells patients and
    measurements of one series apart.
    """
    words = (b"PN", b"LO", b"SH")
    places = [n for n, (tag, vr, _) in enumerate(elements) if vr in words and tag not in _MEANT]
    if places:
        place = rng.choice(places)
        elements[place] = (*elements[place][:2], bytes(rng.choices(range(65, 91), k=rng.randrange(0, 40))))


def add_a_private_element(rng: random.Random, elements: list[Element]) -> None:
    tags = {tag for tag, _, _ in elements}
    new = [
        (b"\x09\x00\x10\x00", b"LO", b"MEDSEG"),
        (b"\x09\x00\x01\x10", b"LO", bytes(rng.choices(range(65, 91), k=9))),
    ]
    if not tags & {tag for tag, _, _ in new}:
        place = next(n for n, (tag, _, _) in enumerate([*elements, (b"\xff" * 4, b"", b"")]) if tag[:2] > b"\x08\x00")
        elements[place:place] = new


def add_padding_behind(rng: random.Random, elements: list[Element]) -> None:
    if elements[-1][0] != b"\xfc\xff\xfc\xff":
        elements.append((b"\xfc\xff\xfc\xff", b"OB", bytes(2 * rng.randrange(50))))


def set_the_preamble(rng: random.Random, data: bytes) -> bytes:
    return rng.randbytes(128) + data[128:] if data[128:132] == b"DICM" else data


def _volume() -> Volume:
    i, j, k = np.indices((4, 5, 3))
    voxels = (i + 10 * j + 100 * k - 50).astype(np.int16)[None]
    return Volume(voxels, Geometry((4, 5, 3), np.diag([0.5, 0.75, 2, 1])), "s")


def _series(change: Callable[[Path], None] = lambda path: None, modality: str = "MR") -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        paths = write_series(_volume(), Path(folder) / "s", modality=modality, seed="fuzz").paths
        for path in paths:
            change(path)
        return {path.name: path.read_bytes() for path in paths}


def _as(syntax: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        dataset = dcmread(path)
        if syntax == RLELossless:
            dataset.compress(RLELossless)
            dataset.save_as(path)
            return
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = dataset.pixel_array.astype(">i2").tobytes()
        little = syntax != ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = syntax
        stream = io.BytesIO()
        dcmwrite(
            stream, dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=little, force_encoding=True
        )
        path.write_bytes(stream.getvalue())

    return change


def _radiograph() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "radiograph.dcm"
        radiograph(path, np.arange(20).reshape(4, 5) * 200)
        return {path.name: path.read_bytes()}


def _enhanced() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = enhanced_file(Path(folder), [_volume()], slopes=(1, 2, 3))
        return {path.name: path.read_bytes()}


def _pet(path: Path) -> None:
    edit_dicom(path, **PET)
    drug()([path])


def _padded(path: Path) -> None:
    edit_dicom(path, change=lambda dataset: dataset.add_new("PixelPaddingValue", "SS", 100), RescaleIntercept="-1900")


def gate() -> Gate:
    """Explicit (twice, because its elements are known), implicit, big-endian, run-length encoded; PET, CT with padding,
    many frames in one file, a projection.
    """
    seeds = (
        _series(),
        _series(),
        _radiograph(),
        _enhanced(),
        _series(_pet),
        _series(_padded, "CT"),
        *(_series(_as(s)) for s in (ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless)),
    )
    edits = (delete_an_element, double_an_element, swap_elements, set_a_value, set_a_value, set_a_vr)
    harmful = (*GENERIC, *map(_elements, (*edits, add_nested_sequences)))
    fine = (*map(_elements, (set_words, add_a_private_element, add_padding_behind)), set_the_preamble)
    return Gate("dicom", seeds, harmful, fine)
