"""Staged norms compute what torch's do, and leave those that go by running statistics alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from medseg.backends.staged_norm import StagedNorm, with_staged_norms

NORMS = {
    "instance": lambda dims, affine: {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dims](4, affine=affine),
    "group": lambda dims, affine: nn.GroupNorm(2, 4, affine=affine),
    "layer": lambda dims, affine: nn.GroupNorm(1, 4, affine=affine),
}


@given(
    st.sampled_from(sorted(NORMS)),
    st.lists(st.integers(2, 9), min_size=2, max_size=3),
    st.booleans(),
    st.integers(1, 3),
    st.floats(-1000, 1000),
    st.integers(0, 99),
)
def test_they_compute_what_torch_computes(kind, size, affine, batch, level, seed):
    torch.manual_seed(seed)
    norm = NORMS[kind](len(size), affine).double().eval()
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    images = torch.randn(batch, 4, *size, dtype=torch.float64) + level
    staged = with_staged_norms(norm)
    assert isinstance(staged, StagedNorm)
    assert torch.allclose(staged(images), norm(images), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), nn.InstanceNorm2d(4, track_running_stats=True)])
def test_running_statistics_are_left(norm):
    assert type(with_staged_norms(nn.Sequential(norm))[0]) is type(norm)


def test_the_network_itself_is_left():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(nn.InstanceNorm2d(4)))
    assert isinstance(with_staged_norms(network)[1][0], StagedNorm)
    assert isinstance(network[1][0], nn.InstanceNorm2d)
