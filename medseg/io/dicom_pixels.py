"""The stored pixels of DICOM images, decoded and as they are, before any rescaling."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.encaps import generate_fragments, generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import UID, RLELossless

from medseg.domain.errors import InputError, MedsegError
from medseg.io.dicom_codecs import cure
from medseg.io.dicom_header import Header
from medseg.io.dicom_inflate import open_dicom
from medseg.io.dicom_jpeg import jpeg_fault
from medseg.io.dicom_quiet import quiet_pydicom
from medseg.io.dicom_streams import Findings

_KEYWORDS = [
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
]
_MOST_WORDS = 1 << 16
_JPEG = {f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70)}


def read_stored(headers: Sequence[Header]) -> list[NDArray[Any]]:
    """The stored integers of each image, (rows, columns) each; a file of many frames is read once.

    Compressed pixels are decoded strictly: see `dicom_streams`.
    Raises: InputError naming the byte counts, the transfer syntax that cannot be decoded, or the damaged images.
    """
    by_file: dict[Any, list[int]] = {}
    for n, header in enumerate(headers):
        by_file.setdefault(header.path, []).append(n)
    pixels: list[Any] = [None] * len(headers)
    found = Findings()
    for which in by_file.values():
        for n, image in zip(which, _read_file([headers[n] for n in which], found), strict=True):
            pixels[n] = image
    found.require_none()
    return pixels


def _read_file(headers: Sequence[Header], found: Findings) -> list[NDArray[Any]]:
    """Some frames of one file; what speaks for damage is noted in the findings."""
    first = headers[0]
    name, syntax = first.name, UID(first.transfer_syntax)
    streams: list[bytes] = []
    words = b""
    try:
        there = first.path.stat()
        if (there.st_size, there.st_mtime_ns) != first.stamp:
            raise InputError(f"{name}: changed while it was read; run again when the copying is done")
        with quiet_pydicom():
            decoder = get_decoder(syntax)
            if not decoder.is_available:
                raise InputError(f"{name}: no codec for {syntax.name} is installed; {_install(syntax, decoder)}")
            with open_dicom(first.path, name) as (stream, _):
                dataset = dcmread(stream, force=True, specific_tags=_KEYWORDS)
            if "PixelData" not in dataset:  # pydicom drops an open-ended element that has no end
                raise InputError(f"{name}: cut off: its compressed pixels have no end; copy it again")
            if syntax.is_encapsulated:
                _require_whole_streams(first, dataset.PixelData)
                dataset.BitsStored, dataset.HighBit = first.bits, first.bits - 1  # or decoders mask what streams hold
                streams = list(generate_frames(dataset.PixelData, number_of_frames=first.frames))
                if first.transfer_syntax in _JPEG:
                    _require_jpeg(first, streams)
            frames = [header.frame for header in headers]
            with _captured_codecs() if syntax.is_encapsulated else nullcontext() as said:
                pixels = [image for image, _ in decoder.iter_array(dataset, raw=True, indices=frames)]
                words = said() if said is not None else b""
    except (MedsegError, MemoryError):
        raise
    except NotImplementedError as error:
        raise InputError(f"{name}: pixels in {_name(syntax)} are not read; export the series uncompressed") from error
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror}); scan the folder again") from error
    except Exception as error:  # each codec raises its own kinds, down to AttributeError
        raise InputError(
            f"{name}: its {_name(syntax)} pixels cannot be decoded: a broken stream, or a kind of it that no installed "
            "codec reads; export the series uncompressed"
        ) from error
    for image in pixels:
        if image.shape != (first.rows, first.columns):
            raise InputError(
                f"{name}: decodes to {image.shape} pixels instead of {(first.rows, first.columns)}; export it again"
            )
    if streams:
        found.heed(first, words)
        for header, image in zip(headers, pixels, strict=True):
            found.look_at(header, streams[header.frame], image)
    return pixels


def _require_jpeg(header: Header, streams: Sequence[bytes]) -> None:
    for number, stream in enumerate(streams, 1):
        if fault := jpeg_fault(stream, header.rows, header.columns):
            where = (
                f"frame {number} of its {_name(UID(header.transfer_syntax))} stream"
                if len(streams) > 1
                else "its stream"
            )
            raise InputError(f"{header.name}: damaged: {where} {fault}; copy or export it again")


def _require_whole_streams(header: Header, pixel_data: bytes) -> None:
    """JPEG streams of all kinds end with a marker (FFD9); some codecs fill up a cut one without a word."""
    if header.transfer_syntax == RLELossless:
        return
    if header.frames == 1:
        ends = [bytes(list(generate_fragments(pixel_data))[-1])]
    else:
        ends = list(generate_frames(pixel_data, number_of_frames=header.frames))
    if not all(b"\xff\xd9" in end[-32:] for end in ends):  # some writers pad after it
        raise InputError(
            f"{header.name}: its {_name(UID(header.transfer_syntax))} stream of {len(pixel_data)} bytes is cut off "
            "(it has no end marker); copy it again"
        )


@contextmanager
def _captured_codecs() -> Iterator[Callable[[], bytes]]:
    """Codecs in C print about broken streams, past Python. What they print is given after the block, not shown."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as words:
        try:
            os.dup2(words.fileno(), 2)
            yield lambda: os.pread(words.fileno(), _MOST_WORDS, 0)
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _install(syntax: UID, decoder: Any) -> str:
    need = "; ".join(line.split(" - ")[-1] for line in decoder.missing_dependencies)
    return cure(syntax) or f"install one ({need})"


def _name(syntax: UID) -> str:
    """The standard's name of a transfer syntax, else its number."""
    return str(syntax.name) if syntax.name != str(syntax) else f"the unknown transfer syntax {syntax}"
