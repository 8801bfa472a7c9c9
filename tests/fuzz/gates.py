"""All gates, by name."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz import (
    archive_gate,
    config_gate,
    dicom_gate,
    expression_gate,
    nifti_gate,
    nrrd_gate,
    picture_gates,
    stream_gate,
)
from tests.fuzz.harness import Gate
from tests.fuzz.made import Maker

GATES: dict[str, Callable[[], Gate]] = {
    "nifti": nifti_gate.gate,
    "nrrd": nrrd_gate.gate,
    "png": picture_gates.png_gate,
    "tiff": picture_gates.tiff_gate,
    "dicom": dicom_gate.gate,
    "streams": stream_gate.gate,
}
MAKERS: dict[str, Callable[[], Maker]] = {
    "expressions": expression_gate.maker,
    "configs": config_gate.maker,
    "archives": archive_gate.maker,
}
# The files of medseg.io, or of medseg.bundle, behind each gate, whose lines are counted.
READERS = {
    "nifti": ("nifti_*.py", "stream.py", "values.py"),
    "nrrd": ("nrrd*.py", "stream.py", "values.py"),
    "png": ("png.py", "raster.py"),
    "tiff": ("tiff*.py", "raster.py"),
    "dicom": ("dicom*.py",),
    "streams": ("dicom_pixels.py", "dicom_strict.py", "openjpeg.py", "slice_likeness.py", "stream_*.py"),
    "expressions": ("expressions.py", "functions.py", "lambdas.py"),
    "configs": ("documents.py", "config.py", "component.py", "foreign.py", "reader.py", "program.py", "targets.py"),
    "archives": ("archive.py",),
}
