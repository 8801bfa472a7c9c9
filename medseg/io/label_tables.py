"""Label tables beside a mask, for viewers that do not read names and colours from the mask itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

from medseg.domain.labels import Code, LabelTable
from medseg.io.files import write_text

_ITKSNAP_HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
"""
_CSV_TERMS = ("Category", "Type", "TypeModifier", "Region", "RegionModifier")


def itksnap(table: LabelTable) -> str:
    """ITK-SNAP's label description: value, colour, opacity, shown, shown as a mesh, name."""
    rows = ['    0     0    0    0        0  0  0    "Clear Label"']
    for label in table:
        red, green, blue = label.colour
        rows.append(f'{label.value:5} {red:5} {green:4} {blue:4}        1  1  1    "{label.name}"')
    return _ITKSNAP_HEAD + "\n".join(rows) + "\n"


def slicer_ctbl(table: LabelTable) -> str:
    """3D Slicer's colour table, in which a blank ends a name."""
    rows = ["# Color table file", "0 background 0 0 0 0"]
    rows += [f"{label.value} {label.name.replace(' ', '_')} {' '.join(map(str, label.colour))} 255" for label in table]
    return "\n".join(rows) + "\n"


def slicer_csv(table: LabelTable) -> str:
    """3D Slicer's newer colour table, with the terms of each label."""
    columns = [f"{name}_{part}" for name in _CSV_TERMS for part in ("CodingScheme", "CodeValue", "CodeMeaning")]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["LabelValue", "Name", "Color_R", "Color_G", "Color_B", "Color_A", *columns])
    for label in table:
        category, kind = label.category, label.type or label.category
        terms = [part for code in (category, kind, label.modifier, None, None) for part in _parts(code)]
        rows.writerow([label.value, label.name, *label.colour, 255, *terms])
    return text.getvalue()


def _parts(code: Code | None) -> tuple[str, str, str]:
    return (code.scheme, code.value, code.meaning) if code is not None else ("", "", "")


# Program -> the endings of its files, after the mask's name, and what is written into them.
LABEL_TABLES: dict[str, dict[str, Callable[[LabelTable], str]]] = {
    "itksnap": {"_labels.txt": itksnap},
    "slicer": {".ctbl": slicer_ctbl, "_labels.csv": slicer_csv},
}


def write_label_table(table: LabelTable, form: Callable[[LabelTable], str], path: Path) -> None:
    """The table as a file, whole or not at all."""
    write_text(path, form(table))
