"""The network behind `--backend`: what runs it is settled at its first window."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from medseg.backends.at_depth import at_depth
from medseg.backends.batches import Network
from medseg.backends.cache import cache_folder
from medseg.backends.choose import FEW_WINDOWS, pick, worth_trying
from medseg.backends.compiled import compiled
from medseg.backends.eager import eager
from medseg.backends.fingerprint import entry_key, network_digest
from medseg.backends.gap import BackendError
from medseg.backends.onnxruntime import onnxruntime_backend
from medseg.backends.openvino import openvino_backend
from medseg.backends.precision import Precision
from medseg.backends.trials import Trial, read_trials, write_trials
from medseg.backends.trying import does_not_run, tried
from medseg.domain.errors import UsageError
from medseg.domain.report import BackendChoice

Name = Literal["auto", "eager", "compile", "openvino", "onnxruntime"]
NAMES: tuple[Name, ...] = get_args(Name)
Build = Callable[[nn.Module, Sequence[int], Precision, torch.device, Path | None], Network]
BUILDS: dict[str, Build] = {
    "compile": compiled,
    "openvino": openvino_backend,
    "onnxruntime": onnxruntime_backend,
}
_STARTS_FROM_CACHE = ("openvino", "onnxruntime")


def backend_name(text: str) -> Name:
    """Raises: UsageError for a name that is none."""
    for name in NAMES:
        if name == text:
            return name
    raise UsageError(f"--backend {text}: give {', '.join(NAMES[:-1])} or {NAMES[-1]}")


def _tell_nobody(choice: BackendChoice) -> None:
    pass


@dataclass(frozen=True)
class Asked:
    """What a user asks of backends.

    cases:     about as many images as the first one will come, so that a start pays back over all of them.
    on_choice: told what was chosen, at the first window.
    """

    name: Name = "eager"
    cases: int = 1
    on_choice: Callable[[BackendChoice], None] = _tell_nobody


EAGER = Asked()


class Backend:
    """(B, C, *S) -> (B, K, *S), by what was asked for, or for "auto" by what suits the number of windows to come.

    The choice falls at the first window that is not constant, whose labels must agree with those of torch in fp32,
    and stays. What it follows from is kept in the user's cache: measured once for a network, precision and machine.

    depth: of a UNet++, the head that answers.
    batch: windows to a pass; on CPUs compiled networks take one at a time, so that they are compiled once for all.
    passes: of each window, where its mirror images are asked too.
    head:  what makes logits of the answers (in fp32), if they are features; labels are compared after it.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        precision: Precision,
        depth: int | None = None,
        asked: Asked = EAGER,
        batch: int = 1,
        passes: int = 1,
        head: nn.Module | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self.choice: BackendChoice | None = None
        self._module = at_depth(network, depth).to(device).eval()
        self._device, self._precision, self._asked, self._clock = device, precision, asked, clock
        self._batch = batch
        self._passes = passes
        self._head = None if head is None else head.to(device).eval()
        self._eager = eager(self._module, device, precision)
        self._run: Network | None = None
        self._windows = 1
        if asked.name == "eager":
            self._settle_on("eager", "asked for", {}, self._eager)

    def expect(self, windows: int) -> None:
        """Before the first window: so many come for the first image."""
        self._windows = max(windows, 1) * self._asked.cases * self._passes

    def like(self, network: nn.Module, depth: int | None) -> Backend:
        """Another network, asked for in the same way; nobody is told of its choice."""
        asked = replace(self._asked, on_choice=_tell_nobody)
        return Backend(
            network, self._device, self._precision, depth, asked, self._batch, self._passes, clock=self._clock
        )

    def __call__(self, windows: Tensor) -> Tensor:
        """The logits on the device. Raises: BackendError where what was asked for cannot be had."""
        if self._run is None:
            varied = windows.flatten(1).std(1) > 0
            if not varied.any():
                return self._eager(windows)
            self._settle(windows[varied])
        assert self._run is not None
        return self._run(windows)

    def _settle(self, windows: Tensor) -> None:
        if self._asked.name != "auto":
            self._settle_as_asked(self._asked.name, windows)
        elif self._precision == "fp32" and self._windows <= FEW_WINDOWS:
            self._settle_on("eager", "so few do not pay for the start of another", {}, self._eager)
        else:
            self._settle_by_trials(windows)

    def _settle_as_asked(self, name: str, windows: Tensor) -> None:
        folder, key, trials = self._remembered(windows)
        if name in trials and not trials[name].gap:
            run = self._built(name, windows, folder)
        else:
            trials[name], run = self._tried(name, windows, folder)
            write_trials(folder, key, trials)
        if trials[name].gap:
            raise BackendError(trials[name].gap)
        self._settle_on(name, "asked for", trials, run)

    def _settle_by_trials(self, windows: Tensor) -> None:
        folder, key, trials = self._remembered(windows)
        runs: dict[str, Network] = {"eager": self._eager}
        if "eager" not in trials:
            trials["eager"], _ = self._tried("eager", windows, folder)
            write_trials(folder, key, trials)
        if trials["eager"].gap:
            self._settle_on("eager", trials["eager"].gap, trials, self._exact(), "fp32")
            return
        names: list[str] = []
        known = [name for name, trial in trials.items() if name != "eager" and not trial.gap]
        worth = worth_trying(self._windows, trials["eager"].window_s, self._device.type)
        for name in dict.fromkeys((*known, *worth)):
            try:
                if name not in trials:
                    trials[name], runs[name] = self._tried(name, windows, folder)
                    write_trials(folder, key, trials)
                names.append(name)
            except BackendError as error:  # not kept: what is missing today may be there tomorrow
                trials[name] = Trial(gap=str(error))
        best = pick(self._windows, trials, tuple(names))
        try:
            run = runs[best] if best in runs else self._built(best, windows, folder)
        except BackendError as error:
            self._settle_on("eager", str(error), trials, self._eager)
            return
        others = [name for name in names if not trials[name].gap]
        reason = "the least time for so many" if best != "eager" or others else "others would not pay for their start"
        self._settle_on(best, reason, trials, run)

    def _remembered(self, windows: Tensor) -> tuple[Path | None, str, dict[str, Trial]]:
        folder = cache_folder()
        shape = (self._batch, *windows.shape[1:])
        key = entry_key(network_digest(self._module), shape, self._precision, self._device)
        return folder, key, read_trials(folder, key)

    def _tried(self, name: str, windows: Tensor, folder: Path | None) -> tuple[Trial, Network]:
        twice = name in _STARTS_FROM_CACHE and folder is not None
        build = partial(self._built, name, windows, folder)
        exact = self._logits(self._exact()(windows))
        return tried(name, build, windows, exact, self._logits, self._precision, self._clock, twice)

    def _logits(self, answer: Tensor) -> Tensor:
        if self._head is None:
            return answer
        with torch.inference_mode():
            return self._head(answer.float())

    def _built(self, name: str, windows: Tensor, folder: Path | None) -> Network:
        if name == "eager":
            return self._eager
        try:
            with torch.inference_mode(False):  # what is made in it cannot be used outside
                return BUILDS[name](self._module, self._shape(windows), self._precision, self._device, folder)
        except BackendError:
            raise
        except Exception as error:  # compilers raise anything
            raise BackendError(does_not_run(name, error)) from error

    def _shape(self, windows: Tensor) -> tuple[int, ...]:
        return (self._batch if self._device.type == "cuda" else 1, *windows.shape[1:])

    def _exact(self) -> Network:
        return self._eager if self._precision == "fp32" else eager(self._module, self._device, "fp32")

    def _settle_on(
        self, name: str, reason: str, trials: dict[str, Trial], run: Network, precision: Precision | None = None
    ) -> None:
        self._run = run
        ran = {name: trial for name, trial in trials.items() if trial.agreement is not None}
        self.choice = BackendChoice(
            name,
            precision or self._precision,
            reason,
            self._windows,
            {name: round(trial.window_s, 4) for name, trial in ran.items()},
            {name: round(trial.start_s, 2) for name, trial in ran.items()},
            {name: round(trial.agreement.labels, 6) for name, trial in ran.items() if trial.agreement},
            {name: trial.gap for name, trial in trials.items() if trial.gap},
        )
        if self._asked.name != "eager":
            self._asked.on_choice(self.choice)
