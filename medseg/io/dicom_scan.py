"""What lies in a folder, zip, DICOMDIR or file: candidate volumes, and what is none of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from medseg.domain.errors import InputError, SeriesError
from medseg.domain.words import counted
from medseg.io.dicom_files import File, find_files
from medseg.io.dicom_header import Header, NoImage, read_headers
from medseg.io.dicom_series import Stack, find_stacks
from medseg.io.dicom_zip import TemporaryFolder
from medseg.io.endings import image_ending


@dataclass(frozen=True)
class Scan:
    """The headers of all images below one place; no pixels are read, nothing is checked yet.

    stacks:  numbered from 1 by their order.
    damaged: one refusal for each file that is DICOM and cannot be read; each may be a slice of any stack.
    notes:   what was passed over, by kind.
    files:   all files that were looked at.
    """

    root: Path
    stacks: tuple[Stack, ...]
    damaged: tuple[InputError, ...]
    notes: tuple[str, ...]
    files: tuple[File, ...] = field(repr=False)
    keeps: TemporaryFolder | None = field(default=None, repr=False, compare=False)


def scan(root: Path) -> Scan:
    """What lies there, at least one image.

    What is no DICOM image is passed over: other files, empty ones, directories of media, reports, masks, plans.
    Raises: SeriesError if there is no image; InputError for what cannot be listed, and if all images are damaged.
    """
    found = find_files(root)
    headers: list[Header] = []
    kinds = Counter({"": found.skipped})
    endings = Counter[str]()
    damaged: list[InputError] = []
    for file in found.files:
        try:
            result = read_headers(file)
        except InputError as error:
            damaged.append(error.with_traceback(None))  # which would keep the copies of a zip
            continue
        if isinstance(result, NoImage):
            kinds[result.kind] += 1
            if not result.kind and (ending := image_ending(file.path)):
                endings[ending] += 1
        else:
            headers += result
    count = len(found.files) + found.skipped
    notes = _passed_over(kinds, endings, count)
    if not headers and found.keeps is not None:
        found.keeps.remove()
    if damaged and not headers:
        raise damaged[0]
    if not count:
        raise SeriesError(f"{root}: is empty; give the folder that holds the images, or the slices of a scan")
    if not headers:
        what = f" ({'; '.join(notes)})" if any(kinds) else ""
        raise SeriesError(
            f"{root}: no DICOM image among {counted(count, 'file')}{what}; give the folder that holds the "
            "slices of a scan"
        )
    return Scan(root, tuple(find_stacks(headers)), tuple(damaged), notes, found.files, found.keeps)


def _passed_over(kinds: Counter[str], endings: Counter[str], count: int) -> tuple[str, ...]:
    other = kinds[""]
    objects = {kind: n for kind, n in sorted(kinds.items()) if kind and n}
    notes = []
    if other:
        images = ", ".join(f"{n} {ending}" for ending, n in sorted(endings.items()))
        notes.append(f"{other} of {count} files: no DICOM, passed over{f' ({images} among them)' if images else ''}")
    if objects:
        listed = ", ".join(f"{n} {kind}" for kind, n in objects.items())
        notes.append(f"{sum(objects.values())} of {count} files: DICOM but no image, passed over ({listed})")
    return tuple(notes)
