"""Bundles carry stock MONAI's answer to an image; a changed answer, image or bundle is found, and no path is taken."""

import hashlib
import json
import shutil

import monai
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medseg.bundle.reader import read_bundle
from medseg.bundle.renew import renew
from medseg.bundle.selftest import MOST_BYTES, SelfTest, read_self_test, store_self_test
from medseg.bundle.store import find_any
from medseg.domain.errors import BundleError
from medseg.inference.selftest import differing, make_self_test, self_test
from medseg.io.files import write_bytes
from tests.bundle.hostile import write_harmless
from tests.bundles import blobs, grey_bundle, stored_bundle
from tests.commands import medseg

STOCK = f"stock MONAI {monai.__version__}"


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A small bundle whose self-test stock MONAI answered, and what the command said."""
    folder = tmp_path_factory.mktemp("selftest")
    stored = stored_bundle(grey_bundle(min_voxels=5), folder / "b", seed=2)
    Image.fromarray(blobs((70, 40))[0].T.copy()).save(folder / "picture.png")
    done = medseg("bundle", "selftest", folder / "b", folder / "picture.png", "--about", "Drawn.")
    assert (done.code, done.out) == (0, "")
    assert done.lines[-1] == f"{folder / 'b'}: self-test stored; 0 of 2,800 voxels differ from {STOCK}"
    return stored


@pytest.fixture
def carrying(packed, tmp_path):
    """A copy of it."""
    shutil.copytree(packed.folder, tmp_path / "b")
    return read_bundle(tmp_path / "b")


def facts_of(stored):
    return json.loads((stored.folder / "selftest" / "selftest.json").read_text())


def tell(stored, **changed):
    (stored.folder / "selftest" / "selftest.json").write_text(json.dumps(facts_of(stored) | changed))


def put(stored, name, content):
    """Another file of the self-test, with its digest told."""
    path = stored.folder / "selftest" / name
    path.write_bytes(content)
    tell(stored, **{f"{name.split('.')[0]}_sha256": hashlib.sha256(content).hexdigest()})


def repaint(stored, pixels):
    """The answer with some pixels changed, as if stock MONAI had given it."""
    path = stored.folder / "selftest" / "answer.png"
    labels = np.asarray(Image.open(path)).copy()
    labels.flat[pixels] = (labels.flat[pixels] == 0) * 5
    Image.fromarray(labels).save(path)
    put(stored, "answer.png", path.read_bytes())


def assert_refused(stored, *words):
    done = medseg("bundle", "check", stored.folder, "--json")
    assert (done.code, len(done.lines)) == (5, 1)
    (failed,) = (check for check in done.json if check["state"] == "fails")
    assert failed["topic"] == "self-test"
    for word in words:
        assert word in failed["fact"]


def test_check_comes_to_the_answer_of_stock_monai(carrying):
    done = medseg("bundle", "check", carrying.folder)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == f"ok     self-test  answer: 0 of 2,800 voxels differ from {STOCK}"
    labels = np.asarray(Image.open(carrying.folder / "selftest" / "answer.png"))
    assert set(np.unique(labels)) == {0, 1, 5}
    assert facts_of(carrying)["weights_sha256"] == carrying.weights_sha256


def test_a_changed_answer_fails(carrying):
    repaint(carrying, [0, 1, 2])
    assert_refused(carrying, "3 of 2,800 voxels differ", "0.01%")


def test_a_near_tie_is_no_failure(carrying, monkeypatch):
    monkeypatch.setattr("medseg.inference.selftest.MOST_DIFFERING", 3 / 2800)
    repaint(carrying, [0, 1, 2])
    assert (self_test(carrying).state, self_test(carrying).fact[:1]) == ("ok", "3")
    repaint(carrying, [3])
    assert self_test(carrying).state == "fails"


def test_a_file_with_another_digest_fails(carrying):
    path = carrying.folder / "selftest" / "input.png"
    Image.fromarray(blobs((70, 40), seed=1)[0].T.copy()).save(path)
    assert_refused(carrying, "input.png: sha256 is ", "changed or damaged")


def test_another_image_comes_to_another_answer(carrying, tmp_path):
    Image.fromarray(blobs((70, 40), seed=1)[0].T.copy()).save(tmp_path / "other.png")
    put(carrying, "input.png", (tmp_path / "other.png").read_bytes())
    assert_refused(carrying, f"voxels differ from {STOCK}")


def test_a_self_test_of_other_weights_fails(carrying, tmp_path):
    """A bundle that was trained again and got the old folder."""
    again = stored_bundle(carrying, tmp_path / "again", seed=3)
    assert self_test(again).state == "lacks"
    shutil.copytree(carrying.folder / "selftest", again.folder / "selftest")
    assert_refused(again, "made with weights ", "medseg bundle selftest")


def test_changed_weights_fail(carrying):
    path = carrying.folder / "models" / "model.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert medseg("bundle", "check", carrying.folder).code == 5


def test_what_is_measured_of_a_bundle_leaves_its_self_test(carrying):
    assert self_test(renew(carrying, flip_axes=(0,))).state == "ok"


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"input": "/etc/passwd"}, "unknown key input"),
        ({"input_sha256": "../../../etc/passwd"}, "is no sha256"),
        ({"answer_sha256": 7}, "expected str"),
        ({"monai": "1.6.1\n\x1b[31mok"}, "is no version"),
        ({"monai": "1" * 41}, "is no version"),
        ({"torch": ""}, "is no version"),
        ({"weights_sha256": "0" * 63}, "is no sha256"),
        ({"image": None}, "expected str"),
    ],
    ids=str,
)
def test_a_hostile_description_is_refused(carrying, changed, word):
    tell(carrying, **changed)
    assert_refused(carrying, "selftest.json", word)


def test_a_description_that_is_too_large_is_not_read(carrying):
    (carrying.folder / "selftest" / "selftest.json").write_text(" " * (MOST_BYTES + 1))
    assert_refused(carrying, "selftest.json", f"at most {MOST_BYTES}")


@pytest.mark.parametrize("name", ["input.png", "answer.png"])
def test_a_file_that_is_too_large_is_not_read(carrying, name, monkeypatch):
    monkeypatch.setattr("medseg.bundle.selftest.file_digest", lambda path: pytest.fail("was read"))
    write_bytes(carrying.folder / "selftest" / name, bytes(MOST_BYTES + 1))
    assert_refused(carrying, name, f"at most {MOST_BYTES}")


def test_a_picture_that_swells_is_refused(carrying, tmp_path):
    Image.fromarray(np.zeros((2048, 2048), np.uint8)).save(tmp_path / "black.png")
    content = (tmp_path / "black.png").read_bytes()
    assert len(content) < MOST_BYTES
    put(carrying, "input.png", content)
    assert_refused(carrying, f"{2048 * 2048} voxels")


@pytest.mark.parametrize("name", ["", "input.png", "answer.png", "selftest.json"])
def test_links_are_not_followed(carrying, tmp_path, name):
    path = carrying.folder / "selftest" / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert_refused(carrying, "is missing or no plain file")
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    assert_refused(carrying, "is missing or no plain file")


def test_a_damaged_picture_is_told(carrying):
    put(carrying, "answer.png", b"\x89PNG\r\n\x1a\n")
    assert_refused(carrying, "answer.png")


def test_a_bundle_without_one_says_so(packed, tmp_path):
    stored = stored_bundle(packed, tmp_path / "b")
    assert read_self_test(stored) is None
    done = medseg("bundle", "check", stored.folder)
    assert (done.code, done.err) == (0, "")
    assert "lacks  self-test  answer: no self-test" in done.out


def test_other_peoples_bundles_get_none(tmp_path):
    folder = write_harmless(tmp_path / "b")
    (folder / "selftest").mkdir()
    assert self_test(find_any(str(folder))).state == "lacks"
    Image.fromarray(blobs((20, 20))[0]).save(tmp_path / "p.png")
    done = medseg("bundle", "selftest", folder, tmp_path / "p.png")
    assert (done.code, done.out, len(done.lines)) == (5, "", 1)
    assert "is no bundle of medseg" in done.err


@pytest.fixture
def no_stock(monkeypatch):
    """Refusals that cost no run of stock MONAI."""
    monkeypatch.setattr("medseg.inference.selftest.stock_answer", lambda *given: pytest.fail("was run"))


def test_an_image_that_does_not_suit_the_bundle_is_refused(carrying, tmp_path, no_stock):
    before = facts_of(carrying)
    for shape, code in (((3000, 2000), 2), ((40, 40, 3), 3)):
        Image.fromarray(np.resize(np.arange(199, dtype=np.uint8), shape)).save(tmp_path / "p.png")
        assert medseg("bundle", "selftest", carrying.folder, tmp_path / "p.png").code == code
    assert facts_of(carrying) == before


def test_where_stock_monai_comes_to_another_mask_nothing_is_stored(carrying, monkeypatch):
    before = facts_of(carrying)
    answer = carrying.folder / "selftest" / "answer.png"
    other = carrying.folder / "other.png"
    Image.fromarray(5 - np.asarray(Image.open(answer))).save(other)
    monkeypatch.setattr("medseg.inference.selftest.stock_answer", lambda *given: other)
    with pytest.raises(BundleError, match="voxels differ from stock MONAI"):
        make_self_test(carrying, carrying.folder / "selftest" / "input.png", "")
    assert facts_of(carrying) == before


def test_a_new_self_test_takes_the_place_of_the_old(carrying, tmp_path):
    for name in ("input.png", "answer.png"):
        shutil.copyfile(carrying.folder / "selftest" / name, tmp_path / name)
    (carrying.folder / "selftest" / "old.txt").write_text("old")
    store_self_test(carrying, tmp_path, SelfTest(**facts_of(carrying) | {"image": "Another."}))
    assert sorted(path.name for path in (carrying.folder / "selftest").iterdir()) == [
        "answer.png",
        "input.png",
        "selftest.json",
    ]
    assert facts_of(carrying)["image"] == "Another."
    assert not list(carrying.folder.glob(".selftest*"))


MASKS = st.lists(st.integers(0, 3), min_size=12, max_size=12).map(np.array)


@given(MASKS, st.permutations([1, 2, 3]))
def test_numbers_of_instances_mean_nothing(mask, numbers):
    assert differing(np.array([0, *numbers])[mask], mask, instances=True) == 0


@given(MASKS, MASKS)
def test_instances_differ_at_most_as_labels_do_and_alike_from_both_sides(a, b):
    count = differing(a, b, instances=True)
    assert count == differing(b, a, instances=True) <= differing(a, b, instances=False) == (a != b).sum()
    assert count >= ((a > 0) != (b > 0)).sum()
