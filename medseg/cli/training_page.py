"""The page of a training: the packed bundle on the validation cases, beside how the training went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.cli.evaluating import Settings
    from medseg.engines.plan import TrainSpec
    from medseg.engines.trainer import Trained


def write_training_page(
    bundle: Path, work: Path, settings: Settings, spec: TrainSpec, trained: Trained, seconds: tuple[float, ...]
) -> dict[str, float]:
    """report.html in the training's folder, its pictures in report_pictures, scores_validation.json and .csv.

    Gives the mean of each metric over the validation cases.
    Raises: what is no refusal of a single case.
    """
    import json

    from medseg.bundle.reader import read_bundle
    from medseg.cli.evaluating import evaluate_bundle
    from medseg.cli.score_page import in_words, scores_of
    from medseg.domain.spec import to_plain
    from medseg.engines.plan import class_names
    from medseg.engines.steps import learning_rate
    from medseg.io.files import write_text
    from medseg.reports.training import Course, Planned, write_training

    stored, described = read_bundle(bundle), settings.described()
    done = evaluate_bundle(stored, settings.cases_for(stored), settings)
    write_text(work / "scores_validation.json", json.dumps(done.to_dict(), indent=1) + "\n")
    write_text(work / "scores_validation.csv", done.table.to_csv())
    last = trained.history[-1]["step"]
    course = Course(
        trained.history,
        class_names(described),
        spec.score,
        trained.best_step,
        trained.best_score,
        tuple((step, learning_rate(spec.optimiser, step, spec.steps)) for step in _spread(last)),
        seconds,
    )
    planned = Planned(to_plain(spec), reasons_in(work / "fingerprint.json"))
    facts = in_words(done.facts) | {"manifest": described.description, "source of the data": described.source}
    scores = scores_of(done, work / "report_pictures", threshold=0.5)
    write_training(work / "report.html", f"Training of {stored.bundle.name}", course, planned, scores, facts)
    return {name: one.mean for name, one in done.table.groups[0].summaries.items() if one.counted}


def reasons_in(path: Path) -> dict[str, str]:
    """The reasons for settings that a fingerprint holds under "reasons"; none where there is no such file."""
    import json

    try:
        plain: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    reasons = plain.get("reasons", {}) if isinstance(plain, dict) else {}
    return {str(name): str(reason) for name, reason in reasons.items()} if isinstance(reasons, dict) else {}


def _spread(last: int) -> list[int]:
    """At most about 200 steps from 1 to the last one."""
    return sorted({1, last, *range(1, last + 1, max(last // 200, 1))})
