"""`medseg doctor`: what is here, what is missing, and what brings it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

_SIGNS = {"ok": "ok ", "gap": "GAP", "none": "-- "}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at packages, devices, DICOM codecs, backends, bundles, memory and disk; each gap comes with its cure."""
    import json

    from medseg.cli.findings import all_findings
    from medseg.domain.spec import to_plain

    findings = all_findings()
    if as_json:
        print(json.dumps([to_plain(finding) for finding in findings], indent=1))
        return
    topic = ""
    for finding in findings:
        if finding.topic != topic:
            topic = finding.topic
            print(topic)
        cure = f"; {finding.cure}" if finding.cure else ""
        print(f"  {_SIGNS[finding.state]} {finding.name}: {finding.fact}{cure}")
    gaps = sum(finding.state == "gap" for finding in findings)
    print(f"medseg: {gaps} gaps, each with its cure above" if gaps else "medseg: no gaps", file=sys.stderr)
