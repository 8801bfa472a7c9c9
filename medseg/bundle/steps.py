"""A stranger's transforms as objects of MONAI's, and running them one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from medseg.bundle.build import build, build_transforms
from medseg.bundle.component import Component
from medseg.bundle.foreign import MonaiBundle
from medseg.bundle.functions import NotRun
from medseg.bundle.program import program
from medseg.bundle.quiet import quiet
from medseg.domain.errors import BundleError, ResourceError


@dataclass(frozen=True)
class Step:
    """A transform of a data dictionary, and how messages call it."""

    name: str
    place: str
    run: Any


@dataclass(frozen=True)
class Steps:
    """All transforms of a bundle: before the network, on slabs after it, the rest after those.

    rest follows the program's way; volume is the same for the full volume.
    """

    before: list[Step]
    head: list[Step]
    rest: list[Step]
    volume: list[Step]


_built: WeakKeyDictionary[MonaiBundle, Steps] = WeakKeyDictionary()


def built_steps(bundle: MonaiBundle) -> Steps:
    """The transforms, built once for a bundle: an inverse knows the very objects whose work it undoes."""
    if bundle not in _built:
        _built[bundle] = _build(bundle)
    return _built[bundle]


def _build(bundle: MonaiBundle) -> Steps:
    from monai.transforms.compose import Compose

    before = build_transforms(bundle.preprocessing)
    whole = Compose(before)
    after = [
        build(c, transform=whole, allow_missing_keys=True) if c.name == "Invertd" else build_transforms([c])[0]
        for c in bundle.postprocessing
    ]
    plan = program(bundle)
    steps = [_step(c, t) for c, t in zip(bundle.postprocessing, after, strict=True)]
    head, volume = steps[: len(plan.head)], steps[len(plan.head) :]
    rest = volume[1:] if plan.way == "linear" else volume
    return Steps([_step(c, t) for c, t in zip(bundle.preprocessing, before, strict=True)], head, rest, volume)


def _step(component: Component, transform: Any) -> Step:
    return Step(component.name, component.place, transform)


def run_steps(steps: Sequence[Step], data: dict[Any, Any], case: str) -> dict[Any, Any]:
    """The data after all steps.

    Raises: BundleError, naming the step, where it fails on this case; ResourceError where memory ends.
    """
    for step in steps:
        try:
            with quiet():
                data = dict(step.run(data))
        except MemoryError as error:
            raise ResourceError(
                f"{case}: not enough memory for {step.name}; segment a smaller region (--roi)"
            ) from error
        except Exception as error:  # a transform may raise anything on an image that it does not suit
            cause = error.__cause__ if isinstance(error.__cause__, (NotRun, MemoryError)) else error
            if "allocate memory" in str(cause) or "out of memory" in str(cause):
                raise ResourceError(f"{case}: not enough memory for {step.name}; give a smaller --roi") from error
            reason = " ".join(str(cause).split())[:200]
            raise BundleError(f"{step.place}: {step.name} fails on {case} ({reason})") from error
    return data
