"""Series that are more than upright single slices, and how to read them."""

import zipfile
from collections.abc import Callable
from pathlib import Path

from medseg.domain.doubts import NO_DOUBTS, Doubts
from medseg.domain.volume import Volume
from medseg.io.dicom import read_dicom
from tests.damage import lean
from tests.enhanced import enhanced_file
from tests.phantoms import counted_volume, dicom_folder, oblique, orientations

SHAPE = (9, 7, 11)
AFFINE = oblique(orientations((0.7, 0.9, 2.5))["LPS"], (8, 5, -6))
SHUFFLED = (4, 0, 9, 2, 10, 1, 7, 3, 8, 5, 6)


def folder_of(place: Path, letters: str = "", tilt_mm: float = 0.0) -> Path:
    affine = orientations()[letters] if letters else AFFINE
    paths = dicom_folder(place / "scan", counted_volume(SHAPE, affine)).paths
    if tilt_mm:
        lean(tilt_mm)(list(paths))
    return place / "scan"


def zip_of(place: Path, tilt_mm: float = 0.0) -> Path:
    with zipfile.ZipFile(place / "scan.zip", "w") as archive:
        for n, path in enumerate(sorted(folder_of(place, "LPS" if tilt_mm else "", tilt_mm).iterdir())):
            archive.write(path, f"Canary/{10 - n}")
    return place / "scan.zip"


def two_times(place: Path) -> Path:
    """Of two volumes in one file the second is meant: its frames are 12 to 22."""
    first, second = counted_volume(SHAPE, AFFINE), counted_volume(SHAPE, AFFINE)
    return enhanced_file(place, [first, second], order=SHUFFLED)


KINDS: dict[str, tuple[Callable[[Path], Path], Doubts]] = {
    "tilted": (lambda place: folder_of(place, "LPS", 0.6), NO_DOUBTS),
    "tilted sagittal": (lambda place: folder_of(place, "PIR", 0.4), NO_DOUBTS),
    "frames in one file": (lambda place: enhanced_file(place, [counted_volume(SHAPE, AFFINE)]), NO_DOUBTS),
    "frames out of order": (
        lambda place: enhanced_file(place, [counted_volume(SHAPE, AFFINE)], order=SHUFFLED, in_shared=False),
        NO_DOUBTS,
    ),
    "one of two times": (two_times, Doubts(series="2")),
    "zip": (zip_of, NO_DOUBTS),
    "zip, tilted": (lambda place: zip_of(place, 0.6), NO_DOUBTS),
}


def read_kind(name: str, place: Path) -> Volume:
    make, doubts = KINDS[name]
    return read_dicom(make(place), "scan", doubts)
