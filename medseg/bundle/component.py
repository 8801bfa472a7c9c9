"""A part of a config that names a class: what it is and with what, checked, not built."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch

from medseg.bundle.functions import NotRun
from medseg.bundle.lambdas import Lambda
from medseg.bundle.targets import Target

# Refused wherever they stand: they name code or addresses, or take a function.
FORBIDDEN = frozenset(
    [
        "reader",
        "writer",
        "func",
        "inv_func",
        "post_func",
        "other",
        "output_name_formatter",
        "folder_layout",
        "merger_cls",
        "splitter",
        "pretrained",
        "pretrained_url",
        "norm_layer",
        "cell",
        "map_items",
        "unpack_items",
        "log_stats",
        "overrides",
        "select_fn",
        "prune_meta_pattern",
    ]
)
_UNLESS = {
    ("LoadImaged", "reader"): ("medseg.data.Reader", None),
    ("FlexibleUNet", "pretrained"): (False,),
    ("Compose", "map_items"): (True,),
    ("Compose", "unpack_items"): (False,),
    ("Compose", "log_stats"): (False,),
    ("Compose", "overrides"): (None,),
}
_LAMBDAS = {("Lambdad", "func"), ("CropForegroundd", "select_fn")}
_COMPONENTS = {("Compose", "transforms"), ("Invertd", "transform"), ("DiNTS", "dints_space")}
_ARRAYS = {("TopologyInstance", "arch_code"), ("DiNTS", "node_a")}
_HOST_READS = {
    "LoadImaged": frozenset(("keys", "reader", "dtype", "ensure_channel_first", "channels")),
    "SaveImaged": frozenset(("keys", "resample", "scale", "output_dtype", "output_ext", "writer")),
}
_SIZES = [
    "spatial_size",
    "roi_size",
    "roi_start",
    "roi_end",
    "spatial_border",
    "k",
    "k_divisible",
    "margin",
    "sw_batch_size",
    "repeats",
    "times",
]
_LOOPS = [
    "num_res_units",
    "blocks_down",
    "blocks_up",
    "depths",
    "num_layers",
    "num_blocks",
    "num_depths",
    "hyena_kernel_layers",
    "num_components",
    "deep_supr_num",
    "dsdepth",
    "layers",
]
_MOST_VOXELS = 2**29


@dataclass(frozen=True, eq=False)
class Component:
    """A target and its arguments; two of them are the same only if they are one.

    place: file and line, for messages.
    """

    target: Target
    arguments: Mapping[str, Any] = field(repr=False)
    place: str = field(repr=False, default="")

    @property
    def name(self) -> str:
        """The class's short name."""
        return self.target.name


@cache
def argument_names(target: Target) -> frozenset[str]:
    """The arguments by name that the class takes."""
    if target.kind == "host":
        return _HOST_READS[target.name]
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = {n for n, p in inspect.signature(target.load()).parameters.items() if p.kind in kinds}
    if target.name == "SliceInferer":  # its signature hides them
        from monai.inferers.inferer import SlidingWindowInferer

        names |= set(inspect.signature(SlidingWindowInferer).parameters)
    if target.name == "SwinUNETR":  # it took the size of its windows until MONAI 1.5, for a check only
        names.add("img_size")
    return frozenset(names)


def is_read(target: Target, name: str) -> bool:
    """Whether an argument is resolved at all: where to write, and under which name, is not the bundle's to say."""
    return target.kind != "host" or name in _HOST_READS[target.name] or name in FORBIDDEN


def require_argument(target: Target, name: str, value: Any) -> None:
    """Raises: NotRun for an argument that is unknown, forbidden, of a type that is not plain, or too large."""
    key = (target.name, name)
    if name in FORBIDDEN and key not in _LAMBDAS:
        if not any(
            value is allowed or (isinstance(value, str) and value == allowed) for allowed in _UNLESS.get(key, ())
        ):
            raise NotRun(f"argument {name} of {target.name} is not taken from a bundle")
    elif name == "lazy" and value:
        raise NotRun(f"lazy {target.name} is not run; transforms are run one by one")
    elif target.kind != "host" and name not in argument_names(target):
        raise NotRun(f"{target.name} has no argument {name}")
    for item in _flat(value):
        if isinstance(item, Lambda):
            allowed = key in _LAMBDAS
        elif isinstance(item, Component):
            allowed = key in _COMPONENTS
        elif isinstance(item, (np.ndarray, torch.Tensor)):
            allowed = key in _ARRAYS
        else:
            allowed = key not in _LAMBDAS and _is_plain(item)
        if not allowed:
            raise NotRun(f"argument {name} of {target.name} cannot be {_kind(item)}")
    _require_size(target, name, value)
    if target.kind == "host" and name == "dtype" and not _is_number_type(value):
        raise NotRun(f"argument {name} of {target.name} is no type of numbers")
    if name in _KINDS and not _KINDS[name](value):
        raise NotRun(f"argument {name} of {target.name} has a form that is not known here")


def _is_keys(value: Any) -> bool:
    items = value if isinstance(value, (list, tuple)) else [value]
    return 0 < len(items) <= 64 and all(isinstance(item, str) for item in items)


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_number_type(value: Any) -> bool:
    if value is None or isinstance(value, torch.dtype):
        return True
    try:
        return np.dtype(value).kind in "biuf" if isinstance(value, (str, type)) else False
    except (TypeError, ValueError, SyntaxError):
        return False


# What the host itself reads: in a form that it knows.
_KINDS: dict[str, Callable[[Any], bool]] = {
    "keys": _is_keys,
    "in_channels": _is_count,
    "spatial_dims": lambda value: type(value) is int and value in (1, 2, 3),
    "sw_batch_size": _is_count,
    "output_dtype": _is_number_type,
}


def _flat(value: Any) -> list[Any]:
    found, pending = [], [value]
    while pending:
        item = pending.pop()
        if isinstance(item, (list, tuple)):
            pending += item
        elif isinstance(item, dict):
            pending += item.values()
        else:
            found.append(item)
    return found


def _is_plain(item: Any) -> bool:
    return item is None or isinstance(item, (bool, int, float, str, torch.dtype)) or _is_numpy_type(item)


def _is_numpy_type(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, np.generic)


def _kind(item: Any) -> str:
    return f"a {item.name}" if isinstance(item, Component) else f"of type {type(item).__name__}"


def _require_size(target: Target, name: str, value: Any) -> None:
    """Numbers that a class would take for sizes or repetitions stay within what images and networks have."""
    numbers = [n for n in _flat(value) if isinstance(n, (int, float)) and not isinstance(n, bool)]
    if target.kind in ("network", "part"):
        if len(_flat(value)) > 4096 or (isinstance(value, (list, tuple)) and len(value) > 64):
            raise NotRun(f"argument {name} of {target.name} has too many items")
        if any(abs(n) > (64 if name in _LOOPS else 65536) for n in numbers):
            raise NotRun(f"argument {name} of {target.name} is too large: {max(numbers, key=abs)}")
    elif name in _SIZES and numbers and (max(numbers) > 4096 or math.prod(max(n, 1) for n in numbers) > _MOST_VOXELS):
        raise NotRun(f"argument {name} of {target.name} is too large: {value}")
