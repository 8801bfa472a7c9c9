"""Parts of a series that measure or show different things, told apart by what their headers record.

Slices of one volume share their echo, b-value, kernel, kind of image and so on, wherever they lie; times and numbers of
acquisitions may differ between them, as they do where slices were acquired in turns.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medseg.io.dicom_header import Header

Tags = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Quantity:
    """How values of one element are compared.

    tolerance: the share by which two numbers may differ and count as the same; None for texts.
    optional:  an image that does not record it belongs to any other, because anonymisers remove it.
    per_slice: may differ from slice to slice of one volume (gated repetition times); it then separates nothing.
    """

    tolerance: float | None = None
    optional: bool = False
    per_slice: bool = False


_TEXT, _NUMBER = Quantity(), Quantity(0.01)
QUANTITIES: dict[str, Quantity] = {
    "SeriesNumber": Quantity(0.0, optional=True),
    "SeriesDescription": Quantity(optional=True),
    "EchoTime": _NUMBER,
    "EffectiveEchoTime": _NUMBER,
    "EchoNumbers": _TEXT,
    "InversionTime": Quantity(0.01, per_slice=True),
    "InversionTimes": Quantity(per_slice=True),
    "RepetitionTime": Quantity(0.25, per_slice=True),  # follows the heart in gated scans
    "FlipAngle": Quantity(0.01, per_slice=True),
    "DiffusionBValue": Quantity(0.02),
    "DiffusionDirectionality": _TEXT,
    "DiffusionGradientOrientation": _TEXT,
    "VelocityEncodingDirection": _TEXT,
    "TemporalPositionIdentifier": Quantity(per_slice=True),
    "TemporalPositionIndex": Quantity(per_slice=True),
    "NominalPercentageOfCardiacPhase": Quantity(0.01, per_slice=True),
    "NominalPercentageOfRespiratoryPhase": Quantity(0.01, per_slice=True),
    "ImageType": _TEXT,
    "FrameType": _TEXT,
    "ComplexImageComponent": _TEXT,
    "AcquisitionContrast": _TEXT,
    "StackID": _TEXT,
    "ScanningSequence": _TEXT,
    "SequenceVariant": _TEXT,
    "SequenceName": Quantity(optional=True),
    "PulseSequenceName": Quantity(optional=True),
    "KVP": _NUMBER,
    "ConvolutionKernel": _TEXT,
    "ConvolutionKernelGroup": _TEXT,
    "FilterType": _TEXT,
    "ReconstructionAlgorithm": _TEXT,
    "ReconstructionType": _TEXT,
    "ReconstructionMethod": _TEXT,
    "ReconstructionDiameter": Quantity(0.005, optional=True),
    "AttenuationCorrectionMethod": _TEXT,
    "CorrectedImage": _TEXT,
    "Units": _TEXT,
    "RescaleType": Quantity(optional=True),
    "SliceThickness": Quantity(0.02, optional=True),
}
# What tells volumes at equal positions apart when no quantity does; measured times before clocks.
TIMES = (
    *("TemporalPositionTimeOffset", "NominalCardiacTriggerDelayTime", "TriggerTime", "FrameReferenceTime"),
    *("FrameAcquisitionNumber", "AcquisitionNumber", "AcquisitionTime", "AcquisitionDateTime"),
    *("FrameAcquisitionDateTime", "FrameReferenceDateTime", "ContentTime"),
)
CLOCKS = ("AcquisitionTime", "AcquisitionDateTime", "FrameAcquisitionDateTime", "FrameReferenceDateTime", "ContentTime")
TAG_KEYWORDS = (*QUANTITIES, *TIMES, "InstanceNumber")
_ABSENT = -1


def separated(headers: Sequence[Header]) -> tuple[list[tuple[str, list[Header]]], tuple[str, ...]]:
    """Parts that share all quantities, each with the words that tell it from the others; and notes.

    One part with no words where nothing differs. Parts come in rising order of their values.
    """
    tags = [header.tags for header in headers]
    kinds: dict[str, list[int]] = {}
    notes = []
    for keyword, quantity in QUANTITIES.items():
        found = _classes(tags, keyword, quantity)
        count = len(set(found))
        if count == 1:
            continue
        if quantity.per_slice and len(headers) > 3 and 2 * count > len(headers):
            notes.append(f"{keyword} differs from slice to slice ({count} values in {len(headers)} images)")
        else:
            kinds[keyword] = found
    if not kinds:
        return [("", list(headers))], tuple(notes)
    joint = list(zip(*kinds.values(), strict=True))
    keywords = _fewest(kinds, joint)
    parts: dict[Hashable, list[int]] = {}
    for n, kind in enumerate(joint):
        parts.setdefault(kind, []).append(n)
    return [(words, [headers[n] for n in part]) for words, part in worded(keywords, tags, list(parts.values()))], tuple(
        notes
    )


def worded(keywords: Sequence[str], tags: Sequence[Tags], parts: Sequence[list[int]]) -> list[tuple[str, list[int]]]:
    """Parts in the order of their values, each with what tells it from the others: "EchoTime 80".

    Numbers are given as they are; clocks and texts count as first, second, third, since they may identify a patient.
    """
    values = {word: {id(part): tags[part[0]].get(word, ()) for part in parts} for word in keywords}
    ranks: dict[str, dict[tuple[str, ...], int]] = {}
    for word, of_part in values.items():
        different = sorted(set(of_part.values()), key=_natural)
        ranks[word] = {value: n for n, value in enumerate(different, 1)}
    ordered = sorted(parts, key=lambda part: [_natural(values[word][id(part)]) for word in keywords])
    found = []
    for part in ordered:
        words = []
        for word in keywords:
            value = values[word][id(part)]
            if not value:
                words.append(f"without {word}")
                continue
            shown = None if word in CLOCKS else as_number(value)
            words.append(
                f"{word} {shown:g}" if shown is not None else f"{word} {ranks[word][value]} of {len(ranks[word])}"
            )
        found.append((", ".join(words), part))
    return found


def as_number(value: tuple[str, ...]) -> float | None:
    """The number where there is one value and it is one."""
    if len(value) != 1 or not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value[0]):
        return None
    return float(value[0])


def _classes(tags: Sequence[Tags], keyword: str, quantity: Quantity) -> list[int]:
    """A number for each image, the same for values that count as the same."""
    values = [tag.get(keyword) for tag in tags]
    there = sorted({value for value in values if value is not None}, key=_natural)
    number_of: dict[tuple[str, ...], int] = {}
    last, kind = None, _ABSENT
    for value in there:
        number = as_number(value) if quantity.tolerance is not None else None
        near = (
            last is not None
            and number is not None
            and quantity.tolerance is not None
            and abs(number - last) <= quantity.tolerance * max(abs(number), abs(last)) + 1e-9
        )
        if not near and _vector(value) is not None and _vector(value) in map(_vector, number_of):
            number_of[value] = next(n for other, n in number_of.items() if _vector(other) == _vector(value))
            continue
        kind += not near
        number_of[value] = kind
        last = number
    absent = 0 if quantity.optional and kind == 0 else _ABSENT
    return [absent if value is None else number_of[value] for value in values]


def _vector(value: tuple[str, ...]) -> tuple[float, ...] | None:
    """Three numbers or more, rounded; None for anything else."""
    numbers = [as_number((part,)) for part in value]
    if len(numbers) < 3 or any(number is None for number in numbers):
        return None
    return tuple(round(number, 3) + 0.0 for number in numbers if number is not None)


def _fewest(kinds: Mapping[str, list[int]], joint: Sequence[tuple[int, ...]]) -> tuple[str, ...]:
    """The fewest keywords that make the same parts as all of them."""
    wanted = len(set(joint))
    for count in range(1, min(4, len(kinds))):
        for keywords in combinations(kinds, count):
            if len(set(zip(*(kinds[word] for word in keywords), strict=True))) == wanted:
                return keywords
    return tuple(kinds)


def _natural(value: tuple[str, ...]) -> tuple[float, tuple[str, ...]]:
    number = as_number(value)
    return (float("inf") if number is None else number, value)
