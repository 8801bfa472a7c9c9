"""Channels last, and what of it and of lower precisions only other machines can show."""

import pytest
import torch
from torch import nn

from medseg.backends.agreement import agreement
from medseg.backends.backend import BUILDS
from medseg.backends.eager import eager
from medseg.backends.instance_norm import LayoutKeepingNorm, OwningNorm
from medseg.backends.layout import channels_last, lay_out, lay_out_for_training
from medseg.backends.precision import cpu_has_bf16
from tests.backends.test_same_answer import network_of, require, windows_for

CPU = torch.device("cpu")


@pytest.mark.parametrize(("name", "layout"), [("unet 2-D", torch.channels_last), ("unet 3-D", torch.channels_last_3d)])
def test_the_format_is_that_of_the_convolutions_and_changes_no_answer(name, layout):
    network, windows = network_of(name), windows_for(name, 2)
    exact = eager(network, CPU, "fp32")(windows)
    assert channels_last(network) is layout
    lay_out(network, layout)
    weights = [value for value in network.parameters() if value.ndim > 3]
    assert all(value.is_contiguous(memory_format=layout) for value in weights)
    with torch.inference_mode():
        laid = network(windows.contiguous(memory_format=layout))
    assert agreement(laid, exact).difference < 1e-4


def test_mixed_networks_stay_plain():
    assert channels_last(nn.ModuleList([nn.Conv2d(1, 1, 3), nn.Conv3d(1, 1, 3)])) is torch.contiguous_format
    assert channels_last(nn.Linear(2, 2)) is torch.contiguous_format


def slopes_of(network, windows):
    network.zero_grad()
    network(windows).square().mean().backward()
    return {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}


def assert_the_same(slopes, others):
    assert slopes.keys() == others.keys()
    for name, slope in slopes.items():
        assert torch.allclose(slope, others[name], rtol=1e-3, atol=1e-3 * others[name].abs().max()), name


def test_volumes_are_trained_channels_last_by_the_same_slopes_under_the_same_names():
    network, windows = network_of("unet 3-D"), windows_for("unet 3-D", 2)
    plain, names = slopes_of(network, windows), list(network.state_dict())
    lay_out_for_training(network, CPU, "fp32")
    assert sum(isinstance(module, LayoutKeepingNorm) for module in network.modules()) > 0
    assert list(network.state_dict()) == names
    weights = [value for value in network.parameters() if value.ndim > 3]
    assert all(value.is_contiguous(memory_format=torch.channels_last_3d) for value in weights)
    assert_the_same(slopes_of(network, windows), plain)


@pytest.mark.parametrize(
    ("network", "precision"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2, affine=True)), "fp32"),
        (nn.Sequential(nn.Conv3d(1, 2, 3), nn.InstanceNorm3d(2, affine=True)), "bf16"),
        (nn.Sequential(nn.Conv3d(1, 2, 3), nn.InstanceNorm3d(2, affine=True), nn.GroupNorm(1, 2)), "fp32"),
    ],
    ids=["2-D", "bf16", "another norm"],
)
def test_where_channels_last_would_not_gain_maps_stay_contiguous_and_are_no_views(network, precision):
    names = list(network.state_dict())
    lay_out_for_training(network, CPU, precision)
    assert isinstance(network[1], OwningNorm)
    assert list(network.state_dict()) == names
    assert all(parameter.is_contiguous() for parameter in network.parameters())


@pytest.mark.parametrize("name", ["unet 2-D", "unet++ 2-D, depth 1"])
def test_pictures_are_trained_by_the_same_slopes(name):
    network, windows = network_of(name), windows_for(name, 2)
    plain = slopes_of(network, windows)
    lay_out_for_training(network, CPU, "fp32")
    assert sum(isinstance(module, OwningNorm) for module in network.modules()) > 0
    assert_the_same(slopes_of(network, windows), plain)


@pytest.mark.parametrize(
    ("network", "precision"),
    [
        (nn.Sequential(nn.Conv3d(1, 2, 3), nn.InstanceNorm3d(2)), "fp32"),
        (nn.Sequential(nn.Conv3d(1, 2, 3)), "fp32"),
    ],
    ids=["no weights", "no norm"],
)
def test_what_would_not_gain_is_trained_as_it_is(network, precision):
    before = [type(module) for module in network.modules()]
    lay_out_for_training(network, CPU, precision)
    assert [type(module) for module in network.modules()] == before
    assert all(parameter.is_contiguous() for parameter in network.parameters())


@pytest.mark.skipif(not cpu_has_bf16(), reason="this CPU does not compute in bf16")
@pytest.mark.parametrize("backend", [pytest.param("compile", marks=pytest.mark.slow), "openvino"])
def test_bf16_is_near_fp32(backend):
    require(backend)
    network, windows = network_of("unet 2-D"), windows_for("unet 2-D", 2)
    run = BUILDS[backend](network, (1, *windows.shape[1:]), "bf16", CPU, None)
    assert agreement(run(windows), eager(network, CPU, "fp32")(windows)).difference < 0.05


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", ["unet 2-D", "unet 3-D"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("compiled", [False, True])
def test_on_cuda(name, precision, compiled):
    network, windows = network_of(name), windows_for(name, 3)
    exact = eager(network, CPU, "fp32")(windows)
    device = torch.device("cuda")
    if compiled:
        run = BUILDS["compile"](network, (2, *windows.shape[1:]), precision, device, None)
    else:
        run = eager(network, device, precision)
    assert agreement(run(windows.to(device)), exact).difference < (1e-3 if precision == "fp32" else 0.05)
