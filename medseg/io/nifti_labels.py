"""The label table that a NIfTI mask carries: Connectome Workbench's XML in the first header extension."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from xml.etree import ElementTree

from medseg.domain.errors import UsageError
from medseg.domain.labels import Label, LabelTable, legal_name

_LARGEST = 16 << 20


def read_label_table(path: Path) -> LabelTable | None:
    """The names and colours that a NIfTI file carries; None where it has none that can be understood."""
    for text in _extensions(path):
        if b"<LabelTable" not in text or b"<!" in text.replace(b"<![CDATA[", b""):  # no document types, no entities
            continue
        try:
            root = ElementTree.fromstring(text)
            taken = set[str]()
            labels = [
                Label(value, legal_name(row.text or "", value, taken), _colour(row))
                for row in root.iter("Label")
                if (value := int(row.attrib["Key"])) > 0
            ]
            return LabelTable(tuple(labels))
        except (ElementTree.ParseError, KeyError, ValueError, UsageError):
            continue
    return None


def _extensions(path: Path) -> list[bytes]:
    """The contents of all header extensions, trailing zeros left out."""
    with path.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if gzipped else path.open("rb") as file:
        start = file.read(544)
        order = "<" if int.from_bytes(start[:4], "little") in (348, 540) else ">"
        size = struct.unpack(f"{order}i", start[:4])[0]
        place = ("f", start[108:112]) if size == 348 else ("q", start[168:176])
        offset = struct.unpack(order + place[0], place[1])[0]
        if start[size : size + 1] != b"\1" or not size + 4 < offset < _LARGEST:
            return []
        rest = (start + file.read(max(int(offset) - len(start), 0)))[size + 4 : int(offset)]
    found = []
    while len(rest) >= 16 and 16 <= (length := struct.unpack(f"{order}i", rest[:4])[0]) <= len(rest):
        found.append(rest[8:length].rstrip(b"\0"))
        rest = rest[length:]
    return found


def _colour(row: ElementTree.Element) -> tuple[int, int, int]:
    red, green, blue = (min(max(round(255 * float(row.attrib[c])), 0), 255) for c in ("Red", "Green", "Blue"))
    return red, green, blue
