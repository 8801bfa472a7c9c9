"""The frames of an enhanced multi-frame image, each with its own place and scale (PS3.3 C.7.6.16)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from medseg.domain.errors import InputError
from medseg.io.dicom_elements import item, number, numbers, values

if TYPE_CHECKING:
    from medseg.io.dicom_header import Header

# Functional group -> what in it tells the phases of one place apart.
_PHASES = {
    "MREchoSequence": ("EffectiveEchoTime",),
    "MRDiffusionSequence": ("DiffusionBValue",),
    "MRModifierSequence": ("InversionTimes",),
    "CardiacSynchronizationSequence": ("NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime"),
    "TemporalPositionSequence": ("TemporalPositionTimeOffset",),
    "MRImageFrameTypeSequence": ("FrameType",),
    "CTImageFrameTypeSequence": ("FrameType",),
    "PETFrameTypeSequence": ("FrameType",),
    "FrameContentSequence": ("TemporalPositionIndex", "StackID", "FrameAcquisitionNumber"),
}
FRAME_PHASE_KEYWORDS = tuple(dict.fromkeys(keyword for keywords in _PHASES.values() for keyword in keywords))
_FRAME_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")


def frame_headers(whole: Header, dataset: Any) -> tuple[Header, ...]:
    """One header a frame, in the order of the file; what a frame does not say itself all frames share.

    Raises: InputError if the count of descriptions is not that of the frames.
    """
    frames = list(values(dataset, "PerFrameFunctionalGroupsSequence") or ())
    if len(frames) != whole.frames:
        raise InputError(
            f"{whole.name}: says {whole.frames} frames and describes {len(frames)}; export it again, or as "
            "single-frame files"
        )
    shared = item(dataset, "SharedFunctionalGroupsSequence")
    return tuple(_frame(whole, n, frame, shared) for n, frame in enumerate(frames))


def _frame(whole: Header, n: int, frame: Any, shared: Any) -> Header:
    def group(name: str) -> Any:
        own = item(frame, name)
        return own if own is not None else (item(shared, name) if shared is not None else None)

    position, orientation = group("PlanePositionSequence"), group("PlaneOrientationSequence")
    measures, transform = group("PixelMeasuresSequence"), group("PixelValueTransformationSequence")
    kinds = [values(found, "FrameType") for name in _FRAME_TYPES if (found := group(name)) is not None]
    image_type = next((kind for kind in kinds if kind), None)
    phase = {}
    for name, keywords in _PHASES.items():
        found = group(name)
        if found is not None:
            phase.update({word: repr(values(found, word)) for word in keywords if word in found})
    return dataclasses.replace(
        whole,
        name=f"{whole.name}, frame {n + 1} of {whole.frames}",
        frame=n,
        image_type=tuple(str(part).upper() for part in image_type) if image_type else whole.image_type,
        position_mm=numbers(position, "ImagePositionPatient", 3) if position is not None else None,
        orientation=numbers(orientation, "ImageOrientationPatient", 6) if orientation is not None else None,
        spacing_mm=numbers(measures, "PixelSpacing", 2) if measures is not None else None,
        slope=number(transform, "RescaleSlope") if transform is not None else whole.slope,
        intercept=number(transform, "RescaleIntercept") if transform is not None else whole.intercept,
        phase=phase,
    )
