"""A bundle's network as a file that other programs run, compared with torch before it is left behind."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from torch import nn

from medseg.bundle.build import build_foreign_network
from medseg.bundle.bundle import Bundle
from medseg.bundle.derive import pruned
from medseg.bundle.export_about import about_foreign, about_ours
from medseg.bundle.export_formats import FORMATS, Format, exporters
from medseg.bundle.export_sizes import Sizes, sizes_for
from medseg.bundle.foreign import MonaiBundle
from medseg.bundle.weights import load_network
from medseg.domain.errors import BundleError, OutputError, UsageError
from medseg.io.files import require_writable, whole_file
from medseg.networks.build import build_network

_ANY_WINDOW = 64  # of a bundle that takes whole images
_MONAI_DIVISOR = 32


@dataclass(frozen=True)
class Exportable:
    """A network with its weights, and what has to be known to run it.

    sizes: the widest choice of inputs that is tried.
    about: what is written beside it, without what follows from the export itself.
    """

    name: str
    network: nn.Module = field(repr=False)
    sizes: Sizes
    about: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Trial:
    """One input: its shape, the largest difference from torch, and the largest logit there."""

    shape: tuple[int, ...]
    difference: float
    largest: float


@dataclass(frozen=True)
class Exported:
    """What was written: the files, the one to load first and the description last."""

    files: tuple[Path, ...]
    sizes: Sizes
    trials: tuple[Trial, ...]
    bound: float


class _DiffersError(Exception):
    """The exported file does not answer as torch does."""


def exportable(stored: Bundle | MonaiBundle, depth: int | None = None) -> Exportable:
    """The bundle's network, of a UNet++ that of a depth.

    Raises: UsageError for a depth that the network has not; BundleError as `load_network`.
    """
    if isinstance(stored, MonaiBundle):
        if depth is not None:
            raise UsageError(f"{stored.folder}: --depth is for bundles of medseg")
        return _foreign(stored)
    spec = stored.network
    if depth is not None and depth != spec.greatest_depth:
        bundle, weights = pruned(stored, depth, stored.name)
        network = build_network(bundle.network).eval()
        network.load_state_dict(weights)
        spec = bundle.network
    else:
        network = load_network(stored)
    sizes = sizes_for(spec.in_channels, stored.window.size, _MONAI_DIVISOR if spec.is_monai else spec.divisor)
    return Exportable(stored.name, network, sizes, about_ours(stored, depth))


def _foreign(stored: MonaiBundle) -> Exportable:
    arguments = stored.network.arguments
    dims = arguments.get("spatial_dims", 2 if stored.network.name == "FlexibleUNet" else 3)
    roi = stored.inferer.arguments.get("roi_size")
    edges = list(roi) if isinstance(roi, (list, tuple)) else [roi] * dims
    if len(edges) != dims:  # as a slice's window in a volume
        edges = [edge for edge in edges if edge != 1][:dims]
    window = tuple(edge if type(edge) is int and edge > 0 else _ANY_WINDOW for edge in edges)
    sizes = sizes_for(int(arguments.get("in_channels", 1)), window, _MONAI_DIVISOR)
    return Exportable(stored.name, build_foreign_network(stored), sizes, about_foreign(stored))


def export(what: Exportable, form: str, path: Path, overwrite: bool = False) -> Exported:
    """The files of that format and, beside them, `<name of the first>.json`: all of them or none.

    What was written is loaded again and compared with torch in fp32 on inputs of several batches and, where the
    network allows, several sizes; where it does not, the size is the window's.
    Raises: BundleError where the network does not export or its answers differ by more than the format's bound;
    UsageError where a package is missing; OutputError where a file exists or cannot be written.
    """
    kind = FORMATS[form]
    kind.require_packages()
    targets = export_files(form, path)
    for target in targets:
        if target.exists() and not overwrite:
            raise OutputError(f"{target}: exists already; give --overwrite or another name")
    require_writable(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(mkdtemp(prefix=f".{path.stem}.", suffix=".part", dir=path.parent))
    try:
        sizes, facts, trials = _write(what, form, temporary / targets[0].name)
        exported = Exported(tuple(targets), sizes, trials, kind.bound)
        about = _whole_about(what, form, exported, facts, temporary)
        (temporary / targets[-1].name).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        with ExitStack() as written:
            for target in targets:
                part = written.enter_context(whole_file(target))
                (temporary / target.name).replace(part)
                part.chmod(0o644)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return exported


def export_files(form: str, path: Path) -> list[Path]:
    """Return the files that an export to `path` writes, the JSON file last."""
    return [*(path.with_suffix(ending) for ending in FORMATS[form].endings), path.with_name(f"{path.name}.json")]


def _write(what: Exportable, form: str, path: Path) -> tuple[Sizes, dict[str, str | int], tuple[Trial, ...]]:
    """The widest inputs with which the export succeeds and agrees."""
    reasons: list[str] = []
    choices = [what.sizes, what.sizes.fixed] if what.sizes.step is not None else [what.sizes]
    for sizes in choices:
        try:
            with exporters():
                facts = FORMATS[form].write(what.network, sizes, path)
                return sizes, facts, _compared(what.network, FORMATS[form], sizes, path)
        except MemoryError:
            raise
        except Exception as error:  # exporters raise anything for what they do not know
            lines = [line for line in str(error).splitlines() if line.strip()]
            said = f"{type(error).__name__}: " if not isinstance(error, _DiffersError) else ""
            reasons.append(said + " ".join((lines or [""])[0].split())[:200])
    raise BundleError(f"{what.name}: cannot be exported as {form} ({reasons[-1]}); choose another format")


def _compared(network: nn.Module, kind: Format, sizes: Sizes, path: Path) -> tuple[Trial, ...]:
    """What each trial gave.

    Raises: _DiffersError for another shape, a number that is none, or a difference beyond the bound.
    """
    run = kind.load(path)
    generator = torch.Generator().manual_seed(0)
    trials: list[Trial] = []
    for n, shape in enumerate(sizes.trials):
        draw = torch.randn if n % 2 else torch.rand  # as images of mean 0, and of values 0 to 1
        image = draw(shape, generator=generator)
        wanted, given = network(image), run(image)
        if given.shape != wanted.shape:
            raise _DiffersError(f"gives {tuple(given.shape)} for an input of {shape}, torch {tuple(wanted.shape)}")
        trial = Trial(shape, float((given - wanted).abs().max()), float(wanted.abs().max()))
        if not (isfinite(trial.largest) and trial.difference <= kind.bound * max(trial.largest, 1)):
            raise _DiffersError(
                f"differs from torch by {trial.difference:.2g} where {kind.bound:g} of {trial.largest:.3g} is allowed"
            )
        trials.append(trial)
    return tuple(trials)


def _whole_about(
    what: Exportable, form: str, exported: Exported, facts: dict[str, str | int], folder: Path
) -> dict[str, Any]:
    files = [{"name": path.name, "sha256": _sha256(folder / path.name)} for path in exported.files[:-1]]
    first = {key: what.about[key] for key in ("format", "format_version", "bundle")}
    rest = {key: value for key, value in what.about.items() if key not in first}
    rest["input"] = {**rest["input"], "shape": list(exported.sizes.symbols)}
    return {
        **first,
        "files": files,
        "kind": form,
        "precision": "float32",
        "made_with": {**what.about["made_with"], **facts},
        **{key: value for key, value in rest.items() if key != "made_with"},
        "agreement": {
            "with": "torch, eager, float32, CPU",
            "bound": f"{exported.bound:g} of the largest logit, or of 1",
            "max_abs_difference": max(trial.difference for trial in exported.trials),
            "trials": [
                {"shape": list(t.shape), "max_abs_difference": t.difference, "largest_logit": t.largest}
                for t in exported.trials
            ],
        },
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
