"""Which backend for so many windows: a rule on what was measured once."""

from __future__ import annotations

from collections.abc import Mapping

from medseg.backends.trials import Trial

FEW_WINDOWS = 32
_SHARE = 3  # a start may take the third part of what eager would take for all windows
_MARGIN = 0.9  # what eager's time must be beaten by, so that noise does not decide
ASSUMED_START_S = {"openvino": 10.0, "onnxruntime": 30.0, "compile": 200.0}
CANDIDATES = {"cpu": ("openvino", "onnxruntime", "compile"), "cuda": ("compile",)}


def worth_trying(windows: int, eager_s: float, device_type: str) -> tuple[str, ...]:
    """The backends whose start, by the seconds assumed above, may pay back; none for few windows.

    eager_s: what eager takes for a window.
    """
    if windows <= FEW_WINDOWS:
        return ()
    names = CANDIDATES.get(device_type, ())
    return tuple(name for name in names if ASSUMED_START_S[name] * _SHARE <= windows * eager_s)


def pick(windows: int, trials: Mapping[str, Trial], names: tuple[str, ...]) -> str:
    """The one of these that is done first, or eager where none takes a tenth less time.

    Follows from the number of windows and what was measured alone: measured once, it stays the same.
    """
    best = min(names, key=lambda name: trials[name].total_s(windows), default="eager")
    if best == "eager" or trials[best].total_s(windows) > _MARGIN * trials["eager"].total_s(windows):
        return "eager"
    return best
