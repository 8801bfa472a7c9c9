"""OpenVINO: it tells its makers nothing, obeys the threads and refuses what it cannot do."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from medseg.backends import openvino as module
from medseg.backends.gap import BackendError
from medseg.backends.onnxruntime import onnxruntime_backend
from medseg.backends.openvino import import_openvino, openvino_backend
from tests.backends.test_same_answer import require

CPU, CUDA = torch.device("cpu"), torch.device("cuda")

ALONE = """
import json, socket, sys
asked = []
class Watched(socket.socket):
    def connect(self, address):
        asked.append(str(address))
        raise OSError("no network here")
socket.socket = Watched
socket.getaddrinfo = lambda *a, **k: asked.append(str(a)) or []
import torch
from torch import nn
from medseg.backends.openvino import openvino_backend
run = openvino_backend(nn.Conv2d(1, 2, 3), (1, 1, 8, 8), "fp32", torch.device("cpu"), None)
run(torch.zeros(1, 1, 8, 8))
told = [name for name, value in sys.modules.items() if name.startswith("openvino_telemetry") and value is not None]
print(json.dumps({"asked": asked, "told": told}))
"""


def layer() -> nn.Module:
    return nn.Conv2d(1, 2, 3, padding=1)


def test_it_tells_nobody(tmp_path):
    """Its package for that sends a message at every import unless the user forbade it."""
    require("openvino")
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment.pop("CI", None)  # where it keeps still
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True, env=environment)
    assert json.loads(done.stdout.splitlines()[-1]) == {"asked": [], "told": []}
    assert list(tmp_path.iterdir()) == []  # nor does it keep a number for the user


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_of_torch(monkeypatch, threads):
    require("openvino")
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    asked = []
    openvino = import_openvino()

    class Core(openvino.Core):
        def compile_model(self, model, device, settings):
            compiled = super().compile_model(model, device, settings)
            asked.append(compiled.get_property("INFERENCE_NUM_THREADS"))
            return compiled

    monkeypatch.setattr(openvino, "Core", Core)
    openvino_backend(layer(), (1, 1, 8, 8), "fp32", CPU, None)
    assert asked == [threads]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_is_not_there_is_refused(monkeypatch, precision):
    require("openvino")
    openvino = import_openvino()

    class Core(openvino.Core):
        def get_property(self, *names):
            return ["FP32"] if names == ("CPU", "OPTIMIZATION_CAPABILITIES") else super().get_property(*names)

    monkeypatch.setattr(openvino, "Core", Core)
    with pytest.raises(BackendError, match="bf16"):
        openvino_backend(layer(), (1, 1, 8, 8), precision, CPU, None)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_onnx_runtime_computes_in_fp32_only(precision):
    with pytest.raises(BackendError, match=f"not in {precision}; give --precision fp32"):
        onnxruntime_backend(layer(), (1, 1, 8, 8), precision, CPU, None)


@pytest.mark.parametrize("build", [openvino_backend, onnxruntime_backend])
def test_other_devices_are_refused(build):
    with pytest.raises(BackendError, match="computes on CPUs"):
        build(layer(), (1, 1, 8, 8), "fp32", CUDA, None)


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BackendError, match=r"pip install 'medseg\[openvino\]'"):
        openvino_backend(layer(), (1, 1, 8, 8), "fp32", CPU, None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match=r"pip install 'medseg\[onnx\]'"):
        onnxruntime_backend(layer(), (1, 1, 8, 8), "fp32", CPU, None)


def test_what_is_kept_is_not_taken_where_openvino_refuses_it():
    assert module._kept(Refusing(), b"content", {}) is None
    assert module._kept(Refusing(), None, {}) is None


class Refusing:
    def import_model(self, content, device, settings):
        raise RuntimeError("made by another version")
