"""Whatever a file holds, reading ends in a volume or in a typed refusal of one line, soon and in little memory."""

import sys

import numpy as np
import pytest

from medseg.domain.errors import InputError
from tests.fuzz.gates import GATES
from tests.fuzz.harness import Gate, fuzz

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs alarms and a limit of the address space")

CASES = {"dicom": 100}


@pytest.mark.parametrize("name", GATES)
def test_damaged_files_are_read_or_refused(tmp_path, name):
    tally = fuzz(GATES[name](), CASES.get(name, 300), tmp_path)
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.share > 0.2
    assert tally.refusals


@pytest.mark.fuzz
@pytest.mark.parametrize("name", GATES)
def test_very_many_damaged_files_are_read_or_refused(tmp_path, name):
    tally = fuzz(GATES[name](), 100_000, tmp_path, seed=1)
    assert not tally.failures, "\n".join(tally.failures[:20])
    assert tally.share > 0.2


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
    ids=lambda value: str(value)[:30],
)
def test_the_harness_sees_what_it_looks_for(tmp_path, monkeypatch, outcome, words):
    """A gate whose reader fails in each way that must not pass."""
    from medseg.io.images import read_image

    whole = GATES["nifti"]()
    gate = Gate("nifti", whole.seeds[:1], whole.harmless, whole.harmless)
    calls = []

    def broken(path):
        calls.append(path)
        volume = read_image(path)
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
