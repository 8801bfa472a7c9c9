"""torch.compile: the answer of torch, and what it lacks by name."""

import pytest
import torch
from torch import nn

from medseg.backends import compiled as module
from medseg.backends.agreement import agreement
from medseg.backends.compiled import compiled, compiler_gap
from medseg.backends.eager import eager
from medseg.backends.gap import BackendError
from tests.backends.test_same_answer import NETWORKS, network_of, windows_for

CPU = torch.device("cpu")
needs_compiler = pytest.mark.skipif(compiler_gap() is not None, reason=f"{compiler_gap()}")


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.LeakyReLU(0.01), nn.Conv2d(4, 3, 1)).eval()


@needs_compiler
def test_it_says_what_torch_says_in_every_batch_and_keeps_nothing_to_unpickle(tmp_path, monkeypatch):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    network, windows = small(), torch.randn(3, 1, 16, 16)
    run = compiled(network, (2, 1, 16, 16), "fp32", CPU, tmp_path)
    whole = run(windows)
    assert agreement(whole, eager(network, CPU, "fp32")(windows)).difference < 1e-4
    with torch._dynamo.config.patch(error_on_recompile=True):
        assert torch.equal(torch.cat([run(windows[:2]), run(windows[2:])]), whole)
        with torch.inference_mode():
            assert torch.equal(run(windows + 0), whole)
    kept = [path for path in (tmp_path / "inductor").rglob("*") if path.is_file()]
    assert any(path.suffix == ".so" for path in kept)
    assert not [path for path in kept if "fxgraph" in path.parts or "aotautograd" in path.parts]


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_torch(name, tmp_path):
    network, windows = network_of(name), windows_for(name, 2)
    run = compiled(network, (1, *windows.shape[1:]), "fp32", CPU, tmp_path)
    assert agreement(run(windows), eager(network, CPU, "fp32")(windows)).difference < 1e-4


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    gap = compiler_gap()
    assert gap is not None
    assert "no-such-compiler" in gap[0]
    with pytest.raises(BackendError, match="no-such-compiler"):
        compiled(small(), (1, 1, 16, 16), "fp32", CPU, None)


def test_bf16_is_refused_where_the_cpu_has_none(monkeypatch):
    monkeypatch.setattr(module, "cpu_has_bf16", lambda: False)
    monkeypatch.setattr(module, "compiler_gap", lambda: None)
    with pytest.raises(BackendError, match="no bf16"):
        compiled(small(), (1, 1, 16, 16), "bf16", CPU, None)


def test_other_devices_are_refused():
    with pytest.raises(BackendError, match="not for mps"):
        compiled(small(), (1, 1, 16, 16), "fp32", torch.device("mps"), None)
