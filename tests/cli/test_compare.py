"""Several bundles on the same cases, scored here or before."""

import json
from dataclasses import replace

import pytest

from tests.bundles import stored_bundle, volume_bundle
from tests.commands import medseg
from tests.datasets import balls
from tests.html import Reader


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A manifest and two bundles, alike but for their random weights."""
    folder = tmp_path_factory.mktemp("compare")
    for name, seed in (("one", 2), ("two", 3)):
        stored_bundle(volume_bundle(), folder / name, seed=seed)
    return balls(folder / "set", (0, 0, 3)), folder / "one", folder / "two"


@pytest.fixture(scope="module")
def scored(there, tmp_path_factory):
    """The comparison of both, and where it was written."""
    manifest, one, two = there
    folder = tmp_path_factory.mktemp("out")
    return compare(one, two, manifest, "-o", folder, "-q", "--device", "cpu"), folder


def compare(*arguments, code=0):
    done = medseg("compare", *arguments)
    assert done.code == code, done.err
    return done


def test_bundles_are_scored_and_put_side_by_side(scored):
    done, folder = scored
    assert done.lines == [f"medseg: the page in {folder / 'comparison.html'}"]
    assert "two: Dice " in done.out
    assert {path.name for path in folder.iterdir()} == {"one", "two", "comparison.html", "comparison.json"}
    page = Reader((folder / "comparison.html").read_text())
    assert page.all("h1") == ["one and two on balls (test)"]
    assert {"one", "two"} <= set(page.all("td"))
    assert (folder / "two" / "scores_test.html").is_file()
    plain = json.loads((folder / "comparison.json").read_text())
    assert plain["against"] == "one"
    assert {one["bundle"] for one in plain["differences"]} == {"two"}


def test_the_mean_of_differences_is_the_difference_of_means(scored):
    _, folder = scored
    means = [
        json.loads((folder / name / "scores_test.json").read_text())["groups"][0]["Dice"]["mean"]
        for name in ("one", "two")
    ]
    found = json.loads((folder / "comparison.json").read_text())["differences"]
    (dice,) = [one for one in found if (one["part"], one["metric"]) == ("all", "Dice")]
    assert dice["mean"] == pytest.approx(means[1] - means[0])


def test_scores_written_before_give_the_same_page(scored, tmp_path):
    _, folder = scored
    files = [folder / name / "scores_test.json" for name in ("one", "two")]
    compare(*files, "-o", tmp_path / "again")
    assert (tmp_path / "again" / "comparison.json").read_text().replace("/scores_test.json", "") == (
        folder / "comparison.json"
    ).read_text()


def test_a_bundle_against_itself_differs_by_exactly_nothing(scored, tmp_path):
    _, folder = scored
    file = folder / "one" / "scores_test.json"
    compare(file, file, "-o", tmp_path)
    found = json.loads((tmp_path / "comparison.json").read_text())["differences"]
    assert {one["bundle"] for one in found} == {"scores_test.json (2)"}
    for one in found:
        assert one["verdict"] == "same" if one["counted"] else "not told apart"
        assert not one["counted"] or (one["mean"], one["low"], one["high"]) == (0, 0, 0)


def test_refused_cases_are_named_and_the_exit_code_says_so(scored, tmp_path):
    _, folder = scored
    plain = json.loads((folder / "two" / "scores_test.json").read_text())
    case = plain["rows"][0]["case"]
    plain["rows"] = [row for row in plain["rows"] if row["case"] != case]
    plain["refused"] = [{"case": case, "kind": "", "reason": "has no slice 7"}]
    (tmp_path / "two.json").write_text(json.dumps(plain))
    done = compare(folder / "one" / "scores_test.json", tmp_path / "two.json", "-o", tmp_path, code=4)
    assert "some cases were refused" in done.err
    page = Reader((tmp_path / "comparison.html").read_text())
    assert {case, "refused: has no slice 7"} <= set(page.all("td"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"manifest": "other"}, "its manifest is other"),
        ({"manifest_sha256": "0"}, "its manifest_sha256 is 0"),
        ({"split": "train"}, "its split is train"),
        ({"rows": [{"case": "a", "kind": "", "label": "spleen", "Dice": 1.0}]}, "has other labels"),
        ({"rows": []}, "is not what medseg evaluate writes"),
        ({"rows": [{"case": "a"}]}, "is not what medseg evaluate writes"),
    ],
)
def test_scores_of_other_cases_are_refused(scored, tmp_path, change, words):
    _, folder = scored
    file = folder / "one" / "scores_test.json"
    (tmp_path / "other.json").write_text(json.dumps(json.loads(file.read_text()) | change))
    done = compare(file, tmp_path / "other.json", "-o", tmp_path / "x", code=3)
    assert words in done.err
    assert len(done.lines) == 1
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_compared_is_refused_before_the_work(there, tmp_path):
    manifest, one, _ = there
    assert "give two bundles or more" in compare(one, manifest, "-o", tmp_path / "x", code=2).err
    assert "no bundle of this name" in compare(one, "nothing", manifest, "-o", tmp_path / "x", code=2).err
    assert "has no validation cases" in compare(
        one, one, manifest, "-o", tmp_path / "x", "--split", "validation", code=3
    ).err  # fmt: skip
    labels = volume_bundle().labels
    renamed = replace(labels, labels=(replace(labels.labels[0], name="spleen"), labels.labels[1]))
    other = stored_bundle(volume_bundle(labels=renamed), tmp_path / "spleens").folder
    assert "is not that of bundle" in compare(one, other, manifest, "-o", tmp_path / "x", code=3).err
    assert not (tmp_path / "x").exists()
