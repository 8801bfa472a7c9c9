"""Images into candidate volumes: by series, then by size and direction, then by phase where positions repeat."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from medseg.domain.words import counted
from medseg.io.dicom_frames import FRAME_PHASE_KEYWORDS
from medseg.io.dicom_header import PHASE_KEYWORDS, Header
from medseg.io.dicom_projection import is_single_projection
from medseg.io.dicom_stack import SAME_MM, in_order

_TIMES = ("AcquisitionTime",)  # no time of a patient's examination in a message
_PHASES = tuple(dict.fromkeys((*FRAME_PHASE_KEYWORDS, *PHASE_KEYWORDS, "file")))


@dataclass(frozen=True)
class Stack:
    """Images that could be one volume.

    headers: in rising position along the slice normal where all positions are known, else as found.
    split:   what tells it from the others of its series, "EchoTime 80"; empty for a whole series.
    key:     eight hexadecimal digits that follow from the UID and the split and tell nothing of either.
    """

    headers: tuple[Header, ...]
    split: str
    key: str

    @property
    def kind(self) -> str:
        """Volume, localizer, colour image, projection, image without position, or single slice."""
        first = self.headers[0]
        if is_localizer(first):
            return "localizer"
        if is_colour(first):
            return "colour image"
        if is_single_projection(self.headers):
            return "projection"
        if all(header.position_mm is None for header in self.headers):
            return "image without position"
        return "volume" if len(self.headers) > 1 else "single slice"

    def __str__(self) -> str:
        """For messages: no name, date or description.

        MR, 5 slices of 256 x 256 pixels, EchoTime 80
        """
        first = self.headers[0]
        what = "image" if self.kind == "projection" else "slice"
        parts = [
            first.modality or "no modality",
            f"{counted(len(self.headers), what)} of {first.columns} x {first.rows} pixels",
        ]
        if self.kind != "volume":
            parts.append(self.kind)
        return ", ".join([*parts, *([self.split] if self.split else [])])


def is_localizer(header: Header) -> bool:
    """A scout image, from which other scans are planned."""
    return "LOCALIZER" in header.image_type


def is_colour(header: Header) -> bool:
    """Not one grey value a pixel."""
    return header.samples != 1 or header.photometric not in ("MONOCHROME1", "MONOCHROME2")


def find_stacks(headers: Sequence[Header]) -> list[Stack]:
    """All candidates, by SeriesNumber, then UID, then size, the largest part of a series first."""
    by_uid: dict[str, list[Header]] = {}
    for header in headers:
        by_uid.setdefault(header.series_uid, []).append(header)
    ordered = sorted(
        by_uid.values(), key=lambda h: (h[0].series_number is None, h[0].series_number or 0, h[0].series_uid)
    )
    return [stack for group in ordered for stack in _of_one_series(group)]


def _of_one_series(headers: list[Header]) -> list[Stack]:
    kinds = sorted(_by_kind(headers), key=len, reverse=True)
    found = []
    for kind in kinds:
        phases = _by_phase(in_order(kind))
        for words, phase in phases:
            split = words if len(kinds) == 1 else ", ".join(filter(None, (_words(kind[0]), words)))
            key = hashlib.sha256(f"{headers[0].series_uid}|{split}".encode()).hexdigest()[:8]
            found.append(Stack(tuple(phase), words, key))
    return found


def _by_kind(headers: list[Header]) -> list[list[Header]]:
    """Apart by size, direction, pixel spacing, colour and purpose; a header that lacks one joins the largest fit."""
    groups: list[list[Header]] = []
    for header in sorted(headers, key=_is_incomplete):
        homes = [group for group in groups if _same_kind(group[0], header)]
        max(homes, key=len).append(header) if homes else groups.append([header])
    return groups


def _is_incomplete(header: Header) -> bool:
    return header.orientation is None or header.spacing_mm is None or not header.rows * header.columns


def _same_kind(one: Header, other: Header) -> bool:
    sizes = [(header.rows, header.columns) for header in (one, other) if header.rows * header.columns]
    return (
        len(set(sizes)) <= 1
        and (is_localizer(one), is_colour(one)) == (is_localizer(other), is_colour(other))
        and _near(one.orientation, other.orientation, lambda a, b: abs(a - b) <= 1e-4)
        and _near(one.spacing_mm, other.spacing_mm, lambda a, b: abs(a - b) <= 1e-5 * abs(b))
    )


def _near(one: Sequence[float] | None, other: Sequence[float] | None, close: Callable[[float, float], bool]) -> bool:
    return one is None or other is None or all(map(close, one, other))


def _by_phase(headers: list[Header]) -> list[tuple[str, list[Header]]]:
    """Parts whose positions are all different, as many as images share one position; the whole where none fit."""
    places = _places(headers)
    most = max(Counter(places).values())
    if most == 1:
        return [("", headers)]
    tags = [{**header.phase, "file": header.name.split(", frame ")[0]} for header in headers]
    frames = all(header.has_groups for header in headers)
    varying = [k for k in _PHASES if (frames or k != "file") and len({tag.get(k) for tag in tags}) > 1]
    for count in (1, 2, 3):
        for keywords in combinations(varying, count):
            parts: dict[tuple[str | None, ...], list[int]] = {}
            for n, tag in enumerate(tags):
                parts.setdefault(tuple(tag.get(keyword) for keyword in keywords), []).append(n)
            unique = all(len({places[n] for n in part}) == len(part) > 1 for part in parts.values())
            if len(parts) == most and unique:
                ordered = sorted(parts.items(), key=lambda part: [_natural(value) for value in part[0]])
                return [
                    (_phase(keywords, values, n, most), [headers[m] for m in part])
                    for n, (values, part) in enumerate(ordered, 1)
                ]
    return [("", headers)]


def _places(headers: list[Header]) -> list[int]:
    """The same number for the same position; headers without one, or without a direction, are all apart."""
    if any(header.position_mm is None or header.orientation is None for header in headers):
        return list(range(len(headers)))
    row, column = np.array(headers[0].orientation, dtype=np.float64).reshape(2, 3)
    with np.errstate(all="ignore"):
        along = np.array([header.position_mm for header in headers], dtype=np.float64) @ np.cross(row, column)
        return [0, *np.cumsum(~(np.diff(along) < SAME_MM)).tolist()]


def _natural(value: str | None) -> tuple[float, str]:
    number = _number(value)
    return (float("inf") if number is None else number, value or "")


def _number(value: str | None) -> float | None:
    """Of "['80.5']", as values are kept: the number."""
    found = re.fullmatch(r"""\[['"]?(-?[\d.]+(?:[eE][-+]?\d+)?)['"]?\]""", value or "")
    try:
        return float(found[1]) if found else None
    except ValueError:
        return None


def _phase(keywords: Sequence[str], values: Sequence[str | None], n: int, count: int) -> str:
    """Only numbers are told; times and texts count as first, second, third."""
    words = []
    for keyword, value in zip(keywords, values, strict=True):
        number = None if keyword in _TIMES else _number(value)
        words.append(f"{keyword} {number:g}" if number is not None else f"{keyword} {n} of {count}")
    return ", ".join(words)


def _words(header: Header) -> str:
    """What tells a part of a series from another; only for its key."""
    return f"{header.columns} {header.rows} {header.orientation} {header.spacing_mm} {header.image_type}"
