"""Images into candidate volumes: by series, study, size and direction, by what they measure, at last by repeats."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medseg.domain.words import counted
from medseg.io.dicom_elements import is_uid
from medseg.io.dicom_header import Header
from medseg.io.dicom_projection import is_single_projection
from medseg.io.dicom_quantities import separated
from medseg.io.dicom_repeats import by_repeats, lie_at_one_position
from medseg.io.dicom_stack import in_order

# Rounding of directions to three decimals, and of pixel sizes to four: less than a tenth of a pixel in 512.
_SAME_COSINE, _SAME_SPACING = 5e-4, 2e-4
_NOTED_COSINE, _NOTED_SPACING = 1e-4, 1e-5


@dataclass(frozen=True)
class Stack:
    """Images that could be one volume.

    headers: in rising position along the slice normal where all positions are known, else as found.
    split:   what tells it from the others of its series, "EchoTime 80"; empty for a whole series.
    key:     eight hexadecimal digits that follow from the UID and the split and tell nothing of either.
    group:   the number of its series in the place that was scanned, from 0.
    owner:   which of several patients or studies under one series it belongs to, "study 1 of 2"; else empty.
    notes:   on how its images were grouped.
    """

    headers: tuple[Header, ...]
    split: str
    key: str
    group: int = 0
    owner: str = ""
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Volume, localizer, colour image, projection, image without position, images at one position, single slice."""
        first = self.headers[0]
        if is_localizer(first):
            return "localizer"
        if is_colour(first):
            return "colour image"
        if is_single_projection(self.headers):
            return "projection"
        if all(header.position_mm is None for header in self.headers):
            return "image without position"
        if lie_at_one_position(self.headers):
            return "images at one position"
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
        return ", ".join([*parts, *filter(None, (self.split, self.owner))])


def is_localizer(header: Header) -> bool:
    """A scout image, from which other scans are planned."""
    return "LOCALIZER" in header.image_type


def is_colour(header: Header) -> bool:
    """Not one grey value a pixel."""
    return header.samples != 1 or header.photometric not in ("MONOCHROME1", "MONOCHROME2")


