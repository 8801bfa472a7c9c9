"""Files of tensors that a stranger wrote: sizes first, tensors only, never another way in."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medseg.domain.errors import BundleError

_MOST_BYTES = 4 << 30
_MOST_ARRAY_BYTES = 16 << 20
_MOST_PICKLE_BYTES = 64 << 20


def load_state(path: Path, key: str) -> dict[str, Tensor]:
    """The state dict in a checkpoint: the whole of it, or what stands under `key`.

    Raises: BundleError for TorchScript, a pickle, a legacy file, sizes that do not add up, or anything but tensors.
    """
    if path.suffix == ".safetensors":
        data: Any = _load_safetensors(path)
    else:
        data = _load(path, _MOST_BYTES)
    if isinstance(data, dict) and isinstance(data.get(key), dict):
        data = data[key]
    if not isinstance(data, dict) or not data or not all(isinstance(k, str) for k in data):
        raise BundleError(f"{path}: holds no state dict of a network")
    for name, value in data.items():
        if isinstance(value, Tensor) and value.device.type != "cpu":
            raise BundleError(
                f"{path}: {name!r:.80} has no values (device {value.device.type}); save the weights again"
            )
        if not isinstance(value, Tensor) or value.is_quantized or value.layout != torch.strided:
            raise BundleError(f"{path}: {name!r:.80} is no plain tensor; save the state dict alone")
    return data


def load_arrays(path: Path) -> Any:
    """What `torch.load` gives in an expression: dicts and lists of numbers, tensors and numpy arrays."""
    data = _load(path, _MOST_ARRAY_BYTES, _numpy_names())
    pending = [data]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, (list, tuple)):
            pending += item
        elif isinstance(item, Tensor) and item.device.type != "cpu":
            raise BundleError(f"{path}: holds a tensor without values (device {item.device.type}); save it again")
        elif isinstance(item, np.ndarray) and item.dtype.kind not in "biuf":
            raise BundleError(f"{path}: holds an array of {item.dtype}; numbers only")
    return data


def _load(path: Path, most_bytes: int, names: list[Any] | None = None) -> Any:
    _require_archive(path, most_bytes)
    try:
        with torch.serialization.safe_globals(names or []):
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # unpickling raises nearly anything on a damaged or hostile file
        raise BundleError(f"{path}: holds more than tensors, or is damaged ({_first_line(error)})") from error


def _require_archive(path: Path, most_bytes: int) -> None:
    """A zip archive as `torch.save` writes it: stored, not compressed, of bounded size, and no TorchScript."""
    if path.suffix in (".ts", ".pkl", ".pickle", ".npy", ".npz"):
        raise BundleError(f"{path}: {path.suffix} files can hold code and are not read; export a state dict (.pt)")
    try:
        if path.stat().st_size > most_bytes:
            raise BundleError(f"{path}: {path.stat().st_size} bytes are more than a file of this kind holds")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except FileNotFoundError as error:
        raise BundleError(f"{path}: missing; copy the bundle again, with its large files") from error
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); copy the bundle again") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise BundleError(f"{path}: no archive of tensors as torch.save writes it ({_first_line(error)})") from error
    names = [member.filename for member in members]
    if any("/code/" in name or name.endswith("/constants.pkl") for name in names):
        raise BundleError(f"{path}: is TorchScript, which is code; a state dict (.pt) is read")
    stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
    size = sum(member.file_size for member in members)
    pickles = sum(member.file_size for member in members if member.filename.endswith(".pkl"))
    if not stored or size > path.stat().st_size or pickles > _MOST_PICKLE_BYTES or len(set(names)) < len(names):
        raise BundleError(f"{path}: its members are compressed, doubled or claim {size} bytes; save it again")


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BundleError(f"{path}: {path.stat().st_size} bytes are more than a file of this kind holds")
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BundleError(f"{path}: no safetensors file ({_first_line(error)})") from error


def _numpy_names() -> list[Any]:
    """What a pickled array of numbers names: DiNTS keeps its architecture so."""
    kinds = [type(np.dtype(kind)) for kind in (bool, *"bBhHiIlLqQefd")]
    import _codecs

    from numpy._core.multiarray import _reconstruct, scalar

    old = [(_reconstruct, "numpy.core.multiarray._reconstruct"), (scalar, "numpy.core.multiarray.scalar")]
    return [_reconstruct, scalar, *old, np.ndarray, np.dtype, _codecs.encode, *dict.fromkeys(kinds)]


def _first_line(error: BaseException) -> str:
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    return "".join(c if c.isprintable() else " " for c in text[:160])
