from dataclasses import replace

import pytest
import torch

from medseg.backends.precision import choose_precision
from medseg.domain.errors import UsageError
from medseg.engines import trainer
from medseg.engines.checkpoint import load_newest
from medseg.engines.trainer import fit
from medseg.networks.build import NetworkSpec, build_network

CPU = torch.device("cpu")


class Stopped(Exception):
    pass


def train(spec, samples, folder, manifest="0" * 64, stop_after=None):
    """Train, and stop hard after a number of reports."""
    reports = []

    def report(progress):
        reports.append(progress)
        if len(reports) == stop_after:
            raise Stopped

    return fit(spec, *samples, folder, manifest, CPU, report), reports


def same(first, second):
    return (
        first.history == second.history
        and (first.best_step, first.best_score) == (second.best_step, second.best_score)
        and first.weights.keys() == second.weights.keys()
        and all(torch.equal(value, second.weights[name]) for name, value in first.weights.items())
    )


# It learns


@pytest.mark.parametrize(("data", "steps"), [("discs", 60), ("balls", 40)])
def test_a_few_seconds_of_training_find_a_bright_ball(data, steps, request, tmp_path):
    set_ = request.getfixturevalue(data)
    spec = replace(set_.spec, steps=steps, epoch_steps=20)
    trained, _ = train(spec, (set_.samples("train"), set_.samples("validation")), tmp_path)
    assert trained.best_score > 0.9
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
    assert trained.best_score == pytest.approx(max(sum(row["scores"]) for row in trained.history))


def test_the_weights_given_back_are_those_of_the_best_validation(discs, disc_samples, tmp_path):
    from medseg.engines.evaluator import score

    trained, _ = train(replace(discs.spec, steps=16), disc_samples, tmp_path)
    network = build_network(discs.spec.network)
    network.load_state_dict(trained.weights)
    (value,) = score(network, disc_samples[1], discs.spec.window, CPU, choose_precision("auto", CPU))
    assert value == trained.best_score == max(row["scores"][0] for row in trained.history)
    assert {row["step"]: row["scores"][0] for row in trained.history}[trained.best_step] == value


# Seeds


@pytest.mark.parametrize("preset", ["unet", "unetpp"])
def test_the_same_seed_gives_the_same_weights_bit_for_bit(preset, discs, disc_samples, tmp_path):
    spec = replace(discs.spec, network=NetworkSpec(preset, 2, 1, 2, (4, 8, 8)))
    torch.manual_seed(123)
    first, _ = train(spec, disc_samples, tmp_path / "1")
    torch.manual_seed(456)
    second, _ = train(spec, disc_samples, tmp_path / "2")
    other, _ = train(replace(spec, seed=1), disc_samples, tmp_path / "3")
    assert same(first, second)
    assert not same(first, other)


def test_the_plan_says_in_which_numbers_it_computes(discs, disc_samples, tmp_path):
    spec = replace(discs.spec, steps=2, epoch_steps=2)
    exact, rounded = (
        train(replace(spec, precision=precision), disc_samples, tmp_path / precision)[0].history[0]["loss"]
        for precision in ("fp32", "bf16")
    )
    assert exact != rounded == pytest.approx(exact, abs=0.02)


# Stop and go on: ten steps in epochs of 4, 4 and 2; a validation reports once more than its steps


@pytest.mark.parametrize("stop_after", range(1, 13))
def test_a_training_stopped_anywhere_ends_as_an_uninterrupted_one(stop_after, discs, disc_samples, tmp_path, whole):
    with pytest.raises(Stopped):
        train(discs.spec, disc_samples, tmp_path, stop_after=stop_after)
    resumed, reports = train(discs.spec, disc_samples, tmp_path)
    assert same(resumed, whole)
    assert [path.name for path in tmp_path.glob("*.pt")] == [] or reports[0].step % 4 == 1
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["step-00000008.pt", "step-00000010.pt"]


def test_a_training_stopped_after_every_epoch_ends_as_an_uninterrupted_one(discs, disc_samples, tmp_path, whole):
    for stop_after in (5, 5):
        with pytest.raises(Stopped):
            train(discs.spec, disc_samples, tmp_path, stop_after=stop_after)
    assert same(train(discs.spec, disc_samples, tmp_path)[0], whole)


@pytest.fixture(scope="module")
def whole(discs, disc_samples, tmp_path_factory):
    return train(discs.spec, disc_samples, tmp_path_factory.mktemp("whole"))[0]


def test_a_finished_training_is_given_back_as_it_is(discs, disc_samples, tmp_path):
    first, _ = train(discs.spec, disc_samples, tmp_path)
    again, reports = train(discs.spec, disc_samples, tmp_path)
    assert same(first, again)
    assert reports == []


