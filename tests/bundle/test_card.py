import json
from dataclasses import replace

import pytest

from medseg.bundle.bundle import FieldOfView
from medseg.bundle.card import fill_scores, new_card
from medseg.bundle.reader import read_bundle
from medseg.domain.errors import BundleError
from tests.bundles import BUNDLES, cells_bundle, grey_bundle, stored_bundle, volume_bundle


@pytest.fixture
def stored(tmp_path):
    return stored_bundle(volume_bundle(), tmp_path / "b")


def card_of(stored):
    return (stored.folder / "docs" / "README.md").read_text()


def metadata_of(stored):
    return json.loads((stored.folder / "configs" / "metadata.json").read_text())


def test_scores_filled_twice_stay_one_block(stored):
    before, metadata = card_of(stored), metadata_of(stored)
    fill_scores(stored, "| old |\n", {"Dice": 0.5, "IoU": 0.25})
    fill_scores(stored, "\n| new |\n\n", {"Dice": 0.75})
    once = card_of(stored)
    assert once == before.replace("Not measured yet.", "| new |")
    assert metadata_of(stored) == metadata | {"eval_metrics": {"Dice": 0.75}}
    fill_scores(stored, "| new |", {"Dice": 0.75})
    assert card_of(stored) == once
    assert read_bundle(stored.folder) == stored


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("<!-- scores: begin -->", ""),
        lambda text: text.replace("<!-- scores: end -->", ""),
        lambda text: text + "<!-- scores: end -->",
        lambda text: text.replace("begin", "x").replace("end", "begin").replace("x -->", "end -->"),
    ],
)
def test_a_card_without_its_place_for_scores_is_refused_and_left(stored, damage):
    card = stored.folder / "docs" / "README.md"
    card.write_text(damage(card.read_text()))
    before, metadata = card_of(stored), metadata_of(stored)
    with pytest.raises(BundleError, match="put them where the scores belong"):
        fill_scores(stored, "| new |", {"Dice": 0.75})
    assert (card_of(stored), metadata_of(stored)) == (before, metadata)


def test_a_card_that_is_not_there_is_refused(stored):
    (stored.folder / "docs" / "README.md").unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        fill_scores(stored, "| new |", {"Dice": 0.75})


@pytest.mark.parametrize("kind", BUNDLES)
def test_a_card_tells_the_labels_the_data_and_the_licence(kind):
    bundle = BUNDLES[kind]()
    card = new_card(bundle, 12_345, "Trained for a day.")
    for fact in (*bundle.labels.names, bundle.data_source, bundle.data_licence, "0.01 million", "Trained for a day."):
        assert fact in card
    assert f"-b {bundle.name}" in card


def test_a_card_tells_what_the_bundle_takes():
    assert "one grey channel" in new_card(grey_bundle(), 1, "")
    assert "colour or grey" in new_card(cells_bundle(), 1, "")
    assert "a number of its own" in new_card(cells_bundle(), 1, "")
    crops = replace(volume_bundle(), field_of_view=FieldOfView((10.0, 20.0, 30.0), (40.0, 50.0, 60.0)))
    assert "10-40 x 20-50 x 30-60 mm" in new_card(crops, 1, "")
