"""Parts of a series that measure or show different things, told apart by what their headers record.

Slices of one volume share their echo, b-value, kernel, kind of image and so on, wherever they lie; times and numbers of
acquisitions may differ between them, as they do where slices were acquired in turns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medseg.io.dicom_header import Header

Values = tuple[str, ...]
Tags = Mapping[str, Values]


@dataclass(frozen=True)
class Quantity:
    """How values of one element are compared.

    tolerance: the share by which two numbers may differ and count as the same, also step by step; None for texts.
    absolute:  the same as a number.
    required:  an image that does not record it differs from one that does. Else it belongs to any other, because
               anonymisers and converters leave elements out.
    per_slice: may be another in every slice of one volume; it then separates nothing.
    plain:     brings a value into the form that is compared.
    """

    tolerance: float | None = None
    absolute: float = 1e-9
    required: bool = False
    per_slice: bool = False
    plain: Callable[[Values], Values] = tuple


def _kind_of_image(values: Values) -> Values:
    """Without the first value, which recompression changes; letter case and empty ends mean nothing."""
    upper = [value.upper() for value in values[1:]]
    while upper and not upper[-1]:
        upper.pop()
    return tuple(upper)


def _set(values: Values) -> Values:
    return tuple(sorted(value.upper() for value in values))


def _name_of_sequence(values: Values) -> Values:
    """Without the count of segments at its end, which differs from slice to slice."""
    return tuple(re.sub(r"_\d+$", "", value) for value in values)


_TEXT, _NUMBER, _SET = Quantity(), Quantity(0.01), Quantity(plain=_set)
QUANTITIES: dict[str, Quantity] = {
    "SeriesNumber": Quantity(0.0),
    "SeriesDescription": _TEXT,
    "ProtocolName": _TEXT,
    "PatientPosition": _TEXT,
    "BodyPartExamined": _TEXT,
    "Laterality": _TEXT,
    "ImageLaterality": _TEXT,
    "PresentationIntentType": _TEXT,
    "EchoTime": _NUMBER,
    "EffectiveEchoTime": _NUMBER,
    "EchoNumbers": _TEXT,
    "InversionTime": Quantity(0.35),  # of late enhancement it follows the heart
    "InversionTimes": Quantity(per_slice=True),
    "RepetitionTime": Quantity(0.6),  # of gated scans it is one heartbeat, or two
    "FlipAngle": Quantity(0.3),  # of angiograms it rises from slab to slab
    "DiffusionBValue": Quantity(0.02, absolute=1.0, required=True),
    "DiffusionDirectionality": Quantity(required=True),
    "DiffusionGradientOrientation": Quantity(required=True),
    "VelocityEncodingDirection": _TEXT,
    "VelocityEncodingMaximumValue": _NUMBER,
    "TemporalPositionIdentifier": Quantity(per_slice=True),
    "TemporalPositionIndex": Quantity(per_slice=True),
    "NominalPercentageOfCardiacPhase": Quantity(0.0, absolute=5.0),
    "NominalPercentageOfRespiratoryPhase": Quantity(0.0, absolute=5.0),
    "ImageType": Quantity(required=True, plain=_kind_of_image),
    "FrameType": Quantity(required=True, plain=_kind_of_image),
    "ComplexImageComponent": _TEXT,
    "AcquisitionContrast": _TEXT,
    "StackID": _TEXT,
    "ScanningSequence": _SET,
    "SequenceVariant": _SET,
    "ScanOptions": _SET,
    "SequenceName": Quantity(plain=_name_of_sequence),
    "PulseSequenceName": Quantity(plain=_name_of_sequence),
    "MRAcquisitionType": _TEXT,
    "EchoTrainLength": _TEXT,
    "NumberOfAverages": _NUMBER,
    "PixelBandwidth": Quantity(0.05),
    "MagneticFieldStrength": Quantity(0.05),
    "ImagedNucleus": _TEXT,
    "MagnetizationTransfer": _TEXT,
    "SpectrallySelectedSuppression": _TEXT,
    "ContrastBolusAgent": _TEXT,
    "KVP": _NUMBER,
    "MonoenergeticEnergyEquivalent": _NUMBER,
    "AcquisitionType": _TEXT,
    "SpiralPitchFactor": Quantity(0.02),
    "DataCollectionDiameter": Quantity(0.02),
    "SingleCollimationWidth": Quantity(0.02),
    "ConvolutionKernel": _TEXT,
    "ConvolutionKernelGroup": _TEXT,
    "FilterType": _TEXT,
    "ReconstructionAlgorithm": _TEXT,
    "ReconstructionType": _TEXT,
    "ReconstructionMethod": _TEXT,
    "ReconstructionDiameter": Quantity(0.005),
    "AttenuationCorrectionMethod": _TEXT,
    "ScatterCorrectionMethod": _TEXT,
    "EnergyWindowNumber": _TEXT,
    "CorrectedImage": _SET,
    "Units": _TEXT,
    "RescaleType": _TEXT,
    "SliceThickness": Quantity(0.02),
}
# What tells volumes at equal positions apart when no quantity does; measured times before clocks.
TIMES = (
    *("TemporalPositionTimeOffset", "NominalCardiacTriggerDelayTime", "TriggerTime", "FrameReferenceTime"),
    *("FrameAcquisitionNumber", "AcquisitionNumber", "AcquisitionTime", "AcquisitionDateTime"),
    *("FrameAcquisitionDateTime", "FrameReferenceDateTime", "ContentTime"),
)
CLOCKS = ("AcquisitionTime", "AcquisitionDateTime", "FrameAcquisitionDateTime", "FrameReferenceDateTime", "ContentTime")
_SHOWN = {*QUANTITIES, *TIMES} - {*CLOCKS}
TAG_KEYWORDS = (*QUANTITIES, *TIMES, "InstanceNumber")
_ABSENT = -1
_SAME_DIRECTION = 0.01


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

    Numbers that are measured are given as they are. Clocks, texts and numbers of anything else count as first, second,
    third, since they may identify a patient.
    """
    values = {word: {id(part): tags[part[0]].get(word, ()) for part in parts} for word in keywords}
    ranks: dict[str, dict[Values, int]] = {}
    for word, of_part in values.items():
        different = sorted(set(of_part.values()), key=_natural)
        ranks[word] = {value: n for n, value in enumerate(different, 1)}
    ordered = sorted(parts, key=lambda part: [_natural(values[word][id(part)]) for word in keywords])
    found = []
    for part in ordered:
        words = []
        for word in keywords:
            value = values[word][id(part)]
            number = as_number(value) if word in _SHOWN or word.startswith("DimensionIndexValues") else None
            if not value:
                words.append(f"without {word}")
            elif number is not None:
                words.append(f"{word} {number:.10g}")
            else:
                words.append(f"{word} {ranks[word][value]} of {len(ranks[word])}")
        found.append((", ".join(words), part))
    return found


