"""The bundles that come with the program are what this version would write."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from medseg.bundle import configs
from medseg.bundle.reader import read_bundle
from medseg.bundle.train_config import train_config
from medseg.bundle.weights import load_network
from medseg.inference.selftest import make_self_test, self_test
from medseg.io.images import read_image, read_mask
from tests.bundle.selftest_images import IMAGES

FOLDERS = sorted(path.parents[1] for path in Path(__file__).parents[2].glob("bundles/*/configs/metadata.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_shipped_bundle_is_whole_and_up_to_date(folder):
    stored = read_bundle(folder)
    load_network(stored)
    assert stored.name == folder.name
    for name, wanted in (
        ("inference", configs.inference_config(stored)),
        ("train", train_config(stored)),
    ):
        assert json.loads((folder / "configs" / f"{name}.json").read_text()) == wanted, f"write {name}.json again"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_shipped_bundle_tells_its_scores(folder):
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    card = (folder / "docs" / "README.md").read_text()
    assert metadata["eval_metrics"]
    assert "Not measured yet" not in card
    assert "medseg evaluate" in card or "medseg crossval" in card
    assert (folder / "models" / "model.pt").stat().st_size < 25 << 20


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_shipped_bundle_comes_to_the_answer_of_stock_monai(folder):
    """Not a voxel differed where it was stored; the drawn image is the one that is there, rounding aside."""
    stored = read_bundle(folder)
    check = self_test(stored)
    assert check.state == "ok", check.fact
    image, answer = (next((folder / "selftest").glob(f"{name}.*")) for name in ("input", "answer"))
    drawn = IMAGES[folder.name]()
    kept = read_image(image).voxels[0].astype(int)
    assert abs(kept - (drawn if drawn.ndim == 3 else drawn.T)).max() <= 1
    found = set(np.unique(read_mask(answer)[0]))
    assert found >= {0, *stored.labels.values}


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_answer_of_a_shipped_bundle_is_what_stock_monai_gives_today(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / folder.name)
    image = next((folder / "selftest").glob("input.*"))
    assert make_self_test(read_bundle(copy), image, "").state == "ok"
    before, after = (read_mask(next((root / "selftest").glob("answer.*")))[0] for root in (folder, copy))
    assert np.count_nonzero(before != after) <= 1e-4 * before.size
