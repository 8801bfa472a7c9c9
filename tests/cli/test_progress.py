"""A log without a terminal hears of a training once a minute, and of each validation."""

import itertools

from medseg.cli import progress
from medseg.engines.trainer import Progress


def test_a_log_is_told_once_a_minute(monkeypatch, capsys):
    """Nothing was said until the first validation, which may be hours away."""
    clock = itertools.count(0, 25)  # seconds at each look
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with progress.training(8, ("liver",), quiet=False) as report:
        for step in range(1, 8):
            report(Progress(step, 8, 0.5))
        report(Progress(8, 8, 0.25, (0.75,)))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 3/8", "step 6/8", "step 8/8"]
    assert lines[0].endswith("loss 0.5000  3 min left")
    assert lines[-1].endswith("loss 0.2500  liver 0.7500  0 min left")


def test_quiet_says_nothing(monkeypatch, capsys):
    clock = itertools.count(0, 100)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with progress.training(2, ("liver",), quiet=True) as report:
        report(Progress(1, 2, 0.5))
        report(Progress(2, 2, 0.5, (0.75,)))
    assert capsys.readouterr().err == ""


def test_a_training_that_goes_on_says_from_where(capsys):
    with progress.training(9, ("liver",), quiet=False) as report:
        report(Progress(5, 9, 0.5))
        report(Progress(6, 9, 0.5))
    assert capsys.readouterr().err.splitlines() == ["going on from step 4"]
