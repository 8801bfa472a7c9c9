"""What TensorBoard would show of a training."""

import numpy as np
import pytest

from medseg.engines.tensorboard_log import tensorboard_log
from medseg.engines.trainer import Progress


def scalars(folder):
    """tag -> [(step, value)], read by TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def run(folder, first, last, names=("liver", "tumour"), stop_at=None):
    """Steps first..last of 40, a validation after each twentieth; the loss of step n is 1 / n."""
    with tensorboard_log(folder, names) as report:
        for step in range(first, last + 1):
            report(Progress(step, 40, 1 / step))
            if step % 20 == 0:
                report(Progress(step, 40, 2 / step, (step / 100, step / 50)))
            if step == stop_at:
                raise KeyboardInterrupt


def test_loss_and_scores_of_every_class(tmp_path):
    run(tmp_path, 1, 40)
    found = scalars(tmp_path)
    assert [step for step, _ in found["loss/step"]] == [1, 10, 20, 30, 40]
    assert found["score/liver"] == [(20, pytest.approx(0.2)), (40, pytest.approx(0.4))]
    assert found["score/tumour"] == [(20, pytest.approx(0.4)), (40, pytest.approx(0.8))]
    assert found["loss/mean since the last validation"] == [(20, pytest.approx(0.1)), (40, pytest.approx(0.05))]


def test_a_resumed_training_shows_every_step_once(tmp_path):
    """Stopped at step 37, it goes on from the checkpoint of step 20: steps 30 to 37 were told twice."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "resumed", 1, 40, stop_at=37)
    (log,) = (tmp_path / "resumed").iterdir()
    log.rename(log.with_name("events.out.tfevents.0000000001.earlier"))  # names tell whole seconds, and give the order
    run(tmp_path / "resumed", 21, 40)
    run(tmp_path / "whole", 1, 40)
    assert scalars(tmp_path / "resumed") == scalars(tmp_path / "whole")


def test_nothing_left_to_do_leaves_the_log_as_it_was(tmp_path):
    run(tmp_path / "log", 1, 40)
    before = {path.name: path.read_bytes() for path in (tmp_path / "log").iterdir()}
    with tensorboard_log(tmp_path / "log", ("liver",)):
        pass
    assert {path.name: path.read_bytes() for path in (tmp_path / "log").iterdir()} == before
    with tensorboard_log(tmp_path / "none", ("liver",)):
        pass
    assert not (tmp_path / "none").exists()


def test_an_undefined_score_is_told_as_such(tmp_path):
    with tensorboard_log(tmp_path, ("liver",)) as report:
        report(Progress(1, 1, 0.5, (float("nan"),)))
    ((_, value),) = scalars(tmp_path)["score/liver"]
    assert np.isnan(value)
