"""What was measured of backends with one network on this machine, kept as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.backends.agreement import Agreement
from medseg.backends.cache import read_entry, write_entry

ENDING = "json"


@dataclass(frozen=True)
class Trial:
    """Of one backend.

    start_s:   until its first answer, from its cache where it has one.
    window_s:  for each window after that.
    agreement: with torch in fp32; None where it did not run.
    gap:       why it cannot be used; empty where it can.
    """

    start_s: float = 0.0
    window_s: float = math.inf
    agreement: Agreement | None = None
    gap: str = ""

    def total_s(self, windows: int) -> float:
        """For so many windows, infinite where it cannot be used."""
        return math.inf if self.gap else self.start_s + windows * self.window_s


def read_trials(folder: Path | None, key: str) -> dict[str, Trial]:
    """By backend; nothing where nothing was kept, or something else than `write_trials` writes."""
    content = read_entry(folder, key, ENDING)
    if content is None:
        return {}
    try:
        return {str(name): _trial(value) for name, value in json.loads(content).items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def write_trials(folder: Path | None, key: str, trials: Mapping[str, Trial]) -> None:
    """Keep them, if that is possible."""
    plain = {
        name: {"gap": trial.gap}
        if trial.agreement is None or trial.gap
        else {
            "start_s": trial.start_s,
            "window_s": trial.window_s,
            "labels": trial.agreement.labels,
            "difference": trial.agreement.difference,
        }
        for name, trial in trials.items()
    }
    write_entry(folder, key, ENDING, json.dumps(plain, indent=1).encode())


def _trial(value: Any) -> Trial:
    if set(value) == {"gap"} and isinstance(value["gap"], str) and value["gap"]:
        return Trial(gap=value["gap"])
    numbers = [value[name] for name in ("start_s", "window_s", "labels", "difference")]
    if len(value) != len(numbers) or any(type(n) not in (int, float) or not 0 <= n < math.inf for n in numbers):
        raise ValueError("no trial")
    start_s, window_s, labels, difference = map(float, numbers)
    return Trial(start_s, window_s, Agreement(labels, difference))
