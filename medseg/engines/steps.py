"""One optimiser step, and the precision it runs in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from medseg.backends.precision import autocast, choose_precision
from medseg.domain.errors import UsageError
from medseg.engines.plan import OptimiserSpec
from medseg.losses import deep_supervision
from medseg.networks.unetpp import UNetPP


def learning_rate(spec: OptimiserSpec, step: int, steps: int) -> float:
    """The rate of step 1..steps: a linear rise times the fall (1 - (step - 1) / steps) ** 0.9; never 0."""
    rise = min(step / max(spec.warmup_steps, 1), 1.0)
    return spec.rate * rise * (1 - (step - 1) / steps) ** 0.9


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """A moving average of the weights; it starts fast, so that short trainings are not held back by their start."""

    def update(average: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        n = float(count)
        torch._foreach_lerp_(list(average), list(current), 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(network, multi_avg_fn=update)


def make_step(
    network: nn.Module,
    average: AveragedModel,
    loss: nn.Module,
    optimiser: torch.optim.Optimizer,
    spec: OptimiserSpec,
    steps: int,
    device: torch.device,
) -> Callable[[int, Tensor, Tensor], float]:
    """The function (step 1..steps, images, targets) -> loss that trains the network by one batch.

    Raises: UsageError if the loss is not finite: going on would only spoil the weights.
    """
    precision = choose_precision("auto", device)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def step(number: int, images: Tensor, targets: Tensor) -> float:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(spec, number, steps)
        network.train()
        with autocast(device, precision):
            heads = network.all_logits(images) if isinstance(network, UNetPP) else [network(images)]
        value = deep_supervision(loss, heads, targets)
        if not torch.isfinite(value):
            raise UsageError(
                f"the loss is {value.item()} at step {number}; train anew with a lower optimiser.rate in --plan"
            )
        optimiser.zero_grad(set_to_none=True)
        scaler.scale(value).backward()
        scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(network.parameters(), spec.clip_norm)
        scaler.step(optimiser)
        scaler.update()
        average.update_parameters(network)
        return float(value.detach())

    return step
