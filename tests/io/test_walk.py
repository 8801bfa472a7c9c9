"""All files below a folder, through links, each once."""

import os
import sys

import pytest

from medseg.domain.errors import InputError
from medseg.io.images import images_of, read_image
from medseg.io.walk import files_below, require_no_dangling

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="makes symbolic links")


def tree(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def test_linked_folders_are_entered_once_and_loops_end(tmp_path):
    """Linked folders were passed over: 8 of 12 slices became a volume."""
    tree(tmp_path, "in/a/1", "store/2", "store/deep/3")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "store")
    (tmp_path / "in" / "c").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "deep" / "back").symlink_to(tmp_path / "in")
    found = files_below(tmp_path / "in")
    assert sorted(path.name for path in found.files) == ["1", "2", "3"]
    assert found.dangling == ()


def test_a_file_with_several_names_is_given_once(tmp_path):
    tree(tmp_path, "in/1")
    (tmp_path / "in" / "2").symlink_to("1")
    os.link(tmp_path / "in" / "1", tmp_path / "in" / "3")
    assert [path.name for path in files_below(tmp_path / "in").files] == ["1"]


def test_links_that_lead_nowhere_are_found_and_refused(tmp_path):
    tree(tmp_path, "in/1")
    (tmp_path / "in" / "2").symlink_to("../.git/annex/objects/absent")
    (tmp_path / "in" / "3").symlink_to("3")
    found = files_below(tmp_path / "in")
    assert [path.name for path in found.dangling] == ["2", "3"]
    with pytest.raises(InputError, match="in: 2 of 3 files are links that lead nowhere; fetch"):
        require_no_dangling(tmp_path / "in", len(found.dangling), 3)
    require_no_dangling(tmp_path / "in", 0, 3)


def test_an_input_that_is_a_dangling_link_is_refused_as_one(tmp_path):
    (tmp_path / "a.nii.gz").symlink_to("absent")
    with pytest.raises(InputError, match=r"a.nii.gz: is a link that leads nowhere"):
        read_image(tmp_path / "a.nii.gz")


def test_results_below_the_folder_and_other_files_are_not_passed_over_images(tmp_path):
    """A second run would find the masks of the first among the images."""
    tree(tmp_path, "in/a.png", "in/notes.txt", "in/a.json", "in/masks/b.png", "in/masks/a_seg.png", "in/table.xlsx")
    (tmp_path / "in" / "table.xlsx").write_bytes(b"PK\x03\x04 a zip, as office files are")
    assert images_of([tmp_path / "in"], tmp_path / "in" / "masks").passed_over == ()
    (passed,) = images_of([tmp_path / "in"], tmp_path / "out").passed_over
    assert passed == f"{tmp_path / 'in'}: 1 image in folders below (1 .png)"
