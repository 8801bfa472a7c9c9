"""The page of a training: the packed bundle on the validation cases, beside how the training went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medseg.cli.evaluating import Settings
    from medseg.engines.plan import TrainSpec
    from medseg.engines.trainer import Trained
    from medseg.reports.training import Course


@dataclass(frozen=True)
class TrainingPage:
    """report.html in the training's folder, its pictures in report_pictures, scores_validation.json and .csv.

    reasons: by the key of the plan.
    """

    bundle: Path
    work: Path
    settings: Settings
    spec: TrainSpec
    reasons: Mapping[str, str]

    def write(self, trained: Trained, seconds: tuple[float, ...]) -> dict[str, float]:
        """Evaluate the packed bundle and write all of it; seconds: of the steps, empty where none was taken.

        Gives the mean of each metric over the validation cases.
        Raises: what is no refusal of a single case.
        """
        from medseg.bundle.reader import read_bundle
        from medseg.cli.evaluating import evaluate_bundle, write_tables
        from medseg.cli.score_page import in_words, scores_of
        from medseg.domain.spec import to_plain
        from medseg.reports.training import Planned, write_training

        stored, described = read_bundle(self.bundle), self.settings.described
        done = evaluate_bundle(stored, self.settings.cases_for(stored), self.settings)
        write_tables(self.work, "scores_validation", done.to_dict(), done.table)
        facts = in_words(done.facts) | {"images": described.description, "source of the data": described.source}
        write_training(
            self.work / "report.html",
            f"Training of {stored.name}",
            self._course(trained, seconds),
            Planned(to_plain(self.spec), self.reasons),
            scores_of(done, self.work / "report_pictures", threshold=0.5),
            facts,
        )
        return {name: one.mean for name, one in done.table.groups[0].summaries.items() if one.counted}

    def _course(self, trained: Trained, seconds: tuple[float, ...]) -> Course:
        from medseg.engines.plan import class_names
        from medseg.engines.steps import learning_rate
        from medseg.reports.training import Course

        spec, last = self.spec, trained.history[-1]["step"]
        return Course(
            trained.history,
            class_names(self.settings.described),
            spec.score,
            trained.best_step,
            trained.best_score,
            spec.keep,
            tuple((step, learning_rate(spec.optimiser, step, spec.steps)) for step in _spread(last)),
            seconds,
        )


def _spread(last: int) -> list[int]:
    """At most about 200 steps from 1 to the last one."""
    return sorted({1, last, *range(1, last + 1, max(last // 200, 1))})
