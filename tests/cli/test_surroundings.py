"""Odd surroundings end in a refusal or change nothing: exit 70 is for bugs alone."""

import os
import subprocess
import sys

import pytest
import torch

from medseg.cli.memory import is_out_of_memory
from medseg.io.dicom_derived import moment
from tests.bundle.hostile import write_harmless
from tests.commands import medseg

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits and users")
MAIN = [sys.executable, "-m", "medseg.cli.main"]


def run(command, **changes):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **changes}
    environment = {name: value for name, value in environment.items() if value is not None}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr
    return done


def test_weights_without_values_are_refused(tmp_path, monkeypatch):
    """Tensors of the meta device in model.pt: exit 70."""
    monkeypatch.setenv("MEDSEG_HOME", str(tmp_path / "home"))
    path = write_harmless(tmp_path / "given") / "models" / "model.pt"
    weights = torch.load(path, weights_only=True)
    torch.save({name: value.to("meta") for name, value in weights.items()}, path)
    done = medseg("bundle", "check", tmp_path / "given")
    assert (done.code, "has no values (device meta)" in done.err) == (5, True)


@pytest.mark.parametrize("kib", [400_000, 700_000])
def test_little_address_space_is_no_memory(home, slide, tmp_path, kib):
    words = " ".join([*MAIN, "segment", str(slide), "-b", "grey", "-o", str(tmp_path / "out")])
    done = run(["bash", "-c", f"ulimit -v {kib}; {words}"])
    assert (done.returncode, "not enough memory" in done.stderr) == (6, True), done.stderr


def test_an_error_made_of_one_of_memory_is_one_of_memory():
    made = ImportError("libx.so: failed to map segment from shared object")
    other = RuntimeError("cannot import")
    other.__cause__ = made
    assert all(
        map(
            is_out_of_memory,
            (made, other, OSError(12, "Cannot allocate memory"), RuntimeError("can't start new thread")),
        )
    )
    assert not any(map(is_out_of_memory, (ImportError("no module named x"), OSError(2, "No such file"))))


def test_a_user_whom_nobody_knows_has_a_name(monkeypatch):
    """No entry in passwd and no HOME: MONAI asks for the user's name when it is imported."""
    import getpass
    import pwd

    from medseg.cli.main import _prepare_user

    def nobody(number):
        raise KeyError(number)

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    _prepare_user()
    assert getpass.getuser() == f"user{os.getuid()}"


def test_without_a_home_a_zip_is_refused_and_nothing_is_trusted(tmp_path, monkeypatch):
    from medseg.bundle.trust import is_trusted

    monkeypatch.delenv("MEDSEG_HOME", raising=False)

    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", nobody)
    (tmp_path / "z.zip").write_bytes(b"PK")
    done = medseg("bundle", "info", tmp_path / "z.zip")
    assert (done.code, "set MEDSEG_HOME" in done.err) == (2, True)
    assert not is_trusted(write_harmless(tmp_path / "given"))


@pytest.mark.parametrize("epoch", ["99999999999999999999", "253402300800", "-99999999999999", "soon", "", "1e9"])
def test_an_epoch_beyond_all_clocks_is_no_epoch(monkeypatch, epoch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert moment().year > 2000


def test_a_current_folder_that_is_gone_is_refused(tmp_path):
    words = " ".join(MAIN)
    done = run(["bash", "-c", f"mkdir {tmp_path}/x; cd {tmp_path}/x; rmdir {tmp_path}/x; {words} bundle list"])
    assert (done.returncode, "the current folder is gone" in done.stderr) == (2, True), done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")  # noqa: PTH110
@pytest.mark.parametrize(
    ("to", "codes"), [(">/dev/full", {6, 7}), ("2>/dev/full", {0}), (">&-", {0}), (">&- 2>&-", {0})]
)
def test_streams_that_are_closed_or_full(tmp_path, to, codes):
    done = run(["bash", "-c", f"{' '.join(MAIN)} bundle list {to}"])
    assert done.returncode in codes, done.stderr
