"""What expressions may call and name: pure functions, constants, and functions of tensors inside lambdas."""

from __future__ import annotations

import copy
import math
import posixpath
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

MOST_ITEMS = 4096
LARGEST_NUMBER = 2**53
MOST_ELEMENTS = 2**33  # of a tensor, 8 bytes each at most: beyond any scan


class NotRun(Exception):
    """An expression, or a part of one, that is not run without trust; the message names the part."""


def bounded(value: Any) -> Any:
    """The value, if it is of bounded size: numbers up to 2**53, sequences and texts of up to 4096 items.

    Raises: NotRun
    """
    left, pending = MOST_ITEMS, [value]
    while pending:
        item = pending.pop()
        left -= 1
        if left < 0 or (isinstance(item, (str, list, tuple, dict, range)) and len(item) > MOST_ITEMS):
            raise NotRun(f"a value of more than {MOST_ITEMS} items is not run")
        if isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, (list, tuple)):
            pending += item
        elif isinstance(item, (int, float)) and not (math.isfinite(item) and abs(item) <= LARGEST_NUMBER):
            raise NotRun("a number beyond 2**53 is not run")
        elif isinstance(item, torch.Tensor) and item.numel() > MOST_ELEMENTS:
            raise NotRun(f"a tensor of {item.numel()} elements is not run")
    return value


def _range(*arguments: int) -> list[int]:
    return list(bounded(range(*arguments)))


def _round(number: float) -> int:
    return round(number)


def _join(*parts: str) -> str:
    return posixpath.join(*parts)


def _device(name: Any = "cpu", *_: Any) -> str:
    """The host chooses the device; what a config says of it is read and forgotten."""
    return "cpu"


def _from_numpy(array: Any) -> torch.Tensor:
    if not isinstance(array, (np.ndarray, torch.Tensor)):
        raise NotRun("torch.from_numpy of other than a loaded array is not run")
    return torch.as_tensor(array)


def _as_tensor(data: Any) -> torch.Tensor:
    if not isinstance(data, (list, tuple, int, float, np.ndarray, torch.Tensor)):
        raise NotRun("a tensor of other than numbers is not run")
    return torch.as_tensor(data)


def _not_mutable(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str, list, tuple, dict, torch.Tensor, np.ndarray)) or value is None:
        return copy.deepcopy(value)
    return value  # a component is a value that nobody changes


def _plain(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not isinstance(value, (bool, int, float, str, list, tuple)):
            raise NotRun(f"{getattr(kind, '__name__', kind)} of {type(value).__name__} is not run")
        return kind(value)

    return convert


def _extreme(which: Callable[..., Any]) -> Callable[..., Any]:
    def extreme(*values: Any) -> Any:
        return which(*values)

    return extreme


PURE: dict[str, Callable[..., Any]] = {
    **{kind.__name__: _plain(kind) for kind in (len, float, int, str, bool, list, tuple, abs)},
    "range": _range,
    "round": _round,
    "min": _extreme(min),
    "max": _extreme(max),
    "os.path.join": _join,
    "copy.deepcopy": _not_mutable,
    "copy.copy": _not_mutable,
    "torch.device": _device,
    "torch.cuda.is_available": lambda: False,
    "torch.from_numpy": _from_numpy,
    "torch.tensor": _as_tensor,
    "torch.as_tensor": _as_tensor,
}

_TORCH = [
    "float16",
    "float32",
    "float64",
    "float",
    "double",
    "half",
    "bfloat16",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "int",
    "long",
    "short",
    "bool",
]
_NUMPY = ["float16", "float32", "float64", "uint8", "uint16", "uint32", "int8", "int16", "int32", "int64"]
_KEYS = {"IMAGE": "image", "LABEL": "label", "PRED": "pred", "LOSS": "loss", "METADATA": "metadata"}
CONSTANTS: dict[str, Any] = {
    **{f"torch.{name}": getattr(torch, name) for name in _TORCH},
    **{f"{np_}.{name}": getattr(np, name) for np_ in ("np", "numpy") for name in _NUMPY},
    **{f"{keys}.{name}": key for keys in ("monai.utils.CommonKeys", "CommonKeys") for name, key in _KEYS.items()},
}


def _sequence(tensors: Any) -> list[torch.Tensor]:
    if not (isinstance(tensors, (list, tuple)) and len(tensors) <= 64):
        raise NotRun("more than 64 tensors, or no list of them")
    return [torch.as_tensor(t) for t in tensors]


TENSOR_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        f"torch.{function.__name__}": function
        for function in (
            *(torch.where, torch.nan_to_num, torch.argmax, torch.sigmoid, torch.softmax, torch.clamp, torch.round),
            *(torch.zeros_like, torch.ones_like, torch.logical_and, torch.logical_or, torch.logical_not, torch.abs),
            *(torch.amax, torch.amin),
        )
    },
    "torch.cat": lambda tensors, dim=0: torch.cat(_sequence(tensors), dim),
    "torch.stack": lambda tensors, dim=0: torch.stack(_sequence(tensors), dim),
}


def _method(name: str) -> Callable[..., Any]:
    def call(owner: Any, *arguments: Any, **options: Any) -> Any:
        if not isinstance(owner, torch.Tensor):
            raise NotRun(f".{name} of {type(owner).__name__} is not run")
        return getattr(torch.Tensor, name)(owner, *arguments, **options)

    return call


def _to(owner: Any, *arguments: Any) -> Any:
    """A network or tensor on a device is the same; a tensor of another type is converted."""
    kinds = [a for a in arguments if isinstance(a, torch.dtype)]
    return owner.to(kinds[0]) if kinds and isinstance(owner, torch.Tensor) else owner


METHODS: dict[str, Callable[..., Any]] = {
    **{
        name: _method(name)
        for name in [
            "float",
            "int",
            "long",
            "bool",
            "argmax",
            "softmax",
            "sigmoid",
            "clamp",
            "unsqueeze",
            "squeeze",
            "amax",
            "amin",
            "numpy",
        ]
    },
    "to": _to,
}