def find_stacks(headers: Sequence[Header]) -> list[Stack]:
    """All candidates, by SeriesNumber, then UID, then size, the largest part of a series first."""
    ordered = sorted(
        _series(headers), key=lambda found: (found[1].series_number is None, found[1].series_number or 0, found[0])
    )
    found = [
        stack
        for number, (identity, _, group, notes) in enumerate(ordered)
        for stack in _of_one_series(identity, group, number, notes)
    ]
    keys = Counter(stack.key for stack in found)
    return [
        replace(stack, key=_digest(f"{stack.key}|{n}")) if keys[stack.key] > 1 else stack
        for n, stack in enumerate(found)
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _series(headers: Sequence[Header]) -> list[tuple[str, Header, list[Header], tuple[str, ...]]]:
    """Images by SeriesInstanceUID, valid or not; where it is missing, or new in each file, by what else they share.

    Of each series a text that identifies it, its first header, all of them, and notes.
    """
    by_uid: dict[str, list[Header]] = {}
    for header in headers:
        by_uid.setdefault(header.series_uid, []).append(header)
    nameless = by_uid.pop("", [])
    found = [(uid, group, _uid_notes(group)) for uid, group in _joined(by_uid)]
    for header_group in _compatible(nameless):
        note = (
            f"{len(header_group)} images without SeriesInstanceUID were grouped by study, series number and description"
        )
        homes = [n for n, (_, group, _) in enumerate(found) if _about(group[0]) == _about(header_group[0])]
        if len(homes) == 1:
            uid, group, notes = found[homes[0]]
            found[homes[0]] = (uid, [*group, *header_group], (*notes, note))
        else:
            found.append((repr(_about(header_group[0])), header_group, (note,)))
    return [(uid, group[0], group, notes) for uid, group, notes in found]


def _joined(by_uid: dict[str, list[Header]]) -> list[tuple[str, list[Header]]]:
    """Single images that share all that a series shares but the UID are one series: each file was given a new one."""
    single = {uid: group[0] for uid, group in by_uid.items() if len(group) == 1 and group[0].position_mm is not None}
    joined: list[tuple[str, list[Header]]] = []
    groups = [kind for group in _alike(list(single.values())) for kind in _by_kind(group)]
    for group in groups:
        if len({header.position_mm for header in group}) > 2:
            joined.append((min(header.series_uid for header in group), group))
            for header in group:
                del by_uid[header.series_uid]
    return [*by_uid.items(), *joined]


def _alike(headers: Sequence[Header]) -> list[list[Header]]:
    groups: dict[tuple[object, ...], list[Header]] = {}
    for header in headers:
        groups.setdefault(_about(header), []).append(header)
    return list(groups.values())


def _compatible(headers: Sequence[Header]) -> list[list[Header]]:
    """Images that contradict each other in nothing that a series shares; what one does not record fits any."""
    groups: list[tuple[list[object], list[Header]]] = []
    for header in headers:
        about = list(_about(header))
        home = next((found for found in groups if all(map(_fits, found[0], about))), None)
        if home is None:
            groups.append((about, [header]))
            continue
        home[0][:] = [known or new for known, new in zip(home[0], about, strict=True)]
        home[1].append(header)
    return [group for _, group in groups]


def _fits(one: object, other: object) -> bool:
    absent = (None, "", (), ("", "", ""))
    return one == other or one in absent or other in absent


def _about(header: Header) -> tuple[object, ...]:
    """What a series shares beside its UID."""
    description = header.tags.get("SeriesDescription", ())
    return (
        *(header.study_uid, header.patient, header.frame_of_reference),
        *(header.series_number, header.modality, description),
    )


def _uid_notes(group: Sequence[Header]) -> tuple[str, ...]:
    uids = {header.series_uid for header in group}
    if len(uids) > 1:
        return (
            f"{len(group)} images with {len(uids)} different SeriesInstanceUIDs and otherwise of one series: joined",
        )
    if all(map(is_uid, uids)):
        return ()
    return ("the SeriesInstanceUID is not valid (letters, or more than 64 characters); it was used to group images",)


def _of_one_series(identity: str, headers: list[Header], number: int, notes: tuple[str, ...]) -> list[Stack]:
    found = []
    for owner, owned in _by_owner(headers):
        kinds = sorted(_by_kind(owned), key=len, reverse=True)
        for kind in kinds:
            parts, more = separated(in_order(kind))
            for words, part in parts:
                for repeat, repeated in by_repeats(in_order(part)):
                    split = ", ".join(filter(None, (words, repeat)))
                    of_kind = _words(kind[0]) if len(kinds) > 1 else ""
                    named = ", ".join(filter(None, (owner, of_kind, split)))
                    key = _digest(f"{identity}|{named}")
                    said = (*notes, *more, *_rounding(repeated))
                    found.append(Stack(tuple(repeated), split, key, number, owner, said))
    return found


def _by_owner(headers: list[Header]) -> list[tuple[str, list[Header]]]:
    """Apart by study and patient, each called by a number: "study 1 of 2". What a file does not record fits any."""
    facts = [(header.study_uid, *header.patient) for header in headers]
    varying = [n for n, values in enumerate(zip(*facts, strict=True)) if len({*values} - {""}) > 1]
    if not varying:
        return [("", headers)]
    owners: dict[tuple[str, ...], list[Header]] = {}
    for header, fact in zip(headers, facts, strict=True):
        owners.setdefault(tuple(fact[n] for n in varying), []).append(header)
    word = "study" if 0 in varying else "patient"
    return [(f"{word} {n} of {len(owners)}", owners[owner]) for n, owner in enumerate(sorted(owners), 1)]


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
        and _near(one.orientation, other.orientation, lambda a, b: abs(a - b) <= _SAME_COSINE)
        and _near(one.spacing_mm, other.spacing_mm, lambda a, b: abs(a - b) <= _SAME_SPACING * abs(b))
    )


def _near(one: Sequence[float] | None, other: Sequence[float] | None, close: Callable[[float, float], bool]) -> bool:
    return one is None or other is None or all(map(close, one, other))


def _rounding(headers: Sequence[Header]) -> list[str]:
    """Notes on directions and pixel sizes that are not quite those of the first image."""
    first, notes = headers[0], []
    for word, of_each, limit in (
        ("ImageOrientationPatient", [header.orientation for header in headers], _NOTED_COSINE),
        ("PixelSpacing", [header.spacing_mm for header in headers], _NOTED_SPACING * max(first.spacing_mm or (1.0,))),
    ):
        known = [value for value in of_each if value is not None]
        if len(known) < 2:
            continue
        with np.errstate(all="ignore"):
            apart = np.abs(np.array(known) - np.array(known[0])).max(axis=1)
        if (apart > limit).any():
            notes.append(
                f"{word} of {counted(int((apart > limit).sum()), 'slice')} differs by up to {apart.max():.2g} from the "
                "first, which is taken for rounding"
            )
    return notes


def _words(header: Header) -> str:
    """What tells a part of a series from another; only for its key."""
    colour = " colour" if is_colour(header) else ""
    return f"{header.columns} {header.rows} {header.orientation} {header.spacing_mm} {header.image_type}{colour}"
