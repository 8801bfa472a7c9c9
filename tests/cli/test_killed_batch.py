"""A batch that is killed, at any moment, ends with `--resume` as one that was not: the same bytes in every output."""

import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from medseg.domain.journal import entry_of
from medseg.io.journal import NAME
from medseg.io.nifti import write_nifti_image
from tests.bundles import blob_volume, stored_bundle, volume_bundle

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills forked processes")

# Imports once; then, for each line on stdin, "calls N SIGNAL FOLDER ..." or "seconds T SIGNAL FOLDER ...", forks
# `medseg segment` in that folder and sends it the signal: before its N-th call that reaches the disk, a write after
# half of its bytes, or after T seconds. Answers with the exit status; 0 calls mean never.
FORKER = """
import os, signal, sys, time
from pathlib import Path
from medseg.cli.main import main
import medseg.inference.segment, medseg.inference.batch, medseg.io.journal, medseg.io.images, medseg.io.dicom_files

def die_at(calls, number):
    left = [calls]
    def counted(real, half=None):
        def call(*args, **options):
            left[0] -= 1
            if left[0] == 0:
                if half:
                    half(*args)
                os.kill(os.getpid(), number)
            return real(*args, **options)
        return call
    path_write, os_write = Path.write_bytes, os.write
    Path.write_bytes = counted(path_write, lambda path, data: path_write(path, data[: len(data) // 2]))
    os.write = counted(os_write, lambda file, data: os_write(file, data[: len(data) // 2]))
    for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync")):
        setattr(owner, name, counted(getattr(owner, name)))

for line in sys.stdin:
    kind, number, sign, folder, *arguments = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        sys.argv[1:] = arguments
        signal.signal(signal.SIGINT, signal.default_int_handler)  # shells turn it off in the background
        die_at(int(number) if kind == "calls" else 0, int(sign))
        try:
            main()
        except SystemExit as end:
            sys.stderr.flush()
            os._exit(end.code or 0)
    if kind == "seconds":
        time.sleep(float(number))
        os.kill(child, int(sign))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Killer:
    def __init__(self, log, arguments):
        self.arguments = arguments
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )

    def run(self, kind, number, folder):
        """True if the batch ended well, False if it was killed; anything else is a failure."""
        code = self.signal(kind, number, signal.SIGKILL, folder)
        assert code in (0, -9), code
        return code == 0

    def signal(self, kind, number, sign, folder):
        """The exit status of a batch that is sent the signal."""
        folder.mkdir(exist_ok=True)
        words = [kind, number, int(sign), folder, *self.arguments]
        self.process.stdin.write("\t".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    """`medseg segment --resume` on four volumes, all outputs asked for."""
    place = tmp_path_factory.mktemp("given")
    stored_bundle(volume_bundle(), place / "organs", seed=2)
    paths = []
    for seed in range(4):
        volume = blob_volume(np.diag([-0.9, -1.1, 2.0, 1.0]), (20, 18, 12), seed)
        paths.append(place / f"scan{seed}.nii.gz")
        write_nifti_image(volume.voxels[0], volume.geometry, paths[-1])
    arguments = ["segment", *paths, "-b", place / "organs", "-o", "out", "--device", "cpu", "--precision", "fp32", "-q"]
    arguments += ["--statistics", "--split", "--labels", "itksnap", "--resume"]
    with (place / "stderr.txt").open("w+") as log:
        killer = Killer(log, arguments)
        with killer.process:  # at the end its input is closed, and it ends
            yield killer


@pytest.fixture(scope="module")
def undisturbed(killer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert killer.run("calls", 0, folder)
    return result(folder)


def result(folder):
    """All files but the journal, which has to say that every case is done."""
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert [path for path in files if ".part" in path.name] == []
    lines = files.pop((folder / "out" / NAME).relative_to(folder)).splitlines(keepends=True)
    latest = {entry.mask: entry.state for entry in map(entry_of, lines) if entry}
    assert latest == {f"scan{n}_seg.nii.gz": "done" for n in range(4)}
    return files


def no_half_file(folder, undisturbed):
    """What lies under a final name is whole at every moment."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and ".part" not in path.name and path.name != NAME:
            assert path.read_bytes() == undisturbed[name], name


def test_killed_at_calls_to_the_disk_of_every_kind(killer, undisturbed, tmp_path):
    """Run after run is killed a little later, each time going on from what the last one left."""
    call, runs, ended = 1, 0, False
    while not ended:
        ended = killer.run("calls", call, tmp_path / "a")
        no_half_file(tmp_path / "a", undisturbed)
        call, runs = call + 7, runs + 1
    assert runs > 3
    assert result(tmp_path / "a") == undisturbed


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("call", [4, 20])
def test_a_batch_that_is_told_to_stop_leaves_no_part(killer, undisturbed, tmp_path, sign, code, call):
    """Before the first output is whole, and in the middle; unlike a killed one, it tidies up by itself."""
    assert killer.signal("calls", call, sign, tmp_path / "a") == code
    assert [path for path in (tmp_path / "a").rglob("*") if ".part" in path.name] == []
    no_half_file(tmp_path / "a", undisturbed)
    assert killer.run("calls", 0, tmp_path / "a")
    assert result(tmp_path / "a") == undisturbed


@pytest.mark.slow
def test_killed_at_every_single_call_to_the_disk(killer, undisturbed, tmp_path):
    call, ended = 0, False
    while not ended:
        call += 1
        folder = tmp_path / str(call)
        ended = killer.run("calls", call, folder)
        no_half_file(folder, undisturbed)
        if not ended:
            assert killer.run("calls", 0, folder)
        assert result(folder) == undisturbed
    assert call > 40


@pytest.mark.slow
def test_killed_at_20_random_moments(killer, undisturbed, tmp_path):
    moments, kills, folder = random.Random(0), 0, 0
    longest = 0.25
    while kills < 20:
        place = tmp_path / str(folder)
        if killer.run("seconds", round(moments.uniform(0, longest), 3), place):
            folder += 1
        else:
            kills += 1
            longest *= 1.1  # on a slow machine no moment would lie late enough
        no_half_file(place, undisturbed)
        if kills % 4 == 0 and kills:
            assert killer.run("calls", 0, place)
            assert result(place) == undisturbed
            folder += 1
