"""Bundles that try to run code, read or write elsewhere, or exhaust the machine; each does no more than touch a marker.

A sample changes a harmless bundle. `fire` does what plain loading does, so that the marker shows that the sample works.
"""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from tests.bundle import zoo
from tests.bundle.hostile_zips import zips
from tests.bundle.plain_loading import exhausts

Config = dict[str, Any]


def harmless() -> Config:
    """The twin that is accepted: small, with a lambda, an inverse and expressions of every tier."""
    steps = [zoo.LOAD, zoo.FIRST, zoo.RAS, zoo.spacing(1.5, 1.5, 2.0), zoo.window(-57, 164)]
    relabel = {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: torch.where(x > 1, 1, x)"}
    return zoo.whole(
        {
            "arch": "$torch.load(@bundle_root + '/models/arch.pt', weights_only=False)",
            "levels": "$@arch['levels']",
            "network_def": zoo.unet(3, 2, channels="$[4, 8][:@levels]", strides=[2]),
            "preprocessing": zoo.compose(*steps),
            "inferer": zoo.WINDOWS,
            "postprocessing": zoo.compose(zoo.SOFTMAX, zoo.LINEAR, zoo.ARGMAX, relabel, zoo.SAVE),
        }
    )


def write_harmless(folder: Path) -> Path:
    """The twin on disk."""
    zoo.write_bundle(folder, harmless(), zoo.metadata({"0": "background", "1": "organ"}))
    torch.save({"levels": 2}, folder / "models" / "arch.pt")
    torch.save(state(), folder / "models" / "model.pt")
    return folder


def state() -> dict[str, torch.Tensor]:
    from monai.networks.nets import UNet

    with torch.random.fork_rng(devices=[]):
        return UNet(3, 1, 2, (4, 8), (2,), num_res_units=1, norm="batch").state_dict()


@dataclass(frozen=True)
class Sample:
    """change: makes the twin hostile; fire: plain loading of it, or None where it would harm the machine."""

    name: str
    change: Callable[[Path, Path], object]
    fire: Callable[[Path, Path], object] | None = None


def config_of(folder: Path) -> Config:
    data: Config = json.loads((folder / "configs" / "inference.json").read_text())
    return data


def put(folder: Path, config: Config) -> None:
    (folder / "configs" / "inference.json").write_text(json.dumps(config, indent=1))


def plain(folder: Path, marker: Path) -> None:
    """What stock MONAI makes of the four parts, and of a picture that goes through their steps."""
    from monai.bundle import ConfigParser

    parser = ConfigParser({**config_of(folder), "bundle_root": str(folder)})
    parser.config["imports"] = ["$import os", "$import numpy as np", "$import subprocess"]
    parser.read_meta(str(folder / "configs" / "metadata.json"))
    for name in ("network_def", "inferer", "preprocessing", "postprocessing"):
        built = parser.get_parsed_content(name)
        for step in getattr(built, "transforms", ()):
            for function in (
                (*getattr(step, "func", ()), *getattr(step, "post_func", ())) if hasattr(step, "keys") else ()
            ):
                if callable(function):
                    function(torch.zeros(1, 2, 2, 2))


PLACES: dict[str, Callable[[Config, Any], object]] = {
    "inferer": lambda c, v: c["inferer"].update(overlap=v),
    "network": lambda c, v: c["network_def"].update(dropout=v),
    "step": lambda c, v: c["preprocessing"]["transforms"].append(v),
    "reference": lambda c, v: (c.update(far=[{"there": v}]), c["inferer"].update(overlap="@far#0#there")),
}


def expression(name: str, text: str) -> Iterator[Sample]:
    """An expression in several places; {m} stands for the marker's path."""
    for where, place in PLACES.items():

        def change(folder: Path, marker: Path, place: Any = place) -> None:
            config = config_of(folder)
            place(config, text.replace("{m}", str(marker)))
            put(folder, config)

        yield Sample(f"expression {name} in {where}", change, plain if where == "step" else None)


def changed(
    name: str, change: Callable[[Config, str], object], fires: bool = True, fire: Callable[[Path, Path], object] = plain
) -> Sample:
    """A sample that changes the config; the function is given the marker's path."""

    def on_disk(folder: Path, marker: Path) -> None:
        config = copy.deepcopy(config_of(folder))
        change(config, str(marker))
        put(folder, config)

    return Sample(name, on_disk, fire if fires else None)


SUBCLASSES = "().__class__.__base__.__subclasses__()"
EXPRESSIONS = {
    "import": "$__import__('pathlib').Path('{m}').touch()",
    "open": "$open('{m}', 'w')",
    "eval": "$eval(\"open('{m}', 'w')\")",
    "exec": "$exec(\"open('{m}', 'w')\")",
    "comprehension": "$[open('{m}', 'w') for _ in [0]]",
    "generator": "$list(open('{m}', 'w') for _ in [0])",
    "subclasses": "$[c for c in " + SUBCLASSES + " if c.__name__ == '_wrap_close'][0].__init__.__globals__['system']"
    "('touch {m}')",
    "f-string": "$f\"{open('{m}', 'w')}\"",
    "walrus": "$(x := open('{m}', 'w'))",
    "called lambda": "$(lambda f: f('{m}', 'w'))(open)",
    "getattr": "$getattr(os, 'system')('touch {m}')",
    "numpy": "$np.savetxt('{m}', [0])",
    "torch": "$torch.save(0, '{m}')",
    "os": "$os.system('touch {m}')",
    "monai": "$monai.bundle.ConfigParser({'a': \"$open('{m}', 'w')\"}).get_parsed_content('a')",
    "conditional": "$0.5 if open('{m}', 'w') else 0.25",
    "chained": "$torch.serialization.os.system('touch {m}')",
    "starred": "$print(*[open('{m}', 'w')])",
    "in a slice": "$[1, 2][open('{m}', 'w').fileno():]",
    "as a key": "${'a': 1}.get(open('{m}', 'w'))",
}
BOMBS = {
    "text": "$'x' * 10000000000",
    "list": "$[0] * 10000000000",
    "nested list": "$[[0] * 4000] * 4000",
    "power": "$9 ** 9 ** 9",
    "shift": "$1 << 10000000000",
    "range": "$list(range(10 ** 3 * 10 ** 12))",
    "product": "$" + " * ".join(["9007199254740992"] * 40),
    "doubling": "$" + " + ".join(["'xxxxxxxxxxxxxxxxxxxxxxxxxxxx' * 999"] * 20),
    "format": "$'%10000000000d' % 1",
    "deep": "$" + "(" * 900 + "1" + ")" * 900,
    "deep unary": "$" + "-" * 1900 + "1",
    "long": "$" + "1 + " * 5000 + "1",
    "digits": "$int('" + "9" * 1900 + "') * 1.0",
    "division by zero": "$1 // 0",
    "round": "$round(1, -10 ** 9)",
    "no expression": "$1 +",
    "import statement": "$import os",
    "unknown reference": "$@nothing + 1",
    "null byte": "$1\0",
    "itself": "@inferer#overlap",
}
EXHAUSTING = ("text", "list", "power", "shift", "range", "format", "round")
LAMBDAS = {
    "open": "$lambda x: open('{m}', 'w')",
    "save": "$lambda x: torch.save(x, '{m}')",
    "numpy": "$lambda x: x.numpy().tofile('{m}')",
    "method": "$lambda x: x.__class__.__init__.__globals__['os'].system('touch {m}')",
    "where": "$lambda x: torch.where(x > 0, 1, open('{m}', 'w').write('1'))",
}


def scripted(folder: Path, marker: Path) -> None:
    """A class of a module that lies in the bundle."""
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").touch()
    (folder / "scripts" / "net.py").write_text(f"open({str(marker)!r}, 'w')\nclass Net:\n    pass\n")
    put(folder, {**config_of(folder), "network_def": {"_target_": "scripts.net.Net"}})


def gadget_targets() -> Iterator[Sample]:
    """Classes and functions by import path."""
    steps: dict[str, Callable[[str], Config]] = {
        "os.system": lambda m: {"_target_": "os.system", "command": f"touch {m}"},
        "subprocess.run": lambda m: {"_target_": "subprocess.run", "args": ["touch", m]},
        "builtins.open": lambda m: {"_target_": "builtins.open", "file": m, "mode": "w"},
        "io.open": lambda m: {"_target_": "io.open", "file": m, "mode": "w"},
        "torch.save": lambda m: {"_target_": "torch.save", "obj": 0, "f": m},
        "numpy.savetxt": lambda m: {"_target_": "numpy.savetxt", "fname": m, "X": [0]},
        "shutil.copyfile": lambda m: {"_target_": "shutil.copyfile", "src": os.devnull, "dst": m},
        "torch.serialization.os.system": lambda m: {
            "_target_": "torch.serialization.os.system",
            "command": f"touch {m}",
        },
        "monai.config.deviceconfig.os.system": lambda m: {
            "_target_": "monai.config.deviceconfig.os.system",
            "command": f"touch {m}",
        },
        "monai.bundle.ConfigParser.export_config_file": lambda m: {
            "_target_": "monai.bundle.ConfigParser.export_config_file",
            "config": {},
            "filepath": m,
        },
        "monai.bundle.config_parser.Path.touch": lambda m: {
            "_target_": "monai.bundle.config_parser.Path.touch",
            "self": {"_target_": "pathlib.Path", "_args": 0},
        },
    }
    for name, make in steps.items():
        fires = name != "monai.bundle.config_parser.Path.touch"
        yield changed(f"target {name}", lambda c, m, make=make: PLACES["step"](c, make(m)), fires)
    yield changed(
        "target by expression",
        lambda c, m: PLACES["step"](c, {"_target_": "$'os.' + 'system'", "command": f"touch {m}"}),
    )
    yield changed(
        "target by reference",
        lambda c, m: (c.update(t="os.system"), PLACES["step"](c, {"_target_": "@t", "command": f"touch {m}"})),
    )
    yield changed("target that is a list", lambda c, m: PLACES["step"](c, {"_target_": ["os.system"]}), fires=False)
    yield changed(
        "network by path", lambda c, m: c.update(network_def={"_target_": "os.system", "command": f"touch {m}"})
    )
    yield Sample("network of the bundle's scripts", scripted, lambda f, m: (sys.path.insert(0, str(f)), plain(f, m)))
    yield changed("a step for a network", lambda c, m: c.update(network_def=zoo.RAS), fires=False)
    yield changed(
        "a target inside an argument",
        lambda c, m: c["network_def"].update(act={"_target_": "os.system", "command": f"touch {m}"}),
    )


def gadget_arguments() -> Iterator[Sample]:
    """Arguments that name code, take functions, or are the config language's own switches."""
    fire = "$open('{m}', 'w')"

    def on(part: Callable[[Config], Config], key: str, value: Any) -> Callable[[Config, str], object]:
        def change(config: Config, marker: str) -> None:
            part(config)[key] = json.loads(json.dumps(value).replace("{m}", marker))

        return change

    def step(name: str, n: int) -> Callable[[Config], Config]:
        return lambda c: c[name]["transforms"][n]

    load, inverse, activate, relabel, save = (
        step("preprocessing", 0),
        step("postprocessing", 1),
        step("postprocessing", 0),
        step("postprocessing", 3),
        step("postprocessing", 4),
    )
    for name, text in LAMBDAS.items():
        fires = name != "method"
        yield changed(f"lambda {name}", on(relabel, "func", text), fires)
        yield changed(f"inverse's lambda {name}", on(inverse, "post_func", text), fires)
    yield changed("reader by expression", on(load, "reader", fire))
    yield changed("reader by path", on(load, "reader", "scripts.evil.Reader"), fires=False)
    yield changed("writer by expression", on(save, "writer", fire))
    yield changed("name formatter", on(save, "output_name_formatter", fire))
    yield changed("other activation", on(activate, "other", fire))
    yield changed("a named function for a lambda", on(relabel, "func", "$np.save"), fires=False)
    yield changed("a text for a lambda", on(relabel, "func", "os.system"), fires=False)
    yield changed("unknown argument", on(activate, "extra", 1), fires=False)
    yield changed("mode callable", on(activate, "_mode_", "callable"), fires=False)
    yield changed("mode debug", on(activate, "_mode_", "debug"), fires=False)
    yield changed("requires", on(activate, "_requires_", [fire]))
    yield changed("disabled by expression", on(activate, "_disabled_", fire))
    yield changed("unknown underscore", on(activate, "_args_", [fire]))
    yield changed(
        "pretrained weights",
        lambda c, m: c.update(
            network_def={
                "_target_": "FlexibleUNet",
                "in_channels": 1,
                "out_channels": 2,
                "backbone": "efficientnet-b0",
                "pretrained": True,
            }
        ),
        fires=False,
    )
    yield changed(
        "merger class",
        lambda c, m: c.update(inferer={"_target_": "PatchInferer", "merger_cls": "os.system"}),
        fires=False,
    )
    yield changed("macro of a file", lambda c, m: c["inferer"].update(overlap="%other.json::x"), fires=False)
    yield changed(
        "macro of the config",
        lambda c, m: (c.update(x=f"$open('{m}', 'w')"), c["inferer"].update(overlap="%x")),
    )
    yield changed(
        "inverse of something else",
        lambda c, m: (
            c.update(more=c["preprocessing"]),
            c["postprocessing"]["transforms"][1].update(transform="@more"),
        ),
        fires=False,
    )
    yield changed("two loads", lambda c, m: c["preprocessing"]["transforms"].append(zoo.LOAD), fires=False)
    yield changed("no inferer", lambda c, m: c.pop("inferer"), fires=False)
    yield changed("steps that are numbers", lambda c, m: c.update(postprocessing=[1, 2]), fires=False)
    for key, value in {
        "channels": [65536] * 2,
        "num_res_units": 10**6,
        "kernel_size": 9999,
        "strides": [2] * 100,
    }.items():
        yield changed(
            f"huge network: {key}",
            lambda c, m, key=key, value=value: c["network_def"].update({"channels": [4, 8], key: value}),
            fires=key != "strides",
            fire=exhausts(plain),
        )
    yield changed("huge windows", lambda c, m: c["inferer"].update(roi_size=[4096] * 3), fires=False)
    yield changed(
        "huge resize",
        lambda c, m: PLACES["step"](c, {"_target_": "Resized", "keys": "image", "spatial_size": [10**6] * 3}),
        fires=False,
    )


def reads_the_weights(folder: Path, marker: Path) -> None:
    """Touches the marker where the weights that the config names can be read, wherever they lie."""
    if torch.load(parsed(folder, "checkpointloader#load_path"), weights_only=True):
        marker.touch()


def parsed(folder: Path, name: str) -> Any:
    from monai.bundle import ConfigParser

    return ConfigParser({**config_of(folder), "bundle_root": str(folder)}).get_parsed_content(name)


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def load_all(folder: Path, marker: Path) -> None:
    torch.load(folder / "models" / "model.pt", weights_only=False)


def files() -> Iterator[Sample]:
    """Weights and other binary files."""
    weights = "models/model.pt"

    def saved(value: Callable[[Path], Any], to: str = weights, **more: Any) -> Callable[[Path, Path], object]:
        return lambda folder, marker: torch.save(value(marker), folder / to, **more)

    yield Sample("pickle in weights", saved(lambda m: {**state(), "more": Touch(m)}), load_all)
    yield Sample("pickle for weights", saved(Touch), load_all)
    yield Sample(
        "legacy pickle in weights",
        saved(lambda m: {**state(), "more": Touch(m)}, _use_new_zipfile_serialization=False),
        load_all,
    )
    yield Sample(
        "bare pickle",
        lambda f, m: (f / weights).write_bytes(pickle.dumps(Touch(m))),
        lambda f, m: pickle.loads((f / weights).read_bytes()),
    )
    yield Sample(
        "pickle in an expression's file", saved(lambda m: {"levels": 2, "x": Touch(m)}, "models/arch.pt"), plain
    )
    yield Sample("a whole module", saved(lambda m: torch.nn.Linear(1, 1)))
    yield Sample(
        "object array in an expression's file",
        saved(lambda m: {"levels": 2, "x": np.array([1, None], dtype=object)}, "models/arch.pt"),
    )
    yield Sample("legacy weights", saved(lambda m: state(), _use_new_zipfile_serialization=False))
    yield Sample("no tensors", saved(lambda m: {"a": 1}))
    yield Sample("nothing", saved(lambda m: {}))
    yield Sample("other shapes", saved(lambda m: {k: v[None] for k, v in state().items()}))
    yield Sample("a key less", saved(lambda m: dict(list(state().items())[1:])))
    yield Sample("a key more", saved(lambda m: {**state(), "\x1b[31mmore": torch.zeros(1)}))
    yield Sample("stretched tensors", saved(lambda m: {k: torch.zeros(1).expand(10**12) for k in state()}))
    yield Sample("cut weights", lambda f, m: (f / weights).write_bytes((f / weights).read_bytes()[:-100]))
    yield Sample("text for weights", lambda f, m: (f / weights).write_text("version https://git-lfs"))
    yield Sample("weights missing", lambda f, m: (f / weights).unlink())
    yield Sample("a folder for weights", lambda f, m: ((f / weights).unlink(), (f / weights).mkdir()))
    yield Sample("compressed weights", recompressed)
    yield Sample("TorchScript for weights", script)
    yield Sample("TorchScript that runs on loading", talking, listens)
    for suffix in (".ts", ".pkl", ".npy"):
        yield Sample(
            f"weights as {suffix}",
            lambda f, m, s=suffix: (
                shutil.move(f / weights, f / f"models/model{s}"),
                pointed(f, f"$@bundle_root + '/models/model{s}'"),
            ),
        )
    yield Sample(
        "weights outside",
        lambda f, m: (shutil.move(f / weights, m.parent / "model.pt"), pointed(f, "$@bundle_root + '/../model.pt'")),
        reads_the_weights,
    )
    yield Sample(
        "weights by an absolute path",
        lambda f, m: (shutil.move(f / weights, m.parent / "model.pt"), pointed(f, str(m.parent / "model.pt"))),
        reads_the_weights,
    )
    yield Sample(
        "weights through a link",
        lambda f, m: (shutil.move(f / weights, m.parent / "model.pt"), (f / weights).symlink_to(m.parent / "model.pt")),
        reads_the_weights,
    )
    yield Sample(
        "a file elsewhere by torch.load",
        lambda f, m: (
            shutil.move(f / "models/arch.pt", m.parent / "arch.pt"),
            put(f, {**config_of(f), "arch": f"$torch.load('{m.parent}/arch.pt')"}),
        ),
        lambda f, m: parsed(f, "arch") and m.touch(),
    )
    yield Sample(
        "np.load of objects",
        lambda f, m: (
            np.save(f / "models/x.npy", np.array([Touch(m)], dtype=object), allow_pickle=True),
            put(f, {**config_of(f), "levels": f"$np.load('{f}/models/x.npy', allow_pickle=True)"}),
        ),
        plain,
    )
    yield Sample(
        "safetensors with a huge header",
        lambda f, m: (
            (f / weights).unlink(),
            (f / "models/model.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}"),
        ),
    )


def pointed(folder: Path, path: str) -> None:
    config = config_of(folder)
    config["checkpointloader"]["load_path"] = path
    put(folder, config)


def recompressed(folder: Path, marker: Path) -> None:
    path = folder / "models" / "model.pt"
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))


