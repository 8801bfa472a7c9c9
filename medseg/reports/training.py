"""The page of one training: how it went, what it was planned to be, and what it came to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from medseg.reports.line_plot import Curve, draw_curves
from medseg.reports.pages import Section, Table, Tile, write_page
from medseg.reports.scores import Scores, box_plots, failure_section, first_look, score_table, worst_section


@dataclass(frozen=True)
class Course:
    """How a training went.

    history:     rows {"step", "loss", "scores"}, one for each validation, as `curve.write_curve` takes them.
    class_names: of the scores.
    score:       what they are: "dice" or "iou".
    best_step:   whose weights were packed, and their mean score.
    keep:        why theirs: they were the "best" of the validation cases, or the "last".
    rates:       (step, learning rate) by rising step.
    seconds:     of steps, validations left out; empty where nobody looked at the clock.
    """

    history: Sequence[Mapping[str, Any]]
    class_names: tuple[str, ...]
    score: str
    best_step: int
    best_score: float
    keep: str = "best"
    rates: tuple[tuple[float, float], ...] = ()
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Planned:
    """The plan as plain data, and why it is as it is: the dotted name of a setting, or of what holds it -> a reason."""

    settings: Mapping[str, Any]
    reasons: Mapping[str, str] = field(default_factory=dict)


def write_training(
    path: Path, title: str, course: Course, planned: Planned, scores: Scores, facts: Mapping[str, str]
) -> None:
    """The page; the pictures of the scores lie below its folder already.

    Raises: OutputError or ResourceError as `whole_file`.
    """
    write_page(path, title, training_sections(course, planned, scores, facts))


def training_sections(
    course: Course, planned: Planned, scores: Scores, facts: Mapping[str, str]
) -> tuple[Section, ...]:
    """scores: of the packed weights on the validation cases, the whole way of `segment`."""
    note = "The packed weights on the validation cases, each the whole way of medseg segment. "
    note += (
        "These cases picked the weights, so they flatter; the test cases are for medseg evaluate."
        if course.keep == "best"
        else "The weights are the last ones: these cases picked nothing."
    )
    return (
        _first_look(course),
        _curves(course),
        first_look(scores, "The packed weights", (note,)),
        score_table(scores),
        box_plots(scores),
        worst_section(scores),
        failure_section(scores),
        _plan(planned),
        Section("Where it comes from", table=Table(("", ""), tuple(facts.items()))),
    )


def _first_look(course: Course) -> Section:
    last = course.history[-1]["step"] if course.history else 0
    tiles = [
        Tile(f"{course.keep} mean {course.score}", f"{course.best_score:.3f}", f"at step {course.best_step}"),
        Tile("steps", str(last), f"{len(course.history)} validations"),
    ]
    if course.seconds:
        spread = f"median of {len(course.seconds)} steps\nslowest tenth from {_tenth(course.seconds):.3f} s"
        tiles.append(Tile("time per step", f"{median(course.seconds):.3f} s", spread))
    return Section("At a glance", tiles=tuple(tiles))


def _tenth(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(0.9 * (len(seconds) - 1))]


def _curves(course: Course) -> Section:
    best = float(course.best_step) if course.best_step else None
    losses = tuple((row["step"], float(row["loss"])) for row in course.history)
    drawings = [draw_curves("loss", [Curve("loss", losses)], best)]
    scores = [
        Curve(name, tuple((row["step"], _number(row["scores"][n])) for row in course.history))
        for n, name in enumerate(course.class_names)
    ]
    drawings.append(draw_curves(f"validation {course.score} by class", scores, best, share=True))
    if course.rates:
        drawings.append(draw_curves("learning rate", [Curve("learning rate", course.rates)], best))
    text = (
        "The loss is the mean since the last validation; scores are those of the moving average of the weights on the "
        "network's own grid. The dashed line is the step whose weights were packed."
    )
    return Section("The course", (text,), drawings=tuple(drawings))


def _plan(planned: Planned) -> Section:
    rows = tuple((name, told, _reason(name, planned.reasons)) for name, told in flat(planned.settings).items())
    text = "Every line can be changed in plan.json and given back with --plan."
    if not any(reason for *_, reason in rows):
        return Section("The plan", (text,), Table(("setting", "value"), tuple(row[:2] for row in rows)))
    return Section("The plan", (text,), Table(("setting", "value", "why"), rows))


def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested settings as one line each.

    >>> flat({"batch": {"size": [16, 16], "count": 4}, "seed": 0})
    {'batch.size': '16 x 16', 'batch.count': '4', 'seed': '0'}
    """
    lines: dict[str, str] = {}
    for key, held in settings.items():
        if isinstance(held, Mapping):
            lines |= flat(held, f"{before}{key}.")
        else:
            lines[before + key] = " x ".join(map(str, held)) if isinstance(held, (list, tuple)) else str(held)
    return lines


def _reason(name: str, reasons: Mapping[str, str]) -> str:
    """That of the setting itself, or of the nearest thing that holds it."""
    while name:
        if name in reasons:
            return reasons[name]
        name = name.rpartition(".")[0]
    return ""


def _number(score: Any) -> float:
    return math.nan if score is None else float(score)
