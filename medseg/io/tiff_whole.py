"""Is a TIFF all there? Decoders fill what is missing with zeros, and follow a chain of pages that bites its tail."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from medseg.domain.errors import InputError

_PLAIN = 1  # compression
_STANDARD_TAGS = range(254, 348)  # from NewSubfileType to JPEGTables
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_ENDS = {b"II": "<", b"MM": ">"}
_CLASSIC, _BIG = 42, 43  # version -> how long an entry of a page is, how its number of entries and an offset are kept
_LAYOUT = {_CLASSIC: (12, "H", "I"), _BIG: (20, "Q", "Q")}


def require_whole_chain(path: Path) -> None:
    """Follow the pages from the first to the last, each of which says where the next one is.

    Raises: InputError if one lies beyond the end of the file or was there before; struct.error if one is cut off.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        end = _ENDS[file.read(2)]
        (version,) = struct.unpack(end + "H", file.read(2))
        entry_bytes, *layouts = _LAYOUT[version]
        entries, offset = (struct.Struct(end + layout) for layout in layouts)
        file.seek(4 if version == _CLASSIC else 8)
        seen: set[int] = set()
        (page,) = offset.unpack(file.read(offset.size))
        while page:
            if page in seen or page >= size:
                what = "leads back to an earlier one" if page in seen else "lies beyond the end of the file"
                raise InputError(f"{path}: page {len(seen) + 1} {what}; copy or export the file again")
            seen.add(page)
            file.seek(page)
            (count,) = entries.unpack(file.read(entries.size))
            if count * entry_bytes > size:
                raise InputError(f"{path}: page {len(seen)} is cut off; copy or export the file again")
            _require_values(path, file.read(count * entry_bytes), end, version, size)
            (page,) = offset.unpack(file.read(offset.size))


def _require_values(path: Path, entries: bytes, end: str, version: int, size: int) -> None:
    """The values of the standard tags lie inside the file; decoders pass over those that do not, or warn."""
    entry_bytes, _, offset = _LAYOUT[version]
    layout = struct.Struct(f"{end}HH{offset}{offset}")
    for start in range(0, len(entries), entry_bytes):
        tag, kind, count, place = layout.unpack_from(entries, start)
        length = count * _TYPE_BYTES.get(kind, 0)
        if tag in _STANDARD_TAGS and length > struct.calcsize(offset) and place + length > size:
            raise InputError(f"{path}: tag {tag} lies beyond the end of the file; copy or export it again")


def require_whole_series(path: Path, tiff: Any, series: Any) -> None:
    """Raises InputError where planes or bytes of a tifffile series are missing."""
    if series.dataoffset is not None:
        missing = series.dataoffset + series.nbytes - tiff.filehandle.size
    else:
        pages = list(series.pages)
        if absent := sum(page is None for page in pages):
            raise InputError(f"{path}: {absent} of {len(pages)} planes lie in other files; save all in one")
        parts = [(o, n) for page in pages for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if not parts or not all(o and n for o, n in parts):
            raise InputError(f"{path}: some parts of the picture were never written; export it again")
        missing = max(o + n for o, n in parts) - tiff.filehandle.size
        if series.keyframe.compression == _PLAIN and series.keyframe.bitspersample % 8 == 0:
            missing = max(missing, series.nbytes - sum(n for _, n in parts))
    if missing > 0:
        raise InputError(f"{path}: {missing} bytes of pixels are missing; copy it again")
