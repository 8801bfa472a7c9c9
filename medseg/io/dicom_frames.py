"""The frames of an enhanced multi-frame image, each with its own place and scale (PS3.3 C.7.6.16)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydicom.datadict import dictionary_VR, keyword_for_tag

from medseg.domain.errors import InputError
from medseg.io.dicom_elements import item, number, numbers, texts, unit, values

if TYPE_CHECKING:
    from medseg.io.dicom_header import Header

# Where frames lie, which is compared as geometry; what they were made of or point to.
_NO_TAGS = {"ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"}
_POINTERS = ("Referenced", "Derivation", "Source")
_DEEPEST = 4
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
    common = {**whole.tags, **(dict(_tags(shared)) if shared is not None else {})}
    return tuple(_frame(whole, n, frame, shared, common) for n, frame in enumerate(frames))


def _frame(whole: Header, n: int, frame: Any, shared: Any, common: dict[str, tuple[str, ...]]) -> Header:
    def group(name: str) -> Any:
        own = item(frame, name)
        return own if own is not None else (item(shared, name) if shared is not None else None)

    position, orientation = group("PlanePositionSequence"), group("PlaneOrientationSequence")
    measures, transform = group("PixelMeasuresSequence"), group("PixelValueTransformationSequence")
    kinds = [values(found, "FrameType") for name in _FRAME_TYPES if (found := group(name)) is not None]
    image_type = next((kind for kind in kinds if kind), None)
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
        rescale_type=(unit(transform, "RescaleType") if transform is not None else "") or whole.rescale_type,
        tags={**common, **dict(_tags(frame))},
    )


def _tags(groups: Any, depth: int = 0) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The plain values in the functional groups of a frame, or of all, by keyword; of indices each by its place."""
    present = groups.keys()  # a loop over the groups themselves gives elements
    for tag in present:
        keyword = "" if tag.is_private else keyword_for_tag(tag)
        if not keyword:
            continue
        if dictionary_VR(tag) == "SQ":
            if depth < _DEEPEST and not keyword.startswith(_POINTERS):
                for inner in values(groups, keyword) or ():
                    yield from _tags(inner, depth + 1)
            continue
        if keyword in _NO_TAGS:
            continue
        found = texts(groups, keyword)
        if keyword == "DimensionIndexValues":
            yield from ((f"{keyword} {place}", (value,)) for place, value in enumerate(found, 1))
        elif found and not keyword.endswith("UID"):
            yield keyword, found
