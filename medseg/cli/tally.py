"""What `medseg segment` tells of its cases, and with which exit code it ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medseg.cli.outputs import Plan
    from medseg.domain.errors import MedsegError
    from medseg.domain.report import Report


@dataclass(frozen=True)
class Tally:
    """What is to be told at the end."""

    reports: list[Report] = field(default_factory=list)
    earlier: list[Plan] = field(default_factory=list)
    refused: list[tuple[Plan, MedsegError]] = field(default_factory=list)


def tell(plan: Plan, report: Report) -> None:
    from medseg.cli import progress

    for measure in report.measures:
        print(f"{plan.case}: {progress.in_words(measure)}", file=sys.stderr)
    if report.quality is not None:
        print(f"{plan.case}: {progress.quality_in_words(report.quality)}", file=sys.stderr)
    for note in report.notes:
        print(f"{plan.case}: note: {note}", file=sys.stderr)
    print(f"{plan.case}: {', '.join(map(str, plan.outputs))}", file=sys.stderr, flush=True)


def conclude(plans: Sequence[Plan], tally: Tally, seconds: float, quiet: bool) -> None:
    """The table of what was refused, how many there are of each state, and the exit code of it."""
    from medseg.domain.errors import InputError, PartialBatchError, ResourceError

    refused = tally.refused
    if not quiet:
        for line in _table([("case", "state", "reason"), *((p.case, "refused", str(e)) for p, e in refused)]):
            print(line, file=sys.stderr)
        counts = {"done": len(tally.reports), "done before": len(tally.earlier), "refused": len(refused)}
        told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        share = sum(report.seconds.get("network", 0.0) for report in tally.reports) / seconds
        network = f"; network {share:.0%} of the time" if tally.reports else ""
        print(f"{len(plans)} cases in {seconds:.1f} s: {told}{network}", file=sys.stderr, flush=True)
    if not refused:
        return
    if len(refused) < len(plans):
        raise PartialBatchError(f"{len(refused)} of {len(plans)} inputs were refused, the others are done")
    kind = ResourceError if all(isinstance(error, ResourceError) for _, error in refused) else InputError
    raise kind(f"all {len(plans)} inputs were refused, for the reasons above")


def _table(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """Aligned lines; none for a head without rows."""
    if len(rows) == 1:
        return []
    widths = [max(len(row[n]) for row in rows) for n in range(2)]
    return [f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {' '.join(row[2].split())}" for row in rows]
