import pytest
import torch

from medseg.networks.unetpp import unetpp, unetpp_2018

WIDTHS = (2, 3, 4, 5)


def network(spatial_dims, preset=unetpp):
    torch.manual_seed(1)
    return preset(spatial_dims, 1, 2, WIDTHS).eval()


def needed(whole, depth):
    """Names of the parameters above depth: rows 0..d of the encoder, merges i + j <= d, head d."""
    parts = [*(f"encoder.{row}." for row in range(depth + 1)), f"heads.{depth - 1}."]
    parts += [f"steps.{j - 1}.{i}." for j in range(1, depth + 1) for i in range(depth + 1 - j)]
    return {name for name, _ in whole.named_parameters() if name.startswith(tuple(parts))}


@pytest.mark.parametrize("preset", [unetpp, unetpp_2018])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_depth_d_is_head_d_of_the_whole_network_bit_for_bit(preset, spatial_dims):
    whole, x = network(spatial_dims, preset), torch.randn(2, 1, *(13, 16, 9)[:spatial_dims])
    heads = whole.all_logits(x)
    assert [torch.equal(whole(x, depth), head) for depth, head in enumerate(heads, start=1)] == [True] * 3
    assert torch.equal(whole(x), heads[-1])


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_pruned_network_never_touches_what_lies_deeper(depth):
    whole, x = network(2), torch.randn(1, 1, 16, 16)
    expected = whole(x, depth)
    kept = needed(whole, depth)
    with torch.no_grad():
        for name, parameter in whole.named_parameters():
            if name not in kept:
                parameter.fill_(torch.nan)
    assert torch.equal(whole(x, depth), expected)
    if depth < whole.depth:
        assert whole(x, depth + 1).isnan().all()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_pruned_network_computes_no_node_that_its_head_does_not_read(depth):
    whole, kept, called = network(2), needed(network(2), depth), []
    for name, module in whole.named_modules():
        if next(module.children(), None) is None and next(module.parameters(), None) is not None:
            module.register_forward_hook(lambda *_, name=name: called.append(name))
    whole(torch.randn(1, 1, 16, 16), depth)
    expected = {name.rpartition(".")[0] for name in kept}
    assert sorted(called) == sorted(expected)  # each once


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_pruned_network_needs_all_that_lies_above(depth):
    whole = network(2)
    whole(torch.randn(1, 1, 16, 16), depth).square().mean().backward()
    assert {name for name, p in whole.named_parameters() if p.grad is not None} == needed(whole, depth)


@pytest.mark.parametrize("depth", [0, 4, -1])
def test_a_depth_that_is_none_is_refused(depth):
    with pytest.raises(ValueError, match=rf"depth {depth} is not one of 1\.\.3"):
        network(2)(torch.zeros(1, 1, 16, 16), depth)


def test_the_unetpp_of_dlmia_2018_has_its_9_04_million_parameters():
    """32..512, three channels in, one class out, heads 1..4; the paper says 9.04 M.

    The encoder is that of the UNet: 4,712,224. A node of row i that joins j earlier ones holds a transposed
    convolution from row i + 1 (4ab + b) and two 3x3 convolutions, (j + 1) w -> w and w -> w.
    """
    row_0 = sum((4 * 64 * 32 + 32) + (9 * (j + 1) * 32 * 32 + 32) + (9 * 32 * 32 + 32) for j in (1, 2, 3, 4))
    row_1 = sum((4 * 128 * 64 + 64) + (9 * (j + 1) * 64 * 64 + 64) + (9 * 64 * 64 + 64) for j in (1, 2, 3))
    row_2 = sum((4 * 256 * 128 + 128) + (9 * (j + 1) * 128 * 128 + 128) + (9 * 128 * 128 + 128) for j in (1, 2))
    row_3 = (4 * 512 * 256 + 256) + (9 * 2 * 256 * 256 + 256) + (9 * 256 * 256 + 256)
    heads = 4 * (32 * 1 + 1)
    assert (row_0, row_1, row_2, row_3, heads) == (199_040, 541_248, 1_295_104, 2_294_528, 132)
    whole = unetpp_2018(2, 3, 1)
    assert sum(p.numel() for p in whole.parameters()) == 4_712_224 + 199_040 + 541_248 + 1_295_104 + 2_294_528 + 132
    assert round(sum(p.numel() for p in whole.parameters()) / 1e6, 2) == 9.04