def test_a_damaged_newest_checkpoint_costs_an_epoch_and_nothing_else(discs, disc_samples, tmp_path, whole):
    train(discs.spec, disc_samples, tmp_path)
    newest = tmp_path / "step-00000010.pt"
    newest.write_bytes(newest.read_bytes()[:-1])
    resumed, reports = train(discs.spec, disc_samples, tmp_path)
    assert same(resumed, whole)
    assert [progress.step for progress in reports] == [9, 10, 10]


@pytest.mark.parametrize("change", ["spec", "manifest"])
def test_a_folder_with_another_training_is_refused_and_left_alone(change, discs, disc_samples, tmp_path):
    train(discs.spec, disc_samples, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    spec, manifest = discs.spec, "0" * 64
    if change == "spec":
        spec = replace(spec, optimiser=replace(spec.optimiser, clip_norm=4.0))
    else:
        manifest = "1" * 64
    with pytest.raises(UsageError, match="holds a training with other settings or data"):
        train(spec, disc_samples, tmp_path, manifest)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    train(discs.spec, disc_samples, tmp_path)


def test_half_written_files_of_a_killed_training_are_swept_and_others_kept(discs, disc_samples, tmp_path):
    swept = [tmp_path / f".0123456789ab.part{ending}" for ending in ("", ".step-00000004.pt", ".plan.json")]
    kept = [tmp_path / name for name in (".part", ".0123.part.a", "my.part.txt", "notes.txt", ".partial")]
    for path in swept + kept:
        path.write_bytes(b"half")
    train(discs.spec, disc_samples, tmp_path)
    assert [path for path in swept if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []


# Length


@pytest.mark.parametrize(("steps", "epoch_steps", "ends"), [(1, 200, [1]), (10, 4, [4, 8, 10]), (8, 4, [4, 8])])
def test_a_training_has_as_many_steps_as_asked_for(steps, epoch_steps, ends, discs, disc_samples, tmp_path):
    """The last epoch was filled up, where the rate is a negative number to the power 0.9: a complex one."""
    spec = replace(discs.spec, steps=steps, epoch_steps=epoch_steps)
    trained, reports = train(spec, disc_samples, tmp_path)
    assert [progress.step for progress in reports if progress.scores is None] == list(range(1, steps + 1))
    assert [progress.step for progress in reports if progress.scores is not None] == ends
    assert [row["step"] for row in trained.history] == ends


def test_the_loss_of_an_epoch_is_the_mean_of_its_steps(discs, disc_samples, tmp_path):
    trained, reports = train(discs.spec, disc_samples, tmp_path)
    losses = [progress.loss for progress in reports if progress.scores is None]
    means = [sum(part) / len(part) for part in (losses[:4], losses[4:8], losses[8:])]
    assert [row["loss"] for row in trained.history] == pytest.approx(means)


@pytest.mark.parametrize(
    ("scores", "patience", "ends", "best"),
    [
        ([0.5, 0.4, 0.4, 0.9], 2, 3, 1),  # two validations without a better score
        ([0.5, 0.4, 0.6, 0.5], 2, 4, 3),  # one is forgiven
        ([0.5, 0.5, 0.9, 0.9], 1, 2, 1),  # equal is not better
        ([0.1, 0.2, 0.3, 0.4], 1, 4, 4),
    ],
)
def test_patience_ends_a_training_early(scores, patience, ends, best, discs, disc_samples, tmp_path, monkeypatch):
    asked = iter(scores)
    monkeypatch.setattr(trainer, "score", lambda *args: [next(asked)])
    spec = replace(discs.spec, steps=8, epoch_steps=2, patience_epochs=patience)
    trained, _ = train(spec, disc_samples, tmp_path)
    assert [row["step"] for row in trained.history] == [2 * n for n in range(1, ends + 1)]
    assert trained.best_step == 2 * best
    assert trained.best_score == max(scores[:ends])
    again, reports = train(spec, disc_samples, tmp_path)  # an early end is an end
    assert same(trained, again)
    assert reports == []


def test_the_checkpoint_holds_plain_data_and_what_its_training_was(discs, disc_samples, tmp_path):
    trained, _ = train(discs.spec, disc_samples, tmp_path, manifest="ab" * 32)
    state = load_newest(tmp_path)
    assert set(state) == {"identity", "step", "network", "average", "optimiser", "scaler", "history", "best"}
    assert state["identity"]["manifest"] == "ab" * 32
    assert state["identity"]["spec"]["network"]["widths"] == [8, 16]
    assert state["step"] == 10
    assert tuple(state["history"]) == trained.history
