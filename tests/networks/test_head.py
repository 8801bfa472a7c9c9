import pytest
import torch

from medseg.networks import NetworkSpec, build_network
from medseg.networks.head import blended_width, split_head

ONE_HEAD = ["unet", "residual_unet", "unet_2015", "unetpp", "unetpp_2018"]


@pytest.mark.parametrize("preset", ONE_HEAD)
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_two_parts_one_after_the_other_are_the_network(preset, spatial_dims):
    network = build_network(NetworkSpec(preset, spatial_dims, 1, 5, (2, 4, 4))).eval()
    x = torch.randn(2, 1, *(12, 9, 10)[:spatial_dims])
    for depth in (None, 1, 2) if preset.startswith("unetpp") else (None,):
        parts = split_head(network, depth)
        features = parts.body(x)
        assert features.shape == (2, 2, *x.shape[2:])
        assert torch.equal(parts.head(features), network(x) if depth is None else network(x, depth))
    assert {id(p) for p in parts.head.parameters()} < {id(p) for p in network.parameters()}


@pytest.mark.parametrize(
    "spec",
    [
        NetworkSpec("fcn", 2, 1, 40, (4, 8, 8)),
        NetworkSpec("unet", 2, 1, 40, (4, 8), {"patch": 2}),
        NetworkSpec("unetpp", 2, 1, 40, (4, 8), {"members": 2}),
        NetworkSpec("UNet", 2, 1, 40, (), {"channels": [4, 8], "strides": [2]}),
    ],
    ids=lambda spec: spec.preset,
)
def test_networks_that_end_in_no_such_layer_are_not_split(spec):
    assert split_head(build_network(spec)) is None
    assert blended_width(spec) is None


@pytest.mark.parametrize(("classes", "width", "blended"), [(105, 32, 32), (33, 32, 32), (32, 8, None), (40, 64, None)])
def test_features_are_blended_where_classes_are_many_and_more(classes, width, blended):
    assert blended_width(NetworkSpec("unet", 3, 1, classes, (width, 2 * width))) == blended
    assert blended_width(NetworkSpec("unetpp", 3, 1, classes, (width, 2 * width))) == blended
