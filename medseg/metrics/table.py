"""Scores of many cases, and what they come to: means with intervals, over all, by label and by kind."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_RESAMPLES = 1000
_LEAST_CASES = 3


@dataclass(frozen=True)
class Interval:
    """A mean over cases and its 95 % interval.

    counted:   cases with a finite value; only they are in the mean, which is NaN where there are none.
    undefined: cases whose value is NaN or infinite (a surface distance to nothing).
    """

    mean: float
    low: float
    high: float
    counted: int
    undefined: int

    def __str__(self) -> str:
        """As in a table: `0.892 (0.880–0.901)`, and `, 3 undefined` if there are."""
        doubt = f", {self.undefined} undefined" if self.undefined else ""
        return f"{self.mean:.3f} ({self.span}){doubt}" if self.counted else f"–{doubt}"

    @property
    def span(self) -> str:
        """As in a table: `0.880–0.901`, or `–` where too few cases tell none."""
        return f"{self.low:.3f}–{self.high:.3f}" if self.low <= self.high else "–"


def mean_with_interval(values: Sequence[float], seed: int) -> Interval:
    """The mean of one value a case, and how far chance in the choice of cases moves it.

    The interval runs from the 2.5th to the 97.5th percentile of the means of 1000 resamples, cases drawn with
    replacement; the same seed gives the same interval. Fewer than three cases have none: its ends are NaN.

    Empty:  NaN, with nothing counted.
    Source: Efron 1979, doi:10.1214/aos/1176344552 (percentile bootstrap).

    >>> mean_with_interval([0.5, 0.5, 0.5, math.inf], seed=0)
    Interval(mean=0.5, low=0.5, high=0.5, counted=3, undefined=1)
    >>> str(mean_with_interval([0.5], seed=0))
    '0.500 (–)'
    """
    given = np.asarray(values, dtype=np.float64)
    finite = given[np.isfinite(given)]
    undefined = len(given) - len(finite)
    if not len(finite):
        return Interval(math.nan, math.nan, math.nan, 0, undefined)
    if len(finite) < _LEAST_CASES:
        return Interval(float(finite.mean()), math.nan, math.nan, len(finite), undefined)
    draws = np.random.default_rng(seed).integers(0, len(finite), (_RESAMPLES, len(finite)))
    low, high = np.percentile(finite[draws].mean(axis=1), (2.5, 97.5))
    return Interval(float(finite.mean()), float(low), float(high), len(finite), undefined)


@dataclass(frozen=True)
class Row:
    """The scores of one label in one case.

    kind:   the case's subset ("fluo", "glioma"), empty where there is none.
    scores: metric -> value; NaN and infinity where the metric is undefined.
    """

    case: str
    kind: str
    label: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Refused:
    """A case that has no scores, and why: it stands in no mean, and in every table."""

    case: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Group:
    """Some of the cases (all, or a kind), under one label or all; and a summary for each metric."""

    name: str
    cases: int
    summaries: Mapping[str, Interval]


@dataclass(frozen=True)
class ScoreTable:
    """One row for each case and label, all with the same metrics.

    The score of a case over all labels is the plain mean of its labels' scores, undefined where one of them is; so
    every interval is over cases, whose labels belong together.

    refused: cases without rows; each way to write the table names them.
    """

    rows: tuple[Row, ...]
    seed: int = 0
    refused: tuple[Refused, ...] = ()

    def __post_init__(self) -> None:
        places = [(row.case, row.label) for row in self.rows]
        assert len(set(places)) == len(places), "a case and label stands in two rows"
        assert len({tuple(row.scores) for row in self.rows}) <= 1, "rows with other metrics"
        assert not {row.case for row in self.rows} & {refused.case for refused in self.refused}, "refused, yet scored"

    @property
    def metrics(self) -> tuple[str, ...]:
        """In the order of the rows' scores."""
        return tuple(self.rows[0].scores) if self.rows else ()

    @property
    def parts(self) -> tuple[tuple[str, tuple[Row, ...]], ...]:
        """All rows, first; then those of each label, if there are several; then of each kind, if there are any."""
        labels = tuple(dict.fromkeys(row.label for row in self.rows))
        kinds = sorted({row.kind for row in self.rows if row.kind})
        return (
            ("all", self.rows),
            *((x, tuple(r for r in self.rows if r.label == x)) for x in labels if len(labels) > 1),
            *((x, tuple(r for r in self.rows if r.kind == x)) for x in kinds),
        )

    @property
    def groups(self) -> tuple[Group, ...]:
        """The parts, summarised."""
        return tuple(self._group(name, rows) for name, rows in self.parts)

    def _group(self, name: str, rows: Sequence[Row]) -> Group:
        summaries = {m: mean_with_interval(list(case_means(rows, m).values()), self.seed) for m in self.metrics}
        return Group(name, len({row.case for row in rows}), summaries)

    def to_csv(self) -> str:
        """One line for each row: case, kind, label, metrics, an empty `refused`; `nan` and `inf` where undefined.

        Then a line for each refused case, with the reason and without label and metrics.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("case", "kind", "label", *self.metrics, "refused"))
        writer.writerows((r.case, r.kind, r.label, *map(float, r.scores.values()), "") for r in self.rows)
        writer.writerows((r.case, r.kind, "", *[""] * len(self.metrics), r.reason) for r in self.refused)
        return text.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: groups, refused cases, rows; what is undefined is None, for JSON has no NaN."""
        return {
            "groups": [
                {"name": g.name, "cases": g.cases, **{m: _plain(vars(s)) for m, s in g.summaries.items()}}
                for g in self.groups
            ],
            "refused": [vars(r) for r in self.refused],
            "rows": [{"case": r.case, "kind": r.kind, "label": r.label, **_plain(r.scores)} for r in self.rows],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ScoreTable:
        """The table that `to_dict` gave; what is undefined comes back as NaN.

        Raises: KeyError, TypeError or ValueError for other data.
        """
        fixed = ("case", "kind", "label")
        rows = tuple(
            Row(r["case"], r["kind"], r["label"], {k: _number(v) for k, v in r.items() if k not in fixed})
            for r in plain["rows"]
        )
        refused = tuple(Refused(r["case"], r["kind"], r["reason"]) for r in plain.get("refused", ()))
        if len({(r.case, r.label) for r in rows}) < len(rows) or len({tuple(r.scores) for r in rows}) > 1:
            raise ValueError("a case stands twice, or rows have other metrics")
        return cls(rows, refused=refused)

    def to_markdown(self) -> str:
        """The groups as a table: mean and 95 % interval of each metric; below it what was refused."""
        lines = [
            ("", "cases", *self.metrics),
            ("---", *["---:"] * (1 + len(self.metrics))),
            *((g.name, str(g.cases), *map(str, g.summaries.values())) for g in self.groups),
        ]
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        if not self.refused:
            return table
        whole = len({row.case for row in self.rows}) + len(self.refused)
        return f"{table}\n{len(self.refused)} of {whole} cases were refused and are in no mean:\n\n" + "".join(
            f"- {refused.case}: {refused.reason}\n" for refused in self.refused
        )


def case_means(rows: Sequence[Row], metric: str) -> dict[str, float]:
    """Of each case, in their order, the plain mean over its rows: NaN or infinite where one of them is."""
    by_case: dict[str, list[float]] = {}
    for row in rows:
        by_case.setdefault(row.case, []).append(row.scores[metric])
    return {case: sum(values) / len(values) for case, values in by_case.items()}


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _plain(numbers: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}
