"""Whatever a file holds, reading ends in a volume or in a typed refusal of one line, soon and in little memory."""

import socket
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medseg.domain.errors import BundleError, InputError
from tests.fuzz.gates import GATES, MAKERS
from tests.fuzz.harness import SILENT, Gate, fuzz
from tests.fuzz.made import Made, Maker, fuzz_made

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs alarms and a limit of the address space")

CASES = {"dicom": 100, "streams": 150}
# Streams whose damage shows in themselves, all but always: some damaged ones are what an encoder makes of other pixels.
# The others have no check of their own: a changed bit of a sign, a magnitude or a run in HTJ2K, JPEG, RLE or deflate is
# another valid stream, which only its neighbours can show.
SURE = {"JPEG lossless", "JPEG lossless SV1", "JPEG-LS", "JPEG-LS near", "JPEG 2000"}
SURE_SHARE = 0.005  # of the damaged streams of these kinds
UNSURE_SHARE = 0.15  # of the damaged streams of the other kinds


@pytest.mark.parametrize("name", GATES)
def test_damaged_files_are_read_or_refused(tmp_path, name):
    tally = fuzz(GATES[name](), CASES.get(name, 300), tmp_path)
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.share > 0.2
    assert tally.refusals
    _require_few_silent(tally)


def _require_few_silent(tally):
    """More than 1 % of the voxels of a slice changed without a refusal or a note: seldom, by syntax."""
    silent, damaged = Counter[bool](), Counter[bool]()
    for (label, outcome), n in tally.outcomes.items():
        damaged[label in SURE] += n if outcome != "unchanged" else 0
        silent[label in SURE] += n if outcome == SILENT else 0
    assert silent[True] <= SURE_SHARE * damaged[True], tally.silent
    assert silent[False] <= UNSURE_SHARE * damaged[False], tally.silent


@pytest.mark.fuzz
@pytest.mark.parametrize("name", GATES)
def test_very_many_damaged_files_are_read_or_refused(tmp_path, name):
    tally = fuzz(GATES[name](), 100_000, tmp_path, seed=1)
    assert not tally.failures, "\n".join(tally.failures[:20])
    _require_few_silent(tally)
    assert tally.share > 0.2


@pytest.mark.parametrize("name", MAKERS)
def test_bundles_are_understood_or_refused_and_nothing_of_them_runs(tmp_path, name):
    tally = fuzz_made(MAKERS[name](), 400, tmp_path / "f")
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.share > 0.1
    assert tally.refusals


@pytest.mark.fuzz
@pytest.mark.parametrize(("name", "count"), [("expressions", 500_000), ("configs", 500_000), ("archives", 20_000)])
def test_very_many_bundles_are_understood_or_refused(tmp_path, name, count):
    tally = fuzz_made(MAKERS[name](), count, tmp_path / "f", seed=1)
    assert not tally.failures, "\n".join(tally.failures[:20])
    assert tally.share > 0.1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda value, folder: [][1], "IndexError"),
        (lambda value, folder: (_ for _ in ()).throw(BundleError("no")), "without naming the file"),
        (lambda value, folder: (_ for _ in ()).throw(BundleError(f"{folder} a\nb")), "other than one short line"),
        (lambda value, folder: (_ for _ in ()).throw(BundleError(f"{folder}: no")), "a harmless change was refused"),
        (lambda value, folder: "wrong", "wrong"),
        (lambda value, folder: exec("value = 1") or "", "exec"),
        (lambda value, folder: __import__("this_is_not_there"), "import"),
        (lambda value, folder: subprocess.run(["true"], check=True) and "", "subprocess.Popen"),
        (lambda value, folder: socket.socket().close() or "", "socket"),
        (lambda value, folder: folder.with_name("aside").write_text("x") and "", "aside"),
        (lambda value, folder: Path("/etc/hostname").read_text() and "", "opened"),
        (lambda value, folder: warnings.warn("words", stacklevel=1) or "", "warned"),
    ],
)
def test_the_harness_hears_what_a_reader_does(tmp_path, answer, words):
    """A reader that runs, writes or connects, in each way that must not pass."""
    maker = Maker("broken", lambda rng: Made(rng.random(), ["change"], True), answer, (BundleError,))
    failures = fuzz_made(maker, 2, tmp_path / "f").failures
    assert any(words in failure for failure in failures), failures


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (ValueError("no"), "ValueError"),
        (RecursionError(), "RecursionError"),
        (InputError("two\nlines"), "other than one line"),
        (InputError("no name"), "the file's name"),
        (InputError("scan.nii: no"), "a harmless change was refused"),
        (lambda volume: volume.voxels.__iadd__(1), "altered voxels"),
    ],
)
def test_the_harness_sees_what_it_looks_for(tmp_path, monkeypatch, outcome, words):
    """A gate whose reader fails in each way that must not pass."""
    from medseg.io.images import read_image

    whole = GATES["nifti"]()
    gate = Gate("nifti", whole.seeds[:1], whole.harmless, whole.harmless)
    calls = []

    def broken(path, doubts):
        calls.append(path)
        volume = read_image(path, doubts)
        if len(calls) > len(gate.seeds):
            if isinstance(outcome, Exception):
                if str(outcome).startswith("scan"):
                    raise InputError(f"{path}: no")
                raise outcome
            volume = type(volume)(volume.voxels.copy(), volume.geometry, volume.case)
            outcome(volume)
        assert np.ndim(volume.voxels) == 4
        return volume

    monkeypatch.setattr("tests.fuzz.harness.read_image", broken)
    failures = fuzz(gate, 20, tmp_path).failures
    assert any(words in failure for failure in failures)
