"""One backend on one window: how long it takes, and whether it says what torch says in fp32."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from medseg.backends.agreement import LEAST_LABELS, MOST_DIFFERENCE, Agreement, agreement
from medseg.backends.batches import Network
from medseg.backends.gap import BackendError
from medseg.backends.precision import Precision
from medseg.backends.trials import Trial

_LONG_S = 0.5


def tried(
    name: str,
    build: Callable[[], Network],
    windows: Tensor,
    exact: Tensor,
    logits: Callable[[Tensor], Tensor],
    precision: Precision,
    clock: Callable[[], float],
    twice: bool,
) -> tuple[Trial, Network]:
    """What was measured, and the network as it was built; a trial with a gap where the logits are too far off.

    windows: (B, C, *S), a batch as it comes; exact: its logits by torch in fp32; logits: of what the backend answers.
    twice:  the backend keeps what it compiled, so the start that counts is the second one.
    Raises: BackendError where it does not run at all.
    """
    for _ in range(1 + twice):
        started = clock()
        run = build()
        answer = _answer(name, run, windows)
        start_s = clock() - started
    found = agreement(logits(answer), exact)
    trial = Trial(start_s, _seconds(run, windows, clock), found)
    return (trial if found.suffices(precision) else Trial(gap=_too_far(name, found, precision))), run


def _answer(name: str, run: Network, windows: Tensor) -> Tensor:
    """The logits. Raises: BackendError for whatever a backend raises; what eager raises is the network's own."""
    try:
        return run(windows)
    except Exception as error:  # compilers raise anything
        if name == "eager" or isinstance(error, BackendError):
            raise
        raise BackendError(does_not_run(name, error)) from error


def does_not_run(name: str, error: Exception) -> str:
    """A refusal as one line."""
    reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return f"--backend {name}: does not run this network ({reason[:200]}); give --backend eager"


def _seconds(run: Network, windows: Tensor, clock: Callable[[], float]) -> float:
    """For a window, by the least of up to three passes within half a second."""
    taken: list[float] = []
    while len(taken) < 3 and sum(taken) < _LONG_S:
        started = clock()
        run(windows)
        taken.append(clock() - started)
    return min(taken) / len(windows)


def _too_far(name: str, found: Agreement, precision: Precision) -> str:
    return (
        f"--backend {name}: in {precision} {found.labels:.2%} of the labels of some windows are those of fp32 and "
        f"logits differ by {found.difference:.2g} of the greatest; at least {LEAST_LABELS:.1%} must"
        + (f", and at most {MOST_DIFFERENCE:g}" if precision == "fp32" else "")
        + "; give --backend eager --precision fp32"
    )
