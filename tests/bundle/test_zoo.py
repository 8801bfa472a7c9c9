"""Bundles that this project did not write: `medseg segment` comes to the mask of stock `monai.bundle run`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medseg.io.nifti import write_nifti_image
from tests.bundle.zoo import COLOUR, FORMS, PICTURES, START, write_form
from tests.bundles import blob_volume, blobs
from tests.commands import medseg
from tests.phantoms import oblique, orientations

HERE = Path(__file__).parent
TURNED = orientations((0.8, 1.2, 2.0), (-20.5, 11.25, 300.0))
VOLUMES = {"lps": TURNED["LPS"], "pir": TURNED["PIR"], "oblique": oblique(TURNED["LAS"], (20, -15, 30))}
BRATS = ("t1c", "t1", "t2", "flair")


HEAVY = ("swin_unetr_btcv", "multi_organ", "pancreas_dints", "slices_2d")


def images_of(name):
    if name == "brats_mri":
        return ("t1c",)
    return ("wide", "tall") if name in PICTURES else ("pir",) if name in HEAVY else ("lps", "oblique")


class Zoo(NamedTuple):
    """`<form>/{b,images,ours,theirs}`, what stock MONAI failed with, and our reports by form and case."""

    folder: Path
    failures: dict[str, str]
    reports: dict[str, dict[str, dict]]


def write_images(folder, name):
    folder.mkdir(parents=True)
    if name in PICTURES:
        for n, (case, shape) in enumerate((("wide", (64, 48)), ("tall", (48, 80)))):
            voxels = blobs(shape, n, channels=3 if name in COLOUR else 1)
            Image.fromarray((voxels if name in COLOUR else voxels[0]).T.copy()).save(folder / f"{case}.png")
        return
    cases = (
        dict.fromkeys(BRATS, VOLUMES["lps"])
        if name == "brats_mri"
        else {case: VOLUMES[case] for case in images_of(name)}
    )
    for n, (case, affine) in enumerate(cases.items()):
        volume = blob_volume(
            affine, (32, 32, 16) if name in ("slices_2d", "segmentation_template") else (22, 18, 13), n
        )
        write_nifti_image(volume.voxels[0], volume.geometry, folder / f"{case}.nii.gz")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Every form once by stock MONAI, in one process, and once by us."""
    folder = tmp_path_factory.mktemp("zoo")
    jobs = []
    for name in FORMS:
        root = write_form(folder / name / "b", name)
        write_images(folder / name / "images", name)
        (config,) = (root / "configs").glob("inference.*")
        arguments = {"run_id": START.get(name, "run"), "init_id": "initialize", "config_file": str(config),
                     "bundle_root": str(root), "dataset_dir": str(folder / name / "images"),
                     "output_dir": str(folder / name / "theirs"), "device": "$torch.device('cpu')"}  # fmt: skip
        jobs.append({"do": "run", "with": arguments})
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, HERE / "stock_monai.py", folder / "jobs.json", folder / "results.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    failures = dict(zip(FORMS, json.loads((folder / "results.json").read_text()), strict=True))
    return Zoo(folder, failures, {name: ours(folder / name, name) for name in FORMS})


def ours(folder, name):
    paths = sorted((folder / "images").iterdir())
    inputs = [f"--image={case}={folder / 'images' / case}.nii.gz" for case in BRATS] if name == "brats_mri" else paths
    done = medseg("segment", *inputs, "-b", folder / "b", "-o", folder / "ours", "-t", "nifti", "--precision", "fp32",
                  "--device", "cpu", "-q", "--json")  # fmt: skip
    assert (done.code, done.err) == (0, ""), (name, done.err)
    return {report["case"]: report for report in done.json}


def theirs_of(folder, case):
    (path,) = (folder / "theirs").glob(f"{case}_trans.*")
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in FORMS for case in images_of(name)])
def test_the_mask_is_that_of_stock_monai(zoo, name, case):
    """Voxel for voxel; a near-tie of two values could fall either way on another machine."""
    if zoo.failures[name]:
        pytest.fail(f"stock MONAI: {zoo.failures[name]}")
    mine = np.asarray(nib.load(zoo.folder / name / "ours" / f"{case}_seg.nii.gz").dataobj)
    theirs, affine = theirs_of(zoo.folder / name, case)
    if name == "endoscopy_2d":  # one-hot channels times 255
        theirs = theirs.reshape(*mine.shape[:2], 2).argmax(-1)
    theirs = theirs.reshape(mine.shape)
    assert len(np.unique(mine)) > 1
    differing = int((mine != theirs).sum())
    assert differing <= 1e-4 * mine.size, f"{differing} of {mine.size} voxels"
    if name not in PICTURES:
        image = nib.load(zoo.folder / name / "images" / f"{case}.nii.gz")
        assert np.allclose(image.affine, affine, atol=1e-4)


def forms_table():
    """The table of docs/bundles.md."""
    lines = ["| form | what it is like |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {name} | {make.__doc__} |" for name, make in FORMS.items())])


def test_the_docs_list_the_forms():
    text = (HERE.parents[1] / "docs" / "bundles.md").read_text(encoding="utf-8")
    table = text.split("<!-- forms: begin -->")[1].split("<!-- forms: end -->")[0].strip()
    assert table == forms_table(), f"write this into docs/bundles.md:\n{forms_table()}"
