"""What is packed is read back equal, in configs that each kind of bundle has of its own; whole or not at all."""

import json
import os
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.bundle import configs, pack
from medseg.bundle.bundle import Bundle, FieldOfView, PostprocessSpec
from medseg.bundle.reader import read_bundle
from medseg.data.preprocess import PreprocessSpec
from medseg.domain.errors import OutputError, ResourceError, UsageError
from medseg.domain.labels import Code, Label, LabelTable
from medseg.networks.build import NetworkSpec
from medseg.windows import WindowSpec
from tests.bundles import BUNDLES, ORGANS, cells_bundle, grey_bundle, random_weights, stored_bundle, volume_bundle

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
LENGTHS = st.floats(1e-3, 1e3)


@st.composite
def bundles(draw):
    """Every kind of bundle that `Bundle` accepts."""
    dims = draw(st.sampled_from((2, 3)))
    instances = draw(st.booleans())
    values = [1] if instances else sorted(draw(st.sets(st.integers(1, 65535), min_size=1, max_size=4)))
    codes = st.none() | st.builds(Code, TEXT, TEXT, st.sampled_from(("SCT", "DCM")))
    colours = st.tuples(*[st.integers(0, 255)] * 3)
    labels = [Label(value, f"label {value}", draw(colours), draw(codes), draw(codes)) for value in values]
    channels = draw(st.sampled_from((1, 3)))
    spacings = st.none() if instances else st.none() | st.tuples(*[LENGTHS] * dims)
    sizes = st.tuples(*[st.integers(1, 512)] * dims)
    weightings = st.sampled_from(("constant", "gaussian"))
    placements = st.sampled_from(("monai", "nnunet"))
    post = (
        PostprocessSpec("instances", draw(st.integers(0, 999)), draw(st.floats(-1, 1)), draw(st.floats(0, 1)))
        if instances
        else PostprocessSpec("argmax", draw(st.integers(0, 999)))
    )
    return Bundle(
        *(draw(TEXT) for _ in range(7)),
        network=NetworkSpec(
            draw(st.sampled_from(("unet", "residual_unet", "unet_2015", "unetpp", "unetpp_2018"))),
            dims,
            channels,
            3 if instances else 1 + len(values),
            tuple(draw(st.lists(st.integers(1, 64), min_size=2, max_size=5))),
        ),
        preprocess=PreprocessSpec(channels, draw(spacings), draw(st.sampled_from(("zscore", "percentile")))),
        window=WindowSpec(
            draw(sizes), draw(st.floats(0, 0.9)), draw(weightings), draw(st.integers(1, 9)), draw(placements)
        ),
        postprocess=post,
        labels=LabelTable(tuple(labels), "instances" if instances else "semantic"),
        weights_sha256="",
        field_of_view=draw(st.none() | st.builds(FieldOfView, *[st.tuples(LENGTHS, LENGTHS, LENGTHS)] * 2)),
    )


@settings(max_examples=40)
@given(bundles())
def test_a_bundle_is_read_as_it_was_packed(tmp_path_factory, bundle):
    folder = tmp_path_factory.mktemp("bundles") / "b"
    packed = pack.pack(bundle, {}, folder, "")
    assert packed == replace(bundle, weights_sha256=packed.weights_sha256)
    stored = read_bundle(folder)
    assert stored == packed
    assert stored.folder == folder


def names(steps):
    return [step["_target_"] for step in steps["transforms"]]


def test_the_configs_of_a_volume_bundle():
    config = configs.inference_config(volume_bundle(min_voxels=50))
    assert config["network_def"] == {
        "_target_": "medseg.networks.unet.unet",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 3,
        "widths": [4, 8],
    }
    assert names(config["preprocessing"]) == ["LoadImaged", "Orientationd", "Spacingd", "NormalizeIntensityd"]
    invert, decide, save = config["postprocessing"]["transforms"]
    assert (invert["_target_"], invert["nearest_interp"]) == ("Invertd", False)  # logits, linear ...
    assert (decide["class_values"], decide["min_voxels"]) == ([1, 5], 50)  # ... then the decision
    assert (save["_target_"], save["resample"]) == ("SaveImaged", False)
    assert config["output_dtype"] == "$np.uint8"


def test_the_configs_of_a_grey_picture_bundle():
    config = configs.inference_config(grey_bundle())
    assert names(config["preprocessing"]) == ["LoadImaged", "ScaleIntensityRangePercentilesd"]
    assert names(config["postprocessing"]) == ["medseg.bundle.transforms.ArgmaxLabelsd", "SaveImaged"]
    assert config["inferer"]["mode"] == "constant"
    assert config["inferer"]["roi_size"] == [32, 32]


