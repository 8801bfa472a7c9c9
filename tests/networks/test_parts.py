"""Blocks, merges and patches by name, and MONAI's networks by theirs."""

from dataclasses import replace

import pytest
import torch
from monai.networks.nets import SegResNet
from torch.nn.functional import pixel_unshuffle

from medseg.domain.errors import UsageError
from medseg.networks import NetworkSpec, build_network
from medseg.networks.blocks import BLOCKS, DOWNS, MERGES, AttentionMerge, ConvBlock, SeparableBlock
from medseg.networks.patches import Patched, depth_to_space, space_to_depth

SPEC = NetworkSpec("unet", 2, 1, 2, (2, 4))
MONAI = {
    "AttentionUnet": {"channels": [4, 8], "strides": [2]},
    "BasicUNet": {"features": [4, 4, 4, 4, 4, 4]},
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "UNet": {"channels": [4, 8], "strides": [2]},
}


def build(spec):
    torch.manual_seed(0)
    return build_network(spec)


@pytest.mark.parametrize("preset", ["unet", "unetpp"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        *({"block": name} for name in BLOCKS),
        *({"down": name} for name in DOWNS),
        *({"merge": name} for name in MERGES),
        {"patch": 2},
        {"patch": 4, "merge": "attention", "block": "separable"},
    ],
    ids=str,
)
def test_every_part_keeps_the_size_and_every_parameter_learns(preset, spatial_dims, options):
    network = build(NetworkSpec(preset, spatial_dims, 1, 3, (2, 4), options))
    logits = network(torch.randn(2, 1, *(9, 14, 11)[:spatial_dims]))
    assert logits.shape == (2, 3, *(9, 14, 11)[:spatial_dims])
    logits.square().mean().backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert missing == []


def test_parts_are_what_their_names_say():
    kinds = {type(module) for module in build(replace(SPEC, options={"block": "separable"})).modules()}
    assert SeparableBlock in kinds
    assert ConvBlock not in kinds
    assert any(isinstance(m, AttentionMerge) for m in build(replace(SPEC, options={"merge": "attention"})).modules())
    assert isinstance(build(replace(SPEC, options={"patch": 2})), Patched)


def test_a_separable_block_has_the_parameters_of_its_two_convolutions():
    parameters = sum(p.numel() for p in SeparableBlock(2, 16, 32).parameters())
    assert parameters == (16 * 9 + 16 * 32 + 2 * 32) + (32 * 9 + 32 * 32 + 2 * 32)


def test_closed_attention_gates_hide_the_skip():
    """Attention 0 everywhere: the answer no longer depends on what only the skip has seen."""
    merge = AttentionMerge(2, 4, 2, 2, ConvBlock).eval()
    with torch.no_grad():
        merge.attention[1].weight.zero_()
        merge.attention[1].bias.fill_(-1e9)
    deep, skip = torch.randn(1, 4, 4, 4), torch.randn(1, 2, 8, 8)
    assert torch.equal(merge(deep, [skip]), merge(deep, [skip * 7]))
    with torch.no_grad():
        merge.attention[1].bias.fill_(1e9)
    assert not torch.equal(merge(deep, [skip]), merge(deep, [skip * 7]))


# Patches


def test_patches_are_torchs_in_two_dimensions_and_come_back_in_both():
    x = torch.randn(2, 3, 8, 12)
    assert torch.equal(space_to_depth(x, 4), pixel_unshuffle(x, 4))
    for y in (x, torch.randn(2, 3, 4, 8, 12)):
        assert torch.equal(depth_to_space(space_to_depth(y, 2), 2), y)


def test_a_patched_network_sees_each_voxel_where_it_is():
    """A network that hands its channels through is the identity on images of any size."""
    patched = Patched(torch.nn.Identity(), 2)
    for size in ((7, 10), (5, 6, 9)):
        x = torch.randn(1, 1, *size)
        assert torch.equal(patched(x), x)


def test_heads_of_a_patched_unetpp_are_its_depths():
    network = build(NetworkSpec("unetpp", 2, 1, 2, (2, 3, 4), {"patch": 2})).eval()
    x = torch.randn(1, 1, 10, 13)
    assert network.depth == 2
    assert [torch.equal(network(x, depth), head) for depth, head in enumerate(network.all_logits(x), 1)] == [True] * 2


# MONAI's


@pytest.mark.parametrize("name", MONAI)
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_monai_network_is_built_by_its_name(name, spatial_dims):
    network = build(NetworkSpec(name, spatial_dims, 1, 3, options=MONAI[name])).eval()
    with torch.inference_mode():
        assert network(torch.randn(1, 1, *[32] * spatial_dims)).shape == (1, 3, *[32] * spatial_dims)


def test_it_is_the_network_that_monai_builds():
    ours = build(NetworkSpec("SegResNet", 3, 1, 3, options=MONAI["SegResNet"])).eval()
    torch.manual_seed(0)
    theirs = SegResNet(spatial_dims=3, in_channels=1, out_channels=3, **MONAI["SegResNet"]).eval()
    x = torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (("unet", 2, 1, 2, (2, 4), {"block": "dense"}), "block 'dense' is not one of conv, residual"),
        (("unet", 2, 1, 2, (2, 4), {"patch": 3}), "patch 3 is not one of 1, 2, 4"),
        (("unet", 2, 1, 2, (2, 4), {"patch": True}), "patch True is not one of"),
        (("unet", 2, 1, 2, (2, 4), {"depth": 3}), "no option 'depth'; unet and unetpp have block"),
        (("unet_2015", 2, 1, 2, (2, 4), {"patch": 2}), "unet_2015 has no option 'patch'"),
        (("SegResNet", 2, 1, 2, (2, 4)), "take no widths"),
        (("SegResNet", 2, 1, 2, (), {"in_channels": 3}), "in_channels follows from the data"),
        (("FCN", 2, 3, 2), "'FCN' is not one of"),
    ],
)
def test_options_that_are_none_are_refused(spec, reason):
    with pytest.raises(UsageError, match=reason):
        NetworkSpec(*spec)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (("SegResNet", 2, 1, 2, (), {"depth": 3}), "SegResNet takes no depth; it takes spatial_dims"),
        (("UNet", 2, 1, 2), "UNet cannot be built: .*channels"),
    ],
)
def test_monai_options_that_do_not_fit_are_refused_before_training(spec, reason):
    with pytest.raises(UsageError, match=reason):
        build_network(NetworkSpec(*spec))
