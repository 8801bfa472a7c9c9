"""A volume as one enhanced multi-frame file, made by hand so that its frames can be told wrong."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom import Sequence as Items
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EnhancedCTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian

from medseg.domain.volume import Volume
from tests.phantoms import dicom_folder

_CLASSES = {"CT": EnhancedCTImageStorage, "MR": EnhancedMRImageStorage}
_OWN = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "InstanceNumber")


def enhanced_file(
    folder: Path,
    volumes: Sequence[Volume],
    *,
    modality: str = "MR",
    order: Sequence[int] | None = None,
    slopes: Sequence[float] = (),
    in_shared: bool = True,
) -> Path:
    """One file; each volume is a temporal position, its frames in the given order of slices.

    slopes:    of each frame of a volume; 1 unless given.
    in_shared: orientation and spacing are said once for all frames, or by each.
    """
    frames, pixels, shared, whole = [], [], Dataset(), Dataset()
    for time, volume in enumerate(volumes, 1):
        classic = [dcmread(path) for path in dicom_folder(folder / f"classic{time}", volume, modality=modality).paths]
        whole = classic[0]
        for k in order if order is not None else range(len(classic)):
            one, frame = classic[k], Dataset()
            position, content, transform = Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient = one.ImagePositionPatient
            content.TemporalPositionIndex, content.StackID = time, "1"
            transform.RescaleSlope = str(slopes[k] if slopes else 1)
            transform.RescaleIntercept, transform.RescaleType = "0", "US" if modality == "MR" else "HU"
            frame.PlanePositionSequence = Items([position])
            frame.FrameContentSequence = Items([content])
            frame.PixelValueTransformationSequence = Items([transform])
            _describe(shared if in_shared else frame, one)
            frames.append(frame)
            pixels.append(one.pixel_array)
        for path in (folder / f"classic{time}").iterdir():
            path.unlink()
        (folder / f"classic{time}").rmdir()
    for keyword in (*_OWN, "RescaleSlope", "RescaleIntercept", "RescaleType"):
        if keyword in whole:
            del whole[keyword]
    whole.SOPClassUID = _CLASSES[modality]
    whole.NumberOfFrames = len(frames)
    whole.SharedFunctionalGroupsSequence = Items([shared])
    whole.PerFrameFunctionalGroupsSequence = Items(frames)
    whole.PixelData = np.stack(pixels).astype("<i2").tobytes()
    whole.file_meta = FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / "enhanced.dcm"
    whole.save_as(path, enforce_file_format=True)
    return path


def _describe(where: Dataset, one: Dataset) -> None:
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = one.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = one.PixelSpacing, one.SliceThickness
    where.PlaneOrientationSequence, where.PixelMeasuresSequence = Items([orientation]), Items([measures])