def test_the_configs_of_an_instance_bundle():
    bundle = cells_bundle()
    config = configs.inference_config(bundle)
    assert names(config["postprocessing"]) == ["medseg.bundle.transforms.Instancesd", "SaveImaged"]
    assert config["output_dtype"] == "$np.uint16"
    data = configs.metadata(bundle, {}, {})["network_data_format"]
    assert data["inputs"]["image"]["channel_def"] == {"0": "red", "1": "green", "2": "blue"}
    assert data["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "interior", "2": "boundary"}


@pytest.mark.parametrize("kind", BUNDLES)
def test_a_bundle_has_what_the_model_zoo_asks_for(kind, tmp_path):
    folder = stored_bundle(BUNDLES[kind](), tmp_path / "b").folder
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "LICENSE",
        "configs/inference.json",
        "configs/metadata.json",
        "configs/train.json",
        "docs/README.md",
        "docs/data_license.txt",
        "models/model.pt",
    }
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    assert metadata["changelog"][metadata["version"]]
    config = json.loads((folder / "configs" / "inference.json").read_text())
    wanted = "bundle_root device dataset_dir dataset network_def network preprocessing inferer postprocessing evaluator"
    wanted += " checkpointloader handlers datalist output_dir output_ext output_dtype output_postfix imports"
    assert set(wanted.split()) <= set(config)
    assert oct(folder.stat().st_mode & 0o777) == "0o755"


def test_the_same_weights_give_the_same_bytes(tmp_path):
    one, other = (stored_bundle(volume_bundle(), tmp_path / name).folder for name in "ab")
    for path in one.rglob("*.*"):
        assert path.read_bytes() == (other / path.relative_to(one)).read_bytes(), path.name


def test_the_weights_are_a_state_dict(tmp_path):
    folder = stored_bundle(grey_bundle(), tmp_path / "b", seed=3).folder
    state = torch.load(folder / "models" / "model.pt", weights_only=True)
    wanted = random_weights(grey_bundle(), seed=3)
    assert list(state) == list(wanted)
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("error", [ResourceError("full"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
@pytest.mark.parametrize(
    ("writer", "call"),
    [("write_bytes", 0), *[(writer, n) for writer in ("write_json", "write_text") for n in range(3)]],
)
def test_a_pack_that_fails_leaves_nothing(tmp_path, monkeypatch, writer, call, error):
    genuine, calls = getattr(pack, writer), []

    def write(*arguments):
        calls.append(arguments)
        if len(calls) > call:
            raise error
        genuine(*arguments)

    monkeypatch.setattr(pack, writer, write)
    with pytest.raises(type(error)):
        stored_bundle(grey_bundle(), tmp_path / "b")
    assert len(calls) == call + 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        stored_bundle(grey_bundle(), tmp_path / "b")
    assert list(tmp_path.rglob("*")) == [tmp_path / "b"]


def test_a_folder_made_in_the_meantime_is_left_alone(tmp_path, monkeypatch):
    """`Path.rename` raised an OSError that no one had foreseen."""
    genuine = pack.write_json

    def write(path, data):
        genuine(path, data)
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / "mine").touch()

    monkeypatch.setattr(pack, "write_json", write)
    with pytest.raises(OutputError):
        stored_bundle(grey_bundle(), tmp_path / "b")
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "b", tmp_path / "b" / "mine"]


def test_folders_above_are_made(tmp_path):
    """The temporary folder was made beside a bundle whose parent did not exist: a training of hours was lost."""
    stored_bundle(grey_bundle(), tmp_path / "new" / "b")
    assert os.listdir(tmp_path / "new") == ["b"]  # noqa: PTH208 - with the hidden ones


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        stored_bundle(grey_bundle(), tmp_path / "file" / "b")


@pytest.mark.parametrize(
    ("bundle", "changes", "words"),
    [
        (cells_bundle, {"preprocess": PreprocessSpec(3, (1.0, 1.0), "percentile")}, "no spacing_mm"),
        (volume_bundle, {"network": NetworkSpec("unet", 3, 1, 4, (4, 8))}, "4 channels for 3 classes"),
        (volume_bundle, {"window": WindowSpec((16, 16))}, "other axes"),
        (volume_bundle, {"preprocess": PreprocessSpec(1, (1.0, 1.0), "zscore")}, "other axes"),
        (volume_bundle, {"preprocess": PreprocessSpec(1, (1.0, 0.0, 1.0), "zscore")}, "not all positive"),
        (volume_bundle, {"preprocess": PreprocessSpec(3, (1.0, 1.0, 1.0), "zscore")}, "images of 3"),
        (cells_bundle, {"labels": ORGANS}, "instances give no semantic labels"),
        (grey_bundle, {"network": NetworkSpec("unet_2015_valid", 2, 1, 3, (4, 8))}, "smaller than a window"),
    ],
)
def test_parts_that_do_not_belong_together_are_no_bundle(bundle, changes, words):
    with pytest.raises(UsageError, match=words):
        replace(bundle(), **changes)
