"""What every network of the project does, whatever its preset."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medseg.domain.errors import UsageError
from medseg.domain.spec import from_plain, to_plain
from medseg.networks import NetworkSpec, build_network
from medseg.networks.build import NETWORKS
from medseg.networks.unetpp import UNetPP

PADDED = sorted(set(NETWORKS) - {"unet_2015_valid"})
WITHOUT_NORM = ("unet_2015", "unetpp_2018")
SPEC = NetworkSpec("unet", 2, 1, 2, (2, 3, 4))


def build(preset, spatial_dims, widths=(2, 3, 4), channels=1, classes=2):
    torch.manual_seed(0)
    return build_network(NetworkSpec(preset, spatial_dims, channels, classes, widths))


NETS = {(preset, dims): build(preset, dims).eval() for preset in PADDED for dims in (2, 3)}


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("preset", PADDED)
@settings(max_examples=25)
@given(data=st.data())
def test_the_output_has_the_size_of_the_input_even_or_odd(preset, spatial_dims, data):
    size = data.draw(st.tuples(*[st.integers(1, 11)] * spatial_dims))
    deepest = torch.tensor([-(-n // 4) for n in size])  # three levels halve twice, each time rounding up
    assume(preset in WITHOUT_NORM or deepest.prod() > 1)  # one voxel has no deviation to be normalised by
    with torch.inference_mode():
        logits = NETS[preset, spatial_dims](torch.randn(1, 1, *size))
    assert logits.shape == (1, 2, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("preset", NETWORKS)
def test_every_parameter_has_a_finite_gradient(preset, spatial_dims):
    network = build(preset, spatial_dims)
    x = torch.randn(2, 1, *[44 if preset == "unet_2015_valid" else 9] * spatial_dims)
    heads = network.all_logits(x) if isinstance(network, UNetPP) else [network(x)]
    sum(head.square().mean() for head in heads).backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()] == []


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("preset", ["unet", "unetpp"])
def test_an_exported_network_answers_as_the_network_does_for_any_batch(preset, spatial_dims):
    network = build(preset, spatial_dims).eval()
    x = torch.randn(3, 1, *[9] * spatial_dims)
    program = torch.export.export(network, (x[:2],), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=8)},))
    with torch.inference_mode():
        for batch in (x[:1], x[:2], x):
            torch.testing.assert_close(program.module()(batch), network(batch), rtol=0, atol=1e-5)


@pytest.mark.parametrize("preset", PADDED)
def test_the_seed_decides_the_weights(preset):
    first, second = (build(preset, 2).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


# Specs


def test_a_spec_builds_what_it_says():
    network = build_network(SPEC)
    assert network(torch.zeros(1, 1, 8, 8)).shape == (1, 2, 8, 8)
    assert [stage(torch.zeros(1, c, 8, 8)).shape[1] for stage, c in zip(network.encoder, (1, 2, 3), strict=True)] == [
        2,
        3,
        4,
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"preset": "vnet"}, "'vnet' is not one of unet, residual_unet"),
        ({"preset": ""}, "is not one of"),
        ({"spatial_dims": 1}, "2 or 3 spatial dimensions, not 1"),
        ({"spatial_dims": 4}, "2 or 3 spatial dimensions, not 4"),
        ({"widths": (8,)}, "at least two levels"),
        ({"widths": ()}, "at least two levels"),
        ({"widths": (8, 0)}, "positive widths"),
        ({"in_channels": 0}, "positive"),
        ({"out_channels": -1}, "positive"),
    ],
)
def test_a_spec_that_is_no_network_is_refused(change, reason):
    with pytest.raises(UsageError, match=reason):
        replace(SPEC, **change)


@given(
    st.builds(
        NetworkSpec,
        st.sampled_from(sorted(NETWORKS)),
        st.sampled_from([2, 3]),
        st.integers(1, 5),
        st.integers(1, 200),
        st.lists(st.integers(1, 2000), min_size=2, max_size=7).map(tuple),
    )
)
def test_a_spec_comes_back_from_json(spec):
    assert from_plain(NetworkSpec, json.loads(json.dumps(to_plain(spec)))) == spec
