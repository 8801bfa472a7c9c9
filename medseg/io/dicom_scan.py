"""What lies in a folder, zip, DICOMDIR or file: candidate volumes, and what is none of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from medseg.domain.errors import SeriesError
from medseg.io.dicom_files import File, find_files
from medseg.io.dicom_header import Header, NoImage, read_headers
from medseg.io.dicom_series import Stack, find_stacks


@dataclass(frozen=True)
class Scan:
    """The headers of all images below one place; no pixels are read, nothing is checked yet.

    stacks: numbered from 1 by their order.
    notes:  what was passed over, by kind.
    files:  all files that were looked at.
    """

    root: Path
    stacks: tuple[Stack, ...]
    notes: tuple[str, ...]
    files: tuple[File, ...] = field(repr=False)
    keeps: object = field(default=None, repr=False, compare=False)


def scan(root: Path) -> Scan:
    """What lies there, at least one image.

    What is no DICOM image is passed over: other files, empty ones, directories of media, reports, masks, plans.
    Raises: SeriesError if there is no image; InputError for what cannot be listed and for DICOM files that are damaged.
    """
    found = find_files(root)
    headers: list[Header] = []
    kinds = Counter({"": found.skipped})
    for file in found.files:
        result = read_headers(file)
        if isinstance(result, NoImage):
            kinds[result.kind] += 1
        else:
            headers += result
    count = len(found.files) + found.skipped
    notes = _passed_over(kinds, count)
    if not headers:
        what = f" ({'; '.join(notes)})" if any(kinds) else ""
        raise SeriesError(
            f"{root}: no DICOM image among {count} file{'s' * (count != 1)}{what}; give the folder that holds the "
            "slices of a scan"
        )
    return Scan(root, tuple(find_stacks(headers)), notes, found.files, found.keeps)


def _passed_over(kinds: Counter[str], count: int) -> tuple[str, ...]:
    other = kinds[""]
    objects = {kind: n for kind, n in sorted(kinds.items()) if kind and n}
    notes = []
    if other:
        notes.append(f"{other} of {count} files: no DICOM, passed over")
    if objects:
        listed = ", ".join(f"{n} {kind}" for kind, n in objects.items())
        notes.append(f"{sum(objects.values())} of {count} files: DICOM but no image, passed over ({listed})")
    return tuple(notes)
