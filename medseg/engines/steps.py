"""One optimiser step on a batch, or on a process's share of it, and the precision it runs in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from medseg.backends.precision import Precision, autocast
from medseg.domain.errors import UsageError
from medseg.engines.distributed import add_up, add_up_gradients, count, rank
from medseg.engines.learner import Learner
from medseg.engines.plan import OptimiserSpec, TrainSpec
from medseg.losses import build_loss, over_heads


def learning_rate(spec: OptimiserSpec, step: int, steps: int) -> float:
    """The rate of step 1..steps: a linear rise times the fall (1 - (step - 1) / steps) ** 0.9; never 0."""
    rise = min(step / max(spec.warmup_steps, 1), 1.0)
    return spec.rate * rise * (1 - (step - 1) / steps) ** 0.9


def make_step(
    learner: Learner, spec: TrainSpec, device: torch.device, precision: Precision
) -> Callable[[int, Tensor, Tensor], float]:
    """The function (step 1..spec.steps, images, targets) -> loss that trains the network by one batch.

    The loss is a function of sums over the voxels of the whole batch. Its slope in each sum is known once all parts
    of the batch have been through the network, and the gradient is then added up part by part: over the parts of
    this process, of which all but the last go through the network again, and over all processes. So the step is that
    of the whole batch on one process, up to the order of additions.

    Raises: UsageError if the loss is not finite: going on would only spoil the weights; if the network cannot be
    trained in parts, or gives no logits of the size of its input.
    """
    network, optimiser, scaler = learner.network, learner.optimiser, learner.scaler
    loss = build_loss(spec.loss)
    _require_parts(network, spec)

    def sums(number: int, part: int, images: Tensor, targets: Tensor) -> Tensor:
        """(H, n) sums of the H heads; what the network draws depends on the seed, the step and the part alone."""
        draw = (spec.seed * 1_000_003 + number) * 65_537 + rank() * spec.accumulate + part
        torch.manual_seed(draw % 2**63)
        with autocast(device, precision):
            heads = all_logits(network, images)
        return torch.stack([loss.sums(_fitting(logits, targets, spec), targets) for logits in heads])

    def step(number: int, images: Tensor, targets: Tensor) -> float:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(spec.optimiser, number, spec.steps)
        network.train()
        parts = zip(images.tensor_split(spec.accumulate), targets.tensor_split(spec.accumulate), strict=True)
        *others, last = [(number, k, *part) for k, part in enumerate(parts)]
        with torch.no_grad():
            known = [sums(*part) for part in others]
        held = sums(*last)
        total = add_up(torch.stack([*known, held.detach()]).sum(0)).requires_grad_()
        value = over_heads(loss.value(total), spec.loss.head_weights)
        if not torch.isfinite(value):
            raise UsageError(
                f"the loss is {value.item()} at step {number}; train anew with a lower optimiser.rate in --plan"
            )
        slope = scaler.scale(torch.autograd.grad(value, total)[0])
        optimiser.zero_grad(set_to_none=True)
        held.backward(slope)
        for part in others:
            sums(*part).backward(slope)
        add_up_gradients(network.parameters())
        scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(network.parameters(), spec.optimiser.clip_norm)
        scaler.step(optimiser)
        scaler.update()
        learner.average.update_parameters(network)
        return float(value.detach())

    return step


def all_logits(network: Any, images: Tensor) -> list[Any]:
    """The logits of every head, shallowest first: of networks with one head, that one."""
    return network.all_logits(images) if hasattr(network, "all_logits") else [network(images)]


def _fitting(logits: Any, targets: Tensor, spec: TrainSpec) -> Tensor:
    """The logits (B, K, *S) for targets (B, *S), and nothing else."""
    wanted = (len(targets), spec.network.out_channels, *targets.shape[1:])
    if isinstance(logits, Tensor) and logits.shape == wanted:
        return logits
    given = f"a tensor {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
    raise UsageError(
        f"network {spec.network.preset} gives {given} in training and must give logits {wanted}; switch off what else "
        "it returns in network.options"
    )


def _require_parts(network: nn.Module, spec: TrainSpec) -> None:
    parts = count() * spec.accumulate
    if spec.batch.count // count() < spec.accumulate:
        raise UsageError(
            f"batch.count: {spec.batch.count} patches do not go round {count()} processes with {spec.accumulate} "
            "parts each; start fewer processes or give more patches"
        )
    if parts > 1 and any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        raise UsageError(
            f"network {spec.network.preset} normalises over the batch, which its {parts} parts would each do for "
            'themselves; give another norm in network.options ("instance"), or train on one process, accumulate 1'
        )
