"""A bundle whose code the user trusts: MONAI builds its parts, code and all; reading and writing stay ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.bundle.component import Component
from medseg.bundle.config import inside
from medseg.bundle.foreign import MonaiBundle, checkpoint_ids, config_path, describe, read_config_document
from medseg.bundle.functions import NotRun
from medseg.bundle.quiet import quiet
from medseg.bundle.targets import Target
from medseg.domain.errors import BundleError


@dataclass(frozen=True, eq=False)
class TrustedPart(Component):
    """An object that the bundle's own code made; `arguments` holds what the host has to know of it."""

    built: Any = field(default=None, repr=False)


def read_trusted(folder: Path, overrides: Mapping[str, Any] | None = None) -> MonaiBundle:
    """The bundle as stock MONAI understands it. This runs code of the bundle: ask `trust` first.

    Raises: BundleError, with what MONAI or the bundle's code says where it fails.
    """
    about = describe(folder)
    document = read_config_document(folder, config_path(folder), overrides or {})
    try:
        with _code_of(folder), quiet():
            return _parts(folder, about, document.path, document.data)
    except BundleError:
        raise
    except Exception as error:  # it is other people's code
        root: BaseException = error
        while root.__cause__ is not None or root.__context__ is not None:  # MONAI wraps what went wrong
            root = root.__cause__ or root.__context__ or root
        reason = f"{type(root).__name__}: {' '.join(str(root).split())[:300]}"
        raise BundleError(f"{document.path}: trusted, and yet it fails: {reason}") from error


@contextmanager
def _code_of(folder: Path) -> Iterator[None]:
    """Modules of the bundle can be imported; no compiled file is left in it, so that its digest stays."""
    before, written = list(sys.path), sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = before, written


def _parts(folder: Path, about: Any, config: Path, data: dict[str, Any]) -> MonaiBundle:
    from monai.bundle import ConfigParser

    parser = ConfigParser({**data, "bundle_root": str(folder)})
    parser.parse()
    before = parser.get_parsed_content("preprocessing")
    after = parser.get_parsed_content("postprocessing")
    before, after = (list(getattr(steps, "transforms", steps)) for steps in (before, after))
    network_id = "network_def" if "network_def" in data else "network"
    raw = data[network_id]
    numbers = {k: v for k, v in raw.items() if type(v) is int} if isinstance(raw, dict) else {}
    numbers.setdefault("in_channels", len(about.inputs))
    place, key = checkpoint_ids(data)
    path = parser.get_parsed_content(place) if place else str(folder / "models" / "model.pt")
    try:
        checkpoint = inside(folder, str(Path(path).absolute())), key
    except NotRun as error:
        raise BundleError(f"{config}: {error}") from error
    loading = [_loading(step, config) for step in before if _is(step, "LoadImaged")]
    saving = [_saving(step, config) for step in after if _is(step, "SaveImaged")]
    if len(loading) != 1 or len(saving) > 1:
        raise BundleError(f"{config}: has to load once, and to save at most once")
    return MonaiBundle(
        about=about,
        folder=folder,
        config=config,
        network=_part(parser.get_parsed_content(network_id), config, numbers),
        preprocessing=tuple(_part(step, config) for step in before if not _is(step, "LoadImaged")),
        compose=None,
        reading=loading[0],
        inferer=_part(parser.get_parsed_content("inferer"), config),
        postprocessing=tuple(_part(step, config) for step in after if not _is(step, "SaveImaged")),
        writing=saving[0] if saving else None,
        checkpoint=checkpoint,
    )


def _is(step: Any, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(step).__mro__)


def _part(built: Any, config: Path, arguments: Mapping[str, Any] | None = None) -> TrustedPart:
    kind = type(built)
    if hasattr(built, "allow_missing_keys"):
        built.allow_missing_keys = True  # what only training has
    found = {"keys": list(built.keys)} if isinstance(getattr(built, "keys", None), tuple) else {}
    target = Target("trusted", kind.__module__, kind.__name__)
    return TrustedPart(target, {**found, **(arguments or {})}, str(config), built)


def _loading(step: Any, config: Path) -> TrustedPart:
    loader = step._loader
    return _part(step, config, {"dtype": loader.dtype, "ensure_channel_first": loader.ensure_channel_first})


def _saving(step: Any, config: Path) -> TrustedPart:
    saver = step.saver
    facts = {"output_dtype": saver.init_kwargs["output_dtype"], "scale": saver.init_kwargs["scale"]}
    facts["resample"] = saver.meta_kwargs["resample"]
    return _part(step, config, facts)
