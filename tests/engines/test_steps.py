import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medseg.domain.errors import UsageError
from medseg.engines.learner import Learner, averaged
from medseg.engines.plan import OptimiserSpec
from medseg.engines.steps import learning_rate, make_step
from medseg.losses import BoundarySpec, LossSpec, build_loss, over_heads
from medseg.networks.build import NetworkSpec, build_network
from tests.engines.conftest import a_spec

CPU = torch.device("cpu")
NETWORK = NetworkSpec("unet", 2, 1, 2, (4, 8))
LOSSES = [
    LossSpec(),
    LossSpec(squared=True, activation="sigmoid", focal_gamma=2.0),
    LossSpec(0.3, class_weights=(1.0, 3.0), boundary=BoundarySpec(2.0, 1.0)),
]


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


def a_training(rate=1e-2, clip_norm=5.0, network=None, kind=NETWORK, **changes):
    """A network, its average and its step by plain descent."""
    torch.manual_seed(0)
    network = network() if network else build_network(kind)
    optimiser = OptimiserSpec(rate=rate, warmup_steps=0, clip_norm=clip_norm)
    spec = a_spec(2, network=kind, optimiser=optimiser, **changes)
    average = averaged(network, optimiser.ema)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    learner = Learner(network, average, torch.optim.SGD(network.parameters(), rate), scaler)
    return network, average, make_step(learner, spec, CPU, "fp32")


def weights(network):
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()


def a_batch(size=8):
    return torch.randn(4, 1, size, size), torch.randint(0, 2, (4, size, size))


def test_a_step_lowers_the_loss_and_moves_the_average():
    network, average, step = a_training()
    images, targets = torch.randn(4, 1, 8, 8), torch.randint(0, 2, (4, 8, 8))
    losses = [step(n, images, targets) for n in range(1, 6)]
    assert losses[-1] < losses[0]
    assert any(not torch.equal(a, b) for a, b in zip(network.parameters(), average.module.parameters(), strict=True))


def test_gradients_are_clipped_to_the_norm():
    """Plain descent moves the weights by the rate times the clipped norm, here 0.5 * 1e-3."""
    network, _, step = a_training(rate=0.5, clip_norm=1e-3)
    before = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    step(1, torch.randn(4, 1, 8, 8), torch.randint(0, 2, (4, 8, 8)))
    moved = torch.nn.utils.parameters_to_vector(network.parameters()).detach() - before
    assert moved.norm().item() == pytest.approx(0.5 * 1e-3, rel=1e-2)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_training_and_leaves_the_weights(bad):
    network, _, step = a_training()
    before = [parameter.clone() for parameter in network.parameters()]
    images = torch.randn(2, 1, 8, 8)
    images[0, 0, 3, 3] = bad
    with pytest.raises(UsageError, match="at step 1"):
        step(1, images, torch.zeros(2, 8, 8, dtype=torch.long))
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


# A batch in parts


@pytest.mark.parametrize("accumulate", [2, 3, 4])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("preset", ["unet", "unetpp"])
def test_a_step_in_parts_is_the_step_of_the_whole_batch(preset, loss, accumulate):
    kind = NetworkSpec(preset, 2, 1, 2, (4, 8, 8))
    (whole, _, one), (parted, _, many) = (a_training(kind=kind, loss=loss, accumulate=n) for n in (1, accumulate))
    start = weights(whole)
    for number in (1, 2, 3):
        batch = a_batch()
        assert many(number, *batch) == pytest.approx(one(number, *batch), rel=1e-5)
    assert torch.allclose(weights(parted), weights(whole), atol=1e-6)
    assert (weights(whole) - start).norm() > 1e-3


def test_the_loss_of_a_batch_is_not_the_mean_of_the_losses_of_its_parts():
    """Else the law above would not see how Dice is summed."""
    logits, targets = torch.randn(4, 2, 8, 8), torch.randint(0, 2, (4, 8, 8))
    targets[2:] = 0
    loss = build_loss(LossSpec())
    halves = (loss(logits[:2], targets[:2]) + loss(logits[2:], targets[2:])) / 2
    assert abs(loss(logits, targets).item() - halves.item()) > 1e-2
    sums = loss.sums(logits[:2], targets[:2]) + loss.sums(logits[2:], targets[2:])
    assert loss.value(sums).item() == pytest.approx(loss(logits, targets).item(), rel=1e-6)


