"""The stored pixels of DICOM images, decoded and as they are, before any rescaling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import copy
from typing import Any

from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import UID, JPEGLossless, JPEGLosslessSV1, RLELossless

from medseg.domain.errors import InputError, MedsegError
from medseg.io.dicom_codecs import cure
from medseg.io.dicom_header import Header
from medseg.io.dicom_inflate import open_dicom
from medseg.io.dicom_quiet import quiet_pydicom
from medseg.io.dicom_strict import Frame, StreamError, decode_frame

_KEYWORDS = [
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
]
# Whole words: what stands above the stored bits is needed to check a stream, and is masked later (`dicom_bits`).
_AS_STORED = {"raw": True, "correct_unused_bits": False}
_TAIL = 32  # bytes; some writers pad after the end marker
_HABIT = 0.5  # of the slices
_FEWEST, _COMMON = 5, 0.8  # slices, and the share that is coded alike, from which on another coding is odd
_NAMED = 5


def read_stored(headers: Sequence[Header]) -> list[NDArray[Any]]:
    """The stored integers of each image, (rows, columns) each; a file of many frames is read once.

    Raises: InputError naming the byte counts, the damaged slices, or the transfer syntax that cannot be decoded.
    """
    return read_noted(headers)[0]


def read_noted(headers: Sequence[Header]) -> tuple[list[NDArray[Any]], str]:
    """As `read_stored`, and a note where few slices are coded otherwise than all others; empty for none."""
    by_file: dict[Any, list[int]] = {}
    for n, header in enumerate(headers):
        by_file.setdefault(header.path, []).append(n)
    frames: list[Any] = [None] * len(headers)
    for which in by_file.values():
        for n, frame in zip(which, _read_file([headers[n] for n in which]), strict=True):
            frames[n] = frame
    _require_no_slips(headers, frames)
    return [frame.pixels for frame in frames], _coding_note(headers, frames)


def _require_no_slips(headers: Sequence[Header], frames: Sequence[Frame]) -> None:
    """Code that ends a little off is damage, unless that of most slices does: then their encoder ends it so."""
    slipped = [n for n, frame in enumerate(frames) if frame.slips]
    if not slipped or len(slipped) > _HABIT * len(frames):
        return
    first = headers[slipped[0]]
    raise _broken(
        first,
        f"the code does not end where it must in {frames[slipped[0]].slips} places ({len(slipped)} of {len(frames)} "
        "slices have such)",
    )


def _coding_note(headers: Sequence[Header], frames: Sequence[Frame]) -> str:
    """A header of a stream that one changed bit altered is valid still, but like no other of its series."""
    common, count = Counter(frame.coding for frame in frames).most_common(1)[0]
    odd = [n for n, frame in enumerate(frames) if frame.coding != common]
    if not odd or len(frames) < _FEWEST or count < _COMMON * len(frames):
        return ""
    names = ", ".join(headers[n].name.split(": ")[-1] for n in odd[:_NAMED])
    more = f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else ""
    return (
        f"the stream of {names}{more} is coded with other parameters than those of the other {count} slices: check it"
    )


def _read_file(headers: Sequence[Header]) -> list[Frame]:
    """Some frames of one file."""
    first = headers[0]
    name, syntax = first.name, UID(first.transfer_syntax)
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
                frames = _decode(headers, dataset, decoder)
            else:
                wanted = [header.frame for header in headers]
                frames = [Frame(image) for image, _ in decoder.iter_array(dataset, indices=wanted, **_AS_STORED)]
    except (MedsegError, MemoryError):
        raise
    except NotImplementedError as error:
        raise InputError(f"{name}: pixels in {_name(syntax)} are not read; export the series uncompressed") from error
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror}); scan the folder again") from error
    except Exception as error:  # each codec raises its own kinds, down to AttributeError
        raise _undecodable(name, syntax) from error
    for frame in frames:
        if frame.pixels.shape != (first.rows, first.columns):
            raise InputError(
                f"{name}: decodes to {frame.pixels.shape} pixels instead of {(first.rows, first.columns)}; export it "
                "again"
            )
    return frames


def _decode(headers: Sequence[Header], dataset: Dataset, decoder: Any) -> list[Frame]:
    """Some compressed frames of one file."""
    first = headers[0]
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
        del dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    streams = list(generate_frames(dataset.PixelData, number_of_frames=first.frames, extended_offsets=offsets))
    if len(streams) < first.frames:
        raise InputError(f"{first.name}: holds {len(streams)} streams for {first.frames} frames; export it again")
    frames = []
    if first.transfer_syntax in (JPEGLossless, JPEGLosslessSV1):  # GDCM would mask the words
        dataset.BitsStored, dataset.HighBit = first.bits, first.bits - 1
    for header in headers:
        stream = streams[header.frame]
        whole = header.transfer_syntax == RLELossless or b"\xff\xd9" in stream[-_TAIL:]
        if not whole:
            raise InputError(
                f"{header.name}: its {_name(UID(header.transfer_syntax))} stream of {len(stream)} bytes is cut off "
                "(it has no end marker); copy it again"
            )

        def decode(stream: bytes = stream) -> NDArray[Any]:
            alone = copy(dataset)
            alone.NumberOfFrames, alone.PixelData = 1, encapsulate([stream])
            return next(decoder.iter_array(alone, **_AS_STORED))[0]  # type: ignore[no-any-return]

        try:
            frames.append(decode_frame(header, stream, decode))
        except StreamError as error:
            raise _broken(header, str(error)) from error
        except (MedsegError, MemoryError, NotImplementedError, OSError):
            raise
        except Exception as error:
            raise _undecodable(header.name, UID(header.transfer_syntax)) from error
    return frames


def _broken(header: Header, reason: str) -> InputError:
    return InputError(
        f"{header.name}: its {_name(UID(header.transfer_syntax))} pixels are a broken stream: {reason}; copy it again, "
        "or export the series uncompressed"
    )


def _undecodable(name: str, syntax: UID) -> InputError:
    return InputError(
        f"{name}: its {_name(syntax)} pixels cannot be decoded: a broken stream, or a kind of it that no installed "
        "codec reads; export the series uncompressed"
    )


def _install(syntax: UID, decoder: Any) -> str:
    need = "; ".join(line.split(" - ")[-1] for line in decoder.missing_dependencies)
    return cure(syntax) or f"install one ({need})"


def _name(syntax: UID) -> str:
    """The standard's name of a transfer syntax, else its number."""
    return str(syntax.name) if syntax.name != str(syntax) else f"the unknown transfer syntax {syntax}"
