"""How much memory is free: the least of what the machine, the container and the process have left."""

import re
import subprocess
import sys

import nibabel as nib
import pytest

from medseg.io import memory

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@LINUX
def test_this_machine_says_something_sensible():
    free = memory.available_bytes()
    assert free is not None
    assert 2**24 < free < 2**50


@pytest.mark.parametrize(
    ("parts", "least"), [((5, 3, 9), 3), ((None, 7, None), 7), ((None, None, None), None), ((5, -3, 9), 0)]
)
def test_the_least_counts(monkeypatch, parts, least):
    for name, value in zip(("machine", "container", "process"), parts, strict=True):
        monkeypatch.setattr(memory, f"_of_the_{name}", lambda value=value: value)
    assert memory.available_bytes() == least


def test_a_container_without_a_limit_says_nothing(monkeypatch, tmp_path):
    limit, used = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(memory, "_CGROUPS", ((limit, used), (tmp_path / "no", tmp_path / "file")))
    limit.write_text("max\n")
    used.write_text("100\n")
    assert memory._of_the_container() is None
    limit.write_text("1000\n")
    assert memory._of_the_container() == 900


@LINUX
def test_a_limited_address_space_ends_in_exit_code_6_with_the_need(tmp_path):
    """RLIMIT_AS; a header of 4 GiB in a sparse file."""
    header = nib.Nifti1Header()
    header.set_data_shape((1290, 1290, 1290))
    header.set_data_dtype("i2")
    header["magic"], header["vox_offset"] = b"n+1", 352
    with (tmp_path / "large.nii").open("wb") as file:
        file.write(header.binaryblock)
        file.truncate(352 + 2 * 1290**3)
    script = """
import resource, sys
from pathlib import Path
from medseg.domain.errors import ResourceError
from medseg.io.images import read_image
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30,) * 2)
try:
    read_image(Path("large.nii"))
except ResourceError as error:
    print(error)
    sys.exit(error.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 6, done.stderr
    assert re.search(r"needs about 4\.0 GiB of memory, (0\.9|1\.0) GiB are free", done.stdout), done.stdout
