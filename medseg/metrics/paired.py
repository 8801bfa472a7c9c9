"""Two sets of scores on the same cases: differences case by case, and how far chance moves their mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from medseg.metrics.ranking import SMALLER_IS_BETTER
from medseg.metrics.table import Interval, ScoreTable, case_means, mean_with_interval


@dataclass(frozen=True)
class Paired:
    """The second score less the first one, under one label, kind or all.

    cases:    case -> difference, of all cases that both have scores of; NaN where one of them is undefined.
    interval: of the mean difference, bootstrapped over the cases; so a case that is hard for both counts for neither.
    """

    part: str
    metric: str
    cases: Mapping[str, float]
    interval: Interval

    @property
    def verdict(self) -> str:
        """Where the interval leaves 0 out "better" or "worse"; "same" where every case is; else "not told apart"."""
        found = self.interval
        if found.counted and not any(value for value in self.cases.values() if math.isfinite(value)):
            return "same"
        if not (found.low > 0 or found.high < 0):
            return "not told apart"
        return "better" if (found.mean < 0) == (self.metric in SMALLER_IS_BETTER) else "worse"


def paired(first: ScoreTable, second: ScoreTable, seed: int = 0) -> tuple[Paired, ...]:
    """For every part and metric that both tables have; parts outside, metrics inside, in the order of the first."""
    others = dict(second.parts)
    found = []
    for name, rows in first.parts:
        for metric in first.metrics if name in others else ():
            if metric not in second.metrics:
                continue
            before, after = case_means(rows, metric), case_means(others[name], metric)
            cases = {case: _finite(after[case] - before[case]) for case in before if case in after}
            found.append(Paired(name, metric, cases, mean_with_interval(list(cases.values()), seed)))
    return tuple(found)


def unpaired(first: ScoreTable, second: ScoreTable) -> tuple[str, ...]:
    """Cases that only one of both has scores of, in the order of the tables."""
    a, b = ({row.case: None for row in table.rows} for table in (first, second))
    return (*(case for case in a if case not in b), *(case for case in b if case not in a))


def differing_most(found: Paired, count: int = 10) -> tuple[str, ...]:
    """Up to `count` cases with the largest differences either way; undefined ones first, equal ones left out."""
    sizes = {case: math.inf if math.isnan(value) else abs(value) for case, value in found.cases.items()}
    return tuple(sorted((case for case in sizes if sizes[case]), key=lambda case: -sizes[case]))[:count]


def _finite(difference: float) -> float:
    return difference if math.isfinite(difference) else math.nan
