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
