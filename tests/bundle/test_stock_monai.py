"""The second opinion: stock MONAI runs our bundles as they are and comes to our masks."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.io.dicom_write import write_series
from medseg.io.nifti import write_nifti_image
from tests.bundles import (
    BUNDLES,
    WINDOW_3D,
    blob_volume,
    blobs,
    cells_bundle,
    grey_bundle,
    stored_bundle,
    volume_bundle,
)
from tests.commands import medseg
from tests.phantoms import oblique, orientations

HERE = Path(__file__).parent
SCHEMA = "monai/meta_schema_20240725.json"
TURNED = orientations((0.8, 1.2, 2.0), (-20.5, 11.25, 300.0))
SHEARED = TURNED["RAS"] @ np.array([[1, 0.2, 0, 0], [0, 1, 0.1, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
VOLUMES = {
    "ras": TURNED["RAS"],
    "lps": TURNED["LPS"],
    "pir": TURNED["PIR"],
    "fine": orientations((0.6, 0.6, 0.7))["ASL"],
    "same": orientations((1.0, 1.0, 1.0))["RPI"],
    "oblique": oblique(TURNED["LAS"], (20, -15, 30)),
    "sheared": SHEARED,
}
PICTURES = ("wide.png", "tall.png", "small.png", "stored.tif")
MICROGRAPHS = ("colour.png", "grey.png")
KINDS = ("volume", "islands", "slabs", "grey", "cells")
MASKS = [
    *[("volume", name) for name in (*VOLUMES, "series")],
    *[("islands", name) for name in ("lps", "oblique")],
    ("slabs", "lps"),
    *[("grey", Path(name).stem) for name in PICTURES],
    *[("cells", Path(name).stem) for name in MICROGRAPHS],
]


class Stock(NamedTuple):
    """The folder with `<bundle>/{b,images,ours,theirs}`, and what each job failed with."""

    folder: Path
    failures: dict[str, str]


def write_images(folder):
    for kind in KINDS:
        (folder / kind / "images").mkdir(parents=True)
    for n, (name, affine) in enumerate(VOLUMES.items()):
        volume = blob_volume(affine, seed=n)
        for kind in ("volume", "islands", "slabs"):
            if (kind, name) in MASKS:
                write_nifti_image(volume.voxels[0], volume.geometry, folder / kind / "images" / f"{name}.nii.gz")
    write_series(blob_volume(TURNED["LPS"], seed=9), folder / "volume" / "images" / "series")
    for n, (name, shape) in enumerate(zip(PICTURES, ((70, 40), (33, 90), (20, 24), (64, 64)), strict=True)):
        Image.fromarray(blobs(shape, seed=n)[0].T.copy()).save(folder / "grey" / "images" / name)
    Image.fromarray(blobs((60, 45), 1, channels=3).T.copy()).save(folder / "cells" / "images" / "colour.png")
    Image.fromarray(blobs((45, 60), 2)[0].T.copy()).save(folder / "cells" / "images" / "grey.png")


def run_stock_monai(jobs, folder):
    """What each of the jobs, {name: (function, arguments)}, failed with."""
    plain = [{"do": function, "with": arguments} for function, arguments in jobs.values()]
    (folder / "jobs.json").write_text(json.dumps(plain))
    command = [sys.executable, HERE / "stock_monai.py", folder / "jobs.json", folder / "results.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(jobs, json.loads((folder / "results.json").read_text()), strict=True))


def assert_succeeded(failure):
    if failure:
        pytest.fail(f"stock MONAI: {failure}")


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """All that stock MONAI is asked, in one process."""
    folder = tmp_path_factory.mktemp("stock")
    write_images(folder)
    made = {
        "volume": volume_bundle(),
        "islands": volume_bundle(min_voxels=12),
        "slabs": volume_bundle(window=replace(WINDOW_3D, placement="nnunet")),
        "grey": grey_bundle(min_voxels=5),
        "cells": cells_bundle(),
    }
    jobs = {}
    for kind, bundle in made.items():
        root = stored_bundle(bundle, folder / kind / "b", seed=2).folder
        files = {name: str(root / "configs" / f"{name}.json") for name in ("inference", "metadata")}
        common = {"config_file": files["inference"], "bundle_root": str(root)}
        images = {"dataset_dir": str(folder / kind / "images"), "output_dir": str(folder / kind / "theirs")}
        jobs[f"run {kind}"] = ("run", {"run_id": "run", "device": "$torch.device('cpu')", **common, **images})
        net = {"net_id": "network", "device": "cpu", "meta_file": files["metadata"], **common}
        jobs[f"net {kind}"] = ("verify_net_in_out", net)
    return Stock(folder, run_stock_monai(jobs, folder))


@pytest.mark.parametrize("kind", KINDS)
def test_stock_monai_runs_the_bundle(stock, kind):
    assert_succeeded(stock.failures[f"run {kind}"])


@pytest.mark.parametrize("kind", BUNDLES)
def test_the_network_takes_and_gives_what_the_metadata_say(stock, kind):
    assert_succeeded(stock.failures[f"net {kind}"])


@pytest.fixture(scope="module")
def ours(stock):
    """`medseg segment` on the same images."""
    for kind in KINDS:
        inputs = sorted((stock.folder / kind / "images").iterdir())
        done = medseg(
            "segment", *inputs, "-b", stock.folder / kind / "b", "-o", stock.folder / kind / "ours",
            "-t", "nifti", "--precision", "fp32", "--device", "cpu", "-q",
        )  # fmt: skip
        assert (done.code, done.err) == (0, "")
    return stock.folder


def mask_of(folder, name):
    """Labels and affine; a picture has none."""
    if (folder / f"{name}_seg.png").exists():
        return np.asarray(Image.open(folder / f"{name}_seg.png")).T, None
    image = nib.load(folder / f"{name}_seg.nii.gz")
    return np.asarray(image.dataobj).squeeze(), image.affine


@pytest.mark.parametrize(("kind", "name"), MASKS)
def test_both_come_to_the_same_mask(stock, ours, kind, name):
    """Not a voxel differs here; a near-tie of two logits could fall either way on another machine."""
    mine, theirs = (mask_of(ours / kind / who, name) for who in ("ours", "theirs"))
    assert len(np.unique(mine[0])) > 2
    assert mine[0].shape == theirs[0].shape
    differing = int((mine[0] != theirs[0]).sum())
    assert differing <= (0 if kind == "cells" else 1e-4 * mine[0].size), f"{differing} of {mine[0].size} voxels"
    if theirs[1] is not None:
        assert np.allclose(mine[1], theirs[1], atol=1e-4)


def schema():
    """MONAI's schema of metadata.json, from MEDSEG_DATA or beside the repository."""
    beside = HERE.parents[1].parent / "shared" / "data"
    for folder in (os.environ.get("MEDSEG_DATA"), beside):
        if folder and (Path(folder) / SCHEMA).is_file():
            return Path(folder) / SCHEMA
    return None


