"""A manifest becomes a bundle with one command."""

import json
import sys
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from medseg.bundle.reader import read_bundle
from medseg.cli import planning
from medseg.io.manifest import read_manifest, write_manifest
from medseg.networks.build import NetworkSpec
from tests.commands import medseg
from tests.datasets import balls, short_plan, write_plan
from tests.html import Reader


@pytest.fixture
def manifest(tmp_path):
    return balls(tmp_path / "set", (2, 1, 0))


@pytest.fixture
def plan(manifest, tmp_path):
    return write_plan(short_plan(manifest, steps=2), tmp_path / "plan.json")


def train(*arguments):
    return medseg("train", *arguments, "--device", "cpu")


def test_from_manifest_to_bundle_to_mask(manifest, plan, tmp_path):
    output, work = tmp_path / "new" / "balls_mr_segmentation", tmp_path / "new" / "balls_mr_segmentation.training"
    done = train(manifest, "-o", output, "--plan", plan)
    assert (done.code, done.out) == (0, ""), done.err
    assert "step 1/2" in done.err
    page = work / "report.html"
    assert f"packed {output}, the page in {page}; next: medseg evaluate {output} {manifest}" in done.lines[-1]
    files = {path.name for path in work.iterdir()}
    assert {"plan.json", "history.json", "curve.png", "step-00000002.pt", "step-00000002.sha256"} <= files
    assert json.loads((work / "plan.json").read_text()) == json.loads(plan.read_text())
    assert [row["step"] for row in json.loads((work / "history.json").read_text())] == [1, 2]
    assert medseg("bundle", "check", output).code == 0
    assert read_bundle(output).always_labelled
    card = (output / "docs" / "README.md").read_text()
    assert "Every image that trained it holds liver or liver tumour" in card
    assert "Trained by `medseg train balls.json` with seed 0 on 2 cases for 2 steps of 4 patches" in card
    image = tmp_path / "set" / "data" / "0.nii.gz"
    assert medseg("segment", image, "-b", output, "-o", tmp_path / "out", "-q").code == 0
    assert set(np.unique(np.asarray(nib.load(tmp_path / "out" / "0_seg.nii.gz").dataobj))) <= {0, 1, 5}


def test_the_page_of_a_training_and_its_logs(manifest, plan, tmp_path):
    work = tmp_path / "b.training"
    settings = ("--set", "steps=2", "--set", "network.widths=[4,8]", "--set", "batch.count=1")
    assert train(manifest, "-o", tmp_path / "b", "-q", *settings).code == 0
    page = Reader((work / "report.html").read_text())
    for source in (held["src"] for held in page.attributes("img")):
        assert (work / source).is_file()
    assert len(page.attributes("img")) == 1  # there is one validation case
    told = [held["aria-label"] for held in page.attributes("svg")]
    assert told[0].startswith("Curves of loss")
    assert told[1].startswith("Curves of validation dice by class: liver from")
    reasons = json.loads((work / "fingerprint.json").read_text())["reasons"]
    cells = page.all("td")
    assert reasons["batch.size"] in cells
    assert cells[cells.index("batch.count") + 2] == "set on the command line"
    assert reasons["batch.count"] not in cells
    assert "time per step" in page.all("span")
    scores = json.loads((work / "scores_validation.json").read_text())
    assert {row["case"] for row in scores["rows"]} == {"case2"}
    assert list((work / "tensorboard").glob("events.out.tfevents.*"))
    assert not (tmp_path / "b" / "report.html").exists()


def test_mlflow_is_not_imported_unless_asked_for(manifest, plan, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)  # importing it fails
    assert train(manifest, "-o", tmp_path / "b", "--plan", plan, "-q").code == 0
    done = train(manifest, "-o", tmp_path / "c", "--plan", plan, "-q", "--mlflow", tmp_path / "runs")
    assert done.code == 2
    assert done.lines == ["medseg: --mlflow: MLflow is not installed; pip install 'medseg[mlflow]'"]
    assert not (tmp_path / "c").exists()


def test_quiet_says_what_was_packed_and_nothing_else(manifest, plan, tmp_path):
    done = train(manifest, "-o", tmp_path / "b", "--plan", plan, "-q")
    assert done.code == 0
    assert len(done.lines) == 1


def test_a_training_that_was_done_is_packed_again_with_the_same_weights(manifest, plan, tmp_path):
    digests = []
    for name in "ab":
        assert train(manifest, "-o", tmp_path / name, "--plan", plan, "--work", tmp_path / "work", "-q").code == 0
        metadata = json.loads((tmp_path / name / "configs" / "metadata.json").read_text())
        digests.append(metadata["medseg"]["weights_sha256"])
    assert digests[0] == digests[1]


