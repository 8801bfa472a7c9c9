"""Bundles made of bundles, and what is measured of them, by command."""

import json
import shutil
from dataclasses import replace

import pytest

from medseg.bundle.store import find_bundle
from medseg.metrics import quality
from medseg.metrics.quality import fit_quality
from medseg.networks.build import NetworkSpec
from tests.bundles import stored_bundle, volume_bundle
from tests.commands import medseg
from tests.datasets import balls


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """balls.json with twelve validation cases, and a UNet++ of random weights that knows its labels."""
    folder = tmp_path_factory.mktemp("make")
    balls(folder, (1, 12, 1))
    bundle = replace(volume_bundle(), network=NetworkSpec("unetpp", 3, 1, 3, (4, 6, 8)), flip_axes=(0,))
    stored_bundle(bundle, folder / "deep")
    stored_bundle(replace(volume_bundle(), flip_axes=(0,)), folder / "plain")
    return folder


def test_depths_are_measured_and_then_chosen_by(folder, tmp_path):
    done = medseg("bundle", "depths", folder / "deep", folder / "balls.json", "--device", "cpu", "-q")
    assert done.code == 0, done.err
    found = find_bundle(str(folder / "deep")).depths
    assert [score.depth for score in found] == [1, 2]
    assert 0 < found[0].parameters < found[1].parameters
    assert all(0 <= score.dice <= 1 and score.seconds > 0 for score in found)
    assert "depth 2: Dice" in done.out
    assert medseg("bundle", "check", folder / "deep").code == 0
    refused = medseg("bundle", "depths", folder / "plain", folder / "balls.json", "--device", "cpu")
    assert (refused.code, "has one depth" in refused.err) == (2, True)


def test_pruned_by_command(folder, tmp_path):
    done = medseg("bundle", "prune", folder / "deep", "--depth", "1", "-o", tmp_path / "small")
    assert done.code == 0, done.err
    assert find_bundle(str(tmp_path / "small")).network.widths == (4, 6)
    assert medseg("bundle", "check", tmp_path / "small").code == 0
    assert medseg("bundle", "prune", folder / "deep", "--depth", "1", "-o", tmp_path / "small").code == 7


def test_agreement_that_foretells_nothing_is_refused(folder):
    """It was stored: the Dice to expect fell where answers agreed more."""
    done = medseg("bundle", "quality", folder / "plain", folder / "balls.json", "--device", "cpu", "-q")
    assert (done.code, len(done.lines)) == (3, 1)
    assert "agreement foretells nothing on these 12 cases" in done.err
    assert find_bundle(str(folder / "plain")).quality is None


@pytest.mark.parametrize("command", ["quality", "depths"])
def test_what_is_measured_cannot_be_stored_in_a_file(command, folder, tmp_path):
    """The measurement of a zipped bundle was thrown away with its unpacked copy."""
    zipped = shutil.make_archive(str(tmp_path / "deep"), "zip", folder / "deep")
    refused = medseg("bundle", command, zipped, folder / "balls.json", "--device", "cpu")
    assert refused.code == 2
    assert "unpack it first" in refused.err


@pytest.mark.parametrize("command", ["quality", "depths"])
def test_cases_that_trained_measure_nothing(command, folder):
    done = medseg("bundle", command, folder / "deep", folder / "balls.json", "--split", "train")
    assert (done.code, "these cases trained the bundle" in done.err) == (2, True)


def test_quality_is_measured_and_then_told(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "fit_quality", lambda agreements, scores, poor: fit_quality(scores, scores, poor))
    done = medseg(
        "bundle", "quality", folder / "plain", folder / "balls.json", "--poor", "0.5", "--device", "cpu", "-q"
    )
    assert done.code == 0, done.err
    fit = find_bundle(str(folder / "plain")).quality
    assert (fit.cases, fit.poor) == (12, 0.5)
    assert "correlation" in done.out
    told = medseg(
        "segment", folder / "data" / "0.nii.gz", "-b", folder / "plain", "-o", tmp_path, "--quality", "--json", "-q"
    )
    assert told.code == 0, told.err
    (report,) = json.loads(told.out)
    assert set(report["quality"]) == {"agreement", "expected_dice", "review"}
    few = medseg("bundle", "quality", folder / "plain", folder / "balls.json", "--split", "test", "--device", "cpu")
    assert (few.code, "too few" in few.err) == (3, True)


def test_depth_fast_and_mirror_images_on_the_command_line(folder, tmp_path):
    image = folder / "data" / "0.nii.gz"

    def settings(name, *wishes):
        done = medseg(
            "segment", image, "-b", folder / "deep", "-o", tmp_path / name, "--json", "-q", "--device", "cpu", *wishes
        )
        assert done.code == 0, done.err
        return json.loads(done.out)[0]["settings"]

    assert settings("a", "--depth", "1", "--tta") == {"roi": [], "depth": 1, "tta": True}
    measured = medseg("bundle", "depths", folder / "deep", folder / "balls.json", "--device", "cpu", "-q")
    depth = settings("b", "--fast")["depth"]
    assert depth in (1, 2)
    assert f"--fast: head {depth} answers" in measured.out
    told = medseg("segment", image, "-b", folder / "deep", "-o", tmp_path / "told", "--fast", "--device", "cpu")
    assert f"--fast: head {depth} answers" in told.err
    both = medseg("segment", image, "-b", folder / "deep", "-o", tmp_path / "c", "--fast", "--depth", "1")
    assert (both.code, "--fast" in both.err) == (2, True)
