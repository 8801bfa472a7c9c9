"""As many channels as a network takes."""

from __future__ import annotations

import numpy as np

from medseg.domain.errors import InputError
from medseg.domain.volume import Volume


def fit_channels(volume: Volume, channels: int | None, name: str) -> Volume:
    """The volume with as many channels as the network takes.

    Raises: InputError, naming the image, where a colour image would have to become grey.
    """
    if channels is None or volume.channels == channels:
        return volume
    if volume.channels != 1:
        raise InputError(
            f"{name}: has {volume.channels} colour channels, the model takes {channels}; convert the picture to grey"
        )
    voxels = np.repeat(volume.voxels, channels, axis=0)
    return Volume(
        voxels, volume.geometry, volume.case, volume.modality, volume.nifti_header, volume.series, volume.notes
    )
