"""MONAI Label's inference class and `medseg segment` come to the same masks with the bundles of this project.

`make test-monailabel` installs MONAI Label without its dependencies into a folder of its own and runs this.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.bundle.test_stock_monai import mask_of
from tests.commands import medseg

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
IMAGES = {
    "hippocampus_mr_segmentation": [f"hippocampus/images/hippocampus_{n}.nii.gz" for n in ("003", "004")],
    "nuclei_microscopy_segmentation": [
        "nuclei/images/003cee89357d9fe13516167fd67b609a164651b21934585648c740d2c3d86dc1.png",
        "nuclei/images/00ae65c1c6631ae6f2be1a449902976e6eb8483bf6b0740d00530220832c6d3e.png",
    ],
    "brain_tumor_mr_segmentation": [f"brain_tumor/images/{n}.png" for n in ("0001", "0002")],
}
DATA = Path(os.environ.get("MEDSEG_DATA") or ROOT.parent / "shared" / "data")
LABEL = os.environ.get("MONAILABEL", "")
pytestmark = [
    pytest.mark.monailabel,
    pytest.mark.data,
    pytest.mark.skipif(
        not (LABEL and Path(LABEL, "monailabel").is_dir()) and find_spec("monailabel") is None,
        reason="MONAI Label is not installed; make test-monailabel",
    ),
    pytest.mark.skipif(not DATA.is_dir(), reason="the labelled images are not at MEDSEG_DATA"),
]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """What MONAI Label failed with, and the folder of its masks by number of the job."""
    folder = tmp_path_factory.mktemp("label")
    jobs = [
        {"bundle": str(ROOT / "bundles" / name), "image": str(DATA / image), "mask": str(folder / f"{n}.npy")}
        for n, (name, image) in enumerate((name, image) for name, images in IMAGES.items() for image in images)
    ]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    path = os.pathsep.join(part for part in (LABEL, str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
    done = subprocess.run(
        [sys.executable, HERE / "monai_label.py", folder / "jobs.json", folder / "results.json"],
        env={**os.environ, "PYTHONPATH": path}, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    failures = json.loads((folder / "results.json").read_text())
    return {job["image"]: (failure, Path(job["mask"])) for job, failure in zip(jobs, failures, strict=True)}


@pytest.mark.parametrize(("name", "image"), [(name, image) for name, images in IMAGES.items() for image in images])
def test_monai_label_comes_to_the_mask_of_segment(theirs, name, image, tmp_path):
    failure, path = theirs[str(DATA / image)]
    if failure:
        pytest.fail(f"MONAI Label: {failure}")
    done = medseg("segment", DATA / image, "-b", ROOT / "bundles" / name, "-o", tmp_path, "--precision", "fp32",
                  "--backend", "eager", "--device", "cpu", "-q")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    (mask,) = (file for file in tmp_path.iterdir() if "_seg." in file.name)
    mine = mask_of(tmp_path, mask.name.partition("_seg.")[0])[0]
    given = np.load(path).squeeze()
    assert mine.shape == given.shape
    assert len(np.unique(given)) > 1
    differing = int((mine != given).sum())
    print(f"{name} {Path(image).name}: {differing} of {mine.size} voxels differ")
    assert differing == 0
