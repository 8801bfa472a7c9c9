"""`medseg doctor` tells what is there and what is not, and never fails for either."""

import importlib
import json
import subprocess
import sys
from importlib import metadata
from unittest.mock import patch

import pytest

from medseg.cli import findings
from medseg.io.dicom_codecs import codecs
from tests.bundles import stored_bundle, volume_bundle
from tests.commands import medseg

BLOCKED = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
sys.argv = ["medseg", "doctor", "--json"]
from medseg.cli.main import main
main()
"""


def doctor():
    done = medseg("doctor", "--json")
    assert (done.code, done.err) == (0, "")
    assert {finding["state"] for finding in done.json} <= {"ok", "gap", "none"}
    return {finding["name"]: finding for finding in done.json}


def test_what_is_here_is_told_with_its_version(home):
    found = doctor()
    for name in ("torch", "pydicom", "nibabel"):
        assert (found[name]["state"], found[name]["fact"]) == ("ok", metadata.version(name))
    assert not [f for f in found.values() if f["topic"] in ("packages", "DICOM codecs") and f["state"] != "ok"]
    assert "cores" in found["CPU"]["fact"]
    assert {"CUDA", "cuda:0"} & set(found)
    assert "MPS" in found
    assert found["organs"]["fact"].startswith("0.1.0, weights match sha256 ")
    assert "GiB free" in found["disk here"]["fact"]
    assert len(codecs()) == 12


def test_each_line_of_words_is_a_finding(home):
    done = medseg("doctor")
    assert done.code == 0
    for name, finding in doctor().items():
        (line,) = [line for line in done.out.splitlines() if line[6:].startswith(f"{name}: ")]
        if "GiB free" not in line:  # which changes
            assert finding["fact"] in line
        assert finding.get("cure", "") in line


def test_missing_decoders_and_backends_come_with_their_cure(tmp_path):
    blocked = ["gdcm", "jpeg_ls", "pylibjpeg", "openvino", "onnxruntime", "PIL"]
    command = [sys.executable, "-c", BLOCKED.format(blocked=blocked)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    for name, cure in {
        "JPEGLosslessSV1": "pip install python-gdcm",
        "JPEGLSLossless": "pip install pyjpegls",
        "HTJ2K": "pip install pylibjpeg pylibjpeg-openjpeg",
        "JPEG2000": "pip install pylibjpeg pylibjpeg-openjpeg",
    }.items():
        assert (found[name]["state"], found[name]["cure"]) == ("gap", cure)
    assert found["RLELossless"]["state"] == "ok"
    assert found["OpenVINO"]["cure"] == "pip install 'medseg[openvino]'"
    assert found["ONNX Runtime"]["cure"] == "pip install 'medseg[onnx]'"
    assert found["python-gdcm"]["state"] == "gap"


def test_without_torch_it_still_answers(home):
    with patch.dict(sys.modules, {"torch": None}):
        found = doctor()
    assert found["torch"]["state"] == "gap"
    assert found["torch"]["cure"].startswith("pip install")
    assert found["pydicom"]["state"] == "ok"


def test_a_backend_that_breaks_is_no_end(home, monkeypatch):
    whole = importlib.import_module

    def broken(name, *package):
        if name == "openvino":
            raise OSError("libtbb.so.12: cannot open shared object file")
        return whole(name, *package)

    monkeypatch.setattr(importlib, "import_module", broken)
    found = doctor()
    assert (found["OpenVINO"]["state"], found["OpenVINO"]["fact"]) == ("gap", "cannot be imported (OSError)")


def test_a_package_too_old_is_a_gap(home, monkeypatch):
    monkeypatch.setattr(findings, "_requirements", lambda: iter([("numpy", ">=99"), ("typer", ">=0.1")]))
    found = doctor()
    assert (found["numpy"]["state"], found["numpy"]["cure"]) == ("gap", "pip install -U 'numpy>=99'")
    assert found["typer"]["state"] == "ok"


def test_a_damaged_bundle_is_a_gap_and_the_next_one_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSEG_HOME", str(tmp_path))
    for name in ("bad", "good"):
        stored_bundle(volume_bundle(), tmp_path / "bundles" / name)
    weights = tmp_path / "bundles" / "bad" / "models" / "model.pt"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    found = doctor()
    assert found["bad"]["state"] == "gap"
    assert "sha256" in found["bad"]["fact"]
    assert found["good"]["state"] == "ok"


def test_no_bundle_at_all_is_a_gap(monkeypatch):
    monkeypatch.setattr("medseg.bundle.store.bundle_folders", list)
    assert "MEDSEG_HOME" in doctor()["bundles"]["cure"]


@pytest.mark.parametrize(("free", "state"), [(2**20, "gap"), (2**40, "ok")])
def test_little_memory_is_a_gap(home, monkeypatch, free, state):
    monkeypatch.setattr("medseg.io.memory.available_bytes", lambda: free)
    assert doctor()["memory"]["state"] == state


def test_what_backends_need_is_told(home, monkeypatch, tmp_path):
    monkeypatch.setenv("MEDSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    found = doctor()
    assert str(tmp_path / "cache") in found["cache"]["fact"]
    assert (found["torch.compile"]["state"], found["torch.compile"]["cure"][:7]) == ("none", "install")
    assert found["allocator"]["state"] in ("ok", "none")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MEDSEG_CACHE", str(tmp_path / "file"))
    assert doctor()["cache"]["state"] == "gap"


def test_onnx_runtime_without_its_exporter_is_a_gap(home, monkeypatch):
    there = findings._is_there
    monkeypatch.setattr(
        findings, "_is_there", lambda module: module != "onnxscript" and (module[:4] == "onnx" or there(module))
    )
    found = doctor()["ONNX export"]
    assert (found["state"], found["cure"]) == ("gap", "pip install 'medseg[onnx]'")
    assert found["fact"].startswith("onnxscript not installed")
