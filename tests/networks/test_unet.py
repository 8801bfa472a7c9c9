import pytest
import torch

from medseg.networks.unet import unet_2015, unet_2015_valid


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_the_unet_of_2015_has_its_31_million_parameters():
    """3x3 convolutions hold 9ab + b numbers, 2x2 transposed ones 4ab + b, the head ab + b (a in, b out)."""
    down = (
        (9 * 1 * 64 + 64) + (9 * 64 * 64 + 64)  #            640 +    36,928
        + (9 * 64 * 128 + 128) + (9 * 128 * 128 + 128)  #   73,856 +   147,584
        + (9 * 128 * 256 + 256) + (9 * 256 * 256 + 256)  #  295,168 +   590,080
        + (9 * 256 * 512 + 512) + (9 * 512 * 512 + 512)  # 1,180,160 + 2,359,808
        + (9 * 512 * 1024 + 1024) + (9 * 1024 * 1024 + 1024)  # 4,719,616 + 9,438,208
    )  # fmt: skip
    up = (
        (4 * 1024 * 512 + 512) + (9 * 1024 * 512 + 512) + (9 * 512 * 512 + 512)  # 2,097,664 + 4,719,104 + 2,359,808
        + (4 * 512 * 256 + 256) + (9 * 512 * 256 + 256) + (9 * 256 * 256 + 256)  # 524,544 + 1,179,904 + 590,080
        + (4 * 256 * 128 + 128) + (9 * 256 * 128 + 128) + (9 * 128 * 128 + 128)  # 131,200 + 295,040 + 147,584
        + (4 * 128 * 64 + 64) + (9 * 128 * 64 + 64) + (9 * 64 * 64 + 64)  # 32,832 + 73,792 + 36,928
    )  # fmt: skip
    head = 64 * 2 + 2
    assert (down, up, head) == (18_842_048, 12_188_480, 130)
    assert parameters(unet_2015(2, 1, 2)) == parameters(unet_2015_valid(2, 1, 2)) == 31_030_658


def test_the_unet_of_dlmia_2018_has_its_7_76_million_parameters():
    """As above at 32..512, three channels in and one class out; the paper says 7.76 M."""
    down = (
        (9 * 3 * 32 + 32) + (9 * 32 * 32 + 32)  #            896 +     9,248
        + (9 * 32 * 64 + 64) + (9 * 64 * 64 + 64)  #      18,496 +    36,928
        + (9 * 64 * 128 + 128) + (9 * 128 * 128 + 128)  # 73,856 +   147,584
        + (9 * 128 * 256 + 256) + (9 * 256 * 256 + 256)  # 295,168 + 590,080
        + (9 * 256 * 512 + 512) + (9 * 512 * 512 + 512)  # 1,180,160 + 2,359,808
    )  # fmt: skip
    up = (
        (4 * 512 * 256 + 256) + (9 * 512 * 256 + 256) + (9 * 256 * 256 + 256)  # 524,544 + 1,179,904 + 590,080
        + (4 * 256 * 128 + 128) + (9 * 256 * 128 + 128) + (9 * 128 * 128 + 128)  # 131,200 + 295,040 + 147,584
        + (4 * 128 * 64 + 64) + (9 * 128 * 64 + 64) + (9 * 64 * 64 + 64)  # 32,832 + 73,792 + 36,928
        + (4 * 64 * 32 + 32) + (9 * 64 * 32 + 32) + (9 * 32 * 32 + 32)  # 8,224 + 18,464 + 9,248
    )  # fmt: skip
    head = 32 * 1 + 1
    assert (down, up, head) == (4_712_224, 3_047_840, 33)
    assert parameters(unet_2015(2, 3, 1, (32, 64, 128, 256, 512))) == 7_760_097


@pytest.mark.parametrize(("size", "expected"), [(572, 388), (188, 4), (700, 516)])
def test_the_valid_unet_loses_92_pixels_at_each_edge(size, expected):
    """572 -> 388 is the paper's figure 1; each axis loses 4 + 8 + 16 + 32 + 64 + 32 + 16 + 8 + 4 = 184."""
    with torch.inference_mode():
        assert unet_2015_valid(2, 1, 2, (1,) * 5)(torch.zeros(1, 1, size, size)).shape == (1, 2, expected, expected)


def test_an_output_pixel_of_the_valid_unet_stands_for_the_middle_of_what_it_sees():
    """Two levels, 20 -> 4, eight less at each edge: pixel (i, j) sees 9 x 9 around (8 + i, 8 + j) by the skip."""
    network = unet_2015_valid(2, 1, 1, (1, 1))
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0.1)  # no ReLU is shut, so every pixel in the field of view counts
    torch.nn.init.zeros_(network.merges[0].up.weight)  # the skip alone
    x = torch.rand(1, 1, 20, 20, requires_grad=True)
    logits = network(x)[0, 0]
    assert logits.shape == (4, 4)
    for i, j in ((0, 0), (3, 1)):
        (seen,) = torch.autograd.grad(logits[i, j], x, retain_graph=True)
        expected = torch.zeros(20, 20, dtype=torch.bool)
        expected[4 + i : 13 + i, 4 + j : 13 + j] = True
        assert torch.equal(seen[0, 0] != 0, expected)
