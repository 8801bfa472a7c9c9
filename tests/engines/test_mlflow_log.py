"""Runs in a local folder; skipped where the extra is not installed, but for the refusal."""

import importlib.util
import json
import os
from pathlib import Path

import pytest

from medseg.domain.errors import ResourceError, UsageError
from medseg.engines.mlflow_log import start_run
from medseg.engines.trainer import Progress

INSTALLED = importlib.util.find_spec("mlflow") is not None
installed = pytest.mark.skipif(not INSTALLED, reason="the extra mlflow is not installed")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    """What `start_run` sets is gone after the test."""
    for name in ("DISABLE_TELEMETRY", "HTTP_REQUEST_MAX_RETRIES", "HTTP_REQUEST_TIMEOUT", "ALLOW_FILE_STORE"):
        monkeypatch.setenv(f"MLFLOW_{name}", "1")
        monkeypatch.delenv(f"MLFLOW_{name}")


@pytest.fixture
def work(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def start(tmp_path, work):
    return start_run(str(tmp_path / "runs"), work, "balls", ("liver",), {"batch.count": "4", "seed": "0"})


def validate(run, *steps):
    for step in steps:
        run(Progress(step, 40, 1 / step))
        run(Progress(step, 40, 2 / step, (step / 100,)))


def history(run, name):
    return [(point.step, point.value) for point in run.client.get_metric_history(run.id, name)]


@installed
def test_a_run_holds_parameters_metrics_and_files(tmp_path, work):
    run = start(tmp_path, work)
    validate(run, 20, 40)
    (work / "plan.json").write_text("{}")
    (work / "report_pictures").mkdir()
    (work / "report_pictures" / "a.png").write_bytes(b"x")
    run.finish({"surface Dice@1": 0.9}, [work / "plan.json", work / "missing.json"], [work / "report_pictures"])
    kept = run.client.get_run(run.id)
    assert (kept.info.status, kept.data.params) == ("FINISHED", {"batch.count": "4", "seed": "0"})
    assert kept.data.metrics["validation.surface Dice at 1"] == 0.9
    assert history(run, "score.liver") == [(20, 0.2), (40, 0.4)]
    assert history(run, "loss") == [(20, 0.1), (40, 0.05)]
    assert {file.path for file in run.client.list_artifacts(run.id)} == {"plan.json", "report_pictures"}


@installed
def test_a_resumed_training_goes_on_in_its_run_and_tells_nothing_twice(tmp_path, work):
    validate(start(tmp_path, work), 20)
    run = start(tmp_path, work)
    validate(run, 20, 40)
    assert history(run, "score.liver") == [(20, 0.2), (40, 0.4)]
    assert len(run.client.search_runs([run.client.get_run(run.id).info.experiment_id])) == 1
    assert json.loads((work / "mlflow.json").read_text())["run"] == run.id


@installed
def test_another_target_gets_a_run_of_its_own(tmp_path, work):
    first = start(tmp_path, work)
    second = start_run(str(tmp_path / "elsewhere"), work, "balls", ("liver",), {})
    assert first.id != second.id
    assert Path(second.target) == tmp_path / "elsewhere"


@installed
def test_a_folder_opens_no_connection(tmp_path, work, monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    run = start(tmp_path, work)
    validate(run, 20)
    run.finish({}, [], [])
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


@installed
def test_a_server_that_does_not_answer_is_refused_and_its_password_told_to_nobody(tmp_path, work, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ResourceError, match=r"--mlflow http://127.0.0.1:9: cannot be used") as caught:
        start_run("http://me:secret@127.0.0.1:9", work, "balls", (), {})
    assert "secret" not in str(caught.value)
    start(tmp_path, work)
    assert str(tmp_path) not in (work / "mlflow.json").read_text()


@installed
def test_a_folder_that_cannot_be_used_is_refused(tmp_path, work):
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="cannot be used"):
        start_run(str(tmp_path / "file" / "runs"), work, "balls", (), {})
    assert not (work / "mlflow.json").exists()


@pytest.mark.skipif(INSTALLED, reason="the extra mlflow is installed")
def test_without_the_extra_the_option_is_refused(tmp_path, work):
    with pytest.raises(UsageError, match=r"medseg\[mlflow\]"):
        start(tmp_path, work)
