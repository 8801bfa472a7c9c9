"""The template of a localiser on disk: digest first, then the checked reading of NIfTI."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from medseg.bundle.bundle import Bundle
from medseg.domain.errors import BundleError, InputError
from medseg.domain.volume import Volume

TEMPLATE = Path("models") / "template.nii.gz"
_MOST_BYTES, _MOST_VOXELS = 8 << 20, 200**3


def load_template(stored: Bundle) -> Volume | None:
    """The template (1, *S), uint8, or None where the bundle has no localiser.

    Raises: BundleError if the file is missing, has another digest or is no template.
    """
    if stored.localiser is None:
        return None
    path = stored.folder / TEMPLATE
    digest = template_digest(path)
    wanted = stored.localiser.template_sha256
    if digest != wanted:
        raise BundleError(
            f"{path}: sha256 is {digest[:12]}..., metadata.json says {wanted[:12]}...; "
            "the file was changed or damaged; copy the bundle again"
        )
    return read_template(path)


def template_digest(path: Path) -> str:
    """Raises: BundleError if there is no such file, or one too large for a template."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BundleError(f"{path}: {path.stat().st_size} bytes are more than a template has; resample it to 4 mm")
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BundleError(f"{path}: the template cannot be read ({error.strerror}); copy the bundle again") from error


def read_template(path: Path) -> Volume:
    """A volume of uint8 of which some voxels are 0, around the organ, and some are not.

    Raises: BundleError if it is something else.
    """
    from medseg.io.nifti import read_nifti

    try:
        template = read_nifti(path, "template")
    except InputError as error:
        raise BundleError(f"{error}; a template is a NIfTI file") from error
    voxels, spacing_mm = template.voxels, template.geometry.spacing_mm
    if not all(3 <= mm <= 6 for mm in spacing_mm):
        spacing = " x ".join(f"{mm:g}" for mm in spacing_mm)
        raise BundleError(f"{path}: a template has voxels of 3 to 6 mm, these are {spacing} mm; resample it to 4 mm")
    if (
        voxels.ndim != 4
        or voxels.dtype != np.uint8
        or voxels.size > _MOST_VOXELS
        or voxels.min() > 0
        or not voxels.any()
    ):
        raise BundleError(
            f"{path}: a template has three axes, at most {_MOST_VOXELS} voxels of uint8, and 0 outside of the organ; "
            f"this one is {' x '.join(map(str, voxels.shape[1:]))} {voxels.dtype} from {voxels.min()} to {voxels.max()}"
        )
    return template
