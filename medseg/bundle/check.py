"""What is asked of a bundle before it is handed on: files, metadata, weights, network, and what consumers would say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from medseg.bundle.build import build_foreign_network
from medseg.bundle.documents import read_document
from medseg.bundle.foreign import MonaiBundle, config_path
from medseg.bundle.steps import built_steps
from medseg.bundle.template import load_template
from medseg.bundle.trust import content_digest
from medseg.bundle.weights import load_network
from medseg.bundle.words import short
from medseg.domain.errors import BundleError

# What MONAI's metadata schema of 2024-07-25 requires; `changelog` is what the model zoo wants besides.
_REQUIRED = [
    "schema",
    "version",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "required_packages_version",
    "task",
    "description",
    "authors",
    "copyright",
    "network_data_format",
    "changelog",
]
_LABEL = ("network_def", "preprocessing", "inferer", "postprocessing", "device", "bundle_root")
_MOST_ELEMENTS = 2**24


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    state: "ok"; "fails", after which nobody should use the bundle; "lacks", which this program can do without.
    """

    topic: str
    name: str
    state: Literal["ok", "fails", "lacks"]
    fact: str


def all_checks(bundle: Any) -> list[Check]:
    """Facts about a Bundle or MonaiBundle, in the order in which they are shown.

    Raises: BundleError where the weights are damaged or do not fit: then there is nothing else to tell.
    """
    folder = bundle.folder
    ours = not isinstance(bundle, MonaiBundle)
    metadata = read_document(folder / "configs" / "metadata.json").data
    config = read_document(config_path(folder)).data
    if isinstance(bundle, MonaiBundle):
        built_steps(bundle)
        network = build_foreign_network(bundle)
        digest = f"sha256 {bundle.weights_sha256}; the metadata name none to compare with"
    else:
        network = load_network(bundle)
        load_template(bundle)
        digest = f"sha256 {bundle.weights_sha256}, as the metadata say"
    count = sum(parameter.numel() for parameter in network.parameters())
    return [
        Check("weights", "fit", "ok", f"{count} parameters, every key and shape as the network has them"),
        Check("weights", "digest", "ok", digest),
        *_metadata(metadata, ours),
        *_files(folder, ours),
        _network(network, metadata, ours),
        *_consumers(config, metadata),
    ]


def _metadata(metadata: Mapping[str, Any], ours: bool) -> Iterator[Check]:
    missing = [key for key in _REQUIRED if not metadata.get(key)]
    yield _told("metadata", "schema", missing, "every key that MONAI's schema requires", ours)
    version, log = metadata.get("version"), metadata.get("changelog")
    known = isinstance(log, dict) and version in log
    yield Check(
        "metadata",
        "changelog",
        "ok" if known else "fails" if ours else "lacks",
        short(f"tells of version {version}" if known else f"has nothing of version {version}"),
    )


def _told(topic: str, name: str, missing: list[str], whole: str, required: bool) -> Check:
    fact = f"without {', '.join(missing)}" if missing else whole
    return Check(topic, name, "ok" if not missing else "fails" if required else "lacks", fact)


def _files(folder: Path, ours: bool) -> Iterator[Check]:
    try:
        yield Check("files", "content", "ok", f"sha256 {content_digest(folder)} of all files")
    except BundleError as error:  # links: whoever trusts this would trust what they lead to
        yield Check("files", "content", "lacks", str(error))
    licences = [name for name in ("LICENSE", "LICENSE.txt", "LICENSE.md") if (folder / name).is_file()]
    required: Literal["fails", "lacks"] = "fails" if ours else "lacks"
    yield Check("files", "licence", "ok" if licences else required, licences[0] if licences else "no file LICENSE")
    data = [name for name in ("docs/data_license.txt", "docs/license.txt") if (folder / name).is_file()]
    yield Check(
        "files", "licence of the data", "ok" if data else required, data[0] if data else "no docs/data_license.txt"
    )
    card = (folder / "docs" / "README.md").is_file()
    yield Check("files", "card", "ok" if card else required, "docs/README.md" if card else "no docs/README.md")
    code = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    yield Check(
        "files",
        "code",
        "ok",
        f"{len(code)} Python files, which are not run: {short(', '.join(code))}" if code else "none",
    )


def _network(network: nn.Module, metadata: Mapping[str, Any], ours: bool) -> Check:
    """What the metadata say of the network's input and output, tried with n=1."""
    required: Literal["fails", "lacks"] = "fails" if ours else "lacks"
    try:
        form = metadata["network_data_format"]
        image, pred = next(iter(form["inputs"].values())), form["outputs"]["pred"]
        shape = [tried_size(item) for item in image["spatial_shape"]]
        channels, classes = int(image["num_channels"]), int(pred["num_channels"])
    except (KeyError, TypeError, ValueError, StopIteration, AttributeError):
        return Check("network", "in and out", required, "the metadata do not say what goes in and what comes out")
    if not 0 < channels * torch.Size(shape).numel() <= _MOST_ELEMENTS:
        return Check("network", "in and out", required, f"{channels} channels of {shape} are not tried")
    with torch.inference_mode():
        try:
            given = network.eval()(torch.zeros(1, channels, *shape))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            return Check("network", "in and out", "fails", f"fails on {channels} x {shape}: {short(str(error), 160)}")
    given = given[0] if isinstance(given, (list, tuple)) else given
    got = tuple(getattr(given, "shape", ()))
    state: Literal["ok", "fails"] = "ok" if got == (1, classes, *shape) else "fails"
    return Check("network", "in and out", state, f"(1, {channels}, {', '.join(map(str, shape))}) gives {got}")


def tried_size(item: Any) -> int:
    """An entry of `spatial_shape` with n and p as 1, and 32 for any.

    >>> tried_size("16*n"), tried_size("2**p"), tried_size("*"), tried_size(96), tried_size("2**p*n")
    (16, 2, 32, 96, 2)

    Raises: ValueError for other forms.
    """
    if item == "*":
        return 32
    if type(item) is int and 0 < item <= 4096:
        return item
    match = (
        re.fullmatch(r"\s*(?:(\d{1,4})\s*(?:\*\*\s*p)?\s*\*?\s*)?n?\s*", item)
        if isinstance(item, str) and item
        else None
    )
    if match is None:
        raise ValueError(f"{item!r} is no size")
    return int(match[1] or 1)


def _consumers(config: Mapping[str, Any], metadata: Mapping[str, Any]) -> Iterator[Check]:
    """What MONAI's runner, MONAI Label and MONAI Deploy look for; none of them is needed here."""
    start = [key for key in ("run", "evaluating", "inference") if key in config]
    yield Check(
        "consumers",
        "monai.bundle run",
        "ok" if start else "lacks",
        f"starts at {start[0]!r}, without medseg's checks" if start else "no id run, evaluating or inference",
    )
    form = metadata.get("network_data_format")
    outputs = form.get("outputs") if isinstance(form, dict) else None
    pred = outputs.get("pred") if isinstance(outputs, dict) else None
    pred = pred if isinstance(pred, dict) else {}
    missing = [key for key in _LABEL if key not in config]
    missing += [] if pred.get("channel_def") else ["channel_def of pred in the metadata"]
    yield _told("consumers", "MONAI Label", missing, "every id that it looks for", False)
    wide = len(pred.get("channel_def") or {}) > 255
    missing += ["labels below 256: it casts them to uint8"] if wide else []
    yield _told("consumers", "MONAI Deploy", missing, "every id that it looks for; labels fit into uint8", False)


def as_json(checks: list[Check]) -> str:
    """For programs."""
    return json.dumps([vars(check) for check in checks], indent=1)
