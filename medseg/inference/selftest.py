"""Whether a bundle gives here the answer that stock MONAI gave where the bundle was made."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import monai
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from medseg.bundle.bundle import Bundle
from medseg.bundle.check import Check
from medseg.bundle.foreign import MonaiBundle
from medseg.bundle.selftest import FOLDER, MOST_VOXELS, SelfTest, file_names, read_self_test, store_self_test
from medseg.bundle.stock import stock_answer
from medseg.domain.doubts import IS_IMAGE
from medseg.domain.errors import BundleError, InputError, MedsegError, ResourceError, UsageError
from medseg.domain.labels import LabelMap
from medseg.domain.volume import Volume
from medseg.inference.model import load_model
from medseg.inference.segment import segment
from medseg.io.digest import file_digest
from medseg.io.files import whole_file
from medseg.io.images import read_image, read_mask
from medseg.io.nifti import write_nifti, write_nifti_image
from medseg.io.picture import write_picture_mask
from medseg.io.png import write_png

MOST_DIFFERING = 1e-4  # of the voxels: near-ties of two labels, which another processor may round the other way


def self_test(stored: Bundle | MonaiBundle) -> Check:
    """The stored image, segmented in fp32 on the CPU, against the stored answer, voxel for voxel.

    Raises: ResourceError for a lack of memory; all else is told.
    """
    if isinstance(stored, MonaiBundle):
        return Check("self-test", "answer", "lacks", "no self-test; other people's bundles carry none that is read")
    try:
        told = read_self_test(stored)
        if told is None:
            return Check("self-test", "answer", "lacks", "no self-test; medseg bundle selftest makes one")
        image, answer = (stored.folder / FOLDER / name for name in file_names(stored))
        volume, (labels, _) = read_image(image, IS_IMAGE), read_mask(answer)
        if max(volume.voxels[0].size, labels.size) > MOST_VOXELS:
            raise BundleError(f"{image}: {volume.voxels[0].size} voxels; a self-test has at most {MOST_VOXELS}")
        return _compared(_segmented(stored, volume).voxels, labels, stored, f"stock MONAI {told.monai}")
    except ResourceError:
        raise
    except MedsegError as error:
        return Check("self-test", "answer", "fails", str(error))


def make_self_test(stored: Bundle, source: Path, about: str) -> Check:
    """Ask stock MONAI for its mask of an image, and store both in the bundle if this program comes to the same mask.

    Of the image its voxels and its grid are stored, nothing else of its file.
    about: what the image is and who may use it.
    Raises: InputError and its kinds where the image does not suit the bundle, or shows nothing of what it looks for;
            UsageError for one too large; BundleError where stock MONAI fails or comes to another mask.
    """
    volume = read_image(source, IS_IMAGE)
    if volume.geometry.spatial_dims != stored.network.spatial_dims or volume.voxels[0].size > MOST_VOXELS:
        shape = " x ".join(map(str, volume.geometry.shape_ijk))
        raise UsageError(
            f"{source}: {shape} voxels; a self-test has {stored.network.spatial_dims} axes and at most "
            f"{MOST_VOXELS} voxels; cut out a part"
        )
    with TemporaryDirectory() as folder:
        image, answer = (Path(folder, name) for name in file_names(stored))
        _write_image(volume, image)
        ours = _segmented(stored, read_image(image, IS_IMAGE))
        theirs, _ = read_mask(stock_answer(stored, image, Path(folder, "stock")))
        compared = _compared(ours.voxels, theirs, stored, f"stock MONAI {monai.__version__}")
        if compared.state != "ok":
            raise BundleError(f"{stored.folder}: {compared.fact}; nothing is stored")
        if not theirs.any():
            raise InputError(f"{source}: stock MONAI finds none of the bundle's labels in it; give another image")
        write = write_nifti if image.name.endswith(".nii.gz") else write_picture_mask
        write(LabelMap(theirs, ours.geometry, stored.labels), answer)
        versions = (monai.__version__, torch.__version__.split("+")[0])
        digests = (file_digest(image), file_digest(answer), stored.weights_sha256)
        store_self_test(stored, Path(folder), SelfTest(*digests, *versions, about))
    return self_test(stored)


def differing(ours: NDArray[Any], theirs: NDArray[Any], instances: bool) -> int:
    """How many voxels of two masks of one shape have another label.

    instances: their numbers mean nothing; each is paired with at most one of the other mask, for the most agreement.

    >>> differing(np.array([0, 2, 2, 1, 1, 1]), np.array([0, 1, 1, 2, 2, 3]), instances=True)
    1
    """
    if not instances:
        return int(np.count_nonzero(ours != theirs))
    mine, where_mine = np.unique(ours, return_inverse=True)
    yours, where_yours = np.unique(theirs, return_inverse=True)
    shared = np.zeros((mine.size, yours.size), np.int64)
    np.add.at(shared, (where_mine.ravel(), where_yours.ravel()), 1)
    ground = shared[np.ix_(mine == 0, yours == 0)]
    things = shared[np.ix_(mine > 0, yours > 0)]
    return int(ours.size - ground.sum() - things[linear_sum_assignment(things, maximize=True)].sum())


def _compared(ours: NDArray[Any], theirs: NDArray[Any], stored: Bundle, who: str) -> Check:
    if ours.shape != theirs.shape:
        return Check("self-test", "answer", "fails", f"the mask is {ours.shape}, that of {who} {theirs.shape}")
    count = differing(ours, theirs, stored.labels.kind == "instances")
    fact = f"{count:,} of {ours.size:,} voxels differ from {who}"
    if count > MOST_DIFFERING * ours.size:
        return Check("self-test", "answer", "fails", f"{fact}; near-ties are at most {MOST_DIFFERING:.2%}")
    return Check("self-test", "answer", "ok", fact)


def _segmented(stored: Bundle, volume: Volume) -> LabelMap:
    return segment(volume, load_model(stored, torch.device("cpu"), "fp32")).label_map


def _write_image(volume: Volume, path: Path) -> None:
    """Raises: UsageError for values that the form has no place for."""
    channels, dtype = volume.channels, volume.voxels.dtype
    if path.name.endswith(".nii.gz"):
        if channels != 1:
            raise UsageError(f"{volume.case}: has {channels} channels; the volume of a self-test has one")
        write_nifti_image(volume.voxels[0], volume.geometry, path)
        return
    if (channels, dtype) not in ((1, np.uint8), (3, np.uint8), (1, np.uint16)):
        raise UsageError(f"{volume.case}: {channels} channels of {dtype}; the picture of a self-test fits into a PNG")
    with whole_file(path) as temporary:
        write_png(volume.voxels[0] if channels == 1 else np.moveaxis(volume.voxels, 0, -1), temporary)
