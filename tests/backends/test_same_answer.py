"""Every backend says what torch says in fp32, for our networks in 2-D and 3-D."""

import pytest
import torch
from torch import nn

from medseg.backends.agreement import agreement
from medseg.backends.at_depth import at_depth
from medseg.backends.backend import BUILDS
from medseg.backends.eager import eager
from medseg.networks.build import NetworkSpec, build_network

CPU = torch.device("cpu")
MODULES = {"openvino": ("openvino",), "onnxruntime": ("onnxruntime", "onnx", "onnxscript"), "compile": ()}
NETWORKS = {
    "unet 2-D": (NetworkSpec("unet", 2, 3, 3, (4, 8, 16)), None),
    "unet 3-D": (NetworkSpec("unet", 3, 1, 3, (4, 8)), None),
    "unet++ 2-D, depth 1": (NetworkSpec("unetpp", 2, 1, 2, (4, 8, 16)), 1),
    "unet++ 3-D, deepest": (NetworkSpec("unetpp", 3, 1, 3, (4, 8, 8)), None),
    "patches": (NetworkSpec("unet", 2, 1, 3, (4, 8), {"patch": 2}), None),
    "two members": (NetworkSpec("unet", 2, 1, 3, (4, 8), {"members": 2}), None),
    "fcn": (NetworkSpec("fcn", 2, 1, 3, (4, 8, 16)), None),
}


def network_of(name: str) -> nn.Module:
    spec, depth = NETWORKS[name]
    torch.manual_seed(0)
    return at_depth(build_network(spec), depth).eval()


def windows_for(name: str, count: int) -> torch.Tensor:
    spec, _ = NETWORKS[name]
    size = (32, 24) if spec.spatial_dims == 2 else (16, 12, 8)
    return torch.randn(count, spec.in_channels, *size, generator=torch.Generator().manual_seed(1))


def require(backend: str) -> None:
    """Skip where the extra is not installed."""
    if backend == "openvino":  # not by importorskip, which would let it tell its makers
        from medseg.backends.gap import BackendError
        from medseg.backends.openvino import import_openvino

        try:
            import_openvino()
        except BackendError as error:
            pytest.skip(str(error))
    for module in MODULES[backend]:
        pytest.importorskip(module)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_logits_are_those_of_torch(backend, name):
    require(backend)
    network, windows = network_of(name), windows_for(name, 3)
    run = BUILDS[backend](network, (1, *windows.shape[1:]), "fp32", CPU, None)
    exact = eager(network, CPU, "fp32")(windows)
    found = agreement(run(windows), exact)
    assert found.difference < 1e-4
    top = exact.topk(2, dim=1).values
    near_tie = (top[:, 0] - top[:, 1]) < 1e-4 * exact.abs().max()
    assert ((run(windows).argmax(1) == exact.argmax(1)) | near_tie).all()


@pytest.mark.parametrize("norm", [nn.InstanceNorm3d(2, affine=True), nn.InstanceNorm3d(2), nn.GroupNorm(2, 4)])
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_norms_of_large_windows_keep_their_digits(backend, norm):
    """Both runtimes add 884,736 voxels up in a row if they are let, and are off by 2e-3 then."""
    require(backend)
    channels = 4 if isinstance(norm, nn.GroupNorm) else 2
    windows = 1 + torch.rand(1, channels, 96, 96, 96, generator=torch.Generator().manual_seed(0)) ** 4
    answer = BUILDS[backend](norm.eval(), windows.shape, "fp32", CPU, None)(windows)
    exact = norm.double()(windows.double())
    norm.float()
    assert (answer - exact).abs().max() < 2e-5


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_windows_answer_does_not_depend_on_its_batch(backend):
    require(backend)
    network, windows = network_of("unet 2-D"), windows_for("unet 2-D", 8)
    run = BUILDS[backend](network, (1, *windows.shape[1:]), "fp32", CPU, None)
    whole = run(windows)
    for batch in range(1, 9):
        assert torch.equal(torch.cat([run(chunk) for chunk in windows.split(batch)]), whole)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_network_stays_as_it_was(backend):
    """A trace or an export must not leave the network in another mode, with other weights or without gradients."""
    require(backend)
    network, windows = network_of("unet 2-D"), windows_for("unet 2-D", 2)
    before = network(windows)
    BUILDS[backend](network, (1, *windows.shape[1:]), "fp32", CPU, None)
    assert torch.equal(network(windows), before)
    assert before.requires_grad
