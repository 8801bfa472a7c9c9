"""A training starts from the weights of a bundle: as they are, but for the layer of other classes, and never unsaid."""

import json
from dataclasses import replace

import pytest

from medseg.bundle.store import find_bundle
from medseg.bundle.weights import load_network
from medseg.domain.labels import Label, LabelTable
from medseg.domain.manifest import image_digests
from medseg.io.manifest import read_manifest, write_manifest
from tests.commands import medseg
from tests.datasets import balls, discs, short_plan, write_plan


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The balls, a bundle trained on them for two steps, and a plan that changes no weight."""
    folder = tmp_path_factory.mktemp("pretrained")
    manifest = balls(folder / "set", (4, 1, 1))
    plan = short_plan(manifest, steps=2)
    arguments = ("-o", folder / "first", "--plan", write_plan(plan, folder / "plan.json"), "-q", "--device", "cpu")
    assert medseg("train", manifest, *arguments).code == 0
    still = replace(plan, optimiser=replace(plan.optimiser, rate=0.0))
    write_plan(still, folder / "still.json")
    return folder


@pytest.fixture
def elsewhere(place, tmp_path):
    """The same images as a data set of somebody else's: another source, and one label more."""
    manifest = read_manifest(place / "set" / "balls.json")
    table = LabelTable((*manifest.labels.labels, Label(9, "cyst", (1, 2, 3))))
    path = tmp_path / "elsewhere.json"
    write_manifest(replace(manifest, source="another hospital", labels=table), path)
    return path


def weights(folder):
    return load_network(find_bundle(str(folder))).state_dict()


def train(*arguments):
    return medseg("train", *arguments, "--device", "cpu", "-q")


def test_it_starts_from_those_very_weights(place, tmp_path):
    manifest, plan = place / "set" / "balls.json", ("--plan", place / "still.json")
    done = train(manifest, "-o", tmp_path / "b", *plan, "--pretrained", place / "first")
    assert done.code == 0, done.err
    first = weights(place / "first")
    assert all((value == first[name]).all() for name, value in weights(tmp_path / "b").items())
    assert train(manifest, "-o", tmp_path / "c", *plan).code == 0
    assert any((value != first[name]).any() for name, value in weights(tmp_path / "c").items())
    digest = find_bundle(str(place / "first")).weights_sha256
    assert json.loads((tmp_path / "b.training" / "plan.json").read_text())["pretrained"] == digest
    card = (tmp_path / "b" / "docs" / "README.md").read_text()
    assert f"starting from the weights of `first` (sha256 {digest[:12]})" in card
    again = train(manifest, "-o", tmp_path / "d", "--plan", tmp_path / "b.training" / "plan.json")
    assert (again.code, "give their bundle with --pretrained" in again.err) == (2, True)


def test_other_classes_have_a_last_layer_of_their_own(place, elsewhere, tmp_path):
    """The plan is suggested: network and preprocessing are the bundle's, whatever the data would have had."""
    settings = ("--set", "steps=1", "--set", "optimiser.rate=0", "--set", "batch.count=2")
    done = train(
        elsewhere, "-o", tmp_path / "b", "--pretrained", place / "first", *settings, "--data", place / "set/data"
    )
    assert done.code == 0, done.err
    first, bundle = weights(place / "first"), find_bundle(str(tmp_path / "b"))
    assert (bundle.network.widths, bundle.network.out_channels) == ((8, 16), 4)
    changed = [
        name for name, value in weights(tmp_path / "b").items()
        if value.shape != first[name].shape or (value != first[name]).any()
    ]  # fmt: skip
    assert {name.rpartition(".")[0] for name in changed} == {"head"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--network", "unetpp"), "is a unet; leave out --network unetpp"),
        (("--set", "network.widths=[4,8]"), "the plan's network is not that of first"),
        (("--set", f"pretrained={'0' * 64}"), "the plan starts from weights 000000000000, those of first are"),
        (("--fold", "1/2"), "images that are to be scored; start from another, or hold out what it held out"),
        (("--pretrained", "hippocampus_mr_segmentations"), "hippocampus_mr_segmentations"),
    ],
)
def test_what_would_be_another_training_is_refused(place, tmp_path, arguments, words):
    done = train(place / "set" / "balls.json", "-o", tmp_path / "b", "--pretrained", place / "first", *arguments)
    assert (done.code, len(done.lines)) == (2, 1)
    assert words in done.err
    assert not (tmp_path / "b").exists()


def test_networks_of_other_images_are_refused(place, tmp_path):
    pictures = discs(tmp_path / "set")
    done = train(pictures, "-o", tmp_path / "b", "--pretrained", place / "first")
    assert (done.code, "is for 3-D images, discs holds 2-D ones" in done.err) == (2, True)


def test_of_an_ensemble_the_first_network_is_taken_and_none_that_has_seen_all(place, tmp_path):
    manifest, plan = place / "set" / "balls.json", ("--plan", place / "still.json")
    assert train(manifest, "-o", tmp_path / "other", "--plan", place / "still.json", "--set", "seed=1").code == 0
    assert medseg("bundle", "join", place / "first", tmp_path / "other", "-o", tmp_path / "two").code == 0
    done = train(manifest, "-o", tmp_path / "b", *plan, "--pretrained", tmp_path / "two")
    assert done.code == 0, done.err
    first = weights(place / "first")
    assert all((value == first[name]).all() for name, value in weights(tmp_path / "b").items())

    metadata = tmp_path / "two" / "configs" / "metadata.json"
    facts = json.loads(metadata.read_text())
    facts["medseg"]["seen"] = " ".join(image_digests(read_manifest(manifest).cases))
    metadata.write_text(json.dumps(facts))
    done = train(manifest, "-o", tmp_path / "c", *plan, "--pretrained", tmp_path / "two")
    assert (done.code, "has seen 2 of the 2 images that are to be scored" in done.err) == (2, True)
