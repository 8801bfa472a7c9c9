"""The bundles that come with the program under stock MONAI: checks, inference, and training on from them."""

import shutil

import numpy as np
import pytest
from PIL import Image

from medseg.bundle.reader import read_bundle
from medseg.domain.geometry import Geometry
from medseg.io.nifti import write_nifti_image
from tests.bundle.test_shipped import FOLDERS
from tests.bundle.test_stock_monai import assert_succeeded, mask_of, run_stock_monai, schema
from tests.bundles import blobs
from tests.commands import medseg

NAMES = [folder.name for folder in FOLDERS]
VOLUME_SHAPE, PICTURE_SHAPE = (36, 48, 34), (96, 80)


def write_image(folder, bundle, n, labels=False):
    """Smooth noise of the size that the bundle takes, or a label for each third of its values."""
    dims, channels = bundle.network.spatial_dims, 1 if labels else bundle.preprocess.channels
    shape = VOLUME_SHAPE if dims == 3 else PICTURE_SHAPE
    values = blobs(shape, n, channels)
    if labels:
        values = (values.astype(int) * bundle.network.out_channels // 256).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    if dims == 3:
        write_nifti_image(values[0], Geometry(shape, np.diag([1.0, 1.0, 1.0, 1.0])), folder / f"{n}.nii.gz")
    else:
        Image.fromarray((values.T if channels == 3 else values[0].T).copy()).save(folder / f"{n}.png")


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """One folder for each bundle, and what every job failed with, in one process of stock MONAI."""
    root = tmp_path_factory.mktemp("shipped")
    jobs = {}
    for folder in FOLDERS:
        own, copied = root / folder.name, root / folder.name / folder.name
        shutil.copytree(folder, copied)
        write_image(own / "images", read_bundle(copied), 0)
        files = {name: str(copied / "configs" / f"{name}.json") for name in ("inference", "metadata")}
        common = {"config_file": files["inference"], "bundle_root": str(copied)}
        places = {"dataset_dir": str(own / "images"), "output_dir": str(own / "theirs")}
        net = {"net_id": "network", "device": "cpu", "meta_file": files["metadata"], **common}
        jobs[f"run {folder.name}"] = ("run", {"run_id": "run", "device": "$torch.device('cpu')", **common, **places})
        jobs[f"net {folder.name}"] = ("verify_net_in_out", net)
        if schema() is not None:
            local = own / "schema.json"
            local.write_bytes(schema().read_bytes())
            jobs[f"meta {folder.name}"] = ("verify_metadata", {"meta_file": files["metadata"], "filepath": str(local)})
    return root, run_stock_monai(jobs, root)


@pytest.mark.parametrize("name", NAMES)
def test_the_network_takes_and_gives_what_the_metadata_say(stock, name):
    assert_succeeded(stock[1][f"net {name}"])


@pytest.mark.data
@pytest.mark.skipif(schema() is None, reason="MONAI's schema is neither below MEDSEG_DATA nor beside the repository")
@pytest.mark.parametrize("name", NAMES)
def test_the_metadata_follow_the_schema(stock, name):
    assert_succeeded(stock[1][f"meta {name}"])


@pytest.mark.parametrize("name", NAMES)
def test_stock_monai_comes_to_the_mask_of_segment(stock, name):
    """On noise, where near-ties of two logits may fall either way."""
    root, failures = stock
    assert_succeeded(failures[f"run {name}"])
    folder = root / name
    (image,) = (folder / "images").iterdir()
    done = medseg("segment", image, "-b", folder / name, "-o", folder / "ours", "--precision", "fp32",
                  "--backend", "eager", "--device", "cpu", "-q")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    mine, theirs = (mask_of(folder / who, "0")[0] for who in ("ours", "theirs"))
    assert mine.shape == theirs.shape
    assert int((mine != theirs).sum()) <= 1e-4 * mine.size


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_stock_monai_trains_on_for_two_epochs(name, tmp_path):
    (source,) = (folder for folder in FOLDERS if folder.name == name)
    root = tmp_path / name
    shutil.copytree(source, root)
    bundle = read_bundle(root)
    for n in range(3):
        write_image(tmp_path / "data" / "images", bundle, n)
        write_image(tmp_path / "data" / "labels", bundle, n, labels=True)
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
