"""The headers of a series that DICOM objects refer to: completed where that is honest, else refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom import Sequence as Items
from pydicom.uid import UID
from pydicom.valuerep import DA, TM

from medseg.domain.errors import InputError
from medseg.domain.series import Series
from medseg.io.dicom_elements import numbers, values
from medseg.io.dicom_quiet import quiet_pydicom
from medseg.io.dicom_uid import derived_uid

# Type 2 of the patient and study modules: they must be there and may be empty; anonymisers take them away.
_MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
_DATES, _TIMES = ("StudyDate", "PatientBirthDate"), ("StudyTime",)
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64


def source_headers(series: Series, name: str = "the series") -> list[Dataset]:
    """The headers of the series' files without their pixels, in order, ready to be referred to.

    In these copies only: elements of type 2 that lack are there and empty, values that are none (a sex of "unknown", a
    date of words) become empty, a slice thickness that is none becomes the distance of the slices, and a file of many
    frames is left with those of the series in its order.
    name: how messages call the series.
    Raises: InputError if a file changed or went away since the series was read, or its identifiers cannot be referred
    to.
    """
    headers = []
    for number, path in enumerate(series.paths, start=1):
        try:
            with quiet_pydicom():
                header = dcmread(path, stop_before_pixels=True, force=True)
                if number == 1:
                    _drop_damaged(header)
                _complete(header, series)
                if series.frames:
                    keep_frames(header, series.frames)
        except Exception as error:  # whatever a file cut off since makes a parser raise
            reason = getattr(error, "strerror", None) or type(error).__name__
            what = f"file {number} of {len(series.paths)} of {name}"  # names inside it may be a patient's
            raise InputError(f"{what} cannot be read any more ({reason}); segment the series again") from error
        headers.append(header)
    with quiet_pydicom():
        _complete_frame_of_reference(headers, series)
        _complete_thickness(headers)
        if faults := list(_faults(headers)):
            raise InputError(
                f"{name}: {'; '.join(faults)}: a DICOM object cannot refer to such images; mend their headers, or "
                "choose -t nifti"
            )
    return headers


def _drop_damaged(header: Dataset) -> None:
    """Take out elements whose values cannot be understood; patient and study are copied from the first header."""
    for tag in list(header.keys()):
        try:
            element = header[tag]
            if element.VR == "PN":
                str(element.value)  # decoded only now, by a character set that the file may have got wrong
        except Exception:  # pydicom converts on access, and raises as the conversion happens to
            del header[tag]


def _complete(header: Dataset, series: Series) -> None:
    """One header alone."""
    for keyword in _MAY_BE_EMPTY:
        if header.get(keyword) is None:
            setattr(header, keyword, "")
    if len(values(header, "ReferringPhysicianName") or ()) > 1:
        header.ReferringPhysicianName = ""
    for keywords, kind in ((_DATES, DA), (_TIMES, TM)):
        for keyword in keywords:
            if not _is_moment(header.get(keyword), kind):
                setattr(header, keyword, None)
    if header.PatientSex not in ("M", "F", "O"):
        header.PatientSex = ""
    if not header.get("Modality"):
        header.Modality = series.modality


def _is_moment(value: Any, kind: Any) -> bool:
    """Whether highdicom takes the value as a date or time of day; older forms (2020.03.10) it does not."""
    text = str(value)
    if not re.fullmatch(r"\d{8}" if kind is DA else r"[0-2]\d([0-5]\d([0-5]\d(\.\d{1,6})?)?)?", text):
        return False
    with suppress(ValueError, TypeError, OverflowError):
        return kind(text) is not None
    return False


def _complete_frame_of_reference(headers: Sequence[Dataset], series: Series) -> None:
    """That of the others where some lack it; one of our own where all do."""
    there = {uid for header in headers if (uid := str(header.get("FrameOfReferenceUID") or ""))}
    if len(there) > 1:
        return
    for header in headers:
        if not header.get("FrameOfReferenceUID"):
            header.FrameOfReferenceUID = next(iter(there), derived_uid(series.uid, "frame of reference"))


def _complete_thickness(headers: Sequence[Dataset]) -> None:
    """SliceThickness of each image, and of each frame, that has none above 0: the usual distance of the slices."""
    step_mm = _step_mm(headers)
    for header in headers:
        shared = header.get("SharedFunctionalGroupsSequence") or ()
        own = header.get("PerFrameFunctionalGroupsSequence") or ()
        measures = [group.PixelMeasuresSequence[0] for group in (*shared, *own) if group.get("PixelMeasuresSequence")]
        for place in measures or [header]:
            thickness = numbers(place, "SliceThickness", 1)
            if thickness is None or thickness[0] <= 0:
                if "SliceThickness" in place:
                    del place["SliceThickness"]  # which may be of a type that holds no number
                place.SliceThickness = step_mm


def _step_mm(headers: Sequence[Dataset]) -> float | None:
    """The median distance of neighbours along the normal, to a micrometre; None for one image, or without places."""
    positions, cosines = [], None
    for header in headers:
        shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        for own in header.get("PerFrameFunctionalGroupsSequence") or [header]:
            place = group_of(own, shared, "PlanePositionSequence", header)
            positions.append(numbers(place, "ImagePositionPatient", 3))
            if cosines is None:
                cosines = numbers(
                    group_of(own, shared, "PlaneOrientationSequence", header), "ImageOrientationPatient", 6
                )
    if cosines is None or None in positions:
        return None
    normal = np.cross(cosines[:3], cosines[3:])
    steps = np.diff(np.sort(np.array(positions, dtype=np.float64) @ normal))
    steps = steps[steps > 0]
    return round(float(np.median(steps)), 3) or None if len(steps) else None


def group_of(own: Dataset, shared: Dataset, name: str, header: Dataset) -> Any:
    """The functional group of a frame: its own, or that of all frames; of a classic slice the header itself."""
    for place in (own, shared):
        if place.get(name):
            return place[name][0]
    return header


def keep_frames(header: Dataset, frames: Sequence[int]) -> None:
    """The groups of these frames (numbers from 1), as if there were no others; what all share is said once.

    highdicom looks for direction and pixel size among what is shared, and takes no two frames at one place, as other
    times and echoes have them.
    """
    groups = header.PerFrameFunctionalGroupsSequence
    header.PerFrameFunctionalGroupsSequence = Items([groups[n - 1] for n in frames])
    header.NumberOfFrames = len(frames)
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if not shared.get(name):
            setattr(shared, name, Items([group_of(groups[frames[0] - 1], shared, name, header)]))
    header.SharedFunctionalGroupsSequence = Items([shared])


def _faults(headers: Sequence[Dataset]) -> Iterator[str]:
    """What keeps an object from referring to the images: each identifier there, one, and shared or not as it must be.

    Messages contain no values, because an identifier can lead to a patient.
    """
    count = len(headers)
    images = f"of {count} images"
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        uids = [_uid_text(header, keyword) for header in headers]
        missing = sum(not uid for uid in uids)
        wrong = sum(bool(uid) and not (_UID.fullmatch(uid) and len(uid) <= _LONGEST_UID) for uid in uids)
        if missing:
            yield f"{keyword} is missing in {missing} {images}"
        if wrong:
            yield f"{keyword} is no identifier in {wrong} {images} (64 digits and dots at most)"
        if missing or wrong:
            continue
        if keyword == "SOPClassUID" and all(UID(uid).type != "SOP Class" for uid in uids):
            yield f"SOPClassUID is none of the standard's in {count} {images}"
        kinds = Counter(uids)
        if keyword == "SOPInstanceUID":
            if len(kinds) < count:
                yield f"SOPInstanceUID is that of another image in {count - len(kinds)} {images}"
        elif len(kinds) > 1:
            yield f"{keyword} is another than the first one's in {count - kinds[uids[0]]} {images}"

    if (names := len(values(headers[0], "PatientName") or ())) > 1:
        yield f"PatientName has {names} values where there must be one"


def _uid_text(header: Dataset, keyword: str) -> str:
    return "\\".join(str(value) for value in values(header, keyword) or ()).strip("\0 ")
