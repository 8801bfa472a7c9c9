import pytest
import torch
from torch import nn

from medseg.backends import precision
from medseg.backends.eager import eager
from medseg.backends.precision import autocast, choose_precision
from medseg.domain.errors import ResourceError

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.mark.parametrize("wanted", ["fp32", "bf16", "fp16"])
def test_what_is_asked_for_is_taken(wanted):
    assert choose_precision(wanted, CUDA) == wanted


def test_a_cpu_refuses_fp16():
    with pytest.raises(ResourceError, match="give bf16 or fp32"):
        choose_precision("fp16", CPU)


@pytest.mark.parametrize(
    ("device", "has_bf16", "chosen"),
    [(CPU, True, "bf16"), (CPU, False, "fp32"), (CUDA, True, "bf16"), (CUDA, False, "fp16"), (MPS, True, "fp32")],
)
def test_the_rule_of_auto(monkeypatch, device, has_bf16, chosen):
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: has_bf16)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    assert choose_precision("auto", device) == chosen


@pytest.mark.parametrize(("name", "has"), [("avx512_bf16", True), ("amx_bf16", True), ("bf16", True), ("avx2", False)])
def test_a_cpu_says_whether_it_multiplies_bf16(monkeypatch, name, has):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {name: True, "other": 64})
    assert precision.cpu_has_bf16() is has


def test_autocast_computes_in_the_precision_and_fp32_leaves_all_alone():
    x, layer = torch.randn(2, 1, 5, 5), nn.Conv2d(1, 3, 3)
    with autocast(CPU, "bf16"):
        assert layer(x).dtype == torch.bfloat16
    with autocast(CPU, "fp32"):
        assert layer(x).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


def test_a_network_runs_in_evaluation_mode_without_gradients():
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Dropout(0.5)).train()
    run = eager(network, CPU, "fp32")
    x = torch.randn(2, 1, 5, 5)
    y = run(x)
    assert not network.training
    assert not y.requires_grad
    assert torch.equal(y, run(x))
    assert torch.equal(y, network[0](x))
