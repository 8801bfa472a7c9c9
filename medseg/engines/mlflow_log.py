"""The course of a training for MLflow; the only place that knows it, and imported only when asked for."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.domain.errors import ResourceError, UsageError
from medseg.io.files import write_text

if TYPE_CHECKING:
    from medseg.engines.trainer import Progress

_LONGEST = 6000  # letters of a parameter that MLflow keeps


@dataclass(frozen=True)
class MlflowRun:
    """One run of a tracking server or folder; the client keeps no connection.

    logged: the step of the last validation that stands there already.
    Its methods raise ResourceError where the server or folder cannot be used any more.
    """

    client: Any
    target: str
    id: str
    names: tuple[str, ...]
    logged: int = 0

    def __call__(self, progress: Progress) -> None:
        """Mean loss and scores of a validation; of a step nothing, and of a validation that stands there nothing.

        A resumed training computes the same numbers again: those behind its checkpoint were logged already.
        """
        if progress.scores is None or progress.step <= self.logged:
            return
        scores = zip((f"score.{name}" for name in self.names), progress.scores, strict=True)
        with _answering(self.target):
            for name, number in (("loss", progress.loss), *scores):
                self.client.log_metric(self.id, _plain(name), number, step=progress.step)

    def finish(self, metrics: Mapping[str, float], files: Sequence[Path], folders: Sequence[Path]) -> None:
        """Final metrics and artifacts, those that are there; the run is then over."""
        with _answering(self.target):
            for name, number in metrics.items():
                self.client.log_metric(self.id, _plain(f"validation.{name}"), number)
            for file in (file for file in files if file.is_file()):
                self.client.log_artifact(self.id, str(file))
            for folder in (folder for folder in folders if folder.is_dir()):
                self.client.log_artifacts(self.id, str(folder), folder.name)
            self.client.set_terminated(self.id)


def start_run(
    target: str, work: Path, experiment: str, names: Sequence[str], parameters: Mapping[str, str]
) -> MlflowRun:
    """A run in the experiment, or the one that this training began: its id is kept in mlflow.json of `work`.

    target:     a folder of this machine, or the URI of a tracking server; the network is used for a URI alone.
    parameters: names and values; only those that the run does not have are added.
    Raises: UsageError if MLflow is not installed; ResourceError if the server or folder cannot be used.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # it would tell its makers of every run
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    if "://" not in target:
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # MLflow asks for a word before it writes into a folder
        target = str(Path(target).absolute())
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise UsageError("--mlflow: MLflow is not installed; pip install 'medseg[mlflow]'") from error
    with _answering(target):
        client = MlflowClient(tracking_uri=target)
        id = _known_run(work, target) or _new_run(client, experiment, work.name)
        run = client.get_run(id)
        client.update_run(id, "RUNNING")
        for name, told in parameters.items():
            if _plain(name) not in run.data.params:
                client.log_param(id, _plain(name), told[:_LONGEST])
        logged = max((point.step for point in client.get_metric_history(id, "loss")), default=0)
    write_text(work / "mlflow.json", json.dumps({"target_sha256": _digest(target), "run": id}, indent=1) + "\n")
    return MlflowRun(client, target, id, tuple(names), logged)


@contextmanager
def _answering(target: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        message = f"--mlflow {target}: cannot be used ({reason}); check it or leave the option out"
        raise ResourceError(re.sub(r"//[^/@\s]*@", "//", message)) from error  # without a password


def _known_run(work: Path, target: str) -> str | None:
    try:
        known = json.loads((work / "mlflow.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(known, dict) or known.get("target_sha256") != _digest(target):
        return None
    return str(known["run"]) if "run" in known else None


def _digest(target: str) -> str:
    """In the place of the target itself, which may hold a password."""
    return hashlib.sha256(target.encode()).hexdigest()


def _new_run(client: Any, experiment: str, name: str) -> str:
    found = client.get_experiment_by_name(experiment)
    place = found.experiment_id if found is not None else client.create_experiment(experiment)
    return str(client.create_run(place, run_name=name).info.run_id)


def _plain(name: str) -> str:
    """MLflow's names hold letters, digits, dashes, dots, spaces, slashes and underscores.

    >>> _plain("surface Dice@1")
    'surface Dice at 1'
    """
    return "".join(c if c.isalnum() or c in "-_. /" else "_" for c in name.replace("@", " at "))
