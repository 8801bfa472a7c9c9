"""The header of one DICOM image, classic or a frame of many: what is needed to place it and read it, and no name."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_partial
from pydicom.uid import RE_VALID_UID, UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medseg.domain.errors import InputError, MedsegError
from medseg.io.dicom_elements import Numbers, code, count, number, numbers, text, texts, uid, uid_text, unit, values
from medseg.io.dicom_files import File
from medseg.io.dicom_inflate import open_dicom
from medseg.io.dicom_padding import padding
from medseg.io.dicom_pet import PET_KEYWORDS, Pet, read_pet
from medseg.io.dicom_quantities import TAG_KEYWORDS
from medseg.io.dicom_quiet import quiet_pydicom
from medseg.io.dicom_walk import FLOAT_PIXEL_DATA, PIXEL_DATA, Watch, file_meta, is_no_image, starts_with_an_element

_KEYWORDS = (
    *("SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "FrameOfReferenceUID", "Modality"),
    *("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate"),
    *("Rows", "Columns", "NumberOfFrames", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *TAG_KEYWORDS,
    *PET_KEYWORDS,
)
_TAGS = [tag_for_keyword(keyword) for keyword in dict.fromkeys(_KEYWORDS)]


@dataclass(frozen=True)
class Header:
    """What is needed of a file to place and read its image; None where the file does not say it, or not readably.

    name:            how messages call it.
    stamp:           size and time of the file when it was read, so that a change shows.
    series_uid:      as the file has it, valid or not; empty where there is none. So the study's.
    series_number:   None where there is none.
    patient:         digests of the patient's name, number and birth date, for comparison; empty where not given.
    object_class:    the name of the SOP class, "MR Image Storage"; its number where it has no name.
    frame:           which frame of the file, from 0; 0 in a classic file.
    frames:          how many the file says it has.
    has_groups:      the frames say one by one where they lie (functional groups).
    has_low_bits:    the values stand in the lowest bits of their words, as in all but very old files.
    is_signed:       of the stored values.
    position_mm:     ImagePositionPatient, LPS.
    orientation:     ImageOrientationPatient, LPS: where columns rise, then where rows rise.
    spacing_mm:      PixelSpacing: between rows, between columns.
    slope:           NaN where the tag is there and holds no finite number; so the intercept.
    padding:         the lowest and highest stored value of pixels that hold no image.
    tags:            the values of TAG_KEYWORDS that are there, as texts; in a frame of many, all of its groups'.
    pet:             what turns activity into SUV; None where the file says nothing of it.
    holds_integers:  the pixels are PixelData, none of the floating-point kinds.
    pixel_bytes:     as declared; None where the length is open, as of compressed pixels.
    pixel_bytes_present: from the start of the pixels to the end of the file.
    """

    path: Path
    name: str
    stamp: tuple[int, int]
    series_uid: str
    study_uid: str = field(repr=False)
    patient: tuple[str, ...] = field(repr=False)
    series_number: int | None
    object_class: str
    frame_of_reference: str
    transfer_syntax: str
    modality: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    frame: int
    frames: int
    has_groups: bool
    samples: int
    bits: int
    bits_stored: int
    has_low_bits: bool
    is_signed: bool
    photometric: str
    position_mm: Numbers | None
    orientation: Numbers | None
    spacing_mm: Numbers | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    has_modality_table: bool
    padding: tuple[int, int] | None
    tags: dict[str, tuple[str, ...]] = field(repr=False)
    pet: Pet | None
    holds_integers: bool
    pixel_bytes: int | None
    pixel_bytes_present: int
    has_preamble: bool


@dataclass(frozen=True)
class NoImage:
    """A file that is passed over. kind: the name of its DICOM class; empty where it is no DICOM."""

    kind: str = ""


def read_headers(file: File) -> tuple[Header, ...] | NoImage:
    """The header of a DICOM image, one for each frame; NoImage for other files and objects (reports, masks, plans).

    Raises: InputError for a DICOM file that is cut off, damaged, without pixels or swells: skipped, it would be a slice
    lost without a word.
    """
    try:
        with file.path.open("rb") as start, quiet_pydicom():
            first = start.read(132)
            if first[128:] != b"DICM" and not starts_with_an_element(first):
                return NoImage()
            with open_dicom(file.path, file.name) as (stream, size):
                return _read(file, stream, size)
    except MedsegError:
        raise
    except MemoryError as error:
        raise InputError(f"{file.name}: its header asks for more memory than there is; export it again") from error
    except Exception as error:  # whatever a damaged stream makes a parser raise, RecursionError and bare OSError too
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(
            f"{file.name}: damaged: its header cannot be read ({reason}); copy or export it again"
        ) from error


def _read(file: File, stream: BinaryIO, size: int) -> tuple[Header, ...] | NoImage:
    has_preamble = stream.read(132)[128:] == b"DICM"
    stream.seek(132 if has_preamble else 0)
    sop_class, transfer_syntax = file_meta(file.name, stream, size)
    if is_no_image(sop_class):
        return NoImage(_class_name(sop_class))
    if transfer_syntax and not re.fullmatch(RE_VALID_UID, transfer_syntax):
        raise InputError(f"{file.name}: damaged: its transfer syntax is no UID; copy or export it again")
    stream.seek(0)
    watch = Watch(file.name, stream, size, stop=lambda tag: tag in (PIXEL_DATA, *FLOAT_PIXEL_DATA))
    dataset = read_partial(stream, stop_when=watch, force=True, specific_tags=_TAGS)
    sop_class = uid(dataset, "SOPClassUID") or sop_class
    has_image = "Rows" in dataset or watch.stopped_at != 0
    if not sop_class and not has_image:
        if not has_preamble:
            return NoImage()  # began like DICOM by chance
        raise InputError(f"{file.name}: cut off or damaged: {size} bytes without image or object class; copy it again")
    object_class = UID(sop_class).name
    is_image_class = "Image Storage" in object_class
    if is_no_image(sop_class) or not (has_image or is_image_class):
        return NoImage(_class_name(sop_class))  # the second: a maker's private object
    if not watch.stopped_at and sop_class and not is_image_class:
        return NoImage(_class_name(sop_class))  # spectra have rows and columns, and no pixels
    if not watch.stopped_at:
        raise InputError(f"{file.name}: is an image without PixelData, it may be cut off; copy it again")
    if not transfer_syntax:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        transfer_syntax = str(ImplicitVRLittleEndian if implicit else explicit)
    header = _header(file, dataset, watch, transfer_syntax, object_class, has_preamble)
    if header.has_groups:
        from medseg.io.dicom_frames import frame_headers

        return frame_headers(header, dataset)
    return (header,)


def _header(
    file: File, dataset: Any, watch: Watch, transfer_syntax: str, object_class: str, has_preamble: bool
) -> Header:
    bits = count(dataset, "BitsAllocated", 0)
    stored = count(dataset, "BitsStored", bits)
    is_signed = count(dataset, "PixelRepresentation", 0) == 1
    modality = code(dataset, "Modality")
    there = file.path.stat()
    return Header(
        path=file.path,
        name=file.name,
        stamp=(there.st_size, there.st_mtime_ns),
        series_uid=uid_text(dataset, "SeriesInstanceUID"),
        study_uid=uid_text(dataset, "StudyInstanceUID"),
        patient=_patient(dataset),
        series_number=count(dataset, "SeriesNumber", -1) if numbers(dataset, "SeriesNumber", 1) else None,
        object_class=object_class,
        frame_of_reference=uid_text(dataset, "FrameOfReferenceUID"),
        transfer_syntax=transfer_syntax,
        modality=modality,
        image_type=tuple(str(part).upper() for part in values(dataset, "ImageType") or ()),
        rows=count(dataset, "Rows", 0),
        columns=count(dataset, "Columns", 0),
        frame=0,
        frames=count(dataset, "NumberOfFrames", 1),
        has_groups="PerFrameFunctionalGroupsSequence" in dataset,
        samples=count(dataset, "SamplesPerPixel", 1),
        bits=bits,
        bits_stored=stored,
        has_low_bits=count(dataset, "HighBit", stored - 1) == stored - 1,
        is_signed=is_signed,
        photometric=code(dataset, "PhotometricInterpretation"),
        position_mm=numbers(dataset, "ImagePositionPatient", 3),
        orientation=numbers(dataset, "ImageOrientationPatient", 6),
        spacing_mm=numbers(dataset, "PixelSpacing", 2),
        slope=number(dataset, "RescaleSlope"),
        intercept=number(dataset, "RescaleIntercept"),
        rescale_type=unit(dataset, "RescaleType"),
        has_modality_table="ModalityLUTSequence" in dataset,
        padding=padding(dataset, bits, stored, is_signed),
        tags={word: value for word in TAG_KEYWORDS if (value := texts(dataset, word))},
        pet=read_pet(dataset) if modality == "PT" or "Units" in dataset else None,
        holds_integers=watch.stopped_at == PIXEL_DATA,
        pixel_bytes=watch.length,
        pixel_bytes_present=watch.present,
        has_preamble=has_preamble,
    )


def _patient(dataset: Any) -> tuple[str, ...]:
    """Digests of name (in letters, however its parts are set apart), number and birth date; empty where not given."""
    name = re.sub(r"[\s^,]+", " ", text(dataset, "PatientName").split("=")[0].casefold()).strip()
    facts = [name, *(text(dataset, word).casefold() for word in ("PatientID", "PatientBirthDate"))]
    return tuple(hashlib.sha256(fact.encode()).hexdigest() if fact else "" for fact in facts)


def _class_name(sop_class: str) -> str:
    name = str(UID(sop_class).name)
    return "object of another kind" if name == sop_class else name
