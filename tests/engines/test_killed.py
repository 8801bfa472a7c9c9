"""A training that is killed, many times, ends as one that was not."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from medseg.domain.spec import to_plain
from medseg.engines.checkpoint import load_newest
from medseg.io.manifest import write_manifest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="kills forked processes")]

# Imports once; then forks `medseg train` for each line on stdin, "calls N" or "seconds T", and kills it there:
# before its N-th call that reaches the disk, a write after half of its bytes, or after T seconds. Answers with the
# exit status of each; 0 seconds and 0 calls mean never.
FORKER = """
import os, signal, sys, time
from pathlib import Path
import torch
from medseg.cli.main import main
import medseg.bundle.pack, medseg.bundle.describe, medseg.data.dataset, medseg.engines.trainer, medseg.reports.curve

def die_at(calls):
    left = [calls]
    def counted(real, half=None):
        def call(*args, **options):
            left[0] -= 1
            if left[0] == 0:
                if half:
                    half(*args)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)
        return call
    write = Path.write_bytes
    Path.write_bytes = counted(write, lambda path, data: write(path, data[: len(data) // 2]))
    for owner, name in ((Path, "replace"), (Path, "rename"), (Path, "unlink"), (os, "fsync"), (torch, "save")):
        setattr(owner, name, counted(getattr(owner, name)))

for line in sys.stdin:
    kind, number, *arguments = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        sys.argv[1:] = arguments
        die_at(int(number) if kind == "calls" else 0)
        main()
    if kind == "seconds":
        time.sleep(float(number))
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Killer:
    def __init__(self, log):
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )

    def run(self, kind, number, arguments):
        """True if the training ended well, False if it was killed; anything else is a failure."""
        self.process.stdin.write("\t".join([kind, str(number), *map(str, arguments)]) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        assert code in (0, -9), code
        return code == 0


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    with (tmp_path_factory.mktemp("log") / "stderr.txt").open("w+") as log:
        killer = Killer(log)
        with killer.process:  # at the end its input is closed, and it ends
            yield killer


@pytest.fixture(scope="module")
def arguments(discs, tmp_path_factory):
    """`medseg train` on the discs for 12 epochs of 2 steps, without the output folder."""
    folder = tmp_path_factory.mktemp("plan")
    manifest, plan = discs.folder / "discs.json", folder / "plan.json"
    write_manifest(discs.manifest, manifest)
    plan.write_text(json.dumps(to_plain(replace(discs.spec, steps=24, epoch_steps=2))))
    return ["train", manifest, "--plan", plan, "--threads", 1, "--device", "cpu", "-q", "-o"]


@pytest.fixture(scope="module")
def undisturbed(arguments, tmp_path_factory):
    """The weights and the history of a training in a process of its own."""
    output = tmp_path_factory.mktemp("undisturbed") / "discs"
    command = [sys.executable, "-c", "from medseg.cli.main import main; main()", *map(str, arguments), str(output)]
    subprocess.run(command, check=True, timeout=600)
    return result(output)


def result(output):
    work = output.with_name(output.name + ".training")
    assert [path for path in work.iterdir() if ".part" in path.name] == []
    assert [path.name for path in sorted(work.glob("*.pt"))] == ["step-00000022.pt", "step-00000024.pt"]
    return (output / "models" / "model.pt").read_bytes(), json.loads((work / "history.json").read_text())


def newest_step(output):
    state = load_newest(output.with_name(output.name + ".training"))
    return state["step"] if state else 0


def test_killed_at_every_kind_of_call_to_the_disk(killer, arguments, undisturbed, tmp_path):
    """Run n is killed at its n-th call, so that every place of the first epoch and many of the others are met."""
    output, call, step, ended = tmp_path / "discs", 0, 0, False
    while not ended:
        call += 1
        ended = killer.run("calls", call, [*arguments, output])
        assert newest_step(output) >= step  # what was saved is never lost
        step = newest_step(output)
    assert call > 20
    assert result(output) == undisturbed


def test_killed_at_20_random_moments(killer, arguments, undisturbed, tmp_path):
    import random

    random_seconds, kills, folder = random.Random(0), 0, 0
    output = tmp_path / "0"
    while kills < 20:
        if killer.run("seconds", round(random_seconds.uniform(0, 1.5), 3), [*arguments, output]):
            assert result(output) == undisturbed
            folder += 1
            output = tmp_path / str(folder)
        else:
            kills += 1
    if not output.exists():
        assert killer.run("calls", 0, [*arguments, output])
    assert result(output) == undisturbed


def test_a_killed_training_leaves_no_process_and_no_bundle(killer, arguments, tmp_path):
    output = tmp_path / "discs"
    assert not killer.run("calls", 12, [*arguments, output])
    assert not output.exists()
    assert [Path(path.name) for path in tmp_path.iterdir()] == [Path("discs.training")]
