"""Single settings, folds and what is told of a plan."""

import json
from dataclasses import replace

import pytest

from medseg.cli.planning import with_settings
from medseg.domain.errors import UsageError
from medseg.io.manifest import read_manifest, write_manifest
from tests.commands import medseg
from tests.datasets import balls, short_plan, write_plan


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return balls(tmp_path_factory.mktemp("planning") / "set", (3, 1, 2))


def test_single_values_are_replaced(manifest):
    spec = with_settings(
        short_plan(manifest), ["batch.count=2", "network.widths=[4,8]", "keep=last", "network.options.block=residual"]
    )
    assert (spec.batch.count, spec.network.widths, spec.keep) == (2, (4, 8), "last")
    assert spec.network.options == {"block": "residual"}
    assert with_settings(short_plan(manifest), []) == short_plan(manifest)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("batch.number=3", "unknown key number"),
        ("batch.count=few", "expected int, got 'few'"),
        ("steps.count=3", "steps holds no further keys"),
        ("batch.count", "give KEY=VALUE"),
        ("keep=first", "'first' is not one of 'best', 'last'"),
        ("precision=half", "precision"),
    ],
)
def test_settings_that_are_none_are_refused(manifest, setting, reason):
    with pytest.raises(UsageError, match=reason):
        with_settings(short_plan(manifest), [setting])


def test_defaults_are_explained_kept_and_changed(manifest, tmp_path):
    """The images of the set are 16 voxels wide."""
    done = medseg(
        "train", manifest, "-o", tmp_path / "b", "--steps", "1", "--device", "cpu", "--set", "network.widths=[2,4]",
        "--set", "batch.count=2", "--set", "network.options.block=separable",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "batch.size [16, 16, 16]: the median image of 16 x 16 x 16 voxels" in done.err
    work = tmp_path / "b.training"
    kept = json.loads((work / "fingerprint.json").read_text())
    assert kept["fingerprint"]["shape"] == [16, 16, 16]
    assert "batch.size" in kept["reasons"]
    plan = json.loads((work / "plan.json").read_text())
    assert (plan["network"]["widths"], plan["network"]["options"]["block"]) == ([2, 4], "separable")
    assert medseg("bundle", "check", tmp_path / "b").code == 0


def test_a_precision_that_the_device_has_not_is_refused_before_the_work(manifest, tmp_path):
    settings = ("--steps", "1", "--device", "cpu", "--set", "precision=fp16")
    done = medseg("train", manifest, "-o", tmp_path / "b", *settings, "-q")
    assert (done.code, len(done.lines)) == (6, 1)
    assert "precision fp16: CPUs do not compute in it" in done.err


def test_an_image_that_trains_and_is_scored_under_another_name_is_refused_before_the_work(tmp_path):
    """It was found when the training had ended, and no bundle was packed."""
    path = balls(tmp_path / "set", (3, 1, 2))
    described = read_manifest(path)
    first, *rest, last = described.cases
    twin = replace(last, image=first.image, mask=first.mask, sha256=first.sha256)
    write_manifest(replace(described, cases=(first, *rest, twin)), path)
    done = medseg("train", path, "-o", tmp_path / "b", "--steps", "1", "--device", "cpu", "-q")
    assert (done.code, len(done.lines)) == (3, 1)
    assert "case5 (test) is the image of case0 (train), one of 1 such" in done.err


def test_a_fold_is_held_out_and_picks_nothing(manifest, tmp_path):
    plan = write_plan(short_plan(manifest, steps=2), tmp_path / "plan.json")
    done = medseg("train", manifest, "-o", tmp_path / "b", "--plan", plan, "--fold", "2/6", "--device", "cpu")
    assert done.code == 0, done.err
    assert "training on 5 cases, validating on 1" in done.err
    kept = json.loads((tmp_path / "b.training" / "plan.json").read_text())
    assert (kept["fold"], kept["keep"]) == ({"number": 2, "of": 6}, "last")


@pytest.mark.parametrize(("fold", "reason"), [("7/6", "fold 7/6"), ("2", "give K/N"), ("1/40", "too few")])
def test_folds_that_are_none_are_refused(manifest, tmp_path, fold, reason):
    done = medseg("train", manifest, "-o", tmp_path / "b", "--fold", fold, "--device", "cpu")
    assert done.code == 2
    assert reason in done.err
    assert len(read_manifest(manifest).cases) == 6
