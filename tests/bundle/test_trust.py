"""Code of a bundle runs when the user said so for exactly these bytes, and not a byte's change later."""

import shutil
import sys

import nibabel as nib
import numpy as np
import pytest

from medseg.bundle.trust import content_digest
from medseg.domain.errors import BundleError
from medseg.io.nifti import write_nifti_image
from tests.bundle.hostile import config_of, put, write_harmless
from tests.bundles import blob_volume
from tests.commands import medseg
from tests.phantoms import orientations

CODE = """
from pathlib import Path

from monai.networks.nets import UNet

Path({marker!r}).touch()


class Net(UNet):
    pass
"""


@pytest.fixture
def scan(tmp_path):
    volume = blob_volume(orientations()["LPS"])
    write_nifti_image(volume.voxels[0], volume.geometry, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """One that needs its own code, which leaves a marker; nobody trusts it yet."""
    monkeypatch.setenv("MEDSEG_HOME", str(tmp_path / "home"))
    folder = write_harmless(tmp_path / "b")
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").write_text("")
    (folder / "scripts" / "net.py").write_text(CODE.format(marker=str(tmp_path / "marker")))
    config = config_of(folder)
    config["network_def"]["_target_"] = "scripts.net.Net"
    put(folder, {**config, "imports": ["$import scripts", "$import numpy as np"]})
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "scripts"]:
        del sys.modules[name]


def segment(scan, folder, out, *more):
    return medseg("segment", scan, "-b", folder, "-o", out, "--precision", "fp32", "--device", "cpu", *more)


def test_without_trust_it_is_refused_by_place_and_name(bundle, scan, tmp_path):
    done = segment(scan, bundle, tmp_path / "out")
    assert (done.code, done.out, len(done.lines)) == (5, "", 1)
    (line,) = [n for n, text in enumerate((bundle / "configs" / "inference.json").read_text().splitlines(), 1)
               if "scripts.net.Net" in text]  # fmt: skip
    assert f"inference.json:{line}: scripts.net.Net" in done.err
    assert "medseg bundle trust" in done.err
    assert not (tmp_path / "marker").exists()


def test_with_trust_it_runs_and_says_what_may_run(bundle, scan, tmp_path):
    before = content_digest(bundle)
    done = segment(scan, bundle, tmp_path / "out", "--trust")
    assert done.code == 0, done.err
    assert (tmp_path / "marker").exists()
    for said in ("net.py: Python code", "scripts.net.Net", "$import scripts"):
        assert said in done.err
    assert content_digest(bundle) == before  # no compiled file was left in it
    plain = write_harmless(tmp_path / "plain")
    shutil.copy(bundle / "models" / "model.pt", plain / "models" / "model.pt")
    assert segment(scan, plain, tmp_path / "same", "-q").code == 0
    mine, same = (np.asarray(nib.load(tmp_path / where / "scan_seg.nii.gz").dataobj) for where in ("out", "same"))
    assert (mine != same).sum() <= 1e-4 * mine.size  # the same network and steps, without code


def test_trust_is_remembered_for_this_content_only(bundle, scan, tmp_path):
    done = medseg("bundle", "trust", bundle)
    assert done.code == 0
    assert content_digest(bundle) in done.out
    assert "scripts.net.Net" in done.out
    assert not (tmp_path / "marker").exists()  # trusting runs nothing
    assert segment(scan, bundle, tmp_path / "one", "-q").code == 0
    assert (tmp_path / "marker").exists()
    with (bundle / "scripts" / "net.py").open("a") as file:
        file.write("#")
    assert segment(scan, bundle, tmp_path / "two", "-q").code == 5
    assert segment(scan, shutil.copytree(bundle, tmp_path / "copy"), tmp_path / "three", "-q").code == 5


def test_trust_does_not_open_pickles(bundle, scan, tmp_path):
    from tests.bundle.hostile import files

    (sample,) = [s for s in files() if s.name == "pickle in weights"]
    sample.change(bundle, tmp_path / "fired")
    done = segment(scan, bundle, tmp_path / "out", "--trust", "-q")
    assert done.code == 5
    assert not (tmp_path / "fired").exists()


def test_code_that_fails_is_a_refusal(bundle, scan, tmp_path):
    (bundle / "scripts" / "net.py").write_text("raise KeyError('broken')")
    done = segment(scan, bundle, tmp_path / "out", "--trust", "-q")
    assert done.code == 5
    assert "broken" in done.err


def test_a_link_cannot_be_trusted(bundle, tmp_path):
    (bundle / "scripts" / "more.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(BundleError, match="link"):
        content_digest(bundle)


def test_any_byte_and_any_name_changes_the_digest(bundle):
    digests = {content_digest(bundle)}
    for path in sorted(p for p in bundle.rglob("*") if p.is_file()):
        old = path.read_bytes()
        path.write_bytes(old + b"x")
        digests.add(content_digest(bundle))
        path.write_bytes(old)
        moved = path.rename(path.with_name(path.name + "x"))
        digests.add(content_digest(bundle))
        moved.rename(path)
    assert len(digests) == 1 + 2 * len([p for p in bundle.rglob("*") if p.is_file()])
