"""The three flows, end to end on small things: what was trained is packed; what was packed segments and scores."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch

from medseg.bundle.reader import read_bundle
from medseg.bundle.weights import load_network
from medseg.data.dataset import load_case
from medseg.engines.checkpoint import load_newest
from medseg.io.manifest import read_manifest
from medseg.metrics.overlap import dice
from tests.commands import medseg
from tests.datasets import balls, discs, short_plan, write_plan


def run(*arguments):
    done = medseg(*arguments)
    assert done.code == 0, done.err
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with balls.json and the bundle b trained on it, whose plan drops no specks."""
    folder = tmp_path_factory.mktemp("flow")
    manifest = balls(folder)
    plan = write_plan(short_plan(manifest, steps=120), folder / "plan.json")
    run("train", manifest, "-o", folder / "b", "--plan", plan, "--device", "cpu", "-q")
    return folder


def scores_of(folder, split):
    return json.loads((folder / "b.evaluation" / f"scores_{split}.json").read_text())


def test_the_bundle_scores_what_the_checkpoint_scored(trained):
    """On the network's own grid and in its own precision the whole way of `segment` is that of the validation."""
    state = load_newest(trained / "b.training")
    run("evaluate", trained / "b", trained / "balls.json", "--split", "validation", "--device", "cpu", "-q")
    scores = scores_of(trained, "validation")
    assert scores["groups"][0]["Dice"]["mean"] == pytest.approx(state["best"]["score"], abs=1e-6)
    best = next(row for row in state["history"] if row["step"] == state["best"]["step"])
    by_label = {group["name"]: group["Dice"]["mean"] for group in scores["groups"]}
    assert [by_label["liver"], by_label["liver tumour"]] == pytest.approx(best["scores"], abs=1e-6)
    assert 0.5 < state["best"]["score"] < 1


def test_the_bundle_holds_the_weights_of_the_best_validation(trained):
    best = load_newest(trained / "b.training")["best"]["weights"]
    state = load_network(read_bundle(trained / "b")).state_dict()
    assert state.keys() == best.keys()
    assert all(torch.equal(state[name], best[name]) for name in best)


def test_evaluate_scores_the_masks_that_segment_writes(trained, tmp_path):
    manifest = read_manifest(trained / "balls.json")
    common = ("--device", "cpu", "--precision", "fp32", "-q")
    run("evaluate", trained / "b", trained / "balls.json", "-o", tmp_path, *common)
    with (tmp_path / "scores_test.csv").open() as file:
        rows = {(row["case"], row["label"]): float(row["Dice"]) for row in csv.DictReader(file)}
    cases = manifest.part("test")
    images = [trained / "data" / case.image for case in cases]
    run("segment", *images, "-b", trained / "b", "-o", tmp_path, *common)
    for case, image in zip(cases, images, strict=True):
        mask = np.asarray(nib.load(tmp_path / f"{image.name.removesuffix('.nii.gz')}_seg.nii.gz").dataobj)
        _, reference = load_case(manifest, case, trained / "data")
        for label in manifest.labels:
            expected = dice(mask == label.value, reference == label.value)
            assert rows[case.id, label.name] == pytest.approx(expected, abs=1e-9)
    assert len(rows) == len(cases) * len(manifest.labels)


def test_the_bundle_finds_what_it_learned(trained):
    run("evaluate", trained / "b", trained / "balls.json", "--card", "--device", "cpu", "-q")
    assert scores_of(trained, "test")["groups"][0]["Dice"]["mean"] > 0.5
    assert "Dice" in run("bundle", "info", trained / "b").out


def test_discs_are_found_one_by_one(tmp_path):
    """UNet++, colour pictures, instances: from a manifest to numbered things."""
    manifest = discs(tmp_path)
    plan = write_plan(short_plan(manifest, steps=60, preset="unetpp"), tmp_path / "plan.json")
    run("train", manifest, "-o", tmp_path / "b", "--plan", plan, "--device", "cpu", "-q")
    run("evaluate", tmp_path / "b", manifest, "--card", "--device", "cpu", "-q")
    image = tmp_path / "data" / "7.png"
    (report,) = run("segment", image, "-b", tmp_path / "b", "-o", tmp_path / "out", "--json", "-q").json
    assert report["measures"][0]["instances"] == 4
    assert scores_of(tmp_path, "test")["groups"][0]["AP@0.5"]["mean"] > 0.7
