"""All cases of `medseg segment`: each read, segmented, written and journalled, or refused; what is told of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.cli.outputs import Plan
    from medseg.domain.algorithm import Algorithm
    from medseg.domain.box import Box
    from medseg.domain.doubts import Doubts
    from medseg.domain.errors import MedsegError
    from medseg.domain.journal import Work
    from medseg.domain.labels import LabelTable
    from medseg.domain.report import Report
    from medseg.domain.volume import Volume
    from medseg.inference.model import Model, Prepared
    from medseg.inference.result import Segmentation
    from medseg.io.journal import Journal

# Options of the command that say where, how fast or how loud, and shape no output; all others do. The bundle, the
# device and the precision count as what came of them, the images by their content.
_NO_SETTINGS = {"inputs", "image", "output", "bundle", "trust", "device", "precision", "threads"}
_NO_SETTINGS |= {"as_json", "quiet", "resume", "overwrite"}
_BUNDLE_PARTS = ("configs", "models", "scripts")  # others hold images, scores, outputs


@dataclass(frozen=True)
class Batch:
    """What all cases of one command have in common.

    images:  those of the one case by name, if it has several.
    journal: None for a single case, which needs none.
    bundle_sha256, settings_sha256: what the outputs follow from beside the input, where there is a journal.
    """

    model: Model
    images: dict[str, Path]
    boxes: tuple[Box, ...]
    doubts: Doubts
    quiet: bool
    journal: Journal | None = None
    bundle_sha256: str = ""
    settings_sha256: str = ""
    resume: bool = False

    def journalled(self, journal: Journal, folder: Path, options: Mapping[str, Any], resume: bool) -> Batch:
        """The batch with a journal; folder: the bundle's; options: of the command, by name."""
        import hashlib
        import json

        from medseg import __version__
        from medseg.io.digest import folder_digest

        shaping: dict[str, Any] = {name: value for name, value in options.items() if name not in _NO_SETTINGS}
        shaping["ran"] = [self.model.device.type, self.model.precision, __version__]
        text = json.dumps(shaping, sort_keys=True, default=str)
        return replace(
            self,
            journal=journal,
            bundle_sha256=folder_digest(folder, _BUNDLE_PARTS),
            settings_sha256=hashlib.sha256(text.encode()).hexdigest(),
            resume=resume,
        )


def backend_before(asked: str, journal: Journal | None, resume: bool) -> str:
    """The backend that an earlier run of a batch came to, so that the rest of its bytes are of the same; else as asked.

    What suits the number of windows follows from the first image, and that is another one when a batch goes on.
    """
    from medseg.backends.backend import NAMES

    if asked != "auto" or journal is None or not resume:
        return asked
    ran = {entry.backend for entry in journal.latest.values() if entry.state == "done"} & set(NAMES)
    return ran.pop() if len(ran) == 1 else asked


@dataclass(frozen=True)
class _Ready:
    """A case that was read; `prepared` and `volume` are None where its outputs are there from an earlier run.

    headers: of the series, where DICOM objects are to refer to it.
    """

    work: Work | None
    volume: Volume | None = None
    prepared: Prepared | None = None
    result: Segmentation | None = None
    headers: Sequence[Any] | None = None


def segment_all(plans: Sequence[Plan], batch: Batch, as_json: bool) -> None:
    """Raises: PartialBatchError, InputError or ResourceError at the end where cases were refused; of a single case its
    own refusal; what ends the batch at once (no disk, no memory for the network) with how far it came.
    """
    import json
    import time

    from medseg.cli.outputs import sweep_before
    from medseg.cli.tally import Tally, conclude, tell
    from medseg.domain.errors import MedsegError
    from medseg.inference.batch import run_batch
    from medseg.io.dicom_quiet import quiet_pydicom

    steps, tally, started = _Steps(batch), Tally(), time.perf_counter()
    printed: list[dict[str, Any]] = []
    sweep_before(plans)
    if batch.journal is not None and batch.journal.damaged and not batch.quiet:
        count = batch.journal.damaged
        print(f"note: {batch.journal.path}: {count} damaged lines are passed over", file=sys.stderr)
    try:
        # Readers and writers keep pydicom quiet by themselves, but what one thread restores another would lose.
        with quiet_pydicom(), closing(run_batch(plans, steps.read, steps.work, steps.write)) as outcomes:
            for outcome in outcomes:
                if outcome.refusal is not None:
                    steps.refuse(outcome.case, outcome.refusal, len(plans) == 1)
                    tally.refused.append((outcome.case, outcome.refusal))
                elif outcome.kept is None:
                    tally.earlier.append(outcome.case)
                    printed.append(_earlier(outcome.case))
                else:
                    tally.reports.append(outcome.kept)
                    printed.append(outcome.kept.to_dict())
                    if not batch.quiet:
                        tell(outcome.case, outcome.kept)
    except MedsegError as error:
        if batch.journal is None or len(plans) == 1:
            raise
        raise type(error)(f"{error}; {_progress(plans, batch.journal)}") from error
    except (KeyboardInterrupt, SystemExit):
        if batch.journal is not None:
            print(f"medseg: {_progress(plans, batch.journal)}", file=sys.stderr, flush=True)
        raise
    if as_json:
        print(json.dumps(printed, indent=1))
    if len(plans) > 1:
        conclude(plans, tally, time.perf_counter() - started, batch.quiet)