@pytest.mark.data
@pytest.mark.skipif(schema() is None, reason=f"{SCHEMA} is neither below MEDSEG_DATA nor beside the repository")
def test_the_metadata_follow_the_schema(tmp_path):
    jobs = {}
    for kind, make in BUNDLES.items():
        metadata = stored_bundle(make(), tmp_path / kind).folder / "configs" / "metadata.json"
        copied = tmp_path / "schema.json"
        copied.write_bytes(schema().read_bytes())
        jobs[kind] = ("verify_metadata", {"meta_file": str(metadata), "filepath": str(copied)})
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(json.loads(metadata.read_text()) | {"task": 3}))
    jobs["broken"] = ("verify_metadata", {"meta_file": str(broken), "filepath": str(copied)})
    failures = run_stock_monai(jobs, tmp_path)
    assert "task" in failures.pop("broken")
    for failure in failures.values():
        assert_succeeded(failure)


@pytest.mark.slow
@pytest.mark.parametrize("kind", BUNDLES)
def test_stock_monai_trains_on_from_the_bundle(kind, tmp_path):
    """Two epochs on three images, of which the last validates."""
    bundle = BUNDLES[kind]()
    root = stored_bundle(bundle, tmp_path / "b").folder
    dims, classes = bundle.network.spatial_dims, bundle.network.out_channels
    for n in range(3):
        shape = (20, 18, 17) if dims == 3 else (40, 36)
        image = blobs(shape, n, bundle.preprocess.channels)
        labels = (blobs(shape, n)[0].astype(int) * classes // 256).astype(np.uint8)
        for name, values in (("images", image), ("labels", labels[None])):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            path = tmp_path / "data" / name / f"{n}{'.nii.gz' if dims == 3 else '.png'}"
            if dims == 3:
                write_nifti_image(values[0], Volume(values, Geometry(shape, np.eye(4)), "").geometry, path)
            else:
                Image.fromarray((values.T if len(values) == 3 else values[0].T).copy()).save(path)
    arguments = {
        "run_id": "run",
        "config_file": str(root / "configs" / "train.json"),
        "bundle_root": str(root),
        "dataset_dir": str(tmp_path / "data"),
        "device": "$torch.device('cpu')",
        "train#trainer#max_epochs": 2,
    }
    assert_succeeded(run_stock_monai({"train": ("run", arguments)}, tmp_path)["train"])
    assert (root / "models" / "finetuned.pt").is_file()
