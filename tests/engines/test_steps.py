import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medseg.domain.errors import UsageError
from medseg.engines.plan import OptimiserSpec
from medseg.engines.steps import averaged, learning_rate, make_step
from medseg.losses import SoftmaxDiceCE
from medseg.networks.build import NetworkSpec, build_network

CPU = torch.device("cpu")


def test_the_rate_by_hand():
    """Warm-up of 4 in 10 steps: at step 2 half of the rise and 9/10 of the fall, at step 10 1/10 of the fall."""
    spec = OptimiserSpec(rate=0.01, warmup_steps=4)
    assert learning_rate(spec, 2, 10) == pytest.approx(0.01 * 0.5 * 0.9**0.9)
    assert learning_rate(spec, 4, 10) == pytest.approx(0.01 * 0.7**0.9)
    assert learning_rate(spec, 10, 10) == pytest.approx(0.01 * 0.1**0.9)
    assert learning_rate(OptimiserSpec(rate=0.01, warmup_steps=0), 1, 10) == 0.01


@given(st.integers(0, 300), st.integers(1, 1000))
def test_the_rate_is_positive_never_above_the_spec_and_falls_after_the_rise(warmup, steps):
    rates = [learning_rate(OptimiserSpec(rate=2e-3, warmup_steps=warmup), n, steps) for n in range(1, steps + 1)]
    assert all(0 < rate <= 2e-3 for rate in rates)
    after = rates[max(warmup - 1, 0) :]
    assert after == sorted(after, reverse=True)


def test_the_average_by_hand():
    """It starts as the first weights; then w moves by 1 - (1 + n) / (10 + n) until that is below 1 - decay."""
    network = torch.nn.Linear(1, 1, bias=False)
    average = averaged(network, decay=0.25)
    values = []
    for weight in (1.0, 2.0, 4.0, 8.0):
        torch.nn.init.constant_(network.weight, weight)
        average.update_parameters(network)
        values.append(average.module.weight.item())
    second = 1 + (2 - 1) * (1 - 2 / 11)  # n = 1
    third = second + (4 - second) * (1 - 0.25)  # n = 2: 3 / 12 is the decay
    fourth = third + (8 - third) * (1 - 0.25)
    assert values == pytest.approx([1.0, second, third, fourth])


def parts(rate=1e-2, clip_norm=5.0):
    torch.manual_seed(0)
    network = build_network(NetworkSpec("unet", 2, 1, 2, (4, 8)))
    spec = OptimiserSpec(rate=rate, warmup_steps=0, clip_norm=clip_norm)
    optimiser = torch.optim.SGD(network.parameters(), rate)
    average = averaged(network, spec.ema)
    return network, average, make_step(network, average, SoftmaxDiceCE(), optimiser, spec, 10, CPU)


def test_a_step_lowers_the_loss_and_moves_the_average():
    network, average, step = parts()
    images, targets = torch.randn(4, 1, 8, 8), torch.randint(0, 2, (4, 8, 8))
    losses = [step(n, images, targets) for n in range(1, 6)]
    assert losses[-1] < losses[0]
    assert any(not torch.equal(a, b) for a, b in zip(network.parameters(), average.module.parameters(), strict=True))


def test_gradients_are_clipped_to_the_norm():
    """Plain descent moves the weights by the rate times the clipped norm, here 0.5 * 1e-3."""
    network, _, step = parts(rate=0.5, clip_norm=1e-3)
    before = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    step(1, torch.randn(4, 1, 8, 8), torch.randint(0, 2, (4, 8, 8)))
    moved = torch.nn.utils.parameters_to_vector(network.parameters()).detach() - before
    assert moved.norm().item() == pytest.approx(0.5 * 1e-3, rel=1e-2)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_training_and_leaves_the_weights(bad):
    network, _, step = parts()
    before = [parameter.clone() for parameter in network.parameters()]
    images = torch.randn(2, 1, 8, 8)
    images[0, 0, 3, 3] = bad
    with pytest.raises(UsageError, match="at step 1"):
        step(1, images, torch.zeros(2, 8, 8, dtype=torch.long))
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
