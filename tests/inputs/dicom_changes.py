"""Changes to the scan of the DICOM rows, and what is read of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import UID

from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from tests.bundles import blob_volume
from tests.damage import (
    SAGITTAL,
    SCOUT,
    Damage,
    Files,
    copied,
    every,
    sync_class,
    unlink,
)
from tests.enhanced import enhanced_file
from tests.inputs.dicom_made import (
    AFFINE,
    CT,
    SCAN,
    reads,
    series,
    together,
)
from tests.inputs.row import Make
from tests.phantoms import edit_dicom, oblique, orientations

GOOD, AS_IT_IS = series(), reads(SCAN)
SUV = 74000 / (370e6 * 2 ** (-3600 / 6586.2))


def resampled(kept: list[int], places: list[float]) -> Volume:
    """The scan with slices at these places among those kept, linearly between them."""
    below = np.floor(places).astype(int).clip(max=len(kept) - 2)
    share = (np.array(places) - below).astype(np.float32)
    voxels = SCAN.voxels[..., kept].astype(np.float32)
    voxels = voxels[..., below] * (1 - share) + voxels[..., below + 1] * share
    return replace(SCAN, voxels=voxels, geometry=Geometry(voxels.shape[1:], AFFINE))


def part(start: int, stop: int) -> Volume:
    """Some of the slices."""
    voxels = SCAN.voxels[..., start:stop]
    return replace(SCAN, voxels=voxels, geometry=SCAN.geometry.crop((0, 0, start), voxels.shape[1:]))


def sheared(mm: float) -> Volume:
    """The scan with each slice so far behind the one before, in RAS."""
    affine = AFFINE.copy()
    affine[1, 2] = -mm
    return replace(SCAN, geometry=Geometry(SCAN.geometry.shape_ijk, affine))


def echo(files: Files) -> None:
    """A second echo of all slices, at the same places, with other values."""
    for path in copied(files):
        edit_dicom(path, EchoTime="80", PixelData=(255 - dcmread(path).pixel_array).astype("<i2").tobytes())
    for path in files:
        edit_dicom(path, EchoTime="20")


def encoded(syntax: str) -> Damage:
    """Every file in this transfer syntax, uncompressed or, by GDCM, compressed."""

    def damage(files: Files) -> None:
        for path in files:
            if UID(syntax).is_compressed:
                _compress(path, syntax)
                continue
            dataset = dcmread(path)
            dataset.PixelData = dataset.pixel_array.astype("<i2" if UID(syntax).is_little_endian else ">i2").tobytes()
            fresh = Dataset({element.tag: element for element in dataset})
            fresh.file_meta = dataset.file_meta
            fresh.file_meta.TransferSyntaxUID = syntax
            fresh.save_as(path, enforce_file_format=True)

    return damage


def _compress(path: Path, syntax: str) -> None:
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert dcmread(path).file_meta.TransferSyntaxUID == syntax


def bare(files: Files) -> None:
    for path in files:
        path.write_bytes(path.read_bytes()[132:])


def litter(files: Files) -> None:
    """What else lies on discs, and files without an ending."""
    folder = files[0].parent
    (folder / "README").write_text("DICOM from the scanner\n" * 20)
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    (folder / "empty.dcm").touch()
    for n, path in enumerate(files):
        path.rename(folder / f"IM{n}")


def objects(files: Files) -> None:
    """A mask, contours, a report and a document beside the images."""
    for n, path in enumerate(copied(files[:4])):
        kind = ("66.4", "481.3", "88.33", "104.1")[n]
        edit_dicom(path, SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{kind}", change=sync_class)


def only_objects(files: Files) -> None:
    objects(files)
    unlink(*range(len(files)))(files)


def renamed(files: Files) -> None:
    """Names in other scripts, half of the files in a folder of their own."""
    deep = files[0].parent / "放射線科"
    deep.mkdir()
    for n, path in enumerate(files):
        path.rename((deep if n % 2 else path.parent) / f"Müller — {12 - n}.DCM")


def multiframe(**options: Any) -> Make:
    def make(folder: Path) -> Path:
        return enhanced_file(folder, [SCAN], order=[*range(1, 13), 0], **options)

    return make


BORDER = np.zeros(CT.voxels.shape, bool)
BORDER[:, :, 0, 3] = True


def padded(files: Files) -> None:
    """The first row of slice 3 is no image."""
    for k, path in enumerate(files):
        dataset = dcmread(path)
        pixels = dataset.pixel_array.copy()
        pixels[0] = -2000 if k == 3 else pixels[0]
        edit_dicom(path, PixelData=pixels.tobytes(), change=_pad)


def _pad(dataset: Dataset) -> None:
    dataset.add_new("PixelPaddingValue", "SS", -2000)


def without_groups(folder: Path) -> Path:
    path = enhanced_file(folder, [SCAN])
    edit_dicom(path, "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
    return path


def turned(letters: str, degrees: Sequence[float] = (0, 0, 0), spacing_mm: Sequence[float] = (0.9, 1.1, 2.0)) -> Any:
    """Make and check of a scan in this orientation."""
    scan = blob_volume(oblique(orientations(spacing_mm)[letters], degrees))
    return {"make": series(volume=scan), "check": reads(scan)}


def with_values(voxels: Any, modality: str = "MR") -> Volume:
    """The scan with other values."""
    return replace(SCAN, voxels=np.asarray(voxels), modality=modality)


ALL = list(range(13))
SCOUTS = together(GOOD, series(every(**SCOUT, **SAGITTAL), seed="b"))
