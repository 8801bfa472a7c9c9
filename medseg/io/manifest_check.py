"""Whether a data set is what its manifest says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.domain.doubts import IS_IMAGE
from medseg.domain.errors import InputError, MedsegError
from medseg.domain.geometry import Geometry
from medseg.domain.manifest import Case, Manifest
from medseg.domain.volume import Volume
from medseg.io.images import read_image, read_mask, require_contrast
from medseg.io.manifest import case_paths, mask_to_labels
from medseg.io.manifest_build import sha256_of

TOLERANCE_MM = 0.1  # what training allows between an image and its mask


@dataclass(frozen=True)
class Finding:
    """Something to mend (error) or to know (warning); case is empty where the whole manifest is meant."""

    level: Literal["error", "warning"]
    case: str
    message: str


@dataclass
class _Met:
    """What the cases read so far held: each image's voxels, by digest, with its case; of so many masks the labels that
    were in none.
    """

    absent: set[int]
    voxels: dict[str, Case] = field(default_factory=dict)
    masks: int = 0


def check_manifest(manifest: Manifest, root: Path, on_case: Callable[[], None] = lambda: None) -> list[Finding]:
    """What is wrong with the manifest and its files below `root`, in the manifest's order; no findings, no faults.

    Every file is read and hashed, one case in memory at a time; `on_case` is called after each. That no group is in
    two splits, and no id there twice, is a law of `Manifest` itself; here are the ways around it: one image under two
    ids, the same voxels in another file, names that differ in case only.
    """
    findings = [*_names(manifest), *_same_images(manifest)]
    met = _Met(set(manifest.labels.values) if manifest.labels.kind == "semantic" else set())
    for case in manifest.cases:
        findings += _files(manifest, case, root, met)
        on_case()
    if met.masks == len(manifest.cases):
        absent = [label.name for label in manifest.labels if label.value in met.absent]
        told = "in no mask: nothing can be learned of it, and its scores tell nothing; leave it out of the labels"
        findings += [Finding("warning", "", f"label {name} is {told}") for name in absent]
    return findings


def _names(manifest: Manifest) -> Iterator[Finding]:
    ids: dict[str, Case] = {}
    groups: dict[str, Case] = {}
    for case in manifest.cases:
        other = ids.setdefault(case.id.casefold(), case)
        if other is not case:
            told = f"ids {other.id} and {case.id} differ in case only, so on some disks their masks collide; rename one"
            yield Finding("error", case.id, told)
        other = groups.setdefault(case.group.strip().casefold(), case)
        if other.split != case.split:
            told = f"groups {other.group!r} and {case.group!r} are in {other.split} and {case.split}"
            yield Finding("warning", case.id, f"{told}; if they are one patient, write them alike")


def _same_images(manifest: Manifest) -> Iterator[Finding]:
    """One image in two splits is a leak; twice in one split it only counts double."""
    first: dict[str, Case] = {}
    for case in manifest.cases:
        other = first.setdefault(case.sha256[0], case)
        if other is not case:
            yield _twice(case, other, "byte for byte")


def _twice(case: Case, other: Case, how: str) -> Finding:
    told = f"{case.image} is {other.image} {how}"
    if other.split != case.split:
        return Finding("error", case.id, f"{told}, in {other.split} and {case.split}; drop one")
    return Finding("warning", case.id, f"{told}; it counts double")


def _files(manifest: Manifest, case: Case, root: Path, met: _Met) -> Iterator[Finding]:
    paths = case_paths(case, root)
    missing = [path for path in paths if not path.is_file()]
    for path in missing:
        yield Finding("error", case.id, f"{path}: no such file; fetch it or drop the case")
    if missing:
        return
    try:
        for path, expected in zip(paths, case.sha256, strict=True):
            found = sha256_of(path)
            if found != expected:
                message = f"{path}: sha256 {found[:12]}..., the manifest says {expected[:12]}...; fetch the file anew"
                yield Finding("error", case.id, message)
        volume, (raw, mask_grid) = read_image(paths[0], IS_IMAGE), read_mask(paths[1])
    except MedsegError as error:
        yield Finding("error", case.id, str(error))
        return
    yield from _image(manifest, case, volume)
    yield from _saved_anew(case, volume, met)
    yield from _grid(case, volume.geometry, raw, mask_grid)
    try:
        labels = mask_to_labels(raw, manifest)
        met.absent -= {value for value in met.absent if (labels == value).any()}
        met.masks += 1
        if not labels.any():
            yield Finding("warning", case.id, f"{paths[1]}: holds background only; see whether that is meant")
    except MedsegError as error:
        yield Finding("error", case.id, f"{paths[1]}: {error}")


def _saved_anew(case: Case, volume: Volume, met: _Met) -> Iterator[Finding]:
    """The voxels of an earlier case in a file of other bytes; the same bytes are found by their digest."""
    digest = hashlib.sha256(repr(volume.voxels.shape).encode())
    digest.update(np.ascontiguousarray(volume.voxels, np.float32).data)  # however the numbers are stored
    other = met.voxels.setdefault(digest.hexdigest(), case)
    if other.sha256[0] != case.sha256[0]:
        yield _twice(case, other, "saved anew")


def _image(manifest: Manifest, case: Case, volume: Volume) -> Iterator[Finding]:
    axes = volume.geometry.spatial_dims
    if axes != manifest.spatial_dims:
        says = f"the manifest says {manifest.spatial_dims}"
        yield Finding("error", case.id, f"{case.image}: has {axes} axes, {says}; correct one of them")
    try:
        require_contrast(case.image, volume)
    except InputError as error:
        yield Finding("error", case.id, str(error))
    if volume.channels not in (1, manifest.channels):
        says = f"the manifest says {manifest.channels}"
        yield Finding("error", case.id, f"{case.image}: has {volume.channels} channels, {says}; correct one of them")


def _grid(case: Case, image: Geometry, raw: NDArray[Any], mask: Geometry | None) -> Iterator[Finding]:
    if image.shape_ijk != raw.shape:
        shapes = f"of shape {image.shape_ijk}, its mask of {raw.shape}"
        yield Finding("error", case.id, f"{case.image}: {shapes}; resample the mask onto the image or drop the case")
    elif mask is not None and not image.is_same_grid(mask, TOLERANCE_MM):
        far = f"up to {image.corner_distance_mm(mask):.3g} mm apart at the corners (at most {TOLERANCE_MM:g})"
        yield Finding("error", case.id, f"{case.image}: image and mask lie {far}; correct one affine or drop the case")