class _Steps:
    """Reading, segmenting and writing of one case, for the three threads of a batch."""

    def __init__(self, batch: Batch):
        self.batch = batch

    def read(self, plan: Plan, beside: _Ready | None) -> _Ready:
        """The image, checked and on the network's grid; the digest of its files first, where there is a journal."""
        from medseg.cli.writing import rehearse_masks
        from medseg.domain.journal import Work
        from medseg.inference.clock import Clock
        from medseg.io.digest import unchanged

        batch, clock = self.batch, Clock()
        sources = batch.images or {"": plan.source}
        with _memory_of(plan):
            with unchanged(sources) if batch.journal is not None else nullcontext("") as digest:
                work = Work(digest, batch.bundle_sha256, batch.settings_sha256)
                if self._is_done(plan, work):
                    return _Ready(work)
                with clock.part("read"):
                    volume = self._volume(plan)
            plan.require_kind(volume)
            forms = [form for form, _ in plan.masks]
            headers = rehearse_masks(forms, volume, self._table(), self._algorithm(), str(plan.source))
            taken = beside.prepared.need_bytes if beside is not None and beside.prepared is not None else 0
            prepared = batch.model.prepare(volume, batch.boxes, str(plan.source), clock, taken)
        return _Ready(work, volume, prepared, headers=headers)

    def work(self, plan: Plan, ready: _Ready) -> _Ready:
        """The network."""
        from medseg.cli import progress
        from medseg.cli.probabilities import probability_maps
        from medseg.domain.journal import Entry
        from medseg.inference.segment import segment_prepared

        if ready.prepared is None or ready.volume is None:
            return ready
        batch = self.batch
        if batch.journal is not None:
            batch.journal.append(Entry(plan.names[0], plan.case, "started", ready.work, dict.fromkeys(plan.names, "")))
        total = 0 if batch.boxes else batch.model.expected_windows(ready.volume)
        with (
            _memory_of(plan),
            probability_maps(plan, ready.volume, batch.model) as put,
            progress.bar(plan.case, total, batch.quiet) as advance,
        ):
            result = segment_prepared(ready.prepared, batch.model, advance, put)
        return replace(ready, prepared=None, result=result)

    def write(self, plan: Plan, ready: _Ready) -> Report | None:
        """The outputs, and when all are whole on disk the journal's line; None where an earlier run did it."""
        import time

        from medseg.cli.forms import form_notes
        from medseg.cli.writing import write_outputs
        from medseg.domain.journal import Entry
        from medseg.io.digest import found_digests

        if ready.result is None or ready.volume is None:
            return None
        started, report = time.perf_counter(), ready.result.report
        report = replace(
            report,
            case=plan.case,
            outputs=tuple(map(str, plan.outputs)),
            source=str(plan.source.absolute()),
            notes=(*report.notes, *form_notes([form for form, _ in plan.masks], ready.volume)),
        )
        result = replace(ready.result, report=report)
        with _memory_of(plan):
            write_outputs(plan, ready.volume, result, self._algorithm(), ready.headers)
        if self.batch.journal is not None:
            digests = found_digests(plan.files())
            ran = report.backend.name if report.backend is not None else ""
            entry = Entry(plan.names[0], plan.case, "done", ready.work, digests, backend=ran)
            self.batch.journal.append(entry)
        seconds = {**report.seconds, "write": round(time.perf_counter() - started, 4)}
        return replace(report, seconds=seconds)

    def refuse(self, plan: Plan, refusal: MedsegError, alone: bool) -> None:
        """The refusal told and journalled; of a single case raised."""
        from medseg.domain.journal import Entry

        message = " ".join(str(refusal).split())
        journal = self.batch.journal
        if journal is not None:
            before = journal.latest.get(plan.names[0])  # outputs of an earlier run stay known as ours
            outputs = before.outputs if before is not None else {}
            journal.append(Entry(plan.names[0], plan.case, "refused", outputs=outputs, reason=message))
        if alone:
            raise refusal
        print(f"medseg: {message}", file=sys.stderr, flush=True)

    def _algorithm(self) -> Algorithm:
        from medseg.domain.algorithm import Algorithm

        bundle = self.batch.model.bundle
        return Algorithm(bundle.name, bundle.version, bundle.weights_sha256)

    def _table(self) -> LabelTable:
        """The labels that masks will have, as far as they are known before."""
        import numpy as np

        return self.batch.model.table(np.zeros(0, int))[0]

    def _volume(self, plan: Plan) -> Volume:
        from medseg.cli.foreign import read_case
        from medseg.io.images import read_image

        batch = self.batch
        if batch.images:
            return read_case(batch.images, batch.model, batch.doubts)
        return read_image(plan.source, batch.doubts, batch.model.bundle.modality)

    def _is_done(self, plan: Plan, work: Work) -> bool:
        from medseg.io.digest import found_digests

        if self.batch.journal is None or not self.batch.resume or not work.input:
            return False
        entry = self.batch.journal.latest.get(plan.names[0])
        if entry is None or entry.state != "done":
            return False
        if entry.is_of(work, plan.names, found_digests(plan.files())):
            return True
        if not self.batch.quiet:
            print(f"{plan.case}: its input, the bundle, the settings or an output changed; done again", file=sys.stderr)
        return False


@contextmanager
def _memory_of(plan: Plan) -> Iterator[None]:
    """Memory that runs out in the block is told of this case. Raises: ResourceError."""
    from medseg.cli.memory import is_out_of_memory
    from medseg.domain.errors import ResourceError

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(f"{plan.source}: not enough memory; segment a smaller region (--roi)") from error


def _earlier(plan: Plan) -> dict[str, Any]:
    """What `--json` tells of a case that an earlier run did: where its outputs are."""
    return {"case": plan.case, "outputs": [*map(str, plan.outputs)], "source": str(plan.source.absolute())}


def _progress(plans: Sequence[Plan], journal: Journal) -> str:
    entries = [journal.latest.get(plan.names[0]) for plan in plans]
    done = sum(entry is not None and entry.state == "done" for entry in entries)
    return f"{done} of {len(plans)} cases are done, --resume goes on with the others"
