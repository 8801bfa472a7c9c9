"""A volume as a classic single-frame DICOM series: for the demonstration and for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from medseg.domain.errors import GridError, OutputError, UsageError
from medseg.domain.geometry import Float64Array, Geometry
from medseg.domain.series import Series
from medseg.domain.volume import Volume
from medseg.io.dicom_stack import LPS_TO_RAS
from medseg.io.dicom_uid import derived_uid
from medseg.io.files import whole_file

_CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage}


def write_series(volume: Volume, folder: Path, *, modality: str = "MR", seed: str = "medseg") -> Series:
    """One file a slice into an empty or new folder, with a generated patient and UIDs that follow from the seed.

    The slices are those of the third axis. DICOM numbers them along the cross product of the first two, so a grid
    that runs the other way is written, and read back, with that axis flipped: the same voxels at the same positions.
    Raises: UsageError for a volume that is not three axes of one int16 channel, or a modality other than CT and MR;
    GridError if the axes are not perpendicular; OutputError if the folder is not empty or cannot be written.
    """
    if volume.voxels.dtype != np.int16 or volume.channels != 1 or volume.geometry.spatial_dims != 3:
        raise UsageError(
            f"a DICOM series is written of int16 voxels (1, i, j, k), not {volume.voxels.dtype} {volume.voxels.shape}"
        )
    if modality not in _CLASSES:
        raise UsageError(f"a DICOM series is written as {' or '.join(_CLASSES)}, not {modality!r}")
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"{folder}: is not empty, and slices of two series must not mix; choose a new folder")
    slices = volume.voxels[0].T  # (k, j, i): of each slice the rows, of each row the columns
    grid = _right_handed(volume.geometry)
    if grid is not volume.geometry:
        slices = slices[::-1]
    axes, spacing_mm = _axes(grid)
    affine_lps = LPS_TO_RAS @ grid.affine_ras
    common = _common(modality, seed, axes, spacing_mm, slices.shape)
    paths = []
    for k, pixels in enumerate(slices):
        dataset = Dataset(common)
        position = affine_lps[:3, 3] + k * spacing_mm[2] * axes[:, 2]
        dataset.SOPInstanceUID = derived_uid(seed, f"slice {k}")
        dataset.InstanceNumber = k + 1
        dataset.ImagePositionPatient = _decimals(position)
        dataset.PixelData = np.ascontiguousarray(pixels, dtype="<i2").tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        paths.append(folder / f"slice_{k:04d}.dcm")
        with whole_file(paths[-1]) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
    return Series(str(common.SeriesInstanceUID), modality, tuple(paths))


def _right_handed(geometry: Geometry) -> Geometry:
    """The same grid with its third axis turned round where it runs against the cross product of the others.

    LPS and RAS differ by half a turn, so handedness is the same in both.
    """
    affine = geometry.affine_ras.copy()
    if np.linalg.det(affine[:3, :3]) > 0:
        return geometry
    affine[:3, 3] += (geometry.shape_ijk[2] - 1) * affine[:3, 2]
    affine[:3, 2] *= -1
    return Geometry(geometry.shape_ijk, affine)


def _axes(grid: Geometry) -> tuple[Float64Array, Float64Array]:
    """Unit axes, LPS, as columns of a rotation, and the spacing along each."""
    affine = LPS_TO_RAS @ grid.affine_ras
    spacing_mm = np.array(grid.spacing_mm)
    first = affine[:3, 0] / spacing_mm[0]
    second = affine[:3, 1] - first * (first @ affine[:3, 1])
    second = second / np.linalg.norm(second)
    axes = np.stack([first, second, np.cross(first, second)], axis=1)
    upright = affine.copy()
    upright[:3, :3] = axes * spacing_mm
    if not grid.is_same_grid(Geometry(grid.shape_ijk, LPS_TO_RAS @ upright)):
        raise GridError(
            "the axes of the volume are not perpendicular, which a plain DICOM series cannot say; resample it first"
        )
    return axes, spacing_mm


def _common(modality: str, seed: str, axes: Float64Array, spacing_mm: Float64Array, shape: tuple[int, ...]) -> Dataset:
    """All that the slices share: the mandatory elements of the CT and MR image objects (PS3.3 A.3, A.4)."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["DERIVED", "PRIMARY", "AXIAL" if modality == "CT" else "OTHER"]
    dataset.SOPClassUID = _CLASSES[modality]
    dataset.Modality = modality
    dataset.PatientName, dataset.PatientID = "GENERATED^DEMO", "GENERATED"
    dataset.StudyInstanceUID = derived_uid(seed, "study")
    dataset.SeriesInstanceUID = derived_uid(seed, "series")
    dataset.FrameOfReferenceUID = derived_uid(seed, "frame of reference")
    dataset.StudyID, dataset.SeriesNumber, dataset.AcquisitionNumber = "1", 1, 1
    dataset.PatientPosition = "HFS"
    empty = "PatientBirthDate PatientSex StudyDate StudyTime AccessionNumber ReferringPhysicianName Manufacturer"
    empty += " PositionReferenceIndicator"
    empty += " KVP" if modality == "CT" else " ScanOptions RepetitionTime EchoTime EchoTrainLength"
    for keyword in empty.split():
        setattr(dataset, keyword, None)
    if modality == "CT":
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "HU"
    else:
        dataset.ScanningSequence, dataset.SequenceVariant, dataset.MRAcquisitionType = "RM", "NONE", "3D"
    dataset.ImageOrientationPatient = _decimals(axes[:, :2].T.ravel())
    dataset.PixelSpacing = _decimals(spacing_mm[[1, 0]])
    dataset.SliceThickness = _decimals(spacing_mm[2:])[0]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = shape[1:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    return dataset


def _decimals(values: Float64Array) -> list[Any]:
    """As many digits as the 16 characters of a decimal string take."""
    texts = [format_number_as_ds(float(value)) for value in values]
    # pydicom gives 17 characters for numbers just below a power of ten
    return [t if len(t) <= 16 else f"{float(v):.12g}" for t, v in zip(texts, values, strict=True)]
