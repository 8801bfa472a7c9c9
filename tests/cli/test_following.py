"""The clock, and a tracking server that is lost on the way."""

from medseg.cli.following import Followers, Stopwatch
from medseg.domain.errors import ResourceError
from medseg.engines.trainer import Progress


def test_the_clock_leaves_validations_out():
    times = iter([10.0, 11.0, 13.0, 99.0, 100.5])
    watch = Stopwatch(lambda: next(times))
    for scores in (None, None, None, (0.5,), None):  # the third step is validated for 86 seconds
        watch(Progress(1, 5, 0.1, scores))
    assert watch.seconds == [1.0, 2.0, 1.5]


class Lost:
    def __call__(self, progress):
        raise ResourceError("--mlflow http://x: cannot be used (no answer); check it or leave the option out")

    def finish(self, metrics, files, folders):
        self(None)


def test_a_lost_server_costs_its_points_and_not_the_training(capsys, tmp_path):
    told = []
    followers = Followers(Stopwatch(), told.append, Lost())
    followers(Progress(1, 2, 0.1))
    followers.finish(tmp_path, {})
    assert len(told) == 1
    assert capsys.readouterr().err.count("the training goes on without") == 2


def test_without_a_run_there_is_nothing_to_finish(tmp_path):
    Followers(Stopwatch(), lambda progress: None, None).finish(tmp_path, {})
