"""Where the voxels of a NIfTI lie: two affines that must agree, in millimetres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nibabel.spatialimages import HeaderDataError

from medseg.domain.doubts import Doubts
from medseg.domain.errors import GridError
from medseg.domain.geometry import Float64Array, nearest_rotation, unit_volume

_UNITS = {0: ("unknown units", 1.0), 1: ("metres", 1000.0), 2: ("mm", 1.0), 3: ("microns", 0.001)}  # name, mm
_APART_MM = 0.5


def affine_ras(path: Path, header: Any, doubts: Doubts) -> tuple[Float64Array, tuple[str, ...]]:
    """The affine in millimetres, float64, and notes on what was converted or taken on the user's word.

    Raises: GridError for voxel sizes that are none, an unknown unit, no affine at all, one that is singular or not
    finite, and two that lie apart; the last and the missing affine are doubts that the user can answer.
    """
    with np.errstate(all="ignore"):  # of numbers that are none, which are then refused
        return _affine_ras(path, header, doubts)


def _affine_ras(path: Path, header: Any, doubts: Doubts) -> tuple[Float64Array, tuple[str, ...]]:
    zooms = np.asarray(header["pixdim"][1 : 1 + min(int(header["dim"][0]), 3)], dtype=np.float64)
    if not np.isfinite(zooms).all() or (zooms <= 0).any():
        raise GridError(f"{path}: voxel sizes {zooms.tolist()} in the header; set pixdim to the true, positive sizes")
    code = int(header["xyzt_units"]) & 7  # the other bits are the unit of time
    if code not in _UNITS:
        raise GridError(f"{path}: unknown unit of length (code {code}); set it to mm")
    unit, mm = _UNITS[code]
    notes = [f"voxel sizes were in {unit} and were converted to mm"] if mm != 1 else []
    forms = {}
    for name in ("sform", "qform"):
        if int(header[f"{name}_code"]) > 0 and doubts.affine in (None, name):
            forms[name] = _checked(path, name, _sform(header) if name == "sform" else _qform(path, header), mm)
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        if not doubts.assume_ras:
            raise GridError(
                f"{path}: neither sform nor qform is set, so left and right are unknown; set one of them, or give "
                "--assume RAS if that is how it lies"
            )
        notes.append("neither sform nor qform is set; axes taken as right, anterior, superior, as told")
        return np.diag([*(zooms * mm), *[mm] * (3 - len(zooms)), 1.0]), tuple(notes)
    if not forms:
        raise GridError(f"{path}: --affine {doubts.affine} is not set in this file; leave the option out")
    if len(forms) == 2:
        _require_agreement(path, header, **forms)
    elif doubts.affine is not None and _are_both_set(header):
        notes.append(f"of sform and qform the {doubts.affine} was taken, as told")
    return next(iter(forms.values())), tuple(notes)


def _are_both_set(header: Any) -> bool:
    return int(header["sform_code"]) > 0 and int(header["qform_code"]) > 0


def _checked(path: Path, name: str, affine: Float64Array, mm: float) -> Float64Array:
    affine[:3] *= mm
    if not np.isfinite(affine).all() or not unit_volume(affine) > 1e-6:
        other = {"sform": "qform", "qform": "sform"}[name]
        raise GridError(
            f"{path}: the {name} is singular or not finite; set sform and qform in the header again, or give "
            f"--affine {other} if that one is set and true"
        )
    return affine


def _sform(header: Any) -> Float64Array:
    return np.asarray(header.get_sform(), dtype=np.float64)


def _qform(path: Path, header: Any) -> Float64Array:
    header = header.copy()
    header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1  # the handedness; the standard takes 0 for 1
    if header["dim"][0] == 2 and not header["pixdim"][3] > 0:
        header["pixdim"][3] = 1  # a third axis that the image does not have
    try:
        return np.asarray(header.get_qform(), dtype=np.float64)
    except (ValueError, HeaderDataError, np.linalg.LinAlgError) as error:
        raise GridError(
            f"{path}: the qform's quaternion is no rotation; set sform and qform in the header again"
        ) from error


def _require_agreement(path: Path, header: Any, sform: Float64Array, qform: Float64Array) -> None:
    """Both forms, where both are set, put every corner voxel in one place.

    A shear cannot stand in a qform, whose writer may have taken the rotation it liked; a sheared sform may lie apart
    by twice what the shear itself moves a corner.
    """
    n = min(int(header["dim"][0]), 3)
    shape = [int(m) for m in header["dim"][1 : 1 + n]]
    corners = np.array(np.meshgrid(*[(0, m - 1) for m in shape])).reshape(n, -1).T
    most = _APART_MM + 2 * _apart_mm(corners, sform, _without_shear(sform))
    apart = _apart_mm(corners, sform, qform)
    if not apart <= most:
        raise GridError(
            f"{path}: sform and qform disagree by up to {apart:.1f} mm, so the position is in doubt: "
            f"sform {_in_words(sform)}, qform {_in_words(qform)}; give --affine sform or --affine qform"
        )


def _apart_mm(corners: Float64Array, one: Float64Array, other: Float64Array) -> float:
    n = corners.shape[1]
    moved = corners @ (one - other)[:3, :n].T + (one - other)[:3, 3]
    return float(np.linalg.norm(moved, axis=1).max())


def _without_shear(affine: Float64Array) -> Float64Array:
    """The affine itself where its axes stand at right angles up to rounding."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / lengths
    if np.abs(axes.T @ axes - np.eye(3)).max() <= 1e-3:
        return affine
    straight = affine.copy()
    straight[:3, :3] = nearest_rotation(axes) * lengths
    return straight


def _in_words(affine: Float64Array) -> str:
    """The three rows.

    >>> _in_words(np.diag([2.0, 2.0, 3.5, 1.0]))
    '[2 0 0 0; 0 2 0 0; 0 0 3.5 0]'
    """
    return "[" + "; ".join(" ".join(f"{number + 0.0:.4g}" for number in row) for row in affine[:3]) + "]"
