"""The norm that keeps a layout computes what torch's does, forwards and backwards."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from medseg.backends.instance_norm import LayoutKeepingNorm


def a_norm(channels, dtype=torch.float64):
    norm = nn.InstanceNorm3d(channels, affine=True).to(dtype)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def through(norm, images, slopes):
    """What comes out, and the gradients in the images, the weights and the biases."""
    images = images.detach().requires_grad_()
    out = norm(images)
    return out, *torch.autograd.grad(out, (images, norm.weight, norm.bias), slopes)


@given(
    st.tuples(*[st.integers(1, 5)] * 3).filter(lambda size: size != (1, 1, 1)),
    st.integers(1, 3),
    st.integers(1, 4),
    st.floats(-100, 100),
    st.integers(0, 99),
)
def test_it_computes_what_torch_computes(size, batch, channels, level, seed):
    torch.manual_seed(seed)
    norm = a_norm(channels)
    images = torch.randn(batch, channels, *size, dtype=torch.float64) + level
    slopes = torch.randn_like(images)
    for ours, theirs in zip(
        through(LayoutKeepingNorm(norm), images, slopes), through(norm, images, slopes), strict=True
    ):
        assert torch.allclose(ours, theirs, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_the_layout_is_kept_both_ways(layout):
    images = torch.randn(2, 3, 4, 5, 6).contiguous(memory_format=layout)
    out, gradient, *_ = through(LayoutKeepingNorm(a_norm(3, torch.float32)), images, torch.randn_like(images))
    assert out.is_contiguous(memory_format=layout)
    assert gradient.is_contiguous(memory_format=layout)


def test_maps_as_large_as_a_patch_lose_no_digits():
    """Means of 49,152 voxels far from 0."""
    torch.manual_seed(0)
    images = (torch.randn(2, 16, 32, 48, 32) * 3 + 30).contiguous(memory_format=torch.channels_last_3d)
    norm = a_norm(16, torch.float32)
    exact = a_norm(16)
    exact.load_state_dict(norm.state_dict())
    assert (LayoutKeepingNorm(norm)(images) - exact(images.double())).abs().max() < 1e-5


def test_a_map_of_one_voxel_is_refused_as_torch_refuses_it():
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        LayoutKeepingNorm(a_norm(3))(torch.zeros(2, 3, 1, 1, 1, dtype=torch.float64))


def test_the_weights_are_the_same_parameters_under_the_same_names():
    norm = a_norm(3)
    kept = LayoutKeepingNorm(norm)
    assert kept.weight is norm.weight
    assert list(kept.state_dict()) == list(norm.state_dict())
