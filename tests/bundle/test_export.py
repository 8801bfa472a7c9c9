"""Exported networks: compared with torch, whole or not there, and run by a program that has no medseg."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from medseg.bundle import export as module
from medseg.bundle.build import build_foreign_network
from medseg.bundle.card import new_card
from medseg.bundle.export import export, exportable
from medseg.bundle.export_formats import FORMATS
from medseg.bundle.foreign import read_foreign
from medseg.bundle.pack import pack
from medseg.bundle.weights import load_network
from medseg.domain.errors import BundleError, OutputError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.inference.model import load_model
from medseg.inference.segment import segment
from medseg.networks.build import NetworkSpec, build_network
from tests.bundle.zoo import write_form
from tests.bundles import CPU, blobs, cells_bundle, grey_bundle, stored_bundle, volume_bundle
from tests.commands import medseg

HERE = Path(__file__).parent


def have(form):
    return all(find_spec(name) for name in FORMATS[form].packages)


def every(*forms):
    """Formats as parameters; one whose packages are absent is skipped, saying so."""
    return [
        pytest.param(f, marks=pytest.mark.skipif(not have(f), reason=f"{FORMATS[f].extra} is absent")) for f in forms
    ]


def about_of(path):
    return json.loads(path.with_name(f"{path.name}.json").read_text())


def stored_with(bundle, spec, folder):
    """The bundle with another network, whose weights are random."""
    bundle = replace(bundle, network=spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        weights = build_network(spec).state_dict()
    return pack(bundle, weights, folder, new_card(bundle, 0, "Not at all."))


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """A 2-D bundle whose finest level is made of patches, and so pads and crops."""
    spec = NetworkSpec("unet", 2, 1, 3, (4, 8), {"patch": 2})
    return stored_with(grey_bundle(), spec, tmp_path_factory.mktemp("grey") / "organs_2d_segmentation")


@pytest.mark.parametrize("form", every(*FORMATS))
def test_an_export_runs_without_medseg_and_comes_to_the_same_mask(grey, form, tmp_path):
    """By its JSON alone, in a process in which medseg cannot be imported."""
    path = tmp_path / f"net{FORMATS[form].endings[0]}"
    done = export(exportable(grey), form, path)
    assert done.sizes.symbols == ("batch", 1, "4*n", "4*m")
    about = about_of(path)
    assert about["files"] == [
        {"name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()} for file in done.files[:-1]
    ]
    assert about["agreement"]["max_abs_difference"] <= FORMATS[form].bound * max(t.largest for t in done.trials)
    assert {path.name for path in tmp_path.iterdir()} == {file.name for file in done.files}
    assert not any(str(HERE.parents[1]).encode() in file.read_bytes() for file in done.files), "a path of this computer"

    voxels = blobs((50, 36), seed=5)
    np.save(tmp_path / "image.npy", voxels)
    command = [sys.executable, "-I", HERE / "run_export.py", done.files[-1], tmp_path / "image.npy", tmp_path / "m.npy"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    ours = segment(Volume(voxels, Geometry((50, 36), np.eye(4)), "x"), load_model(grey, CPU, "fp32")).label_map.voxels
    theirs = np.load(tmp_path / "m.npy")
    assert len(np.unique(ours)) > 1
    assert int((ours != theirs).sum()) <= 1, "a near-tie of two logits may fall either way"


VARIANTS = {
    "unet++": NetworkSpec("unetpp", 2, 3, 3, (4, 8, 8)),
    "ensemble": NetworkSpec("unet", 2, 3, 3, (4, 8), {"members": 2, "merge": "attention", "down": "pooled"}),
    "patches of unet++": NetworkSpec("unetpp", 2, 3, 3, (4, 8), {"patch": 2, "block": "residual"}),
    "fcn": NetworkSpec("fcn", 2, 3, 3, (4, 8, 8)),
    "2015": NetworkSpec("unet_2015", 2, 3, 3, (4, 8)),
    "monai": NetworkSpec("UNet", 2, 3, 3, (), {"channels": [4, 8], "strides": [2]}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_network_is_exported_with_any_batch_and_size(name, tmp_path):
    assert_exports(name, "torchscript", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("form", every("torch-export", "onnx", "openvino"))
def test_every_network_is_exported_to_every_format(name, form, tmp_path):
    assert_exports(name, form, tmp_path)


def assert_exports(name, form, folder):
    stored = stored_with(cells_bundle(), VARIANTS[name], folder / "b")
    done = export(exportable(stored), form, folder / f"net{FORMATS[form].endings[0]}")
    assert done.sizes.step is not None
    assert len({trial.shape[0] for trial in done.trials}) == len({trial.shape[2:] for trial in done.trials}) == 3


def test_a_depth_of_unetpp_is_that_head_and_carries_no_deeper_weights(tmp_path):
    stored = stored_with(cells_bundle(), VARIANTS["unet++"], tmp_path / "b")
    whole, shallow = (tmp_path / f"{name}.ts" for name in ("whole", "shallow"))
    export(exportable(stored), "torchscript", whole)
    export(exportable(stored, 1), "torchscript", shallow)
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        wanted = load_network(stored)(image, 1)
        assert torch.equal(torch.jit.load(str(shallow))(image), wanted)
    assert shallow.stat().st_size < whole.stat().st_size
    assert about_of(shallow)["depth"] == 1
    with pytest.raises(UsageError, match="depth"):
        exportable(stored, 5)


@pytest.mark.parametrize("name", ["segmentation_template", "pathology_2d", "slices_2d"])
def test_a_strangers_network_is_exported_where_it_can_be(name, tmp_path):
    bundle = read_foreign(write_form(tmp_path / "b", name))
    done = export(exportable(bundle), "torchscript", tmp_path / "net.ts")
    shape = done.trials[-1].shape
    image = torch.randn(shape)
    with torch.no_grad():
        assert torch.equal(torch.jit.load(str(done.files[0]))(image), build_foreign_network(bundle)(image))
    about = about_of(done.files[0])
    assert about["windows"]["monai"]["_target_"] == bundle.inferer.name
    assert [step["_target_"] for step in about["postprocessing"]["monai"]] == [s.name for s in bundle.postprocessing]


class Counting(torch.nn.Module):
    """Answers otherwise each time, so that nothing can agree with it."""

    calls = 0

    def forward(self, x):
        Counting.calls += 1
        return x + Counting.calls


def test_what_differs_from_torch_is_not_left_behind(grey, tmp_path):
    what = replace(exportable(grey), network=Counting())
    with pytest.raises(BundleError, match="differs from torch by"):
        export(what, "torchscript", tmp_path / "net.ts")
    assert list(tmp_path.iterdir()) == []


class Picky(torch.nn.Module):
    """Takes windows of 32 x 32 only."""

    def forward(self, x):
        return x.reshape(x.shape[0], 1, 32 * 32).reshape(x.shape[0], 1, 32, 32) * 2


def test_a_network_of_one_size_is_exported_with_that_size_and_says_so(grey, tmp_path):
    done = export(replace(exportable(grey), network=Picky()), "torchscript", tmp_path / "net.ts")
    assert done.sizes.symbols == ("batch", 1, 32, 32)
    assert about_of(done.files[0])["input"]["shape"] == ["batch", 1, 32, 32]
    assert {trial.shape for trial in done.trials} == {(1, 1, 32, 32), (3, 1, 32, 32)}


class Refusing(torch.nn.Module):
    def forward(self, x):
        raise RuntimeError("no tracing of this")


def test_a_network_that_cannot_be_exported_is_refused_with_the_reason(grey, tmp_path):
    with pytest.raises(BundleError, match=r"cannot be exported as torchscript .*no tracing of this"):
        export(replace(exportable(grey), network=Refusing()), "torchscript", tmp_path / "net.ts")
    assert list(tmp_path.iterdir()) == []


def test_the_description_of_a_volume_bundle_says_grid_windows_and_labels(tmp_path):
    about = exportable(stored_bundle(volume_bundle(), tmp_path / "b")).about
    assert about["preprocessing"]["orientation"] == "RAS"
    assert about["preprocessing"]["spacing_mm"] == [1.0, 1.0, 1.0]
    assert about["windows"]["size"] == [16, 16, 16]
    assert about["postprocessing"]["values"] == [0, 1, 5]
    assert [label["name"] for label in about["labels"]] == ["liver", "liver tumour"]
    assert about["labels"][0]["type"] == {"value": "10200004", "meaning": "Liver", "scheme": "SCT"}
    json.dumps(about, allow_nan=False)


def test_the_command_exports_and_refuses_what_exists(grey, tmp_path):
    done = medseg("bundle", "export", grey.folder, "-t", "torchscript", "-o", tmp_path / "out")
    assert (done.code, done.out, len(done.lines)) == (0, "", 1)
    assert "batch x 1 x 4*n x 4*m" in done.err
    path = tmp_path / "out" / "organs_2d_segmentation.ts"
    before = path.read_bytes()
    done = medseg("bundle", "export", grey.folder, "-t", "torchscript", "-o", path)
    assert (done.code, len(done.lines)) == (OutputError.exit_code, 1)
    assert path.read_bytes() == before
    assert medseg("bundle", "export", grey.folder, "-t", "torchscript", "-o", path, "--overwrite").code == 0
    for arguments in (("-t", "pickle", "-o", path), ("-t", "torchscript", "-o", tmp_path / "net.onnx")):
        assert medseg("bundle", "export", grey.folder, *arguments).code == 2


def test_a_missing_package_names_the_extra(grey, tmp_path, monkeypatch):
    monkeypatch.setitem(module.FORMATS, "onnx", replace(FORMATS["onnx"], packages=("a_package_that_nobody_has",)))
    done = medseg("bundle", "export", grey.folder, "-t", "onnx", "-o", tmp_path)
    assert done.code == 2
    assert "pip install 'medseg[onnx]'" in done.err
