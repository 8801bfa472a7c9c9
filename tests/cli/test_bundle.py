import json

import pytest

from tests.bundle.hostile import write_harmless
from tests.bundles import grey_bundle, stored_bundle
from tests.commands import medseg


def test_list_names_bundles_and_folders(home):
    done = medseg("bundle", "list")
    assert (done.code, done.err) == (0, "")
    for name, takes in (("organs", "MR 3-D"), ("grey", "microscopy 2-D"), ("cells", "microscopy 2-D")):
        assert f"{name}  {takes}  {home / 'bundles' / name}" in done.out.splitlines()


def test_list_names_a_bundle_whose_metadata_say_nothing(tmp_path, monkeypatch):
    folder = stored_bundle(grey_bundle(), tmp_path / "grey").folder
    (folder / "configs" / "metadata.json").write_text("{}")
    monkeypatch.setattr("medseg.bundle.store.bundle_folders", lambda: [tmp_path])
    assert medseg("bundle", "list").out == f"grey  does not say what it takes  {folder}\n"


def test_list_without_bundles_says_where_it_looked(home, tmp_path, monkeypatch):
    monkeypatch.setattr("medseg.bundle.store.bundle_folders", lambda: [tmp_path / "none"])
    done = medseg("bundle", "list")
    assert (done.code, done.out) == (0, "")
    assert str(tmp_path / "none") in done.err


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        (
            "organs",
            ["MR, 3-D, 1 channel", "1 liver, 5 liver tumour", "unet 4-8", "16x16x16", "not measured", "CC0-1.0"],
        ),
        ("cells", ["microscopy, 2-D, 3 channel", "1 nucleus (instances)", "unetpp 4-8", "32x32"]),
    ],
)
def test_info_tells_what_a_bundle_takes_and_gives(home, name, facts):
    done = medseg("bundle", "info", name)
    assert (done.code, done.err) == (0, "")
    for fact in facts:
        assert fact in done.out


def test_info_tells_the_scores_once_they_are_measured(home, tmp_path):
    from medseg.bundle.card import fill_scores

    stored = stored_bundle(grey_bundle(), tmp_path / "b")
    fill_scores(stored, "| x |", {"Dice": 0.875})
    assert "Dice 0.875" in medseg("bundle", "info", tmp_path / "b").out


def test_check_loads_the_weights(home, tmp_path):
    done = medseg("bundle", "check", "organs")
    assert (done.code, done.err) == (0, "")
    assert "ok     weights    fit: " in done.out
    assert "fails" not in done.out
    folder = stored_bundle(grey_bundle(), tmp_path / "b").folder
    assert medseg("bundle", "check", folder).code == 0
    (folder / "models" / "model.pt").write_bytes(b"")
    done = medseg("bundle", "check", folder)
    assert (done.code, done.out) == (5, "")
    assert len(done.lines) == 1


@pytest.mark.parametrize("command", ["info", "check"])
def test_an_unknown_bundle_is_refused(home, command):
    done = medseg("bundle", command, "nothing")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("medseg: nothing: no bundle of this name, and no such file or folder; there are ")
    assert "cells" in done.err


def test_check_says_what_fails_and_ends_with_5(tmp_path):
    folder = stored_bundle(grey_bundle(), tmp_path / "b").folder
    (folder / "LICENSE").unlink()
    path = folder / "configs" / "metadata.json"
    about = json.loads(path.read_text())
    about["network_data_format"]["outputs"]["pred"]["num_channels"] = 99
    about["version"] = "7"
    path.write_text(json.dumps(about))
    done = medseg("bundle", "check", folder, "--json")
    assert (done.code, len(done.lines)) == (5, 1)
    failed = [check["name"] for check in done.json if check["state"] == "fails"]
    assert failed == ["changelog", "licence", "in and out"]
    assert "3 of 14 checks fail" in done.err


def test_check_of_a_bundle_of_somebody_else_names_what_it_lacks(tmp_path):
    done = medseg("bundle", "check", write_harmless(tmp_path / "b"), "--json")
    states = {check["name"]: check["state"] for check in done.json}
    assert (done.code, done.err) == (0, "")
    assert "fails" not in states.values()
    assert states["fit"] == states["MONAI Label"] == "ok"
    assert states["licence"] == states["schema"] == states["in and out"] == "lacks"
