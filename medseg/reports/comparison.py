"""The page of a comparison: several bundles on the same cases, the first one as the measure of the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from medseg.metrics.paired import Paired, differing_most, paired, unpaired
from medseg.metrics.ranking import leading_metric
from medseg.metrics.table import Interval, ScoreTable, case_means
from medseg.reports.box_plot import BoxRow, draw_boxes
from medseg.reports.pages import Section, Table, Tile, write_page
from medseg.reports.scores import is_share, mean_of, named, range_of, telling_metrics, unit_of, value


@dataclass(frozen=True)
class Contender:
    """One bundle's scores under a name of its own.

    parameters: of the network; None where nobody counted them.
    seconds:    case -> time of segmentation.
    computed:   precision and device, in words.
    """

    name: str
    table: ScoreTable
    parameters: int | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    computed: str = ""


def write_comparison(path: Path, title: str, contenders: Sequence[Contender], distance_unit: str) -> None:
    """The page.

    Raises: OutputError or ResourceError as `whole_file`.
    """
    write_page(path, title, comparison_sections(contenders, distance_unit))


def comparison_sections(contenders: Sequence[Contender], distance_unit: str = "mm") -> tuple[Section, ...]:
    """At least two contenders with other names, on the same cases."""
    first, *others = contenders
    against = [(other, paired(first.table, other.table)) for other in others]
    return (
        _first_look(contenders, against, distance_unit),
        _differences(first, against, distance_unit),
        _side_by_side(contenders, distance_unit),
        _box_plots(contenders, distance_unit),
        *(_most_different(first, other, found) for other, found in against),
        _cost(contenders),
        _left_out(contenders),
    )


def _first_look(
    contenders: Sequence[Contender], against: Sequence[tuple[Contender, Sequence[Paired]]], unit: str
) -> Section:
    metric = leading_metric(contenders[0].table)
    verdicts = {other.name: found for other, pairs in against for found in pairs if _is(found, "all", metric)}
    tiles = []
    for contender in contenders:
        summary = contender.table.groups[0].summaries[metric]
        detail = range_of(summary)
        if contender.name in verdicts:
            found = verdicts[contender.name]
            detail += f"\n{signed(found.interval.mean)}: {found.verdict}"
        tiles.append(Tile(f"{contender.name}: {named(metric, unit)}", mean_of(summary), detail))
    refused = [
        f"{len(contender.table.refused)} by {contender.name}" for contender in contenders if contender.table.refused
    ]
    notice = f"Refused, and in no mean: {', '.join(refused)} (see the end of the page)." if refused else ""
    return Section("At a glance", tiles=tuple(tiles), notice=notice)


def _differences(first: Contender, against: Sequence[tuple[Contender, Sequence[Paired]]], unit: str) -> Section:
    metrics = [metric for metric in first.table.metrics if all(metric in other.table.metrics for other, _ in against)]
    rows = [
        (part, other.name, str(len(pairs[0].cases)), *(_difference(one) for one in pairs))
        for other, found in against
        for part in dict.fromkeys(one.part for one in found)
        for pairs in [[one for one in found if one.part == part and one.metric in metrics]]
    ]
    heads = ("", "bundle", "pairs", *(named(metric, unit) for metric in metrics))
    drawings = [
        draw_boxes(
            f"{named(metric, unit)} less that of {first.name}",
            [
                BoxRow(one.part, tuple(one.cases.values()), n + 1, other.name)
                for n, (other, found) in enumerate(against)
                for one in found
                if one.metric == metric
            ],
            share=False,
        )
        for metric in telling_metrics(first.table)
        if metric in metrics
    ]
    text = (
        f"Score of the bundle less that of {first.name}, case by case; the mean difference and its 95 % bootstrap "
        "interval over cases. Where it leaves 0 out, the bundle is called better or worse; many metrics are looked "
        "at, so one in twenty would be so by chance alone."
    )
    return Section("Paired differences", (text,), Table(heads, tuple(rows)), drawings=tuple(drawings))


def _side_by_side(contenders: Sequence[Contender], unit: str) -> Section:
    metrics = [m for m in contenders[0].table.metrics if all(m in other.table.metrics for other in contenders)]
    rows = []
    for part in dict.fromkeys(group.name for contender in contenders for group in contender.table.groups):
        for contender in contenders:
            for group in contender.table.groups:
                if group.name == part:
                    cells = (f"{mean_of(group.summaries[m])}\n{range_of(group.summaries[m])}" for m in metrics)
                    rows.append((part, contender.name, str(group.cases), *cells))
    heads = ("", "bundle", "cases", *(named(metric, unit) for metric in metrics))
    every = dict.fromkeys(metric for contender in contenders for metric in contender.table.metrics)
    alone = [metric for metric in every if metric not in metrics]
    texts = ["Each bundle over all cases that it scored."]
    texts += [f"Not compared, because not all have it: {', '.join(alone)}."] if alone else []
    return Section("Side by side", tuple(texts), Table(heads, tuple(rows)))


def _box_plots(contenders: Sequence[Contender], unit: str) -> Section:
    parts = dict.fromkeys(name for contender in contenders for name, _ in contender.table.parts)
    drawings = []
    for metric in telling_metrics(contenders[0].table):
        rows = [
            BoxRow(part, tuple(case_means(held[part], metric).values()), n, contender.name)
            for part in parts
            for n, contender in enumerate(contenders)
            for held in [dict(contender.table.parts)]
            if part in held and metric in contender.table.metrics
        ]
        drawings.append(draw_boxes(metric, rows, unit_of(metric, unit), is_share(metric)))
    return Section("How the cases lie", drawings=tuple(drawings))


def _most_different(first: Contender, other: Contender, found: Sequence[Paired]) -> Section:
    metric = leading_metric(first.table)
    overall = next((one for one in found if _is(one, "all", metric)), None)
    cases = differing_most(overall) if overall else ()
    before, after = (case_means(one.table.rows, metric) for one in (first, other))
    rows = tuple((case, value(before[case]), value(after[case]), signed(after[case] - before[case])) for case in cases)
    heading = f"Where {other.name} differs most from {first.name}"
    if not rows:
        return Section(heading, ("In no case.",))
    return Section(heading, (f"By {metric}.",), Table(("case", first.name, other.name, "difference"), rows))


def _cost(contenders: Sequence[Contender]) -> Section:
    rows = tuple(
        (
            contender.name,
            f"{contender.parameters / 1e6:.2f}" if contender.parameters is not None else "–",
            f"{median(contender.seconds.values()):.3f}" if contender.seconds else "–",
            f"{max(contender.seconds.values()):.3f}" if contender.seconds else "–",
            contender.computed,
        )
        for contender in contenders
    )
    heads = ("bundle", "million parameters", "seconds per case, median", "longest", "computed in")
    return Section("What it costs", ("Segmentation alone, reading left out.",), Table(heads, rows))


def _left_out(contenders: Sequence[Contender]) -> Section:
    first, *others = contenders
    rows = [
        (refused.case, contender.name, f"refused: {refused.reason}")
        for contender in contenders
        for refused in contender.table.refused
    ]
    told = {(case, name) for case, name, _ in rows}
    for other in others:
        for case in unpaired(first.table, other.table):
            missing = other if any(row.case == case for row in first.table.rows) else first
            if (case, missing.name) not in told:
                rows.append((case, missing.name, "has no scores here"))
                told.add((case, missing.name))
    if not rows:
        return Section("Left out", ("No case: every bundle scored all.",))
    return Section("Left out", ("Cases that stand in no pair.",), Table(("case", "bundle", "why"), tuple(rows)))


def signed(number: float) -> str:
    """Three decimals with a sign; nothing is `0`.

    >>> signed(0.01234), signed(-0.5), signed(0.0), signed(math.nan)
    ('+0.012', '−0.500', '0', 'undefined')
    """
    if not math.isfinite(number):
        return "undefined"
    return f"{number:+.3f}".replace("-", "−") if number else "0"


def _difference(found: Paired) -> str:
    if not found.interval.counted:
        return f"–\n{_undefined(found.interval)}"
    low, high = found.interval.low, found.interval.high
    span = f"{signed(low)} to {signed(high)}" if low <= high else ""  # too few cases have none
    lines = (signed(found.interval.mean), span, found.verdict, _undefined(found.interval))
    return "\n".join(line for line in lines if line)


def _undefined(interval: Interval) -> str:
    return f"{interval.undefined} undefined" if interval.undefined else ""


def _is(found: Paired, part: str, metric: str) -> bool:
    return (found.part, found.metric) == (part, metric)
