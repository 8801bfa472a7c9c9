"""A bundle that somebody else wrote, as a value: four parts of its config, its weights' place, its labels."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.bundle.bundle import DepthScore
from medseg.bundle.component import Component
from medseg.bundle.config import Config, NotRunError, inside
from medseg.bundle.documents import Document, read_document
from medseg.bundle.foreign_labels import require_labels
from medseg.bundle.functions import NotRun
from medseg.bundle.tensors import load_arrays
from medseg.domain.errors import BundleError, UsageError
from medseg.domain.labels import LabelTable
from medseg.domain.manifest import Case
from medseg.io.manifest_build import sha256_of

CONFIGS = ("inference.json", "inference.yaml", "inference.yml")
_INFERER_KEYS = ("roi_size", "sw_batch_size", "overlap", "mode", "sigma_scale", "padding_mode", "cval")
_LOADER = ("CheckpointLoader", "monai.handlers.CheckpointLoader")


@dataclass(frozen=True)
class Description:
    """What metadata.json says.

    inputs:  the names of the image's channels, or of the images, in order.
    outputs: names by value of the saved mask, where the metadata have them; else by channel of the network.
    of_mask: whether `outputs` are of the mask.
    """

    name: str
    version: str
    task: str
    modality: str | None
    inputs: tuple[str, ...]
    outputs: Mapping[int, str] = field(repr=False)
    of_mask: bool = False
    needs: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, eq=False)
class MonaiBundle:
    """What of a bundle is run.

    preprocessing, postprocessing: the transforms between reading and writing, nested Composes laid flat.
    reading, writing: LoadImaged and SaveImaged, which are read as data; writing is None where nothing is saved.
    checkpoint: the file of the weights, and the key in it that holds them.
    """

    about: Description
    folder: Path
    config: Path
    network: Component
    preprocessing: tuple[Component, ...]
    compose: Component | None
    reading: Component
    inferer: Component
    postprocessing: tuple[Component, ...]
    writing: Component | None
    checkpoint: tuple[Path, str]

    fold: None = None  # what trained it is not recorded, so is nothing of these
    quality: None = None
    depths: tuple[DepthScore, ...] = ()

    def seen_of(self, cases: Iterable[Case]) -> list[Case]:
        """Those of the cases whose images are known to have trained it: none, for it does not record them."""
        return []

    def probability_channels(self) -> list[str]:
        """Raises: UsageError: which channels are probabilities is not known."""
        raise UsageError(f"--probabilities: {self.folder} is no bundle of medseg; leave it out")

    def require_labels(self, wanted: LabelTable, where: str) -> None:
        """Raises: InputError unless the bundle has each of the labels, by the same value and, capitals aside, name."""
        require_labels(self, wanted, where)

    @property
    def name(self) -> str:
        """As the metadata say."""
        return self.about.name

    @property
    def version(self) -> str:
        """As the metadata say."""
        return self.about.version

    @property
    def modality(self) -> str | None:
        """Of the images, None where the metadata do not tell."""
        return self.about.modality or None

    @property
    def weights_sha256(self) -> str:
        """Digest of the checkpoint's file."""
        return sha256_of(self.checkpoint[0])


def config_path(folder: Path) -> Path:
    """The inference config of a bundle folder, JSON before YAML."""
    found = [folder / "configs" / name for name in CONFIGS if (folder / "configs" / name).exists()]
    return found[0] if found else folder / "configs" / CONFIGS[0]


def read_foreign(folder: Path, overrides: Mapping[str, Any] | None = None) -> MonaiBundle:
    """The bundle of a folder; nothing of it is imported, evaluated by Python or unpickled as other than tensors.

    overrides: values by id ("inferer#overlap"), of the inferer's own arguments and of `displayable_configs`.
    Raises: NotRunError where it asks for something that is not run, BundleError where it is damaged or incomplete,
    UsageError for an override of something else.
    """
    about = describe(folder)
    document = read_config_document(folder, config_path(folder), overrides or {})

    def load(path: Any) -> Any:
        return load_arrays(inside(folder, path))

    config = Config(document, {"bundle_root": str(folder)}, load)
    steps, compose = _steps(config, "preprocessing")
    after, _ = _steps(config, "postprocessing")
    reading = [step for step in steps if step.name == "LoadImaged"]
    writing = [step for step in after if step.name == "SaveImaged"]
    if len(reading) != 1 or steps[0] is not reading[0]:
        raise NotRunError(f"{document.path}: preprocessing has to begin with one LoadImaged")
    if len(writing) > 1 or (writing and after[-1] is not writing[0]):
        raise NotRunError(f"{document.path}: postprocessing saves more than once, or not at its end")
    for step in after:
        if step.name == "Invertd" and (compose is None or step.arguments.get("transform") is not compose):
            raise NotRunError(f"{step.place}: Invertd has to invert the Compose of id preprocessing")
    network = config.value("network_def" if "network_def" in config else "network")
    return MonaiBundle(
        about=about,
        folder=folder,
        config=document.path,
        network=_component(network, "network_def", ("network",), document),
        preprocessing=tuple(steps[1:]),
        compose=compose,
        reading=reading[0],
        inferer=_component(config.value("inferer"), "inferer", ("inferer",), document),
        postprocessing=tuple(step for step in after if step.name != "SaveImaged"),
        writing=writing[0] if writing else None,
        checkpoint=_checkpoint(config, folder),
    )


def read_config_document(folder: Path, path: Path, overrides: Mapping[str, Any]) -> Document:
    """A config inside the bundle's folder, with what the user set in it.

    Raises: BundleError, UsageError.
    """
    return _overridden(_document(folder, path), overrides)


