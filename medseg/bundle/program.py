"""How a stranger's postprocessing is run: which of its steps go on finished slabs, and which on the full volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from medseg.bundle.component import Component
from medseg.bundle.foreign import MonaiBundle
from medseg.bundle.lambdas import Lambda
from medseg.windows import WindowSpec
from medseg.windows.placement import PlacementName, Weighting

_POINTWISE: dict[str, frozenset[str]] = {
    "Activationsd": frozenset(("keys", "sigmoid", "softmax")),
    "AsDiscreted": frozenset(("keys", "argmax", "to_onehot", "threshold", "rounding")),
    "Lambdad": frozenset(("keys", "func")),
    "CastToTyped": frozenset(("keys", "dtype")),
    "EnsureTyped": frozenset(("keys", "device")),
    "ToTensord": frozenset(("keys", "device")),
    "ToDeviced": frozenset(("keys", "device")),
    "Identityd": frozenset(("keys",)),
}
_SPATIAL = frozenset(
    [
        "Orientationd",
        "Spacingd",
        "Resized",
        "Flipd",
        "Rotate90d",
        "Transposed",
        "CropForegroundd",
        "CenterSpatialCropd",
        "SpatialCropd",
        "SpatialPadd",
        "BorderPadd",
        "DivisiblePadd",
        "ResizeWithPadOrCropd",
    ]
)


@dataclass(frozen=True)
class Program:
    """The steps after the network, in the bundle's own order.

    head: voxel by voxel, on finished slabs.
    way:  "linear": the slabs are interpolated linearly onto the image's grid, where `rest` (voxel by voxel) decides;
          "volume": `rest` is run by MONAI's own transforms on the volume that the slabs make.
    """

    head: tuple[Component, ...]
    way: Literal["linear", "volume"]
    rest: tuple[Component, ...]

    def in_words(self) -> str:
        """For the report's notes."""
        words = "the bundle's own postprocessing: "
        head = ", ".join(step.name for step in self.head) or "nothing"
        rest = ", ".join(step.name for step in self.rest)
        if self.way == "linear":
            return f"{words}{head} on slabs, one linear interpolation onto the image's grid, {rest}"
        return f"{words}{head} on slabs" + (f", {rest} on the full volume by MONAI" if rest else "")


def program(bundle: MonaiBundle) -> Program:
    """The way that gives what the bundle's own order gives, as streamed as can be."""
    steps = bundle.postprocessing
    count = next((n for n, step in enumerate(steps) if not is_pointwise(step)), len(steps))
    head, rest = steps[:count], steps[count:]
    # of decided labels the halves between two voxels would be exact ties
    undecided = not any(step.name in ("AsDiscreted", "Lambdad", "CastToTyped") for step in head)
    streamed = rest and undecided and _is_linear_inverse(rest[0]) and _ends_in_labels(rest[1:])
    if streamed and _is_one_resample(bundle.preprocessing):
        return Program(head, "linear", rest[1:])
    return Program(head, "volume", rest)


def is_pointwise(step: Component) -> bool:
    """Whether a voxel's result follows from that voxel's channels of the prediction alone."""
    if step.target.kind == "trusted" or step.name not in _POINTWISE:  # what code made may be anything
        return False
    if not set(step.arguments) <= _POINTWISE[step.name] | {"allow_missing_keys"}:
        return False
    if not set(keys_of(step)) <= {"pred", "label"}:
        return False
    function = step.arguments.get("func")
    return function is None or (isinstance(function, Lambda) and function.is_pointwise)


def keys_of(step: Component) -> list[Any]:
    """The keys that a dictionary transform works on."""
    keys = step.arguments.get("keys", [])
    return list(keys) if isinstance(keys, (list, tuple)) else [keys]


def _is_linear_inverse(step: Component) -> bool:
    if step.name != "Invertd" or keys_of(step) != ["pred"]:
        return False
    nearest, source = step.arguments.get("nearest_interp", True), step.arguments.get("orig_keys")
    return nearest in (False, [False]) and source in ("image", ["image"])


def _ends_in_labels(steps: Sequence[Component]) -> bool:
    """All voxel by voxel, and one of them decides."""
    decisions = [s for s in steps if s.name == "AsDiscreted" and (_said(s, "argmax") or _said(s, "threshold"))]
    onehot = any(_said(step, "to_onehot") for step in steps)
    return bool(decisions) and not onehot and all(map(is_pointwise, steps))


def _said(step: Component, name: str) -> bool:
    value = step.arguments.get(name)
    items = value if isinstance(value, (list, tuple)) else [value]
    return any(item is not None and item is not False for item in items)


def _is_one_resample(steps: Sequence[Component]) -> bool:
    """Turned, resampled linearly, at last cropped: what one linear interpolation by the two affines undoes."""
    spatial = [step for step in steps if step.name in _SPATIAL and "image" in keys_of(step)]
    names = [step.name for step in spatial]
    if any(step.name in ("ConcatItemsd", "CopyItemsd", "SelectItemsd", "Lambdad") for step in steps):
        return False
    if names[-1:] == ["CropForegroundd"]:
        names.pop()
    return all(name in ("Orientationd", "Spacingd") for name in names) and all(
        _is_plain_spacing(step) for step in spatial if step.name == "Spacingd"
    )


def _is_plain_spacing(step: Component) -> bool:
    mode = step.arguments.get("mode", "bilinear")
    image = keys_of(step).index("image")
    if isinstance(mode, (list, tuple)):
        mode = mode[image] if image < len(mode) else None  # too few: MONAI's own transform is to say so
    return mode == "bilinear" and set(step.arguments) <= {"keys", "pixdim", "mode", "allow_missing_keys"}


def window_spec(inferer: Component, shape: Sequence[int]) -> WindowSpec | None:
    """Our windows for an image of this shape, where they are placed and blended as the bundle's inferer does it."""
    arguments = dict(inferer.arguments)
    if inferer.name == "SimpleInferer" and inferer.target.kind != "trusted":
        return WindowSpec(tuple(shape), 0.0, "constant", 1)
    if inferer.target.kind == "trusted" or inferer.name == "SliceInferer" or arguments.get("with_coord"):
        return None
    size, overlap = arguments.get("roi_size"), arguments.get("overlap", 0.25)
    sizes = list(size) if isinstance(size, (list, tuple)) else [size] * len(shape)
    mode, placement = arguments.get("mode", "constant"), arguments.get("placement", "monai")
    same = (
        arguments.get("sigma_scale", 0.125) == 0.125
        and arguments.get("padding_mode", "constant") == "constant"
        and arguments.get("cval", 0.0) == 0
        and isinstance(overlap, (int, float))
        and 0 <= overlap < 1
        and mode in get_args(Weighting)
        and placement in get_args(PlacementName)
        and len(sizes) == len(shape)
        and all(s is None or type(s) is int for s in sizes)
    )
    if not same:
        return None
    whole = tuple(n if s is None or s <= 0 else int(s) for s, n in zip(sizes, shape, strict=True))
    return WindowSpec(whole, float(overlap), mode, max(int(arguments.get("sw_batch_size", 1)), 1), placement)
