"""The training: an Ignite engine around one step, with validation, checkpoints and an exact resume."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from medseg.backends.layout import lay_out_for_training
from medseg.backends.precision import choose_precision
from medseg.data.dataset import Batches, Sample
from medseg.domain.errors import UsageError
from medseg.domain.spec import from_plain, to_plain
from medseg.engines.ahead import has_idle_core, one_ahead
from medseg.engines.checkpoint import load_newest, save_checkpoint
from medseg.engines.distributed import count, count_here, from_first, rank
from medseg.engines.evaluator import score
from medseg.engines.learner import Learner, averaged
from medseg.engines.plan import TrainSpec
from medseg.engines.pretrained import start_from
from medseg.engines.steps import make_step
from medseg.io.files import sweep
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
    pretrained: Mapping[str, Tensor] | None = None,
) -> Trained:
    """Train as the spec says, going on from the newest whole checkpoint in the folder.

    A resumed training ends with the weights of an uninterrupted one, bit for bit on the same machine. Within
    `processes` every process calls this with the same arguments; together they do the steps of one process, up to the
    order of additions. The first alone reads and writes the folder and reports.
    pretrained: the weights that the spec says it starts from.
    Raises: UsageError if the folder holds a training of another spec or manifest.
    """
    state = from_first(lambda: _newest(folder, spec, manifest_sha256))
    torch.manual_seed(spec.seed)
    network = build_network(spec.network)
    start_from(network, pretrained or {})
    precision = choose_precision(spec.precision, device)
    lay_out_for_training(network.to(device), device, precision)
    average = averaged(network, spec.optimiser.ema)
    optimiser = torch.optim.AdamW(
        network.parameters(), spec.optimiser.rate, weight_decay=spec.optimiser.weight_decay, fused=True
    )  # fused: a pass over the weights in place of one for each of its operations
    learner = Learner(network, average, optimiser, torch.amp.GradScaler(device.type, enabled=precision == "fp16"))
    history: list[dict[str, Any]] = []
    losses: list[float] = []
    best: dict[str, Any] = {"score": -1.0, "step": 0, "weights": {}}
    done = 0
    if state is not None:
        learner.load_state_dict(state)
        history, best, done = state["history"], state["best"], state["step"]

    watched = _evenly(validation, spec.validation_cases)
    batches = Batches(training, spec.batch, spec.augment, spec.seed)
    step = make_step(learner, spec, device, precision)

    def share(number: int) -> tuple[Tensor, Tensor]:
        return batches(number, (rank(), count()))

    def tell(progress: Progress) -> None:
        if rank() == 0:
            report(progress)

    def after_step(engine: Engine) -> None:
        losses.append(engine.state.output)
        tell(Progress(engine.state.iteration, spec.steps, engine.state.output))

    def validate(engine: Engine) -> None:
        number = engine.state.iteration
        scores = score(average.module, watched, spec.window, device, precision, spec.score)
        mean = sum(scores) / len(scores)
        history.append({"step": number, "loss": sum(losses) / len(losses), "scores": scores})
        losses.clear()
        if mean > best["score"] or spec.keep == "last":
            weights = {name: value.detach().cpu().clone() for name, value in average.module.state_dict().items()}
            best.update(score=mean, step=number, weights=weights)
        identity = {"spec": to_plain(spec), "manifest": manifest_sha256}
        checkpoint = {"identity": identity, "step": number, **learner.state_dict(), "history": history, "best": best}
        from_first(lambda: save_checkpoint(checkpoint, number, folder))
        tell(Progress(number, spec.steps, history[-1]["loss"], tuple(scores)))
        if number == spec.steps or number - best["step"] >= spec.patience_epochs * spec.epoch_steps:
            engine.terminate()

    def ends_an_epoch(engine: Engine, number: int) -> bool:
        return number % spec.epoch_steps == 0 or number == spec.steps  # the last epoch may be short

    epochs = -(-spec.steps // spec.epoch_steps)
    stopped = done - best["step"] >= spec.patience_epochs * spec.epoch_steps
    if done < spec.steps and not stopped:
        ahead = one_ahead(share, spec.steps) if has_idle_core(device, count_here()) else nullcontext(share)
        with ahead as batch:

            def train(engine: Engine, _: None) -> float:
                images, targets = batch(engine.state.iteration)
                return step(engine.state.iteration, images.to(device), targets.to(device))

            trainer: Any = Engine(train)
            trainer.logger.setLevel(logging.CRITICAL)  # it tells of interruptions, which are the caller's to tell
            trainer.add_event_handler(Events.ITERATION_COMPLETED, after_step)
            trainer.add_event_handler(Events.ITERATION_COMPLETED(event_filter=ends_an_epoch), validate)
            if done:
                trainer.load_state_dict({"iteration": done, "epoch_length": spec.epoch_steps, "max_epochs": epochs})
            trainer.run(repeat(None), max_epochs=epochs, epoch_length=spec.epoch_steps)
    return Trained(best["weights"], best["step"], best["score"], tuple(history))


def _newest(folder: Path, spec: TrainSpec, manifest_sha256: str) -> dict[str, Any] | None:
    """The newest state of this training, whichever defaults its spec left unsaid."""
    sweep(folder)
    state = load_newest(folder)
    if state is None:
        return None
    identity = state["identity"]
    try:
        same = identity["manifest"] == manifest_sha256 and from_plain(TrainSpec, identity["spec"]) == spec
    except UsageError:  # a spec of another version
        same = False
    if not same:
        raise UsageError(f"{folder}: holds a training with other settings or data; choose another folder or delete it")
    return state


def _evenly(samples: Sequence[Sample], most: int) -> Sequence[Sample]:
    """At most so many of the samples, spread over their order."""
    return samples if len(samples) <= most else [samples[n * len(samples) // most] for n in range(most)]
