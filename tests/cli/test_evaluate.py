"""A bundle's scores on labelled cases, and how they get into its card."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medseg.domain.manifest import Manifest
from medseg.io.manifest import read_manifest, write_manifest
from medseg.io.manifest_build import sha256_of
from medseg.io.nifti import write_nifti_image
from medseg.metrics.overlap import dice
from tests.bundle.zoo import write_form
from tests.bundles import cells_bundle, stored_bundle, volume_bundle
from tests.commands import medseg
from tests.datasets import balls, discs
from tests.html import Reader

METRICS = [
    "Dice", "IoU", "precision", "recall", "HD95", "surface Dice@1", "volume error", "pixel accuracy",
]  # fmt: skip


@pytest.fixture
def manifest(tmp_path):
    return balls(tmp_path / "set", (0, 1, 2))


@pytest.fixture
def bundle(tmp_path):
    return stored_bundle(volume_bundle(), tmp_path / "organs", seed=2).folder


def evaluate(*arguments, code=0):
    done = medseg("evaluate", *arguments, "--device", "cpu", "--precision", "fp32")
    assert done.code == code, done.err
    return done


def json_of(path):
    def refuse(name):
        raise ValueError(name)

    return json.loads(path.read_text(), parse_constant=refuse)


def test_the_table_is_printed_and_written(manifest, bundle, tmp_path):
    done = evaluate(bundle, manifest, "-o", tmp_path / "scores")
    assert done.out.startswith("|  | cases | Dice | IoU |")
    assert "| liver tumour | 2 |" in done.out
    page = tmp_path / "scores" / "scores_test.html"
    assert done.lines == [f"medseg: 2 cases; tables in {tmp_path / 'scores'}, the page in {page}"]
    written = {path.name for path in (tmp_path / "scores").iterdir()}
    assert written == {"scores_test.csv", "scores_test.json", "scores_test.html", "scores_test_pictures"}
    scores = json_of(tmp_path / "scores" / "scores_test.json")
    assert (scores["bundle"], scores["manifest"], scores["split"]) == ("organs_mr_segmentation", "balls", "test")
    assert (scores["cases"], scores["device"], scores["precision"]) == (2, "cpu", "fp32")
    assert scores["weights_sha256"] == json_of(bundle / "configs" / "metadata.json")["medseg"]["weights_sha256"]
    assert [(row["case"], row["label"]) for row in scores["rows"]] == [
        (case, label) for case in ("case1", "case2") for label in ("liver", "liver tumour")
    ]
    assert (tmp_path / "scores" / "scores_test.csv").read_text().startswith("case,kind,label,Dice,IoU,")


def test_without_a_folder_tables_and_page_lie_beside_the_bundle_which_stays_as_it_is(manifest, bundle):
    """Tables in docs/ told newer scores than the card."""
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    evaluate(bundle, manifest, "--split", "validation", "-q")
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before
    assert {path.name for path in (bundle.parent / "organs.evaluation").iterdir()} == {
        "scores_validation.json", "scores_validation.csv", "scores_validation.html", "scores_validation_pictures",
    }  # fmt: skip


def test_the_page_shows_the_worst_cases(manifest, bundle, tmp_path):
    evaluate(bundle, manifest, "-o", tmp_path / "s", "--report", tmp_path / "r", "-q")
    assert sorted(path.suffix for path in (tmp_path / "s").iterdir()) == [".csv", ".json"]
    page = Reader((tmp_path / "r" / "scores_test.html").read_text())
    shown = [tmp_path / "r" / held["src"] for held in page.attributes("img")]
    assert len(shown) == 2
    for path in shown:
        with Image.open(path) as picture:
            assert min(picture.size) > 200
    assert page.all("h1") == ["organs_mr_segmentation on balls"]
    assert {path.name for path in shown} == {path.name for path in (tmp_path / "r" / "scores_test_pictures").iterdir()}


def test_a_refused_case_is_named_everywhere_and_the_others_go_on(manifest, bundle, tmp_path):
    """The first refused case ended the evaluation, and what was done was lost."""
    whole = evaluate(bundle, manifest, "-o", tmp_path / "whole", "-q")
    assert "refused" not in whole.out
    break_image(tmp_path, "1.nii.gz")
    done = evaluate(bundle, manifest, "-o", tmp_path / "s", "-q", code=4)
    assert done.lines[0].startswith("medseg: case1: 1.nii.gz: ")
    assert "1 of 2 cases were refused" in done.lines[-1]
    scores = json_of(tmp_path / "s" / "scores_test.json")
    (refused,) = scores["refused"]
    assert (refused["case"], scores["cases"], scores["groups"][0]["cases"]) == ("case1", 2, 1)
    assert str(tmp_path) not in json.dumps(scores)  # tables are handed on
    assert (tmp_path / "s" / "scores_test.csv").read_text().splitlines()[-1].startswith("case1,,,")
    assert f"- case1: {refused['reason']}" in done.out
    assert {"case1", refused["reason"]} <= set(Reader((tmp_path / "s" / "scores_test.html").read_text()).all("td"))
    kept = json_of(tmp_path / "whole" / "scores_test.json")["rows"]
    assert scores["rows"] == [row for row in kept if row["case"] != "case1"]


def test_a_card_says_how_many_cases_were_refused(manifest, bundle, tmp_path):
    break_image(tmp_path, "1.nii.gz")
    evaluate(bundle, manifest, "--card", "-q", code=4)
    card = (bundle / "docs" / "README.md").read_text()
    assert "1 of 2 test cases, which neither trained" in card
    assert "- case1: 1.nii.gz: " in card


def test_all_cases_refused_are_a_refusal_and_leave_no_tables(manifest, bundle, tmp_path):
    for name in ("1.nii.gz", "2.nii.gz"):
        break_image(tmp_path, name)
    done = evaluate(bundle, manifest, "-o", tmp_path / "s", "-q", code=3)
    assert "all 2 cases were refused" in done.lines[-1]
    assert not (tmp_path / "s").exists()


def break_image(folder, name):
    (folder / "set" / "data" / name).write_bytes(b"no image")


def test_a_card_gets_the_scores_once(manifest, bundle):
    cards = []
    for _ in range(2):
        done = evaluate(bundle, manifest, "--card", "-q")
        cards.append((bundle / "docs" / "README.md").read_text())
    assert cards[0] == cards[1]
    assert done.out.strip() in cards[0]
    assert "Not measured yet" not in cards[0]
    assert "medseg evaluate organs_mr_segmentation balls.json --split test --card" in cards[0]
    table = json_of(bundle / "docs" / "scores_test.json")["groups"][0]
    for name in ("scores_test.json", "scores_test.csv"):
        assert (bundle / "docs" / name).read_bytes() == (bundle.parent / "organs.evaluation" / name).read_bytes()
    metrics = json_of(bundle / "configs" / "metadata.json")["eval_metrics"]
    assert metrics == {name: round(table[name]["mean"], 4) for name in METRICS}
    assert medseg("bundle", "check", bundle).code == 0
    assert f"Dice {metrics['Dice']}" in medseg("bundle", "info", bundle).out


def test_a_score_that_no_case_has_stands_in_no_metadata(manifest, bundle, tmp_path):
    """NaN is no JSON: with it the bundle could not be read any more."""
    described = read_manifest(manifest)
    empty = np.zeros((16, 16, 16), np.uint8)
    for case in described.cases:
        from medseg.domain.geometry import Geometry

        path = tmp_path / "set" / "data" / case.mask
        write_nifti_image(empty, Geometry(empty.shape, np.eye(4)), path)
    mask = sha256_of(path)
    cases = tuple(replace(case, sha256=(case.sha256[0], mask)) for case in described.cases)
    write_manifest(replace(described, cases=cases), manifest)
    evaluate(bundle, manifest, "--card", "-q")
    metrics = json_of(bundle / "configs" / "metadata.json")["eval_metrics"]
    assert metrics["Dice"] == 0.0
    assert "HD95" not in metrics
    assert medseg("bundle", "check", bundle).code == 0


def test_a_data_set_that_is_new_to_the_bundle_is_scored_as_a_whole(manifest, bundle, tmp_path):
    cases = read_manifest(manifest).cases
    assert len(cases) > len(read_manifest(manifest).part("test"))
    evaluate(bundle, manifest, "--split", "all", "-o", tmp_path / "all", "-q")
    assert {row["case"] for row in json_of(tmp_path / "all" / "scores_all.json")["rows"]} == {c.id for c in cases}


def test_a_page_lies_beside_its_own_tables(manifest, tmp_path):
    bundle = stored_bundle(replace(volume_bundle(), flip_axes=(0,)), tmp_path / "organs", seed=2).folder
    for wish in ((), ("--tta",)):
        evaluate(bundle, manifest, *wish, "-q")
    assert {path.name for path in (tmp_path / "organs.evaluation").iterdir()} == {
        f"scores_test{wish}{ending}" for wish in ("", "_tta") for ending in (".json", ".csv", ".html", "_pictures")
    }


@pytest.mark.parametrize("wish", [("--tta",), ("--depth", "1")])
def test_a_card_tells_no_scores_of_what_was_asked_for_beside_the_bundle(wish, manifest, bundle):
    assert "leave out --tta and --depth" in evaluate(bundle, manifest, "--card", *wish, code=2).err


def test_instances_are_scored_as_things(tmp_path):
    manifest = discs(tmp_path / "set", (0, 0, 2))
    bundle = stored_bundle(cells_bundle(), tmp_path / "cells", seed=2).folder
    done = evaluate(bundle, manifest, "-q")
    assert "AP@0.5" in done.out
    assert {row["label"] for row in json_of(tmp_path / "cells.evaluation" / "scores_test.json")["rows"]} == {"nucleus"}


def refused(code, *arguments):
    done = evaluate(*arguments, code=code)
    assert done.out == ""
    assert len(done.lines) == 1
    assert done.err.startswith("medseg: ")
    return done.err


def test_what_cannot_be_evaluated_is_refused(manifest, bundle, tmp_path):
    assert "not of --split validation" in refused(2, bundle, manifest, "--split", "validation", "--card")
    assert "give train, validation, test" in refused(2, bundle, manifest, "--split", "tests")
    assert "has no train cases" in refused(3, bundle, manifest, "--split", "train")
    assert "no bundle of this name" in refused(2, "nothing", manifest)
    assert "cannot be read" in refused(2, bundle, tmp_path / "missing.json")
    (tmp_path / "file").touch()
    assert "cannot be written" in refused(7, bundle, manifest, "-o", tmp_path / "file" / "x")
    assert not list((bundle / "docs").glob("scores*"))


def test_labels_that_are_not_the_bundles_are_refused(manifest, bundle):
    described: Manifest = read_manifest(manifest)
    first, second = described.labels.labels
    other = replace(described.labels, labels=(replace(first, name="spleen"), second))
    write_manifest(replace(described, labels=other), manifest)
    assert "label table is not that of bundle" in refused(3, bundle, manifest)


def test_images_of_another_modality_are_refused(manifest, bundle):
    described: Manifest = read_manifest(manifest)
    write_manifest(replace(described, modality="PET"), manifest)
    assert "its images are PET, bundle organs_mr_segmentation is for MR" in refused(3, bundle, manifest)
    write_manifest(replace(described, modality="mr"), manifest)
    assert medseg("evaluate", bundle, manifest, "-q").code == 0


def test_a_card_without_its_place_is_refused(manifest, bundle):
    (bundle / "docs" / "README.md").write_text("mine")
    assert "put them where the scores belong" in refused(5, bundle, manifest, "--card", "-q")


@pytest.fixture
def foreign(tmp_path):
    """A stranger's bundle of three classes; the manifest's values are 1 and 5."""
    folder = write_form(tmp_path / "theirs", "prostate_mri")
    path = folder / "configs" / "metadata.json"
    about = json.loads(path.read_text())
    about["network_data_format"]["outputs"]["pred"]["channel_def"] = {
        "0": "background",
        "1": "Liver",
        "5": "liver tumour",
    }
    path.write_text(json.dumps(about))
    return folder


def test_a_bundle_of_somebody_else_is_scored_like_ours(manifest, foreign, tmp_path):
    """The scores are those of the masks that `segment` writes."""
    evaluate(foreign, manifest, "-o", tmp_path / "scores", "-q")
    scores = json_of(tmp_path / "scores" / "scores_test.json")
    assert (scores["bundle"], scores["network"], scores["cases"]) == ("theirs", "UNet", 2)
    assert len(scores["rows"]) == 4
    data = manifest.parent / "data"
    medseg("segment", data / "2.nii.gz", "-b", foreign, "-o", tmp_path / "out", "-q", "--precision", "fp32", "--device",
           "cpu")  # fmt: skip
    mask = np.asarray(nib.load(tmp_path / "out" / "2_seg.nii.gz").dataobj)
    truth = np.asarray(nib.load(data / "2_mask.nii.gz").dataobj)
    (row,) = [r for r in scores["rows"] if (r["case"], r["label"]) == ("case2", "liver")]
    assert row["Dice"] == pytest.approx(dice(mask == 1, truth == 1), abs=1e-3)
    assert not (foreign / "docs").exists()


def test_labels_that_do_not_match_or_a_card_are_refused_in_one_line(manifest, foreign, tmp_path):
    assert "stays as it is" in evaluate(foreign, manifest, code=2).err
    assert len(evaluate(foreign, manifest, "-o", tmp_path / "s", "--card", code=2).lines) == 1
    assert "--tta" in evaluate(foreign, manifest, "-o", tmp_path / "s", "--tta", code=2).err
    path = foreign / "configs" / "metadata.json"
    path.write_text(path.read_text().replace("Liver", "Spleen"))
    done = evaluate(foreign, manifest, "-o", tmp_path / "s", code=3)
    assert len(done.lines) == 1
    assert "label 1 is 'liver', bundle theirs calls 1 'Spleen'" in done.err
