"""Scores as sections of a page: the first look, tables, box plots, the worst cases, the failures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from medseg.metrics.ranking import SMALLER_IS_BETTER, failing_rows, leading_metric
from medseg.metrics.table import Interval, Row, ScoreTable, case_means
from medseg.reports.box_plot import BoxRow, draw_boxes
from medseg.reports.pages import Figure, Section, Table, Tile
from medseg.reports.svg import Drawing

_TELLING = ("AP@0.5", "PQ", "Dice", "HD95", "surface Dice", "count error")  # what says most, in this order
_INTERVAL = "95 % bootstrap interval over cases"


@dataclass(frozen=True)
class Scores:
    """What a page shows of an evaluation.

    distance_unit: of HD95 and of the tolerance behind "surface Dice@": "mm" or "pixels".
    threshold:     a label of a case with a leading score below it is a failure.
    pictures:      case -> picture below the page's folder, worst first.
    seconds:       of each case, reading left out.
    """

    table: ScoreTable
    distance_unit: str = "mm"
    threshold: float = 0.5
    pictures: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def leading(self) -> str:
        """The metric that cases are ranked by."""
        return leading_metric(self.table)


def first_look(scores: Scores, heading: str, paragraphs: tuple[str, ...] = ()) -> Section:
    """The few numbers that are seen first; a notice where cases were refused."""
    table, overall = scores.table, scores.table.groups[0]
    tiles = [Tile("cases scored", str(overall.cases))]
    if table.refused:
        tiles.append(Tile("refused", str(len(table.refused)), "in no mean"))
    for metric in telling_metrics(table):
        summary = overall.summaries[metric]
        tiles.append(Tile(named(metric, scores.distance_unit), mean_of(summary), range_of(summary)))
    notice = ""
    if table.refused:
        whole = overall.cases + len(table.refused)
        notice = f"{len(table.refused)} of {whole} cases were refused and are in no mean: {_names_of_refused(table)}."
    return Section(heading, paragraphs, tiles=tuple(tiles), notice=notice)


def score_table(scores: Scores) -> Section:
    """Mean and interval of every metric over all, by label and by kind."""
    table = scores.table
    heads = ("", "cases", *(named(metric, scores.distance_unit) for metric in table.metrics))
    rows = tuple(
        (group.name, str(group.cases), *(f"{mean_of(s)}\n{range_of(s)}" for s in group.summaries.values()))
        for group in table.groups
    )
    text = (
        f"Mean over cases; below it the {_INTERVAL}. A case's score over all labels is the mean of its labels. "
        "Undefined values (a distance to nothing) are counted, and in no mean."
    )
    return Section("Scores", (text,), Table(heads, rows))


def box_plots(scores: Scores) -> Section:
    """How the cases lie, by label and kind, for the metrics that say most."""
    labels = {row.label for row in scores.table.rows}
    drawings: list[Drawing] = []
    for metric in telling_metrics(scores.table):
        rows = [
            BoxRow(name, tuple(case_means(part, metric).values()), 0 if name == "all" else 1 if name in labels else 2)
            for name, part in scores.table.parts
        ]
        drawings.append(draw_boxes(metric, rows, unit_of(metric, scores.distance_unit), is_share(metric)))
    text = (
        "Every dot is a case. The box holds the middle half, its line is the median, the diamond the mean; whiskers "
        "reach to the last case within 1.5 box widths."
    )
    return Section("How the cases lie", (text,), drawings=tuple(drawings))


def worst_section(scores: Scores) -> Section:
    """The worst cases as pictures, with what each label scored."""
    figures = []
    for place, (case, source) in enumerate(scores.pictures.items(), start=1):
        rows = [row for row in scores.table.rows if row.case == case]
        told = (f"{row.label}: {_in_words(row, scores)}" for row in rows)
        caption = "\n".join((f"{place}. {case}{_kind(rows[0])}", *told))
        figures.append(Figure(source, caption, f"Outlines of prediction and reference on case {case}"))
    text = (
        f"Ranked by {scores.leading}, worst first. The reference is the solid blue line, the prediction the dashed "
        "orange one; tinted is what was missed (blue) and what is wrong (orange). Volumes are cut through where they "
        "differ most."
    )
    return Section("The worst cases", (text,) if figures else ("No case was scored.",), figures=tuple(figures))


def failure_section(scores: Scores) -> Section:
    """Labels of cases below the threshold or without a defined score, and the refused cases with their reasons."""
    metric, table = scores.leading, scores.table
    failed = failing_rows(table, metric, scores.threshold) if table.rows else ()
    rows = [
        (refused.case, refused.kind, "", "refused", refused.reason)
        for refused in sorted(table.refused, key=lambda refused: refused.case)
    ]
    rows += [(row.case, row.kind, row.label, value(row.scores[metric]), _in_words(row, scores)) for row in failed]
    rule = f"Listed are refused cases and every label of a case with {metric or 'a score'} below {scores.threshold:g}"
    if not rows:
        return Section("Failures", (f"None. {rule}.",))
    count = f"{len({row[0] for row in rows})} cases. {rule}, worst first."
    return Section("Failures", (count,), Table(("case", "kind", "label", metric or "score", "why"), tuple(rows)))


def named(metric: str, distance_unit: str) -> str:
    """The metric and its unit: `HD95 (mm)`."""
    unit = unit_of(metric, distance_unit)
    return f"{metric} ({unit})" if unit else metric


def unit_of(metric: str, distance_unit: str) -> str:
    """Only distances have one."""
    return distance_unit if metric == "HD95" else ""


def value(number: float) -> str:
    """Three decimals; what is undefined says so."""
    return f"{number:.3f}" if math.isfinite(number) else "undefined"


def telling_metrics(table: ScoreTable) -> list[str]:
    """Those metrics of the table that say most, the surface Dice at whatever tolerance."""
    return [metric for name in _TELLING for metric in table.metrics if name in (metric, metric.split("@")[0])]


def is_share(metric: str) -> bool:
    """Whether 1 is the best there is; errors and distances have no bound."""
    return metric not in SMALLER_IS_BETTER


def _in_words(row: Row, scores: Scores) -> str:
    known = telling_metrics(scores.table)
    return ", ".join(f"{named(metric, scores.distance_unit)} {value(row.scores[metric])}" for metric in known)


def _kind(row: Row) -> str:
    return f" ({row.kind})" if row.kind else ""


def _names_of_refused(table: ScoreTable) -> str:
    names = [refused.case for refused in table.refused]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more, all listed under Failures" if len(names) > 8 else "")


def mean_of(summary: Interval) -> str:
    """The mean, three decimals."""
    return f"{summary.mean:.3f}" if summary.counted else "–"


def range_of(summary: Interval) -> str:
    """Its interval, and how many values are undefined."""
    doubt = f"{summary.undefined} undefined" if summary.undefined else ""
    return "\n".join(part for part in (summary.span if summary.counted else "", doubt) if part)
