"""Test-time augmentation by mirror images."""

import pytest
import torch

from medseg.backends.mirrored import mirrored


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (0, 1, 2)])
def test_the_mean_answer_turns_with_the_image(axes):
    """Whatever the network, the mean over mirror images is the same for a mirrored image, mirrored."""
    convolution = torch.nn.Conv3d(1, 2, 3, padding=1)
    run, x = mirrored(convolution, axes), torch.randn(2, 1, 5, 6, 7)
    for axis in axes:
        torch.testing.assert_close(run(x.flip(2 + axis)), run(x).flip(2 + axis))


def test_each_mirror_image_is_seen_once():
    seen = []

    def network(x):
        seen.append(x.flatten().tolist())
        return x

    x = torch.arange(4.0).view(1, 1, 2, 2)
    assert torch.equal(mirrored(network, (0, 1))(x), x)
    assert sorted(seen) == sorted([[0, 1, 2, 3], [2, 3, 0, 1], [1, 0, 3, 2], [3, 2, 1, 0]])


def test_without_axes_it_is_the_network():
    x = torch.randn(1, 1, 4)
    assert torch.equal(mirrored(lambda y: y * 2, ())(x), x * 2)
