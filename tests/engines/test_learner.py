from copy import deepcopy

import pytest
import torch

from medseg.engines.learner import Learner, averaged


def a_learner(fp16=True):
    network = torch.nn.Linear(2, 1)
    optimiser = torch.optim.AdamW(network.parameters())
    return Learner(network, averaged(network, 0.9), optimiser, torch.amp.GradScaler("cpu", enabled=fp16))


def a_step(learner, factor=1.0):
    learner.optimiser.zero_grad()
    learner.scaler.scale(learner.network(torch.ones(1, 2)).sum() * factor).backward()
    learner.scaler.step(learner.optimiser)
    learner.scaler.update()
    learner.average.update_parameters(learner.network)


def test_a_learner_goes_on_from_its_state():
    """The scale of fp16 gradients was not kept, so that a resumed training began again at 65536."""
    first, second = a_learner(), a_learner()
    a_step(first)
    a_step(first, torch.inf)  # overflows: the step is skipped and the scale halved
    assert first.scaler.get_scale() == 65536 / 2
    second.load_state_dict({"other": 1, **first.state_dict()})
    assert second.scaler.get_scale() == 65536 / 2
    for learner in (first, second):
        a_step(learner)
    for part in ("network", "average"):
        pairs = zip(getattr(first, part).parameters(), getattr(second, part).parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_a_state_without_a_scale_is_of_a_training_that_had_none():
    """Checkpoints of before hold no scaler, and those of fp32 hold an empty one."""
    learner = a_learner(fp16=False)
    a_step(learner)
    state = learner.state_dict()
    assert state["scaler"] == {}
    del state["scaler"]
    a_learner(fp16=False).load_state_dict(state)
    fp16 = a_learner()
    fp16.load_state_dict(state)
    assert fp16.scaler.get_scale() == 65536


def a_convolution(order, fused=True):
    torch.manual_seed(0)
    network = torch.nn.Conv3d(4, 4, 3).to(memory_format=order)
    optimiser = torch.optim.AdamW(network.parameters(), 0.01, fused=fused)
    return Learner(network, averaged(network, 0.9), optimiser, torch.amp.GradScaler("cpu", enabled=False))


def some_steps(learner, numbers):
    for n in numbers:
        image = torch.randn(2, 4, 5, 5, 5, generator=torch.Generator().manual_seed(n))
        learner.optimiser.zero_grad()
        learner.network(image).square().mean().backward()
        learner.optimiser.step()
    return learner.network.state_dict()


@pytest.mark.parametrize("before", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("after", [torch.contiguous_format, torch.channels_last_3d])
def test_the_memory_order_of_a_checkpoint_does_not_matter(before, after):
    """Fused steps read moments in the order of the weights; those of a checkpoint in another order were scrambled."""
    stopped, other = a_convolution(before), a_convolution(after)
    some_steps(stopped, range(3))
    other.load_state_dict(deepcopy(stopped.state_dict()))
    torch.testing.assert_close(some_steps(other, range(3, 6)), some_steps(stopped, range(3, 6)))


def test_a_checkpoint_of_unfused_steps_goes_on_fused():
    stopped, other = (a_convolution(torch.contiguous_format, fused) for fused in (None, True))
    some_steps(stopped, range(3))
    other.load_state_dict(deepcopy(stopped.state_dict()))
    assert [group["fused"] for group in other.optimiser.param_groups] == [True]
    torch.testing.assert_close(some_steps(other, range(3, 6)), some_steps(stopped, range(3, 6)))
