"""The two configs of a bundle, of every form and of ours: keys, values, targets, references, and the text itself."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from medseg.bundle.foreign import MonaiBundle
from medseg.bundle.foreign_labels import table_of
from medseg.bundle.program import program, window_spec
from medseg.bundle.reader import read_any
from medseg.bundle.targets import _MONAI
from medseg.domain.errors import BundleError
from medseg.inference.foreign_image import image_names
from tests.bundle import hostile, zoo
from tests.fuzz import expression_gate
from tests.fuzz.made import Made, Maker
from tests.fuzz.mutate import GENERIC

OURS = Path(__file__).parents[2] / "bundles"
_NAMES = [name for _, names in _MONAI.values() for name in names.split()]
_TARGETS = (
    *_NAMES,
    *_NAMES,
    "monai.networks.nets.UNet",
    "monai.transforms.Compose",
    "os.system",
    "builtins.eval",
    "",
    "unet",
    "scripts.evil.Net",
    "medseg.networks.unet.unet",
    "monai.bundle.ConfigParser",
    "UNet\n",
    "@network_def",
)
_KEYS = (
    "keys",
    "_target_",
    "_disabled_",
    "_mode_",
    "_requires_",
    "_desc_",
    "transforms",
    "roi_size",
    "overlap",
    "mode",
    "func",
    "reader",
    "spatial_size",
    "argmax",
    "threshold",
    "in_channels",
    "out_channels",
    "channels",
    "image",
    "pred",
    "channel_def",
    "0",
    "1",
    "a#b",
    "a::b",
    "",
    "\u202e",
    "bundle_root",
    "network_def",
    "network",
    "inferer",
    "x" * 500,
    "preprocessing",
    "postprocessing",
    "medseg",
    "load_path",
    "load_dict",
    "transform",
    "orig_keys",
    "sw_batch_size",
)
_TEXTS = (
    "image",
    "pred",
    "@image",
    "@network_def",
    "@preprocessing#transforms#0",
    "@inferer::overlap",
    "@",
    "%x",
    "%a.json",
    "$@inferer",
    "gaussian",
    "constant",
    "bilinear",
    "",
    "x" * 5000,
    "../../etc/passwd",
    "/etc/passwd",
    "\0",
    "a\nb",
    "\x1b[31m",
    "\u202e",
    "é",
    "true",
    "True",
    "nan",
    "@a#-1",
    "@a#99999999999999999999",
    "²",
    "@²",
    "@a#²",
)
_NUMBERS = (
    0,
    1,
    2,
    3,
    -1,
    4,
    16,
    255,
    4096,
    65537,
    2**31,
    2**53,
    2**64,
    10**300,
    0.5,
    0.25,
    -0.0,
    1e308,
    1e-320,
    True,
    False,
)


def _value(rng: random.Random, depth: int = 2) -> Any:
    kind = rng.randrange(9 if depth > 0 else 6)
    if kind == 0:
        return rng.choice(_TARGETS)
    if kind == 1:
        return rng.choice(_TEXTS)
    if kind in (2, 3):
        return rng.choice(_NUMBERS)
    if kind == 4:
        return "$" + expression_gate.make(rng).value
    if kind == 5:
        return rng.choice((None, [], {}, "@" + rng.choice(_KEYS)))
    if kind == 6:
        return [_value(rng, depth - 1) for _ in range(rng.choice((0, 1, 2, 3, 3, 65)))]
    if kind == 7:
        return {"_target_": rng.choice(_TARGETS), rng.choice(_KEYS): _value(rng, depth - 1)}
    return {rng.choice(_KEYS): _value(rng, depth - 1) for _ in range(rng.randrange(3))}


Place = tuple[Any, Any]


def _places(data: Any) -> list[Place]:
    """Every (container, key) of plain data."""
    found: list[Place] = []
    pending = [data]
    while pending:
        item = pending.pop()
        inner = list(item.items()) if isinstance(item, dict) else list(enumerate(item))
        found += [(item, key) for key, _ in inner]
        pending += [value for _, value in inner if isinstance(value, (dict, list))]
    return found


def set_a_value(rng: random.Random, places: list[Place]) -> None:
    container, key = rng.choice(places)
    container[key] = _value(rng)


def set_a_value_of_its_kind(rng: random.Random, places: list[Place]) -> None:
    container, key = rng.choice(places)
    value = container[key]
    if key == "_target_":
        container[key] = rng.choice(_TARGETS)
    elif isinstance(value, bool):
        container[key] = not value
    elif isinstance(value, (int, float)):
        container[key] = rng.choice(_NUMBERS[:11]) if rng.random() < 0.7 else rng.choice(_NUMBERS)
    elif isinstance(value, str):
        text = expression_gate.damaged(rng, value)
        container[key] = text if rng.random() < 0.6 else rng.choice(_TEXTS)
    elif isinstance(value, list) and value:
        rng.shuffle(value)


def delete(rng: random.Random, places: list[Place]) -> None:
    container, key = rng.choice(places)
    del container[key]


def add_a_key(rng: random.Random, places: list[Place]) -> None:
    container, _ = rng.choice(places)
    if isinstance(container, dict):
        container[rng.choice(_KEYS)] = _value(rng)
    else:
        container.insert(rng.randrange(len(container) + 1), _value(rng))


def rename(rng: random.Random, places: list[Place]) -> None:
    container, key = rng.choice(places)
    if isinstance(container, dict):
        container[rng.choice(_KEYS)] = container.pop(key)


def copy_to(rng: random.Random, places: list[Place]) -> None:
    (a, m), (b, n) = rng.choice(places), rng.choice(places)
    b[n] = copy.deepcopy(a[m])


def refer(rng: random.Random, places: list[Place]) -> None:
    """A value becomes an id of its own, and a reference stands for it."""
    container, key = rng.choice(places)
    top = places[0][0]
    if container is not top:
        name = rng.choice(("made", "r", "a"))
        top[name], container[key] = container[key], rng.choice(("@" + name, f"$@{name}", f"${{'x': @{name}}}['x']"))


def nest(rng: random.Random, places: list[Place]) -> None:
    container, key = rng.choice(places)
    for _ in range(rng.choice((1, 1, 2, 30, 70))):
        container[key] = [container[key]] if rng.random() < 0.5 else {"a": container[key]}


def disable(rng: random.Random, places: list[Place]) -> None:
    inner = [c for c, key in places if key == "_target_"]
    if inner:
        rng.choice(inner)["_disabled_"] = rng.choice((True, "true", "@x", "$1 < 2", 1, None))


HARMFUL: tuple[Callable[[random.Random, list[Place]], None], ...] = (
    *(set_a_value, set_a_value_of_its_kind, set_a_value_of_its_kind, delete, add_a_key, rename, copy_to, refer, nest),
    disable,
)


def shuffle_keys(rng: random.Random, config: dict[str, Any]) -> None:
    items = list(config.items())
    rng.shuffle(items)
    config.clear()
    config.update(items)


def add_what_is_not_read(rng: random.Random, config: dict[str, Any]) -> None:
    config[f"other{rng.randrange(9)}"] = rng.choice(
        ("$open('x')", {"_target_": "os.system"}, [1, {"a": "%b"}], "@nothing")
    )


def describe(rng: random.Random, config: dict[str, Any]) -> None:
    if "medseg" not in str(config.get("network_def")):
        config["network_def"]["_desc_"] = "words"


HARMLESS = (shuffle_keys, add_what_is_not_read, describe)


@cache
def seeds() -> tuple[tuple[dict[str, Any], dict[str, Any]], ...]:
    """(metadata, config) of each form, of the harmless twin of the hostile ones, and of the bundles of this project."""
    names = {str(n): f"organ {n}" for n in range(5)}
    four = ("t1c", "t1", "t2", "flair")
    forms = [(zoo.metadata(names, four if n == "brats_mri" else ("image",)), f()) for n, f in zoo.FORMS.items()]
    ours = [
        tuple(json.loads((folder / "configs" / f"{name}.json").read_text()) for name in ("metadata", "inference"))
        for folder in sorted(OURS.iterdir())
        if (folder / "configs").is_dir()  # not the tables of an evaluation
    ]
    return (*forms, (zoo.metadata(names), hostile.harmless()), *ours)  # type: ignore[return-value]


_NOT_READ = (
    "imports",
    "dataset_dir",
    "datalist",
    "device",
    "network",
    "dataset",
    "dataloader",
    "handlers",
    "evaluator",
    "initialize",
    "run",
    "evaluating",
    "inference",
)


@cache
def _seed_texts() -> list[tuple[str, str]]:
    """Each as it is, and thrice what of it is read: changes hit that. Files of arrays and our configs cost time."""
    found = []
    for about, config in seeds():
        read = {key: value for key, value in config.items() if key not in _NOT_READ}
        slow = "medseg" in about or "torch.load" in str(config)
        found += [(json.dumps(about), json.dumps(c)) for c in ([config] if slow else [config, read, read, read])]
    return found


def make(rng: random.Random) -> Made:
    """The two files; most as JSON, a few as YAML, which is read slowly."""
    about, config = map(json.loads, rng.choice(_seed_texts()))
    names = []
    harmless = rng.random() < 0.1
    damage = not harmless and rng.random() < 0.12
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if harmless:
            gentle = rng.choice(HARMLESS)
            gentle(rng, config)
            names.append(gentle.__name__)
        elif not damage:
            change = rng.choice(HARMFUL)
            change(rng, _places(about if rng.random() < 0.1 else config) or [([None], 0)])
            names.append(change.__name__)
    kind = "yaml" if rng.random() < 0.01 and "medseg" not in about else "json"  # ours are JSON
    if kind == "yaml":
        files = {"inference.yaml": yaml.safe_dump(config, sort_keys=False).encode()}
    else:
        files = {"inference.json": json.dumps(config, indent=rng.choice((None, None, 1)), allow_nan=True).encode()}
    files["metadata.json"] = json.dumps(about).encode()
    if damage:
        target = rng.choice(sorted(files))
        change_of_text = rng.choice(GENERIC)
        files[target] = change_of_text(rng, files[target])
        names.append(change_of_text.__name__)
    return Made(files, [kind, *names], harmless)


_written: dict[tuple[Path, str], bytes] = {}


def answer(files: Mapping[str, bytes], folder: Path) -> str:
    """The bundle as a value, and what is asked of it before anything is built."""
    _prepare(str(folder))
    (folder / "configs" / ("inference.json" if "inference.yaml" in files else "inference.yaml")).unlink(missing_ok=True)
    for name, content in files.items():
        if _written.get((folder, name)) != content or name != "metadata.json":
            (folder / "configs" / name).write_bytes(content)
            _written[folder, name] = content
    bundle = read_any(folder)
    if isinstance(bundle, MonaiBundle):
        program(bundle).in_words()
        window_spec(bundle.inferer, (32, 32, 32))
        image_names(bundle)
        table_of(bundle, (0, 1, 99))
    return ""


@cache
def _prepare(folder: str) -> None:
    models = Path(folder) / "models"
    models.mkdir(parents=True, exist_ok=True)
    (Path(folder) / "configs").mkdir(exist_ok=True)
    code = {"code_a": np.ones((6, 7), int), "code_c": np.ones((6, 7), int), "node_a": np.ones((7, 3), int)}
    torch.save(code, models / "search_code.pt")
    torch.save({"levels": 2}, models / "arch.pt")


def maker() -> Maker:
    """Configs, down to the values of their parts; nothing is built."""
    return Maker("configs", make, answer, (BundleError,))
