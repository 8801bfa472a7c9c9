"""Options that only bundles of other people need: several images of a case, settings by their config id."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.domain.errors import UsageError

if TYPE_CHECKING:
    from medseg.bundle.bundle import Bundle
    from medseg.bundle.foreign import MonaiBundle
    from medseg.domain.doubts import Doubts
    from medseg.domain.volume import Volume
    from medseg.inference.model import Model

_ID_OPTION = re.compile(r"--(\w+(?:#\w+)+)(?:=(.*))?", re.DOTALL)


def as_settings(arguments: Sequence[str]) -> list[str]:
    """Command-line arguments with `--a#b V` and `--a#b=V` written as `--set a#b=V`.

    >>> as_settings(["x.png", "--inferer#overlap", "0.6"])
    ['x.png', '--set', 'inferer#overlap=0.6']
    """
    done: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        match = _ID_OPTION.fullmatch(argument)
        if match is None:
            done.append(argument)
        else:
            value = match[2] if match[2] is not None else left.pop(0) if left else ""
            done += ["--set", f"{match[1]}={value}"]
    return done


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Values by config id; a value is JSON, or a text where it is none.

    Raises: UsageError
    """
    import json

    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value or name in settings:
            raise UsageError(f"--set {text}: give ID=VALUE, each id once")
        try:
            settings[name] = json.loads(value)
        except (ValueError, RecursionError):
            settings[name] = value
        if isinstance(settings[name], str) and settings[name][:1] in ("$", "@", "%"):
            raise UsageError(f"--set {text}: a value is a number, true, false, a list or a plain text")
    return settings


def named_images(texts: Sequence[str], inputs: Sequence[Path]) -> dict[str, Path]:
    """The images of one case by name; empty where inputs are given instead.

    Raises: UsageError
    """
    if bool(texts) == bool(inputs):
        raise UsageError("give either inputs, or the images of one case as --image NAME=PATH")
    images: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path) or name in images:
            raise UsageError(f"--image {text}: give NAME=PATH, each name once")
        images[name] = Path(path)
    return images


def read_case(images: dict[str, Path], model: Model, doubts: Doubts) -> Volume:
    """The images of one case as one volume.

    Raises: UsageError where the bundle takes one image, or others.
    """
    from medseg.io.images import read_image

    return model.stacked({name: read_image(path, doubts) for name, path in images.items()})


def find_said(name: str, settings: dict[str, Any], trust: bool) -> Bundle | MonaiBundle:
    """The bundle; with trust also one that needs code of its own, after saying on standard error what may run.

    Raises: NotRunError where it needs code and nobody trusts it, and BundleError and UsageError as reading does.
    """
    from medseg.bundle.config import NotRunError
    from medseg.bundle.foreign import config_path
    from medseg.bundle.store import find_any, find_folder
    from medseg.bundle.trust import what_would_run

    try:
        return find_any(name, settings)
    except NotRunError as error:
        if not trust:
            raise
        print(f"medseg: trusted for this run: {error}", file=sys.stderr)
    folder = find_folder(name)
    for line in what_would_run(folder, config_path(folder)):
        print(f"medseg: may run: {line}", file=sys.stderr)
    return find_any(name, settings, trusted=True)


def facts_of(bundle: MonaiBundle) -> dict[str, str]:
    """What `medseg bundle info` tells of a stranger's bundle: what it is, takes and needs, and how it would run."""
    from medseg.bundle.pins import behind
    from medseg.bundle.program import program
    from medseg.bundle.trusted import TrustedPart
    from medseg.inference.foreign_image import image_names

    about, trusted = bundle.about, isinstance(bundle.network, TrustedPart)
    names = image_names(bundle)
    labels = ", ".join(f"{value} {name}" for value, name in sorted(about.outputs.items()))
    before = ", ".join(step.name for step in bundle.preprocessing)
    return {
        "bundle": f"{about.name} {about.version} ({bundle.folder}), not of this project",
        "task": about.task or "not told",
        "input": f"{about.modality or 'modality not told'}, {len(names)} image(s): {', '.join(names)}",
        "labels": labels or "not told",
        "network": bundle.network.name,
        "windows": bundle.inferer.name,
        "before": before or "nothing",
        "after": program(bundle).in_words().partition(": ")[2],
        "weights": f"{bundle.checkpoint[0].name}, tensors only",
        "needs": ", ".join(f"{name} {pin}" for name, pin in about.needs.items()) or "nothing told",
        "older here": ", ".join(behind(about.needs)) or "nothing",
        "runs": "code of the bundle, as it is trusted" if trusted else "without code of the bundle",
    }
