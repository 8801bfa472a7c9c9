"""Manifests on disk: strict JSON, one case a line, and where their files are."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import InputError, UsageError, ValueRangeError
from medseg.domain.manifest import Case, Manifest
from medseg.domain.spec import from_plain, to_plain
from medseg.domain.words import counted
from medseg.io.files import write_text

DATA_VARIABLE = "MEDSEG_DATA"
_LARGEST_BYTES = 256 * 2**20  # about half a million cases


def read_manifest(path: Path) -> Manifest:
    """The manifest in a JSON file.

    Raises: UsageError if there is no such file; InputError if it is above 256 MiB, no JSON, names a key twice, or is
            not exactly what `write_manifest` writes (unknown or missing keys, values of another type, a torn group).
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST_BYTES:
            raise InputError(f"{path}: {size / 2**20:.0f} MiB is no manifest (at most 256); give the JSON of the cases")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); give a manifest, as `medseg manifest build` writes it"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8; save the manifest as UTF-8") from error
    try:
        plain = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        manifest = from_plain(Manifest, plain, "manifest")
        _check_mask_values(manifest)
    except (UsageError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: {error}; correct the manifest or build it anew") from error
    return manifest


def write_manifest(manifest: Manifest, path: Path) -> None:
    """One label a line and one case a line, keys in their order in the class, so that a diff shows which cases changed.

    Raises: UsageError if the root is an absolute path: a manifest must serve on other machines too; or if mask_values
            lead to a value that is no label.
    """
    _relative_root(manifest)
    _check_mask_values(manifest)
    plain = to_plain(manifest)
    cases, labels = plain.pop("cases"), plain.pop("labels")
    lines = [f"  {_line(key)}: {_line(value)}" for key, value in plain.items()]
    lines.append(f'  "labels": {{"kind": {_line(labels["kind"])}, "labels": {_block(labels["labels"])}}}')
    lines.append(f'  "cases": {_block([_without_empty_kind(case) for case in cases])}')
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def data_root(manifest: Manifest, manifest_path: Path, override: Path | None = None) -> Path:
    """The folder that the paths of the cases start from.

    The override comes first. A root "MEDSEG_DATA/x" is the folder x below the one that the environment variable
    MEDSEG_DATA names; any other root is relative to the manifest's own folder.

    Raises: UsageError if the variable is not set or the folder does not exist.
    """
    parts = _relative_root(manifest).parts
    if override is not None:
        folder, fix = override, "give the folder of the images and masks"
    elif parts[:1] == (DATA_VARIABLE,):
        base = os.environ.get(DATA_VARIABLE)
        if not base:
            raise UsageError(
                f"{manifest_path}: its files are below {manifest.root}, but {DATA_VARIABLE} is not set; "
                f"set {DATA_VARIABLE} to the folder that holds {'/'.join(parts[1:]) or 'them'}"
            )
        folder, fix = Path(base).joinpath(*parts[1:]), f"set {DATA_VARIABLE} to the folder above it"
    else:
        folder, fix = manifest_path.parent.joinpath(*parts), "correct the manifest's root or give the data's folder"
    if not folder.is_dir():
        raise UsageError(f"{manifest_path}: its files should be in {folder}, which is no folder; {fix}")
    return folder


def case_paths(case: Case, root: Path) -> tuple[Path, Path]:
    """Image file and mask file."""
    return root / case.image, root / case.mask


def mask_to_labels(raw: NDArray[Any], manifest: Manifest) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The values of a mask file as label values, (*S) to (*S); uint16 where one is above 255.

    Semantic tables: through `mask_values` where the manifest has them, 0 stays 0. Instance tables: the values number
    the things and are kept.

    Raises: ValueRangeError, naming up to five of the values, if some are fractions, negative or not in the table.
    """
    found, place, voxels = np.unique(raw, return_inverse=True, return_counts=True)
    if manifest.labels.kind == "instances":
        known = {value: int(value) for value in found if value == np.floor(value) and 0 <= value <= 65535}
    elif manifest.mask_values is not None:
        known = {0: 0} | {int(key): value for key, value in manifest.mask_values.items()}
    else:
        known = {value: value for value in (0, *manifest.labels.values)}
    strange = [pair for pair in zip(found.tolist(), voxels.tolist(), strict=True) if pair[0] not in known]
    if strange:
        named = ", ".join(f"{value:g} in {counted(count, 'voxel')}" for value, count in strange[:5])
        more = f" and {len(strange) - 5} more values" if len(strange) > 5 else ""
        raise ValueRangeError(
            f"the mask holds {named}{more}, no label of manifest {manifest.name}, which knows {_shown(known)}; correct "
            "the mask, or build the manifest with --mask-value FILE_VALUE=LABEL_VALUE for each value but 0"
        )
    values = np.array([known[value] for value in found.tolist()])
    place = place.reshape(raw.shape)
    return values.astype(np.uint16)[place] if values.max(initial=0) > 255 else values.astype(np.uint8)[place]


def _check_mask_values(manifest: Manifest) -> None:
    allowed = (0, *manifest.labels.values)
    for key, value in (manifest.mask_values or {}).items():
        if not (key.isascii() and key.isdigit()):
            raise UsageError(f"mask_values: key {key!r} is not a whole number from 0")
        if value not in allowed:
            raise UsageError(f"mask_values: {key} becomes {value}, which is no label; labels are {_shown(allowed)}")
    if manifest.mask_values and manifest.labels.kind == "instances":
        raise UsageError("mask_values has no meaning where the mask values number instances")


def _relative_root(manifest: Manifest) -> PurePosixPath:
    root = PurePosixPath(manifest.root)
    if root.is_absolute() or PureWindowsPath(manifest.root).drive or "\\" in manifest.root:
        raise UsageError(
            f"manifest {manifest.name}: root {manifest.root!r} fits one machine only; write "
            f"{DATA_VARIABLE}/<folder> or a path relative to the manifest, with forward slashes"
        )
    if root.parts[:1] == (DATA_VARIABLE,) and ".." in root.parts:
        raise UsageError(
            f"manifest {manifest.name}: root {manifest.root!r} leaves {DATA_VARIABLE}; write it without .."
        )
    return root


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
    return plain


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _without_empty_kind(case: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in case.items() if (key, value) != ("kind", "")}


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _block(items: list[Any]) -> str:
    return "[\n" + ",\n".join(f"    {_line(item)}" for item in items) + "\n  ]" if items else "[]"


def _shown(values: Any) -> str:
    shown = sorted(values)
    return ", ".join(map(str, shown[:8])) + (", ..." if len(shown) > 8 else "")