def talking(folder: Path, marker: Path) -> None:
    import warnings

    from tests.bundle.talking import Talking

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Talking()), folder / "models" / "model.pt")


def listens(folder: Path, marker: Path) -> None:
    """Touches the marker where loading prints something."""
    with redirect_stdout(io.StringIO()) as said:
        torch.jit.load(folder / "models" / "model.pt")
    if "code of the file runs" in said.getvalue():
        marker.touch()


def script(folder: Path, marker: Path) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1, 1)), folder / "models" / "model.pt")


def documents() -> Iterator[Sample]:
    """Config files that harm whoever reads them."""

    def text(name: str, content: Callable[[str, Path], str]) -> Callable[[Path, Path], object]:
        def change(folder: Path, marker: Path) -> None:
            path = folder / "configs" / name
            old = path.read_text() if path.exists() else ""
            if name.endswith("yaml"):
                (folder / "configs" / "inference.json").unlink()
            path.write_text(content(old, marker))

        return change

    def unsafe(folder: Path, marker: Path) -> None:
        yaml.unsafe_load((folder / "configs" / "inference.yaml").read_text())

    def plain_yaml(folder: Path) -> None:
        from monai.bundle import ConfigParser

        ConfigParser(ConfigParser.load_config_file(folder / "configs" / "inference.yaml")).parse()

    for name in ("inference.json", "metadata.json"):
        yield Sample(f"{name}: a key twice", text(name, lambda old, m: old.rstrip()[:-1] + ', "a": 1, "a": 2}'))
        yield Sample(
            f"{name}: nested", text(name, lambda old, m: old.rstrip()[:-1] + ', "a": ' + "[" * 99 + "]" * 99 + "}")
        )
        yield Sample(f"{name}: nested far", text(name, lambda old, m: '{"a":' * 10**5 + "1" + "}" * 10**5))
        yield Sample(f"{name}: NaN", text(name, lambda old, m: old.rstrip()[:-1] + ', "a": NaN}'))
        yield Sample(f"{name}: infinity in digits", text(name, lambda old, m: old.rstrip()[:-1] + ', "a": 1e999}'))
        yield Sample(f"{name}: too long", text(name, lambda old, m: old + " " * (1 << 20)))
        yield Sample(
            f"{name}: many digits", text(name, lambda old, m: old.rstrip()[:-1] + ', "a": ' + "9" * 9999 + "}")
        )
        yield Sample(f"{name}: a list", text(name, lambda old, m: "[]"))
        yield Sample(f"{name}: missing", lambda f, m, name=name: (f / "configs" / name).unlink())
        yield Sample(
            f"{name}: a link out",
            lambda f, m, name=name: (
                shutil.move(f / "configs" / name, m.parent / name),
                (f / "configs" / name).symlink_to(m.parent / name),
            ),
        )
    yaml_of = lambda folder: yaml.safe_dump(harmless())  # noqa: E731
    yield Sample(
        "YAML object",
        text("inference.yaml", lambda _, m: yaml_of(m) + f"a: !!python/object/apply:os.system ['touch {m}']\n"),
        unsafe,
    )
    yield Sample("YAML name", text("inference.yaml", lambda _, m: yaml_of(m) + "a: !!python/name:os.system\n"))
    yield Sample(
        "YAML laughs",
        text(
            "inference.yaml",
            lambda _, m: (
                yaml_of(m)
                + "l0: &l0 [x, x, x, x, x, x, x, x, x]\n"
                + "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
            ),
        ),
        exhausts(lambda f, m: plain_yaml(f)),
    )
    yield Sample("YAML cycle", text("inference.yaml", lambda _, m: yaml_of(m) + "a: &a [*a]\n"))
    yield Sample("YAML key twice", text("inference.yaml", lambda _, m: yaml_of(m) + "bundle_root: x\nbundle_root: y\n"))
    yield Sample("YAML merge", text("inference.yaml", lambda _, m: yaml_of(m) + "a: &a {x: 1}\nb: {<<: *a}\n"))
    yield Sample("YAML date", text("inference.yaml", lambda _, m: yaml_of(m) + "a: 2024-01-01\n"))
    yield Sample("YAML infinity", text("inference.yaml", lambda _, m: yaml_of(m) + "a: .inf\n"))
    yield Sample("YAML nested", text("inference.yaml", lambda _, m: "a: " + "[" * 5000 + "]" * 5000))
    yield Sample("half a bundle: no configs", lambda f, m: shutil.rmtree(f / "configs"))
    yield changed(
        "a circle of references",
        lambda c, m: (c.update(a="@b", b="$@a + 1"), c["inferer"].update(overlap="@a")),
        fires=False,
    )
    yield changed(
        "a long chain of references",
        lambda c, m: (c.update({f"n{i}": f"@n{i + 1}" for i in range(500)}), c["inferer"].update(overlap="@n0")),
        fires=False,
    )
    yield changed(
        "a key with a separator",
        lambda c, m: c["inferer"].update({"a#b": 1}) or c["preprocessing"]["transforms"].append({"a::b": 1}),
        fires=False,
    )


def texts_of(value: Any) -> set[str]:
    """All texts of plain data."""
    if isinstance(value, dict):
        return {text for item in value.values() for text in texts_of(item)}
    if isinstance(value, list):
        return {text for item in value for text in texts_of(item)}
    return {value} if isinstance(value, str) else set()


def samples() -> list[Sample]:
    """All of them; names are unique."""
    found = [s for name, text in EXPRESSIONS.items() for s in expression(name, text)]
    for name, text in BOMBS.items():
        put_in = lambda c, m, t=text: c["inferer"].update(overlap=t)  # noqa: E731
        found.append(changed(f"bomb {name}", put_in, name in EXHAUSTING, exhausts(plain)))
    packed = [Sample(*parts) for parts in zips()]
    return [*found, *gadget_targets(), *gadget_arguments(), *files(), *documents(), *packed]
