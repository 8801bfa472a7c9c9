"""DICOM inputs for the table, and what must be read of them."""

from __future__ import annotations

import functools
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom import Sequence as Items
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from medseg.domain.doubts import NO_DOUBTS, Doubts
from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.inference.model import Model
from medseg.inference.segment import segment
from medseg.io.images import read_image
from medseg.io.upright import upright
from tests.bundles import blob_volume, random_model, volume_bundle
from tests.damage import Damage, Files
from tests.inputs.row import Accepted, Make
from tests.phantoms import dicom_folder, edit_dicom

AFFINE = np.array([[-0.9, 0, 0, 20], [0, -1.1, 0, -30], [0, 0, 2, 5], [0, 0, 0, 1.0]])
SCAN = blob_volume(AFFINE)
CT = replace(SCAN, voxels=SCAN.voxels * 5 - 500, modality="CT")
DRUG = {"RadionuclideTotalDose": "370000000", "RadionuclideHalfLife": "6586.2"}
PET = {
    "Modality": "PT", "Units": "BQML", "DecayCorrection": "START", "PatientWeight": "74", "SeriesDate": "20200310",
    "SeriesTime": "113000", "AcquisitionDate": "20200310", "AcquisitionTime": "113000",
}  # fmt: skip


def series(*damages: Damage, volume: Volume = SCAN, modality: str = "MR", name: str = "scan", seed: str = "a") -> Make:
    """A maker of a folder with the volume as a series, damaged."""

    def make(folder: Path) -> Path:
        files = list(dicom_folder(folder / name, volume, modality=modality, seed=seed).paths)
        for damage in damages:
            damage(files)
        return folder / name

    return make


def ct(*damages: Damage) -> Make:
    """As `series`, of the CT."""
    return series(*damages, volume=CT, modality="CT")


def together(*makes: Make) -> Make:
    """Several series in one folder."""

    def make(folder: Path) -> Path:
        for n, part in enumerate(makes):
            (folder / "scans").mkdir(exist_ok=True)
            made = part(folder)
            assert isinstance(made, Path)
            made.rename(folder / "scans" / f"part{n}")
        return folder / "scans"

    return make


def zipped(make: Make) -> Make:
    """What is made, in a zip, with a name among them that points elsewhere."""

    def pack(folder: Path) -> Path:
        made = make(folder)
        assert isinstance(made, Path)
        with zipfile.ZipFile(folder / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(made.iterdir()):
                archive.write(path, f"../../{path.name}")
            archive.writestr("notes.txt", "nothing to see")
        shutil.rmtree(made)
        return folder / "scan.zip"

    return pack


def disc(make: Make) -> Make:
    """What is made, as a disc with a DICOMDIR, which is what is given."""

    def write(folder: Path) -> Path:
        made = make(folder)
        assert isinstance(made, Path)
        records, directory = [], Dataset()
        (folder / "disc" / "IMAGES").mkdir(parents=True)
        for n, path in enumerate(sorted(made.iterdir())):
            path.rename(folder / "disc" / "IMAGES" / f"IM{n:06d}")
            record = Dataset()
            record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["IMAGES", f"IM{n:06d}"]
            records.append(record)
        made.rmdir()
        directory.DirectoryRecordSequence = Items([Dataset(), *records])  # the first of a patient, who has no file
        directory.file_meta = FileMetaDataset()
        directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
        directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        directory.save_as(folder / "disc" / "DICOMDIR", enforce_file_format=True)
        return folder / "disc" / "DICOMDIR"

    return write


def drug(**changes: str) -> Damage:
    """The radiopharmaceutical of a PET series, given an hour before the scan."""

    def damage(files: Files) -> None:
        for path in files:
            given = Dataset()
            for keyword, value in {**DRUG, "RadiopharmaceuticalStartTime": "103000", **changes}.items():
                setattr(given, keyword, value)
            edit_dicom(path, RadiopharmaceuticalInformationSequence=Items([given]))

    return damage


def each(**values: Callable[[int], object]) -> Damage:
    """Values that follow from the number of the slice."""
    return lambda files: [edit_dicom(p, **{w: f(k) for w, f in values.items()}) for k, p in enumerate(files)]


def leaning(mm: float) -> Damage:
    """Each slice so far aside of the one before, along the rows, in LPS."""

    def damage(files: Files) -> None:
        for k, path in enumerate(files):
            x, y, z = dcmread(path).ImagePositionPatient
            edit_dicom(path, ImagePositionPatient=[x, y + k * mm, z])

    return damage


def reads(truth: Volume, doubts: Doubts = NO_DOUBTS, tolerance: float = 0.0) -> Callable[[Accepted], None]:
    """The input has these values within 0.01 mm of these places, and its mask is that of this volume."""

    def check(accepted: Accepted) -> None:
        volume = read_image(accepted.source, doubts)
        assert volume.geometry.is_same_grid(truth.geometry, 0.01)
        np.testing.assert_allclose(volume.voxels, truth.voxels, rtol=1e-6, atol=tolerance)
        expected = upright(segment(replace(truth, modality="MR"), _model()).label_map)
        assert accepted.affine_ras is not None
        assert Geometry(accepted.mask.shape, accepted.affine_ras).is_same_grid(expected.geometry, 0.01)
        assert (accepted.mask != expected.voxels).mean() < 1e-3  # decimal strings round a near-tie
        assert len(np.unique(accepted.mask)) == 3

    return check


@functools.cache
def _model() -> Model:
    """The bundle of the rows, which differ by the name of their modality only."""
    with tempfile.TemporaryDirectory() as folder:
        return random_model(volume_bundle(), Path(folder) / "organs", seed=2)
