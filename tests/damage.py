"""Damages to the files of a DICOM series, five slices or more, and harmless changes that look like them."""

import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

from pydicom import Dataset, Sequence, dcmread
from pydicom.encaps import encapsulate, generate_fragments
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from tests.phantoms import edit_all, edit_dicom, move_slice, set_raw

Files = list[Path]
Damage = Callable[[Files], object]


def unlink(*which: int) -> Damage:
    return lambda files: [files[n].unlink() for n in which]


def shift(*mm: float, which: int = 2) -> Damage:
    return lambda files: move_slice(files[which], mm)


def lean(mm: float) -> Damage:
    return lambda files: [move_slice(path, (k * mm, 0, 0)) for k, path in enumerate(files)]


def one(*delete: str, which: int = 3, **values: object) -> Damage:
    return lambda files: edit_dicom(files[which], *delete, **values)


def every(*delete: str, **values: object) -> Damage:
    return lambda files: edit_all(files, *delete, **values)


def raw(keyword: str, content: bytes) -> Damage:
    return lambda files: set_raw(files[3], keyword, content)


def copies(which: slice, **values: object) -> Damage:
    def damage(files: Files) -> None:
        for path in files[which]:
            copy = path.with_name(f"again_{path.name}")
            shutil.copy(path, copy)
            edit_dicom(copy, **values)

    return damage


def cut(keep: int) -> Damage:
    return lambda files: files[3].write_bytes(files[3].read_bytes()[:keep])


def start_of(path: Path, keyword: str) -> int:
    """The byte where the element begins in a file of explicit little endian."""
    tag = dcmread(path)[keyword].tag
    return path.read_bytes().index(tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little"))


def cut_before(keyword: str) -> Damage:
    return lambda files: cut(start_of(files[3], keyword))(files)


def garble_syntax(files: Files) -> None:
    files[3].write_bytes(files[3].read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"Canary.10008.1.2.1\0\0"))


def declare(keyword: str, length: int) -> Damage:
    """The element says that it is longer than the rest of the file."""

    def damage(files: Files) -> None:
        content, at = bytearray(files[3].read_bytes()), start_of(files[3], keyword) + 6
        content[at : at + 2] = length.to_bytes(2, "little")
        files[3].write_bytes(content)

    return damage


def nest(files: Files, depth: int = 400) -> None:
    """Sequences in sequences, ended properly."""
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    content = files[3].read_bytes()
    at = 132 + 12 + dcmread(files[3]).file_meta.FileMetaInformationGroupLength
    files[3].write_bytes(content[:at] + opening * depth + closing * depth + content[at:])


def nest_a_little(files: Files) -> None:
    nest(files, depth=4)


def in_syntax(syntax: str, stream: bytes | None = None) -> Damage:
    """Slice 3 compressed, or with this stream said to be so."""

    def damage(files: Files) -> None:
        dataset = dcmread(files[3])
        if stream is None:
            dataset.compress(syntax, generate_instance_uid=False)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.PixelData = encapsulate([stream])
        dataset.save_as(files[3])

    return damage


def compressed_and_cut(syntax: str, keep: float) -> Damage:
    """Cut before it was put into its file, so that all lengths of the file are right."""

    def damage(files: Files) -> None:
        dataset = dcmread(files[3])
        dataset.compress(syntax, generate_instance_uid=False)
        stream = list(generate_fragments(dataset.PixelData))[-1]
        dataset.PixelData = encapsulate([stream[: int(len(stream) * keep)]])
        dataset.save_as(files[3])

    return damage


def compressed_file_cut(files: Files) -> None:
    in_syntax(RLELossless)(files)
    cut(-20)(files)


def modality_table(files: Files) -> None:
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [2, 0, 16], "US", b"\0\0\1\0"
    for path in files:
        edit_dicom(path, ModalityLUTSequence=Sequence([table]))


def deflate(files: Files) -> None:
    dataset = dcmread(files[3])
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(files[3])


def bomb(files: Files) -> None:
    """128 MB of nothing behind the pixels, in 125 kB."""
    deflate(files)
    content = files[3].read_bytes()
    head = 132 + 12 + dcmread(files[3]).file_meta.FileMetaInformationGroupLength
    data = zlib.decompress(content[head:], -zlib.MAX_WBITS)
    padding = b"\xfc\xff\xfc\xffOB\0\0" + (1 << 27).to_bytes(4, "little") + bytes(1 << 27)
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    files[3].write_bytes(content[:head] + packer.compress(data + padding) + packer.flush())


def copied(files: Files) -> Files:
    copies(slice(None))(files)
    return [path.with_name(f"again_{path.name}") for path in files]


def sync_class(dataset: Dataset) -> None:
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID


COLOUR = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "PixelData": bytes(72)}
SAGITTAL = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
SCOUT = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
