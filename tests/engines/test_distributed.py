"""A training on several processes is the training on one."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from medseg.domain.errors import InputError
from medseg.domain.spec import to_plain
from medseg.engines.distributed import add_up, agreed, count, from_first, gathered, processes, rank
from medseg.io.manifest import write_manifest
from medseg.losses import BoundarySpec, LossSpec
from medseg.networks.build import NetworkSpec
from tests.engines.processes import Forker, a_port

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks processes")

PLANS = {
    "unet": {},
    "unetpp_in_parts": {
        "network": NetworkSpec("unetpp", 2, 1, 2, (4, 8, 8)),
        "loss": LossSpec(focal_gamma=2.0, class_weights=(1.0, 2.0), boundary=BoundarySpec(2.0, 1.0)),
        "accumulate": 2,
    },
}


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def forker(tmp_path_factory):
    forker = Forker(tmp_path_factory.mktemp("forker"))
    yield forker
    forker.close()


@pytest.fixture(scope="module")
def arguments(discs, tmp_path_factory):
    """name of a plan -> `medseg train` for 6 steps, each with a validation, without the output folder."""
    folder = tmp_path_factory.mktemp("plans")
    write_manifest(discs.manifest, discs.folder / "discs.json")

    def write(name):
        plan = folder / f"{name}.json"
        spec = replace(discs.spec, steps=6, epoch_steps=1, keep="last", precision="fp32", **PLANS[name])
        plan.write_text(json.dumps(to_plain(spec)))
        return ["train", discs.folder / "discs.json", "--plan", plan, "--threads", 1, "--device", "cpu", "-o"]

    return write


@pytest.fixture(scope="module")
def alone(forker, arguments, tmp_path_factory):
    """name of a plan -> the result of one process."""

    def train(name, known={}):  # noqa: B006 - remembers
        if name not in known:
            output = tmp_path_factory.mktemp("alone") / "discs"
            assert forker.run(1, *arguments(name), output)[0] == [0]
            known[name] = result(output)
        return known[name]

    return train


def result(output):
    work = output.with_name(output.name + ".training")
    history = json.loads((work / "history.json").read_text())
    assert sorted(path.name for path in work.glob("*.pt")) == ["step-00000005.pt", "step-00000006.pt"]
    weights = torch.load(output / "models" / "model.pt", weights_only=True)
    return history, torch.cat([value.flatten() for value in weights.values()])


def assert_the_same(result, other):
    (history, weights), (other_history, other_weights) = result, other
    losses, other_losses = ([row["loss"] for row in rows] for rows in (history, other_history))
    assert losses == pytest.approx(other_losses, rel=1e-5)
    assert len(set(losses)) == 6
    assert torch.allclose(weights, other_weights, atol=1e-4)
    for row, other_row in zip(history, other_history, strict=True):
        assert row["scores"] == pytest.approx(other_row["scores"], abs=0.02)  # of 2 x 256 pixels, few lie on the edge


@pytest.mark.parametrize(("name", "number"), [("unet", 2), slow("unet", 3), slow("unetpp_in_parts", 2)])
def test_several_processes_train_as_one(name, number, forker, arguments, alone, tmp_path):
    """Three share batches of 4 patches and 2 cases to validate on unevenly."""
    output = tmp_path / "discs"
    codes, errors = forker.run(number, *arguments(name), output)
    assert codes == [0] * number, errors
    assert "packed" in errors[0][-1]
    assert errors[1:] == [[]] * (number - 1)
    assert_the_same(result(output), alone(name))


@pytest.mark.parametrize(("first", "then"), [(2, 1), slow(1, 2), slow(2, 3)])
def test_another_number_of_processes_goes_on(first, then, forker, arguments, alone, tmp_path):
    output = tmp_path / "discs"
    codes, _ = forker.run(first, *arguments("unet"), output, harm=["killed", 0, 4])
    assert codes[0] == -9
    codes, errors = forker.run(then, *arguments("unet"), output)
    assert codes == [0] * then, errors
    assert any("step 4/6" in line for line in errors[0])
    assert not any("step 2/6" in line for line in errors[0])  # the batch that killed it may have been made ahead
    assert_the_same(result(output), alone("unet"))


@pytest.mark.parametrize("killed", [slow(0), 1])
def test_when_one_process_dies_the_others_end(killed, forker, arguments, tmp_path):
    codes, errors = forker.run(2, *arguments("unet"), tmp_path / "discs", "-q", harm=["killed", killed, 3])
    assert codes[killed] == -9
    assert codes[1 - killed] == 6
    if killed == 1:
        assert errors[0] == [
            "medseg: another process of this training has ended or cannot be reached; the same command goes on from "
            "the newest checkpoint"
        ]
    assert not (tmp_path / "discs").exists()


@pytest.mark.parametrize(("harm", "code", "words"), [("refused", 3, "case7"), slow("full", 6, "the disk is full")])
def test_what_one_process_is_refused_all_are_and_the_first_says_it(harm, code, words, forker, arguments, tmp_path):
    there = 1 if harm == "refused" else 0  # the first alone writes
    codes, errors = forker.run(2, *arguments("unet"), tmp_path / "discs", "-q", harm=[harm, there, 0])
    assert codes == [code, code]
    assert len(errors[0]) == 1
    assert words in errors[0][0]
    assert errors[1] == []


def test_a_refusal_of_all_is_said_once(forker, arguments, tmp_path):
    codes, errors = forker.run(2, *arguments("unet"), tmp_path)
    assert codes == [7, 7]
    assert errors == [[f"medseg: {tmp_path}: exists already; choose another folder or delete it"], []]


@pytest.mark.slow
def test_more_processes_than_patches_are_refused(forker, arguments, tmp_path):
    codes, errors = forker.run(5, *arguments("unet"), tmp_path / "discs", "-q")
    assert codes == [2] * 5
    assert "4 patches do not go round 5 processes" in errors[0][0]
    assert errors[1:] == [[]] * 4


# One process


def test_one_process_alone_is_all_there_is():
    with processes(None):
        assert (rank(), count()) == (0, 1)
        assert gathered("a") == ["a"]
        assert from_first(lambda: 3) == 3
        assert add_up(torch.ones(2)).tolist() == [1, 1]
        with pytest.raises(InputError, match="no"), agreed():
            raise InputError("no")


@pytest.mark.slow
def test_the_command_under_torchrun(arguments, alone, tmp_path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", a_port()]
    command = [*launch, "-m", "medseg.cli.main", *arguments("unet"), tmp_path / "discs"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("packed") == 1
    assert_the_same(result(tmp_path / "discs"), alone("unet"))