def as_number(value: tuple[str, ...]) -> float | None:
    """The number where there is one value and it is one."""
    if len(value) != 1 or not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value[0]):
        return None
    return float(value[0])


def _classes(tags: Sequence[Tags], keyword: str, quantity: Quantity) -> list[int]:
    """A number for each image, the same for values that count as the same."""
    values: list[Values | None] = [quantity.plain(tag[keyword]) if keyword in tag else None for tag in tags]
    if quantity.tolerance is not None:  # what is no number says nothing
        values = [value if value is not None and as_number(value) is not None else None for value in values]
    there = sorted({value for value in values if value is not None}, key=_natural)
    number_of: dict[Values, int] = {}
    directions: list[tuple[tuple[float, ...], int]] = []
    last, kind = None, _ABSENT
    for value in there:
        direction = _direction(value)
        alike = next((n for other, n in directions if direction is not None and _is_near(direction, other)), None)
        if alike is not None:
            number_of[value] = alike
            continue
        number = as_number(value) if quantity.tolerance is not None else None
        if last is None or number is None or not _is_same(number, last, quantity):
            kind += 1
        number_of[value] = kind
        last = number
        directions += [(direction, kind)] if direction is not None else []
    absent = _ABSENT if quantity.required or kind > 0 else 0
    return [absent if value is None else number_of[value] for value in values]


def _is_same(one: float, other: float, quantity: Quantity) -> bool:
    assert quantity.tolerance is not None
    return abs(one - other) <= max(quantity.tolerance * max(abs(one), abs(other)), quantity.absolute)


def _direction(value: Values) -> tuple[float, ...] | None:
    """Three numbers or more; None for anything else."""
    numbers = [as_number((part,)) for part in value]
    return None if len(numbers) < 3 else tuple(n for n in numbers if n is not None) if None not in numbers else None


def _is_near(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return len(one) == len(other) and all(abs(a - b) <= _SAME_DIRECTION for a, b in zip(one, other, strict=True))


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
