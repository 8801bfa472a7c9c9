import pytest

from medseg.bundle import store
from medseg.bundle.store import find_any, find_bundle, list_bundles
from medseg.domain.errors import BundleError, UsageError
from tests.bundle.hostile import write_harmless
from tests.bundles import cells_bundle, grey_bundle, stored_bundle, volume_bundle
from tests.commands import medseg


@pytest.fixture
def home(tmp_path, monkeypatch):
    """MEDSEG_HOME with two bundles."""
    monkeypatch.setenv("MEDSEG_HOME", str(tmp_path / "home"))
    for name, bundle in (("one", grey_bundle()), ("two", volume_bundle())):
        stored_bundle(bundle, tmp_path / "home" / "bundles" / name)
    return tmp_path / "home"


def test_a_bundle_is_found_by_the_name_of_its_folder(home):
    assert find_bundle("one").network == grey_bundle().network
    assert find_bundle("two").folder == home / "bundles" / "two"
    assert {"one", "two"} <= {folder.name for folder in list_bundles()}


def test_a_bundle_is_found_by_its_folder(home, tmp_path, monkeypatch):
    stored_bundle(cells_bundle(), tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert find_bundle("elsewhere").labels.kind == "instances"
    assert find_bundle(str(tmp_path / "elsewhere")) == find_bundle("./elsewhere")


def test_an_unknown_bundle_is_refused_with_those_there_are(home):
    with pytest.raises(UsageError) as refused:
        find_bundle("three")
    assert refused.value.exit_code == 2
    assert "one" in str(refused.value)
    assert "two" in str(refused.value)


def test_without_any_bundle_the_refusal_says_so(monkeypatch):
    monkeypatch.setattr(store, "bundle_folders", list)
    with pytest.raises(UsageError, match="there are none"):
        find_bundle("three")


def test_a_damaged_bundle_is_refused_as_damaged(home):
    (home / "bundles" / "one" / "configs" / "inference.json").write_text("{")
    with pytest.raises(BundleError):
        find_bundle("one")
    find_bundle("two")


def test_a_folder_that_is_no_bundle_is_refused_as_such(home, tmp_path):
    with pytest.raises(BundleError, match=r"metadata\.json: missing"):
        find_bundle(str(tmp_path))


def test_the_first_folder_that_is_searched_wins(home, tmp_path, monkeypatch):
    stored_bundle(cells_bundle(), tmp_path / "shipped" / "one")
    stored_bundle(cells_bundle(), tmp_path / "shipped" / "three")
    monkeypatch.setattr(store, "bundle_folders", lambda: [home / "bundles", tmp_path / "shipped"])
    assert find_bundle("one").folder == home / "bundles" / "one"
    assert [folder.name for folder in list_bundles()] == ["one", "two", "three"]


def test_without_the_variable_only_the_programs_own_bundles_are_searched(home, monkeypatch):
    assert store.bundle_folders()[0] == home / "bundles"
    monkeypatch.delenv("MEDSEG_HOME")
    assert home / "bundles" not in store.bundle_folders()


def test_half_a_bundle_that_a_killed_pack_left_is_not_found(home):
    """Its folder's name begins with a dot, which a glob does not mind."""
    (home / "bundles" / "one").rename(home / "bundles" / ".one.abc.part")
    assert "two" in {folder.name for folder in list_bundles()}
    assert not any(folder.name.startswith(".") for folder in list_bundles())


@pytest.mark.parametrize("name", ["given", "./given/", "sub/../given", "link", "link/.", "../x/given", "by_name"])
def test_a_third_party_bundle_is_found_by_any_way_of_writing_its_folder(name, tmp_path, monkeypatch):
    """`-b given`, relative: paths of its config were looked up in given/given/models."""
    folder = tmp_path / "x"
    write_harmless(folder / "given")
    (folder / "sub").mkdir()
    (folder / "link").symlink_to("given")
    (folder / "home" / "bundles").mkdir(parents=True)
    (folder / "home" / "bundles" / "by_name").symlink_to(folder / "given")
    monkeypatch.setenv("MEDSEG_HOME", "home")
    monkeypatch.chdir(folder)
    found = find_any(name)
    assert found.checkpoint[0].samefile(folder / "given" / "models" / "model.pt")
    assert found.weights_sha256
    assert found.name == "given"


@pytest.mark.parametrize("command", ["info", "check", "trust"])
def test_commands_take_a_relative_folder_of_a_third_party_bundle(command, tmp_path, monkeypatch):
    write_harmless(tmp_path / "given")
    monkeypatch.setenv("MEDSEG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert medseg("bundle", command, "given").code == 0