def test_a_training_stopped_at_its_page_goes_on_to_its_bundle(manifest, plan, tmp_path, monkeypatch):
    """The bundle was packed before the page: stopped in between, the same command was refused for its own output."""
    arguments = [manifest, "-o", tmp_path / "b", "--plan", plan, "-q"]
    with monkeypatch.context() as patch:
        patch.setattr(
            "medseg.cli.training_page.TrainingPage.write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        assert train(*arguments).code == 130
    assert not (tmp_path / "b").exists()
    assert train(*arguments).code == 0
    assert (tmp_path / "b.training" / "report.html").exists()
    assert not (tmp_path / "b.training" / "packed").exists()


def test_all_cases_that_cannot_be_used_are_named_at_once(tmp_path):
    """Those to validate on as well; the fingerprint of the others does not stop at them."""
    manifest = balls(tmp_path / "set", (4, 1, 0))
    data = tmp_path / "set" / "data"
    (data / "1.nii.gz").write_bytes((data / "1.nii.gz").read_bytes()[:300])
    (data / "4_mask.nii.gz").unlink()
    done = train(manifest, "-o", tmp_path / "b", "-q")
    assert (done.code, len(done.lines)) == (3, 1)
    assert "2 of 5 cases cannot be used" in done.err
    assert "1.nii.gz: " in done.err
    assert "4_mask.nii.gz: " in done.err
    assert not (tmp_path / "b").exists()


def test_another_plan_does_not_take_the_place_of_the_first(manifest, plan, tmp_path):
    """plan.json was written over before the checkpoints were found to be of other settings."""
    arguments = [manifest, "-o", tmp_path / "b", "--work", tmp_path / "work", "-q", "--plan"]
    assert train(*arguments, plan).code == 0
    other = write_plan(short_plan(manifest, steps=4), tmp_path / "other.json")
    done = train(manifest, "-o", tmp_path / "c", "--work", tmp_path / "work", "-q", "--plan", other)
    assert done.code == 2
    assert "is another plan" in done.err
    assert "steps 2 there, 4 asked for" in done.err
    assert json.loads((tmp_path / "work" / "plan.json").read_text()) == json.loads(plan.read_text())


def test_plans_of_other_keys_are_told_apart():
    kept, asked = {"a": 1, "b": {"c": 2, "d": 3}, "fold": {"number": 1}}, {"a": 1, "b": {"c": 4}}
    told = planning._differences(kept, asked)
    assert told == "b.c 2 there, 4 asked for; b.d 3 there, absent asked for; fold.number 1 there, absent asked for"


def refused(code, *arguments):
    done = train(*arguments)
    assert (done.code, done.out) == (code, ""), done.err
    assert len(done.lines) == 1
    assert done.err.startswith("medseg: ")
    return done.err


def test_what_cannot_become_a_bundle_is_refused_before_the_work(manifest, tmp_path):
    spec = short_plan(manifest)
    more_classes = write_plan(spec, tmp_path / "classes.json", network=NetworkSpec("unet", 3, 1, 5, (4, 8)))
    colour = write_plan(spec, tmp_path / "colour.json", network=NetworkSpec("unet", 3, 3, 3, (4, 8)))
    flat = write_plan(spec, tmp_path / "flat.json", window=replace(spec.window, size=(16, 16)))
    for path, words in ((more_classes, "5 channels for 3 classes"), (colour, "3 channels"), (flat, "other axes")):
        assert words in refused(2, manifest, "-o", tmp_path / "b", "--plan", path)
    assert "smaller than a window" in refused(2, manifest, "-o", tmp_path / "b", "--network", "unet_2015_valid")
    assert "is not one of unet" in refused(2, manifest, "-o", tmp_path / "b", "--network", "unets")
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "b.training").exists()


def test_a_plan_that_is_none_is_refused(manifest, tmp_path):
    """A missing file was taken for a bug of medseg."""
    (tmp_path / "text.json").write_text("{")
    (tmp_path / "other.json").write_text('{"steps": 3}')
    for name in ("missing.json", "text.json", "other.json"):
        assert name in refused(2, manifest, "-o", tmp_path / "b", "--plan", tmp_path / name)


def test_places_that_cannot_be_written_are_refused(manifest, plan, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    assert "exists already" in refused(7, manifest, "-o", tmp_path / "there", "--plan", plan)
    assert "cannot be written" in refused(7, manifest, "-o", tmp_path / "file" / "b", "--plan", plan)
    work = ("--work", tmp_path / "file" / "work")
    assert "cannot be written" in refused(7, manifest, "-o", tmp_path / "b", "--plan", plan, *work)


def test_a_set_without_validation_is_refused(manifest, plan, tmp_path):
    described = read_manifest(manifest)
    write_manifest(replace(described, cases=described.part("train")), manifest)
    assert "2 cases to train and 0 to validate" in refused(3, manifest, "-o", tmp_path / "b", "--plan", plan)
    assert "cannot be read" in refused(2, tmp_path / "missing.json", "-o", tmp_path / "b", "--plan", plan)
