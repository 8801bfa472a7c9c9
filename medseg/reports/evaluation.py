"""The page of one evaluation: what a bundle scored on labelled cases, and where it fails."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median

from medseg.reports.pages import Section, Table, write_page
from medseg.reports.scores import Scores, box_plots, failure_section, first_look, score_table, worst_section


def evaluation_sections(scores: Scores, facts: Mapping[str, str]) -> tuple[Section, ...]:
    """From the first look to how it was measured; facts are named lines of the last section."""
    measured = dict(facts)
    if scores.seconds:
        seconds = sorted(scores.seconds.values())
        measured["time per case"] = f"median {median(seconds):.2f} s, longest {seconds[-1]:.2f} s, reading left out"
    return (
        first_look(scores, "At a glance"),
        score_table(scores),
        box_plots(scores),
        worst_section(scores),
        failure_section(scores),
        Section("How it was measured", table=Table(("", ""), tuple(measured.items()))),
    )


def write_evaluation(path: Path, title: str, scores: Scores, facts: Mapping[str, str]) -> None:
    """The page; its pictures lie below its folder already.

    Raises: OutputError or ResourceError as `whole_file`.
    """
    write_page(path, title, evaluation_sections(scores, facts))
