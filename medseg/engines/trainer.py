"""The training: an Ignite engine around one step, with validation, checkpoints and an exact resume."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from medseg.data.dataset import Batches, Sample
from medseg.domain.errors import UsageError
from medseg.domain.spec import to_plain
from medseg.engines.checkpoint import load_newest, save_checkpoint
from medseg.engines.evaluator import score
from medseg.engines.plan import TrainSpec
from medseg.engines.steps import averaged, make_step
from medseg.io.files import sweep
from medseg.losses import build_loss
from medseg.networks.build import build_network


@dataclass(frozen=True)
class Progress:
    """Told after every step; `scores`, one for each class, only after a validation."""

    step: int
    steps: int
    loss: float
    scores: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Trained:
    """What a training ends with: the weights of the best validation, or the last, and how it went.

    history: one row for each validation: step, mean loss since the last one, scores.
    """

    weights: dict[str, Tensor]
    best_step: int
    best_score: float
    history: tuple[dict[str, Any], ...]


def fit(
    spec: TrainSpec,
    training: Sequence[Sample],
    validation: Sequence[Sample],
    folder: Path,
    manifest_sha256: str,
    device: torch.device,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Trained:
    """Train as the spec says, going on from the newest whole checkpoint in the folder.

    A resumed training ends with the weights of an uninterrupted one, bit for bit on the same machine.
    Raises: UsageError if the folder holds a training of another spec or manifest.
    """
    identity = {"spec": to_plain(spec), "manifest": manifest_sha256}
    sweep(folder)
    state = load_newest(folder)
    if state is not None and state["identity"] != identity:
        raise UsageError(f"{folder}: holds a training with other settings or data; choose another folder or delete it")

    torch.manual_seed(spec.seed)
    network = build_network(spec.network).to(device)
    average = averaged(network, spec.optimiser.ema)
    optimiser = torch.optim.AdamW(network.parameters(), spec.optimiser.rate, weight_decay=spec.optimiser.weight_decay)
    history: list[dict[str, Any]] = []
    losses: list[float] = []
    best: dict[str, Any] = {"score": -1.0, "step": 0, "weights": {}}
    done = 0
    if state is not None:
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        history, best, done = state["history"], state["best"], state["step"]

    watched = _evenly(validation, spec.validation_cases)
    batches = Batches(training, spec.batch, spec.augment, spec.seed)
    step = make_step(network, average, build_loss(spec.loss), optimiser, spec.optimiser, spec.steps, device)

    def train(engine: Engine, _: None) -> float:
        images, targets = batches(engine.state.iteration)
        return step(engine.state.iteration, images.to(device), targets.to(device))

    def after_step(engine: Engine) -> None:
        losses.append(engine.state.output)
        report(Progress(engine.state.iteration, spec.steps, engine.state.output))

    def validate(engine: Engine) -> None:
        number = engine.state.iteration
        scores = score(average.module, watched, spec.window, device, spec.score)
        mean = sum(scores) / len(scores)
        history.append({"step": number, "loss": sum(losses) / len(losses), "scores": scores})
        losses.clear()
        if mean > best["score"] or spec.keep == "last":
            weights = {name: value.detach().cpu().clone() for name, value in average.module.state_dict().items()}
            best.update(score=mean, step=number, weights=weights)
        save_checkpoint(
            {
                "identity": identity,
                "step": number,
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "history": history,
                "best": best,
            },
            number,
            folder,
        )
        report(Progress(number, spec.steps, history[-1]["loss"], tuple(scores)))
        if number == spec.steps or number - best["step"] >= spec.patience_epochs * spec.epoch_steps:
            engine.terminate()

    def ends_an_epoch(engine: Engine, number: int) -> bool:
        return number % spec.epoch_steps == 0 or number == spec.steps  # the last epoch may be short

    epochs = -(-spec.steps // spec.epoch_steps)
    stopped = done - best["step"] >= spec.patience_epochs * spec.epoch_steps
    if done < spec.steps and not stopped:
        trainer: Any = Engine(train)
        trainer.logger.setLevel(logging.CRITICAL)  # it tells of interruptions, which are the caller's to tell
        trainer.add_event_handler(Events.ITERATION_COMPLETED, after_step)
        trainer.add_event_handler(Events.ITERATION_COMPLETED(event_filter=ends_an_epoch), validate)
        if done:
            trainer.load_state_dict({"iteration": done, "epoch_length": spec.epoch_steps, "max_epochs": epochs})
        trainer.run(repeat(None), max_epochs=epochs, epoch_length=spec.epoch_steps)
    return Trained(best["weights"], best["step"], best["score"], tuple(history))


def _evenly(samples: Sequence[Sample], most: int) -> Sequence[Sample]:
    """At most so many of the samples, spread over their order."""
    return samples if len(samples) <= most else [samples[n * len(samples) // most] for n in range(most)]