def _document(folder: Path, path: Path) -> Document:
    try:
        inside(folder, str(path.absolute()))
    except NotRun as error:
        raise BundleError(f"{path}: {error}; copy the bundle again, links resolved") from error
    return read_document(path)


def _overridden(document: Document, overrides: Mapping[str, Any]) -> Document:
    if not overrides:
        return document
    data = copy.deepcopy(document.data)
    for name, value in overrides.items():
        top, _, key = name.partition("#")
        there = data.get(top)
        if isinstance(there, str) and there.startswith("@"):  # `inferer` may stand elsewhere
            there = data.get(there[1:])
        known = _INFERER_KEYS if top == "inferer" else tuple(there) if isinstance(there, dict) else ()
        if top not in ("inferer", "displayable_configs") or key not in known or not isinstance(there, dict):
            raise UsageError(
                f"--{name}: not an option of this bundle; it has "
                + ", ".join(f"--{option}" for option in override_names(document.data))
            )
        there[key] = value
    return Document(document.path, document.text, data)


def override_names(data: Mapping[str, Any]) -> list[str]:
    """The ids that a user may set."""
    shown = data.get("displayable_configs")
    own = [f"displayable_configs#{key}" for key in shown] if isinstance(shown, dict) else []
    return [*own, *(f"inferer#{key}" for key in _INFERER_KEYS)]


def _steps(config: Config, name: str) -> tuple[list[Component], Component | None]:
    value = config.value(name)
    compose = value if isinstance(value, Component) and value.target.kind == "compose" else None
    steps: list[Component] = []
    pending = [value]
    while pending:
        item = pending.pop(0)
        if isinstance(item, Component) and item.target.kind == "compose":
            pending.insert(0, item.arguments.get("transforms", []))
        elif isinstance(item, (list, tuple)):
            pending[:0] = item
        elif item is not None:
            steps.append(_component(item, name, ("transform", "host"), config.document))
    if not steps:
        raise NotRunError(f"{config.document.path}: {name} has no transforms")
    return steps, compose


def _component(value: Any, name: str, kinds: tuple[str, ...], document: Document) -> Component:
    if not isinstance(value, Component) or value.target.kind not in kinds:
        raise NotRunError(f"{document.path}: {name} is no {' or '.join(kinds)} that this program knows")
    return value


def _checkpoint(config: Config, folder: Path) -> tuple[Path, str]:
    """Where the first CheckpointLoader of the document looks, else models/model.pt or .safetensors."""
    name, key = checkpoint_ids(config.document.data)
    try:
        path = inside(folder, config.value(name)) if name else folder / "models" / "model.pt"
        if not path.exists() and path.with_suffix(".safetensors").exists():
            path = path.with_suffix(".safetensors")
        return inside(folder, str(path.absolute())), key
    except NotRun as error:
        raise NotRunError(f"{config.document.path}: the weights: {error}") from error


def checkpoint_ids(data: dict[str, Any]) -> tuple[str | None, str]:
    """The id of the path that the first CheckpointLoader loads, and the key of the network in that file."""
    name = _find_loader(data, "", 0)
    if name is None:
        return None, "model"
    objects = _at(data, f"{name}#load_dict")
    return f"{name}#load_path", next(iter(objects)) if isinstance(objects, dict) and len(objects) == 1 else "model"


def _find_loader(value: Any, name: str, depth: int) -> str | None:
    if isinstance(value, dict) and value.get("_target_") in _LOADER:
        return name
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found = _find_loader(item, f"{name}#{key}" if name else str(key), depth + 1)
        if found is not None:
            return found
    return None


def _at(data: Any, name: str) -> Any:
    for key in name.split("#"):
        data = data.get(key) if isinstance(data, dict) else data[int(key)] if isinstance(data, list) else None
    return data


def describe(folder: Path) -> Description:
    """What configs/metadata.json says of a bundle; a missing part is left out, a part of another form refused."""
    document = _document(folder, folder / "configs" / "metadata.json")
    data = document.data
    form = _mapping(data, "network_data_format")
    inputs, outputs = _mapping(form, "inputs"), _mapping(form, "outputs")
    after = _mapping(_mapping(data, "post_processed_outputs") or _mapping(form, "post_processed_outputs"), "pred")
    image = _mapping(inputs, next(iter(inputs), "image"))
    channels = _mapping(image, "channel_def")
    names = tuple(map(str, channels.values())) if len(inputs) == 1 else tuple(inputs)
    of_mask = bool(after)
    values = _mapping(after if of_mask else _mapping(outputs, "pred"), "channel_def")
    needs = _mapping(data, "required_packages_version") or _mapping(data, "optional_packages_version")
    modality = image.get("modality")
    return Description(
        name=folder.resolve().name,
        version=str(data.get("version", "")),
        task=str(data.get("task", "")),
        modality=_MODALITIES.get(modality.upper()) if isinstance(modality, str) else None,
        inputs=names or ("image",),
        outputs={int(key): str(name) for key, name in values.items() if re.fullmatch(r"[0-9]{1,5}", key)},
        of_mask=of_mask,
        needs={key: str(value) for key, value in [*_pins(data), *needs.items()]},
    )


_MODALITIES = {"CT": "CT", "MR": "MR", "MRI": "MR"}


def _pins(data: Mapping[str, Any]) -> list[tuple[str, Any]]:
    names = {"monai_version": "monai", "pytorch_version": "torch", "numpy_version": "numpy"}
    return [(package, data[key]) for key, package in names.items() if key in data]


def _mapping(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}