class Dropping(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.Dropout(0.5))
        self.head = torch.nn.Conv2d(8, 2, 1)

    def forward(self, x):
        return self.head(self.layers(x))


def test_what_a_network_draws_depends_on_seed_and_step_only():
    """Dropout came from torch's global generator, which a checkpoint does not hold."""
    batch, after = a_batch(), []
    for disturbance in (1, 2):
        network, _, step = a_training(network=Dropping, accumulate=2)
        torch.manual_seed(disturbance)
        losses = [step(number, *batch) for number in (1, 2)]
        after.append(weights(network))
    assert torch.equal(*after)
    assert losses[0] != losses[1]


def test_a_part_draws_the_same_both_times_it_is_computed():
    network, _, step = a_training(network=Dropping, accumulate=2)
    given = []
    network.register_forward_hook(lambda *call: given.append(call[-1].detach()))
    step(1, *a_batch())
    first, second, again = given
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


# Heads


def test_deep_supervision_trains_by_all_heads_and_by_their_weights():
    kind = NetworkSpec("unetpp", 2, 1, 2, (4, 8, 8))
    batch = a_batch()
    for head_weights in (None, (3.0, 1.0)):
        loss = LossSpec(head_weights=head_weights)
        network, _, step = a_training(kind=kind, loss=loss)
        losses = torch.stack([build_loss(loss)(logits, batch[1]) for logits in network.all_logits(batch[0])])
        assert step(1, *batch) == pytest.approx(over_heads(losses, head_weights).item(), rel=1e-5)
        assert all(p.grad is not None and p.grad.any() for p in network.heads.parameters())


@pytest.mark.parametrize("preset", ["unet", "unetpp"])
def test_a_network_on_patches_has_the_heads_of_its_network(preset):
    """Patches had `all_logits` whatever their network had, and UNet++ on patches trained its last head alone."""
    kind = NetworkSpec(preset, 2, 1, 2, (4, 8, 8), {"patch": 2})
    network, _, step = a_training(kind=kind)
    step(1, *a_batch(16))
    assert all(p.grad is not None for p in network.parameters())


class Giving(torch.nn.Module):
    """What MONAI's networks give under deep supervision: a list, or the heads stacked behind the batch."""

    def __init__(self, give):
        super().__init__()
        self.layer, self.give = torch.nn.Conv2d(1, 2, 1), give

    def forward(self, x):
        return self.give(self.layer(x))


@pytest.mark.parametrize(
    ("give", "words"),
    [
        (lambda x: [x, x], "a list"),
        (lambda x: (x, x), "a tuple"),
        (lambda x: torch.stack([x, x], 1), r"a tensor \(4, 2, 2, 8, 8\)"),
        (lambda x: x[..., 2:-2, 2:-2], r"a tensor \(4, 2, 4, 4\)"),
    ],
)
def test_a_network_that_gives_something_else_in_training_is_refused(give, words):
    _, _, step = a_training(network=lambda: Giving(give))
    with pytest.raises(UsageError, match=words + r" in training and must give logits \(4, 2, 8, 8\)"):
        step(1, *a_batch())
    _, _, step = a_training(network=lambda: Giving(lambda x: x))
    assert step(1, *a_batch()) > 0


# What parts cannot do


def test_batch_normalisation_is_refused_in_parts_only():
    kind = NetworkSpec("UNet", 2, 1, 2, options={"channels": [4, 8], "strides": [2], "norm": "batch"})
    with pytest.raises(UsageError, match="normalises over the batch, which its 2 parts"):
        a_training(kind=kind, accumulate=2)
    _, _, step = a_training(kind=kind)
    assert step(1, *a_batch()) > 0
    kind = replace(kind, options={**kind.options, "norm": "instance"})
    assert a_training(kind=kind, accumulate=2)[2](1, *a_batch()) > 0


@pytest.mark.parametrize("accumulate", [0, 5])
def test_more_parts_than_patches_are_refused(accumulate):
    with pytest.raises(UsageError, match=f"accumulate must be 1 to batch.count .4., not {accumulate}"):
        a_spec(2, accumulate=accumulate)
    assert a_spec(2, accumulate=4).accumulate == 4
