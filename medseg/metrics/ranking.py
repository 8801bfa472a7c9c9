"""Which cases went worst, and which failed."""

from __future__ import annotations

import math

from medseg.metrics.table import Row, ScoreTable, case_means

SMALLER_IS_BETTER = frozenset(("HD95", "volume error", "count error"))
_LEADING = ("AP@0.5", "Dice")


def leading_metric(table: ScoreTable) -> str:
    """The metric that cases are ranked by: AP@0.5 for instances, else Dice; the first one where neither is there."""
    return next((metric for metric in _LEADING if metric in table.metrics), next(iter(table.metrics), ""))


def badness(metric: str, value: float) -> float:
    """A number that rises as the score gets worse; what is undefined is worst of all.

    >>> badness("Dice", 0.9) < badness("Dice", 0.5) < badness("Dice", math.nan)
    True
    >>> badness("HD95", 1.0) < badness("HD95", 9.0) < badness("HD95", math.inf)
    True
    """
    if not math.isfinite(value):
        return math.inf
    return value if metric in SMALLER_IS_BETTER else -value


def worst_cases(table: ScoreTable, metric: str, count: int = 5) -> tuple[str, ...]:
    """The ids of up to `count` cases, worst first, by the mean over a case's labels; of equals the earlier first."""
    means = case_means(table.rows, metric)
    return tuple(sorted(means, key=lambda case: -badness(metric, means[case])))[:count]


def failing_rows(table: ScoreTable, metric: str, threshold: float) -> tuple[Row, ...]:
    """The labels of cases that are worse than the threshold or undefined, worst first."""
    found = [row for row in table.rows if badness(metric, row.scores[metric]) > badness(metric, threshold)]
    return tuple(sorted(found, key=lambda row: -badness(metric, row.scores[metric])))
