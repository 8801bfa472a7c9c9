"""The page of an evaluation, from what was evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.cli.evaluating import Evaluation
    from medseg.reports.scores import Scores


def write_score_page(done: Evaluation, folder: Path, name: str, threshold: float) -> Path:
    """NAME.html in the folder, its pictures in NAME_pictures."""
    from medseg.reports.evaluation import write_evaluation

    page = folder / f"{name}.html"
    scores = scores_of(done, folder / f"{name}_pictures", threshold)
    write_evaluation(page, f"{done.facts['bundle']} on {done.facts['manifest']}", scores, in_words(done.facts))
    return page


def scores_of(done: Evaluation, pictures: Path, threshold: float) -> Scores:
    """The values that a page shows; the pictures are written into a folder beside the page."""
    from medseg.reports.scores import Scores

    return Scores(
        done.table, done.facts["distance_unit"], threshold, write_pictures(done, pictures), done.evaluated.seconds
    )


def write_pictures(done: Evaluation, pictures: Path) -> dict[str, str]:
    """The worst cases as PNG files of the folder; case -> path from a page beside it, worst first."""
    return {case: f"{pictures.name}/{name}" for case, name in done.gallery.write(pictures).items()}


def in_words(facts: dict[str, Any]) -> dict[str, str]:
    """The facts of an evaluation as lines for people."""
    return {
        "bundle": f"{facts['bundle']}, version {facts['version']}, weights {facts['weights_sha256'][:12]}",
        "network": f"{facts['network']}, {facts['parameters'] / 1e6:.2f} million parameters",
        "data": f"{facts['manifest']}, {facts['split']} split, {facts['cases']} cases",
        "computed": f"{facts['precision']} on {facts['device']}, medseg {facts['medseg_version']}",
        "surface Dice": f"tolerance {facts['tolerance']:g} {facts['distance_unit']}",
        "HD95": f"in {facts['distance_unit']}, between voxel centres",
    }
