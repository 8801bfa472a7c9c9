"""Programs outside Python; where one is absent, its tests are skipped and say so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from tests.masks import series_volume
from tests.phantoms import oblique
from tests.viewers.orthanc import PLUGIN, orthanc
from tests.viewers.web import ohif

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "viewers"
SHAPE = (64, 48, 16)


def require(*programs: str) -> None:
    """Skip where one is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; make test-viewers does it")


@pytest.fixture(scope="session")
def browse():
    """A function that opens a page in Chromium, runs a step file on it and gives what that gives."""
    require("node", "chromium")
    if not (CACHE / "node_modules" / "playwright-core").is_dir():
        pytest.skip("playwright-core is not unpacked; make test-viewers does it")

    def run(steps: str, **options: Any) -> dict[str, Any]:
        done = subprocess.run(
            ["node", HERE / "browser.mjs", HERE / steps, json.dumps(options)],
            env={**os.environ, "VIEWERS_CACHE": str(CACHE)},
            capture_output=True,
            text=True,
            timeout=480,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The addresses of an empty Orthanc and of OHIF over it."""
    require("Orthanc")
    if not PLUGIN.exists() or not (CACHE / "ohif" / "dist").is_dir():
        pytest.skip("Orthanc's DICOMweb or OHIF is absent; make test-viewers installs both")
    with orthanc(tmp_path_factory.mktemp("orthanc")) as store, ohif(CACHE / "ohif" / "dist", store) as viewer:
        yield store, viewer


@pytest.fixture(scope="session")
def scan(tmp_path_factory):
    """A generated MR series of tilted coronal slices: a bright ball in a shaded field."""
    i, j, k = np.indices(SHAPE)
    ball = (i - 30) ** 2 / 400 + (j - 24) ** 2 / 250 + (k - 8) ** 2 / 60 < 1
    coronal = np.array([[-2, 0, 0, 60], [0, 0, 3, -40], [0, -2, 0, 50], [0, 0, 0, 1.0]])
    volume = Volume(
        (200 * ball + i + 3 * j).astype(np.int16)[None], Geometry(SHAPE, oblique(coronal, (7, 0, 4))), "scan"
    )
    return series_volume(tmp_path_factory.mktemp("scan") / "s", volume)


@pytest.fixture(scope="session")
def pictures():
    """Where screenshots go, for people to look at."""
    folder = CACHE / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
