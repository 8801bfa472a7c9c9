"""Every case is scored once, by a network that has not seen it; what is done stays done."""

import json
import re
import shutil

import pytest

from medseg.bundle.store import find_bundle
from tests.commands import medseg
from tests.datasets import balls, short_plan, write_plan


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A data set of ten cases, its three folds trained for two steps, and the answer of the command."""
    folder = tmp_path_factory.mktemp("crossval")
    manifest = balls(folder / "set", (8, 1, 1))
    plan = write_plan(short_plan(manifest, steps=2), folder / "plan.json")
    arguments = (
        "crossval",
        manifest,
        "-o",
        folder / "out",
        "--folds",
        "3",
        "--plan",
        plan,
        "--join",
        "--device",
        "cpu",
    )
    return folder, manifest, arguments, medseg(*arguments, "-q")


def test_every_case_is_scored_once(done):
    folder, _, _, answer = done
    assert answer.code == 0, answer.err
    scores = json.loads((folder / "out" / "scores_crossval.json").read_text())
    cases = [row["case"] for row in scores["rows"] if row["label"] == "liver"]
    assert sorted(cases) == [f"case{n}" for n in range(10)]
    assert "| all | 10 |" in answer.out
    folds = [find_bundle(str(folder / "out" / f"fold{n}")).fold for n in (1, 2, 3)]
    assert [str(fold) for fold in folds] == ["1/3", "2/3", "3/3"]


def test_the_page_shows_the_worst_cases_of_all_folds(done):
    folder, *_ = done
    page = (folder / "out" / "scores_crossval.html").read_text()
    scores: dict[str, list[float]] = {}
    for row in json.loads((folder / "out" / "scores_crossval.json").read_text())["rows"]:
        scores.setdefault(row["case"], []).append(row["Dice"])
    worst = sorted(scores, key=lambda case: sum(scores[case]))[0]
    assert f"1. {worst}" in page
    pictures = re.findall(r'src="(fold\d_pictures/worst_\d\.png)"', page)
    assert len(pictures) == 5
    assert all((folder / "out" / picture).is_file() for picture in pictures)


def test_the_folds_answer_together(done):
    folder, *_ = done
    joined = find_bundle(str(folder / "out" / "out"))
    assert joined.network.options == {"members": 3}
    assert (joined.name, joined.fold) == ("out", None)
    assert medseg("bundle", "check", folder / "out" / "out").code == 0


def test_the_ensemble_foretells_by_what_was_seen_of_its_members_on_their_folds(done):
    folder, _, _, answer = done
    agreements = {}
    for n in (1, 2, 3):
        kept = folder / "out" / f"fold{n}" / "docs" / "scores_held-out.json"
        agreements |= json.loads(kept.read_text())["agreements"]
    assert sorted(agreements) == [f"case{n}" for n in range(10)]
    fit = find_bundle(str(folder / "out" / "out")).quality
    slope, correlation = re.search(
        r"([-\d.]+) x agreement.* correlation ([-\d.]+), .* \(10 cases\)", answer.err
    ).groups()
    assert (fit is not None) == (float(correlation) >= 0.3 and float(slope) > 0)
    assert fit is None or (fit.of_member, fit.cases, fit.poor) == (True, 10, 0.7)


def test_the_ensembles_card_tells_the_scores_of_its_members_and_whose_they_are(done):
    folder, _, _, answer = done
    card = (folder / "out" / "out" / "docs" / "README.md").read_text()
    assert "10 cases, each scored by the one of 3 networks that has not seen it" in card
    assert "The mean answer of all is not measured" in card
    assert answer.out in card
    assert "-o FOLDER --folds 3 --plan plan.json --join" in card
    kept = [(folder / "out" / place / "scores_crossval.json").read_text() for place in (".", "out/docs")]
    assert kept[0] == kept[1]


def test_the_card_of_a_fold_tells_its_own_scores(done):
    folder, *_ = done
    card = (folder / "out" / "fold2" / "docs" / "README.md").read_text()
    assert "cases of fold 2/3, which neither trained the network nor picked its weights" in card
    assert "\nmedseg evaluate fold2 balls.json --split held-out --card\n" in card


def test_what_is_done_is_not_done_again(done):
    folder, _, arguments, first = done
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").glob("fold*/**/*") if path.is_file()}
    again = medseg(*arguments, "-q")
    assert (again.code, again.out) == (0, first.out)
    assert {path: path.stat().st_mtime_ns for path in (folder / "out").glob("fold*/**/*") if path.is_file()} == before


def test_scores_without_pictures_are_measured_anew(done):
    """`evaluate --card` on a fold writes scores without them; the page then said that no case was scored."""
    folder, _, arguments, _ = done
    for n in (1, 2):
        kept = folder / "out" / f"fold{n}" / "docs" / "scores_held-out.json"
        found = json.loads(kept.read_text())
        if n == 1:
            del found["pictures"]
            kept.write_text(json.dumps(found))
        else:
            (folder / "out" / next(iter(found["pictures"].values()))).unlink()
    assert medseg(*arguments, "-q").code == 0
    test_the_page_shows_the_worst_cases_of_all_folds(done)


# What a fold's bundle may be scored on


def test_a_fold_is_scored_on_the_cases_held_out_and_no_others(done):
    folder, manifest, *_ = done
    bundle = folder / "out" / "fold1"
    answer = medseg("evaluate", bundle, manifest, "--split", "held-out", "--card", "--device", "cpu", "-q")
    assert answer.code == 0, answer.err
    scored = json.loads((bundle / "docs" / "scores_held-out.json").read_text())
    assert {row["case"] for row in scored["rows"]} < {f"case{n}" for n in range(10)}
    assert "cases of fold 1/3, which neither trained" in (bundle / "docs" / "README.md").read_text()
    for split in ("test", "train"):  # the one case to validate on is of fold 1: it may
        refused = medseg("evaluate", bundle, manifest, "--split", split, "--device", "cpu", "-q")
        assert refused.code == 2
        assert "images trained bundle fold1" in refused.err
        assert "give --split held-out" in refused.err


@pytest.mark.parametrize("split", ["held-out", "test"])
def test_an_ensemble_of_all_folds_has_nothing_left_to_be_scored_on(split, done):
    folder, manifest, *_ = done
    joined = medseg("evaluate", folder / "out" / "out", manifest, "--split", split, "--device", "cpu", "-q")
    assert joined.code == 2
    refusals = {
        "held-out": "was not trained with --fold",
        "test": "1 of its 1 images trained bundle out, case9 for one",
    }
    assert refusals[split] in joined.err


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (("--seed", "3"), "seed 0, not 3"),
        (("--steps", "5"), "steps None, not 5"),
        (("--set", "batch.count=2"), "set [], not ['batch.count=2']"),
        (("--folds", "2"), "folds 3, not 2"),
    ],
)
def test_folds_of_something_else_are_not_told_as_these(changes, reason, done):
    """They were, under the name of the new data and settings."""
    folder, _, arguments, _ = done
    before = (folder / "out" / "scores_crossval.json").read_bytes()
    refused = medseg(*arguments, *changes, "-q")
    assert (refused.code, len(refused.lines)) == (2, 1)
    assert f"holds folds of another cross-validation ({reason})" in refused.err
    assert (folder / "out" / "scores_crossval.json").read_bytes() == before


def test_more_folds_than_groups_are_refused_before_the_first_is_trained(done, tmp_path):
    _, manifest, *_ = done
    refused = medseg("crossval", manifest, "-o", tmp_path / "many", "--folds", "40", "-q")
    assert (refused.code, "too few" in refused.err) == (2, True)
    assert not (tmp_path / "many").exists()


def test_an_ensemble_of_older_folds_is_refused(done, tmp_path):
    folder, _, arguments, _ = done
    shutil.copytree(folder / "out", tmp_path / "out")
    arguments = tuple(tmp_path / "out" if value == folder / "out" else value for value in arguments)
    assert medseg(*arguments, "-q").code == 0
    shutil.rmtree(tmp_path / "out" / "fold2")
    shutil.rmtree(tmp_path / "out" / "fold2.training")
    card = tmp_path / "out" / "out" / "docs" / "README.md"
    before = card.read_text()
    seed = json.loads((tmp_path / "out" / "crossval.json").read_text())
    (tmp_path / "out" / "crossval.json").write_text(json.dumps(seed | {"set": ["optimiser.rate=0.001"]}))
    again = medseg(*arguments, "--set", "optimiser.rate=0.001", "-q")
    assert again.code == 2
    assert "out: is not the ensemble of the folds beside it as they are now; move it away" in again.err
    assert card.read_text() == before
