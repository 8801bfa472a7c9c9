"""The norms to train by compute what torch's does, forwards and backwards."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from medseg.backends.instance_norm import LayoutKeepingNorm, OwningNorm

both = pytest.mark.parametrize("kind", [LayoutKeepingNorm, OwningNorm])


def a_norm(channels, dtype=torch.float64, dims=3):
    norm = (nn.InstanceNorm2d if dims == 2 else nn.InstanceNorm3d)(channels, affine=True).to(dtype)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def through(norm, images, slopes):
    """What comes out, and the gradients in the images, the weights and the biases."""
    images = images.detach().requires_grad_()
    out = norm(images)
    return out, *torch.autograd.grad(out, (images, norm.weight, norm.bias), slopes)


@both
@given(
    st.tuples(*[st.integers(1, 5)] * 3).filter(lambda size: size != (1, 1, 1)),
    st.integers(1, 3),
    st.integers(1, 4),
    st.floats(-100, 100),
    st.integers(0, 99),
)
def test_it_computes_what_torch_computes(kind, size, batch, channels, level, seed):
    torch.manual_seed(seed)
    norm = a_norm(channels)
    images = torch.randn(batch, channels, *size, dtype=torch.float64) + level
    slopes = torch.randn_like(images)
    for ours, theirs in zip(through(kind(norm), images, slopes), through(norm, images, slopes), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_the_layout_is_kept_both_ways(layout):
    images = torch.randn(2, 3, 4, 5, 6).contiguous(memory_format=layout)
    out, gradient, *_ = through(LayoutKeepingNorm(a_norm(3, torch.float32)), images, torch.randn_like(images))
    assert out.is_contiguous(memory_format=layout)
    assert gradient.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_an_activation_in_place_takes_the_map_as_it_is(layout):
    images = torch.randn(2, 3, 4, 5).contiguous(memory_format=layout).requires_grad_()
    norm = a_norm(3, torch.float32, 2)
    out, theirs = OwningNorm(norm)(images), norm(images)
    assert theirs._is_view()
    assert not out._is_view()
    assert out.is_contiguous()
    assert torch.allclose(out, theirs, atol=1e-6)


@both
def test_maps_as_large_as_a_patch_lose_no_digits(kind):
    """Means of 49,152 voxels far from 0."""
    torch.manual_seed(0)
    images = (torch.randn(2, 16, 32, 48, 32) * 3 + 30).contiguous(memory_format=torch.channels_last_3d)
    norm = a_norm(16, torch.float32)
    exact = a_norm(16)
    exact.load_state_dict(norm.state_dict())
    assert (kind(norm)(images) - exact(images.double())).abs().max() < 1e-5


@both
def test_a_map_of_one_voxel_is_refused_as_torch_refuses_it(kind):
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        kind(a_norm(3))(torch.zeros(2, 3, 1, 1, 1, dtype=torch.float64))


@pytest.mark.parametrize("size", [(3, 4, 3), (2, 3, 4, 3, 5)])
def test_a_map_of_other_axes_is_refused(size):
    """(C, H, W) with C equal to H would be normalised along the wrong axis."""
    with pytest.raises(ValueError, match="expected 4 axes"):
        OwningNorm(a_norm(3, torch.float32, 2))(torch.zeros(size))


@both
def test_the_weights_are_the_same_parameters_under_the_same_names(kind):
    norm = a_norm(3)
    kept = kind(norm)
    assert kept.weight is norm.weight
    assert list(kept.state_dict()) == list(norm.state_dict())
