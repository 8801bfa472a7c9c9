"""Bundle and manifest become scores: what `evaluate`, `compare` and `train` have in common."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from medseg.domain.wishes import NO_WISHES, Wishes

if TYPE_CHECKING:
    import torch

    from medseg.bundle.bundle import Bundle
    from medseg.bundle.foreign import MonaiBundle
    from medseg.domain.manifest import Case, Manifest, Split
    from medseg.inference.evaluate import Evaluated
    from medseg.metrics.table import Refused, ScoreTable
    from medseg.reports.gallery import Gallery

HELD_OUT, ALL = "held-out", "all"


@dataclass(frozen=True)
class Settings:
    """Of one evaluation, as the command line gave them; `described` is what the manifest holds.

    split: of the manifest; "held-out": the fold's; "all": every case, as of a data set that is new to the bundle.
    """

    manifest: Path
    described: Manifest
    split: str
    tolerance: float
    data: Path | None
    device: str
    precision: str
    threads: int | None
    quiet: bool
    wishes: Wishes = NO_WISHES

    def files_of(self, cases: Sequence[Case]) -> list[Path]:
        """Return the images and masks of the cases."""
        from medseg.io.manifest import case_paths, data_root

        root = data_root(self.described, self.manifest, self.data)
        return [path for case in cases for path in case_paths(case, root)]

    def cases_for(self, stored: Bundle | MonaiBundle) -> tuple[Case, ...]:
        """The cases of the split; "held-out": those of the fold that did not train the bundle.

        Raises: UsageError for an unknown split, or one whose cases trained the bundle; InputError
        if it has no cases, or labels or a modality that are not the bundle's.
        """
        from medseg.domain.errors import InputError, UsageError
        from medseg.domain.manifest import SPLITS, held_out, is_other_modality

        name, fold = stored.name, stored.fold
        if self.split not in (*SPLITS, HELD_OUT, ALL):
            raise UsageError(f"--split {self.split}: give {', '.join((*SPLITS, HELD_OUT, ALL))}")
        if self.split == HELD_OUT:
            if fold is None:
                raise UsageError(f"--split {HELD_OUT}: bundle {name} was not trained with --fold")
            cases = held_out(self.described, fold).part("validation")
        elif self.split == ALL:
            cases = self.described.cases
        else:
            cases = self.described.part(cast("Split", self.split))
        if not cases:
            raise InputError(f"{self.manifest}: has no {self.split} cases")
        if fold or self.split != "train":
            _require_unseen(stored, cases, self.split)
        stored.require_labels(self.described.labels, str(self.manifest))
        takes = stored.modality
        if is_other_modality(self.described.modality, takes):
            raise InputError(
                f"{self.manifest}: its images are {self.described.modality}, bundle {name} is for {takes}; if they are "
                "that too, mend modality in the manifest"
            )
        return cases


def _require_unseen(bundle: Bundle | MonaiBundle, cases: tuple[Case, ...], split: str) -> None:
    """Raises: UsageError where images among the cases trained the bundle, or may have."""
    from medseg.domain.errors import UsageError

    instead = f"give --split {HELD_OUT}" if bundle.fold else "score it on images that it has not seen"
    if bundle.fold and not bundle.seen and split != HELD_OUT:
        raise UsageError(
            f"--split {split}: bundle {bundle.name} was trained on all folds but {bundle.fold}, whatever the split; "
            f"{instead}"
        )
    if trained := bundle.seen_of(cases):
        raise UsageError(
            f"--split {split}: {len(trained)} of its {len(cases)} images trained bundle {bundle.name}, {trained[0].id} "
            f"for one; {instead}"
        )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A bundle's scores, how they came about, and pictures of its worst cases.

    facts: plain data that stand above the scores in the JSON file.
    """

    stored: Bundle | MonaiBundle
    evaluated: Evaluated
    facts: dict[str, Any]
    gallery: Gallery

    @property
    def table(self) -> ScoreTable:
        """The scores."""
        return self.evaluated.table

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        compared = {"agreements": dict(self.evaluated.agreements)} if self.evaluated.agreements else {}
        return self.facts | {"seconds": dict(self.evaluated.seconds)} | compared | self.table.to_dict()


def write_tables(folder: Path, name: str, plain: dict[str, Any], table: ScoreTable) -> None:
    """FOLDER/NAME.json of the plain data and FOLDER/NAME.csv of the table, a line for each case and label."""
    import json

    from medseg.io.files import write_text

    write_text(folder / f"{name}.json", json.dumps(plain, indent=1) + "\n")
    write_text(folder / f"{name}.csv", table.to_csv())


