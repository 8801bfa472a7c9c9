"""The benchmarks' own arithmetic, and each script once in small, without looking at its figures."""

import json
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    from side_by_side import Meter, Trial, compared, extra_mib, of
    from table import ROWS, table
finally:
    sys.path.remove(str(BENCHMARKS))


def trials(side, seconds, **case):
    return [Trial(side, case, n, s, 100 * s) for n, s in enumerate(seconds)]


def test_a_ratio_is_taken_round_by_round():
    """A machine that slows down slows both sides of a round: the ratio stays."""
    ours, theirs = trials("medseg", [1, 2, 8]), trials("MONAI", [2, 4, 10])
    line = compared("seconds", "MONAI", 0.6, [], ours, theirs)
    assert line.measured == "0.5x (0.5 to 0.8)"
    assert (line.ours, line.theirs, line.met) == ("2 s (1 to 8)", "4 s (2 to 10)", True)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=5), st.floats(0.01, 100), st.floats(0.1, 10))
def test_a_ratio_does_not_depend_on_the_unit_and_is_scaled_where_the_peer_is_extrapolated(seconds, factor, scale):
    ours, theirs = trials("medseg", seconds), trials("MONAI", [factor * s for s in seconds])
    line = compared("memory", "MONAI", 1.0, [], ours, theirs, extra_mib, "MiB", scale=scale)
    ratio = float(line.measured.partition("x")[0])
    assert ratio == pytest.approx(1 / (factor * scale), rel=0.01)


def test_what_did_not_run_is_not_measured_and_has_met_nothing():
    failed = [Trial("nnU-Net", {}, 0, error="nnU-Net is not installed")]
    line = compared("seconds", "nnU-Net", 0.5, [], trials("medseg", [1]), failed)
    assert line.measured == "not measured: nnU-Net is not installed"
    assert line.met is None
    assert compared("seconds", "nnU-Net", 0.5, [], trials("medseg", [1]), []).met is None


def test_trials_are_found_by_side_and_case():
    mixed = [*trials("medseg", [1], classes=2), *trials("medseg", [2], classes=25), *trials("MONAI", [3], classes=2)]
    assert [t.seconds for t in of(mixed, "medseg")] == [1, 2]
    assert [t.seconds for t in of(mixed, "medseg", classes=2)] == [1]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are forgotten on Linux only")
def test_memory_is_the_peak_inside_the_block_alone():
    """What was there before, or was freed before, is no part of it.

    Pages of the kernel's own: the allocator may keep what is freed, as after a command of this process.
    """
    _resident(64).close()
    kept = _resident(16)
    meter = Meter()
    with meter:
        _resident(32).close()
    kept.close()
    assert 31 <= meter.extra_mib < 60


def _resident(mib):
    pages = mmap.mmap(-1, mib << 20)
    np.frombuffer(pages, np.uint8)[:] = 1
    return pages


def test_a_table_without_results_says_so_of_every_row(tmp_path):
    text = table(tmp_path)
    assert text.count("Not measured.") == len(ROWS)
    assert all(f"`{name}.py`" in text for name in ROWS)


def test_every_row_has_its_script():
    assert all((BENCHMARKS / f"{name}.py").is_file() for name in ROWS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_a_script_runs_in_small_and_its_lines_stand_in_the_table(tmp_path, name):
    """Peers that are not installed are told, and nothing else is missing."""
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / f"{name}.json").read_text())
    assert result["quick"]
    assert result["lines"]
    allowed = ("nnU-Net is not installed", "this machine has no CUDA")
    for line in result["lines"]:
        assert not line["measured"].startswith("not measured") or line["measured"].endswith(allowed), line
    assert "a smoke test: figures say nothing" in table(tmp_path)
