"""All gates, by name."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz import dicom_gate, nifti_gate, nrrd_gate, picture_gates
from tests.fuzz.harness import Gate

GATES: dict[str, Callable[[], Gate]] = {
    "nifti": nifti_gate.gate,
    "nrrd": nrrd_gate.gate,
    "png": picture_gates.png_gate,
    "tiff": picture_gates.tiff_gate,
    "dicom": dicom_gate.gate,
}
# The files of medseg.io behind each gate, whose lines are counted.
READERS = {
    "nifti": ("nifti_*.py", "stream.py", "values.py"),
    "nrrd": ("nrrd*.py", "stream.py", "values.py"),
    "png": ("png.py", "raster.py"),
    "tiff": ("tiff*.py", "raster.py"),
    "dicom": ("dicom*.py",),
}