def fill_card(stored: Bundle, table: ScoreTable, told: str, distance_unit: str, ways: str, command: str) -> None:
    """Put a table into a bundle's card, with the medseg command that measured it.

    told: which cases they are; ways: precisions and devices.
    """
    from medseg.bundle.card import fill_scores

    text = (
        f"{told}; mean (95 % bootstrap interval over cases); HD95 and the tolerance of the surface Dice in "
        f"{distance_unit}; {ways}. Measured and written by"
        f"\n\n```\nmedseg {command}\n```\n\n{table.to_markdown()}"
    )
    overall = table.groups[0].summaries
    fill_scores(stored, text, {name: round(value.mean, 4) for name, value in overall.items() if value.counted})


def evaluate_bundle(stored: Bundle | MonaiBundle, cases: tuple[Case, ...], settings: Settings) -> Evaluation:
    """Segment and score the cases; each refused one is told on stderr and the others go on.

    Raises: what is no refusal of a single case.
    """
    from medseg import __version__
    from medseg.backends.precision import choose_precision
    from medseg.cli import progress
    from medseg.cli.device import choose_device
    from medseg.data.dataset import load_case
    from medseg.inference.evaluate import ScoredCase, evaluate_cases
    from medseg.inference.model import load_model
    from medseg.inference.segment import segment
    from medseg.io.manifest import data_root
    from medseg.io.manifest_build import sha256_of
    from medseg.metrics.ranking import badness, leading_metric
    from medseg.metrics.table import ScoreTable, case_means
    from medseg.reports.gallery import Gallery
    from medseg.reports.versus import draw_versus

    described = settings.described
    root = data_root(described, settings.manifest, settings.data)
    chosen: torch.device = choose_device(settings.device, settings.threads)
    precision = choose_precision(settings.precision, chosen)
    model = load_model(stored, chosen, precision, settings.wishes)
    gallery = Gallery()
    with progress.bar("evaluating", len(cases), settings.quiet) as advance:

        def keep(scored: ScoredCase) -> None:
            metric = leading_metric(ScoreTable(scored.rows))
            (score,) = case_means(scored.rows, metric).values()
            gallery.offer(
                scored.case.id,
                badness(metric, score),
                lambda: draw_versus(scored.volume, scored.prediction, scored.reference),
            )
            advance(1)

        def tell(refused: Refused) -> None:
            print(f"medseg: {refused.case}: {refused.reason}", file=sys.stderr, flush=True)
            advance(1)

        evaluated = evaluate_cases(
            cases,
            lambda case: load_case(described, case, root),
            lambda volume, name: segment(volume, model, name=name),
            described.labels,
            root,
            settings.tolerance,
            keep,
            tell,
        )
    facts = {
        "bundle": stored.name,
        "version": stored.version,
        "weights_sha256": stored.weights_sha256,
        "network": model.network_name,
        "parameters": model.parameters,
        "manifest": described.name,
        "manifest_sha256": sha256_of(settings.manifest),
        "split": settings.split,
        "cases": len(cases),
        "device": str(chosen.type),
        "precision": precision,
        "asked for": dict(model.settings),
        "tolerance": settings.tolerance,
        "distance_unit": evaluated.distance_unit,
        "medseg_version": __version__,
    }
    return Evaluation(stored, evaluated, facts, gallery)


def require_some(done: Evaluation) -> None:
    """Raises: InputError if every case was refused: there is nothing to tell."""
    from medseg.domain.errors import InputError

    if not done.table.rows:
        raise InputError(f"all {done.facts['cases']} cases were refused, for the reasons above")


def fill_own_card(done: Evaluation, manifest: Path) -> None:
    """Put the scores of test cases or of a fold held out into the card of the bundle of medseg that was scored.

    It was scored as `segment` runs it.
    """
    stored, table, facts = cast("Bundle", done.stored), done.table, done.facts
    named = manifest.name if manifest.is_absolute() else manifest.as_posix()
    command = f"evaluate {stored.name} {named} --split {facts['split']} --card"
    if facts["tolerance"] != 1:
        command += f" --tolerance {facts['tolerance']:g}"
    scored = facts["cases"] - len(table.refused)
    what = f"cases of fold {stored.fold}" if facts["split"] == HELD_OUT else "test cases"
    count = f"{scored} {what}" if not table.refused else f"{scored} of {facts['cases']} {what}"
    told = f"{count}, which neither trained the network nor picked its weights"
    fill_card(stored, table, told, facts["distance_unit"], f"{facts['precision']} on {facts['device']}", command)
