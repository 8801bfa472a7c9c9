"""DICOM files that are deflated as a whole, inflated up to a cap."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from medseg.domain.errors import InputError
from medseg.io.dicom_walk import file_meta

_MOST_SWELLING, _FREE_BYTES = 100, 4 << 20  # a slice of nothing but air deflates a thousandfold, but is small


@contextmanager
def open_dicom(path: Path, name: str) -> Iterator[tuple[BinaryIO, int]]:
    """The file and its size in bytes; of a deflated one what it would be without.

    Raises: InputError for a deflated stream that is damaged, or swells to more than 100 times its size and 4 MiB.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        if file.read(132)[128:] == b"DICM":
            sop_class, transfer_syntax = file_meta(name, file, size)
            if transfer_syntax == DeflatedExplicitVRLittleEndian:
                content = _head(sop_class) + _inflated(name, file.read(), size)
                yield io.BytesIO(content), len(content)
                return
        file.seek(0)
        yield file, size


def _head(sop_class: str) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = sop_class, ExplicitVRLittleEndian
    head = io.BytesIO()
    write_file_meta_info(head, meta, enforce_standard=False)
    return bytes(128) + b"DICM" + head.getvalue()


def _inflated(name: str, packed: bytes, size: int) -> bytes:
    most = _MOST_SWELLING * size + _FREE_BYTES
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = stream.decompress(packed, most)
    except zlib.error as error:
        raise InputError(f"{name}: damaged: its deflated data set cannot be inflated; copy it again") from error
    if not stream.eof and (stream.unconsumed_tail or len(content) >= most):
        raise InputError(
            f"{name}: {size} deflated bytes swell to more than {most}; export the series without compression if you "
            "trust it"
        )
    if not stream.eof:
        raise InputError(f"{name}: cut off: its deflated data set has no end; copy it again")
    return content
