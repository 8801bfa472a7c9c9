"""Volumes at equal positions (phases, directions, repetitions), apart by whatever element differs, at last by rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from pydicom import dcmread

from medseg.io.dicom_header import Header
from medseg.io.dicom_pixels import read_stored
from medseg.io.dicom_quantities import CLOCKS, QUANTITIES, TIMES, Tags, as_number, worded
from medseg.io.dicom_quiet import quiet_pydicom
from medseg.io.dicom_stack import SAME_MM

_NO_VALUES = {"SQ", "OB", "OW", "OD", "OF", "OL", "OV", "UN", "UI", "PN"}
_MOST_COMBINED = 16
_RANKED_BY = (*TIMES, "InstanceNumber")


def by_repeats(headers: list[Header]) -> list[tuple[str, list[Header]]]:
    """Parts whose positions are all different, as many as images share one position, with words for each.

    The whole, with no words, where no position repeats, where all images lie at one position, where repeated images are
    copies of each other, and where the repeats are too irregular to be volumes.

    headers: in order of position.
    """
    places = _places(headers)
    counts = Counter(places)
    most = max(counts.values())
    if most == 1 or len(counts) == 1:
        return [("", headers)]
    known = _known_keywords(headers)
    found = _by_tags(_known_tags(headers), [word for word in known if word not in CLOCKS], places, most)
    if found is None and not _are_copies(headers, places):
        tags = _all_tags(headers)
        found = _by_tags(_known_tags(headers), known, places, most)
        found = found or _by_tags(
            tags, list(dict.fromkeys(word for tag in tags for word in tag)), places, most, together=1
        )
        found = found or _by_rank(headers, places, most)
    if found is None:
        return [("", headers)]
    return [(words, [headers[n] for n in part]) for words, part in found]


def lie_at_one_position(headers: Sequence[Header]) -> bool:
    """Whether several images all have the same position, so that they are no volume."""
    positions = [header.position_mm for header in headers]
    if len(headers) < 2 or any(position is None for position in positions):
        return False
    return bool((np.ptp(np.array(positions, dtype=np.float64), axis=0) < SAME_MM).all())


def _places(headers: Sequence[Header]) -> list[int]:
    """The same number for the same position; headers without one, or without a direction, are all apart."""
    if any(header.position_mm is None or header.orientation is None for header in headers):
        return list(range(len(headers)))
    row, column = np.array(headers[0].orientation, dtype=np.float64).reshape(2, 3)
    with np.errstate(all="ignore"):
        along = np.array([header.position_mm for header in headers], dtype=np.float64) @ np.cross(row, column)
        order = np.argsort(along, kind="stable")
        steps = np.cumsum(~(np.diff(along[order]) < SAME_MM))
    places = np.zeros(len(headers), dtype=int)
    places[order[1:]] = steps
    return places.tolist()


def _by_tags(
    tags: Sequence[Tags], keywords: Sequence[str], places: Sequence[int], most: int, together: int = 3
) -> list[tuple[str, list[int]]] | None:
    """Parts by the fewest of these elements, at most so many together, that make as many as images share a position."""
    varying = [word for word in keywords if len({tag.get(word) for tag in tags}) > 1]
    if len(varying) > _MOST_COMBINED:
        together = 1
    for count in range(1, together + 1):
        for chosen in combinations(varying, count):
            if len({tuple(tag.get(word) for word in chosen) for tag in tags}) != most:
                continue
            parts: dict[tuple[tuple[str, ...] | None, ...], list[int]] = {}
            for n, tag in enumerate(tags):
                parts.setdefault(tuple(tag.get(word) for word in chosen), []).append(n)
            unique = all(len({places[n] for n in part}) == len(part) > 1 for part in parts.values())
            if len(parts) == most and unique:
                return worded(chosen, tags, list(parts.values()))
    return None


def _known_tags(headers: Sequence[Header]) -> list[Tags]:
    return [{**header.tags, "file": (header.name.split(", frame ")[0],)} for header in headers]


def _known_keywords(headers: Sequence[Header]) -> list[str]:
    """Quantities, then times, then, of frames, what else their groups record, indices and files last."""
    known = [*QUANTITIES, *TIMES]
    if not all(header.has_groups for header in headers):
        return known
    others = {word for header in headers for word in header.tags} - {*known, "InstanceNumber"}
    return [*known, *sorted(others), "file"]


def _are_copies(headers: Sequence[Header], places: Sequence[int]) -> bool:
    """Whether images at one position hold the same pixels, as far as the first repeated position shows."""
    repeats = Counter(places)
    place = next(place for place in places if repeats[place] > 1)
    images = [header for header, at in zip(headers, places, strict=True) if at == place]
    try:
        first, *others = read_stored(images)
    except Exception:  # damaged or compressed in a way that cannot be read: then it is refused when it is chosen
        return False
    return all(np.array_equal(first, other) for other in others)


def _all_tags(headers: Sequence[Header]) -> list[Tags]:
    """All elements with plain values, private ones by their tags; times and names are compared and never shown."""
    tags: list[Tags] = []
    for header in headers:
        if header.has_groups:
            tags.append(header.tags)
            continue
        try:
            with quiet_pydicom():
                file = dcmread(header.path, stop_before_pixels=True, force=True)
                tags.append(dict(_plain(file)))
        except Exception:  # it was read before, so it changed meanwhile; reading its pixels says so
            tags.append(header.tags)
    return tags


def _plain(dataset: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    present = dataset.keys()  # a loop over the data set itself gives elements, each converted
    for tag in present:
        if tag.element == 0 or (tag.is_private and tag.element < 0x100):
            continue
        try:
            element = dataset[tag]
            value = element.value
        except Exception:  # a damaged value tells nothing apart
            continue
        keyword = element.keyword or f"element ({tag.group:04X},{tag.element:04X})"
        if element.VR in _NO_VALUES or keyword in ("InstanceNumber", "SliceLocation") or value in (None, "", []):
            continue
        several = not isinstance(value, (str, bytes)) and hasattr(value, "__iter__")
        yield keyword, tuple(str(part).strip() for part in (value if several else [value]))


def _by_rank(headers: Sequence[Header], places: Sequence[int], most: int) -> list[tuple[str, list[int]]] | None:
    """At each position the first, second, third image, by a time or number that orders them all there.

    None where some position has fewer images than others: which one is missing there is unknown.
    """
    at: dict[int, list[int]] = {}
    for n, place in enumerate(places):
        at.setdefault(place, []).append(n)
    if any(len(images) != most for images in at.values()):
        return None
    keyword = next((word for word in _RANKED_BY if all(_orders(headers, images, word) for images in at.values())), None)
    for images in at.values():
        images.sort(key=lambda n: (_rank_value(headers[n], keyword or "") or 0.0, headers[n].name))
    return [
        (f"rank {rank} of {most} by {keyword or 'file'}", [images[rank - 1] for _, images in sorted(at.items())])
        for rank in range(1, most + 1)
    ]


def _orders(headers: Sequence[Header], images: Sequence[int], keyword: str) -> bool:
    values = {_rank_value(headers[n], keyword) for n in images}
    return len(values) == len(images) and None not in values


def _rank_value(header: Header, keyword: str) -> float | None:
    """Times of the day as DICOM writes them are in the order of their numbers."""
    return as_number(header.tags.get(keyword, ()))
